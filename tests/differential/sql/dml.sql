-- INSERT, UPDATE, DELETE, MERGE, RETURNING, ON CONFLICT, COPY.
create table account (id integer primary key, owner text not null, balance numeric(12, 2) not null default 0, opened date default '2024-01-01', flags text[]);
create table transfer (id serial primary key, source integer references account, target integer references account, amount numeric(12, 2) check (amount > 0));
insert into account (id, owner) values (1, 'ann');
insert into account values (2, 'bob', 100.50, '2023-05-05', '{gold}'), (3, 'cyd', 0, default, null);
insert into account (owner, id) values ('dan', 4) returning *;
insert into account (id, owner, balance) values (5, 'eve', 10) returning id, balance * 2 as doubled, owner || '!' as shout;
insert into account (id, owner) select id + 10, owner || '2' from account where id < 3 order by id returning id;
insert into account (id, owner) values (1, 'dup');
insert into account (id, owner) values (6, null);
insert into account (id) values (6);
insert into account (id, owner, nope) values (6, 'x', 1);
insert into account (id, owner) values (6, 'x', 1);
insert into account (id, owner, balance) values (6, 'x');
insert into account (id, id, owner) values (6, 6, 'x');
insert into account values ('7', 'text id', '12.5');
insert into account values ('seven', 'x');
insert into account (id, owner, balance) values (8, 'rich', 99999999999.99);
insert into nowhere values (1);
insert into account (id, owner, opened) values (9, 'nine', 'not a date');
insert into account (id, owner) values (9, 9);
insert into account default values;
insert into account (id, owner) values (1, 'again') on conflict do nothing;
insert into account (id, owner) values (1, 'again') on conflict (id) do update set owner = excluded.owner;
insert into account (id, owner) values (1, 'third'), (20, 'twenty') on conflict (id) do update set owner = account.owner || '+' || excluded.owner returning id, owner;
insert into account (id, owner) values (30, 'a'), (30, 'b') on conflict (id) do update set owner = excluded.owner;
insert into account (id, owner) values (1, 'x') on conflict (id) do update set balance = account.balance + 5 where account.balance > 1000 returning *;
insert into account (id, owner) values (1, 'x') on conflict (owner) do nothing;
insert into account (id, owner) values (1, 'x') on conflict on constraint account_pkey do nothing;
insert into account (id, owner) values (1, 'x') on conflict on constraint nope do nothing;
insert into account (id, owner) values (1, 'x') on conflict do update set owner = 'y';
insert into account as a (id, owner) values (1, 'z') on conflict (id) do update set owner = a.owner || excluded.id returning owner;
select id, owner, balance from account order by id;
update account set balance = balance + 50 where id = 1;
update account set balance = balance + 50 where id = 999;
update account set balance = default, opened = null where id = 2 returning balance, opened;
update account set (owner, balance) = ('both', 1.5) where id = 3 returning owner, balance;
update account set (owner, balance) = (select 'sub', 2.5) where id = 3 returning owner, balance;
update account set (balance) = row (3) where id = 3;
update account a set balance = a.balance * 2 where a.id = 1 returning a.balance;
update account set balance = (select sum(balance) from account) where id = 4 returning balance;
update account set id = 2 where id = 1;
update account set id = id + 100 where id >= 10;
update account set id = id + 1 where id > 100 returning id;
update account set nope = 1;
update account set owner = null where id = 1;
update account set balance = 'x' where id = 1;
update account set owner = 1, owner = 2;
update account set account.owner = 'x';
update nowhere set a = 1;
update account set flags = array['a', 'b'] where id = 1 returning flags[1];
update account set flags[2] = 'c' where id = 1 returning flags;
update account set balance = t.b from (values (1, 11.11), (2, 22.22)) as t (i, b) where account.id = t.i returning id, balance;
update account set balance = a2.balance from account a2 where a2.id = 2 and account.id = 3 returning account.id, account.balance, a2.owner;
update account set balance = balance where false;
insert into transfer (source, target, amount) values (1, 2, 5) returning id;
insert into transfer (source, target, amount) values (1, 200, 5);
insert into transfer (source, target, amount) values (1, 2, 0);
insert into transfer (source, target, amount) values (1, 2, 7), (2, 3, 8);
select id from transfer order by id;
delete from account where id = 1;
delete from transfer where amount > 7 returning *;
delete from transfer using account where transfer.source = account.id and account.owner like 'none%';
delete from transfer t using account a where t.target = a.id and a.id = 2 and t.amount < 6 returning t.id, a.owner;
delete from account where id in (select id from account where id > 100) returning id;
delete from account where nope = 1;
delete from nowhere;
delete from only account where id = 20;
delete account where id = 1;
select count(*) from account;
insert into account (id, owner) select g, 'user ' || g from generate_series(1000, 1009) g;
select count(*), min(owner), max(owner) from account where id >= 1000;
update account set balance = id % 3 where id >= 1000;
delete from account where id >= 1000 and balance = 0;
select id, balance from account where id >= 1000 order by id;
select sum(balance) from account where id >= 1000;
insert into account (id, owner) values (2000, 'default fill') returning opened, flags is null;
insert into account (id, owner, flags) values (2001, 'arr', array['x', null]) returning flags;
insert into account (id, owner, flags) values (2002, 'arr', '{"a b",c}') returning flags[1];
insert into account (id, owner) values (2003, 'multi'), (1, 'dup');
select count(*) from account where id = 2003;
create table target (id integer primary key, v text, n integer);
create table source (id integer, v text, n integer);
insert into target values (1, 'one', 1), (2, 'two', 2), (3, 'three', 3);
insert into source values (2, 'TWO', 20), (3, null, 30), (4, 'FOUR', 40);
merge into target t using source s on t.id = s.id when matched then update set v = s.v, n = t.n + s.n when not matched then insert values (s.id, s.v, s.n);
select * from target order by id;
merge into target t using source s on t.id = s.id when matched and s.v is null then delete when matched then do nothing;
select * from target order by id;
merge into target using (values (1), (9)) as s (k) on id = s.k when not matched then insert (id, v) values (s.k, 'new') when matched then update set n = -1;
select * from target order by id;
truncate target;
copy target from stdin;
1	one	10
2	\N	20
3	tab\there	\N
\.
select * from target order by id;
copy target (id, v) from stdin with (format csv);
4,"quoted, comma"
5,
6,""
\.
select id, v, v is null from target where id > 3 order by id;
copy target to stdout;
copy target (id, n) to stdout with (format csv, header);
copy (select id, v from target where id < 3 order by id) to stdout with (format csv, null 'NULL');
copy (select 'a"b', 'c,d', e'e\nf') to stdout csv;
copy target from stdin;
7	bad	x
\.
copy target from stdin;
8	too few
\.
copy target from stdin with csv;
9,many,1,2
\.
copy target from stdin with (delimiter '|', null '-');
10|ten|-
\.
select * from target where id = 10;
copy target from stdin with (format csv, header true);
id,v,n
11,eleven,11
\.
copy target from stdin;
1	duplicate	1
\.
copy nowhere from stdin;
1
\.
copy target (nope) to stdout;
copy (select * from target order by id limit 1) to stdout (delimiter ',');
copy target to stdout (format xml);
copy target from '/nonexistent/file';
copy (values (1, true, null, '{1,2}'::integer[], '2024-01-01'::date)) to stdout;
create table counter (name text primary key, hits integer default 0);
insert into counter values ('home') on conflict (name) do update set hits = counter.hits + 1 returning *;
insert into counter values ('home') on conflict (name) do update set hits = counter.hits + 1 returning *;
insert into counter (name) values ('a'), ('b') on conflict do nothing returning name;
insert into counter (name) values ('a'), ('c') on conflict do nothing returning name;
insert into counter select 'sel', 5 on conflict (name) do update set hits = excluded.hits;
select * from counter order by name;
with d as (delete from counter where name = 'a' returning *) insert into counter select 'from a', hits + 100 from d returning *;
with i as (insert into counter values ('w', 1) returning name) update counter set hits = 99 where name in ('b') returning name, (select name from i);
insert into counter values ('x', (select max(hits) from counter)) returning hits;
update counter set hits = hits + 1 where name = (select name from counter order by hits desc, name limit 1) returning name;
delete from counter where hits = (select min(hits) from counter) returning name;
update counter set hits = case when hits > 50 then 0 else hits end;
update counter c set hits = s.n from (select name, length(name) as n from counter) s where s.name = c.name;
select name, hits from counter order by name;
create table big (id integer primary key, pad text);
insert into big select g, repeat('x', g % 10) from generate_series(1, 5000) g;
update big set pad = pad || 'y' where id % 2 = 0;
delete from big where id > 4000;
select count(*), sum(length(pad)) from big;
insert into big values (1, 'a') on conflict (id) do update set pad = excluded.pad where big.pad = 'nothing';
insert into big select id + 10000, pad from big where id < 4 returning id;
delete from big returning count(*);
update big set pad = count(*);
insert into big values (99999, default), (99998, null) returning pad;
insert into account values (3000, 'typed', 1, '2024-06-01'::timestamp);
insert into target (id, n) values (500, 1.5), (501, 2.5) returning n;
insert into target (id, n) values (502, '1.5');
insert into target (id, v) values (503, 1.50), (504, true) returning v;
insert into target (id, v) values (505, current_date) returning v = current_date::text;
insert into target values ((select max(id) + 1 from target), 'sub') returning v;
insert into target select;
insert into target (id) values (1 + 599), (600 + 1) returning id;
insert into target (id) select id from target;
create table kept (a integer primary key, b text, c integer default 7);
insert into kept values (1, 'one', 10), (2, 'two', -5), (3, 'three', 30);
create view shown as select a as x, b as y, c, upper(b) as loud from kept where c > 0;
insert into shown (x, y) values (4, 'four') returning *;
insert into shown values (5, 'five', -1);
insert into shown (x, loud) values (6, 'SIX');
insert into shown (a) values (6);
insert into shown (x) values (1);
insert into shown (x) values (1) on conflict do nothing;
insert into shown select 6, 'six' returning x, y;
update shown set y = 'no' where x = 2;
update shown set y = y || '!', c = c + 1 where x in (1, 3) returning x, y, c, loud;
update shown set loud = 'x';
update shown set y = '' where a = 1;
update shown s set c = s.c + v.n from (values (3, 100)) v (k, n) where v.k = s.x returning s.x, s.c, v.n;
delete from shown where loud = 'FOUR' returning x, y;
select * from kept order by a;
create view below as select y, x from shown where x < 4;
update below set y = 'deep' where x = 3;
insert into below values ('nine', 9);
delete from below;
select * from kept order by a;
create view counted as select b, count(*) as n from kept group by b;
update counted set b = 'x';
delete from counted;
insert into counted values ('x', 1);
create view paired as select k.a from kept k, kept l;
delete from paired;
-- Rows that a view would not show.
create table goods (id integer primary key, price integer, name text);
insert into goods values (1, 10, 'x'), (2, 20, 'y');
create view dear as select * from goods where price > 5 with check option;
insert into dear values (3, 3, 'z');
insert into dear values (3, 30, 'z');
insert into dear select 4, 4, 'q';
insert into dear values (4, null, 'q');
update dear set price = 1 where id = 3;
update dear set price = price + 1 where id = 3 returning *;
create view middling as select id as i, price * 1 as twice, price as p, name from dear where price < 100 with local check option;
insert into middling (i, p) values (5, 200);
insert into middling (i, p) values (5, 2);
insert into middling (i, p) values (5, 50);
create view some_goods as select * from goods where price > 5;
create view local_goods as select * from some_goods where price < 100 with local check option;
insert into local_goods values (6, 1, 'l');
insert into local_goods values (7, 500, 'l');
create view all_goods as select * from some_goods where price < 100 with cascaded check option;
insert into all_goods values (8, 1, 'l');
update all_goods set price = price + 1000;
insert into dear values (1, 50, 'c') on conflict (id) do update set price = 0;
with w as (insert into dear values (9, 1, 'w') returning id) select * from w;
select table_name, check_option from information_schema.views where table_schema = 'public' and table_name in ('dear', 'middling', 'some_goods', 'all_goods') order by 1;
select relname, reloptions from pg_class where relname in ('dear', 'middling', 'some_goods') order by 1;
create view grouped as select price, count(*) from goods group by price with check option;
create view option_goods with (check_option = local) as select * from goods where price > 5;
insert into option_goods values (10, 1, 'o');
create or replace view option_goods as select * from goods where price > 5;
insert into option_goods values (10, 1, 'o');
create view wrong_goods with (check_option = nothing) as select * from goods;
select id, price from goods order by id;
