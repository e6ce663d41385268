//! Cold rows and backups in a bucket that fails in every way that a network knows, and that goes away and comes back: nothing is
//! lost, what is not in the bucket goes on, and what was to be done there is done later.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use perigee_testkit::{Client, ServerOptions, binary};
use perigee_tests::backups::{PATIENCE, metric};
use perigee_tests::bucket::{Bucket, FAULTS, Fault, Service};
use perigee_tests::wait_for;

/// A node with its cold rows, and its backups, in a bucket.
fn on(bucket: &Bucket) -> ServerOptions {
    let mut options = perigee_tests::options().env("PERIGEE_COLD__URL", bucket.url("cold"));
    options.environment.extend(bucket.environment());
    options
}

/// `perigee` with the bucket at hand.
fn perigee(bucket: &Bucket, arguments: &[&str]) -> (String, bool) {
    let mut command = Command::new(binary::perigee().unwrap());
    let output = command.args(arguments).envs(bucket.environment()).output().unwrap();
    (String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(), output.status.success())
}

/// Bytes that do not compress, as a literal.
fn noise(bytes: usize) -> String {
    let random: Vec<u8> = (0..bytes).map(|_| rand::random()).collect();
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}

const QUESTIONS: [&str; 4] = [
    "SELECT count(*), sum(id), md5(string_agg(md5(body::text), ',' ORDER BY id)) FROM t",
    "SELECT id, length(body) FROM t WHERE id = 37",
    "SELECT count(*), sum(v), min(v), max(v) FROM small WHERE v % 10 = 3",
    "SELECT v FROM small WHERE id = 4567",
];

