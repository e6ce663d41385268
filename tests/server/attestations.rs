//! Attestations of a running node, and what they are good for.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use perigee_testkit::{Server, TestkitError, binary, http};

fn status(server: &Server) -> serde_json::Value {
    let (_, body) = http::get(server.ops(), "/cluster/status").unwrap();
    serde_json::from_str(&body).unwrap()
}

fn last_entry(server: &Server) -> u64 {
    status(server)["log"]["last"].as_u64().unwrap()
}

/// Waits until the node keeps an attestation of an entry from `from` on, and gives its index.
fn wait_attested(server: &Server, from: u64) -> u64 {
    let started = Instant::now();
    loop {
        // Magic, version, length, CRC; then the index.
        let kept = fs::read(server.data_dir().join("meta/attested")).unwrap_or_default();
        let index = kept.get(20..28).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
        if index >= from {
            return index;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "nothing was attested");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn verify(data_dir: &Path) -> (Option<i32>, String) {
    let output = Command::new(binary::perigee().unwrap()).args(["log", "verify", "--data-dir"]).arg(data_dir).output();
    let output = output.unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_attests_what_was_written() {
    let mut server = perigee_tests::server();
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await.unwrap();
    wait_attested(&server, last_entry(&server));
    let last = last_entry(&server);
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(last_entry(&server), last, "nothing was written, so nothing is attested");
    drop(client);
    server.kill();
    let (code, text) = verify(&server.data_dir());
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("agrees with the attestation of entry"), "{text}");
    server.restart().unwrap();
    assert_eq!(server.client().await.unwrap().value("SELECT a FROM t").await.unwrap(), "1");
}

/// At its very end a log cannot tell by itself that records are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_has_lost_what_was_attested_is_refused() {
    let mut server = perigee_tests::server();
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE t (a int)").await.unwrap();
    // The first checkpoint comes at once; it would miss its own entries.
    let created = status(&server)["applied"].as_u64().unwrap();
    while status(&server)["checkpoint"].as_u64().unwrap() < created {
        std::thread::sleep(Duration::from_millis(50));
    }
    client.batch_execute("INSERT INTO t VALUES (1)").await.unwrap();
    let attested = wait_attested(&server, last_entry(&server));
    drop(client);
    server.kill();
    let segment = server.data_dir().join("log/00000000000000000001.segment");
    let bytes = fs::read(&segment).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // The frame with the attested entry, and all behind it, as if they had never been written.
    let first = |at: &usize| u64::from_le_bytes(bytes[at + 16..at + 24].try_into().unwrap());
    let mut frames = (512..used).step_by(512).filter(|at| bytes[*at..].starts_with(b"PFRM"));
    let lost = frames.rfind(|at| first(at) <= attested).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
    file.write_all_at(&vec![0; used - lost], lost as u64).unwrap();
    let (code, text) = verify(&server.data_dir());
    assert_eq!(code, Some(5), "{text}");
    let Err(TestkitError::Server { log, .. }) = server.restart() else { panic!("it started") };
    assert!(log.contains("attested"), "{log}");
}
