//! What `/ready` looks at, each with a state and the time that it took: disk, memory, data directory, log, quorum.
//!
//! Whether the node is ready says the last alone: a full disk is read from, and who frees space has to find a way in.

use std::path::Path;
use std::time::Instant;

use perigee_consensus::ConsensusMetrics;
use perigee_storage::budget::MemoryBudget;
use perigee_storage::disk::{DiskReserve, Room};
use serde_json::{Value, json};

/// Entries that are committed and not applied here, from which on the node is behind.
const BEHIND: u64 = 10_000;
/// Hundredths of the memory budget from which on there is little left.
const MEMORY_HIGH: u64 = 95;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// The node goes on, with less.
    Degraded,
    /// It cannot serve.
    Unhealthy,
}

impl State {
    pub(crate) fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Degraded => "degraded",
            State::Unhealthy => "unhealthy",
        }
    }
}

/// What was looked at, and what was found.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    name: &'static str,
    pub(crate) state: State,
    duration_ms: f64,
    detail: String,
}

impl Check {
    /// Looks, and takes the time.
    pub(crate) fn of(name: &'static str, look: impl FnOnce() -> (State, String)) -> Self {
        let started = Instant::now();
        let (state, detail) = look();
        Self { name, state, duration_ms: started.elapsed().as_secs_f64() * 1e3, detail }
    }

    /// For the operations door.
    pub(crate) fn shown(&self) -> (String, Value) {
        let shown = json!({"status": self.state.word(), "duration_ms": self.duration_ms, "detail": self.detail});
        (self.name.to_owned(), shown)
    }
}

/// Whether there is room for what is written.
pub(crate) fn disk(disk: &DiskReserve) -> (State, String) {
    let state = match disk.room(0) {
        Room::Enough => State::Ok,
        _ => State::Degraded,
    };
    (state, format!("{} MB free, {} MB are kept", disk.free_bytes() >> 20, disk.reserve_bytes() >> 20))
}

/// Whether there is memory left.
pub(crate) fn memory(budget: &MemoryBudget) -> (State, String) {
    let (used, limit) = (budget.root.usage(), budget.root.limit());
    let high = u128::from(used) * 100 >= u128::from(limit) * u128::from(MEMORY_HIGH);
    let state = if high { State::Degraded } else { State::Ok };
    (state, format!("{} MB of {} MB are held", used >> 20, limit >> 20))
}

/// Whether the folder is there, and on a file system that can be written.
pub(crate) fn folder(root: &Path) -> (State, String) {
    match std::fs::metadata(root) {
        Ok(folder) if !folder.is_dir() => (State::Unhealthy, "it is no folder".to_owned()),
        Ok(folder) if folder.permissions().readonly() => (State::Unhealthy, "it cannot be written".to_owned()),
        Ok(_) => (State::Ok, "it is there".to_owned()),
        Err(error) => (State::Unhealthy, error.to_string()),
    }
}

/// Whether what is committed is applied.
pub(crate) fn log(raft: &ConsensusMetrics) -> (State, String) {
    let behind = raft.committed.0.saturating_sub(raft.applied.0);
    let state = if behind > BEHIND { State::Degraded } else { State::Ok };
    let (last, synced, applied) = (raft.last, raft.synced, raft.applied);
    (state, format!("entry {last} is the last, {synced} is on disk, {applied} is applied"))
}

#[cfg(test)]
mod tests {
    use perigee_types::LogIndex;

    use super::*;

    #[test]
    fn what_is_found_has_a_state() {
        let folder_of_tests = tempfile::tempdir().unwrap();
        assert_eq!(folder(folder_of_tests.path()).0, State::Ok);
        assert_eq!(folder(&folder_of_tests.path().join("gone")).0, State::Unhealthy);
        let raft = |committed, applied| ConsensusMetrics {
            committed: LogIndex(committed),
            applied: LogIndex(applied),
            ..ConsensusMetrics::default()
        };
        assert_eq!(log(&raft(5, 5)).0, State::Ok);
        assert_eq!(log(&raft(BEHIND + 6, 5)).0, State::Degraded);
        assert!(State::Ok < State::Degraded && State::Degraded < State::Unhealthy);
        let (name, shown) = Check::of("log", || log(&raft(5, 5))).shown();
        assert_eq!((name.as_str(), &shown["status"]), ("log", &json!("ok")));
    }
}
