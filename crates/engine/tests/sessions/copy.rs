//! COPY from a client: small ones in the entry, large ones staged.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, StringViewArray};
use arrow::record_batch::RecordBatch;
use perigee_engine::Outcome;
use perigee_types::{SqlError, SqlState};

use crate::node::{Client, Node};

/// Sends rows `from..to` in batches of `step`.
async fn copy(client: &mut Client, from: i32, to: i32, step: i32) -> Result<String, SqlError> {
    let batches = (from..to).step_by(step as usize).map(|first| (first..(first + step).min(to)).collect());
    copy_batches(client, batches.collect()).await
}

/// Sends rows with these ids, batch by batch.
async fn copy_batches(client: &mut Client, batches: Vec<Vec<i32>>) -> Result<String, SqlError> {
    let result = async {
        let statements = client.session.split("copy t (id, v) from stdin")?;
        let statement = client.session.plan(&statements[0], &[]).await?;
        let Outcome::CopyIn(_) = client.session.execute(&statement, &[]).await? else { panic!("no COPY") };
        for ids in batches {
            let texts = StringViewArray::from_iter_values(ids.iter().map(|id| format!("value number {id}")));
            let columns: Vec<(&str, ArrayRef)> = vec![("id", Arc::new(Int32Array::from(ids))), ("v", Arc::new(texts))];
            client
                .session
                .copy_write(RecordBatch::try_from_iter(columns).unwrap())
                .await
                .map_err(|refused| refused.error)?;
        }
        client.session.copy_finish().await
    }
    .await;
    if result.is_err() {
        client.session.fail();
    }
    client.session.finish().await?;
    result.map(|tag| tag.text())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_copy_is_one_transaction() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (id int primary key, v text)").await;
    assert_eq!(copy(&mut a, 0, 100, 50).await.unwrap(), "COPY 100");
    assert_eq!(copy(&mut a, 100, 100_000, 8_192).await.unwrap(), "COPY 99900");
    assert_eq!(b.rows("select count(*), max(id) from t").await, ["100000|99999"]);
    assert_eq!(b.rows("select v from t where id = 77777").await, ["value number 77777"]);
    // A key that is there already: nothing of the load stays.
    let state = copy(&mut a, 99_999, 200_000, 8_192).await.unwrap_err().state();
    assert_eq!(state, SqlState::UniqueViolation);
    let state = copy(&mut a, -50_000, 50, 8_192).await.unwrap_err().state();
    assert_eq!(state, SqlState::UniqueViolation);
    assert_eq!(b.rows("select count(*) from t").await, ["100000"]);
    let node = node.restart(true).await;
    let mut b = node.client().await;
    assert_eq!(b.rows("select count(*), min(id) from t").await, ["100000|0"]);
    assert_eq!(b.rows("select v from t where id = 55555").await, ["value number 55555"]);
}

/// A key may repeat within a batch, among those still on their way to the table, or long after; in any order of keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_repeats_within_a_load_is_refused() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table t (id int primary key, v text)").await;
    let ascending: Vec<Vec<i32>> = (0..30).map(|n| (n * 8_000..(n + 1) * 8_000).collect()).collect();
    // Each batch holds keys of the whole range, so that no two batches are apart.
    let scattered: Vec<Vec<i32>> = (0..30).map(|n| (0..8_000).map(|k| k * 30 + n).rev().collect()).collect();
    for batches in [ascending, scattered] {
        let last = batches.len() - 1;
        for (from, to) in [(last, last), (last - 1, last), (0, last), (3, 4)] {
            let mut repeats = batches.clone();
            let key = repeats[from][100];
            repeats[to][7_000] = key;
            let error = copy_batches(&mut a, repeats).await.unwrap_err();
            assert_eq!(error.state(), SqlState::UniqueViolation, "batches {from} and {to}");
            assert_eq!(error.fields().detail, Some(format!("Key (id)=({key}) already exists.")));
            assert_eq!(a.rows("select count(*) from t").await, ["0"]);
        }
        assert_eq!(copy_batches(&mut a, batches).await.unwrap(), "COPY 240000");
        assert_eq!(a.rows("select count(*), sum(id), max(id) from t").await, ["240000|28799880000|239999"]);
        a.ok("truncate t").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_made_and_loaded_in_one_block() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("create table t (id int, v text); insert into t values (1, 'old')").await;
    a.ok("begin; truncate t").await;
    assert_eq!(copy(&mut a, 0, 50_000, 8_192).await.unwrap(), "COPY 50000");
    assert_eq!(b.rows("select count(*) from t").await.len(), 1);
    a.ok("commit").await;
    assert_eq!(b.rows("select count(*) from t").await, ["50000"]);
    a.ok("alter table t add primary key (id)").await;
    assert_eq!(b.rows("select v from t where id = 4711").await, ["value number 4711"]);
}

/// Batches whose strings are long: each is cut into entries that carry their own strings and no others'.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wide_rows_are_cut_into_entries() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table t (id int, v text)").await;
    let statements = a.session.split("copy t (id, v) from stdin").unwrap();
    let statement = a.session.plan(&statements[0], &[]).await.unwrap();
    let Outcome::CopyIn(_) = a.session.execute(&statement, &[]).await.unwrap() else { panic!("no COPY") };
    let texts = StringViewArray::from_iter_values((0..8_000).map(|id| format!("{id} {}", "wide ".repeat(60))));
    let columns: Vec<(&str, ArrayRef)> =
        vec![("id", Arc::new(Int32Array::from_iter_values(0..8_000))), ("v", Arc::new(texts))];
    a.session.copy_write(RecordBatch::try_from_iter(columns).unwrap()).await.unwrap();
    a.session.copy_finish().await.unwrap();
    a.session.finish().await.unwrap();
    assert_eq!(a.rows("select count(*), min(length(v)) from t").await, ["8000|302"]);
}

/// What follows a load in its transaction finds the load's rows by their keys, the last ones too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_is_seen_by_the_statements_behind_it() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table t (id int primary key, v text)").await;
    for _ in 0..5 {
        a.ok("begin").await;
        assert_eq!(copy(&mut a, 0, 60_000, 8_192).await.unwrap(), "COPY 60000");
        assert_eq!(a.rows("select v from t where id = 59999").await, ["value number 59999"]);
        assert_eq!(a.rows("update t set v = 'new' where id = 59998 returning v").await, ["new"]);
        let error = a.run("insert into t values (59999, 'again')").await.unwrap_err();
        assert_eq!(error.state(), SqlState::UniqueViolation);
        a.ok("rollback").await;
        a.ok("begin").await;
        assert_eq!(copy(&mut a, 0, 60_000, 8_192).await.unwrap(), "COPY 60000");
        let error = copy(&mut a, 59_000, 119_000, 8_192).await.unwrap_err();
        assert_eq!(error.state(), SqlState::UniqueViolation);
        a.ok("rollback").await;
    }
}
