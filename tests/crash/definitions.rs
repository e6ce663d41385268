//! SIGKILL while tables, indexes and views are made, changed and dropped under a load of writes.
//!
//! `PERIGEE_DDL_KILLS=200` goes on for minutes.

use std::net::SocketAddr;
use std::time::Duration;

use perigee_testkit::Client;
use perigee_tests::admin::{server_with_grpc, verify};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const KILLS: usize = 6;
const TABLES: u32 = 4;
const WRITERS: u64 = 3;
const DEFINERS: u64 = 2;

/// Writes that must come through, whatever else happens: one number after the other. Gives the last acknowledged.
async fn count_up(address: SocketAddr, writer: u64, mut last: i64) -> i64 {
    let Ok(client) = Client::connect(address).await else { return last };
    loop {
        let sql = format!("INSERT INTO counted_{writer} VALUES ({})", last + 1);
        match client.batch_execute(&sql).await {
            Ok(()) => last += 1,
            Err(error) if error.as_db_error().is_some_and(|e| e.code().code() == "23505") => last += 1,
            Err(_) => return last,
        }
    }
}

/// Statements of which any may fail but for the reasons that `expected` knows. Ends with the server.
async fn run(address: SocketAddr, seed: u64, statement: fn(&mut StdRng) -> String) -> Result<usize, String> {
    let mut random = StdRng::seed_from_u64(seed);
    let Ok(client) = Client::connect(address).await else { return Ok(0) };
    let mut done = 0;
    loop {
        let sql = statement(&mut random);
        match client.batch_execute(&sql).await {
            Ok(()) => done += 1,
            Err(error) => match error.as_db_error() {
                None => return Ok(done),
                Some(error) if error.code().code() == "57P01" => return Ok(done),
                Some(error) if is_expected(error.code().code()) => drop(client.batch_execute("ROLLBACK").await),
                Some(error) => return Err(format!("{sql}: {} {}", error.code().code(), error.message())),
            },
        }
    }
}

/// What concurrent definitions bring: objects that are gone or there already, conflicts, dependencies.
fn is_expected(code: &str) -> bool {
    matches!(
        code,
        "40001"
            | "40P01"
            | "42P01"
            | "42P07"
            | "42701"
            | "42703"
            | "42704"
            | "42809"
            | "23505"
            | "23502"
            | "2BP01"
            | "55000"
            | "42P16"
            | "0A000"
            | "42830"
            | "55P03"
            | "08007"
            | "42804"
    )
}

fn write(random: &mut StdRng) -> String {
    let (table, key) = (random.random_range(0..TABLES), random.random_range(0..300));
    match random.random_range(0..8) {
        0..=2 => format!(
            "INSERT INTO t{table} (k, ts, v) VALUES ({key}, now() - interval '{key} min', 'v{key}') ON CONFLICT DO NOTHING"
        ),
        3 => format!("UPDATE t{table} SET v = v || 'x' WHERE k = {key}"),
        4 => format!("DELETE FROM t{table} WHERE k BETWEEN {key} AND {key} + 10"),
        5 => format!(
            "BEGIN; UPDATE t{table} SET k = k + 1000 WHERE k = {key}; DELETE FROM t{table} WHERE k > 1200; COMMIT"
        ),
        6 => format!(
            "INSERT INTO t{table} (k, ts, v) SELECT g, '2024-01-01', repeat('y', 500) FROM generate_series(2000, 4500) g ON CONFLICT DO NOTHING"
        ),
        _ => format!("SELECT count(*) FROM a{table}"),
    }
}

