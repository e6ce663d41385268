//! SET, SETNX, SETEX, PSETEX, GETSET

use bytes::Bytes;

use super::options::{Condition, End, Of, Options, Unit, end_at};
use crate::object::{Object, Str, Value};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reply, Result, Writer};

/// SET
pub(super) static SET: Spec = Spec {
    name: "set",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::STRING,
    keys: &[KeySpec::one(
        1,
        KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE).union(KeyFlags::VARIABLE_FLAGS),
    )],
    group: Group::String,
    since: "1.0.0",
    summary: "Sets a string, whatever the key held",
    run: Run::Write(set),
    ..Spec::DEFAULT
};
/// SETNX
pub(super) static SETNX: Spec = Spec {
    name: "setnx",
    arity: 3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::STRING,
    keys: &[KeySpec::one(1, KeyFlags::OW.union(KeyFlags::INSERT))],
    group: Group::String,
    since: "1.0.0",
    summary: "Sets a string where the key is absent",
    run: Run::Write(setnx),
    ..Spec::DEFAULT
};
/// SETEX
pub(super) static SETEX: Spec = Spec {
    name: "setex",
    arity: 4,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::STRING,
    keys: &[KeySpec::one(1, KeyFlags::OW.union(KeyFlags::UPDATE))],
    group: Group::String,
    since: "2.0.0",
    summary: "Sets a string that ends in some seconds",
    run: Run::Write(setex),
    ..Spec::DEFAULT
};
/// PSETEX
pub(super) static PSETEX: Spec = Spec {
    name: "psetex",
    arity: 4,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::STRING,
    keys: &[KeySpec::one(1, KeyFlags::OW.union(KeyFlags::UPDATE))],
    group: Group::String,
    since: "2.6.0",
    summary: "Sets a string that ends in some milliseconds",
    run: Run::Write(psetex),
    ..Spec::DEFAULT
};
/// GETSET
pub(super) static GETSET: Spec = Spec {
    name: "getset",
    arity: 3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::STRING,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))],
    group: Group::String,
    since: "1.0.0",
    summary: "Sets a string and gives the one that was there",
    run: Run::Write(getset),
    ..Spec::DEFAULT
};

fn set(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let key = &args[1];
    let options = Options::parse(&args[3..], Of::Set)?;
    let end = match options.end {
        End::At(unit, text) => Some(end_at(unit, text, writer.now(), "set")?),
        _ => None,
    };
    let (held, kept) = match writer.entry(key)? {
        Some(entry) => (entry.value.as_ref(), entry.expire_at()),
        None => (None, None),
    };
    let compares = matches!(options.condition, Condition::Equal(_) | Condition::NotEqual(_));
    let old = match held {
        Some(value) if options.get || compares => Some(Str::of(value).ok_or(Error::WRONG_TYPE)?.to_bytes()),
        _ => None,
    };
    let holds = match options.condition {
        Condition::Always => true,
        Condition::Absent => held.is_none(),
        Condition::Present => held.is_some(),
        Condition::Equal(want) => old.as_ref() == Some(want),
        Condition::NotEqual(want) => old.as_ref() != Some(want),
    };
    let refused = Reply::bulk_or_null(old.filter(|_| options.get));
    if !holds {
        return Ok(refused);
    }
    let expire_at = if options.end == End::Keep { kept } else { end };
    writer.put(key, Value::String(Str::new(&args[2])), expire_at)?;
    writer.notify(EventClass::STRING, "set", key);
    if end.is_some() {
        writer.notify(EventClass::GENERIC, "expire", key);
    }
    Ok(if options.get { refused } else { Reply::OK })
}

fn setnx(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let absent = !writer.exists(&args[1])?;
    if absent {
        writer.put(&args[1], Value::String(Str::new(&args[2])), None)?;
        writer.notify(EventClass::STRING, "set", &args[1]);
    }
    Ok(Reply::flag(absent))
}

fn setex(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    set_with_end(writer, args, Unit::Seconds, "setex")
}

fn psetex(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    set_with_end(writer, args, Unit::Milliseconds, "psetex")
}

fn set_with_end(writer: &mut Writer<'_>, args: &[Bytes], unit: Unit, command: &str) -> Result<Reply> {
    let end = end_at(unit, &args[2], writer.now(), command)?;
    writer.put(&args[1], Value::String(Str::new(&args[3])), Some(end))?;
    writer.notify(EventClass::STRING, "set", &args[1]);
    writer.notify(EventClass::GENERIC, "expire", &args[1]);
    Ok(Reply::OK)
}

fn getset(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let old = writer.get::<Str>(&args[1])?.map(Str::to_bytes);
    writer.put(&args[1], Value::String(Str::new(&args[2])), None)?;
    writer.notify(EventClass::STRING, "set", &args[1]);
    Ok(Reply::bulk_or_null(old))
}
