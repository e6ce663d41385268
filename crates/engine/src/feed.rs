//! The change feed over this node's log.

use perigee_consensus::{Consensus, EntryKind};
use perigee_log::LogError;
use perigee_streams::{CommittedLog, FeedError, LoggedEntry, Position};
use perigee_types::LogIndex;

/// The log of a node as the feed reads it.
pub(crate) struct NodeLog(pub(crate) Consensus);

impl CommittedLog for NodeLog {
    fn first(&self) -> LogIndex {
        self.0.first_index()
    }

    fn read(&self, from: LogIndex, to: LogIndex, bytes_max: usize) -> Result<Vec<LoggedEntry>, FeedError> {
        let entries = self.0.read(from, to, bytes_max).map_err(|error| match error {
            LogError::Purged { first, .. } => FeedError::Gone { first: Position::before(LogIndex(first)) },
            error => FeedError::Log(error.to_string()),
        })?;
        let logged = entries.into_iter().map(|entry| LoggedEntry {
            index: entry.index,
            term: entry.term,
            time: entry.time,
            payload: if entry.kind == EntryKind::Normal && !entry.is_fenced() {
                entry.payload
            } else {
                bytes::Bytes::new()
            },
        });
        Ok(logged.collect())
    }
}
