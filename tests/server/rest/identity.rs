//! Who may ask.

use base64::Engine as _;
use perigee_testkit::http;
use perigee_tests::options;
use serde_json::json;

use super::{call, problem, server};

const PASSWORD: &str = "correct horse";
const ADMIN: &str = "an-admin-token-of-tests";
const READER: &str = "a-reader-token-of-tests";

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn passwords_and_tokens_are_asked_for() {
    let server = options()
        .with_rest()
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_SECURITY__SUPERUSER_PASSWORD", PASSWORD)
        .env("PERIGEE_SECURITY__ADMIN_TOKEN", ADMIN)
        .env("PERIGEE_SECURITY__READ_ONLY_TOKEN", READER)
        .start()
        .unwrap();
    let ask = |authorization: &str, statement: &str| {
        call(&server, "POST", "/v1/sql", &[("Authorization", authorization)], &json!({"sql": statement}))
    };
    let superuser = basic("postgres", PASSWORD);
    let made = "CREATE ROLE ann LOGIN PASSWORD 'first'; CREATE ROLE shut PASSWORD 'shut'; CREATE TABLE t (a int);
                CREATE ROLE late LOGIN PASSWORD 'late' VALID UNTIL '2000-01-01'; INSERT INTO t VALUES (1)";
    assert_eq!(ask(&superuser, made).status, 200);
    let user = |authorization: &str| ask(authorization, "SELECT current_user AS u").json()["rows"][0]["u"].clone();
    assert_eq!(user(&superuser), "postgres");
    assert_eq!(user(&basic("ann", "first")), "ann");
    assert_eq!(user(&format!("bearer {ADMIN}")), "postgres");
    assert_eq!(user(&format!("Bearer {READER}")), "pg_read_all_data");
    for wrong in [
        basic("postgres", "wrong"),
        basic("ann", PASSWORD),
        basic("nobody", PASSWORD),
        basic("late", "late"),
        basic("shut", "shut"),
        basic("", ""),
        basic("pg_read_all_data", ""),
        "Basic !".to_owned(),
        "Basic".to_owned(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer {}", &ADMIN[1..]),
        format!("Bearer {ADMIN}x"),
        format!("Digest {ADMIN}"),
    ] {
        let answer = ask(&wrong, "SELECT 1");
        assert_eq!(problem(&answer).0, 401, "{wrong}");
        assert!(answer.headers.contains_key("www-authenticate"));
    }
    let twice = [("Authorization", superuser.as_str()), ("Authorization", superuser.as_str())];
    assert_eq!(call(&server, "POST", "/v1/sql", &twice, &json!({"sql": "SELECT 1"})).status, 401);
    assert_eq!(call(&server, "POST", "/v1/sql", &[], &json!({"sql": "SELECT 1"})).status, 401);
    assert_eq!(call(&server, "POST", "/v1/transactions", &[], &json!({})).status, 401);

    // Rights are the role's.
    assert_eq!(problem(&ask(&basic("ann", "first"), "SELECT * FROM t")), (403, "42501".into()));
    assert_eq!(ask(&superuser, "GRANT SELECT ON t TO ann").status, 200);
    assert_eq!(ask(&basic("ann", "first"), "SELECT * FROM t").status, 200);
    // A password that was right is not any more once it is another one.
    assert_eq!(ask(&basic("ann", "first"), "ALTER ROLE ann PASSWORD 'second'").status, 200);
    assert_eq!(ask(&basic("ann", "first"), "SELECT 1").status, 401);
    assert_eq!(ask(&basic("ann", "second"), "SELECT 1").status, 200);

    // The reader reads, whatever it says.
    let reader = format!("Bearer {READER}");
    assert_eq!(ask(&reader, "SELECT a FROM t").json()["rows"], json!([{"a": 1}]));
    for statement in [
        "INSERT INTO t VALUES (2)",
        "DROP TABLE t",
        "CREATE TABLE u (a int)",
        "SET default_transaction_read_only = off; INSERT INTO t VALUES (2)",
        "BEGIN READ WRITE; INSERT INTO t VALUES (2); COMMIT",
        "BEGIN; SET TRANSACTION READ WRITE; INSERT INTO t VALUES (2); COMMIT",
        "BEGIN; SET transaction_read_only = off; INSERT INTO t VALUES (2); COMMIT",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "ALTER ROLE ann PASSWORD 'third'",
        "SELECT * FROM pg_authid",
        "INSERT INTO redis.strings (key, value) VALUES ('a', 'b')",
    ] {
        let status = ask(&reader, statement).status;
        assert!((400..500).contains(&status), "{statement}: {status}");
    }
    assert_eq!(ask(&superuser, "SELECT count(*) AS n FROM t").json()["rows"], json!([{"n": 1}]));
    let log = server.log();
    for secret in [PASSWORD, ADMIN, READER, "'second'"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test]
async fn web_pages_of_others_ask_in_vain() {
    let server = server();
    let ask = |headers: &[(&str, &str)]| {
        http::request(server.rest(), "POST", "/v1/sql", headers, b"SELECT 1 AS n").unwrap().status
    };
    let own = format!("http://{}", server.rest());
    assert_eq!(ask(&[]), 200);
    assert_eq!(ask(&[("Origin", &own)]), 200);
    assert_eq!(ask(&[("Origin", "http://evil.example")]), 403);
    assert_eq!(ask(&[("Origin", "null")]), 403);
    // A name that leads here, whoever it belongs to.
    assert_eq!(ask(&[("Host", "evil.example"), ("Origin", "http://evil.example")]), 403);
    assert_eq!(ask(&[("Host", "evil.example")]), 403);
}

#[tokio::test]
async fn connections_are_encrypted_when_there_is_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("server.crt"), folder.path().join("server.key"));
    std::fs::write(&certificate, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let server = options()
        .with_rest()
        .env("PERIGEE_SECURITY__TLS_CERTIFICATE", certificate.to_str().unwrap())
        .env("PERIGEE_SECURITY__TLS_KEY", key.to_str().unwrap())
        .start()
        .unwrap();
    for version in ["--http1.1", "--http2"] {
        let mut curl = std::process::Command::new("curl");
        curl.args(["-sS", version, "--cacert"]).arg(&certificate);
        curl.args(["-H", "Content-Type: text/plain", "-d", "SELECT 40 + 2 AS n", "-w", " %{http_version}"]);
        let output = curl.arg(format!("https://localhost:{}/v1/sql", server.rest().port())).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("{\"n\":42}"), "{version}: {text} {}", String::from_utf8_lossy(&output.stderr));
        assert!(text.ends_with(if version == "--http2" { " 2" } else { " 1.1" }), "{text}");
    }
    assert!(http::request(server.rest(), "POST", "/v1/sql", &[], b"SELECT 1").is_err());
}
