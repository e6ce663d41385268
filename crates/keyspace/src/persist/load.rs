//! Keys that are not in memory.

use std::sync::atomic::Ordering;

use parking_lot::RwLock;
use perigee_storage::companion;
use perigee_storage::kv::SharedKv;
use perigee_storage::kv::keys::{Kind, range_of, rest};
use perigee_types::Oid;

use super::{Image, due_of, object_key};
use crate::db::{Db, Due, Entry, Position, hash_of};
use crate::run::ColdObject;
use crate::state::{DbId, State};
use crate::{Load, StorageFault};

/// Reads objects from the LSM.
pub struct LsmLoad {
    kv: SharedKv,
}

impl LsmLoad {
    /// From an LSM.
    #[must_use]
    pub fn new(kv: SharedKv) -> Self {
        Self { kv }
    }

    fn read(&self, incarnation: u32, key: &[u8]) -> Result<Option<Image>, StorageFault> {
        let lsm_key = object_key(incarnation, key);
        let Some(value) = self.kv.get(&lsm_key)? else { return Ok(None) };
        let (image, whole) = Image::decode(&lsm_key, &value)?;
        // Two long keys with one hash of 128 bits: not by chance.
        if whole.is_some_and(|whole| whole != key) {
            return Err(StorageFault::Damaged { key: key.escape_ascii().to_string(), why: "another key has its hash" });
        }
        Ok(Some(image))
    }
}

impl Load for LsmLoad {
    fn load(&self, state: &mut State, id: DbId, key: &[u8]) -> Result<(), StorageFault> {
        let Some(db) = state.db(id) else { return Ok(()) };
        if db.entry(key).is_none() {
            let image = self.read(db.incarnation, key)?;
            state.take_in(id, key, image);
        }
        Ok(())
    }

    fn load_shared(&self, shared: &RwLock<State>, id: DbId, key: &[u8]) -> Result<(), StorageFault> {
        loop {
            let (incarnation, taken_in) = {
                let state = shared.read();
                match state.db(id) {
                    Some(db) if db.entry(key).is_none() => (db.incarnation, state.taken_in),
                    _ => return Ok(()),
                }
            };
            let image = self.read(incarnation, key)?;
            let mut state = shared.write();
            // The key may have come, changed, been written and gone again meanwhile: then the image is old.
            let same = state.taken_in == taken_in && state.db(id).is_some_and(|db| db.incarnation == incarnation);
            if same {
                if state.db(id).is_some_and(|db| db.entry(key).is_none()) {
                    state.take_in(id, key, image);
                }
                return Ok(());
            }
        }
    }

    fn due(&self, state: &State, id: DbId, due: Due) -> Result<Vec<Box<[u8]>>, StorageFault> {
        let Some(db) = state.db(id).filter(|db| db.has_cold_keys()) else { return Ok(Vec::new()) };
        let prefix = companion::key(Kind::ObjectEnd, Oid(db.incarnation), &[]);
        let end = match due.hash.checked_add(1) {
            Some(hash) => [due.until.to_be_bytes(), hash.to_be_bytes()].concat(),
            None => due.until.saturating_add(1).to_be_bytes().to_vec(),
        };
        let end = companion::key(Kind::ObjectEnd, Oid(db.incarnation), &end);
        let from = std::ops::Bound::Included(&prefix[..]);
        let mut keys = Vec::new();
        for pair in self.kv.scan(from, std::ops::Bound::Excluded(&end)) {
            let (_, key) = pair?;
            if db.entry(&key).is_none() {
                keys.push(Box::from(&key[..]));
            }
        }
        Ok(keys)
    }