fn define(random: &mut StdRng) -> String {
    let (table, number) = (random.random_range(0..TABLES), random.random_range(0..3));
    match random.random_range(0..14) {
        0..=2 => format!("CREATE TABLE t{table} (k int8 PRIMARY KEY, ts timestamptz, v text)"),
        3 => format!("DROP TABLE t{table} CASCADE"),
        4 => format!("TRUNCATE t{table}"),
        5 => format!("CREATE INDEX i{table}_{number} ON t{table} (v)"),
        6 => format!("CREATE UNIQUE INDEX u{table}_{number} ON t{table} (ts, k)"),
        7 => format!("DROP INDEX IF EXISTS i{table}_{number}, u{table}_{number}"),
        8 => format!("ALTER TABLE t{table} ADD COLUMN c{number} int DEFAULT {number}"),
        9 => format!("ALTER TABLE t{table} DROP COLUMN c{number}"),
        10 => format!(
            "CREATE MATERIALIZED VIEW a{table} WITH (continuous) AS \
             SELECT time_bucket('1 h', ts) b, count(*) n FROM t{table} GROUP BY 1"
        ),
        11 => format!("DROP MATERIALIZED VIEW a{table}"),
        12 => format!(
            "BEGIN; CREATE TABLE x{table} AS SELECT * FROM t{table}; CREATE INDEX ON x{table} (v); DROP TABLE x{table}; COMMIT"
        ),
        _ => format!("REFRESH MATERIALIZED VIEW a{table}"),
    }
}

/// Continuous aggregates show what their query gives.
async fn aggregates_agree(client: &Client) {
    for table in 0..TABLES {
        let shown = client.rows(&format!("SELECT b, n FROM a{table} ORDER BY b")).await;
        if let Ok(shown) = shown {
            let query = format!("SELECT time_bucket('1 h', ts) b, count(*) n FROM t{table} GROUP BY 1 ORDER BY b");
            assert_eq!(shown, client.rows(&query).await.unwrap(), "a{table}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_between_definitions_leave_what_verifies() {
    let kills = std::env::var("PERIGEE_DDL_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let options = perigee_tests::options().env("PERIGEE_STORAGE__CHECKPOINT_SIZE", "1MB");
    let options = options.env("PERIGEE_LOG__SEGMENT_SIZE", "4MB").env("PERIGEE_LOG__FEED_RETENTION", "8MB");
    let (mut server, grpc) = tokio::task::block_in_place(|| server_with_grpc(options));
    let client = server.client().await.unwrap();
    for writer in 0..WRITERS {
        client.batch_execute(&format!("CREATE TABLE counted_{writer} (n int8 PRIMARY KEY)")).await.unwrap();
    }
    drop(client);
    let mut counted = vec![0; WRITERS as usize];
    let mut done = 0;
    for kill in 0..kills {
        let address = server.pg();
        let after = Duration::from_millis(random.random_range(100..1_500));
        let killer = async {
            tokio::time::sleep(after).await;
            tokio::task::block_in_place(|| server.kill());
        };
        let counters = counted.iter().enumerate().map(|(writer, last)| count_up(address, writer as u64, *last));
        let seeds: Vec<u64> = (0..WRITERS + DEFINERS).map(|_| random.random()).collect();
        let others = seeds
            .iter()
            .enumerate()
            .map(|(at, seed)| run(address, *seed, if (at as u64) < WRITERS { write } else { define }));
        let (last, ran, ()) =
            tokio::join!(futures::future::join_all(counters), futures::future::join_all(others), killer);
        counted = last;
        for result in ran {
            done += result.unwrap_or_else(|wrong| panic!("before kill {kill}: {wrong}"));
        }
        tokio::task::block_in_place(|| server.restart()).unwrap();
        tokio::task::block_in_place(|| verify(&grpc));
        let client = server.client().await.unwrap();
        for (writer, last) in counted.iter_mut().enumerate() {
            let row =
                client.rows(&format!("SELECT count(*), coalesce(max(n), 0) FROM counted_{writer}")).await.unwrap();
            let number = |at: usize| row[0][at].as_ref().unwrap().parse::<i64>().unwrap();
            assert_eq!(number(0), number(1), "numbers are missing");
            assert!(number(1) >= *last && number(1) <= *last + 1, "acknowledged {last}, there is {}", number(1));
            *last = number(1);
        }
        aggregates_agree(&client).await;
    }
    println!("{kills} kills, {done} statements, counted to {counted:?}");
    assert!(done > kills && counted.iter().all(|last| *last > 0), "the load did nothing");
}
