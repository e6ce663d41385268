//! API keys: made, used, listed, revoked.

use std::process::Command;

use perigee_testkit::{Server, binary};
use serde_json::{Value, json};

use super::{PASSWORD, ask, asking, basic, call, problem};

/// The id and the key that a call has made.
fn create(server: &Server, authorization: &str, arguments: &str) -> (String, String) {
    let answer = ask(server, authorization, &format!("CALL perigee.create_api_key({arguments})"));
    assert_eq!(answer.status, 200, "{arguments}: {}", answer.text());
    let row = &answer.json()["rows"][0];
    let text = |name: &str| row[name].as_str().unwrap().to_owned();
    (text("id"), text("api_key"))
}

fn listed(server: &Server, authorization: &str) -> Value {
    let statement = "SELECT name, rolname, scope, expires_at IS NULL AS endless FROM perigee.api_keys ORDER BY name";
    ask(server, authorization, statement).json()["rows"].clone()
}

/// Whatever the role may do: neither by functions, nor by commands that are no statements of rows.
#[tokio::test]
async fn a_key_that_reads_writes_by_no_way() {
    let server = asking().start().unwrap();
    let owner = basic("postgres", PASSWORD);
    assert_eq!(ask(&server, &owner, "CREATE SEQUENCE s; CREATE TABLE t (a int)").status, 200);
    let (_, reader) = create(&server, &owner, "'postgres', 'a monitor', scope => 'read'");
    let elsewhere = server.data_dir().join("stolen");
    let backup = format!("CALL perigee.backup('file://{}')", elsewhere.display());
    for statement in [
        "SELECT nextval('s')",
        "SELECT setval('s', 100)",
        "SELECT pg_notify('c', 'x')",
        "NOTIFY c",
        "VACUUM",
        "CHECKPOINT",
        "BEGIN; LOCK TABLE t",
        "CALL perigee.migrate('t', 'cold')",
        "CALL perigee.compact('t')",
        "CALL perigee.collect_cold_files()",
        backup.as_str(),
    ] {
        let answer = ask(&server, &format!("Bearer {reader}"), statement);
        assert_eq!(problem(&answer).0, 403, "{statement}: {}", answer.text());
    }
    assert!(!elsewhere.exists());
    assert_eq!(ask(&server, &owner, "SELECT nextval('s') AS n").json()["rows"][0]["n"], 1);
}

/// A key is shown once: a retry is told that the answer was not kept.
#[tokio::test]
async fn no_kept_answer_holds_a_key() {
    let server = asking().start().unwrap();
    let owner = basic("postgres", PASSWORD);
    let made = || {
        let headers = [("Authorization", owner.as_str()), ("Idempotency-Key", "k-1")];
        call(&server, "POST", "/v1/sql", &headers, &json!({"sql": "CALL perigee.create_api_key('postgres')"}))
    };
    let first = made();
    assert_eq!(first.status, 200, "{}", first.text());
    let again = made();
    assert_eq!(problem(&again).0, 409, "{}", again.text());
    assert!(!again.text().contains("pgk_"));
    assert_eq!(ask(&server, &owner, "SELECT count(*) AS n FROM perigee.api_keys").json()["rows"][0]["n"], 1);
}

