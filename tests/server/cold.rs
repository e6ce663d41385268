//! Rows in the object store: the same answers as before, whatever their types, through changes, restarts and a store that is
//! away.

use perigee_testkit::Client;
use perigee_tests::backups::{cold_files, files_of};

const MIGRATE: &str = "CALL perigee.migrate('t', 'cold')";

async fn explain(client: &Client, sql: &str) -> String {
    let lines = client.rows(&format!("EXPLAIN ANALYZE {sql}")).await.unwrap();
    lines.into_iter().flatten().flatten().collect::<Vec<_>>().join("\n")
}

/// Every type, with the values at its ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_all_types_come_back_as_they_were() {
    let mut server = tokio::task::block_in_place(perigee_tests::server);
    let client = server.client().await.unwrap();
    let create = "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
        CREATE TABLE t (id int4 PRIMARY KEY, b bool, i2 int2, i8 int8, f4 float4, f8 float8, n numeric, n2 numeric(20,4),
            tx text, vc varchar(20), ch char(5), by bytea, d date, ti time, ts timestamp, tz timestamptz, iv interval,
            u uuid, j json, jb jsonb, m mood, ai int4[], at text[], am mood[], av interval[], an numeric[], o oid, \"_vid\" int4);
        INSERT INTO t VALUES
            (1, true, -32768, -9223372036854775808, 'NaN', 'NaN', 'NaN', -1234567890123456.7891, '', '', '', '', '4713-01-01 BC',
             '00:00', '-infinity', '-infinity', '-178000000 years', '00000000-0000-0000-0000-000000000000', '{}', '{}', 'sad',
             '{}', '{}', '{}', '{}', '{}', 0, 1),
            (2, false, 32767, 9223372036854775807, 'Infinity', '-Infinity', 123456789012345678901234567890.0123456789, 0.0001,
             'größe \u{1F600}', 'x', 'abc', '\\x00ff10', 'infinity', '24:00:00', 'infinity', 'infinity',
             '1 mon -3 days 04:05:06.000001', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '{\"a\" : [1, null]}', '{\"b\": 1.50}',
             'happy', '{1,NULL,3}', '{a,NULL,\"b c\"}', '{sad,NULL}', '{1 day,NULL}', '{1.10,NULL,2}', 4294967295, 2),
            (3, NULL, NULL, NULL, '-0', '-0', 2.00, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
             NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
        INSERT INTO t VALUES (4, true, 0, 0, 0, 5e-324, 2.0, 0, repeat('long ', 40000), 'y', 'y', decode(repeat('ab', 5000), 'hex'), '2024-02-29',
             '23:59:59.999999', '2024-02-29 12:00:00.123456', '2024-02-29 12:00:00.123456+02', '0', gen_random_uuid(), '1', '1',
             'ok', '{2147483647}', '{\"\"}', '{ok}', '{00:00:01}', '{0}', 7, 3)";
    client.batch_execute(create).await.unwrap();
    let all = "SELECT * FROM t ORDER BY id";
    let sizes = "SELECT id, md5(tx), md5(by::text), pg_typeof(n), n::text, f4::text, f8::text FROM t ORDER BY id";
    let before = (client.rows(all).await.unwrap(), client.rows(sizes).await.unwrap());
    client.batch_execute(MIGRATE).await.unwrap();
    assert_eq!((client.rows(all).await.unwrap(), client.rows(sizes).await.unwrap()), before, "once they are cold");
    // By key each value is read by itself.
    for row in &before.0 {
        let id = row[0].as_ref().unwrap();
        let one = client.rows(&format!("SELECT * FROM t WHERE id = {id}")).await.unwrap();
        assert_eq!(one.as_slice(), std::slice::from_ref(row));
    }
    let shown = explain(&client, "SELECT * FROM t").await;
    assert!(shown.contains("cold: rows=4") && shown.contains("files: read=1"), "{shown}");
    // PostgreSQL's order of floats, not that of Parquet's bounds.
    assert_eq!(client.value("SELECT count(*) FROM t WHERE f8 > 1e308").await.unwrap(), "1");
    assert_eq!(client.value("SELECT count(*) FROM t WHERE f8 = 0").await.unwrap(), "1");
    assert_eq!(client.value("SELECT count(*) FROM t WHERE n = 2.000").await.unwrap(), "2");
    assert_eq!(client.value("SELECT count(*) FROM t WHERE m = 'ok'").await.unwrap(), "1");
    drop(client);
    tokio::task::block_in_place(|| server.stop()).unwrap();
    tokio::task::block_in_place(|| server.restart()).unwrap();
    let client = server.client().await.unwrap();
    assert_eq!((client.rows(all).await.unwrap(), client.rows(sizes).await.unwrap()), before, "behind a restart");
    // What the table has learnt since.
    client
        .batch_execute("ALTER TYPE mood ADD VALUE 'great'; ALTER TABLE t ADD COLUMN late int DEFAULT 9")
        .await
        .unwrap();
    client.batch_execute("ALTER TABLE t RENAME COLUMN i8 TO big; ALTER TABLE t DROP COLUMN i2").await.unwrap();
    let late = "SELECT id, big, late, m FROM t WHERE late = 9 ORDER BY id LIMIT 2";
    let row = |id: &str, big: &str, m: &str| [id, big, "9", m].map(|text| Some(text.to_owned())).to_vec();
    let expected = [row("1", "-9223372036854775808", "sad"), row("2", "9223372036854775807", "happy")];
    assert_eq!(client.rows(late).await.unwrap(), expected);
}

/// Files are read by names: those of hidden columns are taken, and what stands in for them may be, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_that_are_called_as_hidden_ones_are_told_apart() {
    let server = tokio::task::block_in_place(perigee_tests::server);
    let client = server.client().await.unwrap();
    let create = "CREATE TABLE t (id int PRIMARY KEY, \"_vid\" int, \"_vid_2\" int, \"_vid_2_\" int);
        INSERT INTO t SELECT g, g * 2, g * 3, g * 5 FROM generate_series(1, 100) g; DELETE FROM t WHERE id = 100";
    client.batch_execute(create).await.unwrap();
    let sums = "SELECT sum(id) || ' ' || sum(\"_vid\") || ' ' || sum(\"_vid_2\") || ' ' || sum(\"_vid_2_\") FROM t";
    let found = "SELECT string_agg(id::text, ',' ORDER BY id) FROM t WHERE \"_vid\" = 20 OR \"_vid_2\" = 33 OR \"_vid_2_\" = 60";
    for migrated in [false, true] {
        if migrated {
            client.batch_execute(MIGRATE).await.unwrap();
            client.batch_execute("DELETE FROM t WHERE id = 99").await.unwrap();
        }
        let wanted = if migrated { "4851 9702 14553 24255" } else { "4950 9900 14850 24750" };
        assert_eq!(client.value(sums).await.unwrap(), wanted);
        assert_eq!(client.value(found).await.unwrap(), "10,11,12");
    }
    assert_eq!(client.value("SELECT \"_vid_2\" FROM t WHERE id = 7").await.unwrap(), "21");
}

