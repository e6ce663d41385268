//! The gRPC door as operators use it: `perigee admin`.

use perigee_testkit::ServerOptions;
use perigee_tests::admin::{admin, server_with_grpc};

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_asks_for_status_and_verifies() {
    let (mut server, address) = tokio::task::block_in_place(|| server_with_grpc(perigee_tests::options()));
    let client = server.client().await.unwrap();
    client
        .batch_execute(
            "CREATE TABLE t (k int PRIMARY KEY, v text, w int); CREATE INDEX t_v ON t (v); CREATE UNIQUE INDEX t_w ON t (w);
             INSERT INTO t SELECT g, 'v' || g % 10, nullif(g, 5) FROM generate_series(1, 5000) g;
             DELETE FROM t WHERE k % 3 = 0; UPDATE t SET v = 'x' WHERE k < 100;
             CREATE TABLE empty (a int)",
        )
        .await
        .unwrap();
    for round in ["from memory", "from the LSM"] {
        let (text, code) = admin(&address, &["status"]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("(leader)") && text.contains("term"), "{text}");
        let (text, code) = admin(&address, &["verify"]);
        assert_eq!(code, Some(0), "round {round}: {text}");
        assert!(text.contains("public.t: 3334 rows") && text.contains("t_v: 3334 entries"), "{text}");
        assert!(text.contains("public.empty: 0 rows") && text.contains("chain hash"), "{text}");
        assert!(text.ends_with("all is well\n"), "{text}");
        // A stop makes a checkpoint, and a start begins with it.
        if round == "from memory" {
            drop(server.stop().unwrap());
            server.restart().unwrap();
        }
    }
    let (text, code) = admin(&address, &["verify", "--table", "public.t", "--skip-log"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("3334 rows") && !text.contains("empty") && !text.contains("chain hash"), "{text}");
    let (text, code) = admin(&address, &["verify", "--table", "public.nothing"]);
    assert!(code != Some(0) && text.contains("does not exist"), "{text}");
    server.kill();
    let (text, code) = admin(&address, &["status"]);
    assert!(code != Some(0) && text.contains("cannot reach"), "{text}");
}

#[test]
fn a_public_address_without_passwords_is_refused() {
    let refused = ServerOptions::default().flag(&["--grpc-address", "0.0.0.0:0"]).start();
    let Err(error) = refused else { panic!("it started") };
    assert!(error.to_string().contains("--insecure"), "{error}");
}
