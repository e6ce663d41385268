//! An index of a table: keys to vids.
//!
//! ```text
//! apply ----> active delta ---freeze---> frozen delta ---ingest---> LSM ----> cache
//!                  1                          2                      4          3      order of a lookup
//! ```
//!
//! A delta is ordered and authoritative for what changed since its checkpoint; it holds additions *and* removals, so
//! apply never reads the LSM. A lookup takes candidates in the order above and lets begin and end of each vid decide. A
//! candidate whose version is gone is simply not visible, so a late or missing removal costs space, never an answer.
//!
//! | index | key in memory and in the LSM | vids |
//! | --- | --- | --- |
//! | unique | key | of all its versions, newest first |
//! | unique, with a NULL in the key | key, vid | one |
//! | others | key, vid | one |

pub(crate) mod cache;
mod delta;
mod entries;
mod lookup;
mod range;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use perigee_types::{IndexId, Oid};
use smallvec::SmallVec;

use super::context::TableContext;
use crate::budget::Guard;
use crate::kv::keys::Kind;

pub(crate) use delta::{Delta, KeyDelta};
pub(crate) use entries::{array_entries, row_entry};
pub(crate) use range::RangeRequest;

/// Bytes of an index key; short ones are held in place.
pub(crate) type KeyBytes = SmallVec<[u8; 24]>;
/// Versions of one key, newest first.
pub(crate) type VidList = SmallVec<[u64; 2]>;

/// One index of one table.
pub(crate) struct TableIndex {
    pub(crate) oid: IndexId,
    /// Numbers of the key columns.
    pub(crate) columns: Arc<[u16]>,
    pub(crate) unique: bool,
    ready: AtomicBool,
    /// Whether the LSM may hold anything of it.
    stored: AtomicBool,
    deltas: RwLock<Deltas>,
}

/// What changed since the last checkpoint.
struct Deltas {
    active: Delta,
    frozen: Option<Arc<Delta>>,
    /// Counts freezes and ends of checkpoints: an answer of the LSM may be cached only if none came in between.
    generation: u64,
    bytes: Guard,
}

impl TableIndex {
    pub(crate) fn new(
        context: &TableContext,
        oid: IndexId,
        columns: &[u16],
        unique: bool,
        ready: bool,
    ) -> Arc<TableIndex> {
        Arc::new(Self {
            oid,
            columns: columns.into(),
            unique,
            ready: AtomicBool::new(ready),
            stored: AtomicBool::new(false),
            deltas: RwLock::new(Deltas {
                active: Delta::default(),
                frozen: None,
                generation: 0,
                bytes: context.budget.dirty.reserve(0),
            }),
        })
    }

    /// Whether every row is in it.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Whether the LSM may hold anything of it.
    pub(crate) fn is_stored(&self) -> bool {
        self.stored.load(Ordering::Acquire)
    }

    pub(crate) fn set_stored(&self) {
        self.stored.store(true, Ordering::Release);
    }

    /// Which keys of the LSM hold it.
    pub(crate) fn kind(&self) -> Kind {
        if self.unique { Kind::Unique } else { Kind::Index }
    }

    /// Makes the entry of an encoded key.
    fn finish_entry(&self, key: &mut Vec<u8>, has_null: bool, vid: u64) {
        if !self.unique || has_null {
            key.extend_from_slice(&vid.to_be_bytes());
        }
    }

    /// Adds rows.
    pub(crate) fn add(&self, entries: impl IntoIterator<Item = (KeyBytes, u64)>) {
        let mut deltas = self.deltas.write();
        for (key, vid) in entries {
            deltas.active.add(key, vid);
        }
        deltas.recount();
    }

    /// Removes versions that nobody sees any more.
    pub(crate) fn remove(&self, entries: impl IntoIterator<Item = (KeyBytes, u64)>) {
        let mut deltas = self.deltas.write();
        for (key, vid) in entries {
            deltas.active.remove(key, vid);
        }
        deltas.recount();
    }

    /// Bytes of both deltas.
    pub(crate) fn delta_bytes(&self) -> u64 {
        self.deltas.read().bytes.bytes()
    }

    /// Begins a checkpoint: what changed so far is frozen and given, `None` where nothing did.
    pub(crate) fn freeze(&self) -> Option<Arc<Delta>> {
        let mut deltas = self.deltas.write();
        debug_assert!(deltas.frozen.is_none(), "one checkpoint at a time");
        if deltas.active.is_empty() {
            return None;
        }
        let frozen = Arc::new(std::mem::take(&mut deltas.active));
        deltas.frozen = Some(Arc::clone(&frozen));
        deltas.generation += 1;
        Some(frozen)
    }

    /// Forgets cached answers that the coming run makes stale. Nobody caches a frozen key.
    pub(crate) fn purge_cache(&self, context: &TableContext, frozen: &Delta) {
        for (key, _) in frozen.iter() {
            context.index_cache.remove(context.storage, self.oid, key);
        }
    }

    /// Ends a checkpoint: the LSM holds what was frozen.
    pub(crate) fn thaw(&self) {
        let mut deltas = self.deltas.write();
        let frozen = deltas.frozen.take();
        self.set_stored();
        deltas.generation += 1;
        deltas.recount();
        drop(deltas);
        // A big tree takes its time to drop; readers need not wait for it.
        drop(frozen);
    }
}

impl Deltas {
    fn recount(&mut self) {
        let bytes = self.active.bytes() + self.frozen.as_ref().map_or(0, |frozen| frozen.bytes());
        if self.bytes.bytes() != bytes as u64 {
            self.bytes.resize(bytes);
        }
    }
}

/// The oid-bound part of an index's keys in the LSM.
pub(crate) fn lsm_prefix(kind: Kind, storage: Oid, index: IndexId) -> Vec<u8> {
    crate::checkpoint::format::index_prefix(kind, storage, index)
}
