//! Arrow Flight SQL, as its ADBC driver speaks it.

use perigee_testkit::Server;
use perigee_tests::grpc::Grpc;
use perigee_tests::{options, script};

const PASSWORD: &str = "correct horse";
const ADMIN: &str = "an-admin-token-of-tests";

fn run(server: &Server, arguments: &[&str]) {
    let output = script("server/grpc/flight.py").arg(server.grpc().to_string()).args(arguments).output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
}

/// Statements, parameters, transactions, the catalog; a hundred thousand rows in bulk, there and back.
#[tokio::test]
async fn the_adbc_driver_reads_and_writes() {
    let server = options().with_grpc().start().unwrap();
    run(&server, &["all"]);
    // What it has left is what others find.
    let client = Grpc::open(&server).await;
    let rows = client.rows("SELECT count(*), sum(id) FROM bulk").await;
    assert_eq!(rows.len(), 1, "{rows:?}");
}

/// Passwords by handshake, bearer tokens, roles that read only; rights are those of all doors.
#[tokio::test]
async fn the_adbc_driver_says_who_asks() {
    let server = options()
        .with_grpc()
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_SECURITY__SUPERUSER_PASSWORD", PASSWORD)
        .env("PERIGEE_ADMIN_TOKEN", ADMIN)
        .start()
        .unwrap();
    let owner = Grpc::login(&server, "postgres", PASSWORD).await;
    owner.run("CREATE ROLE ann LOGIN PASSWORD 'ann'").await;
    owner.run("CREATE TABLE t (a int)").await;
    owner.run("CREATE TABLE hidden (a int)").await;
    owner.run("GRANT SELECT ON t TO ann").await;
    run(&server, &["rights", PASSWORD, ADMIN]);
    let log = server.log();
    assert!(log.contains("event=\"denied\"") && log.contains("event=\"login denied\""), "{log}");
    assert!(!log.contains(PASSWORD) && !log.contains(ADMIN), "{log}");
}
