//! `POST /v1/sql`

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use perigee_testkit::http;
use serde_json::json;

use super::{call, problem, server, sql};

#[tokio::test]
async fn results_are_exact_in_every_format() {
    let server = server();
    sql(
        &server,
        "CREATE TYPE mood AS ENUM ('sad', 'happy');
         CREATE TABLE t (id bigint PRIMARY KEY, n numeric, s text, j jsonb, b bytea, at timestamptz, tags text[], m mood);
         INSERT INTO t VALUES
         (9223372036854775807, 1.10, 'a\"b,c', '{\"k\": [1, 2]}', '\\x00ff', '2026-01-02 03:04:05.5+00', '{x,NULL}', 'happy'),
         (2, 'NaN', '', NULL, NULL, NULL, NULL, NULL)",
    );
    let select = json!({"sql": "SELECT * FROM t ORDER BY id DESC"});
    let answer = call(&server, "POST", "/v1/sql", &[], &select);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["perigee-command"], "SELECT 2");
    let text = answer.text();
    // Digits, as they are: a parser would round them.
    let row = "{\"id\":9223372036854775807,\"n\":1.10,\"s\":\"a\\\"b,c\",\"j\":{\"k\": [1, 2]},\"b\":\"\\\\x00ff\",\
               \"at\":\"2026-01-02T03:04:05.5+00:00\",\"tags\":[\"x\",null],\"m\":\"happy\"}";
    assert!(text.contains(row), "{text}");
    let document = answer.json();
    assert_eq!(document["columns"][1], json!({"name": "n", "type": "numeric"}));
    assert_eq!((&document["rows"][1]["n"], &document["row_count"]), (&json!("NaN"), &json!(2)));

    let as_type = |accept| {
        let answer = call(&server, "POST", "/v1/sql", &[("Accept", accept)], &select);
        assert_eq!(answer.status, 200, "{accept}: {}", answer.text());
        answer
    };
    let lines = as_type("application/x-ndjson").text();
    assert_eq!(lines.lines().count(), 2);
    assert_eq!(lines.lines().next().unwrap(), row);
    assert_eq!(
        as_type("text/csv").text(),
        "id,n,s,j,b,at,tags,m\r\n9223372036854775807,1.10,\"a\"\"b,c\",\"{\"\"k\"\": [1, 2]}\",\\x00ff,\
         2026-01-02 03:04:05.5+00,\"{x,NULL}\",happy\r\n2,NaN,\"\",,,,,\r\n"
    );
    assert!(as_type("application/vnd.apache.arrow.stream").body.starts_with(&[0xff; 4]));

    let arrays = json!({"sql": "SELECT 1 AS a, 2 AS a", "rows": "arrays"});
    assert_eq!(call(&server, "POST", "/v1/sql", &[], &arrays).json()["rows"], json!([[1, 2]]));
    let base64 = json!({"sql": "SELECT b FROM t WHERE id > 2", "bytea": "base64"});
    assert_eq!(call(&server, "POST", "/v1/sql", &[], &base64).json()["rows"][0]["b"], "AP8=");
    let some = json!({"sql": "SELECT * FROM generate_series(1, 100) AS g (i)", "max_rows": 3});
    let some = call(&server, "POST", "/v1/sql", &[], &some).json();
    assert_eq!((&some["row_count"], &some["truncated"]), (&json!(3), &json!(true)));
}

#[tokio::test]
async fn parameters_have_the_types_of_the_statement_or_their_own() {
    let server = server();
    sql(&server, "CREATE TABLE t (id int PRIMARY KEY, n numeric(30,2), j jsonb, tags int[])");
    let insert = "{\"sql\": \"INSERT INTO t VALUES ($1, $2, $3, $4)\", \
                  \"params\": [7, 1234567890123456789012345.10, {\"type\": \"jsonb\", \"value\": {\"a\": [null]}}, [1, 2]]}";
    let json = [("Content-Type", "application/json")];
    let answer = http::request(server.rest(), "POST", "/v1/sql", &json, insert.as_bytes()).unwrap();
    assert_eq!((answer.status, &answer.json()["command"]), (200, &json!("INSERT 0 1")), "{}", answer.text());
    let text = call(&server, "POST", "/v1/sql", &[], &json!({"sql": "TABLE t"})).text();
    assert!(
        text.contains("{\"id\":7,\"n\":1234567890123456789012345.10,\"j\":{\"a\": [null]},\"tags\":[1,2]}"),
        "{text}"
    );

    let ask = |body: serde_json::Value| call(&server, "POST", "/v1/sql", &[], &body);
    let typed = json!({"sql": "SELECT $1 AS v", "params": [{"type": "timestamptz", "value": "2026-01-01"}]});
    assert_eq!(ask(typed).json()["columns"][0]["type"], "timestamp with time zone");
    assert_eq!(problem(&ask(json!({"sql": "SELECT $1::int", "params": ["x"]}))), (400, "22P02".into()));
    assert_eq!(problem(&ask(json!({"sql": "SELECT $1::int", "params": []}))), (400, "08P01".into()));
    assert_eq!(problem(&ask(json!({"sql": "SELECT 1", "params": [1]}))), (400, "08P01".into()));
    assert_eq!(
        problem(&ask(json!({"sql": "SELECT $1", "params": [{"type": "nope", "value": 1}]}))),
        (400, "42704".into())
    );
    let injected = json!({"sql": "SELECT $1", "params": [{"type": "int); DROP TABLE t; --", "value": 1}]});
    assert_eq!(ask(injected).status, 400);
    assert_eq!(problem(&ask(json!({"sql": "SELECT $1", "params": [{"a": 1}]}))).0, 400);
    assert_eq!(sql(&server, "SELECT count(*) AS n FROM t")["rows"][0]["n"], 1);
}

