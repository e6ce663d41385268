//! A table over all three tiers gives the same answers before, during and after each migration, under writes: a million rows
//! here, as many as `PERIGEE_TIERS_ROWS` says in integration/tiers/run.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use perigee_testkit::{Client, Server, ServerOptions};
use perigee_tests::backups::each;
use perigee_tests::wait_for;

/// Devices from here on are written to while others are asked for.
const WRITTEN: u64 = 1_000;

const QUESTIONS: [&str; 20] = [
    "SELECT count(*), sum(device), min(at), max(at), count(v), sum(n) FROM s",
    "SELECT device, count(*), sum(n), min(v), max(at) FROM s GROUP BY device ORDER BY device LIMIT 40",
    "SELECT date_trunc('day', at) AS day, count(*), sum(n) FROM s GROUP BY 1 ORDER BY 1 LIMIT 40",
    "SELECT state, count(*), min(at), max(n) FROM s GROUP BY state ORDER BY state",
    "SELECT * FROM s WHERE device = 17 ORDER BY at LIMIT 5",
    "SELECT * FROM s WHERE device = 17 ORDER BY at DESC LIMIT 5",
    "SELECT * FROM s WHERE device = 500 AND at = '2024-01-01 00:08:20+00'",
    "SELECT count(*), sum(n) FROM s WHERE at BETWEEN '2024-01-01 12:00+00' AND '2024-01-02 12:00+00'",
    "SELECT device, at, v FROM s WHERE v < 1000000 ORDER BY v DESC, device, at LIMIT 10",
    "SELECT count(*) FROM s WHERE v IS NULL",
    "SELECT count(*), count(DISTINCT device) FROM s WHERE v = 'NaN'",
    "SELECT count(*), min(device) FROM s WHERE v > 1e300",
    "SELECT count(*), count(DISTINCT n) FROM s WHERE n BETWEEN 10.5 AND 11.5",
    "SELECT state, count(*) FROM s WHERE device IN (1, 2, 3, 996, 999) GROUP BY state HAVING count(*) > 10 ORDER BY state",
    "SELECT name, count(*) FROM s JOIN d USING (device) WHERE name LIKE 'device 99%' GROUP BY name ORDER BY name",
    "SELECT count(*) FROM d WHERE NOT EXISTS (SELECT 1 FROM s WHERE s.device = d.device AND state = 'fail')",
    "SELECT at, at - lag(at) OVER (ORDER BY at) AS gap FROM s WHERE device = 33 ORDER BY at LIMIT 20",
    "SELECT md5(string_agg(at || ' ' || coalesce(v::text, '-') || ' ' || n || ' ' || state, ',' ORDER BY at)) FROM s WHERE device = 7",
    "SELECT md5(string_agg(device || ':' || c || ':' || t, ',' ORDER BY device)) FROM (SELECT device, count(*) AS c, sum(n) AS t FROM s GROUP BY device) x",
    "SELECT count(*) FROM s WHERE state LIKE 'w%' AND device % 7 = 3 AND n <> 5",
];

type Answers = Vec<Vec<Vec<Option<String>>>>;

async fn ask(client: &Client) -> Answers {
    let mut answers = Vec::new();
    for question in QUESTIONS {
        answers.push(client.rows(question).await.unwrap_or_else(|error| panic!("{question}: {error:?}")));
    }
    answers
}

fn compare(found: &Answers, wanted: &Answers, when: &str) {
    for ((question, found), wanted) in QUESTIONS.iter().zip(found).zip(wanted) {
        assert_eq!(found, wanted, "{when}: {question}");
    }
}

/// Rows `from` to `to` of the ones that stay.
async fn load(client: &Client, from: u64, to: u64) {
    const STEP: u64 = 250_000;
    for first in (from..to).step_by(STEP as usize) {
        let last = to.min(first + STEP) - 1;
        let insert = format!(
            "INSERT INTO t SELECT g % 997, '2024-01-01'::timestamptz + g * interval '1 second',
                CASE g % 1000 WHEN 0 THEN NULL WHEN 1 THEN 'NaN' WHEN 2 THEN 'Infinity' WHEN 3 THEN '-0' ELSE g / 7.0 END,
                (g % 100000) / 1000.0, (ARRAY['ok', 'warn', 'fail'])[1 + g % 3] FROM generate_series({first}, {last}) g"
        );
        client.batch_execute(&insert).await.unwrap();
    }
}

/// Writes to rows of all tiers, to a table that has a tier of its own, and to a copy that has none, until told to stop.
async fn write(client: &Client, steps: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let n = steps.load(Ordering::SeqCst);
        let device = WRITTEN + n % 5;
        let mut all = "BEGIN".to_owned();
        for table in ["t", "twin"] {
            all += &format!(
                "; INSERT INTO {table} SELECT {device}, '2024-06-01'::timestamptz + ({n} * 100 + g) * interval '1 second', g, {n}, 'new'
                    FROM generate_series(1, 100) g;
                UPDATE {table} SET v = v + 1, state = 'changed' WHERE device = {WRITTEN} + ({n} + 2) % 5 AND n % 7 = {n} % 7;
                DELETE FROM {table} WHERE device = {WRITTEN} + ({n} + 3) % 5 AND n = {n} - 37"
            );
        }
        client.batch_execute(&(all + "; COMMIT")).await.unwrap();
        steps.store(n + 1, Ordering::SeqCst);
    }
}

