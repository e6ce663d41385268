//! What commands change.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::db::{Due, Entry, Position};
use crate::effects::{Effects, EventClass, Notification};
use crate::free::free_value;
use crate::object::{Hash, Object, Value};
use crate::persist::Image;
use crate::reader::{Context, Reader};
use crate::scan::Scans;
use crate::small::Name;
use crate::state::{DbId, IDEMPOTENCY_DB, Images, State};
use crate::{Error, Load, Result};

/// The state as a command may change it, at one position of the log.
pub struct Writer<'a> {
    pub(crate) state: &'a mut State,
    /// Who writes. SELECT and scripts change its database.
    pub context: Context,
    /// What others are told.
    pub effects: &'a mut Effects,
    pub(crate) position: Position,
    pub(crate) random: u64,
    /// Changes so far: versions are told apart by it.
    pub(crate) changes: u32,
    /// Where the changes of the command that runs begin among those that were told.
    pub(crate) touched_from: usize,
    /// For scripts: what brings the keys of their commands into memory.
    pub(crate) load: Option<&'a dyn Load>,
}

impl<'a> Writer<'a> {
    /// A writer at `position`, with the seed of its entry.
    #[must_use]
    pub fn new(
        state: &'a mut State,
        context: Context,
        effects: &'a mut Effects,
        position: Position,
        seed: u64,
    ) -> Self {
        let touched_from = effects.touched.len();
        Self { state, context, effects, position, random: seed, changes: 0, touched_from, load: None }
    }

