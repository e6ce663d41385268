//! What sessions see of each other, and may do to each other.

use std::time::Duration;

use perigee_testkit::{Client, Server};
use tokio_postgres::NoTls;

/// A session of `role`, named `name`, its process id, and what becomes of its connection.
async fn session(
    server: &Server,
    role: &str,
    name: &str,
) -> (tokio_postgres::Client, i32, tokio::task::JoinHandle<Result<(), tokio_postgres::Error>>) {
    let port = server.pg().port();
    let config = format!("host=127.0.0.1 port={port} user={role} dbname=postgres application_name={name}");
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let id = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    (client, id, connection)
}

/// Waits until a query gives `expected`.
async fn until(client: &Client, sql: &str, expected: &str) {
    let mut found = String::new();
    for _ in 0..6000 {
        found = client.value(sql).await.unwrap();
        if found == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{sql}: {found:?}, not {expected:?}");
}

fn state(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("", |code| code.code())
}

/// Runs for longer than any test, unless it is canceled.
const SLOW: &str = "SELECT pg_sleep(3600)";

#[tokio::test]
async fn sessions_see_each_other() {
    let server = perigee_tests::server();
    let admin = server.client().await.unwrap();
    admin.batch_execute("CREATE ROLE one LOGIN; CREATE ROLE two LOGIN; CREATE ROLE watcher LOGIN").await.unwrap();
    admin.batch_execute("GRANT pg_read_all_stats TO watcher").await.unwrap();
    let (one, id, _connection) = session(&server, "one", "first").await;
    one.batch_execute("BEGIN; SELECT 'secret'").await.unwrap();
    let what = format!(
        "SELECT concat_ws('|', usename, application_name, state, query, wait_event, xact_start <= now(), client_port > 0) \
         FROM pg_stat_activity WHERE pid = {id}"
    );
    until(&admin, &what, "one|first|idle in transaction|SELECT 'secret'|ClientRead|t|t").await;
    let seen = async |role: &str| {
        let (client, ..) = session(&server, role, "other").await;
        client.query_one(&what, &[]).await.unwrap().get::<_, String>(0)
    };
    assert_eq!(seen("two").await, "one|first|<insufficient privilege>");
    assert!(seen("watcher").await.contains("secret"));
    assert!(seen("one").await.contains("secret"));
    let own = format!(
        "SELECT concat_ws('|', role, application_name, state, statement, connected_at <= transaction_started_at, port > 0) \
         FROM perigee.sessions WHERE process_id = {id}"
    );
    assert_eq!(admin.value(&own).await.unwrap(), "one|first|idle in transaction|SELECT 'secret'|t|t");
    let (stranger, ..) = session(&server, "two", "other").await;
    assert_eq!(stranger.query_one(&own, &[]).await.unwrap().get::<_, String>(0), "one|first");
    drop(one);
    until(&admin, &format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {id}"), "0").await;
}

#[tokio::test]
async fn statements_of_others_are_canceled() {
    let server = perigee_tests::server();
    let admin = server.client().await.unwrap();
    let (one, id, _connection) = session(&server, "postgres", "one").await;
    admin.batch_execute("SELECT pg_advisory_lock(1)").await.unwrap();
    for sql in [SLOW, "SELECT pg_advisory_lock(1)"] {
        let running = async { one.batch_execute(sql).await.unwrap_err() };
        let canceling = async {
            let running = format!("SELECT state FROM pg_stat_activity WHERE pid = {id} AND query = $${sql}$$");
            until(&admin, &format!("SELECT coalesce(({running}), '')"), "active").await;
            assert_eq!(admin.value(&format!("SELECT pg_cancel_backend({id})")).await.unwrap(), "t");
        };
        let (error, ()) = tokio::join!(running, canceling);
        assert_eq!(state(&error), "57014", "{sql}");
    }
    assert_eq!(one.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1, "the session goes on");
    // Whoever is idle is not disturbed.
    assert_eq!(admin.value(&format!("SELECT pg_cancel_backend({id})")).await.unwrap(), "t");
    assert_eq!(one.query_one("SELECT 2", &[]).await.unwrap().get::<_, i32>(0), 2);
    let error = one.batch_execute("SELECT pg_cancel_backend(pg_backend_pid())").await.unwrap_err();
    assert_eq!(state(&error), "57014", "its own");
    assert_eq!(admin.value("SELECT pg_cancel_backend(2000000000)").await.unwrap(), "f", "there is no such session");
}

#[tokio::test]
async fn sessions_are_terminated() {
    let server = perigee_tests::server();
    let admin = server.client().await.unwrap();
    admin.batch_execute("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)").await.unwrap();
    // Idle, in a transaction that holds a lock, in a statement.
    for setup in ["SELECT count(*) FROM t", "BEGIN; DELETE FROM t", SLOW] {
        let (one, id, connection) = session(&server, "postgres", "one").await;
        let running = tokio::spawn(async move {
            let result = one.batch_execute(setup).await;
            (one, result)
        });
        let last = format!("query <> '' AND right($${setup}$$, length(query)) = query");
        let known = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {id} AND {last}");
        until(&admin, &known, "1").await;
        let ended = format!("SELECT pg_terminate_backend({id}, 60000)");
        assert_eq!(admin.value(&ended).await.unwrap(), "t", "{setup}");
        let (_client, result) = running.await.unwrap();
        let told = match result {
            Err(error) if error.code().is_some() => error,
            _ => connection.await.unwrap().expect_err(setup),
        };
        assert_eq!(state(&told), "57P01", "{setup}: {told}");
        admin.batch_execute("UPDATE t SET a = a").await.unwrap();
    }
    let (one, _, _connection) = session(&server, "postgres", "one").await;
    let error = one.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())").await.unwrap_err();
    assert_eq!(state(&error), "57P01", "its own");
    assert_eq!(admin.value("SELECT pg_terminate_backend(2000000000)").await.unwrap(), "f");
    let error = admin.batch_execute("SELECT pg_terminate_backend(2000000000, -1)").await.unwrap_err();
    assert_eq!(state(&error), "22003");
}

#[tokio::test]
async fn who_may_do_that() {
    let server = perigee_tests::server();
    let admin = server.client().await.unwrap();
    admin
        .batch_execute(
            "CREATE ROLE one LOGIN; CREATE ROLE two LOGIN; CREATE ROLE guard LOGIN; CREATE ROLE head LOGIN SUPERUSER;
             GRANT pg_signal_backend TO guard",
        )
        .await
        .unwrap();
    let (_one, of_one, _c1) = session(&server, "one", "target").await;
    let (_head, of_head, _c2) = session(&server, "head", "target").await;
    for (role, target, expected) in [
        ("one", of_one, ""),
        ("two", of_one, "42501"),
        ("guard", of_one, ""),
        ("guard", of_head, "42501"),
        ("one", of_head, "42501"),
        ("postgres", of_head, ""),
    ] {
        let (client, ..) = session(&server, role, "asker").await;
        let answer = client.batch_execute(&format!("SELECT pg_cancel_backend({target})")).await;
        assert_eq!(answer.as_ref().err().map_or("", state), expected, "{role} {target}");
        if !expected.is_empty() {
            let error = client.batch_execute(&format!("SELECT pg_terminate_backend({target})")).await.unwrap_err();
            assert_eq!(state(&error), expected, "{role} {target}");
        }
    }
}

#[tokio::test]
async fn slow_statements_are_logged() {
    let options = perigee_testkit::ServerOptions::default().env("PERIGEE_TELEMETRY__SLOW_STATEMENT", "200ms");
    let server = options.start().unwrap();
    let admin = server.client().await.unwrap();
    admin.batch_execute("CREATE ROLE app LOGIN; ALTER ROLE app SET log_min_duration_statement = 0").await.unwrap();
    admin.batch_execute("SELECT pg_sleep(0.3), 'long'").await.unwrap();
    admin.query("SELECT pg_sleep(0.3), 'prepared'", &[]).await.unwrap();
    // However slow the machine is.
    admin.batch_execute("SET log_min_duration_statement = '1h'; SELECT 'quick'").await.unwrap();
    admin.batch_execute("SET log_min_duration_statement = -1; SELECT pg_sleep(0.3), 'unwanted'").await.unwrap();
    let (app, ..) = session(&server, "app", "worker").await;
    app.batch_execute("SELECT 'by role'; SELECT 'PASSWORD'; SELECT 1/0").await.unwrap_err();
    for sql in [
        "SET log_min_duration_statement = -1",
        "ALTER ROLE app SET log_min_duration_statement = -1",
        "ALTER ROLE app RESET log_min_duration_statement",
        "SELECT set_config('log_min_duration_statement', '-1', false)",
    ] {
        assert_eq!(state(&app.batch_execute(sql).await.unwrap_err()), "42501", "{sql}");
    }
    app.batch_execute("ALTER ROLE app RESET ALL").await.unwrap();
    let (app, ..) = session(&server, "app", "later").await;
    app.batch_execute("SELECT 'still'").await.unwrap();
    let log = server.log();
    let logged = |text: &str| log.lines().filter(|line| line.contains(" slow: ") && line.contains(text)).count();
    for (text, count) in [
        ("'long'", 1),
        ("'prepared'", 1),
        ("'by role'", 1),
        ("'still'", 1),
        ("1/0", 1),
        ("a statement with a password", 1),
        ("'quick'", 0),
        ("unwanted", 0),
        ("'PASSWORD'", 0),
    ] {
        assert_eq!(logged(text), count, "{text}: {log}");
    }
    assert_eq!(logged("application=\"worker\""), logged("user=\"app\"") - logged("application=\"later\""));
}
