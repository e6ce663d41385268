//! Answers of the LSM for unique keys, bounded.
//!
//! Holds what the LSM holds for a key, never more: the deltas are asked first. Keys that are not in the LSM are not
//! cached, so an empty cache and an absent key look alike and the LSM decides.

use std::hash::{Hash, Hasher};

use perigee_types::{IndexId, Oid};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};
use rustc_hash::FxBuildHasher;

use super::{KeyBytes, VidList};

/// Cached answers of all unique indexes.
pub(crate) struct IndexCache {
    keys: Cache<Owned, VidList, Weight, FxBuildHasher>,
}

#[derive(Clone, PartialEq, Eq)]
struct Owned {
    storage: Oid,
    index: IndexId,
    key: KeyBytes,
}

struct Borrowed<'a> {
    storage: Oid,
    index: IndexId,
    key: &'a [u8],
}

impl Hash for Owned {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Borrowed { storage: self.storage, index: self.index, key: &self.key }.hash(state);
    }
}

impl Hash for Borrowed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.storage, self.index, self.key).hash(state);
    }
}

impl Equivalent<Owned> for Borrowed<'_> {
    fn equivalent(&self, other: &Owned) -> bool {
        self.storage == other.storage && self.index == other.index && self.key == other.key.as_slice()
    }
}

#[derive(Clone)]
struct Weight;

impl Weighter<Owned, VidList> for Weight {
    fn weight(&self, owned: &Owned, vids: &VidList) -> u64 {
        let spilled = if owned.key.spilled() { owned.key.len() } else { 0 };
        (std::mem::size_of::<(Owned, VidList)>() + spilled + if vids.spilled() { vids.len() * 8 } else { 0 }) as u64
    }
}

impl IndexCache {
    /// A cache of at most `bytes`.
    pub(crate) fn new(bytes: u64) -> Self {
        let items = usize::try_from(bytes / 128).unwrap_or(usize::MAX).min(1 << 20);
        let (items, bytes) = (items.max(64), bytes.max(4_096));
        Self { keys: Cache::with(items, bytes, Weight, FxBuildHasher, DefaultLifecycle::default()) }
    }

    pub(crate) fn get(&self, storage: Oid, index: IndexId, key: &[u8]) -> Option<VidList> {
        self.keys.get(&Borrowed { storage, index, key })
    }

    pub(crate) fn insert(&self, storage: Oid, index: IndexId, key: &[u8], vids: VidList) {
        self.keys.insert(Owned { storage, index, key: KeyBytes::from_slice(key) }, vids);
    }

    /// Whether more fits without another answer's going.
    pub(crate) fn has_room(&self) -> bool {
        self.keys.weight() < self.keys.capacity() / 4 * 3
    }

    pub(crate) fn remove(&self, storage: Oid, index: IndexId, key: &[u8]) {
        self.keys.remove(&Borrowed { storage, index, key });
    }
}
