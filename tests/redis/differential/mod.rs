//! Every line of `scripts/` on Debian's redis-server 7.0 and on Perigee, in RESP2 and again in RESP3: the typed replies are
//! the same, unless
//!
//! - `expected-failures.txt` has the line: not built, or a fault. Made by this test, and it only shrinks;
//! - `expected-differences.txt` has it: the difference is wanted. Written by hand, each with its reason.
//!
//! A line is equal when it is so in both protocols. What Redis 7.2 and 7.4 added stands in the scripts with its reply, and is
//! asked of Perigee alone.
//!
//! `PERIGEE_REDIS_UPDATE=1` takes lines that are equal now out of the first list and writes the score into docs/COMPAT.md;
//! `=new` also adds the differences of new lines. `PERIGEE_REDIS_ONLY=hash` runs the files whose names contain the word and
//! shows all their differences. `PERIGEE_REDIS_COMPARE=127.0.0.1:7001,127.0.0.1:7002` starts nothing and compares what
//! listens there: how scripts are written (the same server twice), and how a door is worked on.

mod compare;
mod run;
mod script;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use perigee_testkit::redis::Redis;
use perigee_tests::expectations::{self, Lists, Outcome};

/// The issue of a compatible server is decided over no fewer.
const LINES_MIN: usize = 1_500;
/// A reply that takes longer is a difference.
const PATIENCE: Duration = Duration::from_secs(5);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("redis/differential")
}

fn files(only: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder().join("scripts")).expect("the scripts are there");
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.retain(|path| path.file_stem().is_some_and(|stem| stem.to_string_lossy().contains(only)));
    files.sort();
    files
}

/// Outcomes of all files whose names contain `only`; with their differences where `shown`.
fn outcomes(only: &str, redis: SocketAddr, perigee: SocketAddr, patience: Duration, shown: bool) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for file in files(only) {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).expect("a script");
        let found = run::file(&name, &text, redis, perigee, patience).expect("the script runs");
        for outcome in found.iter().filter(|outcome| shown && outcome.difference.is_some()) {
            println!("{}", outcome.describe());
        }
        outcomes.extend(found);
    }
    outcomes
}

#[test]
fn lines_do_what_redis_does() {
    let only = std::env::var("PERIGEE_REDIS_ONLY").unwrap_or_default();
    let update = std::env::var("PERIGEE_REDIS_UPDATE").unwrap_or_default();
    let compare = std::env::var("PERIGEE_REDIS_COMPARE").unwrap_or_default();
    // What listens there is not what is tested: it is shown, not judged.
    if let Some((redis, perigee)) = compare.split_once(',') {
        let (redis, perigee) = (redis.parse().expect("an address"), perigee.parse().expect("an address"));
        let outcomes = outcomes(&only, redis, perigee, Duration::from_secs(1), true);
        println!("{}", lists(&only, &update, &outcomes).score(&outcomes));
        return;
    }
    let redis = Redis::start().expect("redis-server starts");
    let server = crate::server();
    let outcomes = outcomes(&only, redis.address(), server.redis(), PATIENCE, !only.is_empty());
    let lists = lists(&only, &update, &outcomes);
    println!("{}", lists.score(&outcomes));
    let faults = lists.faults(&outcomes, only.is_empty());
    assert!(faults.is_empty(), "{} faults\n\n{}", faults.len(), faults.join("\n"));
    if only.is_empty() {
        assert!(outcomes.len() >= LINES_MIN, "{} lines", outcomes.len());
        assert!(lists.by_design_count() * 50 <= outcomes.len(), "at most 2 % may differ by design");
        let equal_now = lists.equal_now(&outcomes);
        if equal_now > 0 {
            println!("{equal_now} expected failures are equal now: PERIGEE_REDIS_UPDATE=1 takes them out");
        }
    }
}

/// The lists, brought up to date where that is asked for.
fn lists(only: &str, update: &str, outcomes: &[Outcome]) -> Lists {
    let mut lists = Lists::read(&folder());
    if !update.is_empty() {
        assert!(only.is_empty(), "the lists are made of all files");
        lists.update(outcomes, update == "new");
        lists.write();
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/COMPAT.md");
        expectations::write_score(&page, "tests/redis", &lists.score(outcomes));
    }
    lists
}
