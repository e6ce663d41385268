//! Disks that are full, fail or are slow, and clocks that jump.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use perigee_testkit::{Client, Server, ServerOptions, http};
use perigee_tests::bank::{Bank, Load};

const BANK: Bank = Bank { accounts: 10 };

/// A node with faults that are in force while the file `broken` in the test's folder exists.
fn faulty(folder: &tempfile::TempDir, faults: &[(&str, &str)]) -> ServerOptions {
    let switch = folder.path().join("broken");
    let mut options = perigee_tests::options()
        .env("PERIGEE_STORAGE__CHECKPOINT_SIZE", "1MB")
        .env("PERIGEE_FAULTS_WHILE", switch.to_str().unwrap())
        .with_faults();
    for (name, value) in faults {
        options = options.env(name, *value);
    }
    options
}

/// Runs a load, breaks the disk in the middle of it; gives what was acknowledged.
async fn run_and_break(server: &Server, folder: &tempfile::TempDir, load: &Load) -> Vec<i64> {
    let (stop, switch) = (Arc::clone(&load.stop), folder.path().join("broken"));
    let breaking = async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        std::fs::write(&switch, "").unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (run, ()) = tokio::join!(BANK.run(server.pg(), load), breaking);
    run.into_iter().map(|transfer| transfer.id).collect()
}

