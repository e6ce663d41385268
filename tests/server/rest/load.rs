//! `POST /v1/tables/{table}/load`, and results as Parquet.

use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};

use perigee_testkit::Server;
use perigee_testkit::http::{self, Answer};
use perigee_tests::script;
use serde_json::{Value, json};

use super::{PASSWORD, ask, asking, basic, call, problem, server, sql};

fn load(server: &Server, path: &str, kind: &str, body: impl AsRef<[u8]>) -> Answer {
    http::request(server.rest(), "POST", path, &[("Content-Type", kind)], body.as_ref()).unwrap()
}

/// Status, SQLSTATE, row and context of a load that is refused.
fn refused(answer: &Answer) -> (u16, String, Value, String) {
    let (status, state) = problem(answer);
    let document = answer.json();
    (status, state, document["row"].clone(), document["context"].as_str().unwrap_or_default().to_owned())
}

fn rows(server: &Server, statement: &str) -> Value {
    sql(server, statement)["rows"].clone()
}

const TABLE: &str =
    "CREATE TABLE t (id int PRIMARY KEY, n numeric(10,2) DEFAULT 1, s text, at timestamptz, CHECK (n >= 0))";

#[tokio::test]
async fn csv_names_its_columns() {
    let server = server();
    sql(&server, TABLE);
    let csv = "s,id,at\r\n\"a, \"\"b\"\"\",1,2026-01-02 03:04:05Z\r\n\"\",2,\r\n,3,\n";
    let answer = load(&server, "/v1/tables/t/load", "text/csv", csv);
    assert_eq!((answer.status, answer.json()), (201, json!({"loaded": 3})), "{}", answer.text());
    assert_eq!(
        rows(&server, "SELECT id, n, s, at FROM t ORDER BY id"),
        json!([
            {"id": 1, "n": 1.00, "s": "a, \"b\"", "at": "2026-01-02T03:04:05+00:00"},
            {"id": 2, "n": 1.00, "s": "", "at": null},
            {"id": 3, "n": 1.00, "s": null, "at": null},
        ])
    );
    let path = "/v1/tables/public.t/load?header=false&columns=id,%20n&delimiter=%3B&null=-&quote='";
    let answer = load(&server, path, "text/csv; charset=utf-8", "4;'2.5'\n5;-");
    assert_eq!(answer.json(), json!({"loaded": 2}), "{}", answer.text());
    assert_eq!(rows(&server, "SELECT n FROM t WHERE id > 3 ORDER BY id"), json!([{"n": 2.50}, {"n": null}]));
    // A mark of UTF-8, as some programs write it, is no part of a name.
    assert_eq!(load(&server, "/v1/tables/t/load", "text/csv", "\u{feff}id\n6\n").json(), json!({"loaded": 1}));
    assert_eq!(load(&server, "/v1/tables/t/load", "text/csv", "id\n").json(), json!({"loaded": 0}));
}

#[tokio::test]
async fn objects_are_rows() {
    let server = server();
    sql(&server, "CREATE TABLE t (id bigint PRIMARY KEY, n numeric, s text, j jsonb, tags text[], d int DEFAULT 7)");
    let lines = "{\"id\": 9223372036854775807, \"n\": 12345678901234567.10, \"s\": \"a\\nb\", \"j\": {\"k\": [1]}, \"tags\": [\"x\", null]}\n\n\
                 {\"tags\": \"{y}\", \"id\": 2, \"s\": null}\r\n{\"id\": 3, \"s\": 1.5, \"j\": \"text\"}";
    for kind in ["application/x-ndjson", "application/jsonl"] {
        let answer = load(&server, "/v1/tables/t/load", kind, lines);
        assert_eq!((answer.status, answer.json()), (201, json!({"loaded": 3})), "{}", answer.text());
        let text = call(&server, "POST", "/v1/sql", &[], &json!({"sql": "SELECT * FROM t ORDER BY id DESC"})).text();
        for row in [
            "{\"id\":9223372036854775807,\"n\":12345678901234567.10,\"s\":\"a\\nb\",\"j\":{\"k\": [1]},\"tags\":[\"x\",null],\"d\":7}",
            "{\"id\":2,\"n\":null,\"s\":null,\"j\":null,\"tags\":[\"y\"],\"d\":7}",
            "{\"id\":3,\"n\":null,\"s\":\"1.5\",\"j\":\"text\",\"tags\":null,\"d\":7}",
        ] {
            assert!(text.contains(row), "{text}");
        }
        sql(&server, "DELETE FROM t");
    }
    let path = "/v1/tables/t/load?columns=id,d";
    assert_eq!(load(&server, path, "application/x-ndjson", "{\"id\": 1}\n{\"d\": 2, \"id\": 2}").status, 201);
    assert_eq!(rows(&server, "SELECT d FROM t ORDER BY id"), json!([{"d": null}, {"d": 2}]));
    assert_eq!(load(&server, "/v1/tables/t/load", "application/x-ndjson", "").json(), json!({"loaded": 0}));
}

