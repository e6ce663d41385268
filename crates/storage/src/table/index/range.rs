//! Range over an index: the deltas and the LSM merged, in pieces.
//!
//! Each piece copies some keys of the deltas under their lock and opens the LSM *afterwards*: a checkpoint that ends in
//! between moves keys from the copy's source into the LSM, where they are then met a second time, never lost.

use std::collections::BTreeMap;
use std::ops::Bound;

use smallvec::SmallVec;

use super::{KeyBytes, TableIndex, VidList, lsm_prefix};
use crate::checkpoint::format;
use crate::store::StoreError;
use crate::table::context::TableContext;

/// Keys of the deltas that one piece copies, so that apply waits microseconds for the lock.
const PIECE_KEYS_MIN: usize = 32;
const PIECE_KEYS_MAX: usize = 1_024;

/// What a range asks for; bounds are keys of [`perigee_types::key`].
pub(crate) struct RangeRequest {
    pub(crate) from: Bound<Vec<u8>>,
    pub(crate) to: Bound<Vec<u8>>,
    pub(crate) reverse: bool,
    pub(crate) limit: usize,
}

type Candidates = SmallVec<[u64; 2]>;

impl TableIndex {
    /// Visible vids in key order, at most `limit`.
    pub(crate) fn scan(
        &self,
        context: &TableContext,
        request: RangeRequest,
        visible: impl Fn(u64) -> bool,
    ) -> Result<Vec<u64>, StoreError> {
        let mut found = Vec::new();
        let limit = request.limit;
        self.walk(context, request, visible, |_, vid| {
            found.push(vid);
            found.len() < limit
        })?;
        Ok(found)
    }

    /// The key, with a vid behind it where the index has one there, and the vid of the last visible entry within bounds.
    pub(crate) fn last(
        &self,
        context: &TableContext,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        visible: impl Fn(u64) -> bool,
    ) -> Result<Option<(KeyBytes, u64)>, StoreError> {
        let mut found = None;
        let request = RangeRequest { from, to, reverse: true, limit: 1 };
        self.walk(context, request, visible, |key, vid| {
            found = Some((KeyBytes::from_slice(key), vid));
            false
        })?;
        Ok(found)
    }

    /// Shows visible entries in key order until `each` has seen enough. The limit is a guess of how many that will be.
    fn walk(
        &self,
        context: &TableContext,
        request: RangeRequest,
        visible: impl Fn(u64) -> bool,
        mut each: impl FnMut(&[u8], u64) -> bool,
    ) -> Result<(), StoreError> {
        let RangeRequest { from, to, reverse, limit } = request;
        let (mut from, mut to) = (self.lower(from), self.upper(to));
        let mut keys_max = limit.clamp(PIECE_KEYS_MIN, PIECE_KEYS_MAX);
        while limit > 0 && !is_empty(&from, &to) {
            let (piece, last) = self.copy_deltas(&from, &to, reverse, keys_max);
            // The piece ends behind the last key copied: the LSM is read up to there.
            let (piece_from, piece_to) = match (&last, reverse) {
                (None, _) => (from.clone(), to.clone()),
                (Some(last), false) => (from.clone(), Bound::Included(last.to_vec())),
                (Some(last), true) => (Bound::Included(last.to_vec()), to.clone()),
            };
            if !self.merge(context, piece, (&piece_from, &piece_to), reverse, &visible, &mut each)? {
                break;
            }
            match (last, reverse) {
                (None, _) => break,
                (Some(last), false) => from = Bound::Excluded(last.to_vec()),
                (Some(last), true) => to = Bound::Excluded(last.to_vec()),
            }
            keys_max = PIECE_KEYS_MAX;
        }
        Ok(())
    }

