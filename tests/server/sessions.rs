//! One session, and what it leaves behind.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt as _;
use tokio_postgres::types::Type;
use tokio_postgres::{NoTls, SimpleQueryMessage};

async fn code(client: &perigee_testkit::Client, sql: &str) -> String {
    client.batch_execute(sql).await.expect_err(sql).code().map(|code| code.code().to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn rows_come_back() {
    let server = perigee_tests::server();
    let client = server.client().await.unwrap();
    client
        .batch_execute(
            "CREATE TABLE t (id bigint PRIMARY KEY, name text NOT NULL, price numeric(10,2), at timestamptz, ok bool)",
        )
        .await
        .unwrap();
    let insert = "INSERT INTO t (id, name, ok) VALUES ($1, $2, $3)";
    let statement = client.prepare_typed(insert, &[Type::INT8, Type::TEXT, Type::BOOL]).await.unwrap();
    for id in 0..10_i64 {
        assert_eq!(client.execute(&statement, &[&id, &format!("n{id}"), &(id % 2 == 0)]).await.unwrap(), 1);
    }
    let rows = client.query("SELECT id, name FROM t WHERE ok AND id > $1 ORDER BY id", &[&2_i64]).await.unwrap();
    let rows: Vec<(i64, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rows, [(4, "n4".to_owned()), (6, "n6".to_owned()), (8, "n8".to_owned())]);
    let one = client.query_one("SELECT name FROM t WHERE id = $1", &[&3_i64]).await.unwrap();
    assert_eq!(one.get::<_, &str>(0), "n3");
    assert_eq!(client.value("UPDATE t SET price = 1.5 WHERE id = 3 RETURNING price").await.unwrap(), "1.50");
    assert_eq!(client.value("DELETE FROM t WHERE id = 3 RETURNING name").await.unwrap(), "n3");
    assert_eq!(client.value("SELECT count(*) FROM t").await.unwrap(), "9");
}

#[tokio::test]
async fn rows_survive_a_stop_and_a_kill() {
    let mut server = perigee_tests::server();
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE t (a int PRIMARY KEY, b text)").await.unwrap();
    client.batch_execute("INSERT INTO t VALUES (1, 'one'), (2, 'two')").await.unwrap();
    drop(client);
    server.kill();
    server.restart().unwrap();
    let client = server.client().await.unwrap();
    assert_eq!(client.value("SELECT b FROM t WHERE a = 2").await.unwrap(), "two");
    client.batch_execute("INSERT INTO t VALUES (3, 'three')").await.unwrap();
    drop(client);
    assert!(server.stop().unwrap().status.success());
    server.restart().unwrap();
    let client = server.client().await.unwrap();
    assert_eq!(client.value("SELECT string_agg(b, ',' ORDER BY a) FROM t").await.unwrap(), "one,two,three");
    assert_eq!(code(&client, "INSERT INTO t VALUES (3, 'again')").await, "23505");
}

#[tokio::test]
async fn errors_carry_their_state() {
    let server = perigee_tests::server();
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE t (a int PRIMARY KEY, b int NOT NULL, c smallint)").await.unwrap();
    for (sql, expected) in [
        ("SELEC 1", "42601"),
        ("SELECT * FROM nothing", "42P01"),
        ("SELECT x FROM t", "42703"),
        ("SELECT nothing(1)", "42883"),
        ("INSERT INTO t VALUES (1, NULL)", "23502"),
        ("INSERT INTO t VALUES (1, 1, 100000)", "22003"),
        ("SELECT 1/0", "22012"),
        ("SELECT 'x'::int", "22P02"),
        ("CREATE TABLE t (a int)", "42P07"),
        ("DROP TABLE nothing", "42P01"),
        ("SELECT '2020-13-01'::date", "22008"),
    ] {
        assert_eq!(code(&client, sql).await, expected, "{sql}");
    }
    assert_eq!(client.value("SELECT 1").await.unwrap(), "1", "the session goes on");
}

#[tokio::test]
async fn a_failed_block_waits_for_its_end() {
    let server = perigee_tests::server();
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE t (a int PRIMARY KEY)").await.unwrap();
    client.batch_execute("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    assert_eq!(code(&client, "INSERT INTO t VALUES (1)").await, "23505");
    assert_eq!(code(&client, "SELECT 1").await, "25P02");
    // COMMIT of a failed block rolls back.
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(client.value("SELECT count(*) FROM t").await.unwrap(), "0");
}

#[tokio::test]
async fn a_snapshot_does_not_move() {
    let server = perigee_tests::server();
    let (one, two) = (server.client().await.unwrap(), server.client().await.unwrap());
    one.batch_execute("CREATE TABLE t (a int PRIMARY KEY, b int); INSERT INTO t VALUES (1, 1)").await.unwrap();
    one.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    assert_eq!(one.value("SELECT b FROM t").await.unwrap(), "1");
    two.batch_execute("UPDATE t SET b = 2").await.unwrap();
    assert_eq!(one.value("SELECT b FROM t").await.unwrap(), "1");
    assert_eq!(code(&one, "UPDATE t SET b = 3").await, "40001");
    one.batch_execute("ROLLBACK").await.unwrap();
    one.batch_execute("BEGIN").await.unwrap();
    assert_eq!(one.value("SELECT b FROM t").await.unwrap(), "2");
    two.batch_execute("UPDATE t SET b = 5").await.unwrap();
    assert_eq!(one.value("SELECT b FROM t").await.unwrap(), "5", "READ COMMITTED sees each commit");
    one.batch_execute("ROLLBACK").await.unwrap();
}

#[tokio::test]
async fn a_snapshot_is_shown_to_others() {
    let server = perigee_tests::server();
    let (first, second) = (server.client().await.unwrap(), server.client().await.unwrap());
    first.batch_execute("CREATE TABLE shown (a int); INSERT INTO shown VALUES (1)").await.unwrap();
    first.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO shown VALUES (2)").await.unwrap();
    let name = first.value("SELECT pg_export_snapshot()").await.unwrap();
    second.batch_execute("INSERT INTO shown VALUES (3)").await.unwrap();
    let take = format!("SET TRANSACTION SNAPSHOT '{name}'");
    assert_eq!(code(&second, &take).await, "0A000", "READ COMMITTED");
    second.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM shown").await.unwrap();
    assert_eq!(code(&second, &take).await, "25001");
    second.batch_execute("ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    second.batch_execute(&take).await.unwrap();
    assert_eq!(
        second.value("SELECT sum(a) FROM shown").await.unwrap(),
        "1",
        "neither what is open nor what came later"
    );
    first.batch_execute("COMMIT").await.unwrap();
    assert_eq!(second.value("SELECT sum(a) FROM shown").await.unwrap(), "1", "it stays with who has it");
    second.batch_execute("COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    assert_eq!(code(&second, &take).await, "22023", "it went with its transaction");
    second.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(second.value("SELECT sum(a) FROM shown").await.unwrap(), "6");
}

#[tokio::test]
async fn a_waiting_update_sees_what_it_waited_for() {
    let server = perigee_tests::server();
    let (one, two) = (server.client().await.unwrap(), server.client().await.unwrap());
    one.batch_execute("CREATE TABLE t (a int PRIMARY KEY, b int); INSERT INTO t VALUES (1, 1)").await.unwrap();
    one.batch_execute("BEGIN; UPDATE t SET b = b + 10 WHERE a = 1").await.unwrap();
    let waiting = tokio::spawn(async move {
        two.batch_execute("UPDATE t SET b = b + 100 WHERE a = 1").await.unwrap();
        two
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "it waits for the row's lock");
    one.batch_execute("COMMIT").await.unwrap();
    let two = waiting.await.unwrap();
    assert_eq!(two.value("SELECT b FROM t").await.unwrap(), "111");
}

#[tokio::test]
async fn a_running_statement_is_canceled() {
    let server = perigee_tests::server();
    let client = server.client().await.unwrap();
    let cancel = client.cancel_token();
    let canceling = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cancel.cancel_query(NoTls).await.unwrap();
    });
    let started = std::time::Instant::now();
    let sql = "SELECT count(*) FROM generate_series(1, 100000) AS a(x), generate_series(1, 100000) AS b(x) WHERE a.x + b.x < 0";
    let slow = code(&client, sql).await;
    canceling.await.unwrap();
    assert_eq!(slow, "57014");
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(client.value("SELECT 1").await.unwrap(), "1");
}

/// A query whose plan takes long, and whose answer does not.
fn slow_to_plan() -> String {
    let mut sql = "WITH a0 AS (SELECT 1 AS x)".to_owned();
    for level in 1..=11 {
        let below = level - 1;
        sql += &format!(", a{level} AS (SELECT p.x FROM a{below} p JOIN a{below} q ON p.x = q.x)");
    }
    sql + " SELECT count(*) FROM a11"
}

#[tokio::test]
async fn planning_is_canceled() {
    let server = perigee_tests::server();
    let client = server.client().await.unwrap();
    let slow = slow_to_plan();
    client.batch_execute("SET statement_timeout = '50ms'").await.unwrap();
    let state = |error: tokio_postgres::Error| error.code().map(|code| code.code().to_owned()).unwrap_or_default();
    assert_eq!(code(&client, &format!("PREPARE p AS {slow}")).await, "57014", "by its time");
    assert_eq!(client.prepare(&slow).await.map(drop).map_err(state), Err("57014".to_owned()), "that of Parse");
    client.batch_execute("SET statement_timeout = 0").await.unwrap();
    let cancel = client.cancel_token();
    let canceling = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cancel.cancel_query(NoTls).await.unwrap();
    });
    assert_eq!(code(&client, &format!("PREPARE p AS {slow}")).await, "57014", "by request");
    canceling.await.unwrap();
    assert_eq!(client.value("SELECT count(*) FROM pg_prepared_statements WHERE name = 'p'").await.unwrap(), "0");
}

#[tokio::test]
async fn a_statement_waits_for_each_of_many_who_change_its_rows() {
    let server = perigee_tests::server();
    let one = server.client().await.unwrap();
    one.batch_execute(
        "CREATE TABLE t (a int PRIMARY KEY, b int); INSERT INTO t SELECT i, 0 FROM generate_series(1, 25) i",
    )
    .await
    .unwrap();
    for (sql, left) in [
        ("UPDATE t SET b = b + 100", "25 rows, sum 2525"),
        ("MERGE INTO t USING (VALUES (1)) v(x) ON b > 0 WHEN MATCHED THEN UPDATE SET b = b + 100", "25 rows, sum 5050"),
        ("SELECT a FROM t FOR UPDATE", "25 rows, sum 5075"),
        ("DELETE FROM t WHERE b > 0", "0 rows, sum "),
    ] {
        let mut others = Vec::new();
        for a in 1..=25 {
            let other = server.client().await.unwrap();
            other.batch_execute(&format!("BEGIN; UPDATE t SET b = b + 1 WHERE a = {a}")).await.unwrap();
            others.push(other);
        }
        let waiter = server.client().await.unwrap();
        let waiting = tokio::spawn(async move { waiter.batch_execute(sql).await });
        let active = format!("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = '{sql}'");
        perigee_tests::wait_for(&one, &active, "1").await;
        for other in others {
            other.batch_execute("COMMIT").await.unwrap();
        }
        waiting.await.unwrap().expect(sql);
        let rows = "SELECT format('%s rows, sum %s', count(*), sum(b)) FROM t";
        assert_eq!(one.value(rows).await.unwrap(), left, "{sql}");
    }
}

#[tokio::test]
async fn copy_goes_both_ways() {
    let server = perigee_tests::server();
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE t (a bigint PRIMARY KEY, b text)").await.unwrap();
    let mut sink = pin!(client.copy_in("COPY t FROM STDIN (FORMAT csv)").await.unwrap());
    for part in 0..20_u64 {
        let lines: String = (0..1000).map(|row| format!("{},\"row, {row}\"\n", part * 1000 + row)).collect();
        sink.send(Bytes::from(lines)).await.unwrap();
    }
    assert_eq!(sink.as_mut().finish().await.unwrap(), 20_000);
    assert_eq!(client.value("SELECT count(*) FROM t").await.unwrap(), "20000");
    let messages = client.simple_query("SELECT b FROM t WHERE a = 1005").await.unwrap();
    assert!(messages.iter().any(|m| matches!(m, SimpleQueryMessage::Row(row) if row.get(0) == Some("row, 5"))));
    // A bad line leaves nothing.
    let mut sink = pin!(client.copy_in("COPY t FROM STDIN").await.unwrap());
    sink.send(Bytes::from_static(b"30000\tgood\nbad\tbad\n")).await.unwrap();
    let error = sink.as_mut().finish().await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "22P02");
    assert_eq!(client.value("SELECT count(*) FROM t").await.unwrap(), "20000");
}

#[tokio::test]
async fn a_cursor_reads_as_it_goes() {
    let server = perigee_tests::server();
    let client = server.client().await.unwrap();
    // 2 GB of rows behind 512 MB of memory.
    let declare = "DECLARE c CURSOR WITH HOLD FOR SELECT i, repeat('x', 1000) FROM generate_series(1, 2000000) AS g(i)";
    client.batch_execute(declare).await.unwrap();
    assert_eq!(client.query("FETCH 1000 FROM c", &[]).await.unwrap().len(), 1000);
    client.batch_execute("MOVE 500000 IN c").await.unwrap();
    let row = client.query_one("FETCH c", &[]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 501_001);
    assert!(server.resident_bytes().unwrap() < 600 << 20, "{:?}", server.resident_bytes());
    client.batch_execute("CLOSE c").await.unwrap();
    assert_eq!(code(&client, "FETCH c").await, "34000");
}

#[tokio::test]
async fn fetching_is_canceled() {
    let server = perigee_tests::server();
    let client = server.client().await.unwrap();
    let slow = "SELECT count(*) FROM generate_series(1, 1000000000000)";
    client.batch_execute(&format!("BEGIN; DECLARE c CURSOR FOR {slow}")).await.unwrap();
    let cancel = client.cancel_token();
    let canceling = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cancel.cancel_query(NoTls).await.unwrap();
    });
    assert_eq!(code(&client, "FETCH c").await, "57014");
    canceling.await.unwrap();
    client.batch_execute("ROLLBACK; SET statement_timeout = '300ms'").await.unwrap();
    client.batch_execute(&format!("BEGIN; DECLARE c CURSOR FOR {slow}")).await.unwrap();
    assert_eq!(code(&client, "MOVE ALL c").await, "57014");
}