/// A query that has begun over rows in memory goes on over the same rows in files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_goes_on_over_rows_that_become_cold() {
    const ROWS: usize = 120_000;
    let server = tokio::task::block_in_place(perigee_tests::server);
    let client = server.client().await.unwrap();
    let (holder, reader) = (server.client().await.unwrap(), server.client().await.unwrap());
    let create = format!(
        "CREATE TABLE t (id int4 PRIMARY KEY, v text);
        INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, {ROWS}) g; DELETE FROM t WHERE id % 10 = 0"
    );
    client.batch_execute(&create).await.unwrap();
    // While a snapshot is older than the manifest the rows stay in memory, where the cursor finds them.
    holder.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t").await.unwrap();
    client.batch_execute(MIGRATE).await.unwrap();
    let cursor = "BEGIN; DECLARE c CURSOR FOR SELECT id, v FROM t WHERE id % 2 = 0";
    reader.batch_execute(cursor).await.unwrap();
    let mut found = reader.rows("FETCH 10 FROM c").await.unwrap();
    client.batch_execute("UPDATE t SET v = 'new' WHERE id % 4 = 0; DELETE FROM t WHERE id % 4 = 2").await.unwrap();
    holder.batch_execute("COMMIT").await.unwrap();
    client.batch_execute("CHECKPOINT").await.unwrap();
    let cold = "SELECT (rows > 0)::text FROM perigee.tiers WHERE table_name = 't' AND tier = 'cold'";
    perigee_tests::wait_for(&client, cold, "true").await;
    found.extend(reader.rows("FETCH ALL FROM c").await.unwrap());
    let mut ids: Vec<usize> = Vec::new();
    for row in &found {
        let (Some(id), Some(v)) = (&row[0], &row[1]) else { panic!("{row:?}") };
        assert_eq!(*v, format!("v{id}"));
        ids.push(id.parse().unwrap());
    }
    ids.sort_unstable();
    assert!(ids.into_iter().eq((1..=ROWS).filter(|id| id % 2 == 0 && id % 10 != 0)), "{} rows", found.len());
    reader.batch_execute("COMMIT").await.unwrap();
    assert_eq!(client.value("SELECT count(*) FROM t WHERE id % 2 = 0").await.unwrap(), "24000");
}

