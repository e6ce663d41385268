//! What is counted at every statement, lock and entry: found by its place, not looked up by name.
//!
//! The recorder behind the `metrics` macros finds a metric by hashing its name, and keeps each sample of a histogram until
//! it is rendered. That is too much for what happens 100,000 times a second.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::metrics::SECONDS;

/// A distribution of times over the bounds that all histograms have.
#[derive(Debug)]
pub struct Times {
    /// One for each bound, and one for what is above the last. Not cumulative.
    counts: [AtomicU64; SECONDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Times {
    const fn new() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; SECONDS.len() + 1], nanoseconds: AtomicU64::new(0) }
    }

    /// Adds a time.
    pub fn record(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let place = SECONDS.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    fn render(&self, name: &str, label: &str, out: &mut String) {
        let comma = if label.is_empty() { "" } else { "," };
        let mut sum = 0;
        for (i, count) in self.counts.iter().enumerate() {
            sum += count.load(Ordering::Relaxed);
            let bound = SECONDS.get(i).map_or("+Inf".to_owned(), f64::to_string);
            let _ = writeln!(out, "{name}_bucket{{{label}{comma}le=\"{bound}\"}} {sum}");
        }
        let braces = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
        let seconds = self.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9;
        let _ = writeln!(out, "{name}_sum{braces} {seconds}\n{name}_count{braces} {sum}");
    }
}

/// A number that only grows.
#[derive(Debug)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds one.
    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Kinds of statements, as the label `kind` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement {
    /// A row read or written by its key.
    Point,
    /// Any other query.
    Query,
    /// Any other INSERT, UPDATE or DELETE.
    Write,
    /// CREATE, ALTER, DROP, …
    Ddl,
    /// BEGIN, COMMIT, …
    Transaction,
    /// SET, SHOW, PREPARE, cursors, …
    Session,
    /// COPY.
    Copy,
    /// VACUUM, CHECKPOINT, EXPLAIN, …
    Admin,
}

const KINDS: [(Statement, &str); 8] = [
    (Statement::Point, "point"),
    (Statement::Query, "query"),
    (Statement::Write, "write"),
    (Statement::Ddl, "ddl"),
    (Statement::Transaction, "transaction"),
    (Statement::Session, "session"),
    (Statement::Copy, "copy"),
    (Statement::Admin, "admin"),
];

static STATEMENTS: [Times; KINDS.len()] = [const { Times::new() }; KINDS.len()];
static STATEMENT_ERRORS: [Count; KINDS.len()] = [const { Count(AtomicU64::new(0)) }; KINDS.len()];

/// How long statements of a kind run until they are done or give their first row. COMMIT is told apart.
#[must_use]
pub fn statement(kind: Statement) -> &'static Times {
    &STATEMENTS[kind as usize]
}

/// Statements of a kind that ended with an error before their first row.
#[must_use]
pub fn statement_errors(kind: Statement) -> &'static Count {
    &STATEMENT_ERRORS[kind as usize]
}

/// Commits that wrote something: from the end of the transaction until it is durable and applied.
pub static COMMITS: Times = Times::new();
/// Waits for locks that another transaction held.
pub static LOCK_WAITS: Times = Times::new();
/// Transactions that would have waited for themselves.
pub static DEADLOCKS: Count = Count(AtomicU64::new(0));
/// Transactions that were rolled back, also by an error.
pub static ROLLBACKS: Count = Count(AtomicU64::new(0));
/// Applying one entry.
pub static APPLIES: Times = Times::new();

/// Appends all of them in Prometheus' text format.
pub(crate) fn render(out: &mut String) {
    let head = |out: &mut String, name: &str, kind: &str, help: &str| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    };
    let name = "perigee_statement_seconds";
    head(out, name, "histogram", "Time of statements until they are done or give their first row, by kind.");
    for (kind, label) in KINDS {
        statement(kind).render(name, &format!("kind=\"{label}\""), out);
    }
    let name = "perigee_statement_errors_total";
    head(out, name, "counter", "Statements that ended with an error, by kind.");
    for (kind, label) in KINDS {
        let _ = writeln!(out, "{name}{{kind=\"{label}\"}} {}", statement_errors(kind).0.load(Ordering::Relaxed));
    }
    for (name, times, help) in [
        ("perigee_commit_seconds", &COMMITS, "Time of commits that wrote something, until durable and applied."),
        ("perigee_lock_wait_seconds", &LOCK_WAITS, "Waits for locks that another transaction held."),
        ("perigee_apply_seconds", &APPLIES, "Time of applying one log entry."),
    ] {
        head(out, name, "histogram", help);
        times.render(name, "", out);
    }
    for (name, count, help) in [
        ("perigee_deadlocks_total", &DEADLOCKS, "Transactions that would have waited for themselves."),
        ("perigee_rollbacks_total", &ROLLBACKS, "Transactions rolled back, also by an error."),
    ] {
        head(out, name, "counter", help);
        let _ = writeln!(out, "{name} {}", count.0.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rendered_for_prometheus() {
        let times = Times::new();
        for micros in [1, 10, 11, 3_000_000, 60_000_000] {
            times.record(Duration::from_micros(micros));
        }
        let mut text = String::new();
        times.render("x_seconds", "kind=\"a\"", &mut text);
        for line in [
            "x_seconds_bucket{kind=\"a\",le=\"0.00001\"} 2",
            "x_seconds_bucket{kind=\"a\",le=\"0.000025\"} 3",
            "x_seconds_bucket{kind=\"a\",le=\"5\"} 4",
            "x_seconds_bucket{kind=\"a\",le=\"+Inf\"} 5",
            "x_seconds_sum{kind=\"a\"} 63.000022",
            "x_seconds_count{kind=\"a\"} 5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        let mut plain = String::new();
        times.render("x_seconds", "", &mut plain);
        assert!(plain.contains("x_seconds_bucket{le=\"10\"} 4\n") && plain.contains("x_seconds_count 5\n"), "{plain}");
    }

    #[test]
    fn kinds_stand_in_order() {
        for (i, (kind, _)) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, i);
        }
        statement(Statement::Ddl).record(Duration::from_millis(1));
        let mut text = String::new();
        render(&mut text);
        assert!(text.contains("perigee_statement_seconds_count{kind=\"ddl\"} 1"), "{text}");
        assert!(text.contains("# TYPE perigee_lock_wait_seconds histogram"), "{text}");
    }
}
