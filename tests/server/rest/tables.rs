//! Tables and their rows.

use perigee_testkit::http;
use serde_json::{Value, json};

use super::{call, problem, server, sql};

#[tokio::test]
async fn tables_are_made_described_and_dropped() {
    let server = server();
    let definition = json!({
        "name": "orders",
        "columns": [
            {"name": "id", "type": "bigint"},
            {"name": "total", "type": "numeric(12, 2)", "nullable": false},
            {"name": "odd \"name\"", "type": "text[]"},
        ],
        "primary_key": ["id"],
    });
    let made = call(&server, "POST", "/v1/tables", &[], &definition);
    assert_eq!((made.status, made.headers["location"].as_str()), (201, "/v1/tables/public.orders"), "{}", made.text());
    assert_eq!(problem(&call(&server, "POST", "/v1/tables", &[], &definition)), (409, "42P07".into()));
    let described = call(&server, "GET", "/v1/tables/orders", &[], &Value::Null).json();
    assert_eq!(described["primary_key"], json!(["id"]));
    assert_eq!(
        described["columns"][1],
        json!({"name": "total", "type": "numeric", "nullable": false, "default": null})
    );
    assert_eq!(described["columns"][2]["name"], "odd \"name\"");
    let listed = call(&server, "GET", "/v1/tables", &[], &Value::Null).json();
    let row = json!({"schema": "public", "name": "orders", "kind": "table"});
    assert!(listed["rows"].as_array().unwrap().contains(&row), "{listed}");
    for columns in
        [json!([{"name": "a", "type": "int, b int"}]), json!([{"name": "a", "type": "int); DROP TABLE orders; --"}])]
    {
        let bad = json!({"name": "bad", "columns": columns});
        assert_eq!(problem(&call(&server, "POST", "/v1/tables", &[], &bad)), (400, "42704".into()));
    }
    assert_eq!(call(&server, "DELETE", "/v1/tables/orders", &[], &Value::Null).status, 204);
    assert_eq!(problem(&call(&server, "GET", "/v1/tables/orders", &[], &Value::Null)), (404, "42P01".into()));
    assert_eq!(problem(&call(&server, "DELETE", "/v1/tables/orders", &[], &Value::Null)), (404, "42P01".into()));
}

