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
    assert_eq!(get(&server, "/ready").0, 200);
    assert_eq!(get(&server, "/nothing").0, 404);

    server.client().await.unwrap().batch_execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await.unwrap();
    let (code, body) = get(&server, "/cluster/status");
    let status: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, status["role"].as_str(), status["voters"].as_u64()), (200, Some("leader"), Some(1)), "{status}");
    let position = |name: &str| status["log"][name].as_u64().unwrap();
    assert!(position("last") >= 2 && position("synced") == position("last"), "{status}");

    let (code, text) = get(&server, "/metrics");
    assert_eq!(code, 200);
    for name in
        ["perigee_ready 1", "# TYPE perigee_sessions gauge", "perigee_log_synced_index", "perigee_memory_rss_bytes"]
    {
        assert!(text.contains(name), "{name} is not in\n{text}");
    }
}

#[test]
fn an_idle_node_writes_nothing() {
    let server = perigee_tests::server();
    let written = || {
        let text = std::fs::read_to_string(format!("/proc/{}/io", server.pid().unwrap())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
        line.parse::<u64>().unwrap()
    };
    // What the start wrote may be on its way.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let before = written();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(written() - before, 0, "bytes written by a node that nobody used");
}
