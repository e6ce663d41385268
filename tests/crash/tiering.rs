//! SIGKILL at every step of a migration to the cold tier, and of the merging of cold files: of uploads, of the manifest's entry,
//! of the checkpoint that takes rows out of the LSM, of the removal of what is replaced; and at any time besides.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use perigee_testkit::{Client, Server};
use perigee_tests::backups::cold_files;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::steps::{Steps, points};

const ROWS: i64 = 100;

/// One transaction: rows that come, rows of all tiers that change and go.
fn step(n: i64) -> String {
    let (first, last) = (n * ROWS, n * ROWS + ROWS - 1);
    format!(
        "BEGIN;
         INSERT INTO t SELECT g, {n}, repeat('x', (g % 40)::int) FROM generate_series({first}, {last}) g;
         UPDATE t SET v = v + 1 WHERE id % 7 = {n} % 7;
         DELETE FROM t WHERE id % 53 = {n} % 53;
         INSERT INTO done VALUES ({n});
         COMMIT"
    )
}

/// The table after the first `steps`.
fn expected(steps: i64) -> BTreeMap<i64, i64> {
    let mut rows = BTreeMap::new();
    for n in 0..steps {
        rows.extend((n * ROWS..(n + 1) * ROWS).map(|id| (id, n)));
        rows.iter_mut().filter(|(id, _)| *id % 7 == n % 7).for_each(|(_, v)| *v += 1);
        rows.retain(|id, _| id % 53 != n % 53);
    }
    rows
}

/// Transactions, migrations and checkpoints, until the server is gone.
async fn load(client: &Client, mut n: i64, steps: i64) {
    let last = n + steps;
    while n < last {
        if client.batch_execute(&step(n)).await.is_err() {
            return;
        }
        n += 1;
        let behind = match n % 6 {
            0 | 3 => "CALL perigee.migrate('t', 'cold')",
            1 => "CHECKPOINT",
            4 => "CALL perigee.compact('t')",
            5 => "CALL perigee.collect_cold_files()",
            _ => "SELECT 1",
        };
        match client.batch_execute(behind).await {
            Ok(()) => {}
            Err(error) if error.as_db_error().is_none() => return,
            Err(error) => panic!("{behind}: {error:?}"),
        }
    }
}

/// Compares all rows, by scans and by the index. Gives the count of steps done.
async fn check(client: &Client) -> i64 {
    let steps: i64 = client.value("SELECT count(*) FROM done").await.unwrap().parse().unwrap();
    let rows = client.rows("SELECT id, v, length(pad) FROM t ORDER BY id").await.unwrap();
    let found: Vec<(i64, i64, i64)> = rows
        .iter()
        .map(|row| {
            let number = |at: usize| row[at].as_ref().unwrap().parse::<i64>().unwrap();
            (number(0), number(1), number(2))
        })
        .collect();
    let expected: Vec<(i64, i64, i64)> = expected(steps).into_iter().map(|(id, v)| (id, v, id % 40)).collect();
    assert_eq!(found, expected, "after {steps} steps");
    // By key: some that are there, and some that are not.
    for (id, v, _) in expected.iter().step_by(expected.len() / 8 + 1) {
        let found = client.value(&format!("SELECT v FROM t WHERE id = {id}")).await.unwrap();
        assert_eq!(found, v.to_string(), "row {id}");
        let error = client.batch_execute(&format!("INSERT INTO t VALUES ({id}, 0, '')")).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "23505", "row {id} is there");
    }
    steps
}

async fn create(server: &Server) {
    let client = server.client().await.unwrap();
    let tables = "CREATE TABLE t (id int8 PRIMARY KEY, v int8 NOT NULL, pad text); CREATE INDEX ON t (v);
                  CREATE TABLE done (n int8 PRIMARY KEY)";
    client.batch_execute(tables).await.unwrap();
}

