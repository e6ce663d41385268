//! The change feed: what it says makes the same tables again, whatever wrote them and wherever reading begins.

use std::collections::BTreeMap;
use std::sync::Arc;

use perigee_engine::Engine;
use perigee_streams::{Change, Cursor, Feed, FeedError, Position, Wanted};
use perigee_types::{LogIndex, Oid, TableId, Value};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::node::{Client, Node};

/// Rows of a table by key, made from the feed alone.
#[derive(Default)]
struct Copy {
    rows: BTreeMap<i64, String>,
    storage: Option<Oid>,
    unknown: bool,
}

impl Copy {
    fn take(&mut self, change: Change) {
        let row = |values: &[Value]| {
            let key = values[0].as_i64().unwrap();
            (key, values[1].as_str().unwrap_or("NULL").to_owned())
        };
        match change {
            Change::Insert { new, .. } => {
                let (key, value) = row(&new);
                assert!(self.rows.insert(key, value).is_none(), "{key} was there already");
            }
            Change::Update { old, new, .. } => {
                let (key, value) = row(&new);
                assert_eq!(old.values[0].as_i64(), Some(key), "an update keeps its key");
                assert!(self.rows.insert(key, value).is_some(), "{key} was not there");
            }
            Change::Delete { old, .. } => {
                let key = old.values[0].as_i64().unwrap();
                assert!(self.rows.remove(&key).is_some(), "{key} was not there");
            }
            Change::Table(table) => {
                if self.storage.replace(table.storage).is_some_and(|before| before != table.storage) {
                    self.rows.clear();
                }
            }
            Change::Dropped { .. } => self.rows.clear(),
            Change::Unknown { .. } => self.unknown = true,
            Change::Notification(_) => panic!("nobody asked for it"),
        }
    }
}

fn read_all(cursor: &mut Cursor, bytes: usize, copy: &mut Copy) -> usize {
    let mut count = 0;
    let mut last = Position::default();
    loop {
        let before = cursor.position();
        let batch = cursor.read(bytes).unwrap();
        for event in batch.events {
            assert!(event.position >= last && event.position >= before && event.position < batch.next);
            last = event.position;
            count += 1;
            copy.take(event.change);
        }
        if batch.next == before {
            return count;
        }
    }
}

async fn table(client: &mut Client, name: &str) -> TableId {
    let oid = client.rows(&format!("select '{name}'::regclass::oid::int8")).await;
    Oid(oid[0].parse().unwrap())
}