/// The same questions while rows are hot, while some are cold, and when all are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_do_not_depend_on_the_tier() {
    let mut server = tokio::task::block_in_place(perigee_tests::server);
    let client = server.client().await.unwrap();
    let create =
        "CREATE TABLE t (id int8 PRIMARY KEY, device int4 NOT NULL, at timestamptz NOT NULL, v float8, tag text);
        CREATE UNIQUE INDEX ON t (tag); CREATE INDEX ON t (device);
        CREATE TABLE d (device int4 PRIMARY KEY, name text);
        INSERT INTO d SELECT g, 'device ' || g FROM generate_series(0, 9) g;
        INSERT INTO t SELECT g, g % 10, '2024-01-01'::timestamptz + g * interval '1 min', g / 7.0, 'tag ' || g
            FROM generate_series(0, 59999) g";
    client.batch_execute(create).await.unwrap();
    let questions = [
        "SELECT count(*), min(id), max(id), sum(device), round(sum(v)::numeric, 3) FROM t",
        "SELECT device, count(*), round(avg(v)::numeric, 6) FROM t GROUP BY device ORDER BY device",
        "SELECT id, tag FROM t WHERE id BETWEEN 29990 AND 30010 ORDER BY id",
        "SELECT tag FROM t WHERE id = 54321",
        "SELECT id FROM t WHERE tag = 'tag 12345'",
        "SELECT count(*) FROM t WHERE tag LIKE 'tag 599%'",
        "SELECT date_trunc('day', at) AS day, count(*) FROM t WHERE at >= '2024-02-01' GROUP BY 1 ORDER BY 1",
        "SELECT name, count(*) FROM t JOIN d USING (device) WHERE v > 5000 GROUP BY name ORDER BY name",
        "SELECT id, v FROM t ORDER BY v DESC, id LIMIT 5",
        "SELECT id FROM t WHERE device = 3 ORDER BY at DESC LIMIT 3",
        "SELECT count(*) FROM t WHERE id IN (1, 100, 59999, 60001)",
        "SELECT count(*) FROM t WHERE v IS NULL",
        "SELECT md5(string_agg(id || ':' || device || ':' || tag, ',' ORDER BY id)) FROM t",
    ];
    let ask = async |client: &Client| {
        let mut answers = Vec::new();
        for question in questions {
            answers.push((question, client.rows(question).await.unwrap()));
        }
        answers
    };
    let hot = ask(&client).await;
    // A snapshot from before, which goes on reading what it read.
    let before = server.client().await.unwrap();
    before.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t").await.unwrap();
    client.batch_execute(MIGRATE).await.unwrap();
    assert_eq!(ask(&client).await, hot, "an older snapshot keeps the rows warm");
    assert_eq!(before.rows(questions[0]).await.unwrap(), hot[0].1);
    before.batch_execute("COMMIT").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(ask(&client).await, hot, "cold");
    let shown = explain(&client, "SELECT sum(v) FROM t WHERE id < 1000").await;
    assert!(shown.contains("cold: rows=8192 "), "only the page that has the rows is read:\n{shown}");
    // Changes of cold rows; the same of a copy that stays hot.
    let changes = "UPDATE t SET v = -v, tag = tag || '!' WHERE id % 1000 = 7;
        DELETE FROM t WHERE device = 4 AND id < 30000;
        INSERT INTO t VALUES (5, 1, now(), 1, 'other') ON CONFLICT (id) DO UPDATE SET v = 99;
        INSERT INTO t SELECT g, 1, '2025-01-01', NULL, 'new ' || g FROM generate_series(70000, 70999) g";
    client.batch_execute("CREATE TABLE copy AS SELECT * FROM t").await.unwrap();
    client.batch_execute(changes).await.unwrap();
    let error = client.batch_execute("INSERT INTO t VALUES (6, 1, now(), 1, 'x')").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "23505");
    let error = client.batch_execute("INSERT INTO t VALUES (-1, 1, now(), 1, 'tag 6')").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "23505");
    client.batch_execute("DROP TABLE IF EXISTS hot").await.unwrap();
    let changed = ask(&client).await;
    assert_ne!(changed, hot);
    // A transaction sees its own changes of cold rows, and so no longer when it goes back.
    client.batch_execute("BEGIN; DELETE FROM t WHERE id < 50000; UPDATE t SET v = 0 WHERE id = 50001").await.unwrap();
    assert_eq!(client.value("SELECT min(id) FROM t").await.unwrap(), "50000");
    assert_eq!(client.value("SELECT v FROM t WHERE id = 50001").await.unwrap(), "0");
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(ask(&client).await, changed, "after a rollback");
    client.batch_execute(MIGRATE).await.unwrap();
    assert_eq!(ask(&client).await, changed, "the changes are cold too");
    client.batch_execute("VACUUM t; CHECKPOINT").await.unwrap();
    assert_eq!(ask(&client).await, changed, "behind a checkpoint");
    drop((client, before));
    tokio::task::block_in_place(|| server.kill());
    tokio::task::block_in_place(|| server.restart()).unwrap();
    let client = server.client().await.unwrap();
    for (question, answer) in &changed {
        assert_eq!(&client.rows(question).await.unwrap(), answer, "behind a kill: {question}");
    }
    // Few files of many, without what has ended; a snapshot from before reads the old ones for as long as it is open.
    let cold = server.data_dir().join("cold");
    let rows_of_files = "SELECT rows, files FROM perigee.tiers WHERE table_name = 't' AND tier = 'cold'";
    let before = server.client().await.unwrap();
    before.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t").await.unwrap();
    client.batch_execute("DELETE FROM t WHERE id BETWEEN 30000 AND 39999").await.unwrap();
    let fewer = ask(&client).await;
    let (old_files, left) = (cold_files(&cold), client.rows(rows_of_files).await.unwrap());
    client.batch_execute("CALL perigee.compact('t'); CALL perigee.collect_cold_files()").await.unwrap();
    assert!(old_files.iter().all(|file| file.exists()), "the snapshot needs them");
    assert_eq!(ask(&client).await, fewer, "compacted");
    for (question, answer) in &changed {
        assert_eq!(&before.rows(question).await.unwrap(), answer, "from before: {question}");
    }
    before.batch_execute("COMMIT").await.unwrap();
    for _ in 0..100 {
        client.batch_execute("CALL perigee.collect_cold_files()").await.unwrap();
        if old_files.iter().all(|file| !file.exists()) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(old_files.iter().all(|file| !file.exists()), "files stay that nobody reads");
    let compacted = client.rows(rows_of_files).await.unwrap();
    assert_eq!(compacted[0][0], left[0][0], "all rows that are left");
    assert_eq!(compacted[0][1].as_deref(), Some("1"));
    assert_eq!(ask(&client).await, fewer, "without the old files");
    client.batch_execute("UPDATE t SET v = -1 WHERE id = 20000").await.unwrap();
    assert_eq!(client.value("SELECT v FROM t WHERE id = 20000").await.unwrap(), "-1");
    // Nothing is left of a table that is emptied.
    assert_eq!(cold_files(&cold).len(), 1);
    client.batch_execute("TRUNCATE t").await.unwrap();
    for _ in 0..100 {
        client.batch_execute("CALL perigee.collect_cold_files()").await.unwrap();
        if cold_files(&cold).is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("files are left: {:?}", cold_files(&cold));
}

/// A store that is away, and a file that is not what was written.
/// Parquet itself would give other values.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_a_file_is_found_and_never_served() {
    let server = tokio::task::block_in_place(perigee_tests::server);
    let client = server.client().await.unwrap();
    let create = "CREATE TABLE t (id int PRIMARY KEY, v float8, s text);
        INSERT INTO t SELECT i, i / 7.0, md5(i::text) FROM generate_series(1, 60000) i";
    client.batch_execute(create).await.unwrap();
    client.batch_execute(MIGRATE).await.unwrap();
    let queries = [
        "SELECT count(*), sum(id), sum(v), md5(string_agg(s, '' ORDER BY id)) FROM t",
        "SELECT count(*), min(s), max(s) FROM t WHERE v > 8000",
        "SELECT v, s FROM t WHERE id = 40000",
    ];
    let mut expected = Vec::new();
    for sql in queries {
        expected.push(client.rows(sql).await.unwrap());
    }
    let file = files_of(&server.data_dir().join("cold"), "parquet").remove(0);
    let good = std::fs::read(&file).unwrap();
    let mut found = 0;
    for place in 1..40 {
        let mut bad = good.clone();
        bad[good.len() * place / 40] ^= 4;
        std::fs::write(&file, bad).unwrap();
        for (sql, rows) in queries.iter().zip(&expected) {
            match client.rows(sql).await {
                Ok(answer) => assert_eq!(answer, *rows, "{sql}, place {place}"),
                Err(error) => {
                    assert_eq!(error.code().map(|code| code.code()), Some("XX001"), "{sql}, place {place}: {error:?}");
                    found += 1;
                }
            }
        }
    }
    assert!(found > 0);
    std::fs::write(&file, good).unwrap();
    for (sql, rows) in queries.iter().zip(&expected) {
        assert_eq!(client.rows(sql).await.unwrap(), *rows, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_fails_cold_queries_alone() {
    let mut server = tokio::task::block_in_place(perigee_tests::server);
    let client = server.client().await.unwrap();
    let create = "CREATE TABLE t (id int8 PRIMARY KEY, v text); CREATE TABLE hot (id int8 PRIMARY KEY);
        INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 5000) g; INSERT INTO hot VALUES (1)";
    client.batch_execute(create).await.unwrap();
    client.batch_execute(MIGRATE).await.unwrap();
    client.batch_execute("CHECKPOINT").await.unwrap();
    drop(client);
    tokio::task::block_in_place(|| server.stop()).unwrap();
    let (cold, away) = (server.data_dir().join("cold"), server.data_dir().join("tmp-away"));
    std::fs::rename(&cold, &away).unwrap();
    tokio::task::block_in_place(|| server.restart()).unwrap();
    let client = server.client().await.unwrap();
    for sql in ["SELECT sum(length(v)) FROM t", "SELECT v FROM t WHERE id = 7"] {
        let error = client.rows(sql).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "58030", "{sql}: {error:?}");
    }
    assert_eq!(client.value("SELECT count(*) FROM hot").await.unwrap(), "1");
    client.batch_execute("INSERT INTO t VALUES (5001, 'new'); DELETE FROM t WHERE id = 5001").await.unwrap();
    let error = client.batch_execute("INSERT INTO t VALUES (7, 'again')").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "23505", "keys of cold rows are known without the store");
    std::fs::remove_dir_all(&cold).unwrap();
    std::fs::rename(&away, &cold).unwrap();
    assert_eq!(client.value("SELECT v FROM t WHERE id = 7").await.unwrap(), "v7");
    assert_eq!(client.value("SELECT count(*) FROM t").await.unwrap(), "5000");
}
