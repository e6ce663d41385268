//! The log itself. (Skeleton: signatures first.)
#![allow(missing_docs, unused_variables, clippy::unimplemented, reason = "skeleton")]
use std::sync::Arc;
use perigee_runtime::Files;
use crate::{ChainHash, LogError, LogOptions, Record, Recovery};

/// An open log.
pub struct Log;

impl Log {
    pub fn open(files: Arc<dyn Files>, options: LogOptions) -> Result<(Log, Recovery), LogError> { unimplemented!() }
    /// One frame (more when over 4 MiB), written, not yet synced. Contiguous indexes.
    pub fn append(&self, records: &[Record], committed: u64) -> Result<(), LogError> { unimplemented!() }
    /// fdatasync of what was appended before the call; a failure poisons the log.
    pub fn sync(&self) -> Result<(), LogError> { unimplemented!() }
    pub fn synced_index(&self) -> u64 { unimplemented!() }
    /// (term, index) of the last record; None where the log is empty (see last_purged).
    pub fn last(&self) -> Option<(u64, u64)> { unimplemented!() }
    /// First record that can be read; last + 1 where there is none.
    pub fn first_index(&self) -> u64 { unimplemented!() }
    /// (term, index) given to the last purge_to / reset: Raft's last_purged. Records up to it may still be readable.
    pub fn last_purged(&self) -> Option<(u64, u64)> { unimplemented!() }
    /// Records [from, to), at least one if there, up to bytes_max of payload; ends at the end of the log. from < first: Purged.
    pub fn read(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<Record>, LogError> { unimplemented!() }
    /// Known for stored records and for the last purged one.
    pub fn term_at(&self, index: u64) -> Option<u64> { unimplemented!() }
    /// Known for stored records and for the one before the first.
    pub fn chain_hash(&self, index: u64) -> Result<ChainHash, LogError> { unimplemented!() }
    /// Removes every record behind index; durable on return.
    pub fn truncate_after(&self, index: u64) -> Result<(), LogError> { unimplemented!() }
    /// Remembers (term, index) as purged, durably, and removes whole segments below. index must be stored.
    pub fn purge_to(&self, index: u64) -> Result<(), LogError> { unimplemented!() }
    /// Drops everything; the next record is index + 1 and chains to hash (a snapshot was installed).
    pub fn reset_to(&self, term: u64, index: u64, hash: ChainHash) -> Result<(), LogError> { unimplemented!() }
    /// Bytes of recent records kept in memory (default 16 MiB).
    pub fn set_cache_bytes(&self, bytes_max: usize) { unimplemented!() }
    /// Bytes of the segment files.
    pub fn disk_bytes(&self) -> u64 { unimplemented!() }
    /// Syncs and writes the mark of a clean stop; later writes fail with Closed.
    pub fn close(&self) -> Result<(), LogError> { unimplemented!() }
}
