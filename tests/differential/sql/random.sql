-- What random queries have found, and what was found beside them.
create table r1 (id integer primary key, k integer, b bigint, n numeric(8, 2), t text, g varchar(10), d date, f boolean);
create table r2 (id integer primary key, k integer, b bigint, n numeric(8, 2), t text, g varchar(10), d date, f boolean);
insert into r1 values (1, 1, 2, 1.25, 'a', 'a', '2024-01-01', true), (2, 2, 5, 2.00, 'b', 'a', '2024-01-02', false), (3, null, null, null, null, null, null, null), (4, 1, 0, -1.75, '', 'b', '2024-01-03', true);
insert into r2 values (1, 2, 7, 0.50, 'b', 'c', '2024-01-04', null), (2, 2, 5, 2.00, 'a', 'a', '2024-01-02', false), (4, null, 0, 10.10, 'ab', null, null, true), (7, 7, 2, 1.25, 'c', 'b', '2024-01-01', true);
-- A filter over both sides of an outer join whose columns have the same names.
select q1.id, q1.b, q2.b from r1 q1 right join r2 q2 on q1.id = q2.id where q2.b - q1.b is distinct from q1.b order by q2.id;
select q2.id from r1 q1 right join r2 q2 on q1.id = q2.id where q2.b is distinct from q1.b order by q2.id;
select q1.id from r1 q1 left join r2 q2 on q1.id = q2.id where coalesce(q2.b, q1.b) > 1 order by q1.id;
select q1.b, q2.b, q3.b from r1 q1 join r2 q2 on q1.k = q2.k join r1 q3 on q2.id = q3.id order by q2.b desc, q1.b, q3.b limit 1;
select s.a, s.c, q3.id from (select q1.id as a, q2.id as c from r1 q1 left join r2 q2 on q1.k = q2.k) s join r1 q3 on q3.id = s.c order by 1, 2, 3;
select q1.id, q2.id from r1 q1 join r2 q2 on q1.k = q2.k join (select id from r1 where b > 4) x on x.id = q2.id order by 1, 2;
-- Multisets.
select k from r1 except all select k from r2 order by 1;
select k from r1 intersect all select k from r2 order by 1;
select f from (values (true), (true), (true), (null), (null)) v (f) except all select f from (values (true), (null), (false)) w (f) order by 1;
select f from (values (true), (true), (true), (null), (null)) v (f) intersect all select f from (values (true), (true), (null), (false)) w (f) order by 1;
-- Names on the right of a set operation.
select q1.t, q1.g from r1 q1 except select q2.g, q2.g from r2 q2 order by 1, 2;
select b, t from r1 intersect select coalesce(b, k), g from r2 order by 1, 2;
select max(case when -1 >= k then d else date '2024-01-03' end) from r1 group by id union all select distinct date '2024-01-03' + 2 from r2 order by 1;
select q1.b, q1.t, coalesce(q1.b, q1.b * q1.b), q1.g from r1 q1 intersect select distinct coalesce(q4.b, q2.b), q4.g, q2.b, q4.g from r1 q2 full join r2 q4 on q2.k = q4.k order by 1, 2, 3, 4;
-- Rows with NULLs in them.
select id from r1 where (k, t) <> (id, g) order by id;
select id, (3, t) >= (k, g) as x from r1 order by id;
select id from r1 where (k, t) in (select k, t from r2) order by id;
select id from r1 where (k, t) not in (select k, t from r2 where k is not null) order by id;
select id, (k, t) in (select k, t from r2) as x from r1 order by id;
-- Names of columns.
select false, substr(t, 1, 1), date '2024-01-01' + 2, q.f is null from r1 q order by 2;
-- Subqueries without a row over columns that are never NULL.
select id, (select q2.id from r2 q2 where q2.id = q1.k + 100) as other from r1 q1 order by id;
select (select id from r1 where false), (select id from r1 where id = 1);
-- Sums of one column as different types.
select sum(k), sum(k::bigint), sum(k::real), avg(k), avg(k::double precision) from r1;
-- A side of a UNION that is known to be empty.
select distinct d, k from r1 where false is null union all select distinct q.d, q.k from r2 q left join r1 on r1.k = q.id order by 1, 2;
-- Types of choices between texts.
select case when id > 2 then t else g end, case when id > 2 then g else t end, coalesce(g, t), coalesce(t, g) from r1 order by id;
select min(1), max(2), count(1), bool_and(id is not null) from r1;
select * from (select q1.*, q2.* from r1 q1 join r2 q2 on q1.id = q2.id) s order by 1;
select sum(id) over w, sum(id) over (w2) from r1 window w as (partition by k), w2 as (w order by id) order by id;
-- Keys of ORDER BY behind a key of the first table.
select q1.id, q2.id, count(*) from r1 q1 join r2 q2 on q1.k = q2.k group by q1.id, q2.id order by 1 desc, 2 desc;
select distinct q1.id, q2.b from r1 q1 left join r2 q2 on q1.k = q2.k order by 1, 2 desc nulls last limit 3;
select q1.id, q2.t, sum(q2.b) from r1 q1 join r2 q2 on q1.k = q2.k group by q1.id, q2.t order by q1.id, q2.t desc;
select region, region as again, count(*) from (values ('n'), ('s'), ('n')) v (region) group by region, region order by 1, 2;
