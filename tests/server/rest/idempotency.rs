//! Requests that come again with their key.

use perigee_testkit::Server;
use perigee_testkit::http::Answer;
use serde_json::{Value, json};

use super::{PASSWORD, ask, asking, basic, call, metric, problem, server, sql};

fn send(server: &Server, method: &str, path: &str, key: &str, body: &Value) -> Answer {
    call(server, method, path, &[("Idempotency-Key", key)], body)
}

fn is_replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotency-replayed").is_some_and(|value| value == "true")
}

#[tokio::test]
async fn a_request_is_done_once_for_its_key() {
    let mut server = server();
    sql(
        &server,
        "CREATE TABLE t (id int PRIMARY KEY, n int); CREATE TABLE counted (n int); INSERT INTO counted VALUES (0)",
    );
    let count = |server: &Server| sql(server, "SELECT n FROM counted")["rows"][0]["n"].clone();
    let add = json!({"sql": "UPDATE counted SET n = n + 1 RETURNING n"});
    let first = send(&server, "POST", "/v1/sql", "a", &add);
    assert_eq!((first.status, is_replayed(&first)), (200, false), "{}", first.text());
    assert_eq!(first.json()["rows"], json!([{"n": 1}]));
    for _ in 0..3 {
        let again = send(&server, "POST", "/v1/sql", "a", &add);
        assert_eq!((again.status, &again.body, is_replayed(&again)), (200, &first.body, true));
        for name in ["content-type", "perigee-command"] {
            assert_eq!(again.headers.get(name), first.headers.get(name), "{name}");
        }
    }
    assert_eq!(count(&server), 1);
    assert_eq!(send(&server, "POST", "/v1/sql", "b", &add).json()["rows"], json!([{"n": 2}]));
    // Another request under the key.
    let other = json!({"sql": "UPDATE counted SET n = n + 2 RETURNING n"});
    assert_eq!(problem(&send(&server, "POST", "/v1/sql", "a", &other)).0, 422);
    assert_eq!(problem(&send(&server, "POST", "/v1/sql?max_rows=1", "a", &add)).0, 422);
    assert_eq!(count(&server), 2);

    // Everything that writes.
    let row = json!({"id": 1, "n": 1});
    let twice = |method: &str, path: &str, key: &str, body: &Value, status: u16| {
        let answers = [send(&server, method, path, key, body), send(&server, method, path, key, body)];
        for answer in &answers {
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        }
        assert_eq!(answers[0].body, answers[1].body, "{method} {path}");
        assert!(!is_replayed(&answers[0]) && is_replayed(&answers[1]), "{method} {path}");
    };
    twice("POST", "/v1/tables/t/rows", "insert", &row, 201);
    twice("PATCH", "/v1/tables/t/rows/1", "update", &json!({"n": 7}), 200);
    twice("DELETE", "/v1/tables/t/rows/1", "delete", &Value::Null, 204);
    twice("PUT", "/v1/keys/k", "put", &json!({"value": "v"}), 204);
    twice("DELETE", "/v1/keys/k", "delete key", &Value::Null, 204);
    twice("POST", "/v1/series/s", "add", &json!({"samples": [{"ts": 1_767_322_800_000_i64, "value": 1.5}]}), 201);
    twice("POST", "/v1/tables", "create", &json!({"name": "u", "columns": [{"name": "a", "type": "int"}]}), 201);

    // What fails has written nothing, and may be tried again.
    let insert = json!({"id": 2, "n": 1});
    sql(&server, "INSERT INTO t VALUES (2, 0)");
    assert_eq!(problem(&send(&server, "POST", "/v1/tables/t/rows", "late", &insert)), (409, "23505".into()));
    sql(&server, "DELETE FROM t WHERE id = 2");
    assert_eq!(send(&server, "POST", "/v1/tables/t/rows", "late", &insert).status, 201);

    // A request that ends its transaction by itself is not done again either.
    let ends = json!({"sql": "UPDATE counted SET n = n + 10; COMMIT"});
    assert_eq!(send(&server, "POST", "/v1/sql", "ends", &ends).status, 200);
    assert_eq!(problem(&send(&server, "POST", "/v1/sql", "ends", &ends)).0, 409);
    assert_eq!(count(&server), 12);
    // By ROLLBACK either: it has written nothing, and that is what was asked for.
    let undone = json!({"sql": "UPDATE counted SET n = n + 100; ROLLBACK"});
    assert_eq!(send(&server, "POST", "/v1/sql", "undone", &undone).status, 200);
    assert_eq!(problem(&send(&server, "POST", "/v1/sql", "undone", &undone)).0, 409);
    assert_eq!(problem(&send(&server, "POST", "/v1/sql", "undone", &add)).0, 422);
    assert_eq!(count(&server), 12);
    // Nor is one whose answer is too large to be kept.
    let large = json!({"sql": "UPDATE counted SET n = n + 1 RETURNING repeat('x', 100000) AS x"});
    assert_eq!(
        send(&server, "POST", "/v1/sql", "large", &large).json()["rows"][0]["x"].as_str().unwrap().len(),
        100_000
    );
    assert_eq!(problem(&send(&server, "POST", "/v1/sql", "large", &large)).0, 409);
    assert_eq!(count(&server), 13);

    for wrong in ["", &"k".repeat(513)] {
        assert_eq!(send(&server, "POST", "/v1/sql", wrong, &add).status, 400, "{wrong}");
    }
    assert_eq!(send(&server, "POST", "/v1/transactions", "t", &json!({})).status, 400);
    assert!(metric(&server, "perigee_rest_replays_total") >= 10);

    // Across a crash, with the other doors' keys.
    server.kill();
    server.restart().unwrap();
    let again = send(&server, "POST", "/v1/sql", "a", &add);
    assert!(again.status == 200 && again.body == first.body && is_replayed(&again), "{}", again.text());
    assert_eq!(sql(&server, "SELECT n FROM counted")["rows"][0]["n"], 13);
    let shown =
        sql(&server, "SELECT door, expires_at > now() AS ends FROM perigee.idempotency_keys WHERE key = '10:a'");
    assert_eq!(shown["rows"], json!([{"door": "rest", "ends": true}]));
}