    /// Whether no entry lies between two keys of a unique index, both included, whoever sees it.
    pub(crate) fn is_empty_between(&self, context: &TableContext, from: &[u8], to: &[u8]) -> Result<bool, StoreError> {
        let (from, to) = (Bound::Included(from.to_vec()), self.upper(Bound::Included(to.to_vec())));
        {
            let deltas = self.deltas.read();
            let bounds = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
            let mut both = std::iter::once(&deltas.active).chain(deltas.frozen.as_deref());
            if both.any(|delta| delta.range(bounds.0, bounds.1).next().is_some()) {
                return Ok(false);
            }
        }
        // Behind the deltas: what a checkpoint moves meanwhile is met here.
        if !self.is_stored() {
            return Ok(true);
        }
        let prefix = lsm_prefix(self.kind(), context.storage, self.oid);
        let (from, to) = lsm_bounds(&prefix, &from, &to);
        let mut stored = context.kv.scan(from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
        stored.next().transpose().map(|found| found.is_none()).map_err(StoreError::from)
    }

    /// A lower bound on keys as one on entries: behind all entries of a key that is excluded.
    fn lower(&self, from: Bound<Vec<u8>>) -> Bound<Vec<u8>> {
        match from {
            Bound::Excluded(key) => match perigee_types::key::prefix_end(&key) {
                Some(end) => Bound::Included(end),
                None => Bound::Excluded(key),
            },
            other => other,
        }
    }

    /// An upper bound on keys as one on entries: behind all entries of a key that is included.
    fn upper(&self, to: Bound<Vec<u8>>) -> Bound<Vec<u8>> {
        match to {
            Bound::Included(key) => match perigee_types::key::prefix_end(&key) {
                Some(end) => Bound::Excluded(end),
                None => Bound::Unbounded,
            },
            other => other,
        }
    }

    /// Up to `count` keys of both deltas with their vids, and the last of them when there may be more.
    fn copy_deltas(
        &self,
        from: &Bound<Vec<u8>>,
        to: &Bound<Vec<u8>>,
        reverse: bool,
        count: usize,
    ) -> (BTreeMap<KeyBytes, Candidates>, Option<KeyBytes>) {
        let deltas = self.deltas.read();
        let mut keys: BTreeMap<KeyBytes, Candidates> = BTreeMap::new();
        let mut ends: SmallVec<[KeyBytes; 2]> = SmallVec::new();
        for delta in std::iter::once(&deltas.active).chain(deltas.frozen.as_deref()) {
            let range = delta.range(from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
            let mut copied = 0;
            let mut copy = |(key, change): (&KeyBytes, &super::KeyDelta)| {
                keys.entry(key.clone()).or_default().extend(change.added.iter().rev().copied());
                copied += 1;
                if copied == count {
                    ends.push(key.clone());
                }
            };
            if reverse {
                range.rev().take(count).for_each(&mut copy);
            } else {
                range.take(count).for_each(&mut copy);
            }
        }
        // A delta that was cut knows nothing of keys behind its cut: the piece ends at the nearest cut.
        let last = if reverse { ends.into_iter().max() } else { ends.into_iter().min() };
        if let Some(last) = &last {
            keys.retain(|key, _| if reverse { key >= last } else { key <= last });
        }
        (keys, last)
    }

    /// Whether `each` wants more.
    fn merge(
        &self,
        context: &TableContext,
        mut keys: BTreeMap<KeyBytes, Candidates>,
        (from, to): (&Bound<Vec<u8>>, &Bound<Vec<u8>>),
        reverse: bool,
        visible: &impl Fn(u64) -> bool,
        each: &mut impl FnMut(&[u8], u64) -> bool,
    ) -> Result<bool, StoreError> {
        let prefix = lsm_prefix(self.kind(), context.storage, self.oid);
        let (lsm_from, lsm_to) = lsm_bounds(&prefix, from, to);
        let mut stored = context.kv.scan(lsm_from.as_ref().map(Vec::as_slice), lsm_to.as_ref().map(Vec::as_slice));
        let mut next_stored = || if reverse { stored.next_back() } else { stored.next() };
        // At most one version of a unique key is visible, and other entries have one vid.
        let mut push = |key: &[u8], candidates: &[u64]| match candidates.iter().find(|vid| visible(**vid)) {
            Some(vid) => each(key, *vid),
            None => true,
        };
        while let Some(item) = next_stored() {
            let (lsm_key, value) = item?;
            let key = &lsm_key[prefix.len()..];
            // Keys that only the deltas have come before it.
            while let Some(entry) = if reverse { keys.last_entry() } else { keys.first_entry() } {
                let before = if reverse { entry.key().as_slice() > key } else { entry.key().as_slice() < key };
                if !before {
                    break;
                }
                let (key, candidates) = entry.remove_entry();
                if !push(&key, &candidates) {
                    return Ok(false);
                }
            }
            let mut candidates: Candidates = keys.remove(key).unwrap_or_default();
            candidates.extend(self.stored_vids(&lsm_key, &value)?);
            if !push(key, &candidates) {
                return Ok(false);
            }
        }
        while let Some((key, candidates)) = if reverse { keys.pop_last() } else { keys.pop_first() } {
            if !push(&key, &candidates) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The vids of an entry of the LSM.
    fn stored_vids(&self, lsm_key: &[u8], value: &[u8]) -> Result<VidList, StoreError> {
        if self.unique { format::decode_vids(value, lsm_key) } else { format::decode_key_vid(lsm_key) }
    }
}

fn is_empty(from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> bool {
    match (from, to) {
        (Bound::Included(a), Bound::Included(b)) => a > b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Excluded(b)) | (Bound::Excluded(a), Bound::Included(b)) => {
            a >= b
        }
        _ => false,
    }
}

fn lsm_bounds(prefix: &[u8], from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let (all_from, all_to) = crate::kv::keys::range_of(prefix);
    let with = |key: &Vec<u8>| [prefix, key].concat();
    let from = match from {
        Bound::Included(key) => Bound::Included(with(key)),
        Bound::Excluded(key) => Bound::Excluded(with(key)),
        Bound::Unbounded => all_from,
    };
    let to = match to {
        Bound::Included(key) => Bound::Included(with(key)),
        Bound::Excluded(key) => Bound::Excluded(with(key)),
        Bound::Unbounded => all_to,
    };
    (from, to)
}
