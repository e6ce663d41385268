//! Every statement of `tests/differential/sql/` against Debian's PostgreSQL and against Perigee: rows, names and types of
//! columns, command tags, SQLSTATEs, types of parameters and the transaction's state are the same, unless
//!
//! - `expected-failures.txt` has the statement: not built, or a fault. Made by this test, and it only shrinks;
//! - `expected-differences.txt` has it: the difference is wanted. Written by hand, each with its reason.
//!
//! `PERIGEE_DIFFERENTIAL_UPDATE=1` takes statements that are equal now out of the first and writes the score into
//! docs/COMPAT.md; `=new` also adds the differences of statements that are new. `PERIGEE_DIFFERENTIAL_ONLY=json` runs the
//! files whose names contain the word and shows all their differences.

mod compare;
mod random;
mod run;
mod script;

use std::path::{Path, PathBuf};

use perigee_testkit::postgres::Postgres;
use perigee_tests::expectations::{self, Lists, Outcome};

/// The issue of a compatible server is decided over no fewer.
const STATEMENTS_MIN: usize = 1_500;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("differential")
}

fn files(only: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder().join("sql")).expect("tests/differential/sql is there");
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    files.retain(|path| path.file_stem().is_some_and(|stem| stem.to_string_lossy().contains(only)));
    files.sort();
    files
}

fn outcomes(only: &str) -> Vec<Outcome> {
    let postgres = Postgres::start().expect("PostgreSQL 15 starts");
    let mut outcomes = Vec::new();
    for file in files(only) {
        let area = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).expect("a file of statements");
        run::reset(postgres.address()).expect("PostgreSQL is empty");
        let server = perigee_tests::server();
        outcomes.extend(run::file(&area, &text, postgres.address(), server.pg()).expect("the file runs"));
    }
    outcomes
}

#[test]
fn statements_do_what_postgresql_does() {
    let only = std::env::var("PERIGEE_DIFFERENTIAL_ONLY").unwrap_or_default();
    let update = std::env::var("PERIGEE_DIFFERENTIAL_UPDATE").unwrap_or_default();
    let outcomes = outcomes(&only);
    let mut lists = Lists::read(&folder());
    let score = lists.score(&outcomes);
    println!("{score}");
    if !only.is_empty() {
        for outcome in outcomes.iter().filter(|outcome| outcome.difference.is_some()) {
            println!("{}", outcome.describe());
        }
    }
    if !update.is_empty() {
        assert!(only.is_empty(), "the lists are made of all files");
        lists.update(&outcomes, update == "new");
        lists.write();
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/COMPAT.md");
        expectations::write_score(&page, "tests/differential", &score);
    }
    let faults = lists.faults(&outcomes, only.is_empty());
    assert!(faults.is_empty(), "{} faults\n\n{}", faults.len(), faults.join("\n"));
    if only.is_empty() {
        assert!(outcomes.len() >= STATEMENTS_MIN, "{} statements", outcomes.len());
        assert!(lists.by_design_count() * 50 <= outcomes.len(), "at most 2 % may differ by design");
        let equal_now = lists.equal_now(&outcomes);
        if equal_now > 0 {
            println!("{equal_now} expected failures are equal now: PERIGEE_DIFFERENTIAL_UPDATE=1 takes them out");
        }
    }
}
