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

    Counter PG_CONNECTIONS_TOTAL = "perigee_pg_connections_total", "Connections to the PostgreSQL door.";
    Counter PG_PANICS_TOTAL = "perigee_pg_panics_total", "PostgreSQL sessions that ended by a panic.";
    Counter REDIS_CONNECTIONS_TOTAL = "perigee_redis_connections_total", "Connections to the Redis door.";
    Counter REDIS_PANICS_TOTAL = "perigee_redis_panics_total", "Redis connections that ended by a panic.";
    Counter REDIS_COMMANDS_TOTAL = "perigee_redis_commands_total", "Commands of the Redis door, since CONFIG RESETSTAT.";
    Gauge REDIS_CLIENTS = "perigee_redis_clients", "Open connections of the Redis door.";
    Counter REST_CONNECTIONS_TOTAL = "perigee_rest_connections_total", "Connections to the REST door.";
    Counter REST_PANICS_TOTAL = "perigee_rest_panics_total", "REST connections that ended by a panic.";
    Counter REST_REQUESTS_TOTAL = "perigee_rest_requests_total", "Requests of the REST door, by class of their status.";
    Counter REST_DENIALS_TOTAL = "perigee_rest_denials_total", "Requests of the REST door refused for who sent them.";
    Counter REST_REPLAYS_TOTAL = "perigee_rest_replays_total", "Requests of the REST door that came again with their idempotency key and got the first answer.";
    Counter GRPC_CONNECTIONS_TOTAL = "perigee_grpc_connections_total", "Connections to the gRPC door.";
    Counter GRPC_PANICS_TOTAL = "perigee_grpc_panics_total", "gRPC connections that ended by a panic.";
    Counter GRPC_DENIALS_TOTAL = "perigee_grpc_denials_total", "Calls of the gRPC door refused for who sent them.";
    Counter OPS_CONNECTIONS_TOTAL = "perigee_ops_connections_total", "Connections to the operations door.";
    Counter OPS_PANICS_TOTAL = "perigee_ops_panics_total", "Connections of the operations door that ended by a panic.";
    Counter GRPC_REPLAYS_TOTAL = "perigee_grpc_replays_total", "Calls of the gRPC door that came again with their idempotency key and got the first answer.";
    Counter CONNECTIONS_REFUSED_TOTAL = "perigee_connections_refused_total", "Connections refused because there were too many, by door.";
    Counter RATE_LIMITED_TOTAL = "perigee_rate_limited_total", "Requests refused because too many came, by door and by what they are counted by (address, identity, login).";
    Gauge SESSIONS = "perigee_sessions", "Open sessions.";
    Gauge SESSIONS_MAX = "perigee_sessions_max", "Sessions that may be open at a time.";
    Counter ERRORS_TOTAL = "perigee_errors_total", "Errors that clients of SQL were told, by SQLSTATE.";
    Counter WRITE_STALLS_TOTAL = "perigee_write_stalls_total", "Writes that waited for a checkpoint to free memory.";
    Counter COMPAT_GAPS_TOTAL = "perigee_compat_gaps_total", "Statements refused because something is not supported.";

    Counter ROWS_EXPIRED_TOTAL = "perigee_rows_expired_total", "Rows that ended because they were older than their table's ttl.";

    Gauge BACKUP_ARCHIVED_INDEX = "perigee_backup_archived_index", "Last entry of the log that the archive holds.";
    Gauge BACKUP_LAG_SECONDS = "perigee_backup_lag_seconds", "Time since the archive had all that was committed: what a loss of everything would cost.";
    Gauge BACKUP_BASE_TIME_SECONDS = "perigee_backup_base_time_seconds", "When the newest base backup that this node knows of was made, in seconds since 1970.";
    Counter BACKUP_FAILURES_TOTAL = "perigee_backup_failures_total", "Times that the archive could not be written.";

    Counter OBJECT_STORE_REQUESTS_TOTAL = "perigee_object_store_requests_total", "Requests to object stores over HTTP, those that were made again among them.";
    Counter OBJECT_STORE_FAILURES_TOTAL = "perigee_object_store_failures_total", "Requests to object stores that got no answer, or were told to come again.";

    Counter TRACE_SPANS_TOTAL = "perigee_trace_spans_total", "Spans that the receiver of OTLP has taken.";
    Counter TRACE_SPANS_LOST_TOTAL = "perigee_trace_spans_lost_total", "Spans that found no place, or whose receiver did not take them.";

    Gauge LOG_LAST_INDEX = "perigee_log_last_index", "Last index written to the log.";
    Gauge LOG_COMMITTED_INDEX = "perigee_log_committed_index", "Last index known to be committed.";
    Gauge LOG_SYNCED_INDEX = "perigee_log_synced_index", "Last index that is on disk.";
    Gauge LOG_APPLIED_INDEX = "perigee_log_applied_index", "Last index applied.";
    Gauge LOG_BYTES = "perigee_log_bytes", "Size of the log's segments.";
    Counter LOG_ENTRIES_TOTAL = "perigee_log_entries_total", "Entries written to the log.";
    Counter LOG_SYNCS_TOTAL = "perigee_log_syncs_total", "fdatasync calls of the log.";
    Gauge RAFT_TERM = "perigee_raft_term", "Raft term.";
    Gauge RAFT_LEADER = "perigee_raft_leader", "1 while this node leads.";
    Gauge RAFT_VOTERS = "perigee_raft_voters", "Voters of the cluster.";
    Gauge RAFT_IN_FLIGHT = "perigee_raft_in_flight", "Proposals without an answer.";

    Gauge LOCK_WAITERS = "perigee_lock_waiters", "Transactions that wait for a lock now.";

    Gauge CHECKPOINT_INDEX = "perigee_checkpoint_index", "Index of the last checkpoint.";
    Histogram CHECKPOINT_SECONDS = "perigee_checkpoint_seconds", "Time of a checkpoint.";
    Gauge TABLES = "perigee_tables", "Tables that have storage.";
    Gauge ROWS = "perigee_rows", "Rows that have not ended, about.";
    Gauge DEAD_ROWS = "perigee_dead_rows", "Row versions that have ended and are not dropped yet.";
    Gauge TIER_BYTES = "perigee_tier_bytes", "Table data as Arrow, by tier (hot, warm).";
    Gauge LSM_BYTES = "perigee_lsm_bytes", "Size of the LSM on disk.";

    Gauge MEMORY_BUDGET_BYTES = "perigee_memory_budget_bytes", "Memory budget, by share.";
    Gauge MEMORY_USED_BYTES = "perigee_memory_used_bytes", "Memory held, by share.";
    Gauge MEMORY_RSS_BYTES = "perigee_memory_rss_bytes", "Resident memory of the process.";
    Gauge DISK_FREE_BYTES = "perigee_disk_free_bytes", "Free space on the data directory's disk.";
    Gauge DISK_BYTES = "perigee_disk_bytes", "Size of the data directory's disk.";
    Gauge DISK_RESERVE_BYTES = "perigee_disk_reserve_bytes", "Free space below which writes are refused.";
}

/// Counters that have labels: which of their series there are shows with time.
pub const LABELLED: [&str; 5] =
    [REST_REQUESTS_TOTAL, CONNECTIONS_REFUSED_TOTAL, RATE_LIMITED_TOTAL, COMPAT_GAPS_TOTAL, ERRORS_TOTAL];

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
