//! The state that the log makes.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;

use perigee_types::Oid;
use rustc_hash::FxHashMap;

use crate::db::{Db, Entry, Position, hash_of};
use crate::free::free;
use crate::made::Made;
use crate::persist::{Image, due_of};
use crate::scan::Scans;
use crate::small::Name;
use crate::{Error, Result, Waiters};

/// A numbered database of a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DbId {
    /// The tenant (a PostgreSQL database).
    pub tenant: Oid,
    /// The number for SELECT.
    pub number: u32,
}

/// The number of a tenant's database of idempotency keys. No command reaches it by number.
pub const IDEMPOTENCY_DB: u32 = u32::MAX;

/// Settings that change what commands do or say. Changed through the log.
#[derive(Clone, Debug)]
pub struct Settings {
    /// By the names of CONFIG GET; those that were set.
    pub values: FxHashMap<String, String>,
    /// Numbered databases of a tenant.
    pub databases: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { values: FxHashMap::default(), databases: 16 }
    }
}

impl Settings {
    /// A setting that is a number, such as `hash-max-listpack-entries`; `default` where nobody set it.
    #[must_use]
    pub fn number(&self, name: &str, default: i64) -> i64 {
        self.values.get(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    }
}

/// Objects as they were, by the incarnations of their databases and their keys.
#[derive(Debug, Default)]
pub(crate) struct Images {
    all: FxHashMap<(u32, Name), Option<Image>>,
    /// Bytes of their values, about.
    bytes: usize,
}

impl Images {
    pub(crate) fn insert(&mut self, incarnation: u32, key: &Name, image: Option<Image>) {
        self.bytes += key.memory() + image.as_ref().map_or(0, |image| image.value.memory());
        self.all.insert((incarnation, key.clone()), image);
    }

    pub(crate) fn get(&self, incarnation: u32, key: &[u8]) -> Option<&Option<Image>> {
        if self.all.is_empty() {
            return None;
        }
        self.all.get(&(incarnation, key.into()))
    }

