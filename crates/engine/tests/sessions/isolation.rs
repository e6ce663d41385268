//! Scripts of several sessions: what each isolation level lets happen, who waits for whom, who is refused.
//!
//! ```text
//! setup <sql>                      before each part
//! == <level>                       a part: `begin` begins at this level
//! <session> <sql>    -> <outcome>  rows (values joined by `|`, rows by `, `), a tag, `!` and a SQLSTATE, or `waits`
//! <session>          -> <outcome>  of what has waited
//! ```

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::node::{Client, Node};

type Running = JoinHandle<(Client, String)>;

/// Runs a statement; its outcome as the scripts write it.
async fn outcome(client: &mut Client, sql: &str) -> String {
    match client.run(sql).await {
        Ok((rows, tag)) if tag.starts_with("SELECT") || (!rows.is_empty() && !tag.is_empty()) => {
            rows.iter().map(|row| row.join("|")).collect::<Vec<_>>().join(", ")
        }
        Ok((_, tag)) => tag,
        Err(error) => format!("!{}", error.state().code()),
    }
}

struct Run {
    node: Node,
    idle: HashMap<String, Client>,
    running: HashMap<String, Running>,
}

impl Run {
    async fn begin(setup: &[&str]) -> Self {
        let node = Node::start().await;
        let mut client = node.client().await;
        for sql in setup {
            client.ok(sql).await;
        }
        Self { node, idle: HashMap::new(), running: HashMap::new() }
    }

    async fn step(&mut self, session: &str, sql: &str, waits: bool) -> String {
        if sql.is_empty() {
            let running = self.running.remove(session).expect("nothing of this session waits");
            return self.ended(session, running).await;
        }
        assert!(!self.running.contains_key(session), "session {session} waits");
        let mut client = match self.idle.remove(session) {
            Some(client) => client,
            None => self.node.client().await,
        };
        let (sql, before) = (sql.to_owned(), self.node.engine.lock_waiters());
        let running = tokio::spawn(async move {
            let outcome = outcome(&mut client, &sql).await;
            (client, outcome)
        });
        if !waits {
            return self.ended(session, running).await;
        }
        // It stands in a queue, or it has ended after all.
        while self.node.engine.lock_waiters() <= before && !running.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if running.is_finished() {
            return self.ended(session, running).await;
        }
        self.running.insert(session.to_owned(), running);
        "waits".to_owned()
    }

    async fn ended(&mut self, session: &str, running: Running) -> String {
        let ended = tokio::time::timeout(Duration::from_secs(60), running).await;
        let (client, outcome) = ended.expect("it waits and nobody lets it go on").unwrap();
        self.idle.insert(session.to_owned(), client);
        outcome
    }
}

/// Runs all parts of a script.
async fn script(name: &str, text: &str) {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let setup: Vec<&str> = lines.clone().filter_map(|line| line.strip_prefix("setup ")).collect();
    let (mut level, mut run, mut parts) = ("", None, 0);
    for line in lines.filter(|line| !line.starts_with("setup ")) {
        if let Some(next) = line.strip_prefix("== ") {
            (level, run) = (next, Some(Run::begin(&setup).await));
            parts += 1;
            continue;
        }
        let run = run.as_mut().expect("a step before the first level");
        let (step, expected) = line.split_once("->").map_or((line, None), |(step, to)| (step, Some(to.trim())));
        let (session, sql) = step.trim().split_once(' ').unwrap_or((step.trim(), ""));
        let sql = sql.trim();
        let sql = if sql == "begin" { format!("begin isolation level {level}") } else { sql.to_owned() };
        let got = run.step(session, &sql, expected == Some("waits")).await;
        match expected {
            Some(expected) => assert_eq!(got, expected, "{name}, {level}: {line}"),
            None => assert!(!got.starts_with('!'), "{name}, {level}: {line}: {got}"),
        }
    }
    assert!(parts > 0, "{name} has no parts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_script_comes_out_as_written() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sessions/isolation");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "{files:?}");
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        script(&name, &std::fs::read_to_string(&file).unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_lets_go_of_what_it_holds() {
    let mut run = Run::begin(&["create table t (id int primary key, n int)", "insert into t values (1, 0)"]).await;
    run.step("a", "begin", false).await;
    run.step("a", "update t set n = 1", false).await;
    assert_eq!(run.step("b", "update t set n = n + 10", true).await, "waits");
    drop(run.idle.remove("a"));
    assert_eq!(run.step("b", "", false).await, "UPDATE 1");
    assert_eq!(run.step("b", "select n from t", false).await, "10");
    // One that waits leaves the queue.
    run.step("b", "begin", false).await;
    run.step("b", "update t set n = 2", false).await;
    assert_eq!(run.step("c", "update t set n = 3", true).await, "waits");
    run.running.remove("c").unwrap().abort();
    while run.node.engine.lock_waiters() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    run.step("b", "commit", false).await;
    assert_eq!(run.step("d", "update t set n = n + 1", false).await, "UPDATE 1");
    assert_eq!(run.step("d", "select n from t", false).await, "3");
}
