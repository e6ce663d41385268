-- Transactions, savepoints, isolation between sessions, cursors, locks.
create table t (id integer primary key, v text);
begin;
insert into t values (1, 'a');
select count(*) from t;
commit;
begin;
insert into t values (2, 'b');
rollback;
select * from t order by id;
start transaction;
insert into t values (3, 'c');
end;
begin work;
abort;
commit;
rollback;
begin;
begin;
commit;
begin;
select 1 / 0;
select 1;
insert into t values (9, 'x');
commit;
select * from t order by id;
begin;
savepoint one;
insert into t values (4, 'd');
savepoint two;
insert into t values (5, 'e');
rollback to savepoint two;
release savepoint one;
commit;
select id from t order by id;
begin;
savepoint s;
insert into t values (1, 'dup');
rollback to s;
insert into t values (6, 'f');
commit;
select id from t order by id;
begin;
rollback to nowhere;
rollback;
release savepoint nothing;
savepoint outside;
begin;
savepoint a;
savepoint a;
release a;
release a;
release a;
rollback;
begin isolation level serializable;
show transaction_isolation;
commit;
begin transaction isolation level repeatable read read only;
insert into t values (7, 'g');
rollback;
begin read only;
select count(*) from t;
create table nope (a integer);
rollback;
begin;
set transaction isolation level repeatable read;
select 1;
set transaction isolation level serializable;
rollback;
set transaction isolation level serializable;
set session characteristics as transaction isolation level repeatable read;
show default_transaction_isolation;
begin;
show transaction_isolation;
commit;
set session characteristics as transaction isolation level read committed;
set default_transaction_read_only = on;
insert into t values (8, 'h');
set default_transaction_read_only = off;
commit and chain;
begin;
insert into t values (10, 'j');
commit and chain;
select count(*) from t;
rollback and no chain;
begin; insert into t values (11, 'k'); rollback; select count(*) from t;
insert into t values (12, 'l'); select 1 / 0;
select id from t where id = 12;
insert into t values (13, 'm'); commit; insert into t values (1, 'dup');
select id from t where id = 13;
begin; select 1; commit; select 2;
-- Two sessions.
begin;
insert into t values (20, 'mine');
--> session b
select count(*) from t where id = 20;
commit;
--> session b
select count(*) from t where id = 20;
--> session b
begin isolation level repeatable read;
--> session b
select count(*) from t;
insert into t values (21, 'later');
--> session b
select count(*) from t;
--> session b
commit;
--> session b
select count(*) from t where id = 21;
--> session b
begin isolation level repeatable read;
--> session b
select v from t where id = 1;
update t set v = 'changed' where id = 1;
--> session b
update t set v = 'mine' where id = 1;
--> session b
select 1;
--> session b
rollback;
begin;
update t set v = 'locked' where id = 3;
--> session b
select v from t where id = 3;
--> session b
select v from t where id = 3 for update nowait;
--> session b
select v from t where id in (1, 3) order by id for update skip locked;
--> session b
set lock_timeout = '100ms';
--> session b
update t set v = 'waits' where id = 3;
--> session b
set lock_timeout = 0;
commit;
--> session b
select v from t where id = 3 for update nowait;
begin;
create table made (a integer);
insert into made values (1);
--> session b
select * from made;
rollback;
select * from made;
begin;
drop table t;
select count(*) from t;
rollback;
select count(*) > 0 from t;
begin;
alter table t add column extra integer default 5;
select distinct extra from t;
rollback;
select extra from t;
begin;
truncate t;
select count(*) from t;
rollback;
select count(*) > 0 from t;
begin;
declare c cursor for select id from t order by id;
fetch c;
fetch next from c;
fetch 2 from c;
fetch forward 1 from c;
move 1 from c;
fetch all from c;
fetch c;
close c;
fetch c;
rollback;
begin;
declare s scroll cursor for select id from t order by id;
fetch last from s;
fetch prior from s;
fetch first from s;
fetch absolute 3 from s;
fetch relative -1 from s;
fetch backward 1 from s;
fetch backward all from s;
select name, statement, is_scrollable from pg_cursors;
commit;
declare outside cursor for select 1;
begin;
declare held cursor with hold for select id from t order by id;
commit;
fetch 2 from held;
close held;
close held;
begin;
declare d cursor for select * from t where id = 1 for update;
fetch d;
update t set v = 'current' where current of d;
commit;
select v from t where id = 1;
begin;
lock table t in access exclusive mode;
commit;
lock table t;
begin;
lock table nowhere;
rollback;
select pg_advisory_lock(5);
--> session b
select pg_try_advisory_lock(5);
select pg_advisory_unlock(5);
--> session b
select pg_try_advisory_lock(5);
--> session b
select pg_advisory_unlock(5);
select pg_advisory_unlock(6);
begin;
select pg_advisory_xact_lock(7);
--> session b
select pg_try_advisory_xact_lock(7);
rollback;
prepare transaction 'x';
begin;
prepare transaction 'two-phase';
rollback prepared 'two-phase';
rollback;
select txid_current() > 0, txid_current_if_assigned() is null;
select pg_current_xact_id() is not null;
begin;
set local statement_timeout = '1s';
show statement_timeout;
commit;
select current_setting('statement_timeout');
begin;
set constraints all deferred;
commit;
create table d (id integer primary key, other integer references d (id) deferrable initially deferred);
begin;
insert into d values (1, 2);
insert into d values (2, null);
commit;
begin;
insert into d values (3, 99);
commit;
select count(*) from d;
set statement_timeout = '50ms';
select pg_sleep(5);
set statement_timeout = 0;
begin;
set local statement_timeout = '50ms';
select pg_sleep(5);
rollback;
begin; select 1; select nope; select 2;
rollback;
listen news;
notify news, 'hello';
unlisten news;
select pg_notify('news', 'x');
discard all;
begin;
discard all;
rollback;
select xmin is not null from t limit 1;
begin;
insert into t values (50, 'x') on conflict do nothing;
savepoint p;
update t set v = 'p' where id = 50;
rollback to p;
select v from t where id = 50;
rollback to p;
delete from t where id = 50;
commit;
select count(*) from t where id = 50;