    fn due_until(&self, db: &Db, now: i64, count: usize) -> Result<Option<Due>, StorageFault> {
        let prefix = companion::key(Kind::ObjectEnd, Oid(db.incarnation), &[]);
        let end = companion::key(Kind::ObjectEnd, Oid(db.incarnation), &now.saturating_add(1).to_be_bytes());
        let (mut last, mut left) = (None, count);
        for pair in self.kv.scan(std::ops::Bound::Included(&prefix[..]), std::ops::Bound::Excluded(&end)) {
            let (lsm_key, key) = pair?;
            if db.entry(&key).is_some() {
                continue;
            }
            let number = |at: usize| rest(&lsm_key).get(at..)?.first_chunk::<8>().copied();
            last = number(0)
                .zip(number(8))
                .map(|(until, hash)| Due { until: i64::from_be_bytes(until), hash: u64::from_be_bytes(hash) });
            left = left.saturating_sub(1);
            if left == 0 {
                break;
            }
        }
        Ok(last)
    }

    fn holds_any(&self, incarnation: u32) -> Result<bool, StorageFault> {
        for kind in [Kind::Object, Kind::ObjectEnd] {
            let prefix = companion::key(kind, Oid(incarnation), &[]);
            let (from, to) = range_of(&prefix);
            if let Some(pair) = self.kv.scan(from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice)).next() {
                pair?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn cold_objects(&self, db: &Db, from: u64, next: Option<u64>) -> Result<Vec<ColdObject>, StorageFault> {
        let prefix = companion::key(Kind::Object, Oid(db.incarnation), &[]);
        let start = companion::key(Kind::Object, Oid(db.incarnation), &from.to_be_bytes());
        let end = match next {
            Some(next) => {
                std::ops::Bound::Excluded(companion::key(Kind::Object, Oid(db.incarnation), &next.to_be_bytes()))
            }
            None => range_of(&prefix).1,
        };
        let mut keys = Vec::new();
        let end = end.as_ref().map(Vec::as_slice);
        for pair in self.kv.scan(std::ops::Bound::Included(&start), end) {
            let (lsm_key, value) = pair?;
            let short = match rest(&lsm_key).get(8..) {
                Some([0, key @ ..]) => Some(key),
                _ => None,
            };
            // One in memory is told from there.
            if short.is_some_and(|key| db.entry(key).is_some()) {
                continue;
            }
            let (image, whole) = Image::decode(&lsm_key, &value)?;
            let key: Box<[u8]> = match (short, whole) {
                (Some(key), _) => key.into(),
                (None, Some(key)) => key.into(),
                (None, None) => continue,
            };
            if db.entry(&key).is_none() {
                keys.push((key, image));
            }
        }
        Ok(keys)
    }
}

impl State {
    /// Puts a copy of what another state holds of a key: what is removed stays known as absent.
    pub(crate) fn take_in_copy(&mut self, id: DbId, key: &[u8], image: Option<Image>) {
        self.take_in(id, key, image);
        if let Some(entry) = self.dbs.get_mut(&id).and_then(|db| db.entry_mut(key)) {
            entry.is_stored = true;
        }
    }

    /// Puts what the LSM holds of a key beside those in memory: not a change.
    fn take_in(&mut self, id: DbId, key: &[u8], image: Option<Image>) {
        let Some(db) = self.dbs.get_mut(&id) else { return };
        if let Some(image) = &image {
            (db.cold, db.hot) = (db.cold.saturating_sub(1), db.hot + 1);
            if let Some(due) = image.due() {
                db.expires.insert((due, hash_of(key), key.into()));
            }
        }
        let stored_due = image.as_ref().and_then(Image::due);
        let is_stored = image.is_some();
        let (value, expire_at, version) = match image {
            Some(image) => (Some(image.value), image.expire_at, image.version),
            None => (None, None, Position::default()),
        };
        let due = value.as_ref().and_then(|value| due_of(value, expire_at));
        let mut entry = Entry::new(key, value, expire_at, version, self.uptime.load(Ordering::Relaxed));
        entry.is_stored = is_stored;
        entry.set_due(due);
        entry.set_stored_due(stored_due);
        let entry = db.insert(entry);
        entry.counted = entry.memory();
        let counted = entry.counted;
        self.memory += counted;
    }
}
