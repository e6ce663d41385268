//! The graceful stop.

use std::time::{Duration, Instant};

#[tokio::test]
async fn a_stop_ends_sessions_and_keeps_what_was_committed() {
    let mut server = perigee_tests::server();
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE t (a int PRIMARY KEY)").await.unwrap();
    client.batch_execute("INSERT INTO t VALUES (1)").await.unwrap();
    client.batch_execute("BEGIN; INSERT INTO t VALUES (2)").await.unwrap();
    let started = Instant::now();
    let exit = server.stop().unwrap();
    assert_eq!(exit.status.code(), Some(0), "{}", exit.log);
    assert!(started.elapsed() < Duration::from_secs(30));
    assert!(exit.log.contains("final checkpoint"), "{}", exit.log);
    // The session was told, or finds the connection closed.
    client.batch_execute("COMMIT").await.unwrap_err();
    server.restart().unwrap();
    let client = server.client().await.unwrap();
    assert_eq!(client.value("SELECT string_agg(a::text, ',') FROM t").await.unwrap(), "1");
}

#[tokio::test]
async fn interrupt_stops_as_well() {
    let mut server = perigee_tests::server();
    server.signal("INT").unwrap();
    let exit = server.wait_exit(Duration::from_secs(30)).unwrap();
    assert_eq!(exit.status.code(), Some(0), "{}", exit.log);
}

#[tokio::test]
async fn a_long_query_does_not_hold_up_the_stop() {
    let server = perigee_tests::options().env("PERIGEE_SESSIONS__STOP_TIMEOUT", "1s").start();
    let mut server = server.unwrap();
    let client = server.client().await.unwrap();
    let sql = "SELECT count(*) FROM generate_series(1, 100000) AS a(x), generate_series(1, 100000) AS b(x) \
         WHERE a.x + b.x < 0";
    let running = tokio::spawn(async move { client.batch_execute(sql).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let started = Instant::now();
    let exit = server.stop().unwrap();
    assert_eq!(exit.status.code(), Some(0), "{}", exit.log);
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert!(running.await.unwrap().is_err());
}

#[tokio::test]
async fn a_restart_after_a_stop_reads_the_checkpoint() {
    let mut server = perigee_tests::server();
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE t (a int PRIMARY KEY, b text)").await.unwrap();
    let insert = "INSERT INTO t SELECT x, 'row ' || x FROM generate_series(1, 20000) AS g(x)";
    client.batch_execute(insert).await.unwrap();
    client.batch_execute("DELETE FROM t WHERE a % 3 = 0; UPDATE t SET b = 'new' WHERE a % 5 = 0").await.unwrap();
    let sql = "SELECT count(*) || ' ' || sum(a) || ' ' || count(*) FILTER (WHERE b = 'new') FROM t";
    let before = client.value(sql).await.unwrap();
    for _ in 0..3 {
        assert_eq!(server.stop().unwrap().status.code(), Some(0));
        server.restart().unwrap();
        assert_eq!(server.client().await.unwrap().value(sql).await.unwrap(), before);
    }
}
