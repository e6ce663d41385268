//! Rows that are too large for one entry of the log.

use perigee_types::SqlState;

use crate::node::{Client, Node};

const SIZES: &str = "select k, length(v), left(v, 1), right(v, 1) from t order by k";

async fn is(client: &mut Client, rows: &[&str]) {
    assert_eq!(client.rows(SIZES).await, rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_rows_are_written_changed_and_taken_back() {
    let mut node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (k int8 primary key, v text)").await;
    a.ok("insert into t values (1, repeat('a', 3000000)), (2, 'small'), (3, repeat('c', 1100000))").await;
    is(&mut b, &["1|3000000|a|a", "2|5|s|l", "3|1100000|c|c"]).await;
    a.ok("begin").await;
    a.ok("update t set v = v || 'b' where k = 1").await;
    a.ok("savepoint s").await;
    a.ok("update t set v = repeat('d', 5000000)").await;
    a.ok("insert into t values (4, repeat('e', 2000000))").await;
    is(&mut a, &["1|5000000|d|d", "2|5000000|d|d", "3|5000000|d|d", "4|2000000|e|e"]).await;
    a.ok("rollback to s").await;
    is(&mut b, &["1|3000000|a|a", "2|5|s|l", "3|1100000|c|c"]).await;
    a.ok("delete from t where k = 3").await;
    a.ok("commit").await;
    is(&mut b, &["1|3000001|a|b", "2|5|s|l"]).await;
    // More of them than a transaction buffers, and found again by their keys before it ends.
    a.ok("begin").await;
    a.ok("insert into t select g, repeat('x', 1500000) || g from generate_series(11, 16) g").await;
    assert_eq!(a.ok("update t set v = v || '!' where k = 13").await, "UPDATE 1");
    assert_eq!(a.fails("insert into t values (14, repeat('y', 2000000))").await, SqlState::UniqueViolation);
    a.ok("rollback").await;
    is(&mut a, &["1|3000001|a|b", "2|5|s|l"]).await;
    drop((a, b));
    for checkpoint in [false, true] {
        node = node.restart(checkpoint).await;
        let mut a = node.client().await;
        is(&mut a, &["1|3000001|a|b", "2|5|s|l"]).await;
    }
}

/// Many statements of one transaction buffer no more than a large one does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_statements_write_goes_to_the_log_before_the_end() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (k int8 primary key, v text)").await;
    a.ok("begin").await;
    for k in 0..30 {
        a.ok(&format!("insert into t values ({k}, repeat('x', 500000))")).await;
    }
    a.ok("savepoint s").await;
    for k in 0..30 {
        assert_eq!(a.ok(&format!("update t set v = repeat('y', 400000) where k = {k}")).await, "UPDATE 1");
    }
    assert_eq!(a.rows("select count(*), min(length(v)), max(left(v, 1)) from t").await, ["30|400000|y"]);
    assert_eq!(a.fails("insert into t values (7, '')").await, SqlState::UniqueViolation);
    a.ok("rollback to s").await;
    assert_eq!(a.rows("select count(*), min(length(v)), max(left(v, 1)) from t").await, ["30|500000|x"]);
    assert_eq!(a.ok("delete from t where k >= 20").await, "DELETE 10");
    assert_eq!(b.rows("select count(*) from t").await, ["0"]);
    assert_eq!(node.engine.store().statistics().staged, 1, "rows are in the log already");
    a.ok("commit").await;
    assert_eq!(b.rows("select count(*), sum(length(v)) from t").await, ["20|10000000"]);
    a.ok("begin").await;
    for k in 100..130 {
        a.ok(&format!("insert into t values ({k}, repeat('x', 500000))")).await;
    }
    a.ok("rollback").await;
    assert_eq!(b.rows("select count(*) from t").await, ["20"]);
}

/// Without a primary key the log says of a row that ends what was in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_rows_without_a_key_end() {
    let mut node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table t (k int8, v text)").await;
    a.ok("insert into t select g, repeat('x', 2000000) || g from generate_series(1, 4) g").await;
    a.ok("update t set v = v || 'u' where k = 1").await;
    assert_eq!(a.ok("delete from t where k in (2, 3)").await, "DELETE 2");
    drop(a);
    node = node.restart(false).await;
    is(&mut node.client().await, &["1|2000002|x|u", "4|2000001|x|4"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_above_the_limit_is_refused_and_leaves_nothing() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table t (k int8 primary key, v text)").await;
    let refused = SqlState::ProgramLimitExceeded;
    assert_eq!(a.fails("insert into t values (1, repeat('x', 68000000))").await, refused);
    a.ok("begin").await;
    a.ok("insert into t values (2, repeat('y', 2000000))").await;
    a.ok("savepoint s").await;
    assert_eq!(a.fails("insert into t select 3, repeat('x', 68000000)").await, refused);
    a.ok("rollback to s").await;
    a.ok("insert into t values (4, 'small')").await;
    a.ok("commit").await;
    is(&mut a, &["2|2000000|y|y", "4|5|s|l"]).await;
}
