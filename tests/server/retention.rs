//! What age does to rows: they end, or become cold, whatever else happens to them; nothing younger is touched.

use std::time::Duration;

use perigee_tests::wait_for;

/// Rows end by their age, with what points to them; one that is written again is young again; a restart forgets no age.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_end_by_age() {
    let mut server = tokio::task::block_in_place(perigee_tests::server);
    let client = server.client().await.unwrap();
    let create = "CREATE TABLE old (id int PRIMARY KEY, v text) WITH TTL = 2s;
        CREATE TABLE young (id int PRIMARY KEY, v text) WITH (ttl = '1 hour');
        CREATE TABLE pointing (id int REFERENCES old ON DELETE CASCADE);
        CREATE TABLE forever (id int);
        INSERT INTO old SELECT g, 'x' FROM generate_series(1, 30000) g;
        INSERT INTO young SELECT * FROM old; INSERT INTO pointing VALUES (1), (2), (30000); INSERT INTO forever SELECT id FROM old";
    client.batch_execute(create).await.unwrap();
    // Who holds a row keeps it, and its transaction ends as any other.
    let holder = server.client().await.unwrap();
    holder.batch_execute("BEGIN; SELECT * FROM old WHERE id = 17 FOR UPDATE").await.unwrap();
    wait_for(&client, "SELECT count(*) || ' ' || min(id) FROM old", "1 17").await;
    holder.batch_execute("UPDATE old SET v = 'held' WHERE id = 17; COMMIT").await.unwrap();
    wait_for(&client, "SELECT count(*) FROM old", "0").await;
    assert_eq!(client.value("SELECT count(*) FROM pointing").await.unwrap(), "0");
    for kept in ["young", "forever"] {
        assert_eq!(client.value(&format!("SELECT count(*) FROM {kept}")).await.unwrap(), "30000", "{kept}");
    }
    client.batch_execute("ALTER TABLE old RESET (ttl); INSERT INTO old VALUES (1, 'stays')").await.unwrap();
    // An UPDATE writes a row anew.
    client.batch_execute("UPDATE young SET v = 'y' WHERE id <= 10").await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    drop((client, holder));
    tokio::task::block_in_place(|| server.stop()).unwrap();
    tokio::task::block_in_place(|| server.restart()).unwrap();
    let client = server.client().await.unwrap();
    client.batch_execute("INSERT INTO young VALUES (40000, 'new')").await.unwrap();
    assert_eq!(client.value("SELECT v FROM old").await.unwrap(), "stays");
    // What was written before the restart is older than this by now, what was written behind it is not.
    let age = "SELECT (EXTRACT(epoch FROM now() - pg_postmaster_start_time()) + 3)::int || 's'";
    let age = client.value(age).await.unwrap();
    client.batch_execute(&format!("ALTER TABLE young SET (ttl = '{age}')")).await.unwrap();
    wait_for(&client, "SELECT count(*) < 30000 FROM young", "t").await;
    client.batch_execute("ALTER TABLE young SET (ttl = '1 day')").await.unwrap();
}

/// Partitions of time go whole when all of their time is over, whenever their rows were written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_go_when_their_time_is_over() {
    let server = tokio::task::block_in_place(perigee_tests::server);
    let client = server.client().await.unwrap();
    let create = "CREATE TABLE m (ts timestamptz NOT NULL, v int) WITH (time_column = 'ts', partition = '1 hour');
        INSERT INTO m SELECT now() - g * interval '1 hour', g FROM generate_series(0, 47) g;
        ALTER TABLE m SET (ttl = '1 day')";
    client.batch_execute(create).await.unwrap();
    wait_for(&client, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'm'::regclass", "25").await;
    // The hour in which the day began is not over for a day.
    assert_eq!(client.value("SELECT min(v) || ' ' || max(v) || ' ' || count(*) FROM m").await.unwrap(), "0 24 25");
}

/// Rows become cold by age, a few of them together with those that come behind them; answers stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_become_cold_by_age() {
    let server = tokio::task::block_in_place(perigee_tests::server);
    let client = server.client().await.unwrap();
    let create = "CREATE TABLE t (id int PRIMARY KEY, v text) WITH (warm_retention = '2s');
        CREATE TABLE c (ts timestamptz NOT NULL, v int) WITH (time_column = 'ts', partition = '1 day', tier = 'cold');
        CREATE TABLE w (id int) WITH (tier = 'warm');
        INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 20000) g; INSERT INTO w SELECT id FROM t;
        INSERT INTO c SELECT '2024-01-01'::timestamptz + g * interval '8 seconds', g FROM generate_series(0, 11999) g";
    client.batch_execute(create).await.unwrap();
    let cold = "SELECT sum(rows) FROM perigee.tiers WHERE tier = 'cold' AND table_name LIKE";
    let digest = "SELECT md5(string_agg(id || v, ',' ORDER BY id)) FROM t";
    let before = client.value(digest).await.unwrap();
    wait_for(&client, &format!("{cold} 't'"), "20000").await;
    assert_eq!(client.value(digest).await.unwrap(), before);
    // Partitions have the option of their parent; the second one has few rows, which wait.
    wait_for(&client, &format!("{cold} 'c%'"), "10800").await;
    assert_eq!(client.value("SELECT sum(v) FROM c").await.unwrap(), "71994000");
    // A change makes rows warm, and many of them cold again.
    let change = "UPDATE t SET v = 'new' WHERE id <= 9000; DELETE FROM t WHERE id > 19990";
    client.batch_execute(change).await.unwrap();
    wait_for(&client, &format!("{cold} 't'"), "19990").await;
    assert_eq!(client.value("SELECT v FROM t WHERE id = 5").await.unwrap(), "new");
    assert_eq!(client.value("SELECT count(*) FROM t").await.unwrap(), "19990");
    assert_eq!(client.value(&format!("{cold} 'w'")).await.unwrap(), "0");
    // Age ends cold rows too.
    client.batch_execute("ALTER TABLE t SET (ttl = '3s')").await.unwrap();
    wait_for(&client, "SELECT count(*) FROM t", "0").await;
}
