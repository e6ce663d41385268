-- The extended protocol: parameters, inferred types, binary results; PREPARE and EXECUTE.
create table device (id bigint primary key, name text, kind varchar(20), temp double precision, price numeric(8, 2), seen timestamptz, tags text[], data jsonb, active boolean, small smallint, day date, key uuid);
--> params 1 | boiler | heat | 21.5 | 99.90 | 2024-05-06 07:08:09+00 | {a,b} | {"x": 1} | true | 7 | 2024-05-06 | 11111111-2222-3333-4444-555555555555
insert into device values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);
--> params 2 | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL
insert into device values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) returning id;
--> params 3 | fan
insert into device (id, name) values ($1, $2) returning *;
--> extended
select * from device order by id;
--> binary
select id, name, kind, temp, price, active, small from device order by id;
--> binary
select seen, day, tags, key from device where id = 1;
--> binary
select data from device where id = 1;
--> params 1
select name from device where id = $1;
--> params x
select name from device where id = $1;
--> params fan
select id from device where name = $1;
--> params %a%
select id from device where name like $1 order by id;
--> params 20
select id from device where temp > $1;
--> params 99.90
select id from device where price = $1;
--> params 2024-01-01
select id from device where seen > $1;
--> params 2024-05-06
select id from device where day = $1;
--> params {1,3}
select id from device where id = any ($1) order by id;
--> params 1 | 3
select id from device where id in ($1, $2) order by id;
--> params 1 | 3
select id from device where id between $1 and $2 order by id;
--> params 2
select id from device order by id limit $1;
--> params 1 | 1
select id from device order by id limit $1 offset $2;
--> params true
select id from device where active = $1;
--> params a
select id from device where $1 = any (tags);
--> params x
select data -> $1 from device where id = 1;
--> params {"x": 1}
select id from device where data @> $1;
--> params 5
select $1;
--> params 5
select $1 + 1;
--> params 5
select $1::integer + 1 as n;
--> params 5 | 6
select $1 + $2;
--> params 5 | 6
select $1::bigint + $2;
--> params a | b
select $1 || $2;
--> params a
select upper($1), length($1);
--> params abc
select $1::text, $1::varchar;
--> params 7
select $1::integer, $1::text;
--> params NULL
select $1::integer is null;
--> params 2024-05-06
select $1::date + 1, $1::date::text;
--> params 1 day
select timestamp '2024-05-06' + $1;
--> params 1.5
select $1::numeric * 2, pg_typeof($1);
--> params 3
select case when $1 > 2 then 'big' else 'small' end;
--> params 1
select coalesce($1, 5);
--> params x
select coalesce($1, 'y'), nullif($1, 'x');
--> params 2 | pear
select * from (values ($1::integer, $2)) as v (a, b);
--> params 1
select generate_series(1, $1);
--> params 3
select sum(x) from generate_series(1, $1) x;
--> params 1 | new name
update device set name = $2 where id = $1;
--> params 1 | 5.5
update device set temp = temp + $2, price = price + 1 where id = $1 returning temp, price;
--> params 3
delete from device where id = $1 returning name;
--> params 1 | x
insert into device (id, name) values ($1, $2) on conflict (id) do update set name = excluded.name || $2 returning name;
--> params 1
select $1, $1;
--> params 1 | 2 | 3
select $1, $2;
--> params 1
select $1 + $2;
--> params 1
select $2::integer;
--> extended
select 1; select 2;
--> extended
begin;
--> extended
insert into device (id) values (77);
--> extended
rollback;
--> extended
select count(*) from device;
--> extended
select nope from device;
--> extended
selec 1;
--> extended
create table made_extended (a integer);
--> params 1
insert into made_extended values ($1);
--> params 1
create table x (a integer default $1);
--> extended
drop table made_extended;
--> extended
show timezone;
--> params UTC
set timezone = $1;
--> extended
set application_name = 'ext';
--> extended
;
--> binary
select 1::smallint, 2, 3::bigint, 1.5::real, 2.5::double precision, 12345.678, true, 'text', 'v'::varchar, null;
--> binary
select '\x0102'::bytea, date '2024-05-06', time '07:08:09', timestamp '2024-05-06 07:08:09.5', timestamptz '2024-05-06 07:08:09+00', interval '1 month 2 days 3 hours';
--> binary
select 0::numeric, -1.5::numeric, 10000::numeric, 0.0001::numeric, 123456789012345678.123456789::numeric, 'NaN'::numeric;
--> binary
select array[1, 2, null], array['a', 'b'], array[]::integer[], '{{1,2},{3,4}}'::integer[];
--> binary
select uuid '11111111-2222-3333-4444-555555555555', '{"a": [1, 2]}'::json, '{"a": [1, 2]}'::jsonb;
--> binary
select count(*), sum(id), avg(id), max(name) from device;
--> binary
select 'x'::char(3), 'n'::name, 'c'::"char", 25::oid;
--> binary
select 'infinity'::date, '-infinity'::timestamp, '24:00'::time, 'NaN'::double precision;
--> binary
select row(1, 'a');
--> binary
select int4range(1, 5), '192.168.0.1'::inet;
--> binary
select generate_series(1, 3), 'r';
--> binary
values (1, 'one'), (2, null);
--> binary
show server_encoding;
prepare get (bigint) as select name from device where id = $1;
execute get (1);
execute get ('1');
execute get;
execute get (1, 2);
execute get ('x');
prepare get as select 1;
prepare untyped as select $1 || 'x', $2 + 1;
execute untyped ('a', 2);
prepare ins as insert into device (id, name) values ($1, $2) returning id;
execute ins (100, 'hundred');
execute ins (100, 'again');
execute ins (101, null);
prepare upd (text, bigint) as update device set name = $1 where id = $2;
execute upd ('renamed', 101);
execute upd ('x', 1 + 100);
select name, statement, parameter_types from pg_prepared_statements order by name;
deallocate get;
execute get (1);
deallocate get;
prepare bad as select nope from device;
prepare worse as selec 1;
prepare many as select 1; select 2;
execute many;
prepare del as delete from device where id >= $1;
execute del (100);
deallocate prepare del;
prepare cr as create table t (a integer);
prepare vals as values ($1, $2);
execute vals (1, 'x');
create table from_execute as execute many;
explain (costs off) execute many;
deallocate all;
execute many;
prepare p1 (integer) as select * from generate_series(1, $1) g order by g;
execute p1 (3);
prepare p2 (nosuchtype) as select $1;
prepare p3 (text[]) as select unnest($1);
execute p3 ('{x,y}');
execute p3 (array['z']);
prepare p4 (numeric, date, boolean) as select $1, $2, $3;
execute p4 (1.50, '2024-01-01', 't');
execute p4 ('x', '2024-01-01', 't');
alter table device add column added integer default 1;
prepare star as select * from device where id = 2;
alter table device drop column added;
execute star;
drop table device;
execute star;
--> params 0
select pg_terminate_backend($1);
--> params {a,1}
select '{"a": [1, 2]}'::json #>> $1;