#[tokio::test]
async fn of_many_at_once_one_is_done() {
    let server = server();
    sql(&server, "CREATE TABLE t (n int); CREATE TABLE log (id int)");
    let insert = json!({"sql": "INSERT INTO t SELECT count(*) FROM t RETURNING n"});
    for round in 0..5 {
        let key = format!("round {round}");
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| send(&server, "POST", "/v1/sql", &key, &insert))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for answer in &answers {
            assert_eq!((answer.status, &answer.body), (200, &answers[0].body), "{}", answer.text());
        }
        assert_eq!(answers.iter().filter(|answer| !is_replayed(answer)).count(), 1);
    }
    assert_eq!(sql(&server, "SELECT count(*) AS n FROM t")["rows"], json!([{"n": 5}]));
}

#[tokio::test]
async fn a_key_is_that_of_who_has_said_it() {
    let server = asking().start().unwrap();
    let owner = basic("postgres", PASSWORD);
    let made = "CREATE ROLE ann LOGIN PASSWORD 'ann'; CREATE TABLE t (a int); GRANT SELECT, INSERT ON t TO ann";
    assert_eq!(ask(&server, &owner, made).status, 200);
    let send = |authorization: &str, statement: &str| {
        let headers = [("Authorization", authorization), ("Idempotency-Key", "k")];
        call(&server, "POST", "/v1/sql", &headers, &json!({"sql": statement}))
    };
    assert_eq!(send(&basic("nobody", ""), "SELECT 1").status, 401);
    // Who may not write keys may say one.
    assert_eq!(send(&basic("ann", "ann"), "INSERT INTO t VALUES (1)").status, 200);
    assert!(is_replayed(&send(&basic("ann", "ann"), "INSERT INTO t VALUES (1)")));
    let of_owner = send(&owner, "INSERT INTO t VALUES (1)");
    assert!(of_owner.status == 200 && !is_replayed(&of_owner), "{}", of_owner.text());
    assert_eq!(problem(&send(&owner, "INSERT INTO t VALUES (2)")).0, 422);
    assert_eq!(problem(&ask(&server, &basic("ann", "ann"), "SELECT * FROM redis.keys")).0, 403);
    assert_eq!(ask(&server, &owner, "SELECT count(*) AS n FROM t").json()["rows"], json!([{"n": 2}]));
    // Another role that takes the name is another one.
    let again = "DROP OWNED BY ann; DROP ROLE ann; CREATE ROLE ann LOGIN PASSWORD 'new'; GRANT INSERT ON t TO ann";
    assert_eq!(ask(&server, &owner, again).status, 200);
    let of_other = send(&basic("ann", "new"), "INSERT INTO t VALUES (1)");
    assert!(of_other.status == 200 && !is_replayed(&of_other), "{}", of_other.text());
    assert_eq!(ask(&server, &owner, "SELECT count(*) AS n FROM t").json()["rows"], json!([{"n": 3}]));
}
