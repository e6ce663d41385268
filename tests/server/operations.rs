//! Health, readiness, metrics, status.

use perigee_testkit::http;

fn get(server: &perigee_testkit::Server, path: &str) -> (u16, String) {
    http::get(server.ops(), path).unwrap()
}

#[tokio::test]
async fn a_node_says_how_it_is() {
    let server = perigee_tests::server();
    let (code, body) = get(&server, "/health");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, body["status"].as_str(), body["id"].as_str()), (200, Some("ok"), Some("n1")), "{body}");
    let (code, body) = get(&server, "/ready");
    let ready: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, &ready["ready"]), (200, &true.into()), "{ready}");
    for check in ["disk", "memory", "data_directory", "log", "quorum"] {
        let check = &ready["checks"][check];
        assert!(check["duration_ms"].is_f64() && check["detail"].is_string(), "{ready}");
        assert!(matches!(check["status"].as_str(), Some("ok" | "degraded")), "{ready}");
    }
    assert_eq!(ready["checks"]["quorum"]["status"], "ok");
    assert_eq!(get(&server, "/nothing").0, 404);

    server.client().await.unwrap().batch_execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await.unwrap();
    let (code, body) = get(&server, "/cluster/status");
    let status: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, status["role"].as_str(), status["voters"].as_u64()), (200, Some("leader"), Some(1)), "{status}");
    let position = |name: &str| status["log"][name].as_u64().unwrap();
    assert!(position("last") >= 2 && position("synced") == position("last"), "{status}");

    let (code, text) = get(&server, "/metrics");
    assert_eq!(code, 200);
    for name in [
        "perigee_ready 1",
        "# TYPE perigee_sessions gauge",
        "perigee_log_synced_index",
        "perigee_memory_rss_bytes",
        "perigee_memory_used_bytes{share=\"hot\"}",
        "perigee_tier_bytes{tier=\"hot\"}",
        "perigee_statement_seconds_bucket{kind=\"ddl\",le=",
        "perigee_statement_seconds_count{kind=\"ddl\"} 1\n",
        "perigee_lock_wait_seconds_count 0\n",
        "perigee_lock_waiters 0\n",
        "perigee_pg_connections_total ",
        "perigee_commit_seconds_count ",
        "perigee_apply_seconds_count ",
        "perigee_checkpoint_index ",
    ] {
        assert!(text.contains(name), "{name} is not in\n{text}");
    }
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let value = line.rsplit_once(' ').map(|(_, value)| value.parse::<f64>());
        assert!(matches!(value, Some(Ok(_))), "no sample of Prometheus: {line}");
    }
}

#[test]
fn threads_say_what_they_do() {
    let server = perigee_tests::server();
    let (code, body) = get(&server, "/debug/threads?seconds=1");
    let told: serde_json::Value = serde_json::from_str(&body).unwrap();
    let threads = told["threads"].as_array().unwrap();
    assert!(code == 200 && threads.iter().any(|thread| thread["name"] == "network"), "{told}");
    assert!(threads.iter().all(|thread| thread["cpu_seconds"].is_f64() && thread["cores"].is_f64()), "{told}");
    assert_eq!(get(&server, "/debug/threads?seconds=3600").0, 400);
}

#[tokio::test]
async fn lock_waits_deadlocks_and_errors_are_counted() {
    let server = perigee_tests::server();
    let (one, two) = (server.client().await.unwrap(), server.client().await.unwrap());
    one.batch_execute("CREATE TABLE t (a int PRIMARY KEY, b int); INSERT INTO t VALUES (1, 0), (2, 0)").await.unwrap();
    one.batch_execute("BEGIN; UPDATE t SET b = 1 WHERE a = 1").await.unwrap();
    two.batch_execute("BEGIN; UPDATE t SET b = 2 WHERE a = 2").await.unwrap();
    let waiting = tokio::spawn(async move { one.batch_execute("UPDATE t SET b = 1 WHERE a = 2").await });
    while metric(&server, "perigee_lock_waiters") != 1.0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let error = two.batch_execute("UPDATE t SET b = 2 WHERE a = 1").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "40P01");
    two.batch_execute("ROLLBACK").await.unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(metric(&server, "perigee_deadlocks_total"), 1.0);
    assert_eq!(metric(&server, "perigee_lock_wait_seconds_count"), 1.0);
    assert!(metric(&server, "perigee_rollbacks_total") >= 1.0);
    assert_eq!(metric(&server, "perigee_statement_errors_total{kind=\"point\"}"), 1.0);
}

