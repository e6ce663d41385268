//! SQL and Redis over one keyspace: transactions of SQL that touch keys and tables, beside clients of Redis.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use perigee_testkit::Client;
use perigee_testkit::resp::{Connection, Value};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio_postgres::error::SqlState;

use crate::{PATIENCE, connect, server};

const KILLS: usize = 5;
const SESSIONS: u64 = 4;
const PUSHES: u64 = 400;

fn is_conflict(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::T_R_SERIALIZATION_FAILURE)
}

fn integer(value: &Value) -> i64 {
    let bytes = value.bytes().unwrap_or_default();
    String::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Adds one to a key, as an application does: reads, counts, writes. Whether it was committed.
async fn add_one(client: &Client, level: &str, row: i64) -> Result<bool, tokio_postgres::Error> {
    let add = async {
        client.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}")).await?;
        let seen = client.query_one("SELECT value FROM redis.strings WHERE key = 'counter'", &[]).await?;
        let next = seen.get::<_, String>(0).parse::<i64>().unwrap() + 1;
        client.execute("INSERT INTO counted VALUES ($1)", &[&row]).await?;
        client.execute("UPDATE redis.strings SET value = $1 WHERE key = 'counter'", &[&next.to_string()]).await?;
        client.batch_execute("COMMIT").await
    };
    match add.await {
        Ok(()) => Ok(true),
        Err(error) if is_conflict(&error) => client.batch_execute("ROLLBACK").await.map(|()| false),
        Err(error) => Err(error),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_update_is_lost_between_sql_and_redis() {
    let server = tokio::task::block_in_place(server);
    let client = Client::connect(server.pg()).await.unwrap();
    client.batch_execute("CREATE TABLE counted (id bigint PRIMARY KEY)").await.unwrap();
    let mut redis = tokio::task::block_in_place(|| connect(&server));
    assert_eq!(tokio::task::block_in_place(|| redis.line("SET counter 0")).to_string(), "OK");
    let (address, pg) = (server.redis(), server.pg());
    let pushes = tokio::task::spawn_blocking(move || {
        let mut connection = Connection::open(address, PATIENCE).unwrap();
        for _ in 0..PUSHES {
            assert!(matches!(connection.line("INCR counter"), Value::Integer(_)));
            // So that transactions of several statements get through as well.
            thread::sleep(Duration::from_millis(2));
        }
    });
    let mut sessions = tokio::task::JoinSet::new();
    for session in 0..SESSIONS {
        sessions.spawn(async move {
            let client = Client::connect(pg).await.unwrap();
            let level = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"][session as usize % 3];
            let (mut committed, mut rejected) = (0, 0);
            while committed < 20 {
                let row = (session * 1_000_000 + committed) as i64;
                match add_one(&client, level, row).await.unwrap() {
                    true => committed += 1,
                    false => rejected += 1,
                }
            }
            (committed, rejected)
        });
    }
    let (mut committed, mut rejected) = (0, 0);
    while let Some(session) = sessions.join_next().await {
        let (some, none) = session.unwrap();
        (committed, rejected) = (committed + some, rejected + none);
    }
    pushes.await.unwrap();
    println!("{committed} transactions committed, {rejected} rejected, {PUSHES} commands");
    let counter = tokio::task::block_in_place(|| redis.line("GET counter"));
    assert_eq!(integer(&counter), (PUSHES + committed).cast_signed());
    let rows: i64 = client.query_one("SELECT count(*) FROM counted", &[]).await.unwrap().get(0);
    assert_eq!(rows, committed.cast_signed(), "a rejected transaction has left a row");
}

/// Moves one from one key to another all the while, in MULTI: the sum of all stays.
fn move_about(address: SocketAddr, keys: u64, seed: u64, stop: &AtomicBool) {
    let mut connection = Connection::open(address, PATIENCE).unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    while !stop.load(Ordering::Relaxed) {
        let (from, to) = (random.random_range(0..keys), random.random_range(0..keys));
        for line in ["MULTI".to_owned(), format!("DECR k{from}"), format!("INCR k{to}"), "EXEC".to_owned()] {
            connection.line(&line);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_under_writes_is_one_moment() {
    const KEYS: u64 = 2_000;
    let server = tokio::task::block_in_place(server);
    let client = Client::connect(server.pg()).await.unwrap();
    let fill = "INSERT INTO redis.strings (key, value) SELECT 'k' || i, '100' FROM generate_series(0, 1999) AS g (i)";
    assert_eq!(client.execute(fill, &[]).await.unwrap(), KEYS);
    let (address, stop) = (server.redis(), std::sync::Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = (0..2)
        .map(|seed| {
            let stop = std::sync::Arc::clone(&stop);
            tokio::task::spawn_blocking(move || move_about(address, KEYS, seed, &stop))
        })
        .collect();
    for _ in 0..50 {
        let row =
            client.query_one("SELECT sum(value::bigint)::bigint, count(*) FROM redis.strings", &[]).await.unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (200_000, 2_000));
        let some = "SELECT count(*) FROM redis.strings WHERE key IN ('k1', 'k2', 'k3', 'k4')";
        assert_eq!(client.query_one(some, &[]).await.unwrap().get::<_, i64>(0), 4);
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Rows and keys of the same numbers, until the server is gone.
async fn mixed(address: SocketAddr, session: u64, acknowledged: &AtomicU64) -> Result<(), tokio_postgres::Error> {
    let Ok(client) = Client::connect(address).await else { return Ok(()) };
    let last = "SELECT coalesce(max(n), 0) FROM mixed WHERE session = $1";
    let mut number: i64 = client.query_one(last, &[&session.cast_signed()]).await?.get(0);
    let note = "x".repeat(200);
    loop {
        number += 1;
        client.batch_execute("BEGIN").await?;
        client.execute("INSERT INTO mixed VALUES ($1, $2, $3)", &[&session.cast_signed(), &number, &note]).await?;
        let push = "INSERT INTO redis.lists (key, value) VALUES ($1, $2)";
        client.execute(push, &[&format!("mixed:{session}"), &number.to_string()]).await?;
        let count = "INSERT INTO redis.strings AS s (key, value) VALUES ($1, '1') \
                     ON CONFLICT (key) DO UPDATE SET value = (s.value::bigint + 1)::text";
        client.execute(count, &[&format!("mixed:{session}:count")]).await?;
        client.batch_execute("COMMIT").await?;
        acknowledged.store(number.cast_unsigned(), Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_leaves_both_the_row_and_the_key_or_neither() {
    let options = perigee_tests::options().env("PERIGEE_STORAGE__CHECKPOINT_SIZE", "1MB").with_redis();
    let mut server = tokio::task::block_in_place(|| options.start().unwrap());
    let client = Client::connect(server.pg()).await.unwrap();
    let table = "CREATE TABLE mixed (session bigint, n bigint, note text, PRIMARY KEY (session, n))";
    client.batch_execute(table).await.unwrap();
    drop(client);
    let acknowledged: [AtomicU64; SESSIONS as usize] = Default::default();
    let mut random = StdRng::seed_from_u64(11);
    for kill in 0..KILLS {
        let address = server.pg();
        // Time to plan the statements once, on a busy machine.
        let after = Duration::from_millis(random.random_range(1_000..3_000));
        let killer = async {
            tokio::time::sleep(after).await;
            tokio::task::block_in_place(|| server.kill());
        };
        let writers = acknowledged.iter().zip(0_u64..);
        let writers = futures::future::join_all(writers.map(|(acknowledged, at)| mixed(address, at, acknowledged)));
        let _ = tokio::join!(writers, killer);
        tokio::task::block_in_place(|| server.restart()).unwrap();
        let client = Client::connect(server.pg()).await.unwrap();
        let rows = client.query("SELECT session, count(*), max(n) FROM mixed GROUP BY session", &[]).await.unwrap();
        let rows: BTreeMap<i64, (i64, i64)> = rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
        let mut redis = tokio::task::block_in_place(|| connect(&server));
        for (acknowledged, session) in acknowledged.iter().zip(0_i64..) {
            let (count, last) = rows.get(&session).copied().unwrap_or_default();
            let acknowledged = acknowledged.load(Ordering::Relaxed).cast_signed();
            assert!(
                last >= acknowledged,
                "kill {kill}: {acknowledged} were acknowledged to {session}, {last} are there"
            );
            assert_eq!(count, last, "kill {kill}: rows of {session} are missing");
            let mut ask = |line: String| tokio::task::block_in_place(|| redis.line(&line));
            assert_eq!(ask(format!("LLEN mixed:{session}")), Value::Integer(last), "kill {kill}: list of {session}");
            assert_eq!(integer(&ask(format!("GET mixed:{session}:count"))), last, "kill {kill}: counter of {session}");
        }
    }
    let total: u64 = acknowledged.iter().map(|count| count.load(Ordering::Relaxed)).sum();
    println!("{total} acknowledged mixed transactions, {KILLS} kills");
    assert!(total > 0, "the load did nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_transaction_is_in_no_feed_and_no_restart_brings_it_back() {
    let mut server = tokio::task::block_in_place(server);
    let client = Client::connect(server.pg()).await.unwrap();
    client.batch_execute("CREATE TABLE notes (id int PRIMARY KEY)").await.unwrap();
    let mut redis = tokio::task::block_in_place(|| connect(&server));
    let mut ask = |line: &str| tokio::task::block_in_place(|| redis.line(line));
    ask("SET k 1");
    let steps =
        "BEGIN; INSERT INTO notes VALUES (1); UPDATE redis.strings SET value = '2' WHERE key = 'k'; NOTIFY told";
    client.batch_execute(steps).await.unwrap();
    ask("SET k 3");
    let error = client.batch_execute("COMMIT").await.unwrap_err();
    assert!(is_conflict(&error), "{error:?}");
    // Who waits for an element gets what SQL pushes.
    let address = server.redis();
    let waits = tokio::task::spawn_blocking(move || {
        let mut connection = Connection::open(address, PATIENCE).unwrap();
        connection.line("BLPOP queue 30")
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    client.execute("INSERT INTO redis.lists (key, value) VALUES ('queue', 'job')", &[]).await.unwrap();
    let popped = waits.await.unwrap();
    assert_eq!(popped.items().and_then(|items| items.last()?.bytes()).as_deref(), Some(&b"job"[..]));
    drop(client);
    for _ in 0..2 {
        tokio::task::block_in_place(|| {
            server.kill();
            server.restart().unwrap();
        });
        let client = Client::connect(server.pg()).await.unwrap();
        let rows: i64 = client.query_one("SELECT count(*) FROM notes", &[]).await.unwrap().get(0);
        assert_eq!(rows, 0);
        let value = client.query_one("SELECT value FROM redis.strings WHERE key = 'k'", &[]).await.unwrap();
        assert_eq!(value.get::<_, String>(0), "3");
        // The second restart reads the checkpoint.
        client.batch_execute("CHECKPOINT").await.unwrap();
    }
}
