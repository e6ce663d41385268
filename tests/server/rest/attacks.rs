//! What is refused, and costs little: sizes, paths, many guesses at once.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use perigee_testkit::resp::Connection;
use perigee_testkit::{Client, Server, http};
use serde_json::json;

use super::{PASSWORD, ask, asking, basic, call, metric, problem, server};

/// The first line of the answer to these bytes; nothing where the connection is closed without one.
fn told(server: &Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.rest()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // A server that has heard enough may close before it has read all.
    drop(stream.write_all(request));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let server = asking().start().unwrap();
    let long = "x".repeat(128 << 10);
    let head = format!(
        "GET /v1/tables HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {long}\r\n\r\n"
    );
    let line = told(&server, head.as_bytes());
    assert!(line.is_empty() || line.contains(" 431 ") || line.contains(" 400 "), "{line}");
    let path = format!("GET /v1/tables/{long} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let line = told(&server, path.as_bytes());
    assert!(line.is_empty() || line.contains(" 414 ") || line.contains(" 431 ") || line.contains(" 400 "), "{line}");
    let many: String = (0..1_000).map(|n| format!("X-{n}: y\r\n")).collect();
    let line = told(&server, format!("GET /v1/tables HTTP/1.1\r\nHost: localhost\r\n{many}\r\n").as_bytes());
    assert!(line.is_empty() || line.contains(" 431 ") || line.contains(" 400 "), "{line}");
    // A body that nobody has proved anything for is not read.
    let body = vec![b' '; 17 << 20];
    if let Ok(answer) = http::request(server.rest(), "POST", "/v1/sql", &[], &body) {
        assert_eq!(answer.status, 401);
    }
    let owner = basic("postgres", PASSWORD);
    let headers = [("Authorization", owner.as_str()), ("Content-Type", "text/plain")];
    assert_eq!(http::request(server.rest(), "POST", "/v1/sql", &headers, &body).unwrap().status, 413);
    let packed = [&headers[..], &[("Content-Encoding", "zstd")]].concat();
    assert_eq!(http::request(server.rest(), "POST", "/v1/sql", &packed, b"not packed").unwrap().status, 400);
    assert_eq!(ask(&server, &owner, "SELECT 1").status, 200);
}

#[tokio::test]
async fn a_body_is_the_object_that_it_should_be() {
    let server = asking().start().unwrap();
    let owner = basic("postgres", PASSWORD);
    let post = |path: &str, body: &str| {
        let headers = [("Authorization", owner.as_str()), ("Content-Type", "application/json")];
        let answer = http::request(server.rest(), "POST", path, &headers, body.as_bytes()).unwrap();
        (answer.status, answer.json()["detail"].as_str().unwrap_or_default().to_owned())
    };
    for (path, body) in [
        ("/v1/sql", "[\"CREATE TABLE made (a int)\"]"),
        ("/v1/transactions", " []"),
        ("/v1/series/s", "[[]]"),
        ("/v1/tables", "[\"made\", [[\"a\", \"int\"]]]"),
        ("/v1/tables/made/query", "[null, []]"),
        ("/v1/metrics", "[]"),
        ("/v1/sql", "\"SELECT 1\""),
        ("/v1/sql", ""),
    ] {
        let (status, detail) = post(path, body);
        assert!(status == 400 && detail.contains("no object"), "{path} {body}: {status} {detail}");
    }
    let made = ask(&server, &owner, "SELECT count(*) FROM pg_class WHERE relname = 'made'");
    assert_eq!(made.json()["rows"][0]["count"], 0);
    // Nobody sends a gigabyte to hear that it is too much.
    let head = format!(
        "POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nAuthorization: {owner}\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\n\
         Connection: close\r\nContent-Length: 1000000000\r\n\r\n"
    );
    assert!(told(&server, head.as_bytes()).contains(" 413 "), "it is waited for");
    let answer = http::request(server.rest(), "GET", "/v1/tables/%ff", &[("Authorization", &owner)], b"").unwrap();
    assert_eq!((answer.status, &answer.json()["detail"]), (400, &"the path is not UTF-8".into()));
}

#[tokio::test]
async fn paths_lead_only_where_they_say() {
    let server = asking().start().unwrap();
    for path in [
        "/v1/tables/../tables",
        "/v1//tables",
        "/V1/tables",
        "/v1/tables/",
        "/openapi.json/../v1/tables",
        "/v1/%74ables",
        "//v1/tables",
        "/v1/tables%2f..%2f..",
        "/docs/../v1/sql",
        "/v1/changes/../sql",
        "/v1/tables?token=x",
        "/v1/tables;admin",
        "/metrics",
        "/.env",
    ] {
        let answer = http::request(server.rest(), "GET", path, &[], b"").unwrap();
        assert!([401, 403, 404, 405].contains(&answer.status), "{path}: {}", answer.status);
    }
    // Names are names, whatever stands in them.
    let owner = basic("postgres", PASSWORD);
    for path in [
        "/v1/tables/..%2f..%2fetc%2fpasswd",
        "/v1/tables/%00",
        "/v1/tables/x'%20OR%201=1",
        "/v1/tables/%22%3b%20DROP%20TABLE%20t",
    ] {
        let answer = call(&server, "GET", path, &[("Authorization", owner.as_str())], &json!(null));
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.text());
    }
    for method in ["TRACE", "CONNECT", "PROPFIND"] {
        let answer = http::request(server.rest(), method, "/v1/sql", &[("Authorization", owner.as_str())], b"");
        assert!(answer.is_err() || (400..500).contains(&answer.as_ref().unwrap().status), "{method}: {answer:?}");
    }
}

