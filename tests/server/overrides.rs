//! What a start may be told when nothing else helps.

use perigee_testkit::{Server, TestkitError, http};

fn last_entry(server: &Server) -> u64 {
    let (_, body) = http::get(server.ops(), "/cluster/status").unwrap();
    let status: serde_json::Value = serde_json::from_str(&body).unwrap();
    status["log"]["last"].as_u64().unwrap()
}

/// Restarts with flags, for this once.
fn restart_with(server: &mut Server, flags: &[&str]) -> Result<(), String> {
    let before = server.options_mut().flags.clone();
    server.options_mut().flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
    let result = server.restart();
    server.options_mut().flags = before;
    result.map_err(|error| match error {
        TestkitError::Server { log, .. } => log.lines().last().unwrap_or_default().to_owned(),
        error => error.to_string(),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_is_skipped_once_and_for_all() {
    let mut server = perigee_tests::server();
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE t (a bigint PRIMARY KEY)").await.unwrap();
    // An attestation may come between: then the entry is not known for sure, and another one is taken.
    let mut rows: Vec<u64> = Vec::new();
    let skipped = loop {
        let (before, row) = (last_entry(&server), rows.len() as u64);
        client.batch_execute(&format!("INSERT INTO t VALUES ({row})")).await.unwrap();
        if last_entry(&server) == before + 1 {
            break before + 1;
        }
        rows.push(row);
    };
    client.batch_execute("INSERT INTO t VALUES (1000)").await.unwrap();
    rows.push(1000);
    drop(client);
    server.kill();
    let index = skipped.to_string();
    let error = restart_with(&mut server, &["--skip-entry", "100000", "--i-lose-data"]).unwrap_err();
    assert!(error.contains("the log ends at entry"), "{error}");
    restart_with(&mut server, &["--skip-entry", &index, "--i-lose-data"]).unwrap();
    let expected: Vec<String> = rows.iter().map(u64::to_string).collect();
    let sql = "SELECT string_agg(a::text, ',' ORDER BY a) FROM t";
    assert_eq!(server.client().await.unwrap().value(sql).await.unwrap(), expected.join(","));
    // Without the flags as well: a checkpoint stands behind it.
    server.kill();
    server.restart().unwrap();
    assert_eq!(server.client().await.unwrap().value(sql).await.unwrap(), expected.join(","));
    server.kill();
    let error = restart_with(&mut server, &["--skip-entry", &index, "--i-lose-data"]).unwrap_err();
    assert!(error.contains("is in the checkpoint"), "{error}");
}

#[test]
fn an_only_voter_has_nobody_to_go_on_without() {
    let mut server = perigee_tests::server();
    server.stop().unwrap();
    let error = restart_with(&mut server, &["--force-recover"]).unwrap_err();
    assert!(error.contains("only voter"), "{error}");
    server.restart().unwrap();
}
