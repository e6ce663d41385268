//! Transactions over several requests.

use serde_json::{Value, json};

use super::{call, problem, server, sql};

fn begin(server: &perigee_testkit::Server, how: Value) -> String {
    let answer = call(server, "POST", "/v1/transactions", &[], &how);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.headers["location"], format!("/v1/transactions/{id}"));
    id
}

#[tokio::test]
async fn a_transaction_lives_over_requests() {
    let server = server();
    sql(&server, "CREATE TABLE t (a int PRIMARY KEY)");
    let within = |id: &str, statement: &str| {
        call(&server, "POST", "/v1/sql", &[("Perigee-Transaction", id)], &json!({"sql": statement}))
    };
    let count = || sql(&server, "SELECT count(*) AS n FROM t")["rows"][0]["n"].clone();
    let end = |id: &str, how: &str| call(&server, "POST", &format!("/v1/transactions/{id}/{how}"), &[], &Value::Null);

    let id = begin(&server, Value::Null);
    assert_eq!(within(&id, "INSERT INTO t VALUES (1)").status, 200);
    assert_eq!(within(&id, "SELECT count(*) AS n FROM t").json()["rows"][0]["n"], 1);
    assert_eq!(count(), 0);
    assert_eq!(end(&id, "commit").json()["command"], "COMMIT");
    assert_eq!(count(), 1);
    assert_eq!(problem(&end(&id, "commit")).0, 404);
    assert_eq!(problem(&within(&id, "SELECT 1")).0, 404);

    let id = begin(&server, json!({"isolation": "serializable"}));
    assert_eq!(within(&id, "INSERT INTO t VALUES (2)").status, 200);
    assert_eq!(end(&id, "rollback").json()["command"], "ROLLBACK");
    assert_eq!(count(), 1);

    // A statement that fails ends it; a commit of it says so.
    let id = begin(&server, json!({}));
    assert_eq!(within(&id, "INSERT INTO t VALUES (3)").status, 200);
    assert_eq!(problem(&within(&id, "INSERT INTO t VALUES (1)")), (409, "23505".into()));
    assert_eq!(problem(&within(&id, "SELECT 1")), (409, "25P02".into()));
    assert_eq!(problem(&end(&id, "commit")), (409, "25P02".into()));
    assert_eq!(count(), 1);

    // COMMIT as a statement ends it too.
    let id = begin(&server, json!({}));
    assert_eq!(within(&id, "INSERT INTO t VALUES (4)").status, 200);
    assert_eq!(within(&id, "COMMIT").status, 200);
    assert_eq!(problem(&within(&id, "SELECT 1")).0, 404);
    assert_eq!(count(), 2);

    let id = begin(&server, json!({"read_only": true}));
    assert_eq!(problem(&within(&id, "DELETE FROM t")), (403, "25006".into()));
    assert_eq!(call(&server, "DELETE", &format!("/v1/transactions/{id}"), &[], &Value::Null).status, 200);
    assert_eq!(problem(&call(&server, "POST", "/v1/transactions", &[], &json!({"time_ms": 0}))).0, 400);
    assert_eq!(problem(&call(&server, "POST", "/v1/transactions", &[], &json!({"isolation": "none"}))).0, 400);
    // Sessions go with their transactions: the one that asks is left, once the others have ended behind their answers.
    let open = "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'rest'";
    for _ in 0..6000 {
        if sql(&server, open)["rows"][0]["n"] == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("sessions of ended transactions are still there");
}

#[tokio::test]
async fn its_time_is_limited() {
    let server = server();
    sql(&server, "CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)");
    let id = begin(&server, json!({"time_ms": 5_000}));
    let within =
        |statement: &str| call(&server, "POST", "/v1/sql", &[("Perigee-Transaction", &id)], &json!({"sql": statement}));
    assert_eq!(within("DELETE FROM t").status, 200);
    // This waits for the row until the transaction's time is over.
    assert_eq!(sql(&server, "UPDATE t SET a = 2")["command"], "UPDATE 1");
    assert_eq!(problem(&within("SELECT 1")).0, 404);
    assert_eq!(sql(&server, "SELECT a FROM t")["rows"], json!([{"a": 2}]));
}

#[tokio::test]
async fn nobody_else_finds_it() {
    let server = perigee_tests::options()
        .with_rest()
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_SECURITY__SUPERUSER_PASSWORD", "correct horse")
        .env("PERIGEE_SECURITY__ADMIN_TOKEN", "an-admin-token-of-tests")
        .env("PERIGEE_SECURITY__READ_ONLY_TOKEN", "a-reader-token-of-tests")
        .start()
        .unwrap();
    let admin = ("Authorization", "Bearer an-admin-token-of-tests");
    let reader = ("Authorization", "Bearer a-reader-token-of-tests");
    let answer = call(&server, "POST", "/v1/transactions", &[admin], &json!({}));
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let transaction = ("Perigee-Transaction", id.as_str());
    let select = json!({"sql": "SELECT 1"});
    assert_eq!(problem(&call(&server, "POST", "/v1/sql", &[reader, transaction], &select)).0, 404);
    let commit = format!("/v1/transactions/{id}/commit");
    assert_eq!(problem(&call(&server, "POST", &commit, &[reader], &Value::Null)).0, 404);
    assert_eq!(call(&server, "POST", "/v1/sql", &[admin, transaction], &select).status, 200);
    assert_eq!(call(&server, "POST", &commit, &[admin], &Value::Null).status, 200);
}
