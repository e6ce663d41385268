//! What a node says about its consensus.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use perigee_types::{LogIndex, Term};

/// A reading of a node's consensus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsensusMetrics {
    /// Current term.
    pub term: Term,
    /// Id of the leader, when there is one.
    pub leader: Option<u64>,
    /// Whether this node serves as leader.
    pub serving: bool,
    /// Number of voters.
    pub voters: usize,
    /// First index the log still has.
    pub first: LogIndex,
    /// Last index of the log.
    pub last: LogIndex,
    /// Largest index known to be committed.
    pub committed: LogIndex,
    /// Last applied index.
    pub applied: LogIndex,
    /// Last durable index.
    pub synced: LogIndex,
    /// Last checkpoint announced.
    pub checkpointed: LogIndex,
    /// Proposals without an answer.
    pub in_flight: usize,
    /// Their bytes.
    pub in_flight_bytes: usize,
    /// Frames written.
    pub frames: u64,
    /// Entries in them.
    pub entries: u64,
    /// Syncs of the log.
    pub syncs: u64,
    /// Time spent in them.
    pub sync_time: Duration,
    /// Time spent writing and syncing frames.
    pub frame_time: Duration,
    /// Bytes of the log's files.
    pub disk_bytes: u64,
}

/// Counted by the writer.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) frames: AtomicU64,
    pub(crate) entries: AtomicU64,
    pub(crate) syncs: AtomicU64,
    sync_micros: AtomicU64,
    frame_micros: AtomicU64,
}

impl Counters {
    pub(crate) fn frame(&self, entries: usize, took: Duration) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.entries.fetch_add(entries as u64, Ordering::Relaxed);
        self.frame_micros.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }

    pub(crate) fn sync(&self, took: Duration) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.sync_micros.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }

    pub(crate) fn fill(&self, metrics: &mut ConsensusMetrics) {
        metrics.frames = self.frames.load(Ordering::Relaxed);
        metrics.entries = self.entries.load(Ordering::Relaxed);
        metrics.syncs = self.syncs.load(Ordering::Relaxed);
        metrics.sync_time = Duration::from_micros(self.sync_micros.load(Ordering::Relaxed));
        metrics.frame_time = Duration::from_micros(self.frame_micros.load(Ordering::Relaxed));
    }
}