async fn answers(client: &Client) -> Vec<Vec<Vec<Option<String>>>> {
    let mut answers = Vec::new();
    for question in QUESTIONS {
        answers.push(client.rows(question).await.unwrap_or_else(|error| panic!("{question}: {error:?}")));
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_fails_now_and_then_loses_nothing() {
    fails_now_and_then(Service::S3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "integration/azure/run puts down what it needs"]
async fn azure_that_fails_now_and_then_loses_nothing() {
    fails_now_and_then(Service::Azure).await;
}

/// Each fourth request fails, in all ways; besides, parts of long files are lost on their way.
async fn fails_now_and_then(service: Service) {
    let bucket = tokio::task::block_in_place(|| Bucket::start(service));
    let options =
        on(&bucket).env("PERIGEE_BACKUP__URL", bucket.url("backups")).env("PERIGEE_BACKUP__INTERVAL", "200ms");
    let mut server = tokio::task::block_in_place(|| options.start().unwrap());
    let client = server.client().await.unwrap();
    let create = "CREATE TABLE t (id int8 PRIMARY KEY, body bytea); CREATE TABLE small (id int8 PRIMARY KEY, v int8);
        INSERT INTO small SELECT g, g * 7 FROM generate_series(1, 10000) g";
    client.batch_execute(create).await.unwrap();
    // More than one part of an upload holds.
    for first in (0..120).step_by(10) {
        let rows: Vec<String> = (first..first + 10).map(|id| format!("({id}, '\\x{}')", noise(100_000))).collect();
        client.batch_execute(&format!("INSERT INTO t VALUES {}", rows.join(","))).await.unwrap();
    }
    let before = answers(&client).await;
    bucket.break_every(4);
    for fault in [Fault::CutRequest, Fault::SlowDown, Fault::LostAnswer] {
        bucket.break_next(bucket.part(), fault);
    }
    for sql in ["CALL perigee.migrate('t', 'cold')", "CALL perigee.migrate('small', 'cold')", "CHECKPOINT"] {
        client.batch_execute(sql).await.unwrap();
    }
    assert_eq!(answers(&client).await, before, "cold");
    let in_parts = bucket.met().iter().filter(|(_, request)| request.contains(bucket.part())).count();
    assert!(in_parts >= 3, "no part of an upload was lost: {:?}", bucket.met());
    let changes = "UPDATE small SET v = -v WHERE id % 100 = 1; DELETE FROM small WHERE id % 50 = 0;
        INSERT INTO small SELECT g, g FROM generate_series(20001, 21000) g; CALL perigee.migrate('small', 'cold')";
    for sql in changes.split(';') {
        client.batch_execute(sql).await.unwrap();
    }
    let changed = answers(&client).await;
    for sql in ["CALL perigee.compact('small')", "CALL perigee.collect_cold_files()", "CALL perigee.backup()"] {
        let begun = Instant::now();
        // What removes files may say that it did not come through; it does no harm to ask again.
        while let Err(error) = client.batch_execute(sql).await {
            assert_eq!(error.code().map(|code| code.code()), Some("58030"), "{sql}: {error:?}");
            assert!(begun.elapsed() < PATIENCE, "{sql}: {error:?}");
        }
    }
    assert_eq!(answers(&client).await, changed, "compacted");
    // Until each fault has met something.
    let begun = Instant::now();
    while FAULTS.iter().any(|fault| bucket.met().iter().all(|(met, _)| met != fault)) {
        assert_eq!(answers(&client).await, changed);
        client
            .batch_execute("INSERT INTO small SELECT 1 + max(id), 0 FROM small; DELETE FROM small WHERE id > 21000")
            .await
            .unwrap();
        assert!(begun.elapsed() < PATIENCE, "{:?}", bucket.met());
    }
    assert!(metric(&server, "perigee_object_store_failures_total") > 0);
    assert!(
        metric(&server, "perigee_object_store_requests_total") > metric(&server, "perigee_object_store_failures_total")
    );
    assert!(server.log().contains("backing off"), "requests that are made again are told: {}", server.log());
    drop(client);
    tokio::task::block_in_place(|| server.stop()).unwrap();

    // The backup is as whole as the rows, and comes back through the same troubles.
    let url = bucket.url("backups");
    let verified = tokio::task::block_in_place(|| perigee(&bucket, &["backup", "verify", "--url", &url]));
    assert!(verified.1 && verified.0.contains("all is well"), "{}", verified.0);
    let to = server.scratch().join("restored");
    let to_text = to.to_str().unwrap();
    let restored = tokio::task::block_in_place(|| perigee(&bucket, &["restore", "--url", &url, "--data-dir", to_text]));
    assert!(restored.1, "{}", restored.0);
    let copy = tokio::task::block_in_place(|| perigee_tests::options().on(&to).start().unwrap());
    assert_eq!(answers(&copy.client().await.unwrap()).await, changed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_away_holds_up_cold_rows_alone() {
    is_away(Service::S3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "integration/azure/run puts down what it needs"]
async fn azure_that_is_away_holds_up_cold_rows_alone() {
    is_away(Service::Azure).await;
}

/// While the bucket is away only what needs it fails, and says so; what age moves there waits, and goes on by itself.
async fn is_away(service: Service) {
    let bucket = tokio::task::block_in_place(|| Bucket::start(service));
    let mut server = tokio::task::block_in_place(|| on(&bucket).start().unwrap());
    let client = server.client().await.unwrap();
    let create = "CREATE TABLE cold (id int8 PRIMARY KEY, v text); CREATE TABLE aging (id int8 PRIMARY KEY, v text);
        CREATE TABLE hot (id int8 PRIMARY KEY); INSERT INTO hot VALUES (1);
        INSERT INTO cold SELECT g, 'v' || g FROM generate_series(1, 10000) g; INSERT INTO aging SELECT * FROM cold";
    client.batch_execute(create).await.unwrap();
    client.batch_execute("CALL perigee.migrate('cold', 'cold')").await.unwrap();
    client.batch_execute("CHECKPOINT").await.unwrap();
    drop(client);
    bucket.set_away(true);
    // It starts without the bucket too.
    tokio::task::block_in_place(|| server.kill());
    tokio::task::block_in_place(|| server.restart()).unwrap();
    let client = server.client().await.unwrap();
    client.batch_execute("ALTER TABLE aging SET (tier = 'cold')").await.unwrap();
    // Each tries for a while: all at once.
    let asks = [
        "SELECT sum(length(v)) FROM cold",
        "SELECT v FROM cold WHERE id = 7",
        "UPDATE cold SET v = 'x' WHERE v = 'v7'",
        "CALL perigee.migrate('aging', 'cold')",
        "CALL perigee.compact('cold')",
    ];
    let asks = asks.map(|sql| {
        let server = &server;
        async move { (sql, server.client().await.unwrap().batch_execute(sql).await.unwrap_err()) }
    });
    for (sql, error) in futures::future::join_all(asks).await {
        let told = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
        // The rows of `aging` may be on their way by themselves.
        let busy = told.code().code() == "55006" && sql.contains("aging");
        assert!(busy || told.code().code() == "58030", "{sql}: {told:?}");
        assert!(busy || told.message().contains("object store"), "{sql}: {told:?}");
    }
    for (sql, value) in [
        ("SELECT count(*) FROM hot", "1"),
        ("SELECT count(*) FROM aging WHERE v LIKE 'v1%'", "1112"),
        ("SELECT v FROM aging WHERE id = 7", "v7"),
    ] {
        assert_eq!(client.value(sql).await.unwrap(), value, "{sql}");
    }
    client.batch_execute("INSERT INTO hot VALUES (2); INSERT INTO cold VALUES (10001, 'new')").await.unwrap();
    client.batch_execute("DELETE FROM cold WHERE id = 10001; UPDATE aging SET v = 'w' WHERE id = 7").await.unwrap();
    let error = client.batch_execute("INSERT INTO cold VALUES (7, 'again')").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "23505", "keys of cold rows are known without the bucket");
    let begun = Instant::now();
    while !server.log().contains("what age asks for was not done") {
        assert!(begun.elapsed() < PATIENCE, "the migration that waits is told: {}", server.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let rows_of = |table: &str| {
        format!("SELECT coalesce(sum(rows), 0)::text FROM perigee.tiers WHERE table_name = '{table}' AND tier = 'cold'")
    };
    assert_eq!(client.value(&rows_of("aging")).await.unwrap(), "0", "nothing moves");

    bucket.set_away(false);
    assert_eq!(client.value("SELECT v FROM cold WHERE id = 7").await.unwrap(), "v7");
    assert_eq!(client.value("SELECT count(*) FROM cold").await.unwrap(), "10000");
    // All but the row that was young when the others moved.
    let moved = format!("SELECT ({})::int8 >= 9999", rows_of("aging"));
    wait_for(&client, &moved, "t").await;
    assert_eq!(client.value("SELECT count(*) || ' ' || min(v) FROM aging").await.unwrap(), "10000 v1");
    assert_eq!(client.value("SELECT v FROM aging WHERE id = 7").await.unwrap(), "w");
    client.batch_execute("CALL perigee.collect_cold_files()").await.unwrap();
    assert_eq!(client.value("SELECT count(*) FROM cold").await.unwrap(), "10000");
    drop(client);
    assert!(fs::read_dir(server.data_dir().join("cold")).unwrap().next().is_none(), "all went to the bucket");
}