async fn heal_and_check(mut server: Server, folder: &tempfile::TempDir, acknowledged: Vec<i64>) {
    std::fs::remove_file(folder.path().join("broken")).unwrap();
    tokio::task::block_in_place(|| server.restart()).unwrap();
    BANK.check(server.pg(), acknowledged).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_of_the_log_ends_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = faulty(&folder, &[("PERIGEE_FAULTS_FAIL", "sync:EIO:1:/log/")]).start().unwrap();
    BANK.create(server.pg()).await;
    let acknowledged = run_and_break(&server, &folder, &Load::new(4)).await;
    assert!(!acknowledged.is_empty());
    let exit = tokio::task::block_in_place(|| server.wait_exit(Duration::from_secs(30))).unwrap();
    assert_eq!(exit.status.code(), Some(1), "{}", exit.log);
    heal_and_check(server, &folder, acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let faults = [("PERIGEE_FAULTS_FAIL", "write:ENOSPC:1"), ("PERIGEE_LOG__SEGMENT_SIZE", "4MB")];
    let server = faulty(&folder, &faults).start().unwrap();
    BANK.create(server.pg()).await;
    let acknowledged = run_and_break(&server, &folder, &Load::new(4)).await;
    assert!(!acknowledged.is_empty());
    heal_and_check(server, &folder, acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_under_a_checkpoint_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = faulty(&folder, &[("PERIGEE_FAULTS_FAIL", "write:EIO:1:/lsm/")]).start().unwrap();
    BANK.create(server.pg()).await;
    let acknowledged = run_and_break(&server, &folder, &Load::new(4)).await;
    assert!(!acknowledged.is_empty());
    heal_and_check(server, &folder, acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_is_shared() {
    let folder = tempfile::tempdir().unwrap();
    let server = faulty(&folder, &[("PERIGEE_FAULTS_SLOW_SYNC_MS", "50")]).start().unwrap();
    BANK.create(server.pg()).await;
    let load = Load::new(16);
    std::fs::write(folder.path().join("broken"), "").unwrap();
    let started = Instant::now();
    let acknowledged = run_and_break(&server, &folder, &load).await;
    // One commit for each sync would be 20 a second; sessions that want the same account wait for each other besides.
    let per_second = acknowledged.len() as f64 / started.elapsed().as_secs_f64();
    println!("{per_second:.0} commits/s with a sync of 50 ms and 16 sessions");
    assert!(!acknowledged.is_empty());
    heal_and_check(server, &folder, acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_stops_nobody() {
    for by_ms in ["3600000", "-3600000"] {
        let folder = tempfile::tempdir().unwrap();
        let jump = format!("1500:{by_ms}");
        let server = faulty(&folder, &[("PERIGEE_FAULTS_CLOCK_JUMP", &jump)]).start().unwrap();
        BANK.create(server.pg()).await;
        let acknowledged = run_and_break(&server, &folder, &Load::new(4)).await;
        let client = server.client().await.unwrap();
        assert_eq!(client.value("SELECT 1").await.unwrap(), "1");
        assert!(acknowledged.len() > 10, "{by_ms}: {} transfers", acknowledged.len());
        heal_and_check(server, &folder, acknowledged).await;
    }
}

/// Others may fill the disk whatever the node keeps free of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_waits_for_room_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let faults = [("PERIGEE_FAULTS_FREE", "1000000"), ("PERIGEE_STORAGE__CHECKPOINT_INTERVAL", "1s")];
    let mut server = faulty(&folder, &faults).start().unwrap();
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await.unwrap();
    std::fs::write(folder.path().join("broken"), "").unwrap();
    until(&client, "INSERT INTO t VALUES (2)", Some("53100")).await;
    until(&client, "CHECKPOINT", Some("53100")).await;
    client.batch_execute("TRUNCATE t").await.unwrap();
    // Its own have come due meanwhile.
    let started = Instant::now();
    while !server.log().contains("a checkpoint does not fit on the disk") {
        assert!(started.elapsed() < Duration::from_secs(30), "{}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(client.value("SELECT count(*) FROM t").await.unwrap(), "0");
    std::fs::remove_file(folder.path().join("broken")).unwrap();
    until(&client, "INSERT INTO t VALUES (3)", None).await;
    until(&client, "CHECKPOINT", None).await;
    drop(client);
    server.kill();
    server.restart().unwrap();
    assert_eq!(server.client().await.unwrap().value("SELECT a FROM t").await.unwrap(), "3");
}

/// Runs a statement until it ends with `code` (none: well): the node asks for the free space once a second.
async fn until(client: &Client, sql: &str, code: Option<&str>) {
    let started = Instant::now();
    loop {
        let result = client.batch_execute(sql).await;
        let found = result.as_ref().err().and_then(|error| error.code()).map(|found| found.code().to_owned());
        if found.as_deref() == code {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{sql}: {result:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_reserve_only_what_frees_space_is_written() {
    // Within the reserve, and within the last quarter of it.
    for (free, deletes) in [("200000000", true), ("20000000", false)] {
        let folder = tempfile::tempdir().unwrap();
        let faults = [("PERIGEE_FAULTS_FREE", free), ("PERIGEE_STORAGE__DISK_RESERVE", "256MiB")];
        let server = faulty(&folder, &faults).start().unwrap();
        let client = server.client().await.unwrap();
        for sql in [
            "CREATE TABLE t (a int PRIMARY KEY, b text)",
            "CREATE TABLE u (a int)",
            "CREATE TABLE v (a int)",
            "CREATE SEQUENCE s",
            "INSERT INTO t SELECT x, 'row' FROM generate_series(1, 1000) AS g(x)",
            "INSERT INTO u VALUES (1)",
        ] {
            client.batch_execute(sql).await.unwrap();
        }
        std::fs::write(folder.path().join("broken"), "").unwrap();
        until(&client, "INSERT INTO u VALUES (2)", Some("53100")).await;
        for sql in [
            "UPDATE t SET b = 'new' WHERE a = 1",
            "CREATE TABLE w (a int)",
            "CREATE INDEX ON t (b)",
            "ALTER TABLE t ADD COLUMN c int",
            "SELECT nextval('s')",
        ] {
            until(&client, sql, Some("53100")).await;
        }
        assert_eq!(client.value("SELECT count(*) FROM t WHERE b = 'row'").await.unwrap(), "1000");
        let (status, ready) = http::get(server.ops(), "/ready").unwrap();
        assert_eq!(status, 200, "who frees space must find a way in: {ready}");
        assert!(ready.contains("\"status\":\"degraded\""), "{ready}");
        until(&client, "DELETE FROM t WHERE a <= 500", (!deletes).then_some("53100")).await;
        until(&client, "TRUNCATE u", None).await;
        until(&client, "DROP TABLE v", None).await;
        std::fs::remove_file(folder.path().join("broken")).unwrap();
        until(&client, "INSERT INTO t VALUES (2000, 'row')", None).await;
        let left = if deletes { "501" } else { "1001" };
        assert_eq!(client.value("SELECT count(*) FROM t").await.unwrap(), left);
    }
}
