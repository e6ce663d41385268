//! The gRPC door as operators use it: `perigee admin`.

use std::process::Command;

use perigee_testkit::ServerOptions;
use perigee_tests::admin::{admin, server_with_grpc};

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_asks_for_status_and_verifies() {
    let (mut server, address) = tokio::task::block_in_place(|| server_with_grpc(perigee_tests::options()));
    let client = server.client().await.unwrap();
    client
        .batch_execute(
            "CREATE TABLE t (k int PRIMARY KEY, v text, w int); CREATE INDEX t_v ON t (v); CREATE UNIQUE INDEX t_w ON t (w);
             INSERT INTO t SELECT g, 'v' || g % 10, nullif(g, 5) FROM generate_series(1, 5000) g;
             DELETE FROM t WHERE k % 3 = 0; UPDATE t SET v = 'x' WHERE k < 100;
             CREATE TABLE empty (a int)",
        )
        .await
        .unwrap();
    for round in ["from memory", "from the LSM"] {
        let (text, code) = admin(&address, &["status"]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("(leader)") && text.contains("term"), "{text}");
        let (text, code) = admin(&address, &["verify"]);
        assert_eq!(code, Some(0), "round {round}: {text}");
        assert!(text.contains("public.t: 3334 rows") && text.contains("t_v: 3334 entries"), "{text}");
        assert!(text.contains("public.empty: 0 rows") && text.contains("chain hash"), "{text}");
        assert!(text.ends_with("all is well\n"), "{text}");
        // A stop makes a checkpoint, and a start begins with it.
        if round == "from memory" {
            drop(server.stop().unwrap());
            server.restart().unwrap();
        }
    }
    let (text, code) = admin(&address, &["verify", "--table", "public.t", "--skip-log"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("3334 rows") && !text.contains("empty") && !text.contains("chain hash"), "{text}");
    let (text, code) = admin(&address, &["verify", "--table", "public.nothing"]);
    assert!(code != Some(0) && text.contains("does not exist"), "{text}");
    server.kill();
    let (text, code) = admin(&address, &["status"]);
    assert!(code != Some(0) && text.contains("cannot reach"), "{text}");
}

#[test]
fn a_public_address_without_passwords_is_refused() {
    let refused = ServerOptions::default().flag(&["--grpc-address", "0.0.0.0:0"]).start();
    let Err(error) = refused else { panic!("it started") };
    assert!(error.to_string().contains("--insecure"), "{error}");
}

/// The answer as JSON, which it has to be.
fn json(address: &str, arguments: &[&str]) -> serde_json::Value {
    let (text, code) = admin(address, &[arguments, &["--format", "json"]].concat());
    assert_eq!(code, Some(0), "{arguments:?}: {text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_json_for_who_asks_so() {
    let (_server, address) = tokio::task::block_in_place(|| server_with_grpc(perigee_tests::options()));
    let status = json(&address, &["status"]);
    assert_eq!((&status["role"], &status["voters"]), (&"leader".into(), &1.into()), "{status}");
    assert_eq!(json(&address, &["verify"])["faults"], serde_json::json!([]));
    assert_eq!(json(&address, &["cluster", "status"])["members"][0]["leads"], true);
    assert_eq!(json(&address, &["cluster", "ping"])[0]["role"], "leader");
    let made = json(&address, &["key", "create", "postgres", "--name", "k"]);
    let listed = json(&address, &["key", "list"]);
    assert_eq!((&listed[0]["id"], &listed[0]["expires_at"]), (&made["id"], &serde_json::Value::Null), "{listed}");
    assert_eq!(json(&address, &["key", "revoke", made["id"].as_str().unwrap()])["revoked"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_looks_at_tiers_and_moves_rows() {
    let (server, address) = tokio::task::block_in_place(|| server_with_grpc(perigee_tests::options()));
    let client = server.client().await.unwrap();
    let rows = "CREATE SCHEMA s; CREATE TABLE s.\"T 1\" (at timestamptz PRIMARY KEY, v int);
        INSERT INTO s.\"T 1\" SELECT timestamptz '2024-01-01' + n * interval '1 h', n FROM generate_series(1, 100) n;
        CREATE TABLE empty (a int)";
    client.batch_execute(rows).await.unwrap();
    let in_tier = |tiers: &serde_json::Value, tier: &str| {
        let found = tiers.as_array().unwrap().iter().find(|one| one["table"] == "T 1" && one["tier"] == tier);
        found.map_or(0, |found| found["rows"].as_u64().unwrap())
    };
    let before = json(&address, &["tier"]);
    assert_eq!((in_tier(&before, "hot") + in_tier(&before, "warm"), in_tier(&before, "cold")), (100, 0), "{before}");
    let after = json(&address, &["tier", "migrate", "s.T 1", "cold"]);
    assert_eq!(in_tier(&after, "cold"), 100, "{after}");
    let cold = after.as_array().unwrap().iter().find(|one| one["tier"] == "cold").unwrap();
    assert!(
        cold["files"].as_u64() >= Some(1) && cold["newest_micros"].as_i64() > cold["oldest_micros"].as_i64(),
        "{cold}"
    );
    assert_eq!(in_tier(&json(&address, &["tier", "show", "s.T 1"]), "cold"), 100);
    assert_eq!(client.value("SELECT count(*) FROM s.\"T 1\"").await.unwrap(), "100");
    let (text, code) = admin(&address, &["tier", "show", "public.empty"]);
    assert_eq!(code, Some(0), "{text}");
    for (arguments, part) in [
        (["tier", "migrate", "s.T 1", "warm"], "warm"),
        (["tier", "migrate", "s.T 1", "lukewarm"], "lukewarm"),
        (["tier", "migrate", "s.t", "cold"], "does not exist"),
        (["tier", "show", "nothing", ""], "does not exist"),
    ] {
        let arguments: Vec<&str> = arguments.into_iter().filter(|argument| !argument.is_empty()).collect();
        let (text, code) = admin(&address, &arguments);
        assert!(code == Some(1) && text.contains(part), "{arguments:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_defined_can_be_made_again() {
    let (first, address) = tokio::task::block_in_place(|| server_with_grpc(perigee_tests::options()));
    let schema = "CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('sad', 'it''s'); CREATE TYPE app.pair AS (a int, b text);
        CREATE DOMAIN app.email AS text CHECK (value LIKE '%@%'); CREATE SEQUENCE app.steps START 7 INCREMENT 3;
        CREATE TABLE app.parent (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email app.email DEFAULT 'a@b', mood app.mood DEFAULT 'sad',
            price numeric(10,2) CHECK (price > 0), v varchar(20), length int GENERATED ALWAYS AS (length(v)) STORED, UNIQUE (v, price));
        CREATE TABLE app.child (id bigserial PRIMARY KEY, parent int NOT NULL REFERENCES app.parent ON DELETE CASCADE,
            n int DEFAULT nextval('app.steps'), \"a note\" text);
        CREATE INDEX child_note ON app.child (lower(\"a note\")) WHERE parent > 0;
        CREATE VIEW app.counts AS SELECT p.id, count(c.id) AS n FROM app.parent p LEFT JOIN app.child c ON c.parent = p.id GROUP BY p.id;
        CREATE TABLE app.days (at date NOT NULL, k int, PRIMARY KEY (at, k)) PARTITION BY RANGE (at);
        CREATE INDEX days_k ON app.days (k);
        CREATE TABLE app.days_2024 PARTITION OF app.days FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
        CREATE TABLE app.days_rest PARTITION OF app.days DEFAULT;
        CREATE TABLE app.kept (at timestamptz NOT NULL, v float8) WITH (ttl = '30 days');
        CREATE TABLE app.hyper (at timestamptz NOT NULL, v float8); SELECT create_hypertable('app.hyper', 'at', chunk_time_interval => interval '2 days');
        INSERT INTO app.hyper VALUES ('2024-01-01', 1);
        CREATE MATERIALIZED VIEW app.hourly WITH (continuous) AS SELECT time_bucket('1 hour', at) AS hour, max(v) AS v FROM app.kept GROUP BY 1;
        CREATE FUNCTION app.sum(a int, b int DEFAULT 2) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + b'";
    first.client().await.unwrap().batch_execute(schema).await.unwrap();
    let (made, code) = admin(&address, &["schema", "show"]);
    assert_eq!(code, Some(0), "{made}");
    let (second, other) = tokio::task::block_in_place(|| server_with_grpc(perigee_tests::options()));
    let client = second.client().await.unwrap();
    client.batch_execute(&made).await.unwrap_or_else(|error| panic!("{error}: {made}"));
    // Texts of views and expressions have other blanks and brackets than where they were written by hand.
    let bare = |text: &str| text.replace([' ', '\n', '(', ')'], "");
    let (again, code) = admin(&other, &["schema", "show"]);
    assert_eq!((bare(&again), code), (bare(&made), Some(0)));
    client
        .batch_execute("INSERT INTO app.parent (v, price) VALUES ('x', 1); INSERT INTO app.child (parent) VALUES (1)")
        .await
        .unwrap();
    assert!(client.batch_execute("INSERT INTO app.child (parent) VALUES (2)").await.is_err());
    // Partitions of time come with the rows, and an aggregate goes on by itself.
    client
        .batch_execute("INSERT INTO app.hyper VALUES ('2030-01-01', 1); INSERT INTO app.kept VALUES (now(), 7)")
        .await
        .unwrap();
    assert_eq!(client.value("SELECT v FROM app.hourly").await.unwrap(), "7");
    assert_eq!(client.value("SELECT concat(email, n, app.sum(1)) FROM app.parent, app.child").await.unwrap(), "a@b73");
    let (one, code) = admin(&address, &["schema", "show", "app.child"]);
    assert!(code == Some(0) && one.contains("CREATE TABLE app.child (") && one.contains("child_note"), "{one}");
    assert!(one.contains("child_id_seq") && !one.contains("app.days") && !one.contains("CREATE SCHEMA"), "{one}");
    let kinds = json(&address, &["schema", "show", "app.counts"]);
    assert_eq!((&kinds[0]["kind"], kinds.as_array().unwrap().len()), (&"view".into(), 1), "{kinds}");
    let (text, code) = admin(&address, &["schema", "show", "app.nothing"]);
    assert!(code == Some(1) && text.contains("does not exist"), "{text}");
    assert_eq!(admin(&address, &["schema", "show", "-d", "nowhere"]).1, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_run_once_and_whole() {
    let (server, address) = tokio::task::block_in_place(|| server_with_grpc(perigee_tests::options()));
    let client = server.client().await.unwrap();
    let file = |name: &str, text: &str| {
        let path = server.scratch().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let one = file("001.sql", "-- the first\nCREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1), (2);");
    let two =
        file("002.sql", "ALTER TABLE t ADD b text DEFAULT ';'; UPDATE t SET b = 'x' WHERE a = 1; SELECT * FROM t;");
    let migrate = |files: &[&str]| {
        let files = files.iter().flat_map(|file| ["--file", *file]);
        admin(&address, &std::iter::once("migrate").chain(files).collect::<Vec<_>>())
    };
    let (text, code) = migrate(&[&one, &two]);
    assert!(code == Some(0) && text.contains("001.sql: applied, 2 statements"), "{text}");
    let (text, code) = migrate(&[&one, &two]);
    assert!(code == Some(0) && text.contains("001.sql: was applied at") && text.contains("002.sql: was"), "{text}");
    assert_eq!(client.value("SELECT string_agg(a || b, ' ' ORDER BY a) FROM t").await.unwrap(), "1x 2;");
    let known = "SELECT string_agg(name || length(sha256) || applied_by, ' ' ORDER BY name) FROM perigee_migrations";
    assert_eq!(client.value(known).await.unwrap(), "001.sql64postgres 002.sql64postgres");

    file("001.sql", "CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1), (3);");
    let three = file("003.sql", "INSERT INTO t VALUES (4); SELECT 1 / 0");
    let four = file("004.sql", "INSERT INTO t VALUES (5); COMMIT; INSERT INTO t VALUES (6)");
    let five = file("005.sql", "INSERT INTO t VALUES (7); VACUUM");
    let six = file("006.sql", "INSERT INTO t VALUES (8)");
    for (files, part) in [
        (vec![&*one], "other statements"),
        (vec![&*three, &*six], "division by zero"),
        (vec![&*four], "one transaction"),
        (vec![&*five], "transaction block"),
    ] {
        let (text, code) = migrate(&files);
        assert!(code == Some(1) && text.contains(part), "{files:?}: {text}");
    }
    assert_eq!(migrate(&["no/such/file"]).1, Some(2));
    assert_eq!(client.value("SELECT count(*) || ' ' || max(a) FROM t").await.unwrap(), "2 2");
    let applied = json(&address, &["migrate", "--file", &six]);
    assert_eq!((&applied[0]["applied"], &applied[0]["statements"]), (&true.into(), &1.into()), "{applied}");

    // Of many that come at once one does it.
    let slow = file("007.sql", "INSERT INTO t SELECT max(a) + 1 FROM t");
    let asked = (0..4).map(|_| {
        let (address, slow) = (address.clone(), slow.clone());
        std::thread::spawn(move || admin(&address, &["migrate", "--file", &slow]))
    });
    let answers: Vec<_> = asked.collect::<Vec<_>>().into_iter().map(|asked| asked.join().unwrap()).collect();
    assert!(answers.iter().all(|(_, code)| *code == Some(0)), "{answers:?}");
    assert_eq!(answers.iter().filter(|(text, _)| text.contains("applied, 1")).count(), 1, "{answers:?}");
    assert_eq!(client.value("SELECT max(a) FROM t").await.unwrap(), "9");
}

#[tokio::test(flavor = "multi_thread")]
async fn diagnostics_are_one_archive_without_secrets() {
    let log = tempfile::tempdir().unwrap();
    let log_file = log.path().join("node.log");
    let options = perigee_tests::options()
        .env("PERIGEE_SECURITY__ADMIN_TOKEN", "the-very-secret-token")
        .env("PERIGEE_TELEMETRY__FILE", log_file.to_str().unwrap());
    let (server, address) = tokio::task::block_in_place(|| server_with_grpc(options));
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE shown (a int); INSERT INTO shown VALUES (1)").await.unwrap();
    client.batch_execute("LOAD 'nothing'").await.unwrap_err();
    let path = server.scratch().join("x.tar.gz");
    let export = ["diagnostics", "export", path.to_str().unwrap()];
    let told = json(&address, &export);
    assert!(told["files"].as_array().unwrap().len() >= 10, "{told}");
    let (text, code) = admin(&address, &export);
    assert!(code == Some(2) && text.contains("exists"), "what is there is not written over: {text}");
    let read = |name: &str| {
        let output = Command::new("tar").args(["xzOf", path.to_str().unwrap(), name]).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for (name, part) in [
        ("version.json", "\"version\""),
        ("config.toml", "[listen]"),
        ("status.json", "\"ready\": true"),
        ("metrics.txt", "perigee_sessions"),
        ("members.json", "\"leads\": true"),
        ("tiers.json", "\"shown\""),
        ("sessions.json", "\"process_id\""),
        ("queries.json", "INSERT INTO shown VALUES ($1)"),
        ("compat_gaps.json", "LOAD is not supported"),
        ("settings.json", "search_path"),
        ("log.txt", "recovered"),
    ] {
        let text = read(name);
        assert!(text.contains(part), "{name}: {text}");
        assert!(!text.contains("the-very-secret-token"), "{name}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_superusers_migrate_and_look() {
    let options = perigee_tests::options()
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_SECURITY__SUPERUSER_PASSWORD", "root");
    let (server, address) = tokio::task::block_in_place(|| server_with_grpc(options));
    let mut config = tokio_postgres::Config::new();
    config.host(server.pg().ip().to_string()).port(server.pg().port()).dbname("postgres");
    config.user("postgres").password("root");
    let client = perigee_testkit::Client::with(&config).await.unwrap();
    client.batch_execute("CREATE ROLE eve LOGIN PASSWORD 'eve'").await.unwrap();
    let file = server.scratch().join("x.sql");
    std::fs::write(&file, "CREATE TABLE mine (a int)").unwrap();
    let archive = server.scratch().join("x.tar.gz");
    let ask = |user: &str, arguments: &[&str]| {
        let mut command = Command::new(perigee_testkit::binary::perigee().unwrap());
        command.args(["admin", "--address", address.as_str(), "--user", user]).args(arguments).env("PGPASSWORD", user);
        let output = command.output().unwrap();
        (String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code())
    };
    let (file, archive) = (file.to_str().unwrap(), archive.to_str().unwrap());
    let questions: [&[&str]; 5] = [
        &["tier"],
        &["tier", "migrate", "public.t", "cold"],
        &["schema", "show"],
        &["migrate", "--file", file],
        &["diagnostics", "export", archive],
    ];
    for question in questions {
        let (text, code) = ask("eve", question);
        assert!(code == Some(1) && text.contains("superuser"), "{question:?}: {text}");
    }
    assert!(!std::path::Path::new(archive).exists(), "nothing is left of it");
}
