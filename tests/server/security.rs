//! Passwords and TLS.

use std::process::Command;

use perigee_testkit::{Client, Server};
use perigee_tests::options;

const PASSWORD: &str = "correct horse";

fn config(server: &Server, user: &str, password: Option<&str>) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(server.pg().port()).user(user).dbname("postgres");
    if let Some(password) = password {
        config.password(password);
    }
    config
}

fn code(result: Result<Client, perigee_testkit::TestkitError>) -> String {
    match result {
        Err(perigee_testkit::TestkitError::Postgres(error)) => {
            error.code().map(|code| code.code().to_owned()).unwrap_or_else(|| error.to_string())
        }
        Err(other) => panic!("{other}"),
        Ok(_) => "connected".to_owned(),
    }
}

#[tokio::test]
async fn a_password_is_asked_for() {
    let server = options()
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_SECURITY__SUPERUSER_PASSWORD", PASSWORD)
        .start()
        .unwrap();
    let client = Client::with(&config(&server, "postgres", Some(PASSWORD))).await.unwrap();
    assert_eq!(client.value("SELECT current_user").await.unwrap(), "postgres");
    assert_eq!(code(Client::with(&config(&server, "postgres", Some("wrong"))).await), "28P01");
    assert_eq!(code(Client::with(&config(&server, "nobody", Some(PASSWORD))).await), "28P01");
    assert_ne!(code(Client::with(&config(&server, "postgres", None)).await), "connected");
    let log = server.log();
    assert!(!log.contains(PASSWORD), "{log}");
}

#[tokio::test]
async fn roles_made_in_sql_log_in_with_their_passwords() {
    let mut server = options()
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_SECURITY__SUPERUSER_PASSWORD", PASSWORD)
        .start()
        .unwrap();
    let client = Client::with(&config(&server, "postgres", Some(PASSWORD))).await.unwrap();
    client
        .batch_execute(
            "CREATE ROLE ann LOGIN PASSWORD 'first' CONNECTION LIMIT 1; ALTER ROLE ann SET search_path = aside;
             CREATE ROLE late LOGIN PASSWORD 'late' VALID UNTIL '2000-01-01'; CREATE ROLE shut PASSWORD 'shut';
             CREATE ROLE away LOGIN PASSWORD 'away'; REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
             GRANT CONNECT ON DATABASE postgres TO ann, late, shut; CREATE TABLE t (a int)",
        )
        .await
        .unwrap();
    let ann = Client::with(&config(&server, "ann", Some("first"))).await.unwrap();
    assert_eq!(ann.value("SELECT current_user").await.unwrap(), "ann");
    assert_eq!(ann.value("SHOW is_superuser").await.unwrap(), "off");
    assert_eq!(ann.value("SHOW search_path").await.unwrap(), "aside");
    assert_eq!(code(Client::with(&config(&server, "ann", Some("first"))).await), "53300");
    assert_eq!(code(Client::with(&config(&server, "late", Some("late"))).await), "28P01");
    assert_eq!(code(Client::with(&config(&server, "shut", Some("shut"))).await), "28000");
    assert_eq!(code(Client::with(&config(&server, "away", Some("away"))).await), "42501");
    // A privilege that goes is gone at the next statement, and one's own password is one's own.
    client.batch_execute("GRANT SELECT ON t TO ann").await.unwrap();
    assert_eq!(ann.value("SELECT count(*) FROM public.t").await.unwrap(), "0");
    client.batch_execute("REVOKE SELECT ON t FROM ann").await.unwrap();
    let refused = ann.value("SELECT count(*) FROM public.t").await.unwrap_err();
    assert!(format!("{refused:?}").contains("42501"), "{refused:?}");
    ann.batch_execute("ALTER ROLE ann PASSWORD 'second'").await.unwrap();
    drop((client, ann));
    let log = server.log();
    assert!(!log.contains("'first'") && !log.contains("'second'"), "{log}");
    server.kill();
    server.restart().unwrap();
    assert_eq!(code(Client::with(&config(&server, "ann", Some("first"))).await), "28P01");
    let ann = Client::with(&config(&server, "ann", Some("second"))).await.unwrap();
    assert_eq!(ann.value("SELECT count(*) FROM pg_roles WHERE rolname = 'late'").await.unwrap(), "1");
}

#[tokio::test]
async fn connections_are_encrypted_when_there_is_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("server.crt"), folder.path().join("server.key"));
    std::fs::write(&certificate, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let server = options()
        .env("PERIGEE_SECURITY__TLS_CERTIFICATE", certificate.to_str().unwrap())
        .env("PERIGEE_SECURITY__TLS_KEY", key.to_str().unwrap())
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_SECURITY__SUPERUSER_PASSWORD", PASSWORD)
        .start()
        .unwrap();
    let psql = |options: &str| {
        let port = server.pg().port();
        // libpq checks certificate and password.
        let connection = format!(
            "host=localhost hostaddr=127.0.0.1 port={port} user=postgres dbname=postgres {options} \
             sslrootcert={}",
            certificate.display()
        );
        let mut command = Command::new("psql");
        command.args(["-X", "-A", "-t", "-c", "SELECT 40 + 2", &connection]).env("PGPASSWORD", PASSWORD);
        command.output().unwrap()
    };
    for options in ["sslmode=verify-full", "sslmode=disable", "sslmode=require channel_binding=require"] {
        let output = psql(options);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text.trim(), "42", "{options}: {}", String::from_utf8_lossy(&output.stderr));
    }
    // Without encryption there is nothing to bind to.
    let output = psql("sslmode=disable channel_binding=require");
    assert!(!output.status.success());
}
