//! Who may ask.

use std::process::Command;

use perigee_api::client::{Access, Admin, connect};
use perigee_api::v1;
use perigee_api::v1::value::Kind;
use perigee_testkit::binary;
use perigee_tests::grpc::{Grpc, statement, text, told};
use perigee_tests::options;
use serde_json::{Value, json};
use tonic::Code;

use crate::jwt;

const PASSWORD: &str = "correct horse";
const ADMIN: &str = "an-admin-token-of-tests";
const READER: &str = "a-reader-token-of-tests";

#[tokio::test]
async fn passwords_and_tokens_are_asked_for() {
    let server = options()
        .with_grpc()
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_SECURITY__SUPERUSER_PASSWORD", PASSWORD)
        .env("PERIGEE_SECURITY__ADMIN_TOKEN", ADMIN)
        .env("PERIGEE_SECURITY__READ_ONLY_TOKEN", READER)
        .start()
        .unwrap();
    let owner = Grpc::login(&server, "postgres", PASSWORD).await;
    for made in [
        "CREATE ROLE ann LOGIN PASSWORD 'first'",
        "CREATE ROLE shut PASSWORD 'shut'",
        "CREATE TABLE t (a int)",
        "INSERT INTO t VALUES (1)",
    ] {
        owner.run(made).await;
    }
    let right = [
        (Access::basic("postgres", PASSWORD), "postgres"),
        (Access::basic("ann", "first"), "ann"),
        (format!("Bearer {ADMIN}"), "postgres"),
        (format!("bearer {READER}"), "pg_read_all_data"),
    ];
    for (authorization, user) in right {
        let client = Grpc::at(&server, Some(authorization)).await;
        assert_eq!(client.rows("SELECT current_user").await, [[text(user)]]);
    }
    let wrong = [
        None,
        Some(Access::basic("postgres", "wrong")),
        Some(Access::basic("ann", PASSWORD)),
        Some(Access::basic("nobody", PASSWORD)),
        Some(Access::basic("shut", "shut")),
        Some("Basic !".to_owned()),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(format!("Bearer {}", &ADMIN[1..])),
        Some(format!("Digest {ADMIN}")),
    ];
    for authorization in wrong {
        let client = Grpc::at(&server, authorization.clone()).await;
        let (code, state) = told(client.execute(statement("SELECT 1")).await);
        assert_eq!((code, &state[..2]), (Code::Unauthenticated, "28"), "{authorization:?}");
    }
    // Rights are the role's; the reader reads, whatever it says.
    let ann = Grpc::login(&server, "ann", "first").await;
    assert_eq!(told(ann.execute(statement("SELECT * FROM t")).await), (Code::PermissionDenied, "42501".into()));
    let reader = Grpc::at(&server, Some(format!("Bearer {READER}"))).await;
    assert_eq!(reader.rows("SELECT a FROM t").await, [[Some(Kind::Integer(1))]]);
    let refused = told(reader.execute(statement("INSERT INTO t VALUES (2)")).await);
    assert_eq!(refused, (Code::PermissionDenied, "42501".into()));

    // Operators are superusers.
    let address = server.grpc().to_string();
    let status = async |authorization: Option<String>| {
        let mut admin = Admin::connect(&address, &Access { authorization, ..Access::default() }).await.unwrap();
        admin.status().await.map(drop).map_err(|error| error.to_string())
    };
    assert!(status(None).await.unwrap_err().contains("authorization"));
    assert!(status(Some(Access::basic("ann", "first"))).await.unwrap_err().contains("superuser"));
    assert!(status(Some(format!("Bearer {READER}"))).await.unwrap_err().contains("superuser"));
    status(Some(Access::basic("postgres", PASSWORD))).await.unwrap();
    for (name, value) in [("PERIGEE_SECURITY__ADMIN_TOKEN", ADMIN), ("PGPASSWORD", PASSWORD)] {
        let mut command = Command::new(binary::perigee().unwrap());
        command.args(["admin", "--address", &address]).env(name, value);
        if name == "PGPASSWORD" {
            command.args(["--user", "postgres"]);
        }
        let output = command.arg("status").output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let log = server.log();
    assert!(!log.contains(PASSWORD) && !log.contains(ADMIN), "{log}");
}

#[tokio::test]
async fn connections_are_encrypted_when_there_is_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("server.crt"), folder.path().join("server.key"));
    std::fs::write(&certificate, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let server = options()
        .with_grpc()
        .env("PERIGEE_SECURITY__TLS_CERTIFICATE", certificate.to_str().unwrap())
        .env("PERIGEE_SECURITY__TLS_KEY", key.to_str().unwrap())
        .start()
        .unwrap();
    let address = server.grpc().to_string();
    let client = Grpc::over(connect(&address, Some(&certificate)).await.unwrap(), None);
    assert_eq!(client.rows("SELECT 40 + 2").await, [[Some(Kind::Integer(42))]]);
    let mut command = Command::new(binary::perigee().unwrap());
    command.args(["admin", "--address", &address, "--tls-authority", certificate.to_str().unwrap(), "status"]);
    assert!(command.output().unwrap().status.success());
    // Another authority, or none, is no way in.
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&key, other.cert.pem()).unwrap();
    assert!(connect(&address, Some(&key)).await.is_err());
    let plain = Grpc::over(connect(&address, None).await.unwrap(), None);
    assert!(plain.execute(statement("SELECT 1")).await.is_err());
}