    /// The same state for reading. What it lends must end before the next change.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(self.state, &self.context)
    }

    /// The time of the entry: milliseconds since 1970 UTC.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.context.now
    }

    /// The whole state, for settings.
    #[must_use]
    pub fn state(&self) -> &State {
        self.state
    }

    /// Changes settings, by the names of CONFIG in lower case.
    pub fn set_settings(&mut self, settings: Vec<(String, String)>) {
        self.effects.settings.extend(settings.iter().cloned());
        self.state.settings.values.extend(settings);
    }

    /// To change the scripts and libraries.
    pub(crate) fn scripts_mut(&mut self) -> &mut crate::ScriptStore {
        &mut self.state.scripts
    }

    /// What scripts run in.
    pub(crate) fn luas(&mut self) -> &mut crate::script::Luas {
        &mut self.state.luas
    }

    /// Makes a script known to its tenant; says its digest, or why it cannot be compiled.
    pub(crate) fn remember_script(&mut self, text: &[u8], by_eval: bool) -> std::result::Result<[u8; 40], String> {
        self.state.scripts.tenant_mut(self.context.db.tenant).remember(text, by_eval)
    }

    /// A script that is run now.
    pub(crate) fn use_script(&mut self, digest: &[u8; 40]) -> Option<crate::script::Script> {
        self.state.scripts.tenant_mut(self.context.db.tenant).use_script(digest)
    }

    /// Where the log stands.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// A random number that is the same on every node (splitmix64 over the entry's seed).
    pub fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A random number below `bound`, which is not zero.
    pub fn random_below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.random()) * u128::from(bound.max(1))) >> 64) as u64
    }

    /// The object of a key, to look at.
    ///
    /// # Errors
    /// WRONGTYPE; [`Error::Miss`] for a key that no key specification names.
    pub fn get<T: Object>(&self, key: &[u8]) -> Result<Option<&T>> {
        match self.state.find(self.context.db, key, self.context.now)? {
            Some(entry) => entry.value.as_ref().map(|value| T::of(value).ok_or(Error::WRONG_TYPE)).transpose(),
            None => Ok(None),
        }
    }

    /// The entry of a key that exists.
    ///
    /// # Errors
    /// [`Error::Miss`] for a key that no key specification names.
    pub fn entry(&self, key: &[u8]) -> Result<Option<&Entry>> {
        self.state.find(self.context.db, key, self.context.now)
    }

    /// Whether a key exists.
    ///
    /// # Errors
    /// [`Error::Miss`].
    pub fn exists(&self, key: &[u8]) -> Result<bool> {
        Ok(self.entry(key)?.is_some())
    }

    /// The object of a key, to change: this *is* a change, its version moves. Behind it call [`Writer::remove_if_empty`]
    /// where elements may have gone.
    ///
    /// # Errors
    /// WRONGTYPE; [`Error::Miss`].
    pub fn get_mut<T: Object>(&mut self, key: &[u8]) -> Result<Option<&mut T>> {
        if self.get::<T>(key)?.is_none() {
            return Ok(None);
        }
        let entry = self.touch(key)?;
        Ok(entry.and_then(|entry| entry.value.as_mut()).and_then(T::of_mut))
    }

    /// The object of a key, made when it is absent. A change.
    ///
    /// # Errors
    /// WRONGTYPE; [`Error::Miss`].
    pub fn get_or_create<T: Object>(&mut self, key: &[u8]) -> Result<&mut T> {
        if self.get::<T>(key)?.is_none() {
            self.put(key, T::default().into_value(), None)?;
        }
        let missing = Error::Storage(crate::StorageFault::Entry("a key that was put is absent"));
        self.touch(key)?.and_then(|entry| entry.value.as_mut()).and_then(T::of_mut).ok_or(missing)
    }

    /// Puts a value and its end in place of whatever the key holds.
    ///
    /// # Errors
    /// [`Error::Miss`].
    pub fn put(&mut self, key: &[u8], value: Value, expire_at: Option<i64>) -> Result<()> {
        let held = self.change(key, Some((value, expire_at)))?;
        if !held {
            self.notify(EventClass::NEW, "new", key);
        }
        Ok(())
    }

    /// Puts a value in place of whatever the key holds and leaves its end.
    ///
    /// # Errors
    /// [`Error::Miss`].
    pub fn replace(&mut self, key: &[u8], value: Value) -> Result<()> {
        let expire_at = self.entry(key)?.and_then(Entry::expire_at);
        self.put(key, value, expire_at)
    }

    /// Removes a key; says whether it existed.
    ///
    /// # Errors
    /// [`Error::Miss`].
    pub fn remove(&mut self, key: &[u8]) -> Result<bool> {
        let existed = self.exists(key)?;
        if existed {
            self.change(key, None)?;
        }
        Ok(existed)
    }

    /// Removes a key whose object has become empty, and tells so (`del`). Says whether it did.
    ///
    /// # Errors
    /// [`Error::Miss`].
    pub fn remove_if_empty(&mut self, key: &[u8]) -> Result<bool> {
        let empty = self.entry(key)?.is_some_and(|entry| entry.value.as_ref().is_some_and(Value::is_empty));
        if empty {
            self.change(key, None)?;
            self.notify(EventClass::GENERIC, "del", key);
        }
        Ok(empty)
    }

    /// Sets or takes away a key's end; a change. Says whether the key exists.
    ///
    /// # Errors
    /// [`Error::Miss`].
    pub fn set_expire(&mut self, key: &[u8], expire_at: Option<i64>) -> Result<bool> {
        if !self.exists(key)? {
            return Ok(false);
        }
        if let Some(entry) = self.touch(key)? {
            entry.set_expire_at(expire_at);
            if matches!(entry.value, Some(Value::Series(_)))
                && let Some(db) = self.state.dbs.get_mut(&self.context.db)
            {
                db.labels.set_expire(key, expire_at);
            }
        }
        Ok(true)
    }

    /// Moves a value with its end from one key to another, whatever that one holds. The first must exist.
    ///
    /// # Errors
    /// [`Error::Miss`].
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        let Some((value, expire_at)) =
            self.entry(from)?.and_then(|entry| Some((entry.value.clone()?, entry.expire_at())))
        else {
            return Err(Error::NO_SUCH_KEY);
        };
        self.change(from, None)?;
        self.put(to, value, expire_at)
    }

    /// Runs with another database selected.
    pub fn in_db<T>(&mut self, number: u32, run: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.context.db.number, number);
        let result = run(self);
        self.context.db.number = before;
        result
    }

    /// Tells of a keyspace event.
    pub fn notify(&mut self, class: EventClass, event: &'static str, key: &[u8]) {
        if self.effects.unwanted.contains(class) {
            return;
        }
        let db = self.context.db;
        if db.number == IDEMPOTENCY_DB {
            return;
        }
        self.effects.notifications.push(Notification { db, class, event, key: Bytes::copy_from_slice(key) });
    }

    /// Sends a message to subscribers of this node.
    pub fn publish(&mut self, channel: Bytes, message: Bytes, sharded: bool) {
        self.effects.published.push((self.context.db.tenant, channel, message, sharded));
    }

    /// Removes all keys of a database; gives how many there were.
    pub fn flush_db(&mut self, number: u32) -> u64 {
        let id = DbId { number, ..self.context.db };
        self.changes += 1;
        self.effects.flushed.push(id);
        self.state.flush(id)
    }

    /// The numbered databases of the tenant that ever had a key, in order.
    #[must_use]
    pub fn db_numbers(&self) -> Vec<u32> {
        self.state.db_numbers(self.context.db.tenant)
    }

    /// Lets two databases change their numbers. Watched keys of both count as changed: versions move with their keys.
    pub fn swap_db(&mut self, one: u32, other: u32) {
        if one == other {
            return;
        }
        let ids = [one, other].map(|number| DbId { number, ..self.context.db });
        self.changes += 1;
        let dbs = ids.map(|id| self.state.dbs.remove(&id));
        for (id, db) in ids.into_iter().rev().zip(dbs) {
            if let Some(db) = db {
                self.state.dbs.insert(id, db);
            }
            self.effects.flushed.push(id);
        }
    }

    /// Marks a key as changed and gives its entry, when it is in memory with a value.
    fn touch(&mut self, key: &[u8]) -> Result<Option<&mut Entry>> {
        let id = self.context.db;
        let version = self.next_version();
        self.tell_touched(id, key);
        let State { dbs, dirty, generation, frozen, images, scans, .. } = &mut *self.state;
        let Some(db) = dbs.get_mut(&id) else { return Ok(None) };
        let incarnation = db.incarnation;
        let Some(entry) = db.entry_mut(key) else { return Ok(None) };
        mark(entry, incarnation, *generation, *frozen, dirty, images, scans);
        entry.version = version;
        use_now(entry, self.context.uptime);
        Ok(Some(entry))
    }

    /// Nobody waits for or watches an idempotency key.
    fn tell_touched(&mut self, id: DbId, key: &[u8]) {
        if id.number != IDEMPOTENCY_DB {
            let own = self.effects.touched.get(self.touched_from..).unwrap_or_default();
            if own.last().is_none_or(|(db, last)| *db != id || **last != *key) {
                self.effects.touched.push((id, key.into()));
            }
        }
    }

    fn next_version(&mut self) -> Position {
        self.changes += 1;
        Position { index: self.position.index, n: self.position.n + self.changes }
    }

    /// The one way in which a key's value comes or goes; says whether it held one.
    fn change(&mut self, key: &[u8], new: Option<(Value, Option<i64>)>) -> Result<bool> {
        let id = self.context.db;
        let version = self.next_version();
        self.tell_touched(id, key);
        self.state.db_mut(id);
        let State { dbs, made, dirty, generation, frozen, images, scans, .. } = &mut *self.state;
        let Some(db) = dbs.get_mut(&id) else { return Ok(false) };
        let (value, expire_at) = match new {
            Some((value, expire_at)) => (Some(value), expire_at),
            None => (None, None),
        };
        let (holds, incarnation) = (value.is_some(), db.incarnation);
        if db.has_cold_keys() && db.entry(key).is_none() {
            return Err(Error::Miss(id, key.into()));
        }
        let now = self.context.now;
        let is_series = |value: Option<&Value>| matches!(value, Some(Value::Series(_)));
        let was_series = || is_series(db.entry(key).and_then(|entry| entry.value.as_ref()));
        if is_series(value.as_ref()) || (!db.labels.is_empty() && was_series()) {
            db.labels.note(key, value.as_ref(), expire_at);
        }
        let mut is_made = holds;
        let held = match db.entry_mut(key) {
            Some(entry) => {
                is_made = holds && (entry.value.is_none() || entry.is_expired(now));
                mark(entry, incarnation, *generation, *frozen, dirty, images, scans);
                let gone = std::mem::replace(&mut entry.value, value);
                entry.version = version;
                entry.set_expire_at(expire_at);
                let held = gone.is_some();
                if let Some(gone) = gone {
                    free_value(gone);
                }
                use_now(entry, self.context.uptime);
                held
            }
            None if !holds => false,
            None => {
                scans.keep(incarnation, key, || None);
                dirty.push((incarnation, key.into()));
                let mut entry = Entry::new(key, value, expire_at, version, self.context.uptime);
                entry.generation = *generation;
                db.insert(entry);
                false
            }
        };
        if is_made {
            made.entry(id).or_default().note(key, version);
        }
        match (held, holds) {
            (false, true) => (db.hot, db.live) = (db.hot + 1, db.live + 1),
            (true, false) => (db.hot, db.live) = (db.hot.saturating_sub(1), db.live.saturating_sub(1)),
            _ => {}
        }
        // What no checkpoint has seen and none is writing needs no tombstone.
        let frozen = frozen.is_some();
        let forgotten = |entry: &Entry| entry.value.is_none() && !entry.is_stored && !frozen;
        if !holds && db.entry(key).is_some_and(forgotten) {
            self.state.settle(id, key);
            if let Some(entry) = self.state.dbs.get_mut(&id).and_then(|db| db.take(key)) {
                self.state.memory = self.state.memory.saturating_sub(entry.counted);
            }
        }
        Ok(held)
    }

    /// Removes the keys of the selected database whose time is over, as far as the `Sweep` goes.
    pub(crate) fn sweep(&mut self, load: &dyn Load, due: Due) -> Result<()> {
        let id = self.context.db;
        for key in load.due(self.state, id, due)? {
            crate::run::ensure(self.state, load, id, &key)?;
        }
        let is_due = |(until, hash, _): &&(i64, u64, Name)| Due { until: *until, hash: *hash } <= due;
        let keys: Vec<Name> = match self.state.dbs.get(&id) {
            Some(db) => db.expires.iter().take_while(is_due).map(|(.., key)| key.clone()).collect(),
            None => return Ok(()),
        };
        keys.iter().try_for_each(|key| {
            self.expire(key)?;
            self.state.settle(id, key);
            Ok(())
        })
    }

    /// Removes a key when its time is over, or what of it has a time of its own that is over (fields of hashes), and tells
    /// so.
    pub(crate) fn expire(&mut self, key: &[u8]) -> Result<()> {
        let (id, now) = (self.context.db, self.context.now);
        let db = self.state.dbs.get(&id);
        let Some(entry) = db.and_then(|db| db.entry(key)).filter(|entry| entry.value.is_some()) else { return Ok(()) };
        if entry.is_expired(now) {
            self.change(key, None)?;
            self.notify(EventClass::EXPIRED, "expired", key);
            self.state.settle(id, key);
        } else if entry.value.as_ref().and_then(Value::first_end).is_some_and(|end| end <= now) {
            if let Some(hash) = self.get_mut::<Hash>(key)? {
                hash.remove_due(now);
            }
            self.notify(EventClass::HASH, "hexpired", key);
            self.remove_if_empty(key)?;
            self.state.settle(id, key);
        }
        Ok(())
    }

    /// Every entry of the selected database in memory, to choose keys from.
    pub fn visit(&self, mut visit: impl FnMut(&Entry) -> ControlFlow<()>) {
        if let Some(db) = self.state.dbs.get(&self.context.db) {
            let _ = db.entries().filter(|entry| entry.value.is_some()).try_for_each(&mut visit);
        }
    }
}

/// A change is a use. Sweeps and tests know of no time.
fn use_now(entry: &mut Entry, uptime: u32) {
    let used = entry.used.get_mut();
    *used = (*used).max(uptime);
}

/// A change begins: the key is due for the next checkpoint, and one that is being written gets its image first.
fn mark(
    entry: &mut Entry,
    incarnation: u32,
    generation: u64,
    frozen: Option<u64>,
    dirty: &mut Vec<(u32, Name)>,
    images: &mut Images,
    scans: &mut Scans,
) {
    if !scans.is_empty() {
        scans.keep(incarnation, &entry.key, || image_of(entry));
    }
    if entry.generation == generation {
        return;
    }
    if Some(entry.generation) == frozen {
        images.insert(incarnation, &entry.key, image_of(entry));
    }
    entry.generation = generation;
    // What an earlier generation was counted is that one's.
    entry.is_dirty = false;
    dirty.push((incarnation, entry.key.clone()));
}

fn image_of(entry: &Entry) -> Option<Image> {
    let value = entry.value.clone()?;
    Some(Image { value, expire_at: entry.expire_at(), version: entry.version })
}
