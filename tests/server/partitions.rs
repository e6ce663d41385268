//! Tables whose rows lie in others: loads, several sessions, and what a restart leaves.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::SinkExt as _;

const COUNTS: &str = "SELECT string_agg(name || ' ' || n, ', ' ORDER BY name) \
                      FROM (SELECT tableoid::regclass::text AS name, count(*) AS n FROM t GROUP BY 1) AS c";

/// A load that is larger than an entry goes to all partitions, and is there behind a kill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_copy_fills_the_partitions() {
    let mut server = tokio::task::block_in_place(perigee_tests::server);
    {
        let client = server.client().await.unwrap();
        client
            .batch_execute(
                "CREATE TABLE t (id bigint, pad text, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
                 CREATE TABLE t_0 PARTITION OF t FOR VALUES IN (0);
                 CREATE TABLE t_1 (k int NOT NULL, pad text, id bigint NOT NULL);
                 ALTER TABLE t ATTACH PARTITION t_1 FOR VALUES IN (1);
                 CREATE TABLE t_d PARTITION OF t DEFAULT",
            )
            .await
            .unwrap();
        let mut sink = pin!(client.copy_in("COPY t FROM STDIN (FORMAT csv) WHERE id <> 7").await.unwrap());
        for part in 0..40_u64 {
            let line = |row: u64| format!("{},{},{}\n", part * 1000 + row, "x".repeat(100), row % 4);
            sink.send(Bytes::from((0..1000).map(line).collect::<String>())).await.unwrap();
        }
        assert_eq!(sink.as_mut().finish().await.unwrap(), 39_999);
        assert_eq!(client.value(COUNTS).await.unwrap(), "t_0 10000, t_1 10000, t_d 19999");
        // A row that no partition takes, or that is there, leaves nothing.
        client.batch_execute("ALTER TABLE t DETACH PARTITION t_d").await.unwrap();
        for (line, state) in [("50000,x,9\n", "23514"), ("1,x,1\n", "23505")] {
            let mut sink = pin!(client.copy_in("COPY t FROM STDIN (FORMAT csv)").await.unwrap());
            sink.send(Bytes::from(format!("60000,x,0\n{line}"))).await.unwrap();
            assert_eq!(sink.as_mut().finish().await.unwrap_err().code().unwrap().code(), state);
        }
        assert_eq!(client.value(COUNTS).await.unwrap(), "t_0 10000, t_1 10000");
    }
    server.kill();
    tokio::task::block_in_place(|| server.restart()).unwrap();
    let client = server.client().await.unwrap();
    assert_eq!(client.value(COUNTS).await.unwrap(), "t_0 10000, t_1 10000");
    assert_eq!(client.value("SELECT count(*) FROM t WHERE id = 5 AND k = 1").await.unwrap(), "1");
    client.batch_execute("UPDATE t SET k = 1 - k WHERE id < 100").await.unwrap();
    assert_eq!(client.value("SELECT count(*) FROM t WHERE k = 0 AND id < 100").await.unwrap(), "25");
}

/// Sessions that need the same new partition of time make it once, and none waits for the end of another.
#[tokio::test]
async fn partitions_of_time_are_made_once() {
    let server = perigee_tests::server();
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE t (id int, ts timestamptz NOT NULL, PRIMARY KEY (id, ts))").await.unwrap();
    client.value("SELECT create_hypertable('t', 'ts', chunk_time_interval => INTERVAL '1 hour')").await.unwrap();
    // This one stays open; its partition is there for the others.
    let open = server.client().await.unwrap();
    open.batch_execute("BEGIN; INSERT INTO t VALUES (-1, '2024-01-01 00:30+00')").await.unwrap();
    let server = Arc::new(server);
    let sessions = (0..6).map(|session: i32| {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let client = server.client().await.unwrap();
            for row in 0..30 {
                let id = session * 1000 + row;
                let insert = format!(
                    "INSERT INTO t VALUES ({id}, timestamptz '2024-01-01 00:00+00' + {row} * interval '10 minutes')"
                );
                client.batch_execute(&insert).await.unwrap();
            }
        })
    });
    for session in sessions.collect::<Vec<_>>() {
        session.await.unwrap();
    }
    assert_eq!(client.value("SELECT count(*) FROM t").await.unwrap(), "180");
    let chunks = "SELECT count(*) FROM pg_inherits WHERE inhparent = 't'::regclass";
    assert_eq!(client.value(chunks).await.unwrap(), "5");
    open.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(client.value(chunks).await.unwrap(), "5");
    // One whose snapshot is older than a partition is told to try again.
    open.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t").await.unwrap();
    client.batch_execute("INSERT INTO t VALUES (1, '2025-01-01')").await.unwrap();
    let error = open.batch_execute("INSERT INTO t VALUES (2, '2025-01-01')").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "40001");
}

/// SERIALIZABLE: a row that comes into a partition which was not there when it was looked for.
#[tokio::test]
async fn a_new_partition_is_a_change_of_what_was_read() {
    let server = perigee_tests::server();
    let (one, two) = (server.client().await.unwrap(), server.client().await.unwrap());
    one.batch_execute("CREATE TABLE t (day date, v int) WITH (time_column = 'day', partition = '1 day')")
        .await
        .unwrap();
    one.batch_execute("CREATE TABLE seen (n bigint)").await.unwrap();
    one.batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO seen SELECT count(*) FROM t").await.unwrap();
    two.batch_execute("INSERT INTO t VALUES ('2024-01-01', 1)").await.unwrap();
    assert_eq!(one.batch_execute("COMMIT").await.unwrap_err().code().unwrap().code(), "40001");
}
