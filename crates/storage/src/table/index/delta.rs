//! What changed in an index since a checkpoint, in key order.

use std::collections::BTreeMap;
use std::ops::Bound;

use smallvec::SmallVec;

use super::KeyBytes;

/// Changes of an index.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    keys: BTreeMap<KeyBytes, KeyDelta>,
    bytes: usize,
}

/// Changes of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyDelta {
    /// Vids that came, oldest first.
    pub(crate) added: SmallVec<[u64; 1]>,
    /// Vids that went and are older than this delta.
    pub(crate) removed: SmallVec<[u64; 1]>,
}

/// A tree's share for one key, about.
const ENTRY_BYTES: usize = std::mem::size_of::<(KeyBytes, KeyDelta)>() * 3 / 2;

impl Delta {
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Bytes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&KeyDelta> {
        self.keys.get(key)
    }

    pub(crate) fn add(&mut self, key: KeyBytes, vid: u64) {
        let spilled = heap_bytes(&key);
        let bytes = &mut self.bytes;
        let delta = self.keys.entry(key).or_insert_with(|| {
            *bytes += ENTRY_BYTES + spilled;
            KeyDelta::default()
        });
        // Backfill may come behind apply's own addition.
        if !delta.added.contains(&vid) {
            if !delta.added.is_empty() {
                *bytes += 8;
            }
            let at = delta.added.partition_point(|added| *added < vid);
            delta.added.insert(at, vid);
        }
    }

    pub(crate) fn remove(&mut self, key: KeyBytes, vid: u64) {
        if let Some(delta) = self.keys.get_mut(&key) {
            if let Ok(at) = delta.added.binary_search(&vid) {
                delta.added.remove(at);
                if delta.added.is_empty() && delta.removed.is_empty() {
                    self.keys.remove(&key);
                    self.bytes = self.bytes.saturating_sub(ENTRY_BYTES + heap_bytes(&key));
                } else {
                    self.bytes = self.bytes.saturating_sub(8);
                }
                return;
            }
            if !delta.removed.contains(&vid) {
                delta.removed.push(vid);
                self.bytes += 8;
            }
            return;
        }
        self.bytes += ENTRY_BYTES + heap_bytes(&key);
        self.keys.insert(key, KeyDelta { added: SmallVec::new(), removed: SmallVec::from_slice(&[vid]) });
    }

    /// All changes by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&KeyBytes, &KeyDelta)> {
        self.keys.iter()
    }

    /// Changes within bounds, from either end.
    pub(crate) fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = (&KeyBytes, &KeyDelta)> {
        self.keys.range::<[u8], _>((from, to))
    }
}

fn heap_bytes(key: &KeyBytes) -> usize {
    if key.spilled() { key.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> KeyBytes {
        KeyBytes::from_slice(text.as_bytes())
    }

    #[test]
    fn what_came_and_went_leaves_nothing() {
        let mut delta = Delta::default();
        for vid in 0..1_000 {
            delta.add(key("hot"), vid);
            if vid > 0 {
                delta.remove(key("hot"), vid - 1);
            }
        }
        assert_eq!(delta.get(b"hot").unwrap().added.as_slice(), [999]);
        delta.remove(key("hot"), 999);
        assert!(delta.is_empty());
        assert_eq!(delta.bytes(), 0);
    }

    #[test]
    fn what_an_older_checkpoint_holds_is_removed_by_name() {
        let mut delta = Delta::default();
        delta.remove(key("old"), 7);
        delta.remove(key("old"), 7);
        assert_eq!(delta.get(b"old").unwrap().removed.as_slice(), [7]);
    }
}
