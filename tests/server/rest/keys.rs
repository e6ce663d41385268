//! Keys and series.

use std::time::Duration;

use perigee_testkit::http;
use perigee_testkit::resp::{Connection, Value as Reply};
use perigee_tests::options;
use serde_json::{Value, json};

use super::{call, problem, server, sql};

#[tokio::test]
async fn keys_are_those_of_the_redis_door() {
    let server = options().with_rest().with_redis().start().unwrap();
    let ask = |method: &str, path: &str, body: Value| call(&server, method, path, &[], &body);
    let set = |key: &str, body: Value| assert_eq!(ask("PUT", &format!("/v1/keys/{key}"), body).status, 204, "{key}");
    set("s", json!({"value": "text"}));
    set("n", json!({"value": 12, "ttl_ms": 100_000}));
    set("h", json!({"value": {"f": "v", "g": 1}}));
    set("l", json!({"value": ["b", "a", "b"]}));
    set("set", json!({"type": "set", "value": ["x", "y", "x"]}));
    set("z", json!({"type": "zset", "value": [{"member": "m", "score": 1.5}]}));
    set("a%2Fb", json!({"value": "slash"}));
    let mut redis = Connection::open(server.redis(), Duration::from_secs(60)).unwrap();
    let mut redis = |line: &str| shown(&redis.line(line));
    for (line, expected) in [
        ("GET s", "text"),
        ("INCR n", "13"),
        ("HGET h g", "1"),
        ("LRANGE l 0 -1", "[b a b]"),
        ("SCARD set", "2"),
        ("ZSCORE z m", "1.5"),
        ("GET a/b", "slash"),
    ] {
        assert_eq!(redis(line), expected, "{line}");
    }
    redis("SET other x");
    redis("LPUSH l c");
    let get = |key: &str| ask("GET", &format!("/v1/keys/{key}"), Value::Null).json();
    assert_eq!(get("other"), json!({"key": "other", "type": "string", "value": "x", "expire_at_ms": null}));
    assert_eq!(get("l")["value"], json!(["c", "b", "a", "b"]));
    assert_eq!(get("h")["value"], json!({"f": "v", "g": "1"}));
    assert_eq!(get("set")["value"], json!(["x", "y"]));
    assert_eq!(get("z")["value"], json!([{"member": "m", "score": 1.5}]));
    assert!(get("n")["expire_at_ms"].as_i64().unwrap() > 1_700_000_000_000);
    assert_eq!(problem(&ask("GET", "/v1/keys/none", Value::Null)).0, 404);
    // A key becomes something else, whole.
    set("l", json!({"value": "now text"}));
    assert_eq!((get("l")["type"].clone(), redis("GET l")), (json!("string"), "now text".to_owned()));

    let text = [("Content-Type", "text/plain")];
    assert_eq!(http::request(server.rest(), "PUT", "/v1/keys/plain", &text, "ä".as_bytes()).unwrap().status, 204);
    assert_eq!(get("plain")["value"], "ä");
    let scan = ask("GET", "/v1/keys?match=s*&limit=10", Value::Null).json();
    let names: Vec<_> = scan["rows"].as_array().unwrap().iter().map(|row| row["key"].clone()).collect();
    assert_eq!(names, ["s", "set"]);
    let after = ask("GET", "/v1/keys?after=s&type=set", Value::Null).json();
    assert_eq!(after["row_count"], 1, "{after}");
    assert_eq!(ask("DELETE", "/v1/keys/s", Value::Null).status, 204);
    assert_eq!(redis("EXISTS s"), "0");
    assert_eq!(problem(&ask("DELETE", "/v1/keys/s", Value::Null)).0, 404);
    assert_eq!(problem(&ask("PUT", "/v1/keys/s", json!({"value": []}))).0, 400);
    assert_eq!(problem(&ask("PUT", "/v1/keys/s", json!({"nope": 1}))).0, 400);
    // Another numbered database.
    assert_eq!(ask("PUT", "/v1/keys/s?db=3", json!({"value": "third"})).status, 204);
    assert_eq!(problem(&ask("GET", "/v1/keys/s", Value::Null)).0, 404);
    assert_eq!(ask("GET", "/v1/keys/s?db=3", Value::Null).json()["value"], "third");
}

#[tokio::test]
async fn a_key_is_written_over_what_the_client_knows() {
    let server = server();
    let with =
        |method: &str, headers: &[(&str, &str)], body: Value| call(&server, method, "/v1/keys/k", headers, &body);
    let put = |headers: &[(&str, &str)], text: &str| with("PUT", headers, json!({"value": text}));
    assert_eq!(problem(&put(&[("If-Match", "*")], "none")).0, 412);
    assert_eq!(put(&[("If-None-Match", "*")], "first").status, 204);
    assert_eq!(problem(&put(&[("If-None-Match", "*")], "other")).0, 412);
    let tag = with("GET", &[], Value::Null).headers["etag"].clone();
    let put_once = put(&[("If-Match", &tag), ("Idempotency-Key", "once")], "second");
    assert_eq!(put_once.status, 204, "{}", put_once.text());
    assert_eq!(problem(&put(&[("If-Match", &tag)], "lost")).0, 412);
    assert_eq!(problem(&with("DELETE", &[("If-Match", &tag)], Value::Null)).0, 412);
    assert_eq!(with("GET", &[], Value::Null).json()["value"], "second");

    // What such a transaction reads may have changed before it writes, and nobody would notice.
    let begin =
        |body: Value| call(&server, "POST", "/v1/transactions", &[], &body).json()["id"].as_str().unwrap().to_owned();
    let tag = with("GET", &[], Value::Null).headers["etag"].clone();
    let within = begin(Value::Null);
    let refused = put(&[("If-Match", &tag), ("Perigee-Transaction", &within)], "third");
    assert_eq!(problem(&refused), (409, "55000".into()));
    let within = begin(json!({"isolation": "repeatable read"}));
    assert_eq!(put(&[("If-Match", &tag), ("Perigee-Transaction", &within)], "third").status, 204);
    assert_eq!(put(&[], "between").status, 204);
    let commit = call(&server, "POST", &format!("/v1/transactions/{within}/commit"), &[], &Value::Null);
    assert_eq!(problem(&commit), (409, "40001".into()));
    assert_eq!(with("GET", &[], Value::Null).json()["value"], "between");
    let tag = with("GET", &[], Value::Null).headers["etag"].clone();
    assert_eq!(with("DELETE", &[("If-Match", &tag)], Value::Null).status, 204);
}

