//! What a store is opened with, and what it tells about itself.

use std::sync::Arc;
use std::time::Duration;

use perigee_types::{Hlc, LogIndex, Oid, Term};

use crate::cold::ColdStore;

/// How a store behaves.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Name of the first superuser of a new store.
    pub superuser: String,
    /// How long, in time of the log, chunks stay in memory after their last use; `None` for as long as there is room.
    pub hot_retention: Option<Duration>,
    /// Dirty bytes from which a checkpoint is due.
    pub checkpoint_bytes: u64,
    /// Time of the log since the last checkpoint from which one is due, when anything changed.
    pub checkpoint_interval: Duration,
    /// Whether the store rewrites worn chunks in a thread of its own; else call [`super::Store::maintain`].
    pub maintenance_thread: bool,
    /// Where cold files are; `None` where the node keeps none.
    pub cold: Option<Arc<ColdStore>>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            superuser: "postgres".to_owned(),
            hot_retention: None,
            checkpoint_bytes: 64 << 20,
            checkpoint_interval: Duration::from_secs(60),
            maintenance_thread: true,
            cold: None,
        }
    }
}

/// What the restored checkpoint holds; all zero for a new store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Last index in it.
    pub index: LogIndex,
    /// Term of that entry.
    pub term: Term,
    /// Chain hash of the log at that entry.
    pub chain_hash: [u8; 32],
    /// Time of that entry.
    pub time: Hlc,
    /// The last membership, as consensus wrote it.
    pub membership: Option<Vec<u8>>,
}

/// Where a sequence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceState {
    /// The next value that has not been handed out.
    pub next: i64,
    /// Whether `nextval` was ever called.
    pub called: bool,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyOutcome {
    /// Its changes are made.
    Applied,
    /// It was proposed in another term than it was committed in: nothing changed.
    Fenced,
    /// What it depends on beside the tables had changed, or its staged parts are not there: nothing was done.
    Rejected,
    /// It changed nothing; the digest that it attests is this node's. The caller has to compare the chain hash.
    Attested(super::Attestation),
}

/// One table in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableStatistics {
    /// The table's storage oid.
    pub storage: Oid,
    /// Rows that have not ended, about.
    pub rows: u64,
    /// Rows that have ended and are not dropped yet.
    pub dead_rows: u64,
    /// Count of chunks.
    pub chunks: usize,
    /// Bytes, as Arrow, of chunks in memory, and of open rows.
    pub hot_bytes: u64,
    /// Bytes, as Arrow, of chunks in the LSM only.
    pub warm_bytes: u64,
    /// Bytes of index entries in memory.
    pub index_delta_bytes: u64,
}

/// A store in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatistics {
    /// Each table, by storage oid.
    pub tables: Vec<TableStatistics>,
    /// Last index that readers see.
    pub applied: LogIndex,
    /// Index of the last checkpoint.
    pub checkpoint: LogIndex,
    /// Time of the newest entry that the last checkpoint holds, in microseconds since 1970; 0 before the first.
    pub checkpoint_micros: u64,
    /// Oldest index that a reader may ask for.
    pub horizon: LogIndex,
    /// Open snapshots.
    pub snapshots: usize,
    /// Bytes that no checkpoint holds yet.
    pub dirty_bytes: u64,
    /// Bytes of decoded columns of warm chunks.
    pub warm_cache_bytes: u64,
    /// Staged transactions that have not ended.
    pub staged: usize,
}