#[tokio::test]
async fn what_goes_wrong_is_a_problem_document() {
    let server = server();
    sql(&server, "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL); INSERT INTO t VALUES (1, 1)");
    let ask = |statement: &str| problem(&call(&server, "POST", "/v1/sql", &[], &json!({"sql": statement})));
    for (statement, status, state) in [
        ("SELEC 1", 400, "42601"),
        ("", 400, "42601"),
        ("SELECT * FROM nothing", 404, "42P01"),
        ("SELECT nothing FROM t", 400, "42703"),
        ("INSERT INTO t VALUES (1, 2)", 409, "23505"),
        ("INSERT INTO t (id) VALUES (2)", 422, "23502"),
        ("SELECT 1 / 0", 400, "22012"),
        ("COPY t FROM STDIN", 400, "0A000"),
        ("BEGIN; INSERT INTO t VALUES (3, 3)", 409, "25000"),
        ("INSERT INTO t VALUES (4, 4); SELECT 1 / 0", 400, "22012"),
    ] {
        assert_eq!(ask(statement), (status, state.to_owned()), "{statement}");
    }
    // Nothing of what failed is left, nor its session.
    assert_eq!(sql(&server, "SELECT count(*) AS n FROM t")["rows"][0]["n"], 1);
    let slow = json!({"sql": "SELECT count(*) FROM generate_series(1, 100000000000) AS g", "timeout_ms": 200});
    assert_eq!(problem(&call(&server, "POST", "/v1/sql", &[], &slow)), (499, "57014".into()));

    let raw = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        problem(&http::request(server.rest(), method, path, headers, body).unwrap()).0
    };
    let json = ("Content-Type", "application/json");
    assert_eq!(raw("POST", "/v1/sql", &[json], b"{\"sql\": "), 400);
    assert_eq!(raw("POST", "/v1/sql", &[json], b"{\"sql\": \"SELECT 1\", \"nope\": 1}"), 400);
    assert_eq!(raw("POST", "/v1/sql?nope=1", &[json], b"{\"sql\": \"SELECT 1\"}"), 400);
    assert_eq!(raw("POST", "/v1/sql", &[("Content-Type", "application/x-www-form-urlencoded")], b"SELECT 1"), 415);
    assert_eq!(raw("POST", "/v1/sql", &[("Accept", "image/png")], b"SELECT 1"), 406);
    assert_eq!(raw("POST", "/v1/sql", &[], b"SELECT '\xff'"), 400);
    assert_eq!(raw("GET", "/v1/sql", &[], b""), 405);
    assert_eq!(raw("GET", "/v1/../sql", &[], b""), 404);
    assert_eq!(raw("POST", "/v1/sql", &[], &vec![b' '; (16 << 20) + 1]), 413);
    let deep = format!("{{\"sql\": \"SELECT $1\", \"params\": [{}]}}", "[".repeat(100_000));
    assert_eq!(raw("POST", "/v1/sql", &[json], deep.as_bytes()), 400);
    let text =
        http::request(server.rest(), "POST", "/v1/sql", &[("Content-Type", "text/plain")], b"SELECT 40 + 2 AS n")
            .unwrap();
    assert_eq!(text.json()["rows"], json!([{"n": 42}]));
}