#[test]
fn who_sets_and_reads_a_key_at_once_is_not_told_to_try_again() {
    let server = server();
    let rest = server.rest();
    let ask = move |method: &str, body: &str| {
        http::request(rest, method, "/v1/keys/k", &[("Content-Type", "application/json")], body.as_bytes()).unwrap()
    };
    assert_eq!(ask("PUT", "{\"value\": \"first\"}").status, 204);
    std::thread::scope(|scope| {
        for writer in 0..3 {
            scope.spawn(move || {
                for n in 0..30 {
                    let set = ask("PUT", &json!({"value": {"writer": writer, "n": n}}).to_string());
                    assert_eq!(set.status, 204, "{}", set.text());
                }
            });
            scope.spawn(move || {
                for _ in 0..30 {
                    let found = ask("GET", "");
                    assert_eq!(found.status, 200, "{}", found.text());
                }
            });
        }
    });
}

#[tokio::test]
async fn keys_and_rows_are_of_one_transaction() {
    let server = server();
    sql(&server, "CREATE TABLE t (a int PRIMARY KEY)");
    let id = call(&server, "POST", "/v1/transactions", &[], &Value::Null).json()["id"].as_str().unwrap().to_owned();
    let within = ("Perigee-Transaction", id.as_str());
    assert_eq!(call(&server, "POST", "/v1/tables/t/rows", &[within], &json!({"a": 1})).status, 201);
    assert_eq!(call(&server, "PUT", "/v1/keys/k", &[within], &json!({"value": "v"})).status, 204);
    assert_eq!(call(&server, "GET", "/v1/keys/k", &[within], &Value::Null).json()["value"], "v");
    assert_eq!(call(&server, "GET", "/v1/keys/k", &[], &Value::Null).status, 404);
    assert_eq!(call(&server, "POST", &format!("/v1/transactions/{id}/commit"), &[], &Value::Null).status, 200);
    assert_eq!(call(&server, "GET", "/v1/keys/k", &[], &Value::Null).status, 200);
    assert_eq!(call(&server, "GET", "/v1/tables/t/rows/1", &[], &Value::Null).status, 200);
}

#[tokio::test]
async fn samples_are_added_and_read() {
    let server = server();
    let samples: Vec<Value> = (0..120).map(|i| json!({"ts": 1_767_322_800_000i64 + i * 1_000, "value": i})).collect();
    let add = |body: Value| call(&server, "POST", "/v1/series/room:1", &[], &body);
    let added = add(json!({"samples": samples}));
    assert_eq!((added.status, added.json()), (201, json!({"added": 120})), "{}", added.text());
    // Again, as after an answer that was lost.
    assert_eq!(add(json!({"samples": [{"ts": 1_767_322_800_000i64, "value": 0.5}]})).status, 201);
    let range = |query: &str| call(&server, "GET", &format!("/v1/series/room:1?{query}"), &[], &Value::Null);
    let rows = range("from=1767322800000&to=1767322801000").json()["rows"].clone();
    assert_eq!(
        rows,
        json!([{"ts": "2026-01-02T03:00:00+00:00", "value": 0.5}, {"ts": "2026-01-02T03:00:01+00:00", "value": 1}])
    );
    let rows = range("aggregate=count&bucket_ms=60000").json()["rows"].clone();
    assert_eq!(rows.as_array().unwrap().len(), 2, "{rows}");
    assert_eq!(rows[1]["value"], 60, "{rows}");
    assert_eq!(range("from=2026-01-02T03:01:59Z").json()["row_count"], 1);
    assert_eq!(problem(&range("aggregate=avg")).0, 400);
    assert_eq!(problem(&range("aggregate=evil&bucket_ms=1")).0, 400);
    assert_eq!(problem(&add(json!({"samples": [{"ts": true, "value": 0}]}))), (400, "22007".into()));
    assert_eq!(problem(&add(json!({"samples": []}))).0, 400);
}

/// A reply as text.
fn shown(reply: &Reply) -> String {
    match (reply, reply.bytes(), reply.items()) {
        (Reply::Integer(number), ..) => number.to_string(),
        (_, Some(bytes), _) => String::from_utf8_lossy(&bytes).into_owned(),
        (_, _, Some(items)) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
        _ => format!("{reply:?}"),
    }
}
