//! Cold tables as others read them: what pyiceberg and DuckDB find in the object store is what SQL says of the same rows, also
//! behind changes of cold rows and of their table.

use perigee_testkit::{Client, Server};
use perigee_tests::backups::{PATIENCE, cold_files, each, files};
use perigee_tests::bucket::{Bucket, Service};
use perigee_tests::{script, wait_for};

const COLUMNS: &str =
    "id, b, i2, i8, f4, f8, n::text AS n, d2, tx, vc, ch::text AS ch, by, d, ti, ts, tz, u, jb::text AS jb, ai, at";

async fn create(client: &Client) {
    let create = "CREATE TABLE t (id int4 PRIMARY KEY, b bool, i2 int2, i8 int8, f4 float4, f8 float8, n numeric, d2 numeric(20,2),
            tx text, vc varchar(20), ch char(5), by bytea, d date, ti time, ts timestamp, tz timestamptz, u uuid, jb jsonb,
            ai int4[], at text[]);
        INSERT INTO t SELECT g, g % 2 = 0, g % 100, g * 10000000000, g / 8.0, g / 3.0, g / 7.0, g / 100.0, 'text ' || g, 'v' || g,
            'c' || g % 10, decode(lpad(to_hex(g), 8, '0'), 'hex'), '2024-01-01'::date + g % 1000, '00:00'::time + g * interval '1 s',
            '2024-01-01'::timestamp + g * interval '1 min', '2024-01-01'::timestamptz + g * interval '1 min',
            ('00000000-0000-0000-0000-' || lpad(g::text, 12, '0'))::uuid, jsonb_build_object('g', g), ARRAY[g, NULL], ARRAY['a' || g]
            FROM generate_series(1, 20000) g;
        INSERT INTO t (id) VALUES (0)";
    client.batch_execute(create).await.unwrap();
}

/// What all find of `t`, in an export that is made now.
async fn same(server: &Server, client: &Client, columns: &str, environment: &[(String, String)]) -> usize {
    client.batch_execute("CALL perigee.migrate('t', 'cold'); CALL perigee.export('t')").await.unwrap();
    let location = "SELECT iceberg FROM perigee.tiers WHERE table_name = 't' AND tier = 'cold'";
    let location = client.value(location).await.unwrap();
    let query = format!("SELECT {columns} FROM t");
    let mut command = script("server/lake.py");
    command.args([server.pg().port().to_string().as_str(), &query, &location]);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let output = tokio::task::block_in_place(|| command.output()).expect("integration/tools lake");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{text}");
    text.trim().parse().unwrap_or_else(|_| panic!("{text}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_read_cold_tables_as_sql_does() {
    let server = tokio::task::block_in_place(perigee_tests::server);
    let client = server.client().await.unwrap();
    create(&client).await;
    assert_eq!(same(&server, &client, COLUMNS, &[]).await, 20_001);
    let changes = "DELETE FROM t WHERE id % 3 = 0; UPDATE t SET tx = 'new', i8 = -i8 WHERE id % 100 = 1;
        INSERT INTO t (id, tx) VALUES (30000, 'late')";
    each(&client, changes).await;
    let left: usize = client.value("SELECT count(*) FROM t").await.unwrap().parse().unwrap();
    assert_eq!(same(&server, &client, COLUMNS, &[]).await, left, "rows that have ended do not come back");
    // The table learns and forgets: files stay as they are.
    let changes = "ALTER TABLE t ADD COLUMN late int DEFAULT 9; ALTER TABLE t ADD COLUMN word text DEFAULT 'none';
        ALTER TABLE t ADD COLUMN moment timestamptz DEFAULT '2024-02-03 04:05:06+00';
        ALTER TABLE t ADD COLUMN price numeric(8,3) DEFAULT 1.5;
        ALTER TABLE t RENAME COLUMN tx TO words; ALTER TABLE t DROP COLUMN i8; ALTER TABLE t ADD COLUMN i8 text;
        INSERT INTO t (id, late, i8) VALUES (30001, 1, 'another')";
    each(&client, changes).await;
    let columns = COLUMNS.replace("tx", "words") + ", late, word, moment, price";
    assert_eq!(same(&server, &client, &columns, &[]).await, left + 1);
    each(&client, "CALL perigee.compact('t'); CALL perigee.collect_cold_files()").await;
    assert_eq!(same(&server, &client, &columns, &[]).await, left + 1, "compacted");
    each(&client, "TRUNCATE t").await;
    assert_eq!(same(&server, &client, &columns, &[]).await, 0);
    // Nothing is left of a table that is gone.
    let cold = server.data_dir().join("cold");
    let begun = std::time::Instant::now();
    each(&client, "DROP TABLE t").await;
    while !files(&cold).is_empty() {
        each(&client, "CALL perigee.collect_cold_files()").await;
        assert!(begun.elapsed() < PATIENCE, "{:?}", files(&cold));
    }
}

/// Exports are made by themselves, and few objects of theirs stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_follow_by_themselves_and_leave_little_behind() {
    let mut server = tokio::task::block_in_place(perigee_tests::server);
    let client = server.client().await.unwrap();
    each(&client, "CREATE TABLE t (id int8 PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')").await;
    let exported = "SELECT count(*) FROM perigee.tiers WHERE table_name = 't' AND iceberg IS NOT NULL";
    assert_eq!(client.value(exported).await.unwrap(), "0");
    client.batch_execute("CALL perigee.migrate('t', 'cold')").await.unwrap();
    wait_for(&client, exported, "1").await;
    for n in 2..8 {
        each(&client, &format!("INSERT INTO t VALUES ({n}, 'b'); DELETE FROM t WHERE id = {n} - 1")).await;
        assert_eq!(same(&server, &client, "id, v", &[]).await, 1);
    }
    let cold = server.data_dir().join("cold");
    let objects = files(&cold).len() - cold_files(&cold).len();
    // The hint, and of two exports metadata, a list, two manifests and what of each file has ended.
    assert!(objects <= 1 + 2 * (4 + 7), "{:?}", files(&cold));
    drop(client);
    // Nothing is written again for a table that has not changed.
    let of_table = |server: &Server| {
        let all = files(&server.data_dir().join("cold"));
        all.into_iter().filter(|path| path.to_string_lossy().contains("metadata.json")).collect::<Vec<_>>()
    };
    let before = of_table(&server);
    tokio::task::block_in_place(|| server.kill());
    tokio::task::block_in_place(|| server.restart()).unwrap();
    let client = server.client().await.unwrap();
    wait_for(&client, exported, "1").await;
    assert_eq!(of_table(&server), before);
    assert_eq!(same(&server, &client, "id, v", &[]).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_read_cold_tables_in_a_bucket() {
    let s3 = tokio::task::block_in_place(|| Bucket::start(Service::S3));
    let mut options = perigee_tests::options().env("PERIGEE_COLD__URL", s3.url("cold"));
    options.environment.extend(s3.environment());
    let server = tokio::task::block_in_place(|| options.start().unwrap());
    let client = server.client().await.unwrap();
    create(&client).await;
    assert_eq!(same(&server, &client, COLUMNS, &s3.environment()).await, 20_001);
    each(&client, "DELETE FROM t WHERE id > 100; UPDATE t SET tx = 'new' WHERE id < 10").await;
    assert_eq!(same(&server, &client, COLUMNS, &s3.environment()).await, 101);
}
