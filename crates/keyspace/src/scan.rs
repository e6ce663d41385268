//! A walk over all keys of a database, as they were at one moment.
//!
//! While a scan is open, who changes a key keeps its image for the scan first: the scan reads the image, whatever the key
//! holds by then. Keys come in the order of their hashes, from memory and from the LSM at once, some at a time: nobody
//! waits for a scan.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use perigee_storage::store::ContentSum;
use perigee_types::row::put_bytes;

use crate::db::{Position, hash_of};
use crate::free::free;
use crate::object::Value;
use crate::persist::Image;
use crate::state::{DbId, State};
use crate::{Keyspace, StorageFault};

/// Bytes of images, about, beyond which a scan is given up rather than the node's memory.
const IMAGE_BYTES_MAX: usize = 256 << 20;

/// A key, and what it held; `None` for nothing.
type KeyImage = (Box<[u8]>, Option<Image>);

/// Images kept for one open scan.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    incarnation: u32,
    /// By the keys' hashes, as the scan takes them: it asks for those of one bucket after the other.
    images: BTreeMap<u64, Vec<KeyImage>>,
    bytes: usize,
    /// It has become too large: the scan ends with an error.
    overflowed: bool,
}

impl Kept {
    fn has(&self, key: &[u8]) -> bool {
        self.images.get(&hash_of(key)).is_some_and(|same| same.iter().any(|(kept, _)| **kept == *key))
    }
}

/// The open scans, by number.
#[derive(Debug, Default)]
pub(crate) struct Scans {
    next: u64,
    open: BTreeMap<u64, Kept>,
    /// What keys of the one database that a command changes held before; for who may go back behind it.
    pub(crate) undo: Option<BTreeMap<Box<[u8]>, Option<Image>>>,
}

impl Scans {
    /// Whether nobody needs images.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.undo.is_none()
    }

    /// A key is about to change.
    pub(crate) fn keep(&mut self, incarnation: u32, key: &[u8], image: impl Fn() -> Option<Image>) {
        if let Some(undo) = &mut self.undo
            && !undo.contains_key(key)
        {
            undo.insert(key.into(), image());
        }
        for kept in self.open.values_mut() {
            if kept.incarnation != incarnation || kept.overflowed || kept.has(key) {
                continue;
            }
            let image = image();
            kept.bytes += key.len() + 128 + image.as_ref().map_or(0, |image| image.value.memory());
            kept.images.entry(hash_of(key)).or_default().push((key.into(), image));
            if kept.bytes > IMAGE_BYTES_MAX {
                (kept.overflowed, kept.images) = (true, BTreeMap::new());
            }
        }
    }
}

/// A key of a scan.
#[derive(Clone, Debug)]
pub struct ScannedKey {
    /// Its name.
    pub key: Bytes,
    /// What it holds.
    pub value: Value,
    /// When it ends: milliseconds since 1970 UTC.
    pub expire_at: Option<i64>,
    /// The position of its last change.
    pub version: Position,
}

/// The version of a key, and what it holds.
pub type Looked = (Position, Option<ScannedKey>);

/// Why a scan ends early.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// So much was changed meanwhile that what it needs does not fit into memory.
    #[error("too much was changed while the keyspace was scanned")]
    Overflow,
    /// The LSM cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageFault),
}

/// An open scan of one database. See the module.
pub struct Scan {
    keyspace: Arc<Keyspace>,
    number: u64,
    db: DbId,
    incarnation: u32,
    now: i64,
    /// The hash that comes next.
    at: Option<u64>,
}

impl Keyspace {
    /// Opens a scan of a database as it is now. `None` when no key was ever in it.
    #[must_use]
    pub fn scan(&self, db: DbId) -> Option<Scan> {
        let now = self.now_ms();
        let mut state = self.state.write();
        let incarnation = state.db(db)?.incarnation;
        state.scans.next += 1;
        let number = state.scans.next;
        state.scans.open.insert(number, Kept { incarnation, ..Kept::default() });
        Some(Scan { keyspace: self.handle(), number, db, incarnation, now, at: Some(0) })
    }

    /// Scans of all databases as they are now, in order, also of keys whose end has come and that nobody has removed yet: the log
    /// removes them, on all nodes at once.
    #[must_use]
    pub fn hold(&self) -> Vec<Scan> {
        let ids = self.state.read().db_ids();
        let mut scans: Vec<Scan> = ids.into_iter().filter_map(|db| self.scan(db)).collect();
        scans.iter_mut().for_each(|scan| scan.now = i64::MIN);
        scans
    }

    /// What is logged beside the keys, by name: parameters that CONFIG has set, and libraries of functions.
    #[must_use]
    pub fn sums_beside(&self) -> Vec<(&'static str, ContentSum)> {
        let state = self.state.read();
        let mut settings = ContentSum::default();
        let mut bytes = Vec::new();
        for (name, value) in &state.settings.values {
            bytes.clear();
            put_bytes(name.as_bytes(), &mut bytes);
            put_bytes(value.as_bytes(), &mut bytes);
            settings.add(&bytes);
        }
        vec![("parameters of keys", settings), ("libraries of functions", state.scripts.library_sum())]
    }

    /// What one key holds now.
    ///
    /// # Errors
    /// [`StorageFault`].
    pub fn get(&self, db: DbId, key: &[u8]) -> Result<Option<ScannedKey>, StorageFault> {
        Ok(self.get_all(db, &[key])?.pop().and_then(|(_, found)| found))
    }