    /// Bytes of memory, about.
    fn memory(&self) -> usize {
        self.bytes + self.all.capacity() * (size_of::<((u32, Name), Option<Image>)>() + 1)
    }
}

/// All keys of a node.
pub struct State {
    pub(crate) dbs: FxHashMap<DbId, Db>,
    /// When keys were made, also in databases that were flushed.
    pub(crate) made: BTreeMap<DbId, Made>,
    /// The number that the next database gets in the LSM.
    pub(crate) next_incarnation: u32,
    /// Numbers of databases that were flushed and may have keys in the LSM.
    pub(crate) dropped: Vec<u32>,
    /// Those of them that the last checkpoint knows: compaction may take their keys.
    pub(crate) dropped_durable: Vec<u32>,
    /// Seconds since the node started, for who loads a key.
    pub(crate) uptime: AtomicU32,
    /// See [`Settings`].
    pub settings: Settings,
    /// Scripts and libraries of functions.
    pub scripts: crate::ScriptStore,
    /// What the scripts of the entry run in that is applied.
    pub(crate) luas: crate::script::Luas,
    /// Commands that wait for a key.
    pub waiters: Waiters,
    /// Entries that came in parts, as far as they came: by origin and number.
    pub(crate) parts: BTreeMap<(u64, u64), Vec<u8>>,
    /// Bytes of memory of all entries, about.
    pub(crate) memory: usize,
    /// The generation of the checkpoint that is being gathered; changed entries carry it.
    pub(crate) generation: u64,
    /// Keys changed in this generation.
    pub(crate) dirty: Vec<(u32, Name)>,
    /// Bytes of the objects among them, about.
    pub(crate) dirty_bytes: usize,
    /// Those of the generation that a checkpoint is writing.
    pub(crate) frozen_bytes: usize,
    /// How many keys that are.
    pub(crate) frozen_keys: usize,
    /// The generation that a checkpoint is writing.
    pub(crate) frozen: Option<u64>,
    /// Objects of that generation as they were when it was frozen, where they have changed since.
    pub(crate) images: Images,
    /// Databases that were flushed while a checkpoint still needs their objects.
    pub(crate) retired: Vec<Db>,
    /// Scans that are open.
    pub(crate) scans: Scans,
    /// The last generation that the LSM holds whole.
    pub(crate) durable: u64,
    /// Commands that have changed something since the last checkpoint began.
    pub(crate) changes: u64,
    /// Counts what the LSM took in: who reads it without the lock looks at that.
    pub(crate) taken_in: u64,
}

/// What a server without keys holds, about, as `used_memory` and `maxmemory` count.
pub const MEMORY_BASE: usize = 1 << 20;

/// What a changed key is counted with beside its object.
const DIRTY_BYTES: usize = 128;

/// Marks the version of an absent key: no entry has so many changes.
const ABSENT: u32 = 1 << 31;

/// Incarnations are oids of a range of their own: tables have the lower half.
const FIRST_INCARNATION: u32 = 1 << 31;

impl Default for State {
    fn default() -> Self {
        Self {
            dbs: FxHashMap::default(),
            made: BTreeMap::new(),
            next_incarnation: FIRST_INCARNATION,
            dropped: Vec::new(),
            dropped_durable: Vec::new(),
            uptime: AtomicU32::new(0),
            settings: Settings::default(),
            scripts: crate::ScriptStore::default(),
            luas: crate::script::Luas::default(),
            waiters: Waiters::default(),
            parts: BTreeMap::new(),
            memory: 0,
            generation: 1,
            dirty: Vec::new(),
            dirty_bytes: 0,
            frozen_bytes: 0,
            frozen_keys: 0,
            frozen: None,
            images: Images::default(),
            retired: Vec::new(),
            scans: Scans::default(),
            durable: 0,
            changes: 0,
            taken_in: 0,
        }
    }
}

impl State {
    /// A database, made when it is new.
    pub(crate) fn db_mut(&mut self, id: DbId) -> &mut Db {
        let next = &mut self.next_incarnation;
        self.dbs.entry(id).or_insert_with(|| {
            *next += 1;
            Db::new(*next - 1)
        })
    }

    pub(crate) fn db_of(&self, incarnation: u32) -> Option<&Db> {
        self.dbs.values().chain(&self.retired).find(|db| db.incarnation == incarnation)
    }

    pub(crate) fn db_of_mut(&mut self, incarnation: u32) -> Option<&mut Db> {
        self.dbs.values_mut().chain(&mut self.retired).find(|db| db.incarnation == incarnation)
    }

    /// Removes all keys of a database; says how many there were.
    pub(crate) fn flush(&mut self, id: DbId) -> u64 {
        let Some(db) = self.dbs.remove(&id) else { return 0 };
        let live = db.live;
        // One that no checkpoint has seen has nothing in the LSM.
        if db.may_be_stored {
            self.dropped.push(db.incarnation);
        }
        let memory: usize = db.entries().map(|entry| entry.counted).sum();
        self.memory = self.memory.saturating_sub(memory);
        if self.frozen.is_some() || !self.scans.is_empty() {
            self.retired.push(db);
        } else {
            free(db, memory);
        }
        live
    }

    /// Counts a key's bytes again, and when something of it ends, behind a change.
    pub(crate) fn settle(&mut self, id: DbId, key: &[u8]) {
        let Some(db) = self.dbs.get_mut(&id) else { return };
        let Some(entry) = db.entry_mut(key) else { return };
        let memory = entry.memory();
        let counted = std::mem::replace(&mut entry.counted, memory);
        self.memory = (self.memory + memory).saturating_sub(counted);
        if entry.generation == self.generation {
            let before = if entry.is_dirty { counted } else { 0 };
            self.dirty_bytes = (self.dirty_bytes + memory).saturating_sub(before);
            entry.is_dirty = true;
        }
        let due = entry.value.as_ref().and_then(|value| due_of(value, entry.expire_at()));
        let before = entry.due();
        if before != due {
            entry.set_due(due);
            if let Some(at) = before {
                db.expires.remove(&(at, hash_of(key), key.into()));
            }
            if let Some(at) = due {
                db.expires.insert((at, hash_of(key), key.into()));
            }
        }
    }