#[tokio::test]
async fn a_session_that_idles_too_long_is_ended_and_frees_its_locks() {
    let server = perigee_tests::server();
    let other = server.client().await.unwrap();
    other.batch_execute("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)").await.unwrap();
    for (setup, state) in [
        ("SET idle_in_transaction_session_timeout = 50; BEGIN; DELETE FROM t", "25P03"),
        ("SET idle_session_timeout = 50", "57P05"),
    ] {
        let config = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", server.pg().port());
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        client.batch_execute(setup).await.unwrap();
        let error = connection.await.unwrap().expect_err(setup);
        assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some(state), "{setup}: {error}");
        other.batch_execute("SET lock_timeout = '20s'; UPDATE t SET a = a + 1").await.unwrap();
    }
    assert_eq!(other.value("SELECT a FROM t").await.unwrap(), "3", "what was open is rolled back");
}

/// How many temporary relations the catalog has.
async fn temporary(client: &perigee_testkit::Client) -> String {
    client.value("SELECT count(*) FROM pg_class WHERE relpersistence = 't'").await.unwrap()
}

#[tokio::test]
async fn temporary_objects_end_with_their_session() {
    let mut server = perigee_tests::server();
    let (one, other) = (server.client().await.unwrap(), server.client().await.unwrap());
    one.batch_execute("CREATE TEMP TABLE t (id serial PRIMARY KEY, a text); CREATE TEMP VIEW v AS SELECT a FROM t")
        .await
        .unwrap();
    let mut copied = pin!(one.copy_in::<_, Bytes>("COPY t (a) FROM STDIN").await.unwrap());
    copied.send(Bytes::from_static(b"x\ny\n")).await.unwrap();
    assert_eq!(copied.finish().await.unwrap(), 2);
    assert_eq!(one.value("SELECT string_agg(a, ',' ORDER BY a) FROM v").await.unwrap(), "x,y");
    assert_eq!(code(&other, "SELECT * FROM t").await, "42P01");
    let schema = one.value("SELECT nspname FROM pg_namespace WHERE oid = pg_my_temp_schema()").await.unwrap();
    assert_eq!(code(&other, &format!("SELECT * FROM {schema}.t")).await, "0A000");
    assert_eq!(code(&other, &format!("INSERT INTO {schema}.t VALUES (1)")).await, "0A000");
    assert_eq!(temporary(&other).await, "4");
    // One that is not committed goes too.
    one.batch_execute("BEGIN; CREATE TEMP TABLE u (a int); INSERT INTO u VALUES (1)").await.unwrap();
    drop(one);
    while temporary(&other).await != "0" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let left = other.value("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pg_temp%'").await.unwrap();
    assert_eq!(left, "0");
    // What a killed node leaves behind is gone before it serves again, from the LSM too.
    other.batch_execute("CREATE TEMP TABLE t AS SELECT generate_series(1, 10000) AS a; CHECKPOINT").await.unwrap();
    other.batch_execute("CREATE TEMP TABLE u AS SELECT 1 AS a").await.unwrap();
    server.kill();
    server.restart().unwrap();
    let other = server.client().await.unwrap();
    assert_eq!(temporary(&other).await, "0");
    assert_eq!(code(&other, "SELECT * FROM t").await, "42P01");
    other.batch_execute("CREATE TEMP TABLE t (a int)").await.unwrap();
    assert_eq!(other.value("SELECT count(*) FROM t").await.unwrap(), "0");
}