#[tokio::test]
async fn large_results_are_streamed_and_end_with_their_client() {
    let server = server();
    let select = json!({"sql": "SELECT i, repeat('x', 100) AS s FROM generate_series(1, 20000) AS g (i)"});
    let answer = call(&server, "POST", "/v1/sql", &[("Accept", "application/x-ndjson")], &select);
    assert_eq!((answer.status, answer.whole, answer.text().lines().count()), (200, true, 20_000));
    assert!(answer.headers.contains_key("transfer-encoding"), "{:?}", answer.headers);
    // An error behind the first part breaks the answer off: it cannot be taken for a whole one.
    let late =
        json!({"sql": "SELECT repeat('x', 1000) AS s, 1 / (5000 - i) AS n FROM generate_series(1, 20000) AS g (i)"});
    let answer = call(&server, "POST", "/v1/sql", &[], &late);
    assert!(!answer.whole || answer.status == 400, "{}", answer.status);

    // A client that goes: what runs for it ends.
    wait("nobody is left of the requests before", || sessions(&server) == 0.0).await;
    let body = json!({"sql": "SELECT count(*) FROM generate_series(1, 100000000000) AS gone"}).to_string();
    let mut stream = TcpStream::connect(server.rest()).unwrap();
    let head = format!(
        "POST /v1/sql HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        server.rest(),
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    wait("the first runs", || sessions(&server) == 1.0).await;
    drop(stream);
    wait("the first has ended", || sessions(&server) == 0.0).await;

    // A client that does not read holds no more than a few parts.
    let mut stream = TcpStream::connect(server.rest()).unwrap();
    let body = json!({"sql": "SELECT repeat('x', 1000) AS s FROM generate_series(1, 10000000) AS g"}).to_string();
    let head = format!(
        "POST /v1/sql HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        server.rest(),
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut some = [0; 16];
    stream.read_exact(&mut some).unwrap();
    assert!(some.starts_with(b"HTTP/1.1 200"));
    wait("the second runs", || sessions(&server) == 1.0).await;
    drop(stream);
    wait("the second has ended", || sessions(&server) == 0.0).await;
}

fn sessions(server: &perigee_testkit::Server) -> f64 {
    crate::operations::metric(server, "perigee_sessions")
}

/// Waits until something holds.
async fn wait(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not after a minute: {what}");
}

#[tokio::test]
async fn garbage_does_not_harm_others() {
    let server = server();
    let mut garbage: Vec<Vec<u8>> = vec![
        b"\0\0\0\0\0".to_vec(),
        b"*1\r\n$4\r\nPING\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxxxxxxxxxxxxxxxxxxxx".to_vec(),
        b"POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(),
        b"POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            .to_vec(),
        b"POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec(),
    ];
    garbage
        .push([b"GET / HTTP/1.1\r\nHost: localhost\r\n".to_vec(), b"x: y\r\n".repeat(200), b"\r\n".to_vec()].concat());
    garbage.push([b"GET /".to_vec(), b"a".repeat(1 << 20)].concat());
    for bytes in garbage {
        let mut stream = TcpStream::connect(server.rest()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        drop(stream.write_all(&bytes));
        stream.shutdown(std::net::Shutdown::Write).ok();
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(!answer.starts_with("HTTP/1.1 2") && !answer.starts_with("HTTP/1.1 5"), "{bytes:?}: {answer}");
    }
    assert_eq!(sql(&server, "SELECT 1 AS n")["rows"][0]["n"], 1);
}

#[tokio::test]
async fn answers_are_packed_where_that_is_asked_for() {
    let server = server();
    let select = "SELECT i, repeat('x', 100) AS s FROM generate_series(1, 20000) AS g (i)";
    let ask = |coding: &str, statement: &str| {
        let headers = [("Accept-Encoding", coding), ("Accept", "text/csv")];
        call(&server, "POST", "/v1/sql", &headers, &json!({"sql": statement}))
    };
    let plain = ask("identity", select);
    assert!(plain.whole && !plain.headers.contains_key("content-encoding"));
    for (coding, magic) in [("gzip", &[0x1f, 0x8b][..]), ("zstd", &[0x28, 0xb5, 0x2f, 0xfd])] {
        let packed = ask(coding, select);
        assert_eq!(packed.headers["content-encoding"], coding);
        assert!(packed.whole && packed.body.starts_with(magic) && packed.body.len() < plain.body.len() / 5);
    }
    // As clients unpack it, page and error too.
    let curl = |arguments: &[&str], path: &str| {
        let mut command = std::process::Command::new("curl");
        let output = command.args(["-s", "--compressed", "-H", "Accept-Encoding: gzip", "-D", "-"]).args(arguments);
        let output = output.arg(format!("http://{}{path}", server.rest())).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.to_ascii_lowercase().contains("content-encoding: gzip"), "{path}: {head}");
        body.to_owned()
    };
    let found = curl(&["-H", "Content-Type: text/plain", "-H", "Accept: text/csv", "-d", select], "/v1/sql");
    assert!(found.as_bytes() == plain.body, "{} and {} bytes", found.len(), plain.body.len());
    assert!(curl(&[], "/openapi.json").contains("\"openapi\""));
    // What is short goes as it is; what breaks off has no end.
    assert!(!ask("gzip", "SELECT 1").headers.contains_key("content-encoding"));
    let broken = ask("gzip", "SELECT repeat('x', 1000), 1 / (5000 - i) FROM generate_series(1, 5000) AS g (i)");
    assert!(broken.status == 400 || !broken.whole, "{}", broken.status);
}

#[test]
fn no_statement_has_a_zero_character() {
    let server = server();
    for sql in ["CREATE TABLE \"a\0b\" (a int)", "SELECT 'a\0b'", "SELECT 1 AS \"a\0b\"", "SELECT 1 -- \0"] {
        let answer = call(&server, "POST", "/v1/sql", &[], &json!({"sql": sql}));
        assert_eq!(problem(&answer), (400, "22021".to_owned()), "{sql:?}");
    }
    assert_eq!(sql(&server, "SELECT 'a b' AS a")["rows"], json!([{"a": "a b"}]));
}
