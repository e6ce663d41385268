//! What a transaction of SQL does to keys before it is logged.
//!
//! ```text
//! keyspace -- copy, when first needed --> draft -- commands run over the copies --> what its own statements see
//!                                           |
//!                                           +-- COMMIT: commands, and the versions of what they depend on --> log
//! ```
//!
//! The same code runs over the copies now and over the keyspace at apply. Apply compares the versions first: where all of
//! them are the same it comes to what the transaction has seen, and where one differs nothing of the transaction is done.

use std::cell::{Cell, RefCell};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use perigee_types::Oid;

use crate::command::Once;
use crate::db::Position;
use crate::object::Value;
use crate::payload::{self, Header, Item, TRANSACTION};
use crate::persist::Image;
use crate::run::{Ran, run_command};
use crate::scan::ScannedKey;
use crate::state::{DbId, IDEMPOTENCY_DB, State};
use crate::unit::{Command, Unit};
use crate::{Context, Effects, Flags, Keyspace, Load, Reply, StorageFault, Writer};

/// Bytes of commands and versions in one transaction: they stand in its one entry, which may come in pieces.
pub const DRAFT_BYTES_MAX: usize = 64 << 20;
/// Bytes of the objects that a transaction copies, with those that its savepoints keep.
const COPIES_BYTES_MAX: usize = 256 << 20;
/// Keys whose versions a transaction remembers because it has read them.
const SEEN_MAX: usize = 100_000;

/// Why a transaction cannot go on with keys.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// A key was changed by somebody else since the transaction has seen it.
    #[error("a key was changed since the transaction has seen it")]
    Changed,
    /// Its commands do not fit one entry.
    #[error("the transaction changes more than {DRAFT_BYTES_MAX} bytes of keys")]
    TooLarge,
    /// The objects that it changes are too large to copy.
    #[error("the transaction changes keys that hold more than {} MiB", COPIES_BYTES_MAX >> 20)]
    Memory,
    /// `maxmemory` is used up, and the command needs more.
    #[error("the keyspace uses more memory than maxmemory allows")]
    Full,
    /// It depends on more keys than it can remember.
    #[error("the transaction depends on more than {SEEN_MAX} keys")]
    TooMany,
    /// What the command says; nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// The LSM cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageFault),
}

/// What reading a key means for the transaction that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Nothing.
    Free,
    /// Should it write the key later, then by what it has read here. Remembered as long as there is room.
    Noted,
    /// The same, for the rows that a write changes: without room it is an error.
    Found,
    /// What it writes depends on the key.
    Watched,
    /// The same, and all of its statements see the key alike.
    Repeatable,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    version: Position,
    watched: bool,
}

type Name = (DbId, Bytes);

#[derive(Default)]
struct Inner {
    /// The copies. Made with the first command.
    state: Option<State>,
    seen: BTreeMap<Name, Seen>,
    written: BTreeSet<Name>,
    commands: BTreeMap<DbId, Vec<Command>>,
    bytes: usize,
    /// Where somebody may go back to, in order.
    marks: Vec<Mark>,
    /// Bytes of the images of all marks, about.
    kept: usize,
}

/// A place that somebody may go back to, and what was changed behind it, up to the next.
struct Mark {
    /// Gone when nobody will.
    place: Weak<()>,
    commands: Vec<(DbId, usize)>,
    bytes: usize,
    /// Keys that nobody had written before.
    written: Vec<Name>,
    /// What keys held here.
    images: BTreeMap<Name, Option<Image>>,
}

/// See the module.
pub struct Draft {
    keyspace: Arc<Keyspace>,
    tenant: Oid,
    inner: Mutex<Inner>,
}

/// Keys that a transaction has changed, as it has left them: the rest is as in the keyspace.
#[derive(Debug, Default)]
pub struct DraftKeys(BTreeMap<Name, Option<ScannedKey>>);