async fn compare(engine: &Arc<Engine>, client: &mut Client, oid: TableId, name: &str) {
    let expected = client.rows(&format!("select k, v from {name} order by k")).await;
    for bytes in [1, 1_000, 1 << 20] {
        let mut copy = Copy::default();
        read_all(&mut engine.feed().cursor(Position::default(), Wanted::table(oid)), bytes, &mut copy);
        let got: Vec<String> = copy.rows.iter().map(|(key, value)| format!("{key}|{value}")).collect();
        assert_eq!(got, expected, "reading {bytes} bytes at a time");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_makes_the_same_table_again() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut node = Node::start().await;
    let mut client = node.client().await;
    client.ok("create table t (k int8 primary key, v text); create table other (k int8 primary key, v text)").await;
    let oid = table(&mut client, "t").await;
    for step in 0..120 {
        let key = rng.random_range(0..40);
        let sql = match rng.random_range(0..12) {
            0..=2 => format!("insert into t values ({key}, 'i{step}') on conflict (k) do update set v = 'u{step}'"),
            3 => format!("update t set v = 's{step}' where k = {key}"),
            4 => format!("update t set v = v || 'x' where k between {key} and {key} + 5"),
            5 => format!("delete from t where k = {key}"),
            6 => format!("delete from t where k % 7 = {}", key % 7),
            7 => format!(
                "update t set k = k + 1000 where k = {key} and not exists (select from t where k = {key} + 1000)"
            ),
            8 => format!(
                "begin; insert into t select g, 'b{step}' from generate_series(2000, 2010) g on conflict do nothing; delete from t where k < 5; rollback"
            ),
            9 => format!(
                "begin; insert into other values ({step} + 10000, 'o'); delete from t where k = {key}; insert into t values ({key}, 'again'); commit"
            ),
            10 if step % 5 == 0 => "truncate t".to_owned(),
            // More than one entry holds: staged, and some of it changed again in the same transaction.
            11 if step % 4 == 0 => format!(
                "begin; delete from t where k >= 5000; insert into t select g, repeat('y', 200) from generate_series(5000, 12000) g; \
                 update t set v = 'last{step}' where k = 5001; delete from t where k = 5002; commit"
            ),
            _ => format!("insert into t values ({key}, null) on conflict do nothing"),
        };
        client.ok(&sql).await;
        if step == 60 {
            drop(client);
            node = node.restart(true).await;
            client = node.client().await;
        }
    }
    compare(&node.engine, &mut client, oid, "t").await;
    drop(client);
    let node = node.restart(false).await;
    let mut client = node.client().await;
    compare(&node.engine, &mut client, oid, "t").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_is_kept_over_restarts_and_inside_of_a_load() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.ok("create table t (k int8 primary key, v text)").await;
    let oid = table(&mut client, "t").await;
    client.ok("insert into t select g, repeat('z', 300) from generate_series(1, 30000) g").await;
    let mut copy = Copy::default();
    let mut cursor = node.engine.feed().cursor(Position::default(), Wanted::table(oid));
    while copy.rows.is_empty() {
        cursor.read(1_000).unwrap().events.into_iter().for_each(|event| copy.take(event.change));
    }
    let position = cursor.position();
    assert!(position.n > 0 && copy.rows.len() < 30_000, "in the middle of the load: {position}");
    drop((cursor, client));
    let node = node.restart(true).await;
    let mut client = node.client().await;
    let mut cursor = node.engine.feed().cursor(position, Wanted::table(oid));
    read_all(&mut cursor, 1 << 16, &mut copy);
    assert_eq!(copy.rows.len(), 30_000);
    // Behind the end there is nothing until something comes.
    let end = cursor.position();
    assert!(cursor.read(1_000).unwrap().events.is_empty());
    let feed = node.engine.feed().clone();
    let waiting = tokio::spawn(async move { feed.wait(end).await });
    client.ok("delete from t where k = 7").await;
    waiting.await.unwrap();
    read_all(&mut cursor, 1_000, &mut copy);
    assert_eq!(copy.rows.len(), 29_999);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_savepoint_took_back_is_said_to_be_unknown() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.ok("create table t (k int8 primary key, v text)").await;
    let oid = table(&mut client, "t").await;
    client.ok("begin").await;
    client.ok("insert into t values (1, 'kept')").await;
    client.ok("savepoint s").await;
    client.ok("insert into t select g, repeat('z', 300) from generate_series(10, 30000) g").await;
    client.ok("rollback to s").await;
    client.ok("commit").await;
    assert_eq!(client.rows("select k from t").await, ["1"]);
    let mut copy = Copy::default();
    read_all(&mut node.engine.feed().cursor(Position::default(), Wanted::table(oid)), 1 << 20, &mut copy);
    assert!(copy.unknown);
}

/// Rows, and ends of transactions, that come in pieces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_puts_large_entries_together() {
    let mut node = Node::start().await;
    let mut client = node.client().await;
    let mut other = node.client().await;
    client.ok("create table t (k int8 primary key, v text); create table other (k int8 primary key, v text)").await;
    let oid = table(&mut client, "t").await;
    let large = |k: i32, letter: char| format!("insert into t values ({k}, repeat('{letter}', {}))", 1_100_000 * k);
    client.ok(&large(1, 'a')).await;
    client.ok("begin").await;
    client.ok(&large(2, 'b')).await;
    client.ok("insert into t values (10, 'small')").await;
    other.ok("insert into other values (1, repeat('o', 2000000))").await;
    client.ok(&large(3, 'c')).await;
    client.ok("commit").await;
    client.ok(&format!("begin; {}; rollback", large(4, 'd'))).await;
    client.ok("update t set v = v || 'e' where k <= 2").await;
    client.ok("update t set v = repeat('f', 2000000) where k = 10").await;
    client.ok("delete from t where k = 3").await;
    // The end of the transaction is what is large, and its rows come with it.
    client
        .ok(&format!(
            "begin; insert into t values (11, 'beside'); comment on table other is '{}'",
            "x".repeat(1_500_000)
        ))
        .await;
    client.ok("commit").await;
    compare(&node.engine, &mut client, oid, "t").await;
    drop((client, other));
    node = node.restart(false).await;
    let mut client = node.client().await;
    compare(&node.engine, &mut client, oid, "t").await;
    assert_eq!(client.rows("select length(obj_description('other'::regclass, 'pg_class'))").await, ["1500000"]);
}

/// A log of which the beginning is gone.
struct CutLog;

impl perigee_streams::CommittedLog for CutLog {
    fn first(&self) -> LogIndex {
        LogIndex(50)
    }

    fn read(&self, _: LogIndex, _: LogIndex, _: usize) -> Result<Vec<perigee_streams::LoggedEntry>, FeedError> {
        Err(FeedError::Gone { first: Position::before(LogIndex(50)) })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_first_kept_position_the_first_is_named() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.ok("create table t (k int8 primary key, v text)").await;
    let feed = Feed::new(Arc::new(CutLog), node.engine.store().clone());
    let error = feed.cursor(Position::default(), Wanted::default()).read(1_000).unwrap_err();
    let FeedError::Gone { first } = error else { panic!("{error}") };
    assert_eq!(first, feed.first());
}
