//! Foreign keys and ON CONFLICT between sessions.

use std::time::Duration;

use perigee_types::{SqlError, SqlState};
use tokio::task::JoinHandle;

use crate::node::{Client, Node};

/// Starts a statement that has to wait for another session.
async fn waits(mut client: Client, sql: &'static str) -> JoinHandle<(Client, Result<String, SqlError>)> {
    let waiting = tokio::spawn(async move {
        let result = client.run(sql).await.map(|(_, tag)| tag);
        (client, result)
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished(), "{sql} must wait");
    waiting
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_sessions_that_insert_one_key_the_second_waits() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (id int primary key, code int unique, n int)").await;
    let cases = [
        ("insert into t values (1, 1, 2)", "commit", Err(SqlState::UniqueViolation)),
        ("insert into t values (1, 1, 2)", "rollback", Ok("INSERT 0 1")),
        ("insert into t values (1, 1, 2) on conflict do nothing", "commit", Ok("INSERT 0 0")),
        ("insert into t values (1, 1, 2) on conflict do nothing", "rollback", Ok("INSERT 0 1")),
        (
            "insert into t values (1, 1, 2) on conflict (id) do update set n = t.n + excluded.n",
            "commit",
            Ok("INSERT 0 1"),
        ),
        (
            "insert into t select 7, 1, 2 on conflict (code) do update set n = t.n + excluded.n",
            "commit",
            Ok("INSERT 0 1"),
        ),
    ];
    for (sql, end, expected) in cases {
        a.ok("delete from t").await;
        a.ok("begin; insert into t values (1, 1, 1)").await;
        let waiting = waits(b, sql).await;
        a.ok(end).await;
        let (back, result) = waiting.await.unwrap();
        b = back;
        assert_eq!(result.map_err(|error| error.state()), expected.map(str::to_owned), "{sql}, {end}");
        if sql.contains("update") {
            assert_eq!(a.rows("select n from t").await, ["3"], "{sql}: the committed row is updated");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_being_freed_is_waited_for() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (id int primary key, code int unique)").await;
    for (end, expected) in [("commit", Ok("INSERT 0 1".to_owned())), ("rollback", Err(SqlState::UniqueViolation))] {
        a.ok("delete from t; insert into t values (1, 1)").await;
        a.ok("begin; delete from t where id = 1").await;
        let waiting = waits(b, "insert into t values (2, 1)").await;
        a.ok(end).await;
        let (back, result) = waiting.await.unwrap();
        b = back;
        assert_eq!(result.map_err(|error| error.state()), expected, "{end}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_conflict_in_a_snapshot_refuses_what_it_does_not_show() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (id int primary key, n int)").await;
    for sql in [
        "insert into t values (1, 2) on conflict do nothing",
        "insert into t values (1, 2) on conflict (id) do update set n = 3",
    ] {
        a.ok("delete from t").await;
        b.ok("begin isolation level repeatable read").await;
        b.rows("select * from t").await;
        a.ok("insert into t values (1, 1)").await;
        assert_eq!(b.fails(sql).await, SqlState::SerializationFailure, "{sql}");
        b.ok("rollback").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_pointed_to_stays() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table p (id int primary key, n int default 0)").await;
    a.ok("create table c (id int primary key, p int references p)").await;

    // The pointing row is there first: the delete waits for it and fails.
    a.ok("insert into p values (1)").await;
    a.ok("begin; insert into c values (1, 1)").await;
    // Writing what is no key does not wait.
    b.ok("update p set n = n + 1 where id = 1").await;
    b.ok("update p set n = n + 1").await;
    let waiting = waits(b, "delete from p where id = 1").await;
    a.ok("commit").await;
    let (mut b, result) = waiting.await.unwrap();
    assert_eq!(result.unwrap_err().state(), SqlState::ForeignKeyViolation);

    // The delete is there first: the pointing row waits for it and fails.
    a.ok("delete from c").await;
    for (end, expected) in [("commit", Some(SqlState::ForeignKeyViolation)), ("rollback", None)] {
        b.ok("begin; delete from p where id = 1").await;
        let waiting = waits(a, "insert into c values (2, 1)").await;
        b.ok(end).await;
        let (back, result) = waiting.await.unwrap();
        a = back;
        assert_eq!(result.err().map(|error| error.state()), expected, "{end}");
        a.ok("delete from c").await;
        a.ok("insert into p values (1) on conflict do nothing").await;
    }

    // Two that point to one row and then write it do not lock each other out.
    a.ok("begin; insert into c values (1, 1)").await;
    b.ok("begin; insert into c values (2, 1)").await;
    a.ok("update p set n = n + 1 where id = 1").await;
    let waiting = waits(b, "update p set n = n + 1 where id = 1").await;
    a.ok("commit").await;
    let (mut b, result) = waiting.await.unwrap();
    assert_eq!(result.unwrap(), "UPDATE 1");
    b.ok("commit").await;
    assert_eq!(a.rows("select n from p").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cascade_waits_for_the_rows_that_it_takes_along() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table p (id int primary key)").await;
    a.ok("create table c (id int primary key, p int references p on delete cascade, n int default 0)").await;
    a.ok("insert into p values (1), (2); insert into c values (1, 1), (2, 1), (3, 2)").await;
    a.ok("begin; update c set p = 2 where id = 1").await;
    let waiting = waits(b, "delete from p where id = 1").await;
    a.ok("commit").await;
    let (back, result) = waiting.await.unwrap();
    b = back;
    assert_eq!(result.unwrap(), "DELETE 1");
    assert_eq!(b.rows("select id, p from c order by id").await, ["1|2", "3|2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn constraints_survive_a_restart_and_hold_for_copy() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table p (id int primary key)").await;
    a.ok("create table c (p int references p, n int check (n > 0))").await;
    a.ok("insert into p select * from generate_series(1, 10)").await;
    drop(a);
    let node = node.restart(true).await;
    let mut a = node.client().await;
    assert_eq!(a.fails("insert into c values (11, 1)").await, SqlState::ForeignKeyViolation);
    assert_eq!(a.fails("insert into c values (1, 0)").await, SqlState::CheckViolation);
    assert_eq!(
        a.fails("insert into c select 1 + g % 20, 1 from generate_series(0, 50) as s (g)").await,
        SqlState::ForeignKeyViolation
    );
    a.ok("insert into c select 1 + g % 10, 1 from generate_series(0, 50) as s (g)").await;
    assert_eq!(a.fails("delete from p where id = 3").await, SqlState::ForeignKeyViolation);
}

/// Without a primary key the lock of a row names its version; a new version must not slip past who points to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parent_without_a_primary_key_keeps_its_children() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table p (code int unique, n int)").await;
    a.ok("create table c (code int references p (code))").await;
    a.ok("insert into p values (1, 0)").await;
    a.ok("begin").await;
    a.ok("insert into c values (1)").await;
    b.ok("set lock_timeout = '100ms'").await;
    assert_eq!(b.fails("update p set n = 1").await, SqlState::LockNotAvailable);
    assert_eq!(b.fails("delete from p").await, SqlState::LockNotAvailable);
    a.ok("commit").await;
    b.ok("update p set n = 1").await;
    assert_eq!(b.fails("delete from p").await, SqlState::ForeignKeyViolation);
}
