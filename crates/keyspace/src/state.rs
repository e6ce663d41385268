//! The state that the log makes.

use std::collections::BTreeMap;

use perigee_types::Oid;
use rustc_hash::FxHashMap;

use crate::db::{Db, Entry};
use crate::{Error, Result, Waiters};

/// A numbered database of a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DbId {
    /// The tenant (a PostgreSQL database).
    pub tenant: Oid,
    /// The number for SELECT.
    pub number: u32,
}

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

/// All keys of a node.
#[derive(Default)]
pub struct State {
    pub(crate) dbs: FxHashMap<DbId, Db>,
    /// See [`Settings`].
    pub settings: Settings,
    /// Commands that wait for a key.
    pub waiters: Waiters,
    /// Entries that came in parts, as far as they came: by origin and number.
    pub(crate) parts: BTreeMap<(u64, u64), Vec<u8>>,
    /// Bytes of memory of all entries, about.
    pub(crate) memory: usize,
    /// The generation of the checkpoint that is being gathered; changed entries carry it.
    pub(crate) generation: u64,
    /// Keys changed in this generation.
    pub(crate) dirty: Vec<(DbId, Box<[u8]>)>,
}

impl State {
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

    /// Bytes of memory of all entries, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.memory
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
