//! One row through all doors: written by each, read by each, with the same rights.

use std::time::Duration;

use base64::Engine as _;
use perigee_testkit::resp::Connection;
use perigee_testkit::{Client, Server};
use perigee_tests::options;
use serde_json::json;

use super::call;

/// Roles with their passwords, and whether they may read the table and write to it.
const ROLES: &[(&str, &str, bool, bool)] = &[
    ("postgres", "correct horse", true, true),
    ("writer", "w", true, true),
    ("reader", "r", true, false),
    ("appender", "a", false, true),
    ("nobody", "n", false, false),
];

const DOORS: &[&str] = &["pg", "redis", "rest"];

/// Runs a statement as a role through a door; what it says, or that it may not.
async fn ask(server: &Server, door: &str, role: (&str, &str), statement: &str) -> Result<String, String> {
    match door {
        "pg" => {
            let mut config = tokio_postgres::Config::new();
            config.host("127.0.0.1").port(server.pg().port()).user(role.0).password(role.1).dbname("postgres");
            let client = Client::with(&config).await.unwrap();
            let rows = client.rows(statement).await.map_err(|error| match error.code() {
                Some(code) => code.code().to_owned(),
                None => error.to_string(),
            })?;
            Ok(format!("{rows:?}"))
        }
        "redis" => {
            let mut redis = Connection::open(server.redis(), Duration::from_secs(60)).unwrap();
            let login = redis.ask(&["AUTH", role.0, role.1]).to_string();
            assert!(login.contains("OK"), "{role:?}: {login}");
            let reply = redis.ask(&["SQL", statement]).to_string();
            match reply.split_once("SQLSTATE ") {
                Some((_, rest)) => Err(rest[..5].to_owned()),
                None => Ok(reply),
            }
        }
        _ => {
            let login = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", role.0, role.1));
            let headers = [("Authorization", &*format!("Basic {login}"))];
            let answer = call(server, "POST", "/v1/sql", &headers, &json!({"sql": statement}));
            match answer.json()["sqlstate"].as_str() {
                Some(state) => Err(state.to_owned()),
                None => Ok(answer.text()),
            }
        }
    }
}

#[tokio::test]
async fn what_a_role_may_not_do_it_does_through_no_door() {
    let server = options()
        .with_rest()
        .with_redis()
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_SECURITY__SUPERUSER_PASSWORD", "correct horse")
        .start()
        .unwrap();
    let superuser = ("postgres", "correct horse");
    for statement in [
        "CREATE TABLE t (id int PRIMARY KEY, door text, role text)",
        "CREATE ROLE writer LOGIN PASSWORD 'w'",
        "CREATE ROLE reader LOGIN PASSWORD 'r'",
        "CREATE ROLE appender LOGIN PASSWORD 'a'",
        "CREATE ROLE nobody LOGIN PASSWORD 'n'",
        "GRANT SELECT, INSERT ON t TO writer",
        "GRANT SELECT ON t TO reader",
        "GRANT INSERT ON t TO appender",
    ] {
        ask(&server, "pg", superuser, statement).await.unwrap();
    }
    // Redis asks for a right to the command too.
    let mut redis = Connection::open(server.redis(), Duration::from_secs(60)).unwrap();
    redis.ask(&["AUTH", superuser.0, superuser.1]);
    for &(role, ..) in &ROLES[1..] {
        let rules = ["ACL", "SETUSER", role, "on", "~table:*", "+@connection", "+sql", "+hgetall"];
        assert!(redis.ask(&rules).to_string().contains("OK"), "{role}");
    }
    let mut id = 0;
    for written in DOORS {
        for &(role, password, _, writes) in ROLES {
            id += 1;
            let insert = format!("INSERT INTO t VALUES ({id}, '{written}', '{role}')");
            let done = ask(&server, written, (role, password), &insert).await;
            assert_eq!(
                done.as_ref().err().map(String::as_str),
                (!writes).then_some("42501"),
                "{written} {role}: {done:?}"
            );
            let select = format!("SELECT door || ':' || role FROM t WHERE id = {id}");
            for read in DOORS {
                for &(reader, password, reads, _) in ROLES {
                    let found = ask(&server, read, (reader, password), &select).await;
                    let about = format!("written by {role} through {written}, read by {reader} through {read}");
                    match found {
                        Ok(found) => {
                            assert!(reads && found.contains(&format!("{written}:{role}")) == writes, "{about}: {found}")
                        }
                        Err(state) => assert!(!reads && state == "42501", "{about}: {state}"),
                    }
                }
            }
        }
    }
    // The row as a resource and as a hash.
    let headers = |role: &str, password: &str| {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{role}:{password}")))
    };
    for &(role, password, reads, _) in ROLES {
        let authorization = headers(role, password);
        let row = call(&server, "GET", "/v1/tables/t/rows/1", &[("Authorization", &authorization)], &json!(null));
        assert_eq!(row.status, if reads { 200 } else { 403 }, "{role}: {}", row.text());
        let mut redis = Connection::open(server.redis(), Duration::from_secs(60)).unwrap();
        redis.ask(&["AUTH", role, password]);
        let hash = redis.ask(&["HGETALL", "table:t:1"]).to_string();
        assert_eq!(reads, hash.contains("postgres"), "{role}: {hash}");
    }
}