#[tokio::test]
async fn rows_are_written_and_found() {
    let server = server();
    sql(&server, "CREATE TABLE t (a int, b text, n numeric DEFAULT 0, j jsonb, PRIMARY KEY (a, b))");
    let ask = |method: &str, path: &str, body: Value| call(&server, method, path, &[], &body);
    let one = ask("POST", "/v1/tables/t/rows?returning=true", json!({"a": 1, "b": "x,y", "j": {"k": "v"}}));
    assert_eq!(one.status, 201, "{}", one.text());
    assert_eq!(one.json(), json!({"inserted": 1, "rows": [{"a": 1, "b": "x,y", "n": 0, "j": {"k": "v"}}]}));
    let many = json!([{"a": 2, "b": "m", "n": 1.5}, {"a": 3, "b": "m"}, {"b": "m", "a": 4}]);
    assert_eq!(ask("POST", "/v1/tables/t/rows", many).json(), json!({"inserted": 3}));
    let lines: String = (10..1_010).map(|a| format!("{{\"a\": {a}, \"b\": \"l\", \"n\": 0.{a}}}\n")).collect();
    let ndjson = [("Content-Type", "application/x-ndjson")];
    let loaded = http::request(server.rest(), "POST", "/v1/tables/t/rows", &ndjson, lines.as_bytes()).unwrap();
    assert_eq!(loaded.json(), json!({"inserted": 1_000}), "{}", loaded.text());

    // All or nothing, and what is there may be left or replaced.
    let again = json!([{"a": 5, "b": "m"}, {"a": 2, "b": "m", "n": 7}]);
    assert_eq!(problem(&ask("POST", "/v1/tables/t/rows", again.clone())), (409, "23505".into()));
    assert_eq!(ask("POST", "/v1/tables/t/rows?on_conflict=ignore", again.clone()).json(), json!({"inserted": 1}));
    assert_eq!(ask("POST", "/v1/tables/t/rows?on_conflict=replace", again).json(), json!({"inserted": 1}));

    let row = ask("GET", "/v1/tables/t/rows/2,m", Value::Null);
    assert_eq!((row.status, row.text().as_str()), (200, "{\"a\":2,\"b\":\"m\",\"n\":7,\"j\":null}"));
    let tag = row.headers["etag"].clone();
    let same = call(&server, "GET", "/v1/tables/t/rows/2,m", &[("If-None-Match", &tag)], &Value::Null);
    assert_eq!((same.status, same.body.len()), (304, 0));
    assert_eq!(ask("GET", "/v1/tables/t/rows/1,x%2Cy", Value::Null).json()["j"], json!({"k": "v"}));
    assert_eq!(problem(&ask("GET", "/v1/tables/t/rows/9,m", Value::Null)).0, 404);
    assert_eq!(problem(&ask("GET", "/v1/tables/t/rows/x,m", Value::Null)), (400, "22P02".into()));
    assert_eq!(problem(&ask("GET", "/v1/tables/t/rows/2", Value::Null)), (400, "22023".into()));

    let updated = ask("PATCH", "/v1/tables/t/rows/2,m", json!({"n": 12345678901234567.25, "j": [1]}));
    assert_eq!(updated.status, 200, "{}", updated.text());
    let changed = call(&server, "GET", "/v1/tables/t/rows/2,m", &[("If-None-Match", &tag)], &Value::Null);
    assert_eq!(changed.json()["j"], json!([1]));
    assert_eq!(problem(&ask("PATCH", "/v1/tables/t/rows/9,m", json!({"n": 1}))).0, 404);
    assert_eq!(ask("DELETE", "/v1/tables/t/rows/2,m", Value::Null).status, 204);
    assert_eq!(problem(&ask("DELETE", "/v1/tables/t/rows/2,m", Value::Null)).0, 404);
}

