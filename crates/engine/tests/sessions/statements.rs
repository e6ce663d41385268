//! Single statements.

use perigee_types::SqlState;

use crate::node::Node;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_written_read_changed_and_deleted() {
    let node = Node::start().await;
    let mut c = node.client().await;
    c.ok("create table t (id int primary key, name text not null, n int default 7)").await;
    assert_eq!(c.ok("insert into t (id, name) values (1, 'one'), (2, 'two'), (3, 'three')").await, "INSERT 0 3");
    assert_eq!(c.rows("select * from t where id = 2").await, ["2|two|7"]);
    assert_eq!(c.rows("select name from t where id >= 2 order by id desc").await, ["three", "two"]);
    assert_eq!(c.ok("update t set n = n + 1 where id = 2").await, "UPDATE 1");
    assert_eq!(c.ok("update t set n = n * 10 where name like 't%'").await, "UPDATE 2");
    assert_eq!(c.rows("select id, n from t order by id").await, ["1|7", "2|80", "3|70"]);
    assert_eq!(c.rows("delete from t where id = 1 returning id, name").await, ["1|one"]);
    assert_eq!(c.ok("delete from t where n > 75").await, "DELETE 1");
    assert_eq!(c.rows("select count(*), sum(n) from t").await, ["1|70"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn constraints_are_kept() {
    let node = Node::start().await;
    let mut c = node.client().await;
    c.ok("create table t (id int primary key, name text unique, n int not null)").await;
    c.ok("insert into t values (1, 'a', 1)").await;
    assert_eq!(c.fails("insert into t values (1, 'b', 1)").await, SqlState::UniqueViolation);
    assert_eq!(c.fails("insert into t values (2, 'a', 1)").await, SqlState::UniqueViolation);
    assert_eq!(c.fails("insert into t values (2, 'b', null)").await, SqlState::NotNullViolation);
    assert_eq!(c.fails("insert into t values (null, 'b', 1)").await, SqlState::NotNullViolation);
    c.ok("insert into t values (2, null, 1), (3, null, 1)").await;
    assert_eq!(c.fails("update t set id = 1 where id = 2").await, SqlState::UniqueViolation);
    assert_eq!(c.fails("insert into t values (8, 'x', 1), (8, 'y', 1)").await, SqlState::UniqueViolation);
    assert_eq!(c.ok("update t set id = id + 1").await, "UPDATE 3", "keys may move between rows");
    assert_eq!(c.rows("select id from t order by id").await, ["2", "3", "4"]);
    assert_eq!(c.ok("insert into t values (2, 'q', 1), (9, 'r', 1) on conflict do nothing").await, "INSERT 0 1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serial_columns_count() {
    let node = Node::start().await;
    let mut c = node.client().await;
    c.ok("create table s (id serial primary key, v text)").await;
    c.ok("insert into s (v) values ('a'), ('b')").await;
    assert_eq!(c.rows("insert into s (v) values ('c') returning id").await, ["3"]);
    let node = node.restart(false).await;
    let mut c = node.client().await;
    let next: i64 = c.rows("insert into s (v) values ('d') returning id").await[0].parse().unwrap();
    assert!(next > 3, "a value is never given twice: {next}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_there_after_a_restart() {
    let mut node = Node::start().await;
    let mut c = node.client().await;
    c.ok("create table t (id bigint primary key, name text); create index t_name on t (name)").await;
    for n in 0..50 {
        c.ok(&format!("insert into t values ({n}, 'n{n}')")).await;
    }
    for checkpoint in [false, true, false] {
        drop(c);
        node = node.restart(checkpoint).await;
        c = node.client().await;
        assert_eq!(c.rows("select count(*), min(name) from t").await, ["50|n0"]);
        assert_eq!(c.rows("select name from t where id = 33").await, ["n33"]);
        c.ok("update t set name = name where id = 33").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_set_shown_and_reset() {
    let node = Node::start().await;
    let mut c = node.client().await;
    c.ok("set statement_timeout = '5s'").await;
    assert_eq!(c.rows("show statement_timeout").await, ["5s"]);
    c.ok("begin; set local statement_timeout = 100; commit").await;
    assert_eq!(c.rows("show statement_timeout").await, ["5s"]);
    c.ok("begin").await;
    c.ok("set statement_timeout = 7000").await;
    c.ok("rollback").await;
    assert_eq!(c.rows("show statement_timeout").await, ["5s"]);
    c.ok("reset all").await;
    assert_eq!(c.rows("show statement_timeout").await, ["0"]);
    assert_eq!(c.fails("set no_such_thing = 1").await, SqlState::UndefinedObject);
    assert_eq!(c.rows("show transaction isolation level").await, ["read committed"]);
    assert_eq!(c.rows("show durability").await, ["fsync"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prepared_statements_of_sql() {
    let node = Node::start().await;
    let mut c = node.client().await;
    c.ok("create table t (id int primary key, v text); insert into t values (1, 'a'), (2, 'b')").await;
    c.ok("prepare q (int) as select v from t where id = $1").await;
    assert_eq!(c.rows("execute q (2)").await, ["b"]);
    assert_eq!(c.fails("execute q").await, SqlState::SyntaxError);
    assert_eq!(c.fails("prepare q as select 1").await, SqlState::DuplicatePreparedStatement);
    c.ok("deallocate q").await;
    assert_eq!(c.fails("execute q (2)").await, SqlState::InvalidSqlStatementName);
}