/// All rows or none, and what is wrong is said with its place.
#[tokio::test]
async fn what_is_refused_loads_nothing_and_says_where() {
    let server = server();
    sql(&server, TABLE);
    sql(&server, "INSERT INTO t (id) VALUES (1000)");
    let many = |last: &str| {
        let mut csv = "id,n\n".to_owned();
        (1..=999).for_each(|id| csv.push_str(&format!("{id},1\n")));
        csv + last
    };
    let (csv, ndjson) = ("text/csv", "application/x-ndjson");
    for (kind, body, expected) in [
        (csv, many("x,1\n"), (400, "22P02", json!(1001), "COPY t, line 1001, column id: \"x\"")),
        (csv, many("2000\n"), (400, "22P04", json!(1001), "COPY t, line 1001: \"2000\"")),
        (csv, many("1000,1\n"), (409, "23505", json!(1001), "COPY t, line 1001")),
        (csv, many("2000,-1\n"), (422, "23514", Value::Null, "")),
        (csv, many("2000,\"1\n"), (400, "22P04", json!(1001), "COPY t, line 1001: \"2000,\"1\n\"")),
        (csv, "id,nothing\n1,1\n".into(), (400, "42703", Value::Null, "")),
        (csv, "id,id\n1,1\n".into(), (400, "42701", Value::Null, "")),
        (csv, String::new(), (400, "22P04", Value::Null, "")),
        (
            ndjson,
            "{\"id\": 1}\n{\"id\": \"x\"}".into(),
            (400, "22P02", json!(2), "COPY t, line 2, column id: \"\"x\"\""),
        ),
        (ndjson, "{\"id\": 1}\n{\"id\": 2, \"x\": 3}".into(), (400, "22P04", json!(2), "COPY t, line 2")),
        (ndjson, "{\"id\": 1}\n\n[2]".into(), (400, "22P04", json!(3), "COPY t, line 3")),
        (ndjson, "{\"id\": 1}\n{\"id\": 2".into(), (400, "22P04", json!(2), "COPY t, line 2")),
        (ndjson, "{\"n\": 1}".into(), (422, "23502", Value::Null, "")),
        ("application/vnd.apache.arrow.stream", "\u{4}\0\0\0text".into(), (400, "22P04", Value::Null, "")),
        ("application/vnd.apache.parquet", "PAR1textPAR1".into(), (400, "22P04", Value::Null, "")),
        ("application/vnd.apache.parquet", String::new(), (400, "22P04", Value::Null, "")),
    ] {
        let found = refused(&load(&server, "/v1/tables/t/load", kind, &body));
        let (status, state, row, context) = expected;
        if row.is_null() {
            assert_eq!((found.0, found.1.as_str()), (status, state), "{kind} {body:.40}: {found:?}");
        } else {
            assert_eq!((found.0, found.1.as_str(), found.2, found.3.as_str()), (status, state, row, context), "{kind}");
        }
    }
    assert_eq!(refused(&load(&server, "/v1/tables/none/load", csv, "id\n1\n")).0, 404);
    assert_eq!(problem(&load(&server, "/v1/tables/t/load", "application/json", "{}")).0, 415);
    for wrong in ["header=maybe", "delimiter=ab", "delimiter=%C3%A4", "quote=", "nothing=1", "columns="] {
        let status = load(&server, &format!("/v1/tables/t/load?{wrong}"), csv, "id\n1\n").status;
        assert_eq!(status, 400, "{wrong}");
    }
    assert_eq!(problem(&load(&server, "/v1/tables/t/load?header=true", ndjson, "{\"id\": 1}")).0, 400);
    assert_eq!(rows(&server, "SELECT id FROM t"), json!([{"id": 1000}]));
}

#[tokio::test]
async fn a_body_that_breaks_off_loads_nothing() {
    let server = server();
    sql(&server, "CREATE TABLE t (id int)");
    for framing in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let mut stream = TcpStream::connect(server.rest()).unwrap();
        let head = format!(
            "POST /v1/tables/t/load HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n{framing}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let rows = (0..5_000).fold("id\n".to_owned(), |csv, id| csv + &format!("{id}\n"));
        let part = if framing.starts_with('T') { format!("{:x}\r\n{rows}\r\n", rows.len()) } else { rows };
        stream.write_all(part.as_bytes()).unwrap();
        drop(stream);
    }
    // Whatever is still going on there has the table: this waits for it.
    sql(&server, "ALTER TABLE t ADD COLUMN n int");
    assert_eq!(rows(&server, "SELECT count(*) AS n FROM t"), json!([{"n": 0}]));
}

fn packed(program: &str, text: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = text.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(&text).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.stdout
}

