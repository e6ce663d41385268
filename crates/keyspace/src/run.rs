//! Running one command, whoever asks: a connection, MULTI, a script, apply.

use bytes::Bytes;
use parking_lot::RwLock;

use crate::db::Db;
use crate::error::{Block, wrong_arity};
use crate::persist::Image;
use crate::spec::{Group, Run, Spec};
use crate::state::IDEMPOTENCY_DB;
use crate::{Context, Error, Reader, Reply, Result, State, StorageFault, Writer};

/// What became of a command at apply.
#[derive(Debug)]
pub enum Ran {
    /// It has answered.
    Reply(Reply),
    /// It waits for one of its keys.
    Block(Block),
}

/// A key that is not in memory: its name, its end, and the name of its type.
pub type ColdKey = (Box<[u8]>, Option<i64>, &'static str);

/// An object that is not in memory: the name of its key, and what that holds.
pub type ColdObject = (Box<[u8]>, Image);

/// Brings keys into memory. Behind it [`State::db`] has an entry for the key, if only one that says that it is absent.
pub trait Load {
    /// Loads one key.
    ///
    /// # Errors
    /// [`StorageFault`] where the LSM cannot be read.
    fn load(&self, state: &mut State, db: crate::DbId, key: &[u8]) -> Result<(), StorageFault>;

    /// The same for a reader, which must not keep the lock while it waits for the disk.
    ///
    /// # Errors
    /// As [`Load::load`].
    fn load_shared(&self, state: &RwLock<State>, db: crate::DbId, key: &[u8]) -> Result<(), StorageFault>;

    /// The keys in the LSM that a sweep ends, perhaps with some that are in memory and live on.
    ///
    /// # Errors
    /// As [`Load::load`].
    fn due(&self, state: &State, db: crate::DbId, due: crate::Due) -> Result<Vec<Box<[u8]>>, StorageFault>;

    /// Until when about `count` keys that are not in memory are over, of those that are so at `now`; `None` when none is.
    ///
    /// # Errors
    /// As [`Load::load`].
    fn due_until(&self, db: &Db, now: i64, count: usize) -> Result<Option<crate::Due>, StorageFault>;

    /// Whether the LSM holds anything of a database, by its incarnation.
    ///
    /// # Errors
    /// As [`Load::load`].
    fn holds_any(&self, incarnation: u32) -> Result<bool, StorageFault>;

    /// Objects that are not in memory, whose keys' hashes are from `from` to below `next` (to the end for `None`).
    ///
    /// # Errors
    /// As [`Load::load`].
    fn cold_objects(&self, db: &Db, from: u64, next: Option<u64>) -> Result<Vec<ColdObject>, StorageFault>;

    /// The same without the objects: each key with its end and the name of its type.
    ///
    /// # Errors
    /// As [`Load::load`].
    fn cold_keys(&self, db: &Db, from: u64, next: Option<u64>) -> Result<Vec<ColdKey>, StorageFault> {
        let objects = self.cold_objects(db, from, next)?;
        Ok(objects.into_iter().map(|(key, image)| (key, image.expire_at, image.value.type_name())).collect())
    }
}

/// Runs a command that reads.
///
/// # Errors
/// [`Error::Miss`]: load the key and run it again.
pub fn run_read(state: &State, context: &Context, spec: &'static Spec, args: &[Bytes]) -> Result<Reply> {
    read_with(&Reader::new(state, context), spec, args)
}

/// The same, with a reader.
pub(crate) fn read_with(reader: &Reader<'_>, spec: &'static Spec, args: &[Bytes]) -> Result<Reply> {
    if !spec.takes(args.len()) {
        return reply_of(Err(wrong_arity(spec.name)));
    }
    match spec.run {
        Run::Read(run) => reply_of(run(reader, args)),
        _ => reply_of(Err(not_here(spec))),
    }
}

/// Runs a command that reads or writes, at apply. Its keys are loaded first; those whose time is over go.
///
/// # Errors
/// [`StorageFault`]: the node stops.
pub fn run_command<'a>(
    writer: &mut Writer<'a>,
    load: &'a dyn Load,
    spec: &'static Spec,
    args: &[Bytes],
) -> Result<Ran, StorageFault> {
    if !spec.takes(args.len()) {
        return Ok(Ran::Reply(Reply::Error(match wrong_arity(spec.name) {
            Error::Reply(text) => text,
            other => other.to_string().into(),
        })));
    }
    writer.load = Some(load);
    let db = writer.context.db;
    let changes = writer.changes;
    let has_cold = writer.state.db(db).is_some_and(crate::Db::has_cold_keys);
    // Of keys that only the LSM has nobody knows.
    let may_expire = has_cold || writer.state.db(db).is_some_and(|db| db.expiring() > 0);
    for (at, _) in spec.keys_of(args) {
        if has_cold {
            ensure(writer.state, load, db, &args[at])?;
        }
        // Not for a read: it may stand between the logged commands of this node alone.
        if may_expire && spec.is_write() {
            fault(writer.expire(&args[at]))?;
        }
    }
    // A command that names further keys only as it goes runs again, until it has them all.
    loop {
        let before = writer.changes;
        let touched = writer.effects.touched.len();
        writer.touched_from = touched;
        let result = match spec.run {
            Run::Read(run) => run(&writer.reader().loading(load), args),
            Run::Write(run) => run(writer, args),
            Run::Door | Run::Container => Err(not_here(spec)),
        };
        for at in touched..writer.effects.touched.len() {
            let (db, key) = &writer.effects.touched[at];
            writer.state.settle(*db, key);
        }
        if db.number == IDEMPOTENCY_DB {
            // Nobody is told of what is written there.
            for (at, _) in spec.keys_of(args) {
                writer.state.settle(db, &args[at]);
            }
        }
        // What a script calls counts by itself.
        if writer.changes > changes && spec.group != Group::Scripting {
            writer.state.changes += 1;
        }
        match result {
            Ok(reply) => return Ok(Ran::Reply(reply)),
            Err(Error::Reply(text)) => return Ok(Ran::Reply(Reply::Error(text))),
            Err(Error::Block(block)) if writer.context.must_not_wait => return Ok(Ran::Reply(block.otherwise)),
            Err(Error::Block(block)) => return Ok(Ran::Block(block)),
            Err(Error::Storage(fault)) => return Err(fault),
            Err(Error::Miss(db, key)) if writer.changes == before => ensure(writer.state, load, db, &key)?,
            Err(Error::Miss(..)) => {
                return Err(StorageFault::Entry("a command needs another key behind its first change"));
            }
        }
    }
}

/// Loads a key that is not in memory, where only the LSM knows.
pub(crate) fn ensure(state: &mut State, load: &dyn Load, db: crate::DbId, key: &[u8]) -> Result<(), StorageFault> {
    if state.db(db).is_some_and(|found| found.has_cold_keys() && found.entry(key).is_none()) {
        load.load(state, db, key)?;
    }
    Ok(())
}

fn fault(result: Result<()>) -> Result<(), StorageFault> {
    match result {
        Err(Error::Storage(fault)) => Err(fault),
        _ => Ok(()),
    }
}

fn reply_of(result: Result<Reply>) -> Result<Reply> {
    match result {
        Err(Error::Reply(text)) => Ok(Reply::Error(text)),
        other => other,
    }
}

fn not_here(spec: &Spec) -> Error {
    Error::reply(format!("ERR command '{}' cannot run here", spec.name))
}
