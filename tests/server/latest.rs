//! LATEST ON through an index: what is read, and that it is what a scan finds, wherever rows are.

use perigee_testkit::Client;

const SET_UP: &str = "CREATE TABLE seen (id int PRIMARY KEY, k int, ts timestamp, v text);
    INSERT INTO seen SELECT g, g % 25, timestamp '2024-01-01' + g * interval '1 second', repeat('x', 20)
        FROM generate_series(1, 40000) g;
    CREATE INDEX seen_k_ts ON seen (k, ts)";

/// The same rows by an index and by a sort of all.
async fn newest(client: &Client) -> String {
    let of = |source: &str| format!("SELECT string_agg(id::text, ',' ORDER BY k) FROM ({source}) AS newest");
    let indexed = client.value(&of("SELECT * FROM seen LATEST ON ts PARTITION BY k")).await.unwrap();
    let sorted = "SELECT DISTINCT ON (k) * FROM seen ORDER BY k, ts DESC NULLS LAST";
    assert_eq!(indexed, client.value(&of(sorted)).await.unwrap());
    indexed
}

/// How many rows the scan has given.
async fn scanned(client: &Client) -> u64 {
    let lines = client.rows("EXPLAIN ANALYZE SELECT * FROM seen LATEST ON ts PARTITION BY k").await.unwrap();
    let lines: Vec<String> = lines.into_iter().flatten().flatten().collect();
    let mut behind = lines.iter().skip_while(|line| !line.contains("newest by index=seen_k_ts")).skip(1);
    let rows = behind.next().and_then(|line| line.trim().strip_prefix("rows=")).unwrap_or_else(|| panic!("{lines:?}"));
    let rows: String = rows.chars().take_while(char::is_ascii_digit).collect();
    rows.parse().unwrap_or_else(|_| panic!("{lines:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_rows_are_found_in_every_tier() {
    let mut server = tokio::task::block_in_place(perigee_tests::server);
    {
        let client = server.client().await.unwrap();
        client.batch_execute(SET_UP).await.unwrap();
        assert!(newest(&client).await.starts_with("40000,39976,"));
        assert_eq!(scanned(&client).await, 25);
        client
            .batch_execute("CHECKPOINT; DELETE FROM seen WHERE id > 39990; UPDATE seen SET k = 99 WHERE id = 3")
            .await
            .unwrap();
        newest(&client).await;
        assert_eq!(scanned(&client).await, 26);
    }
    server.kill();
    tokio::task::block_in_place(|| server.restart()).unwrap();
    let client = server.client().await.unwrap();
    newest(&client).await;
    assert_eq!(scanned(&client).await, 26);
    client.batch_execute("CALL perigee.migrate('seen', 'cold')").await.unwrap();
    newest(&client).await;
    client
        .batch_execute("INSERT INTO seen SELECT 50000 + g, g, '2025-01-01', 'new' FROM generate_series(0, 24) g")
        .await
        .unwrap();
    client.batch_execute("INSERT INTO seen VALUES (60000, 99, '2025-01-01', 'new')").await.unwrap();
    assert!(newest(&client).await.starts_with("50000,50001,"));
    // None of them is in the files.
    assert_eq!(scanned(&client).await, 26);
    // Groups of few rows: a scan.
    client.batch_execute("UPDATE seen SET k = id").await.unwrap();
    assert!(scanned(&client).await > 30_000);
}