#[tokio::test]
async fn keys_prove_roles_until_they_are_revoked() {
    let mut server = asking().start().unwrap();
    let owner = basic("postgres", PASSWORD);
    let made = "CREATE ROLE ann LOGIN PASSWORD 'ann'; CREATE ROLE bob LOGIN PASSWORD 'bob'; CREATE ROLE shut;
                CREATE TABLE t (a int); GRANT SELECT, INSERT ON t TO ann";
    assert_eq!(ask(&server, &owner, made).status, 200);
    let ann = basic("ann", "ann");
    let (id, key) = create(&server, &ann, "'ann', name => 'all of it'");
    let (_, reader) = create(&server, &owner, "'ann', 'a reader', expires => '2999-01-01', scope => 'read'");
    let (_, shut) = create(&server, &owner, "'shut'");
    assert!(key.starts_with(&format!("pgk_{id}_")) && key.len() == 4 + 16 + 1 + 64, "{key}");

    let bearer = |key: &str| format!("Bearer {key}");
    let by_header = |key: &str, statement: &str| {
        call(&server, "POST", "/v1/sql", &[("X-API-Key", key)], &json!({"sql": statement})).status
    };
    assert_eq!(ask(&server, &bearer(&key), "SELECT current_user AS u").json()["rows"][0]["u"], "ann");
    assert_eq!(ask(&server, &bearer(&key), "INSERT INTO t VALUES (1)").status, 200);
    assert_eq!(by_header(&key, "INSERT INTO t VALUES (2)"), 200);
    // One that only reads.
    assert_eq!(by_header(&reader, "SELECT * FROM t"), 200);
    for statement in [
        "INSERT INTO t VALUES (3)",
        "SET default_transaction_read_only = off; INSERT INTO t VALUES (3)",
        "CALL perigee.create_api_key('ann')",
        "ALTER ROLE ann PASSWORD 'x'",
    ] {
        assert_eq!(problem(&ask(&server, &bearer(&reader), statement)).0, 403, "{statement}");
    }
    // Nor does it write in a transaction that its role has begun.
    let begun = call(&server, "POST", "/v1/transactions", &[("Authorization", &bearer(&key))], &json!({}));
    let id_of = begun.json()["id"].as_str().unwrap().to_owned();
    let within = |key: &str| {
        let headers = [("X-API-Key", key), ("Perigee-Transaction", id_of.as_str())];
        call(&server, "POST", "/v1/sql", &headers, &json!({"sql": "INSERT INTO t VALUES (4)"})).status
    };
    assert_eq!((within(&reader), within(&key)), (404, 200));

    // Wrong ones, and roles that may not log in.
    let other = format!("{}{}", &key[..key.len() - 1], if key.ends_with('0') { "1" } else { "0" });
    for wrong in [other.as_str(), &key[..key.len() - 1], "pgk_", &shut, &id, ""] {
        assert_eq!(by_header(wrong, "SELECT 1"), 401, "{wrong}");
    }
    for wrong in [other.as_str(), &key.to_uppercase(), &shut] {
        assert_eq!(ask(&server, &bearer(wrong), "SELECT 1").status, 401, "{wrong}");
    }
    let both = [("X-API-Key", key.as_str()), ("Authorization", ann.as_str())];
    assert_eq!(call(&server, "POST", "/v1/sql", &both, &json!({"sql": "SELECT 1"})).status, 401);

    // Who may make and see them.
    let bob = basic("bob", "bob");
    assert_eq!(problem(&ask(&server, &bob, "CALL perigee.create_api_key('ann')")), (403, "42501".into()));
    assert_eq!(problem(&ask(&server, &bob, &format!("CALL perigee.revoke_api_key('{id}')"))), (403, "42501".into()));
    assert_eq!(listed(&server, &bob), json!([]));
    assert_eq!(
        listed(&server, &owner),
        json!([
            {"name": "", "rolname": "shut", "scope": "all", "endless": true},
            {"name": "a reader", "rolname": "ann", "scope": "read", "endless": false},
            {"name": "all of it", "rolname": "ann", "scope": "all", "endless": true},
        ])
    );
    let everything = ask(&server, &owner, "SELECT * FROM perigee.api_keys").text();
    assert!(!everything.contains(&key[21..]), "{everything}");
    for (call, state) in [
        ("perigee.create_api_key('nobody')", "42704"),
        ("perigee.create_api_key('pg_monitor')", "42939"),
        ("perigee.create_api_key('ann', expires => '2001-01-01')", "22023"),
        ("perigee.create_api_key('ann', expires => 'soon')", "22007"),
        ("perigee.create_api_key('ann', scope => 'write')", "22023"),
        ("perigee.create_api_key('ann', role => 'bob')", "42883"),
        ("perigee.create_api_key(name => 'x', 'ann')", "42883"),
        ("perigee.create_api_key()", "42883"),
        ("perigee.revoke_api_key('0000000000000000')", "42704"),
    ] {
        assert_eq!(problem(&ask(&server, &owner, &format!("CALL {call}"))).1, state, "{call}");
    }

    // They are as durable as roles.
    server.kill();
    server.restart().unwrap();
    let by_header =
        |key: &str| call(&server, "POST", "/v1/sql", &[("X-API-Key", key)], &json!({"sql": "SELECT 1"})).status;
    assert_eq!(by_header(&key), 200);
    // A transaction that is rolled back revokes nothing.
    let undone = format!("BEGIN; CALL perigee.revoke_api_key('{id}'); ROLLBACK");
    assert_eq!(ask(&server, &owner, &undone).status, 200);
    assert_eq!(by_header(&key), 200);
    assert_eq!(ask(&server, &ann, &format!("CALL perigee.revoke_api_key('{id}')")).status, 200);
    assert_eq!((by_header(&key), by_header(&reader)), (401, 200));
    assert_eq!(ask(&server, &owner, "ALTER ROLE ann NOLOGIN").status, 200);
    assert_eq!(by_header(&reader), 401);
    assert_eq!(ask(&server, &owner, "DROP TABLE t; DROP ROLE ann").status, 200);
    assert_eq!(by_header(&reader), 401);
    let log = server.log();
    for secret in [&key[21..], &reader[21..], "'ann'", "'bob'"] {
        assert!(!log.contains(secret), "{log}");
    }
    for line in
        ["API key \"all of it\" made for \"ann\"", "CREATE ROLE \"ann\" LOGIN PASSWORD", "revoked", "DROP ROLE ann"]
    {
        assert!(log.contains(line), "{line}: {log}");
    }
}

#[tokio::test]
async fn the_command_line_makes_lists_and_revokes_them() {
    let server = asking().with_grpc().env("PERIGEE_ADMIN_TOKEN", "an-admin-token-of-tests").start().unwrap();
    assert_eq!(ask(&server, "Bearer an-admin-token-of-tests", "CREATE ROLE \"o'neil\" LOGIN").status, 200);
    let address = server.grpc().to_string();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(binary::perigee().unwrap());
        command.args(["admin", "--address", &address, "key"]).args(arguments);
        let output = command.env("PERIGEE_ADMIN_TOKEN", "an-admin-token-of-tests").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (done, key, told) = run(&["create", "o'neil", "--name", "it's mine", "--expires-in", "90d", "--read-only"]);
    assert!(done, "{told}");
    let key = key.trim();
    assert_eq!(ask(&server, &format!("Bearer {key}"), "SELECT current_user AS u").json()["rows"][0]["u"], "o'neil");
    let (_, list, _) = run(&["list"]);
    assert!(list.contains("o'neil") && list.contains("scope read") && list.contains("it's mine"), "{list}");
    assert!(!list.contains(&key[21..]) && !list.contains("never"), "{list}");
    let (done, _, told) = run(&["revoke", &key[4..20]]);
    assert!(done, "{told}");
    assert_eq!(ask(&server, &format!("Bearer {key}"), "SELECT 1").status, 401);
    for wrong in [&["create", "nobody"][..], &["create", "postgres", "--expires-in", "off"], &["revoke", &key[4..20]]] {
        assert!(!run(wrong).0, "{wrong:?}");
    }
}