/// The value of a metric.
pub(crate) fn metric(server: &perigee_testkit::Server, name: &str) -> f64 {
    let (_, text) = get(server, "/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
}

#[tokio::test]
async fn what_is_not_supported_is_counted() {
    let server = perigee_tests::server();
    let client = server.client().await.unwrap();
    for sql in ["LOAD 'a'", "LOAD 'b'", "SELECT no_such_function(1)", "SELECT * FROM pg_no_such_table", "SELECT 1/0"] {
        client.batch_execute(sql).await.unwrap_err();
    }
    let rows = "SELECT sqlstate || ' ' || message || ' ' || count FROM perigee.compat_gaps ORDER BY sqlstate";
    let mut all = Vec::new();
    for row in client.query(rows, &[]).await.unwrap() {
        all.push(row.get::<_, String>(0));
    }
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!(all[0], "0A000 LOAD is not supported 2");
    assert!(all[1].starts_with("42883 function no_such_function"), "{all:?}");
    assert!(all[2].starts_with("42P01 relation \"pg_no_such_table\""), "{all:?}");
    let times = "SELECT count(*) FROM perigee.compat_gaps WHERE first_seen <= last_seen AND last_seen <= now()";
    assert_eq!(client.value(times).await.unwrap(), "3");
    assert_eq!(metric(&server, "perigee_compat_gaps_total{code=\"0A000\"}"), 2.0);
}

#[test]
fn an_idle_node_writes_nothing() {
    let server = perigee_tests::server();
    let written = || {
        let text = std::fs::read_to_string(format!("/proc/{}/io", server.pid().unwrap())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
        line.parse::<u64>().unwrap()
    };
    // What the start wrote may be on its way, on a busy machine for long.
    let is_silent = || {
        let before = written();
        std::thread::sleep(std::time::Duration::from_secs(3));
        written() == before
    };
    assert!((0..20).any(|_| is_silent()), "a node that nobody uses goes on writing");
}

#[tokio::test]
async fn statements_and_metrics_are_seen_in_sql_by_who_may() {
    let server = perigee_tests::server();
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE q (a int PRIMARY KEY, b text); CREATE ROLE ann LOGIN; CREATE ROLE eve LOGIN; GRANT pg_read_all_stats TO ann").await.unwrap();
    for number in 0..5 {
        client.batch_execute(&format!("INSERT INTO q VALUES ({number}, 'x')")).await.unwrap();
    }
    assert!(client.batch_execute("INSERT INTO q VALUES (4, 'x')").await.is_err());
    client.batch_execute("ALTER ROLE eve PASSWORD 'it is a secret'").await.unwrap();
    let inserted = "SELECT calls || ' ' || errors || ' ' || CASE WHEN total_ms >= max_ms AND max_ms >= mean_ms AND mean_ms > 0 THEN 'times' ELSE 'no' END
        FROM perigee.queries WHERE query = 'INSERT INTO q VALUES ($1, $2)'";
    assert_eq!(client.value(inserted).await.unwrap(), "6 1 times");
    let secrets =
        "SELECT count(*) FROM perigee.queries WHERE query LIKE '%it is a secret%' AND query NOT LIKE '%LIKE%'";
    assert_eq!(client.value(secrets).await.unwrap(), "0");
    let errors =
        "SELECT value FROM perigee.metrics WHERE name = 'perigee_errors_total' AND labels = 'sqlstate=\"23505\"'";
    assert_eq!(client.value(errors).await.unwrap(), "1");
    let seen = "SELECT (SELECT count(*) > 0 FROM perigee.queries) AND (SELECT count(*) > 50 FROM perigee.metrics)";
    for (role, sees) in [("ann", "t"), ("eve", "f")] {
        client.batch_execute(&format!("SET ROLE {role}")).await.unwrap();
        assert_eq!(client.value(seen).await.unwrap(), sees, "{role}");
        client.batch_execute("RESET ROLE").await.unwrap();
    }
}
