//! The log as the feed reads it. The engine implements it over consensus, tests over a list.

use bytes::Bytes;
use perigee_types::{Hlc, LogIndex, Term};

use crate::FeedError;

/// A committed entry.
#[derive(Clone, Debug)]
pub struct LoggedEntry {
    /// Its position.
    pub index: LogIndex,
    /// The term that it stands in.
    pub term: Term,
    /// Its time.
    pub time: Hlc,
    /// What storage applies; empty where there is nothing to apply, also for an entry that came too late to take effect.
    pub payload: Bytes,
}

/// Committed and applied entries, in order.
pub trait CommittedLog: Send + Sync {
    /// The first entry that is kept.
    fn first(&self) -> LogIndex;

    /// The entries from `from` to `to`, both included, as far as they are applied, of about `bytes_max` in all, but at
    /// least one. May block on the disk.
    ///
    /// # Errors
    /// [`FeedError::Gone`] below the first entry, [`FeedError::Log`] when it cannot be read.
    fn read(&self, from: LogIndex, to: LogIndex, bytes_max: usize) -> Result<Vec<LoggedEntry>, FeedError>;
}
