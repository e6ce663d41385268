//! Statements that want too much, and what one session's statements keep from another's.

use std::time::Duration;

use perigee_types::SqlState;

use crate::node::Node;

/// A node's statements may hold 32 MB in these tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_statement_holds_is_bounded() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table p (id int primary key)").await;
    a.ok("create table c (id int primary key, p int references p on delete cascade, text text)").await;
    a.ok("create index on c (p)").await;
    a.ok("create table n (id int, p int references p on delete set null)").await;
    a.ok("insert into p values (1), (2)").await;
    a.ok("insert into c select g, 1, repeat('x', 1000) from generate_series(1, 20000) as s (g)").await;
    a.ok("insert into c select -g, 2, repeat('x', 1000) from generate_series(1, 100) as s (g)").await;
    // Found by the index; then by a scan, where there is none.
    assert_eq!(a.fails("delete from p where id = 1").await, SqlState::OutOfMemory);
    a.ok("insert into n select g, 1 from generate_series(1, 110000) as s (g)").await;
    a.ok("delete from c where id > 0").await;
    assert_eq!(a.fails("delete from p where id = 1").await, SqlState::OutOfMemory);
    assert_eq!(a.rows("select count(*) from n where p = 1").await, ["110000"], "nothing of it is left");
    assert_eq!(a.ok("delete from p where id = 2").await, "DELETE 1");
    assert_eq!(a.rows("select count(*) from c").await, ["0"]);

    // What RETURNING gives is kept, and so are whole rows where there is no key.
    a.ok("create table wide (text text)").await;
    a.ok("insert into wide select repeat('x', 10000) from generate_series(1, 5000)").await;
    assert_eq!(a.fails("delete from wide returning text").await, SqlState::OutOfMemory);
    assert_eq!(a.fails("delete from wide").await, SqlState::OutOfMemory);
    a.ok("create table t (id int primary key, text text)").await;
    let wide = "select g, repeat('x', 10000) from generate_series(1, 5000) as s (g)";
    assert_eq!(a.fails(&format!("insert into t {wide} on conflict do nothing")).await, SqlState::OutOfMemory);
    a.ok(&format!("insert into t {wide}")).await;
    // An UPDATE holds the new rows, and of the old ones the keys.
    assert_eq!(a.fails("update t set text = text || 'y'").await, SqlState::OutOfMemory);
    assert_eq!(a.ok("update t set text = text || 'y' where id <= 2500").await, "UPDATE 2500");
    assert_eq!(a.ok("delete from t").await, "DELETE 5000");
}

/// More rows without a key than one entry holds: they are logged in pieces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wide_rows_without_a_key_are_deleted_in_pieces() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table wide (id int, text text)").await;
    a.ok("insert into wide select g, repeat('x', 10000) from generate_series(1, 1000) as s (g)").await;
    assert_eq!(a.ok("delete from wide where id <= 600").await, "DELETE 600");
    drop(a);
    let node = node.restart(false).await;
    let mut a = node.client().await;
    assert_eq!(a.rows("select count(*), min(id) from wide").await, ["400|601"]);
}

/// Taking a share of very many rows that are pointed to does not take their table from others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_key_shares_stay_shares() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table p (id int primary key, n int default 0)").await;
    a.ok("create table c (p int references p)").await;
    a.ok("insert into p select g from generate_series(1, 60000) as s (g)").await;
    a.ok("begin; insert into c select g from generate_series(1, 55000) as s (g)").await;
    b.ok("set lock_timeout = '100ms'").await;
    b.ok("update p set n = 1 where id = 3").await;
    b.ok("insert into p values (70000)").await;
    assert_eq!(b.fails("delete from p where id = 3").await, SqlState::LockNotAvailable);
    b.ok("delete from p where id = 60000").await;
    a.ok("commit").await;
}

