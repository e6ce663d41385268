//! The ordered map on disk: a small trait, fjall behind it, and a twin in memory for tests and simulation.
//!
//! What reaches it comes as *runs*: one sorted run is one checkpoint, atomic and durable when [`KvEngine::ingest`]
//! returns. There is no other write, so fjall's journal and memtables stay empty: its journal can lose fsynced batches
//! silently after one flipped bit, a run cannot.
//!
//! ```text
//! checkpoint --- one sorted run ---> L0 L0 L0 ---compaction---> L1 .. L6
//!                (None = tombstone)      ^ runs_waiting()          ^ drops the keys of dropped oids
//! ```

mod create;
mod error;
mod filter;
mod fjall_kv;
mod iter;
pub mod keys;
mod mem_kv;
mod run;
mod verify;

#[cfg(test)]
mod suite;

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashSet;
use perigee_types::Oid;

pub use error::KvError;
pub use fjall_kv::{FjallKv, KvOptions};
pub use mem_kv::MemKv;

/// The longest key, in bytes: fjall panics beyond it.
pub const KEY_BYTES_MAX: usize = 65_535;

/// Runs waiting for compaction beyond which a checkpoint should wait: ingestion has no back-pressure of its own.
pub const RUNS_WAITING_MAX: usize = 12;

/// Pairs in key order, from either end, over one snapshot.
pub type KvIter = Box<dyn DoubleEndedIterator<Item = Result<(Bytes, Bytes), KvError>> + Send>;

/// One change of a run: a key, and its value or `None` for a tombstone.
pub type RunItem = Result<(Vec<u8>, Option<Bytes>), KvError>;

/// Storage and index oids whose keys nobody reads any more, by group.
pub type DroppedSet = HashSet<(u32 /* group */, Oid)>;

/// An ordered map of bytes that is written in sorted runs.
///
/// Calls block on the disk; none of them belongs on the network runtime except a `get` that is known to be cached.
pub trait KvEngine: Send + Sync + 'static {
    /// The value of `key` in the newest run that names it.
    ///
    /// # Errors
    /// [`KvError::Damaged`] where the bytes on disk are not what was written; [`KvError::Io`].
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError>;

    /// The pairs within the bounds, ascending, over one snapshot taken now; a range that ends before it starts is empty.
    ///
    /// The snapshot holds back compaction until the iterator is dropped: keep it short.
    fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> KvIter;

    /// Writes one run, its keys strictly ascending, and gives the bytes of its keys and values.
    ///
    /// All of it becomes visible at once and is durable when this returns; on an error none of it is visible, now or
    /// after a restart. One run at a time: a second caller waits.
    ///
    /// # Errors
    /// The first error that `run` yields; [`KvError::KeyTooLong`], [`KvError::KeyOrder`], [`KvError::ValueTooLong`];
    /// [`KvError::Stopped`] after an earlier failure of a background thread; [`KvError::Io`].
    fn ingest(&self, run: &mut dyn Iterator<Item = RunItem>) -> Result<u64, KvError>;

    /// Bytes of all files.
    fn disk_bytes(&self) -> u64;

    /// Sorted runs that wait for compaction; reads slow down with each. See [`RUNS_WAITING_MAX`].
    fn runs_waiting(&self) -> usize;

    /// Replaces the set of oids whose keys compaction removes (see [`keys`]). Their keys may be seen until then.
    fn dropped(&self, oids: DroppedSet);

    /// Compacts everything into one run, and with it removes the keys of dropped oids. Takes long.
    ///
    /// # Errors
    /// [`KvError::Damaged`], [`KvError::Io`].
    fn compact(&self) -> Result<(), KvError>;

    /// Whether the engine still works: an error after a background thread met one.
    ///
    /// # Errors
    /// [`KvError::Stopped`].
    fn check(&self) -> Result<(), KvError>;
}

/// Every engine can be shared.
pub type SharedKv = Arc<dyn KvEngine>;