/// A place to come back to: the begin, or where [`Draft::mark`] was called. Drop it where nobody will.
#[derive(Default)]
pub struct DraftMark(Option<Arc<()>>);

impl Draft {
    /// An empty one.
    #[must_use]
    pub fn new(keyspace: Arc<Keyspace>, tenant: Oid) -> Arc<Self> {
        Arc::new(Self { keyspace, tenant, inner: Mutex::default() })
    }

    /// The keyspace below.
    #[must_use]
    pub fn keyspace(&self) -> &Arc<Keyspace> {
        &self.keyspace
    }

    /// Whether no key was changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.lock().commands.is_empty()
    }

    /// Bytes that its commands take in the entry, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }

    /// The keys that were changed.
    #[must_use]
    pub fn changed(&self) -> DraftKeys {
        let inner = self.inner.lock();
        DraftKeys(inner.written.iter().map(|name| (name.clone(), inner.key(name))).collect())
    }

    /// A key was read at a version.
    ///
    /// # Errors
    /// [`DraftError::Changed`] where the transaction has seen another version and that matters; [`DraftError::TooMany`].
    pub fn note(&self, db: DbId, key: &Bytes, version: Position, reading: Reading) -> Result<(), DraftError> {
        if reading == Reading::Free {
            return Ok(());
        }
        let watched = matches!(reading, Reading::Watched | Reading::Repeatable);
        let mut inner = self.inner.lock();
        let room = inner.seen.len() < SEEN_MAX;
        match inner.seen.entry((db, key.clone())) {
            Entry::Occupied(mut seen) => {
                if seen.get().version != version && reading != Reading::Noted {
                    return Err(DraftError::Changed);
                }
                seen.get_mut().watched |= watched;
            }
            Entry::Vacant(place) if room => {
                place.insert(Seen { version, watched });
            }
            Entry::Vacant(_) if reading == Reading::Noted => {}
            Entry::Vacant(_) => return Err(DraftError::TooMany),
        }
        Ok(())
    }

    /// What a key holds for this transaction, which depends on it from now on.
    ///
    /// # Errors
    /// See [`DraftError`].
    pub fn get(&self, number: u32, key: &[u8]) -> Result<Option<ScannedKey>, DraftError> {
        let db = DbId { tenant: self.tenant, number };
        let name = (db, Bytes::copy_from_slice(key));
        let mut inner = self.inner.lock();
        let Inner { state, seen, kept, .. } = &mut *inner;
        let state = copies(state, &self.keyspace, db);
        let copier = Copier::new(&self.keyspace, seen);
        crate::run::ensure(state, &copier, db, key)?;
        copier.check()?;
        if state.memory() + *kept > COPIES_BYTES_MAX {
            return Err(DraftError::Memory);
        }
        Ok(inner.key(&name).filter(|found| found.expire_at.is_none_or(|at| at > self.keyspace.now_ms())))
    }

    /// Runs a command that writes and keeps it for the entry.
    ///
    /// # Errors
    /// See [`DraftError`].
    pub fn run(&self, number: u32, args: Vec<Bytes>) -> Result<Reply, DraftError> {
        let db = DbId { tenant: self.tenant, number };
        let spec = args.first().and_then(|name| crate::command::find(name)).and_then(|spec| spec.resolve(&args));
        let Some(spec) = spec.filter(|spec| spec.is_write()) else {
            return Err(DraftError::Refused("ERR no command that writes".to_owned()));
        };
        if spec.flags.contains(Flags::DENYOOM) && self.keyspace.with_state(State::is_full) {
            return Err(DraftError::Full);
        }
        let mut inner = self.inner.lock();
        let more = args.iter().map(|arg| arg.len() + 4).sum::<usize>();
        if inner.bytes + more > DRAFT_BYTES_MAX {
            return Err(DraftError::TooLarge);
        }
        inner.forget_marks();
        let mut effects = Effects::default();
        let Inner { state, seen, marks, kept, .. } = &mut *inner;
        let state = copies(state, &self.keyspace, db);
        state.scans.undo = (!marks.is_empty()).then(BTreeMap::new);
        let copier = Copier::new(&self.keyspace, seen);
        let context = Context { must_not_wait: true, ..Context::new(db, self.keyspace.now_ms()) };
        // Behind all that stands in the log.
        let position = Position { index: u64::MAX, n: 0 };
        let ran = {
            let mut writer = Writer::new(state, context, &mut effects, position, 0);
            run_command(&mut writer, &copier, spec, &args)
        };
        // Checkpoints know nothing of copies.
        state.dirty.clear();
        // Also of a command that fails: who goes back does so behind it.
        if let (Some(mark), Some(undo)) = (marks.last_mut(), state.scans.undo.take()) {
            for (key, image) in undo {
                let bytes = bytes_of(&key, image.as_ref());
                if let Entry::Vacant(place) = mark.images.entry((db, key.into())) {
                    place.insert(image);
                    *kept += bytes;
                }
            }
        }
        let ran = ran?;
        copier.check()?;
        if state.memory() + *kept > COPIES_BYTES_MAX {
            return Err(DraftError::Memory);
        }
        let reply = match ran {
            Ran::Reply(Reply::Error(text)) => return Err(DraftError::Refused(text.into_owned())),
            Ran::Reply(reply) => reply,
            Ran::Block(block) => block.otherwise,
        };
        let touched: Vec<Name> = match number {
            // Nobody is told of what is written there.
            IDEMPOTENCY_DB => spec.keys_of(&args).iter().map(|(at, _)| (db, args[*at].clone())).collect(),
            _ => effects.touched.iter().map(|(db, key)| (*db, Bytes::copy_from_slice(key))).collect(),
        };
        if touched.is_empty() {
            return Ok(reply);
        }
        for name in touched {
            if inner.written.insert(name.clone())
                && let Some(mark) = inner.marks.last_mut()
            {
                mark.written.push(name);
            }
        }
        inner.bytes += more;
        inner.commands.entry(db).or_default().push(Command { spec, args });
        Ok(reply)
    }

    /// What is kept of an idempotency key; the transaction depends on it from now on.
    ///
    /// # Errors
    /// See [`DraftError`].
    pub fn once(&self, key: &[u8]) -> Result<Option<Once>, DraftError> {
        let held = self.get(IDEMPOTENCY_DB, key)?;
        Ok(held.and_then(|held| match held.value {
            Value::String(record) => Once::decode(&record.to_bytes()),
            _ => None,
        }))
    }

    /// Keeps something of an idempotency key, in the entry of what the transaction does, for as long as such keys are kept.
    ///
    /// # Errors
    /// See [`DraftError`].
    pub fn keep_once(&self, key: &[u8], once: &Once) -> Result<(), DraftError> {
        let ttl_ms = self.keyspace.with_state(|state| Once::ttl_ms(&state.settings));
        let words = [b"SET".to_vec(), key.to_vec(), once.encode(), b"PX".to_vec(), ttl_ms.to_string().into_bytes()];
        self.run(IDEMPOTENCY_DB, words.into_iter().map(Bytes::from).collect()).map(drop)
    }

    /// Where it stands now.
    #[must_use]
    pub fn mark(&self) -> DraftMark {
        let mut inner = self.inner.lock();
        inner.forget_marks();
        let place = Arc::new(());
        let mark = Mark {
            place: Arc::downgrade(&place),
            commands: inner.commands.iter().map(|(db, commands)| (*db, commands.len())).collect(),
            bytes: inner.bytes,
            written: Vec::new(),
            images: BTreeMap::new(),
        };
        inner.marks.push(mark);
        DraftMark(Some(place))
    }

    /// Takes back what was done behind a mark, to which one may come back again, and forgets those behind it. What was
    /// read stays read.
    pub fn rollback_to(&self, mark: &DraftMark) {
        let mut inner = self.inner.lock();
        let Some(place) = &mark.0 else {
            let seen = std::mem::take(&mut inner.seen);
            *inner = Inner { seen, ..Inner::default() };
            return;
        };
        let Some(at) = inner.marks.iter().rposition(|mark| Weak::as_ptr(&mark.place) == Arc::as_ptr(place)) else {
            return;
        };
        let mut images = BTreeMap::new();
        let (mut commands, mut bytes) = (Vec::new(), 0);
        // What was kept first is how it was.
        for mark in inner.marks.split_off(at).into_iter().rev() {
            inner.written.retain(|name| !mark.written.contains(name));
            images.extend(mark.images);
            (commands, bytes) = (mark.commands, mark.bytes);
        }
        let lengths: BTreeMap<DbId, usize> = commands.iter().copied().collect();
        inner.commands.retain(|db, commands| {
            commands.truncate(lengths.get(db).copied().unwrap_or(0));
            !commands.is_empty()
        });
        inner.bytes = bytes;
        if let Some(state) = &mut inner.state {
            for ((db, key), image) in images {
                state.put_back(db, &key, image);
            }
        }
        let place = Arc::downgrade(place);
        inner.marks.push(Mark { place, commands, bytes, written: Vec::new(), images: BTreeMap::new() });
        inner.kept = inner.marks.iter().map(Mark::kept).sum();
    }

    /// What the entry carries; `None` when there is nothing. `writes`: the transaction writes something besides keys.
    ///
    /// # Errors
    /// [`DraftError::TooLarge`].
    pub fn payload(&self, writes: bool) -> Result<Option<Bytes>, DraftError> {
        let mut inner = self.inner.lock();
        let watches: Vec<(DbId, Bytes, Position)> = inner
            .seen
            .iter()
            .filter(|(_, seen)| seen.watched)
            .map(|((db, key), seen)| (*db, key.clone(), seen.version))
            .collect();
        if inner.commands.is_empty() && (watches.is_empty() || !writes) {
            return Ok(None);
        }
        let first = DbId { tenant: self.tenant, number: 0 };
        let mut units = vec![Unit { db: first, transaction: true, watches, ..Unit::default() }];
        for (db, commands) in std::mem::take(&mut inner.commands) {
            units.push(Unit { db, transaction: true, commands, ..Unit::default() });
        }
        let items: Vec<Item> = units.into_iter().map(Item::Unit).collect();
        let fields = payload::encode_units(rand::random(), items.iter());
        if fields.len() > DRAFT_BYTES_MAX {
            return Err(DraftError::TooLarge);
        }
        let header = Header { origin: self.keyspace.origin, number: 0, kind: TRANSACTION };
        Ok(Some(payload::entry(header, &fields)))
    }
}