#[tokio::test]
async fn filters_find_rows() {
    let server = server();
    sql(&server, "CREATE TABLE t (a int PRIMARY KEY, b text, n numeric);
                  INSERT INTO t SELECT i, CASE WHEN i % 10 = 0 THEN NULL ELSE 'b' || i % 3 END, i * 0.1 FROM generate_series(1, 100) AS g (i)");
    let ask = |body: Value| call(&server, "POST", "/v1/tables/t/query", &[], &body);
    let found = |body: Value| -> Vec<i64> {
        let answer = ask(body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["rows"].as_array().unwrap().iter().map(|row| row["a"].as_i64().unwrap()).collect()
    };
    let compare = |op: &str, field: &str, value: Value| json!({"op": op, "field": field, "value": value});
    assert_eq!(found(json!({"filter": compare("eq", "a", json!(7))})), [7]);
    assert_eq!(found(json!({"filter": compare("lte", "n", json!("0.2")), "order": ["-a"]})), [2, 1]);
    assert_eq!(
        found(json!({"filter": compare("eq", "b", Value::Null), "order": ["a"], "limit": 2, "offset": 1})),
        [20, 30]
    );
    let both = json!({"op": "and", "filters": [compare("gt", "a", json!(90)), compare("ne", "b", json!("b0")),
        {"op": "or", "filters": [compare("lt", "a", json!(93)), compare("gte", "a", json!(98))]}]});
    assert_eq!(found(json!({"filter": both, "order": ["a"], "columns": ["a"]})), [91, 92, 98]);
    let path = "/v1/tables/t/rows?filter=%7B%22op%22%3A%22eq%22%2C%22field%22%3A%22b%22%2C%22value%22%3A%22b1%22%7D&order=-a&columns=a,n&limit=1";
    assert_eq!(call(&server, "GET", path, &[], &Value::Null).json()["rows"], json!([{"a": 97, "n": 9.7}]));
    assert_eq!(problem(&ask(json!({"filter": compare("eq", "a", json!("x"))}))), (400, "22P02".into()));
    assert_eq!(problem(&ask(json!({"filter": compare("eq", "c", json!(1))}))), (400, "42703".into()));
    assert_eq!(problem(&ask(json!({"filter": {"op": "like"}}))).0, 400);
    assert_eq!(problem(&call(&server, "GET", "/v1/tables/t/rows?limit=-1", &[], &Value::Null)).0, 400);
    assert_eq!(problem(&call(&server, "GET", "/v1/tables/t/rows?nope=1", &[], &Value::Null)).0, 400);

    let change = json!({"filter": compare("gt", "a", json!(50)), "updates": {"b": "late"}});
    assert_eq!(call(&server, "PATCH", "/v1/tables/t/rows", &[], &change).json(), json!({"updated": 50}));
    let late = json!({"filter": compare("eq", "b", json!("late"))});
    assert_eq!(call(&server, "DELETE", "/v1/tables/t/rows", &[], &late).json(), json!({"deleted": 50}));
    // Nothing is deleted by a request that names no rows.
    assert_eq!(problem(&call(&server, "DELETE", "/v1/tables/t/rows", &[], &json!({}))).0, 400);
    assert_eq!(problem(&call(&server, "DELETE", "/v1/tables/t/rows", &[], &Value::Null)).0, 400);
    assert_eq!(sql(&server, "SELECT count(*) AS n FROM t")["rows"][0]["n"], 50);
}

#[tokio::test]
async fn a_location_leads_to_the_table_whatever_its_name() {
    let server = server();
    for name in ["Ünïcode", "line\nbreak\u{15}", "50% of it/all?#", "two words", "Capital"] {
        let definition = json!({"name": name, "columns": [{"name": "id", "type": "int"}]});
        let made = call(&server, "POST", "/v1/tables", &[], &definition);
        assert_eq!(made.status, 201, "{name:?}: {}", made.text());
        let described = call(&server, "GET", &made.headers["location"], &[], &Value::Null);
        assert_eq!((described.status, described.json()["name"].as_str()), (200, Some(name)), "{}", described.text());
    }
}

#[tokio::test]
async fn who_changes_a_row_as_it_was_is_told_that_it_has_changed() {
    let server = server();
    sql(&server, "CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t VALUES (1, 'first')");
    let path = "/v1/tables/t/rows/1";
    let with = |method: &str, headers: &[(&str, &str)], body: Value| call(&server, method, path, headers, &body);
    let first = with("GET", &[], Value::Null).headers["etag"].clone();
    let second = with("PATCH", &[("If-Match", &first)], json!({"b": "second"}));
    assert_eq!(second.status, 200, "{}", second.text());
    let second = second.headers["etag"].clone();
    assert_eq!(with("GET", &[], Value::Null).headers["etag"], second);
    for method in ["PATCH", "DELETE"] {
        let body = if method == "PATCH" { json!({"b": "lost"}) } else { Value::Null };
        for (name, tag) in [("If-Match", first.as_str()), ("If-Match", "\"x\""), ("If-None-Match", "*")] {
            assert_eq!(problem(&with(method, &[(name, tag)], body.clone())).0, 412, "{method} {name}: {tag}");
        }
        let once = [("If-Match", first.as_str()), ("Idempotency-Key", "once")];
        assert_eq!(problem(&with(method, &once, body)).0, 412, "{method}");
    }
    assert_eq!(with("GET", &[], Value::Null).json(), json!({"a": 1, "b": "second"}));
    assert_eq!(with("DELETE", &[("If-Match", &second)], Value::Null).status, 204);
    assert_eq!(problem(&with("DELETE", &[("If-Match", &second)], Value::Null)).0, 404);
}
