//! Gauges that are read when somebody asks for the metrics.

use perigee_config::MemoryPlan;
use perigee_consensus::ConsensusMetrics;
use perigee_storage::budget::MemoryBudget;
use perigee_storage::store::{StoreStatistics, TableStatistics};
use perigee_telemetry::names;

fn set(name: &'static str, value: u64) {
    metrics::gauge!(name).set(value as f64);
}

/// Positions of the log.
pub(crate) fn log(raft: &ConsensusMetrics) {
    set(names::LOG_LAST_INDEX, raft.last.0);
    set(names::LOG_COMMITTED_INDEX, raft.committed.0);
    set(names::LOG_SYNCED_INDEX, raft.synced.0);
    set(names::LOG_APPLIED_INDEX, raft.applied.0);
    set(names::LOG_BYTES, raft.disk_bytes);
    set(names::RAFT_TERM, raft.term.0);
    set(names::RAFT_LEADER, u64::from(raft.serving));
    set(names::RAFT_VOTERS, raft.voters as u64);
    set(names::RAFT_IN_FLIGHT, raft.in_flight as u64);
    metrics::counter!(names::LOG_SYNCS_TOTAL).absolute(raft.syncs);
    metrics::counter!(names::LOG_ENTRIES_TOTAL).absolute(raft.entries);
}

/// Tables and their tiers.
pub(crate) fn storage(store: &StoreStatistics) {
    let sum = |of: fn(&TableStatistics) -> u64| store.tables.iter().map(of).sum::<u64>();
    set(names::CHECKPOINT_INDEX, store.checkpoint.0);
    set(names::TABLES, store.tables.len() as u64);
    set(names::ROWS, sum(|table| table.rows));
    set(names::DEAD_ROWS, sum(|table| table.dead_rows));
    for (tier, bytes) in [("hot", sum(|table| table.hot_bytes)), ("warm", sum(|table| table.warm_bytes))] {
        metrics::gauge!(names::TIER_BYTES, "tier" => tier).set(bytes as f64);
    }
}

/// The memory budget and what is held of it.
pub(crate) fn memory(plan: &MemoryPlan, budget: &MemoryBudget) {
    for (share, limit, used) in [
        ("root", plan.root, budget.root.usage()),
        ("hot", plan.hot, budget.hot.usage()),
        ("dirty", plan.dirty, budget.dirty.usage()),
        ("query", plan.query, budget.query.usage()),
        ("sessions", plan.sessions, budget.session.usage()),
        ("log_cache", plan.log_cache, budget.log_cache.usage()),
    ] {
        metrics::gauge!(names::MEMORY_BUDGET_BYTES, "share" => share).set(limit.bytes() as f64);
        metrics::gauge!(names::MEMORY_USED_BYTES, "share" => share).set(used as f64);
    }
}