impl Mark {
    fn kept(&self) -> usize {
        self.images.iter().map(|((_, key), image)| bytes_of(key, image.as_ref())).sum()
    }
}

/// What keeping an image costs, about.
fn bytes_of(key: &[u8], image: Option<&Image>) -> usize {
    key.len() + 128 + image.map_or(0, |image| image.value.memory())
}

impl Inner {
    /// Forgets the last marks, as far as nobody goes back to them: what they have kept is for those before them.
    fn forget_marks(&mut self) {
        while let Some(mark) = self.marks.pop_if(|mark| mark.place.strong_count() == 0) {
            let Some(before) = self.marks.last_mut() else {
                self.kept = 0;
                return;
            };
            before.written.extend(mark.written);
            for ((db, key), image) in mark.images {
                let bytes = bytes_of(&key, image.as_ref());
                match before.images.entry((db, key)) {
                    Entry::Vacant(place) => drop(place.insert(image)),
                    Entry::Occupied(_) => self.kept = self.kept.saturating_sub(bytes),
                }
            }
        }
    }

    fn image(&self, (db, key): &Name) -> Option<Image> {
        let entry = self.state.as_ref()?.db(*db)?.entry(key)?;
        let value = entry.value.clone()?;
        Some(Image { value, expire_at: entry.expire_at(), version: entry.version })
    }