/// They would take as much memory as there are rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_key_shares_than_there_is_memory_for_take_the_table() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table p (id int primary key, n int default 0)").await;
    a.ok("create table c (p int references p)").await;
    a.ok("insert into p select g from generate_series(1, 70000) as s (g)").await;
    a.ok("begin; insert into c select g from generate_series(1, 70000) as s (g)").await;
    b.ok("set lock_timeout = '100ms'").await;
    assert_eq!(b.fails("update p set n = 1 where id = 3").await, SqlState::LockNotAvailable);
    a.ok("commit").await;
    b.ok("update p set n = 1 where id = 3").await;
    assert_eq!(b.rows("select count(*) from c").await, ["70000"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn do_nothing_keeps_nobody_from_the_row_that_is_there() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (id int primary key, code int unique, n int); insert into t values (1, 1, 0), (2, 2, 0)")
        .await;
    b.ok("set lock_timeout = '100ms'").await;
    for insert in [
        "insert into t values (1, 5, 9) on conflict do nothing",
        "insert into t values (9, 1, 9) on conflict (code) do nothing",
        "insert into t select 1, 5, 9 on conflict (id) do nothing",
    ] {
        a.ok("begin").await;
        assert_eq!(a.ok(insert).await, "INSERT 0 0", "{insert}");
        b.ok("update t set n = n + 1 where id = 1").await;
        b.ok("delete from t where id = 1").await;
        a.ok("rollback").await;
        a.ok("insert into t values (1, 1, 0)").await;
    }
    // Nor does it wait for who has locked or changed it; only for who ends it.
    for held in ["select * from t where id = 1 for update", "update t set n = 5 where id = 1"] {
        a.ok(&format!("begin; {held}")).await;
        assert_eq!(b.ok("insert into t values (1, 1, 1) on conflict do nothing").await, "INSERT 0 0", "{held}");
        a.ok("rollback").await;
    }
    a.ok("begin; delete from t where id = 1").await;
    assert_eq!(b.fails("insert into t values (1, 1, 1) on conflict do nothing").await, SqlState::LockNotAvailable);
    a.ok("rollback").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subquery_that_runs_row_by_row_is_cancelled() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table t (id int primary key)").await;
    a.ok("insert into t select g from generate_series(1, 3000) as s (g)").await;
    a.ok("set statement_timeout = '200ms'").await;
    for sql in [
        "select sum((select count(*) from t b, t c where b.id + c.id < a.id limit 1)) from t a",
        "select count(*) from t a, lateral (select b.id from t b, t c where b.id + c.id > a.id order by 1 limit 1) x",
    ] {
        assert_eq!(a.fails(sql).await, SqlState::QueryCanceled, "{sql}");
    }
}

/// The first statement of a pipeline, which may be followed by others before its end, as one of a transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_has_one_snapshot_from_its_first_statement_on() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (id int primary key, n int); insert into t values (1, 1)").await;
    for level in ["repeatable read", "serializable"] {
        a.ok(&format!("set default_transaction_isolation = '{level}'")).await;
        a.ok("update t set n = 1").await;
        let first = a.unfinished("select n from t where id = 1").await.unwrap();
        assert_eq!(first, [["1"]]);
        b.ok("update t set n = 2").await;
        assert_eq!(a.unfinished("select sum(n) from t").await.unwrap(), [["1"]], "{level}");
        a.session.finish().await.unwrap();
        assert_eq!(a.rows("select sum(n) from t").await, ["2"]);
    }
    // What a cursor reads counts, also where its declaration is the first statement.
    a.session.begin_implicit_block();
    a.unfinished("declare c cursor for select * from t").await.unwrap();
    assert_eq!(a.unfinished("fetch all from c").await.unwrap(), [["1", "2"]]);
    b.ok("update t set n = 3").await;
    a.unfinished("insert into t values (2, 2)").await.unwrap();
    let error = a.session.finish().await.unwrap_err();
    assert_eq!(error.state(), SqlState::SerializationFailure);
    assert_eq!(a.rows("select * from t").await, ["1|3"]);
}

/// A cursor WITH HOLD goes on reading rows that were too many for one entry, behind the commit that made them visible.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_cursor_reads_staged_rows() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table t (id int primary key, text text)").await;
    a.ok("insert into t values (0, 'old'), (-1, 'older')").await;
    a.ok("begin").await;
    a.ok("insert into t select g, repeat('x', 200) from generate_series(1, 60000) as s (g)").await;
    a.ok("delete from t where id = 0").await;
    a.ok("declare c cursor with hold for select id from t order by id").await;
    a.ok("declare d scroll cursor with hold for select id from t where id % 100 = 0").await;
    a.ok("insert into t values (100000, 'later')").await;
    a.ok("commit").await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    a.ok("delete from t where id > 10").await;
    let rows = a.rows("fetch all from c").await;
    assert_eq!((rows.len(), rows[0].as_str(), rows[1].as_str()), (60_001, "-1", "1"));
    assert_eq!(rows.last().unwrap(), "60000");
    assert_eq!(a.rows("fetch all from d").await.len(), 600);
    let back = a.rows("fetch backward all from d").await;
    assert_eq!(back.len(), 600);
    let mut forward = a.rows("fetch all from d").await;
    forward.reverse();
    assert_eq!(back, forward);
    assert_eq!(a.rows("select count(*) from t").await, ["11"]);
}
