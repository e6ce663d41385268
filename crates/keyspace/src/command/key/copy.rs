//! COPY, MOVE

use bytes::Bytes;

use super::db_number;
use crate::args::Cursor;
use crate::growth::Growth;
use crate::object::Value;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reply, Result, Writer};

/// COPY
pub(super) static COPY: Spec = Spec {
    name: "copy",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::KEYSPACE,
    keys: &[
        KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS)),
        KeySpec::one(2, KeyFlags::OW.union(KeyFlags::UPDATE)),
    ],
    group: Group::Generic,
    since: "6.2.0",
    summary: "Puts what a key holds also under another key",
    run: Run::Write(copy),
    grows: Growth::Copies,
    ..Spec::DEFAULT
};
/// MOVE
pub(super) static MOVE: Spec = Spec {
    name: "move",
    arity: 3,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::KEYSPACE,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))],
    group: Group::Generic,
    since: "1.0.0",
    summary: "Puts a key into another database",
    run: Run::Write(move_key),
    ..Spec::DEFAULT
};

const SAME: Error = Error::Reply(std::borrow::Cow::Borrowed("ERR source and destination objects are the same"));

fn held(writer: &Writer<'_>, key: &[u8]) -> Result<Option<(Value, Option<i64>)>> {
    Ok(writer.entry(key)?.and_then(|entry| Some((entry.value.clone()?, entry.expire_at()))))
}

fn copy(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (from, to) = (&args[1], &args[2]);
    let (mut db, mut replace) = (writer.context.db.number, false);
    let mut rest = Cursor::new(&args[3..]);
    while !rest.is_empty() {
        if rest.take("replace") {
            replace = true;
        } else if rest.rest().len() > 1 && rest.take("db") {
            db = db_number(writer.state(), rest.must()?, None)?;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    if db == writer.context.db.number && from == to {
        return Err(SAME);
    }
    let Some((value, expire_at)) = held(writer, from)? else { return Ok(Reply::Integer(0)) };
    writer.in_db(db, |writer| {
        if writer.exists(to)? && !replace {
            return Ok(Reply::Integer(0));
        }
        writer.put(to, value, expire_at)?;
        writer.notify(EventClass::GENERIC, "copy_to", to);
        Ok(Reply::Integer(1))
    })
}

fn move_key(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let key = &args[1];
    let db = db_number(writer.state(), &args[2], None)?;
    if db == writer.context.db.number {
        return Err(SAME);
    }
    let Some((value, expire_at)) = held(writer, key)? else { return Ok(Reply::Integer(0)) };
    if writer.in_db(db, |writer| writer.exists(key))? {
        return Ok(Reply::Integer(0));
    }
    writer.in_db(db, |writer| writer.put(key, value, expire_at))?;
    writer.remove(key)?;
    writer.notify(EventClass::GENERIC, "move_from", key);
    writer.in_db(db, |writer| writer.notify(EventClass::GENERIC, "move_to", key));
    Ok(Reply::Integer(1))
}