    fn key(&self, name: &Name) -> Option<ScannedKey> {
        let Image { value, expire_at, version } = self.image(name)?;
        Some(ScannedKey { key: name.1.clone(), value, expire_at, version })
    }
}

impl DraftKeys {
    /// Whether no key was changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a key holds, if the transaction has changed it; in that `None` for nothing.
    #[must_use]
    pub fn get(&self, db: DbId, key: &[u8]) -> Option<Option<&ScannedKey>> {
        self.0.get(&(db, Bytes::copy_from_slice(key))).map(Option::as_ref)
    }

    /// The keys of a database that hold something.
    pub fn of(&self, db: DbId) -> impl Iterator<Item = &ScannedKey> {
        self.0.iter().filter(move |((other, _), _)| *other == db).filter_map(|(_, key)| key.as_ref())
    }

    /// The databases of them, in order.
    #[must_use]
    pub fn numbers(&self) -> BTreeSet<u32> {
        self.0.keys().map(|(db, _)| db.number).collect()
    }
}

/// The copies of a database, where every key is one that only the keyspace below knows.
fn copies<'a>(state: &'a mut Option<State>, below: &Keyspace, db: DbId) -> &'a mut State {
    let state = state.get_or_insert_with(|| State {
        settings: below.with_state(|state| state.settings.clone()),
        ..State::default()
    });
    if state.db(db).is_none() {
        state.db_mut(db).cold = u64::MAX >> 1;
    }
    state
}