#[tokio::test]
async fn many_guesses_at_once_keep_nobody_out() {
    let server = asking().start().unwrap();
    let owner = basic("postgres", PASSWORD);
    // Known from here on.
    assert_eq!(ask(&server, &owner, "SELECT 1").status, 200);
    let guesses: Vec<u16> = std::thread::scope(|scope| {
        let guess = |n: usize| {
            let server = &server;
            scope.spawn(move || ask(server, &basic("postgres", &format!("guess {n}")), "SELECT 1").status)
        };
        let threads: Vec<_> = (0..48).map(guess).collect();
        assert_eq!(ask(&server, &owner, "SELECT 1").status, 200, "who is known waits for nobody");
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(guesses.iter().all(|status| [401, 429].contains(status)), "{guesses:?}");
    let refused = guesses.iter().filter(|status| **status == 429).count() as u64;
    assert_eq!(metric(&server, "perigee_rate_limited_total"), refused);
    assert_eq!(metric(&server, "perigee_rest_denials_total"), 48);
    assert_eq!(ask(&server, &owner, "SELECT 1").status, 200);
}

/// What stands behind a line break in a name would look like an event of its own.
#[tokio::test]
async fn names_write_no_lines_of_their_own_into_the_audit_log() {
    let server = asking().with_redis().start().unwrap();
    let owner = basic("postgres", PASSWORD);
    let forged = "2026-01-01T00Z  INFO audit forged";
    let name = format!("x\n{forged}\r\u{1b}[2K");
    let made = format!("CREATE ROLE \"{name}\" LOGIN PASSWORD 'right'; CREATE TABLE \"{name}\" (a int)");
    assert_eq!(ask(&server, &owner, &made).status, 200);
    // It comes in and is denied something, over each door; others with such names do not come in.
    let denied = format!("SELECT * FROM \"{name}\"");
    assert_eq!(problem(&ask(&server, &basic(&name, "right"), &denied)).0, 403);
    assert_eq!(ask(&server, &basic(&name, "wrong"), "SELECT 1").status, 401);
    assert_eq!(ask(&server, &basic(&format!("{name}y"), "wrong"), "SELECT 1").status, 401);
    let mut redis = Connection::open(server.redis(), Duration::from_secs(60)).unwrap();
    for password in ["wrong", "right"] {
        redis.ask(&["AUTH", &name, password]);
    }
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(server.pg().port()).dbname("postgres").user(&name);
    assert!(Client::with(config.clone().password("wrong")).await.is_err());
    let client = Client::with(config.password("right")).await.unwrap();
    assert!(client.batch_execute(&denied).await.is_err());
    assert_eq!(ask(&server, &owner, &format!("DROP TABLE \"{name}\"; DROP ROLE \"{name}\"")).status, 200);

    let log = server.log();
    for (event, door) in
        [("login", "rest"), ("login", "redis"), ("login", "pg"), ("login denied", "redis"), ("login denied", "pg")]
    {
        let is_told = |line: &str| {
            line.contains(&format!("event=\"{event}\" door=\"{door}\"")) && line.contains("x\\n2026-01-01T00Z")
        };
        assert!(log.lines().any(is_told), "{event} {door}: {log}");
    }
    for event in ["role", "ddl", "denied"] {
        let is_told = |line: &str| line.contains(&format!("event=\"{event}\"")) && line.contains(forged);
        assert!(log.lines().any(is_told), "{event}: {log}");
    }
    assert!(!log.lines().any(|line| line.starts_with("2026-01-01")), "{log}");
    assert!(!log.contains(['\r', '\u{1b}']), "{log}");
}

#[tokio::test]
async fn requests_that_are_none_end_alone() {
    let server = server();
    for request in [
        &b"\0\0\0\0"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ] {
        let line = told(&server, request);
        assert!(line.is_empty() || line.contains(" 4") || line.contains(" 505 "), "{request:?}: {line}");
    }
    assert_eq!(call(&server, "POST", "/v1/sql", &[], &json!({"sql": "SELECT 1"})).status, 200);
}
