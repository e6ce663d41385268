//! One row through all doors: written by each, read by each, with the same rights.

use std::time::Duration;

use perigee_api::client::Access;
use perigee_api::v1;
use perigee_testkit::resp::Connection;
use perigee_testkit::{Client, Server};
use perigee_tests::grpc::{Grpc, statement as statement_of};
use perigee_tests::options;
use serde_json::json;

use crate::rest::call;

/// Roles with their passwords, and whether they may read the table and write to it.
const ROLES: &[(&str, &str, bool, bool)] = &[
    ("postgres", "correct horse", true, true),
    ("writer", "w", true, true),
    ("reader", "r", true, false),
    ("appender", "a", false, true),
    ("nobody", "n", false, false),
];

const DOORS: &[&str] = &["pg", "redis", "rest", "grpc"];

/// A node with all doors open, which asks for passwords.
fn server() -> Server {
    options()
        .with_rest()
        .with_grpc()
        .with_redis()
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_SECURITY__SUPERUSER_PASSWORD", "correct horse")
        .start()
        .unwrap()
}

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
        "grpc" => {
            let client = Grpc::login(server, role.0, role.1).await;
            let query = v1::QueryRequest { statement: Some(statement_of(statement)), ..v1::QueryRequest::default() };
            let answer = client.query(query).await;
            let state =
                |status: tonic::Status| status.metadata().get("perigee-sqlstate").unwrap().to_str().unwrap().to_owned();
            answer.map(|answer| format!("{:?}", answer.rows)).map_err(state)
        }
        _ => {
            let headers = [("Authorization", &*Access::basic(role.0, role.1))];
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
    let server = server();
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
    for &(role, password, reads, _) in ROLES {
        let authorization = Access::basic(role, password);
        let row = call(&server, "GET", "/v1/tables/t/rows/1", &[("Authorization", &authorization)], &json!(null));
        assert_eq!(row.status, if reads { 200 } else { 403 }, "{role}: {}", row.text());
        let mut redis = Connection::open(server.redis(), Duration::from_secs(60)).unwrap();
        redis.ask(&["AUTH", role, password]);
        let hash = redis.ask(&["HGETALL", "table:t:1"]).to_string();
        assert_eq!(reads, hash.contains("postgres"), "{role}: {hash}");
    }
}

/// Roles, and whether they may read keys and write them.
const KEEPERS: &[(&str, &str, bool, bool)] = &[
    ("postgres", "correct horse", true, true),
    ("keeper", "k", true, true),
    ("watcher", "w", true, false),
    ("nobody", "n", false, false),
];

/// Sets a key as a role through a door. Whether it may.
async fn set(server: &Server, door: &str, role: (&str, &str), key: &str, value: &str) -> bool {
    match door {
        "redis" => redis_of(server, role).ask(&["SET", key, value]).to_string().contains("OK"),
        "rest" => {
            let headers = [("Authorization", &*Access::basic(role.0, role.1))];
            let answer = call(server, "PUT", &format!("/v1/keys/{key}"), &headers, &json!({"value": value}));
            assert!(matches!(answer.status, 204 | 403), "{}", answer.text());
            answer.status == 204
        }
        "grpc" => {
            let client = Grpc::login(server, role.0, role.1).await;
            let value = Some(v1::set_request::Value::Text(value.to_owned()));
            let request = v1::SetRequest { key: key.to_owned(), value, ..v1::SetRequest::default() };
            let set = client.keys.clone().set(client.request(request)).await;
            set.map_err(|status| assert_eq!(status.code(), tonic::Code::PermissionDenied)).is_ok()
        }
        _ => {
            let statement = format!("INSERT INTO redis.strings (key, value) VALUES ('{key}', '{value}')");
            ask(server, "pg", role, &statement).await.map_err(|state| assert_eq!(state, "42501")).is_ok()
        }
    }
}

/// Reads a key as a role through a door; nothing where it may not.
async fn get(server: &Server, door: &str, role: (&str, &str), key: &str) -> Option<String> {
    match door {
        "redis" => {
            let reply = redis_of(server, role).ask(&["GET", key]).to_string();
            (!reply.contains("NOPERM")).then_some(reply)
        }
        "rest" => {
            let headers = [("Authorization", &*Access::basic(role.0, role.1))];
            let answer = call(server, "GET", &format!("/v1/keys/{key}"), &headers, &json!(null));
            assert!(matches!(answer.status, 200 | 403), "{}", answer.text());
            (answer.status == 200).then(|| answer.text())
        }
        "grpc" => {
            let client = Grpc::login(server, role.0, role.1).await;
            let request = v1::GetRequest { key: key.to_owned(), ..v1::GetRequest::default() };
            let found = client.keys.clone().get(client.request(request)).await;
            let found = found.map_err(|status| assert_eq!(status.code(), tonic::Code::PermissionDenied)).ok()?;
            Some(format!("{:?}", found.into_inner().entry))
        }
        _ => {
            let statement = format!("SELECT value FROM redis.strings WHERE key = '{key}'");
            ask(server, "pg", role, &statement).await.map_err(|state| assert_eq!(state, "42501")).ok()
        }
    }
}

fn redis_of(server: &Server, role: (&str, &str)) -> Connection {
    let mut redis = Connection::open(server.redis(), Duration::from_secs(60)).unwrap();
    let login = redis.ask(&["AUTH", role.0, role.1]).to_string();
    assert!(login.contains("OK"), "{role:?}: {login}");
    redis
}

#[tokio::test]
async fn a_key_is_one_key_at_every_door_with_the_same_rights() {
    let server = server();
    let superuser = ("postgres", "correct horse");
    for statement in [
        "CREATE ROLE keeper LOGIN PASSWORD 'k'",
        "CREATE ROLE watcher LOGIN PASSWORD 'w'",
        "CREATE ROLE nobody LOGIN PASSWORD 'n'",
        "GRANT pg_read_all_data, pg_write_all_data TO keeper",
        "GRANT pg_read_all_data TO watcher",
    ] {
        ask(&server, "pg", superuser, statement).await.unwrap();
    }
    // The Redis door asks for rights of its own: the same ones are given here.
    let mut redis = redis_of(&server, superuser);
    for &(role, _, reads, writes) in &KEEPERS[1..] {
        let mut rules = vec!["ACL", "SETUSER", role, "on", "~*", "+@connection"];
        rules.extend(reads.then_some("+get"));
        rules.extend(writes.then_some("+set"));
        assert!(redis.ask(&rules).to_string().contains("OK"), "{role}");
    }
    for written in DOORS {
        for &(role, password, _, writes) in KEEPERS {
            let (key, value) = (format!("{written}-{role}"), format!("of {role} by {written}"));
            assert_eq!(set(&server, written, (role, password), &key, &value).await, writes, "{key}");
            if !writes {
                continue;
            }
            for read in DOORS {
                for &(reader, password, reads, _) in KEEPERS {
                    let found = get(&server, read, (reader, password), &key).await;
                    let about = format!("{key}, read by {reader} through {read}: {found:?}");
                    assert_eq!(found.is_some_and(|found| found.contains(&value)), reads, "{about}");
                }
            }
        }
    }
}