/// Copies keys when they are needed, and remembers their versions.
struct Copier<'a> {
    keyspace: &'a Keyspace,
    seen: RefCell<&'a mut BTreeMap<Name, Seen>>,
    changed: Cell<bool>,
}

impl<'a> Copier<'a> {
    fn new(keyspace: &'a Keyspace, seen: &'a mut BTreeMap<Name, Seen>) -> Self {
        Self { keyspace, seen: RefCell::new(seen), changed: Cell::new(false) }
    }

    fn check(&self) -> Result<(), DraftError> {
        if self.changed.get() { Err(DraftError::Changed) } else { Ok(()) }
    }
}

impl Load for Copier<'_> {
    fn load(&self, state: &mut State, db: DbId, key: &[u8]) -> Result<(), StorageFault> {
        let (version, found) = self.keyspace.get_all(db, &[key])?.pop().unwrap_or_default();
        let mut seen = self.seen.borrow_mut();
        let seen = seen.entry((db, Bytes::copy_from_slice(key))).or_insert(Seen { version, watched: true });
        if seen.version != version {
            self.changed.set(true);
        }
        seen.watched = true;
        let image = found.map(|found| Image { value: found.value, expire_at: found.expire_at, version });
        state.take_in_copy(db, key, image);
        Ok(())
    }

    fn load_shared(&self, _state: &RwLock<State>, _db: DbId, _key: &[u8]) -> Result<(), StorageFault> {
        Err(StorageFault::Entry("copies are not shared"))
    }

    fn due(&self, _state: &State, _db: DbId, _due: crate::Due) -> Result<Vec<Box<[u8]>>, StorageFault> {
        Ok(Vec::new())
    }

    fn due_until(&self, _db: &crate::Db, _now: i64, _count: usize) -> Result<Option<crate::Due>, StorageFault> {
        Ok(None)
    }

    fn holds_any(&self, _incarnation: u32) -> Result<bool, StorageFault> {
        Ok(false)
    }

    fn cold_objects(
        &self,
        _db: &crate::Db,
        _from: u64,
        _next: Option<u64>,
    ) -> Result<Vec<crate::ColdObject>, StorageFault> {
        Err(StorageFault::Entry("copies are not listed"))
    }
}

#[cfg(test)]
#[path = "draft_tests.rs"]
mod tests;