/// Clients read the domain in `pg_type`, and what is below it.
#[tokio::test]
async fn parameters_of_domains_are_told_as_such() {
    let server = perigee_tests::server();
    let client = server.client().await.unwrap();
    let made = "CREATE DOMAIN code AS text CHECK (length(VALUE) = 3); CREATE TABLE codes (c code, n int);
        CREATE VIEW seen AS SELECT n, c FROM codes";
    client.batch_execute(made).await.unwrap();
    for sql in [
        "SELECT $1::code, $2::int",
        "INSERT INTO codes VALUES ($1, $2)",
        "INSERT INTO codes (c, n) VALUES ($1, $2)",
        "UPDATE codes SET c = $1, n = $2",
        "UPDATE codes SET (c, n) = ($1, $2)",
        "UPDATE seen SET c = $1 WHERE n = $2",
    ] {
        let statement = client.prepare(sql).await.unwrap();
        let names: Vec<&str> = statement.params().iter().map(|ty| ty.name()).collect();
        assert_eq!(names, ["code", "int4"], "{sql}");
    }
    let declared = client.prepare_typed("SELECT $1::code", &[tokio_postgres::types::Type::TEXT]).await.unwrap();
    assert_eq!(declared.params(), [tokio_postgres::types::Type::TEXT]);
}