/// Behind a collection there are the files that manifests name, and nothing else.
async fn nothing_is_idle(server: &Server, client: &Client) {
    let named = "SELECT coalesce(sum(files), 0)::text FROM perigee.tiers WHERE tier = 'cold'";
    let mut found = (String::new(), Vec::new());
    // Who still reads what was replaced lets go of it behind the statement.
    for _ in 0..100 {
        client.batch_execute("CALL perigee.collect_cold_files()").await.unwrap();
        found = (client.value(named).await.unwrap(), cold_files(&server.data_dir().join("cold")));
        if found.0 == found.1.len().to_string() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("manifests name {} files, these are there: {:?}", found.0, found.1);
}

/// Nothing that a migration has left behind outlives the table.
async fn nothing_is_left(server: &Server) {
    let client = server.client().await.unwrap();
    client.batch_execute("CALL perigee.migrate('t', 'cold')").await.unwrap();
    assert!(!cold_files(&server.data_dir().join("cold")).is_empty(), "no row has become cold");
    client.batch_execute("DROP TABLE t").await.unwrap();
    nothing_is_idle(server, &client).await;
}

/// In each life rows come and change, `before` is done, and the node is killed a step further in the middle of `work`.
async fn killed_at_each_step(before: &[&str], work: &[&str], some: usize) {
    let folder = tempfile::tempdir().unwrap();
    // Exports are steps of their own, at times of their own.
    let options = perigee_tests::options().on(&folder.path().join("data")).env("PERIGEE_COLD__ICEBERG", "false");
    let mut node = tokio::task::block_in_place(|| Steps::new(options, folder.path(), "/data/"));
    create(&node.server).await;
    let (mut steps, mut kills) = (0, 0);
    let work: Vec<String> = work.iter().map(|sql| (*sql).to_owned()).collect();
    for point in points(some) {
        tokio::task::block_in_place(|| node.restart(point));
        let client = node.server.client().await.unwrap();
        assert_eq!(check(&client).await, steps, "all was acknowledged");
        nothing_is_idle(&node.server, &client).await;
        for (n, sql) in (steps..).zip(before) {
            client.batch_execute(&step(n)).await.unwrap();
            client.batch_execute(sql).await.unwrap();
            steps = n + 1;
        }
        if !node.run_armed(&client, &work).await {
            break;
        }
        kills += 1;
    }
    assert!(kills > 2, "{kills} kills: the work has hardly a step");
    assert_eq!(check(&node.server.client().await.unwrap()).await, steps);
    nothing_is_left(&node.server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_each_step_of_a_migration_loses_and_doubles_nothing() {
    let work = ["CALL perigee.migrate('t', 'cold')", "CHECKPOINT"];
    killed_at_each_step(&["SELECT 1", "CHECKPOINT", "SELECT 1"], &work, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_each_step_of_a_merge_of_cold_files_loses_and_doubles_nothing() {
    let cold = "CALL perigee.migrate('t', 'cold')";
    let work = ["CALL perigee.compact('t')", "CALL perigee.collect_cold_files()", "CHECKPOINT"];
    killed_at_each_step(&[cold, cold, cold], &work, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_any_time_of_a_migration_lose_and_double_nothing() {
    let mut server = perigee_tests::options().start().unwrap();
    create(&server).await;
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut steps = 0;
    for _ in 0..8 {
        let client = server.client().await.unwrap();
        let after = Duration::from_millis(random.random_range(50..900));
        let killer = async {
            tokio::time::sleep(after).await;
            tokio::task::block_in_place(|| server.kill());
        };
        tokio::join!(load(&client, steps, i64::MAX - steps), killer);
        tokio::task::block_in_place(|| server.restart()).unwrap();
        steps = check(&server.client().await.unwrap()).await;
    }
    assert!(steps > 0, "the load did nothing");
    nothing_is_left(&server).await;
}

/// What age moves is under way when the node is told to stop, each time at another moment of it, with syncs that take their time: what
/// manifests name is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_in_the_middle_of_a_migration_by_age_loses_nothing() {
    let options = perigee_tests::options().env("PERIGEE_COLD__ICEBERG", "false");
    let mut server = options.env("PERIGEE_FAULTS_SLOW_SYNC_MS", "60").with_faults().start().unwrap();
    let client = server.client().await.unwrap();
    let table = "CREATE TABLE t (id int8 PRIMARY KEY, v int8 NOT NULL) WITH (warm_retention = '1s')";
    client.batch_execute(table).await.unwrap();
    let cold = server.data_dir().join("cold");
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for n in 1..=5_i64 {
        let client = server.client().await.unwrap();
        let before = cold_files(&cold).len();
        let (first, last) = (n * 9_000 - 8_999, n * 9_000);
        let rows = format!("INSERT INTO t SELECT g, {n} FROM generate_series({first}, {last}) g");
        client.batch_execute(&rows).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while cold_files(&cold).len() <= before {
            assert!(Instant::now() < deadline, "no row becomes cold");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..700))).await;
        tokio::task::block_in_place(|| server.stop()).unwrap();
        tokio::task::block_in_place(|| server.restart()).unwrap();
        let client = server.client().await.unwrap();
        nothing_is_idle(&server, &client).await;
        let found = client.value("SELECT count(*) || ' ' || sum(id) || ' ' || max(v) FROM t").await.unwrap();
        assert_eq!(found, format!("{last} {} {n}", last * (last + 1) / 2));
    }
    let client = server.client().await.unwrap();
    client.batch_execute("DROP TABLE t").await.unwrap();
    nothing_is_idle(&server, &client).await;
}
