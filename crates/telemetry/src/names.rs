//! Every metric, with its kind and meaning.
//!
//! Names end in their unit; counters end in `_total`. Labels are few and bounded: never a table, a user or a statement.

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Distribution over fixed bounds.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($kind:ident $constant:ident = $name:literal, $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = $name;)*

        /// All of them.
        pub const ALL: &[Description] =
            &[$(Description { name: $name, kind: Kind::$kind, help: $help }),*];
    };
}

metrics! {
    Gauge BUILD_INFO = "perigee_build_info", "1, labelled with the version.";
    Gauge START_TIME_SECONDS = "perigee_start_time_seconds", "When the process started, in seconds since 1970.";
    Gauge READY = "perigee_ready", "1 while reads and writes can be served.";

    Gauge SESSIONS = "perigee_sessions", "Open sessions.";
    Counter SESSIONS_TOTAL = "perigee_sessions_total", "Sessions opened.";
    Counter SESSIONS_REFUSED_TOTAL = "perigee_sessions_refused_total", "Connections refused before a session, by reason.";
    Counter STATEMENTS_TOTAL = "perigee_statements_total", "Statements finished, by path (point, query, write, other).";
    Counter STATEMENT_ERRORS_TOTAL = "perigee_statement_errors_total", "Statements that failed, by SQLSTATE class.";
    Histogram STATEMENT_SECONDS = "perigee_statement_seconds", "Time of a statement in the engine.";
    Counter TRANSACTIONS_TOTAL = "perigee_transactions_total", "Transactions ended, by outcome (commit, rollback).";
    Counter COMPAT_GAPS_TOTAL = "perigee_compat_gaps_total", "Statements refused because something is not supported.";

    Gauge LOG_LAST_INDEX = "perigee_log_last_index", "Last index written to the log.";
    Gauge LOG_SYNCED_INDEX = "perigee_log_synced_index", "Last index that is on disk.";
    Gauge LOG_BYTES = "perigee_log_bytes", "Size of the log's segments.";
    Counter LOG_SYNCS_TOTAL = "perigee_log_syncs_total", "fdatasync calls of the log.";
    Histogram LOG_SYNC_SECONDS = "perigee_log_sync_seconds", "Time of an fdatasync of the log.";

    Gauge RAFT_TERM = "perigee_raft_term", "Raft term.";
    Gauge RAFT_LEADER = "perigee_raft_leader", "1 while this node leads.";
    Gauge APPLIED_INDEX = "perigee_applied_index", "Last applied index.";
    Gauge CHECKPOINT_INDEX = "perigee_checkpoint_index", "Index of the last checkpoint.";
    Counter CHECKPOINTS_TOTAL = "perigee_checkpoints_total", "Checkpoints written.";
    Histogram CHECKPOINT_SECONDS = "perigee_checkpoint_seconds", "Time of a checkpoint.";

    Gauge MEMORY_BUDGET_BYTES = "perigee_memory_budget_bytes", "Memory budget, by share.";
    Gauge MEMORY_USED_BYTES = "perigee_memory_used_bytes", "Memory held, by share.";
    Gauge MEMORY_RSS_BYTES = "perigee_memory_rss_bytes", "Resident memory of the process.";
    Gauge TIER_BYTES = "perigee_tier_bytes", "Table data, by tier (hot, warm, cold).";
    Gauge LSM_BYTES = "perigee_lsm_bytes", "Size of the LSM on disk.";
    Gauge DISK_FREE_BYTES = "perigee_disk_free_bytes", "Free space on the data directory's disk.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        let mut seen = std::collections::BTreeSet::new();
        for metric in ALL {
            assert!(seen.insert(metric.name), "{} twice", metric.name);
            assert!(metric.name.starts_with("perigee_"), "{}", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert!(metric.kind != Kind::Histogram || metric.name.ends_with("_seconds"), "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
    }
}