    /// What some keys hold, all of them at one moment, each with its version, which an absent key has too.
    ///
    /// # Errors
    /// [`StorageFault`].
    pub fn get_all(&self, db: DbId, keys: &[&[u8]]) -> Result<Vec<Looked>, StorageFault> {
        let now = self.now_ms();
        loop {
            let missed = {
                let state = self.state.read();
                let mut found = Vec::with_capacity(keys.len());
                let mut missed = None;
                for key in keys {
                    let looked = state.version(db, key, now).and_then(|version| {
                        let held = state.find(db, key, now)?.and_then(|entry| {
                            let (value, expire_at) = (entry.value.clone()?, entry.expire_at());
                            Some(ScannedKey { key: Bytes::copy_from_slice(key), value, expire_at, version })
                        });
                        Ok((version, held))
                    });
                    match looked {
                        Ok(looked) => found.push(looked),
                        Err(crate::Error::Storage(fault)) => return Err(fault),
                        Err(_) => {
                            missed = Some(*key);
                            break;
                        }
                    }
                }
                match missed {
                    None => return Ok(found),
                    Some(key) => key,
                }
            };
            self.load.load_shared(&self.state, db, missed)?;
        }
    }

    /// The numbers of the databases of a tenant that ever had a key, in order.
    #[must_use]
    pub fn db_numbers(&self, tenant: perigee_types::Oid) -> Vec<u32> {
        self.state.read().db_numbers(tenant)
    }
}

impl Scan {
    /// The database.
    #[must_use]
    pub fn db(&self) -> DbId {
        self.db
    }

    /// The next keys, some dozens or more; `None` behind the last. Blocking, where keys are not in memory.
    ///
    /// # Errors
    /// See [`ScanError`].
    #[expect(clippy::should_implement_trait, reason = "it fails as a whole, not item by item")]
    pub fn next(&mut self) -> Result<Option<Vec<ScannedKey>>, ScanError> {
        let Some(from) = self.at else { return Ok(None) };
        let state = self.keyspace.state.read();
        let Some(kept) = state.scans.open.get(&self.number).filter(|kept| !kept.overflowed) else {
            return Err(ScanError::Overflow);
        };
        let mut found: BTreeMap<u64, Vec<ScannedKey>> = BTreeMap::new();
        let mut put = |key: &[u8], image: Option<Image>, now: i64| {
            let live = image.filter(|image| image.expire_at.is_none_or(|at| at > now));
            if let Some(Image { value, expire_at, version }) = live {
                let key = ScannedKey { key: Bytes::copy_from_slice(key), value, expire_at, version };
                found.entry(hash_of(&key.key)).or_default().push(key);
            }
        };
        let mut next = None;
        if let Some(db) = state.db_of(self.incarnation) {
            let (entries, following) = db.bucket_from(from);
            next = following;
            for entry in entries.filter(|entry| !kept.has(&entry.key)) {
                let image = entry.value.clone().map(|value| Image {
                    value,
                    expire_at: entry.expire_at(),
                    version: entry.version,
                });
                put(&entry.key, image, self.now);
            }
            if db.has_cold_keys() {
                for (key, image) in self.keyspace.load.cold_objects(db, from, next)? {
                    if !kept.has(&key) {
                        put(&key, Some(image), self.now);
                    }
                }
            }
        }
        let within = |hash: u64| hash >= from && next.is_none_or(|next| hash < next);
        let bounds = (Bound::Included(from), next.map_or(Bound::Unbounded, Bound::Excluded));
        for (key, image) in kept.images.range(bounds).flat_map(|(_, same)| same) {
            put(key, image.clone(), self.now);
        }
        self.at = next;
        // A bucket that has split since may begin before `from`.
        Ok(Some(found.into_iter().filter(|(hash, _)| within(*hash)).flat_map(|(_, keys)| keys).collect()))
    }
}

impl Scan {
    /// Reads all keys that are left of the scan. Blocking.
    ///
    /// # Errors
    /// See [`ScanError`].
    pub fn read(mut self) -> Result<(), ScanError> {
        while self.next()?.is_some() {}
        Ok(())
    }

    /// Over all keys that are left of the scan, with all that makes them what they are. Blocking.
    ///
    /// # Errors
    /// See [`ScanError`].
    pub fn sum(mut self) -> Result<ContentSum, ScanError> {
        let mut sum = ContentSum::default();
        let mut bytes = Vec::new();
        while let Some(keys) = self.next()? {
            for ScannedKey { key, value, expire_at, version } in keys {
                bytes.clear();
                put_bytes(&key, &mut bytes);
                for number in [expire_at.map_or(0, |at| (at as u64).wrapping_add(1)), version.index, version.n.into()] {
                    bytes.extend_from_slice(&number.to_le_bytes());
                }
                value.encode(&mut bytes);
                sum.add(&bytes);
            }
        }
        Ok(sum)
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        let mut state = self.keyspace.state.write();
        state.scans.open.remove(&self.number);
        state.drop_retired();
    }
}

impl State {
    /// Databases that were flushed and that nobody reads any more.
    pub(crate) fn drop_retired(&mut self) {
        if self.frozen.is_none() && self.scans.is_empty() && !self.retired.is_empty() {
            free(std::mem::take(&mut self.retired), usize::MAX);
        }
    }
}