#[tokio::test]
async fn bodies_are_bounded_and_may_be_packed() {
    let server = perigee_tests::options().with_rest().env("PERIGEE_LIMITS__LOAD_BYTES_MAX", "1MB").start().unwrap();
    sql(&server, "CREATE TABLE t (id int)");
    let send = |coding: &str, body: &[u8]| {
        let headers = [("Content-Type", "text/csv"), ("Content-Encoding", coding)];
        http::request(server.rest(), "POST", "/v1/tables/t/load", &headers, body).unwrap()
    };
    assert_eq!(send("gzip", &packed("gzip", b"id\n1\n2\n")).json(), json!({"loaded": 2}));
    let large = b"id\n".iter().chain(b"1\n".iter().cycle().take(2 << 20)).copied().collect::<Vec<u8>>();
    assert_eq!(problem(&send("identity", &large)), (413, "54000".into()));
    assert_eq!(problem(&send("gzip", &packed("gzip", &large))), (413, "54000".into()));
    let whole = packed("gzip", &large[..500_001]);
    assert_eq!(problem(&send("gzip", &whole[..whole.len() / 2])), (400, "22P04".into()));
    assert_eq!(problem(&send("br", b"id\n")).0, 415);
    assert_eq!(rows(&server, "SELECT count(*) AS n FROM t"), json!([{"n": 2}]));
}

/// The rights are COPY's, and transactions and idempotency keys those of all requests.
#[tokio::test]
async fn who_may_load_and_in_which_transaction() {
    let server = asking().start().unwrap();
    let owner = basic("postgres", PASSWORD);
    let made = "CREATE ROLE ann LOGIN PASSWORD 'ann'; CREATE TABLE t (id int PRIMARY KEY, n int);
                CREATE TABLE aside (id int); GRANT INSERT (id) ON t TO ann";
    assert_eq!(ask(&server, &owner, made).status, 200);
    let load = |headers: &[(&str, &str)], table: &str, body: &str| {
        let all = [headers, &[("Content-Type", "text/csv")]].concat();
        http::request(server.rest(), "POST", &format!("/v1/tables/{table}/load"), &all, body.as_bytes()).unwrap()
    };
    let count = || ask(&server, &owner, "SELECT count(*)::int AS n FROM t").json()["rows"][0]["n"].clone();
    let ann = basic("ann", "ann");
    assert_eq!(load(&[], "t", "id\n1\n").status, 401);
    assert_eq!(load(&[("Authorization", &ann)], "t", "id\n1\n").status, 201);
    assert_eq!(problem(&load(&[("Authorization", &ann)], "t", "id,n\n2,2\n")), (403, "42501".into()));
    assert_eq!(problem(&load(&[("Authorization", &ann)], "aside", "id\n2\n")), (403, "42501".into()));
    let key = ask(&server, &owner, "CALL perigee.create_api_key('postgres', scope => 'read')").json();
    let key = key["rows"][0]["api_key"].as_str().unwrap();
    assert_eq!(problem(&load(&[("X-API-Key", key)], "t", "id\n2\n")), (403, "25006".into()));
    // They are asked for before the data is looked at.
    assert_eq!(problem(&load(&[("Authorization", &ann)], "aside", "nothing\n2\n")), (403, "42501".into()));
    assert_eq!(problem(&load(&[("X-API-Key", key)], "t", "nothing\n2\n")), (403, "25006".into()));

    // No role takes all transactions.
    let begin = |who: &str| call(&server, "POST", "/v1/transactions", &[("Authorization", who)], &json!({}));
    let begun: Vec<Answer> = (0..64).map(|_| begin(&ann)).collect();
    assert!(begun.iter().all(|begun| begun.status == 201), "{begun:?}");
    assert_eq!(problem(&begin(&ann)).1, "53300");

    let begun = call(&server, "POST", "/v1/transactions", &[("Authorization", &owner)], &json!({})).json();
    let id = begun["id"].as_str().unwrap().to_owned();
    let within = [("Authorization", owner.as_str()), ("Perigee-Transaction", &id)];
    assert_eq!(load(&within, "t", "id\n2\n3\n").json(), json!({"loaded": 2}));
    assert_eq!(count(), 1);
    let commit = format!("/v1/transactions/{id}/commit");
    assert_eq!(call(&server, "POST", &commit, &[("Authorization", &owner)], &Value::Null).status, 200);
    assert_eq!(count(), 3);

    let once = [("Authorization", owner.as_str()), ("Idempotency-Key", "load-1")];
    for replayed in [None, Some("true")] {
        let answer = load(&once, "t", "id\n4\n");
        assert_eq!((answer.status, answer.json()), (201, json!({"loaded": 1})), "{}", answer.text());
        assert_eq!(answer.headers.get("idempotency-replayed").map(String::as_str), replayed);
    }
    assert_eq!(count(), 4);
}

/// pyarrow writes and reads Arrow and Parquet; a hundred thousand rows, in every type.
#[tokio::test]
async fn pyarrow_loads_and_reads_arrow_and_parquet() {
    let server = server();
    let output = script("server/rest/arrow.py").arg(server.rest().to_string()).output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
    // What was put down for the load of a file is gone with it.
    let put_down = server.data_dir().join("tmp/load");
    assert_eq!(std::fs::read_dir(put_down).unwrap().count(), 0);
}
