//! Changes as server-sent events, the document of the door, packed bodies.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use perigee_testkit::{Server, http};
use serde_json::{Value, json};

use super::{PASSWORD, ask, asking, basic, call, problem, server, sql};
use crate::jwt;

/// A stream of events that is being read.
struct Events(BufReader<TcpStream>);

impl Events {
    fn open(server: &Server, path: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(server.rest()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", server.rest()).unwrap();
        let mut events = Self(BufReader::new(stream));
        assert!(events.line().starts_with("HTTP/1.1 200"));
        events
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream has ended");
        line.trim_end().to_owned()
    }

    /// The next event: kind, id, data.
    fn next(&mut self) -> (String, String, Value) {
        loop {
            let line = self.line();
            let Some(kind) = line.strip_prefix("event: ") else { continue };
            let id = self.line().strip_prefix("id: ").map(str::to_owned).unwrap_or_default();
            let data = self.line();
            let mut data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap_or("null")).unwrap();
            assert!(data.as_object_mut().unwrap().remove("at").is_some_and(|at| at.is_string()));
            return (kind.to_owned(), id, data);
        }
    }
}

#[tokio::test]
async fn changes_come_in_order_and_go_on_where_they_were() {
    let server = server();
    sql(
        &server,
        "CREATE TABLE t (id int PRIMARY KEY, j jsonb); CREATE TABLE other (a int); INSERT INTO t VALUES (0, NULL)",
    );
    let mut events = Events::open(&server, "/v1/changes/t", "");
    // What comes now comes behind the opening: its first line says where it stands.
    while !events.line().starts_with("id: ") {}
    sql(
        &server,
        "INSERT INTO t VALUES (1, '{\"a\": \"x\\ny\"}'); INSERT INTO other VALUES (1); INSERT INTO t VALUES (2, '[1]')",
    );
    sql(&server, "UPDATE t SET j = '2' WHERE id = 1");
    sql(&server, "DELETE FROM t WHERE id = 2");
    let (kind, first, data) = events.next();
    assert_eq!((kind.as_str(), data), ("insert", json!({"new": {"id": 1, "j": {"a": "x\ny"}}})));
    let (kind, _, data) = events.next();
    assert_eq!((kind.as_str(), data), ("insert", json!({"new": {"id": 2, "j": [1]}})));
    let (kind, _, data) = events.next();
    assert_eq!((kind.as_str(), data), ("update", json!({"key": {"id": 1}, "new": {"id": 1, "j": 2}})));
    let (kind, last, data) = events.next();
    assert_eq!((kind.as_str(), data), ("delete", json!({"key": {"id": 2}})));
    drop(events);
    // Behind the first one.
    let mut again = Events::open(&server, "/v1/changes/t", &format!("Last-Event-ID: {first}\r\n"));
    // Who is cut off behind the opening has seen nothing yet, and goes on at the same place.
    let opening = loop {
        if let Some(id) = again.line().strip_prefix("id: ") {
            break id.to_owned();
        }
    };
    assert_eq!(opening, first);
    assert_eq!(again.next().2["new"]["id"], 2);
    let mut again = Events::open(&server, &format!("/v1/changes/t?from={last}"), "");
    sql(&server, "INSERT INTO t VALUES (3, NULL)");
    assert_eq!(again.next().2, json!({"new": {"id": 3, "j": null}}));
    let mut all = Events::open(&server, "/v1/changes/t?from=first", "");
    assert_eq!(all.next().0, "definition");
    assert_eq!(all.next().2["new"]["id"], 0);
    assert_eq!(problem(&call(&server, "GET", "/v1/changes/t?from=x", &[], &Value::Null)).0, 400);
    assert_eq!(problem(&call(&server, "GET", "/v1/changes/none", &[], &Value::Null)), (404, "42P01".into()));
}

/// The reason that the stream ends with, which it has to; `nudge` is done until it does.
fn reason(events: &mut Events, mut nudge: impl FnMut()) -> String {
    loop {
        let line = events.line();
        if line == "event: end" {
            return events.line();
        }
        if line.starts_with("data: ") {
            nudge();
        }
    }
}