#[tokio::test]
async fn web_pages_are_refused_and_other_speech_too() {
    let server = super::server();
    let mut client = Grpc::open(&server).await;
    let mut request = client.request(perigee_api::v1::ExecuteRequest { statement: Some(statement("SELECT 1")) });
    request.metadata_mut().insert("origin", "http://evil.example".parse().unwrap());
    assert_eq!(client.sql.execute(request).await.unwrap_err().code(), Code::PermissionDenied);
    // HTTP/1.1 is not spoken here.
    let body = perigee_testkit::http::request(server.grpc(), "POST", "/perigee.v1.Sql/Execute", &[], b"");
    assert!(body.is_err());
}

#[tokio::test]
async fn tokens_and_keys_prove_roles() {
    let server = options()
        .with_grpc()
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_ADMIN_TOKEN", ADMIN)
        .env("PERIGEE_READONLY_TOKEN", READER)
        .env("PERIGEE_SECURITY__JWT_SECRET", jwt::SECRET)
        .env("PERIGEE_SECURITY__JWT_AUDIENCE", "perigee")
        .start()
        .unwrap();
    let owner = Grpc::at(&server, Some(format!("Bearer {ADMIN}"))).await;
    owner.run("CREATE ROLE ann LOGIN").await;
    owner.run("CREATE TABLE t (a int)").await;
    owner.run("GRANT SELECT, INSERT ON t TO ann").await;
    let header = json!({"alg": "HS256"});
    let token = |claims: &Value| jwt::token(&header, claims, jwt::hs256(jwt::SECRET.as_bytes()));
    let key = |row: Vec<Option<Kind>>| match row.into_iter().next_back() {
        Some(Some(Kind::Text(key))) => key,
        other => panic!("{other:?}"),
    };
    let made = owner.rows("CALL perigee.create_api_key('ann')").await.remove(0);
    let Some(Kind::Text(id)) = made[0].clone() else { panic!("{made:?}") };
    let full = key(made);
    let reading = key(owner.rows("CALL perigee.create_api_key('ann', scope => 'read')").await.remove(0));
    for proof in [token(&jwt::claims("ann")), full.clone(), reading.clone()] {
        let client = Grpc::at(&server, Some(format!("Bearer {proof}"))).await;
        assert_eq!(client.rows("SELECT current_user").await, [[text("ann")]]);
        let written = client.execute(statement("INSERT INTO t VALUES (1)")).await;
        match proof == reading {
            true => assert_eq!(told(written), (Code::PermissionDenied, "25006".into())),
            false => assert_eq!(written.unwrap().rows, Some(1)),
        }
    }
    let mut by_header = Grpc::open(&server).await;
    let mut request = by_header.request(v1::ExecuteRequest { statement: Some(statement("SELECT 1")) });
    request.metadata_mut().insert("x-api-key", full.parse().unwrap());
    by_header.sql.execute(request).await.unwrap();
    owner.run(&format!("CALL perigee.revoke_api_key('{id}')")).await;
    for wrong in [
        token(&jwt::with("ann", "exp", json!(jwt::now_s() - 3_600))),
        token(&jwt::with("ann", "aud", Value::Null)),
        token(&jwt::claims("nobody")),
        jwt::token(&json!({"alg": "none"}), &jwt::claims("postgres"), |_| Vec::new()),
        jwt::token(&header, &jwt::claims("postgres"), jwt::hs256(b"another secret that is long enough to be one")),
        full.clone(),
        format!("{reading}0"),
    ] {
        let client = Grpc::at(&server, Some(format!("Bearer {wrong}"))).await;
        let status = client.execute(statement("SELECT 1")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{wrong}");
        assert_eq!(status.message(), "name and password, the token, or the API key are not right", "{wrong}");
    }
    // Operators are superusers by any proof that may write.
    let address = server.grpc().to_string();
    let status = async |proof: &str| {
        let access = Access { authorization: Some(format!("Bearer {proof}")), ..Access::default() };
        Admin::connect(&address, &access).await.unwrap().status().await.map(drop).map_err(|error| error.to_string())
    };
    status(&token(&jwt::claims("postgres"))).await.unwrap();
    let reads = key(owner.rows("CALL perigee.create_api_key('postgres', scope => 'read')").await.remove(0));
    assert!(status(&reads).await.unwrap_err().contains("superuser"));
    assert!(status(&reading).await.unwrap_err().contains("superuser"));
    let log = server.log();
    assert!(log.contains("event=\"denied\"") && log.contains("by=\"api key\"") && log.contains("by=\"jwt\""), "{log}");
    for secret in [jwt::SECRET, ADMIN, &full[21..], &reading[21..]] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test]
async fn an_identity_may_call_so_often() {
    let server = options().with_grpc().env("PERIGEE_LIMITS__IDENTITY_REQUESTS_PER_MINUTE", "3").start().unwrap();
    let client = Grpc::open(&server).await;
    for _ in 0..3 {
        client.run("SELECT 1").await;
    }
    let status = client.execute(statement("SELECT 1")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let wait: u64 = status.metadata().get("retry-after").unwrap().to_str().unwrap().parse().unwrap();
    assert!((1..=21).contains(&wait), "{wait}");
}