    /// A database; `None` when no key was ever in it.
    #[must_use]
    pub fn db(&self, id: DbId) -> Option<&Db> {
        self.dbs.get(&id)
    }

    /// The databases that ever had a key, in order.
    pub(crate) fn db_ids(&self) -> Vec<DbId> {
        let mut ids: Vec<DbId> = self.dbs.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// The numbered databases of a tenant that ever had a key, in order; without that of idempotency keys.
    pub(crate) fn db_numbers(&self, tenant: Oid) -> Vec<u32> {
        let is_its = |id: &DbId| id.tenant == tenant && id.number != IDEMPOTENCY_DB;
        self.db_ids().into_iter().filter(is_its).map(|id| id.number).collect()
    }

    /// Bytes that the next checkpoint writes, about.
    pub(crate) fn dirty_bytes(&self) -> usize {
        self.dirty.len() * DIRTY_BYTES + self.dirty_bytes + self.frozen_bytes
    }

    /// Commands that have changed something since the last checkpoint began; those of a log that was replayed among them.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Bytes of memory of all entries, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Whether commands that need memory are refused: `maxmemory` is used up, and nothing is to go for it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let max = usize::try_from(self.settings.number("maxmemory", 0)).unwrap_or(0);
        let keeps = self.settings.values.get("maxmemory-policy").is_none_or(|policy| policy == "noeviction");
        max > 0 && keeps && self.memory + MEMORY_BASE > max
    }

    /// Bytes of memory of all that stands for entries, about: beside them the buckets, and what a checkpoint needs.
    pub(crate) fn hot_bytes(&self) -> usize {
        let buckets: usize = self.dbs.values().chain(&self.retired).map(Db::overhead).sum();
        let names = (self.dirty.capacity() + self.frozen_keys) * size_of::<(u32, Name)>();
        self.memory + buckets + names + self.images.memory()
    }

    /// The version of a key for WATCH: of its last change, or, where it is absent, of the last key of its slot that was
    /// made.
    ///
    /// # Errors
    /// [`Error::Miss`] where only the LSM knows.
    pub(crate) fn version(&self, id: DbId, key: &[u8], now: i64) -> Result<Position> {
        Ok(match self.find(id, key, now)? {
            Some(entry) => entry.version,
            None => {
                let made = self.made.get(&id).map_or_else(Position::default, |made| made.version(key));
                // Never that of a key that is there: a key that was made and then went has changed, too.
                Position { n: made.n | ABSENT, ..made }
            }
        })
    }

    /// Puts back what a copy held before it was changed.
    pub(crate) fn put_back(&mut self, id: DbId, key: &[u8], image: Option<Image>) {
        if let Some(db) = self.dbs.get_mut(&id)
            && let Some(entry) = db.take(key)
        {
            self.memory = self.memory.saturating_sub(entry.counted);
            if let Some(due) = entry.due() {
                db.expires.remove(&(due, hash_of(key), key.into()));
            }
        }
        self.take_in_copy(id, key, image);
    }

    /// The entry of a key that exists and is not over at `now`.
    ///
    /// # Errors
    /// [`Error::Miss`] where only the LSM knows.
    pub(crate) fn find(&self, id: DbId, key: &[u8], now: i64) -> Result<Option<&Entry>> {
        let Some(db) = self.dbs.get(&id) else { return Ok(None) };
        match db.entry(key) {
            Some(entry) if entry.value.is_some() && !entry.is_expired(now) => Ok(Some(entry)),
            Some(_) => Ok(None),
            None if db.has_cold_keys() => Err(Error::Miss(id, key.into())),
            None => Ok(None),
        }
    }
}
