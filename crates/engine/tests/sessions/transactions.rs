//! Transactions beside each other.

use std::time::Duration;

use perigee_types::SqlState;

use crate::node::Node;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_commits_as_one_and_rolls_back_as_one() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (id int primary key, n int); insert into t values (1, 10), (2, 20)").await;
    a.ok("begin").await;
    a.ok("update t set n = n - 5 where id = 1").await;
    a.ok("insert into t values (3, 30)").await;
    assert_eq!(a.rows("select * from t order by id").await, ["1|5", "2|20", "3|30"], "own writes are seen");
    assert_eq!(a.rows("select n from t where id = 3").await, ["30"]);
    assert_eq!(b.rows("select * from t order by id").await, ["1|10", "2|20"], "others' are not");
    a.ok("commit").await;
    assert_eq!(b.rows("select * from t order by id").await, ["1|5", "2|20", "3|30"]);
    a.ok("begin; delete from t; rollback").await;
    assert_eq!(a.rows("select count(*) from t").await, ["3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_ends_the_block_until_rollback() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table t (id int primary key)").await;
    a.ok("begin").await;
    a.ok("insert into t values (1)").await;
    assert_eq!(a.fails("select 1/0").await, SqlState::DivisionByZero);
    assert_eq!(a.fails("select 1").await, SqlState::InFailedSqlTransaction);
    assert_eq!(a.ok("commit").await, "ROLLBACK", "a commit that commits nothing does not say COMMIT");
    assert_eq!(a.rows("select count(*) from t").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn savepoints_are_marks_in_the_buffer() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table t (id int primary key, n int); insert into t values (1, 1)").await;
    a.ok("begin").await;
    a.ok("insert into t values (2, 2)").await;
    a.ok("savepoint s").await;
    a.ok("update t set n = 100").await;
    a.ok("insert into t values (3, 3)").await;
    a.ok("delete from t where id = 2").await;
    assert_eq!(a.fails("insert into t values (1, 1)").await, SqlState::UniqueViolation);
    a.ok("rollback to savepoint s").await;
    assert_eq!(a.rows("select * from t order by id").await, ["1|1", "2|2"]);
    a.ok("insert into t values (3, 33)").await;
    a.ok("release savepoint s").await;
    assert_eq!(a.fails("rollback to savepoint s").await, SqlState::InvalidSavepointSpecification);
    a.ok("rollback").await;
    assert_eq!(a.rows("select * from t").await, ["1|1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_waits_for_the_row_and_sees_the_newer_version() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (id int primary key, n int); insert into t values (1, 1), (2, 2)").await;
    for update in ["update t set n = n * 2 where id = 1", "update t set n = n * 2 where n < 50 and id < 2"] {
        let before: i64 = a.rows("select n from t where id = 1").await[0].parse().unwrap();
        a.ok("begin").await;
        a.ok("update t set n = n + 1 where id = 1").await;
        let waiting = tokio::spawn(async move {
            let tag = b.ok(update).await;
            (b, tag)
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!waiting.is_finished(), "the row is locked");
        a.ok("commit").await;
        let (back, tag) = waiting.await.unwrap();
        b = back;
        assert_eq!(tag, "UPDATE 1");
        assert_eq!(a.rows("select n from t where id = 1").await, [((before + 1) * 2).to_string()]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_inserts_of_one_key_meet() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (id int primary key)").await;
    for commits in [true, false] {
        a.ok("begin; insert into t values (5)").await;
        let waiting = tokio::spawn(async move {
            let result = b.run("insert into t values (5)").await.map(|(_, tag)| tag).map_err(|e| e.state());
            (b, result)
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished(), "the second waits for the first");
        a.ok(if commits { "commit" } else { "rollback" }).await;
        let (back, result) = waiting.await.unwrap();
        b = back;
        let want = if commits { Err(SqlState::UniqueViolation) } else { Ok("INSERT 0 1".to_owned()) };
        assert_eq!(result, want);
        a.ok("delete from t").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeatable_read_keeps_its_snapshot_and_refuses_lost_updates() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (id int primary key, n int); insert into t values (1, 1), (2, 2)").await;
    a.ok("begin isolation level repeatable read").await;
    assert_eq!(a.rows("select sum(n) from t").await, ["3"]);
    b.ok("update t set n = 10 where id = 1").await;
    assert_eq!(a.rows("select sum(n) from t").await, ["3"]);
    assert_eq!(a.rows("select n from t where id = 1").await, ["1"]);
    assert_eq!(a.fails("update t set n = n + 1 where id = 1").await, SqlState::SerializationFailure);
    a.ok("rollback").await;
    assert_eq!(a.rows("select sum(n) from t").await, ["12"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_is_broken_and_a_lock_timeout_ends_a_wait() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (id int primary key, n int); insert into t values (1, 1), (2, 2)").await;
    a.ok("begin; update t set n = 0 where id = 1").await;
    b.ok("begin; update t set n = 0 where id = 2").await;
    let waiting = tokio::spawn(async move {
        a.ok("update t set n = 0 where id = 2").await;
        a.ok("commit").await;
        a
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(b.fails("update t set n = 0 where id = 1").await, SqlState::DeadlockDetected);
    b.ok("rollback").await;
    let mut a = waiting.await.unwrap();
    a.ok("begin; update t set n = 5 where id = 1").await;
    b.ok("set lock_timeout = '50ms'").await;
    assert_eq!(b.fails("update t set n = 6 where id = 1").await, SqlState::LockNotAvailable);
    drop(a);
    b.ok("update t set n = 6 where id = 1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_keep_the_total() {
    let node = Node::start().await;
    let mut c = node.client().await;
    c.ok("create table accounts (id int primary key, balance bigint)").await;
    c.ok("insert into accounts select i, 1000 from generate_series(0, 9) as g(i)").await;
    let mut workers = Vec::new();
    for worker in 0..8u32 {
        let mut client = node.client().await;
        workers.push(tokio::spawn(async move {
            let (mut done, mut x) = (0, worker);
            while done < 50 {
                x = x.wrapping_mul(1_103_515_245).wrapping_add(12_345);
                let (from, to) = ((x >> 8) % 10, (x >> 16) % 10);
                let sql = format!(
                    "begin; update accounts set balance = balance - 7 where id = {from}; \
                     update accounts set balance = balance + 7 where id = {to}; commit"
                );
                match client.run(&sql).await {
                    Ok(_) => done += 1,
                    Err(error) => {
                        assert_eq!(error.state(), SqlState::DeadlockDetected, "{error}");
                        client.ok("rollback").await;
                    }
                }
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(c.rows("select sum(balance), count(*) from accounts").await, ["10000|10"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_is_cancelled_and_times_out() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (id int primary key); insert into t values (1)").await;
    a.ok("begin; update t set id = 1 where id = 1").await;
    b.ok("set statement_timeout = 50").await;
    assert_eq!(b.fails("delete from t where id = 1").await, SqlState::QueryCanceled);
    b.ok("set statement_timeout = 0").await;
    let (pid, secret) = (b.session.process_id(), b.session.secret());
    let waiting = tokio::spawn(async move { b.fails("delete from t where id = 1").await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    node.engine.cancel(pid, secret.wrapping_add(1));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!waiting.is_finished(), "a wrong secret cancels nothing");
    node.engine.cancel(pid, secret);
    assert_eq!(waiting.await.unwrap(), SqlState::QueryCanceled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_only_transactions_refuse_writes() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table t (id int primary key)").await;
    a.ok("begin read only").await;
    assert_eq!(a.fails("insert into t values (1)").await, SqlState::ReadOnlySqlTransaction);
    a.ok("rollback").await;
}

/// A snapshot may be older than a change of a table that its transaction has not touched yet. What it then writes must
/// meet the table as it is: its storage, its constraints.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_behind_a_change_of_its_table_is_refused() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    for change in [
        "truncate t",
        "alter table t add check (v > 0)",
        "alter table t add unique (v)",
        "create unique index on t (v, id)",
        "alter table t add column w int",
        "alter table t alter column v set not null",
        "create table c (t int references t)",
        "drop table c; drop table t",
    ] {
        b.ok("create table if not exists t (id int primary key, v int)").await;
        a.ok("begin isolation level repeatable read").await;
        a.rows("select 1 from pg_class limit 1").await;
        b.ok(change).await;
        assert_eq!(a.fails("insert into t (id, v) values (1, -1)").await, SqlState::SerializationFailure, "{change}");
        a.ok("rollback").await;
        if !change.starts_with("drop") {
            assert_eq!(b.rows("select count(*) from t").await, ["0"], "{change}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeatable_read_does_not_write_rows_that_it_does_not_see() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    b.ok("create table t (id int primary key, v int)").await;
    a.ok("begin isolation level repeatable read").await;
    a.rows("select count(*) from t").await;
    b.ok("insert into t values (5, 1)").await;
    assert_eq!(a.rows("select * from t where id = 5").await, Vec::<String>::new());
    assert_eq!(a.ok("update t set v = 2 where id = 5").await, "UPDATE 0");
    assert_eq!(a.ok("delete from t where id = 5").await, "DELETE 0");
    assert_eq!(a.rows("select * from t where id = 5 for update").await, Vec::<String>::new());
    a.ok("insert into t values (6, 1)").await;
    assert_eq!(a.ok("update t set v = 2 where id = 6").await, "UPDATE 1");
    a.ok("commit").await;
    assert_eq!(b.rows("select id, v from t order by id").await, ["5|1", "6|2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_savepoint_takes_back_indexes_and_sequences_too() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table t (id serial primary key, v int)").await;
    a.ok("insert into t (v) values (1), (2)").await;
    a.ok("begin").await;
    a.ok("savepoint s").await;
    a.ok("create index made on t (v)").await;
    a.ok("truncate t restart identity").await;
    a.ok("rollback to s").await;
    a.ok("insert into t (v) values (3)").await;
    a.ok("commit").await;
    // Numbers taken ahead are lost, which leaves a gap; none comes twice.
    assert_eq!(a.rows("select v from t where id > 2 or v < 3 order by v").await, ["1", "2", "3"]);
    a.ok("begin").await;
    a.ok("create index made on t (v)").await;
    a.ok("drop index made").await;
    a.ok("commit").await;
}

/// Rows buffered before the first part of a load, in a table that only this transaction knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_table_refuses_keys_that_a_large_insert_repeats() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("begin").await;
    a.ok("create table t (id int primary key, v text)").await;
    let insert = "insert into t select case when g = 60000 then 1 else g end, repeat('x', 200) from generate_series(1, 60000) as s (g)";
    assert_eq!(a.fails(insert).await, SqlState::UniqueViolation);
    a.ok("rollback").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_wide_rows_end_in_one_transaction() {
    let node = Node::start().await;
    let mut client = node.client().await;
    // Without a key the log gets the whole rows that end.
    client.ok("create table t (k int, v text)").await;
    client.ok("insert into t select g, repeat('w', 900) from generate_series(1, 6000) g").await;
    client.ok("update t set v = v || 'x'").await;
    client.ok("begin; update t set k = k + 1; delete from t where k > 100; commit").await;
    assert_eq!(client.rows("select count(*), max(k) from t").await, ["99|100"]);
    let node = node.restart(false).await;
    assert_eq!(node.client().await.rows("select count(*), max(k) from t").await, ["99|100"]);
}