/// A stream ends with what has opened it, whether the table is quiet or not.
#[tokio::test]
async fn a_stream_ends_with_the_key_or_token_that_has_opened_it() {
    let server = asking()
        .env("PERIGEE_SECURITY__JWT_SECRET", jwt::SECRET)
        .env("PERIGEE_SECURITY__JWT_AUDIENCE", "perigee")
        .start()
        .unwrap();
    let owner = basic("postgres", PASSWORD);
    let insert = || assert_eq!(ask(&server, &owner, "INSERT INTO t VALUES (1)").status, 200);
    let made = "CREATE ROLE ann LOGIN PASSWORD 'ann'; CREATE TABLE t (a int); GRANT SELECT ON t TO ann";
    assert_eq!(ask(&server, &owner, made).status, 200);
    let open = |authorization: &str| {
        let mut events = Events::open(&server, "/v1/changes/t", &format!("Authorization: {authorization}\r\n"));
        while !events.line().starts_with("id: ") {}
        events
    };
    // A key that is revoked: the log tells it.
    let key = ask(&server, &owner, "CALL perigee.create_api_key('ann')").json()["rows"][0].clone();
    let mut events = open(&format!("Bearer {}", key["api_key"].as_str().unwrap()));
    let revoke = format!("CALL perigee.revoke_api_key('{}')", key["id"].as_str().unwrap());
    assert_eq!(ask(&server, &owner, &revoke).status, 200);
    assert!(reason(&mut events, || {}).contains("the API key or the token is over"));

    // A key and a token that end by themselves, soon. Of a token's time half a minute more counts: clocks may differ by that.
    let key = || {
        let soon = ask(&server, &owner, "SELECT (now() + interval '6 seconds')::text AS soon").json();
        let soon = soon["rows"][0]["soon"].as_str().unwrap().to_owned();
        let made = ask(&server, &owner, &format!("CALL perigee.create_api_key('ann', expires => '{soon}')"));
        made.json()["rows"][0]["api_key"].as_str().unwrap().to_owned()
    };
    let token = || {
        let claims = jwt::with("ann", "exp", json!(jwt::now_s() - 24));
        jwt::token(&json!({"alg": "HS256"}), &claims, jwt::hs256(jwt::SECRET.as_bytes()))
    };
    for make in [&key as &dyn Fn() -> String, &token] {
        let proof = make();
        let mut events = open(&format!("Bearer {proof}"));
        insert();
        let told = reason(&mut events, || {
            std::thread::sleep(Duration::from_millis(100));
            insert();
        });
        assert!(told.contains("the API key or the token is over"), "{told}");
        let refused =
            http::request(server.rest(), "GET", "/v1/changes/t", &[("Authorization", &format!("Bearer {proof}"))], b"");
        assert_eq!(refused.unwrap().status, 401);
    }

    // Rights that are gone.
    let mut events = open(&basic("ann", "ann"));
    assert_eq!(ask(&server, &owner, "REVOKE SELECT ON t FROM ann").status, 200);
    assert!(reason(&mut events, || {}).contains("42501"));
}

#[tokio::test]
async fn the_document_says_what_there_is() {
    let server = server();
    let (status, text) = http::get(server.rest(), "/openapi.json").unwrap();
    assert_eq!(status, 200);
    let document: Value = serde_json::from_str(&text).unwrap();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let path = path.replace("{table}", "none").replace("{key}", "none").replace("{id}", "none");
            let body = if operation["requestBody"].is_object() { json!({}) } else { Value::Null };
            let answer = call(&server, &method.to_uppercase(), &path, &[], &body);
            assert!(answer.status < 500 && answer.status != 405, "{method} {path}: {}", answer.text());
            assert!(!answer.text().contains("there is nothing here"), "{method} {path}");
            if operation["responses"][answer.status.to_string()].is_null() {
                problem(&answer);
            }
        }
    }
    let page = http::request(server.rest(), "GET", "/docs", &[], b"").unwrap();
    assert!(page.status == 200 && page.text().contains("/openapi.json"));
    assert!(page.headers["content-security-policy"].contains("default-src 'none'"));
}

/// What a program makes of a text.
fn packed(program: &str, text: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    child.wait_with_output().unwrap().stdout
}

#[tokio::test]
async fn bodies_may_be_packed() {
    let server = server();
    let send = |coding: &str, body: &[u8]| {
        let headers = [("Content-Type", "text/plain"), ("Content-Encoding", coding)];
        http::request(server.rest(), "POST", "/v1/sql", &headers, body).unwrap()
    };
    let gzip = packed("gzip", b"SELECT 40 + 2 AS n");
    assert_eq!(send("gzip", &gzip).json()["rows"][0]["n"], 42);
    assert_eq!(problem(&send("gzip", b"SELECT 1")).0, 400);
    assert_eq!(problem(&send("gzip", &gzip[..10])).0, 400);
    assert_eq!(problem(&send("zstd", b"SELECT 1")).0, 400);
    assert_eq!(problem(&send("br", b"SELECT 1")).0, 415);
    // A small body that becomes a large one.
    assert_eq!(problem(&send("gzip", &packed("gzip", &vec![b' '; 64 << 20]))).0, 413);
}
