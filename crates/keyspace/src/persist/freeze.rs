//! Taking hold of what has changed, and writing it.

use std::sync::Arc;

use bytes::Bytes;
use perigee_storage::companion::{self, FrozenCompanion, Pair};
use perigee_storage::kv::keys::Kind;
use perigee_types::Oid;

use super::{Image, end_key, name_of, object_key, record};
use crate::Keyspace;
use crate::db::{Entry, hash_of};
use crate::small::Name;
use crate::state::{Images, State};

/// Keys whose images are fetched under one lock.
const TURN: usize = 256;

/// Flushed databases that are looked for in the LSM behind a checkpoint.
const DROPPED_LOOKED_AT: usize = 64;

/// What one checkpoint writes.
pub(super) struct Frozen {
    keyspace: Arc<Keyspace>,
    generation: u64,
    /// The state's record, as of the checkpoint's index.
    record: Bytes,
    dropped: Vec<u32>,
    /// Changed keys: incarnation, key; in the order of the LSM.
    dirty: Vec<(u32, Name)>,
}

impl Frozen {
    pub(super) fn take(keyspace: &Keyspace) -> Self {
        let mut state = keyspace.state.write();
        let generation = state.generation;
        state.generation += 1;
        state.changes = 0;
        // A run that failed leaves its images: no checkpoint follows it.
        state.frozen = Some(generation);
        state.frozen_bytes = std::mem::take(&mut state.dirty_bytes);
        let dirty = std::mem::take(&mut state.dirty);
        state.frozen_keys = dirty.capacity();
        state.dbs.values_mut().for_each(|db| db.may_be_stored = true);
        let record = companion::seal(&record::encode(&state));
        let dropped = state.dropped.clone();
        drop(state);
        Frozen { keyspace: keyspace.handle(), generation, record, dropped, dirty: sorted(dirty) }
    }
}

/// In place, by hashes that are computed again and again: there may be very many keys, and little memory.
fn sorted(mut dirty: Vec<(u32, Name)>) -> Vec<(u32, Name)> {
    let hashed = |(incarnation, key): &(u32, Name)| (*incarnation, hash_of(key));
    dirty.sort_unstable_by(|a, b| {
        let by_name = || if a.1 == b.1 { std::cmp::Ordering::Equal } else { name_of(&a.1).cmp(&name_of(&b.1)) };
        hashed(a).cmp(&hashed(b)).then_with(by_name)
    });
    dirty.dedup();
    dirty
}

/// What the LSM is to hold of a key, and what it held as its due time.
struct Change {
    image: Option<Image>,
    stored_due: Option<i64>,
}

impl State {
    fn frozen_change(&self, incarnation: u32, key: &[u8]) -> Change {
        let entry = self.db_of(incarnation).and_then(|db| db.entry(key));
        let stored_due = entry.and_then(Entry::stored_due);
        if let Some(image) = self.images.get(incarnation, key) {
            return Change { image: image.clone(), stored_due };
        }
        let image = entry.and_then(|entry| {
            let value = entry.value.clone()?;
            Some(Image { value, expire_at: entry.expire_at(), version: entry.version })
        });
        Change { image, stored_due }
    }
}

impl Frozen {
    /// The changed keys with what becomes of them, some at a time.
    fn changes(&self) -> impl Iterator<Item = (u32, &[u8], Change)> {
        self.dirty.chunks(TURN).flat_map(|keys| {
            let state = self.keyspace.state.read();
            let found: Vec<_> = keys.iter().map(|(inc, key)| (*inc, &**key, state.frozen_change(*inc, key))).collect();
            drop(state);
            found
        })
    }
}

impl Frozen {
    /// Flushed databases of which compaction has left nothing, of some that are looked at: the next checkpoint does not
    /// name them any more. Each is looked at in its turn, so that a list of many does not hold checkpoints up.
    fn forgotten(&self) -> Vec<u32> {
        let count = self.dropped.len().max(1);
        let from = (self.generation as usize).wrapping_mul(DROPPED_LOOKED_AT) % count;
        let turn = self.dropped.iter().cycle().skip(from).take(DROPPED_LOOKED_AT.min(self.dropped.len()));
        let load = &self.keyspace.load;
        turn.copied().filter(|incarnation| load.holds_any(*incarnation).is_ok_and(|holds| !holds)).collect()
    }
}

impl FrozenCompanion for Frozen {
    fn facts(&self) -> Vec<(Vec<u8>, Option<Bytes>)> {
        vec![(companion::key(Kind::Keyspace, Oid(0), b"state"), Some(self.record.clone()))]
    }

    fn pairs(&self) -> Box<dyn Iterator<Item = Pair> + '_> {
        let objects = self.changes().map(|(incarnation, key, change)| {
            Ok((object_key(incarnation, key), change.image.map(|image| image.encode(key))))
        });
        let ends = std::iter::once_with(|| {
            let mut ends = Vec::new();
            for (incarnation, key, change) in self.changes() {
                let due = change.image.as_ref().and_then(Image::due);
                if due == change.stored_due {
                    continue;
                }
                ends.extend(change.stored_due.map(|at| (end_key(incarnation, at, key), None)));
                ends.extend(due.map(|at| (end_key(incarnation, at, key), Some(Bytes::copy_from_slice(key)))));
            }
            ends.sort_by(|a, b| a.0.cmp(&b.0));
            ends.into_iter().map(Ok)
        });
        Box::new(objects.chain(ends.flatten()))
    }

    fn finish(&self) {
        // First: from here on what the LSM held before may be gone from memory, too.
        self.keyspace.state.write().taken_in += 1;
        for keys in self.dirty.chunks(TURN) {
            let mut state = self.keyspace.state.write();
            for (incarnation, key) in keys {
                state.stored(*incarnation, key, self.generation);
            }
        }
        let forgotten = self.forgotten();
        let mut state = self.keyspace.state.write();
        state.frozen = None;
        (state.frozen_bytes, state.frozen_keys) = (0, 0);
        state.images = Images::default();
        state.durable = self.generation;
        state.dropped_durable.clone_from(&self.dropped);
        state.dropped.retain(|incarnation| !forgotten.contains(incarnation));
        state.dropped_durable.retain(|incarnation| !forgotten.contains(incarnation));
        state.drop_retired();
        self.keyspace.account(&state);
    }
}

impl State {
    /// A key's change of a generation is in the LSM.
    fn stored(&mut self, incarnation: u32, key: &[u8], generation: u64) {
        let due = self.frozen_change(incarnation, key).image.map(|image| image.due());
        let Some(db) = self.db_of_mut(incarnation) else { return };
        let Some(entry) = db.entry_mut(key) else { return };
        entry.set_stored_due(due.flatten());
        entry.is_stored = due.is_some();
        if entry.value.is_none() && entry.generation == generation {
            let gone = db.take(key).map_or(0, |entry| entry.counted);
            self.memory = self.memory.saturating_sub(gone);
        }
    }
}