/// What was written is what its copy has.
async fn compare_written(client: &Client, when: &str) {
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    let written = format!("SELECT * FROM t WHERE device >= {WRITTEN}");
    for (one, other) in [(written.as_str(), "SELECT * FROM twin"), ("SELECT * FROM twin", written.as_str())] {
        let rows = client.rows(&format!("{one} EXCEPT ALL {other} LIMIT 5")).await.unwrap();
        assert!(rows.is_empty(), "{when}: {one} alone has {rows:?}");
    }
    client.batch_execute("COMMIT").await.unwrap();
}

/// Does `work` while the questions are asked, and rows are written, all the time.
async fn under_load(server: &Server, wanted: &Answers, steps: &AtomicU64, work: &[&str]) {
    let (client, asker, writer) =
        (server.client().await.unwrap(), server.client().await.unwrap(), server.client().await.unwrap());
    let stop = AtomicBool::new(false);
    let asks = async {
        let mut rounds = 0;
        while !stop.load(Ordering::SeqCst) || rounds == 0 {
            compare(&ask(&asker).await, wanted, &format!("during {work:?}"));
            compare_written(&asker, &format!("during {work:?}")).await;
            rounds += 1;
        }
        rounds
    };
    let works = async {
        for sql in work {
            client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
        stop.store(true, Ordering::SeqCst);
    };
    let ((), rounds, ()) = tokio::join!(works, asks, write(&writer, steps, &stop));
    println!("{work:?}: {rounds} rounds of questions, {} transactions", steps.load(Ordering::SeqCst));
    compare(&ask(&asker).await, wanted, &format!("after {work:?}"));
    compare_written(&asker, &format!("after {work:?}")).await;
}

async fn show(client: &Client) {
    let tiers = "SELECT tier, rows, bytes, files, round(bytes::numeric / nullif(rows, 0), 1) FROM perigee.tiers WHERE table_name = 't'";
    for row in client.rows(tiers).await.unwrap() {
        println!("{:?}", row.iter().map(|value| value.as_deref().unwrap_or("-")).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_over_all_tiers_answers_as_ever() {
    let rows: u64 = std::env::var("PERIGEE_TIERS_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(1_000_000);
    let memory = if rows > 5_000_000 { "4GB" } else { "512MB" };
    let options = ServerOptions::default().flag(&["--memory", memory]).env("PERIGEE_STORAGE__HOT_RETENTION", "5s");
    let mut server = tokio::task::block_in_place(|| options.start().unwrap());
    let client = server.client().await.unwrap();
    let create = "CREATE TABLE t (device int4, at timestamptz, v float8, n numeric(12,3) NOT NULL, state text NOT NULL,
            PRIMARY KEY (device, at));
        CREATE TABLE twin (LIKE t INCLUDING ALL); CREATE TABLE d (device int4 PRIMARY KEY, name text);
        INSERT INTO d SELECT g, 'device ' || g FROM generate_series(0, 999) g;
        CREATE VIEW s AS SELECT * FROM t WHERE device < 1000";
    client.batch_execute(create).await.unwrap();
    let steps = AtomicU64::new(0);
    load(&client, 0, rows / 10 * 6).await;
    let part = ask(&client).await;
    under_load(&server, &part, &steps, &["CALL perigee.migrate('t', 'cold')", "CHECKPOINT"]).await;

    load(&client, rows / 10 * 6, rows / 10 * 9).await;
    client.batch_execute("CHECKPOINT").await.unwrap();
    let tier =
        |tier: &str| format!("SELECT (rows > 0)::text FROM perigee.tiers WHERE table_name = 't' AND tier = '{tier}'");
    wait_for(&client, &tier("warm"), "true").await;
    load(&client, rows / 10 * 9, rows).await;
    let whole = ask(&client).await;
    assert_ne!(part, whole);
    show(&client).await;
    for of in ["hot", "warm", "cold"] {
        assert_eq!(client.value(&tier(of)).await.unwrap(), "true", "{of}");
    }
    let work = ["CALL perigee.migrate('t', 'cold')", "CHECKPOINT", "CALL perigee.migrate('t', 'cold')", "VACUUM t"];
    under_load(&server, &whole, &steps, &work).await;
    let work = ["CALL perigee.compact('t')", "CALL perigee.collect_cold_files()", "CALL perigee.export('t')"];
    under_load(&server, &whole, &steps, &work).await;
    show(&client).await;
    drop(client);
    tokio::task::block_in_place(|| server.kill());
    tokio::task::block_in_place(|| server.restart()).unwrap();
    let client = server.client().await.unwrap();
    compare(&ask(&client).await, &whole, "behind a kill");
    compare_written(&client, "behind a kill").await;
    under_load(&server, &whole, &steps, &["CALL perigee.migrate('t', 'cold')", "CALL perigee.compact('t')"]).await;
    each(&client, "DELETE FROM t WHERE device >= 1000; CALL perigee.compact('t')").await;
    compare(&ask(&client).await, &whole, "at the end");
}
