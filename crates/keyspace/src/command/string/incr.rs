//! INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT

use bytes::Bytes;

use crate::args::integer;
use crate::long_double::LongDouble;
use crate::object::{Str, Value};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reply, Result, Writer};

/// INCR
pub(super) static INCR: Spec = Spec {
    name: "incr",
    arity: 2,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::STRING,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))],
    group: Group::String,
    since: "1.0.0",
    summary: "Adds one to an integer",
    run: Run::Write(incr),
    ..Spec::DEFAULT
};
/// DECR
pub(super) static DECR: Spec = Spec {
    name: "decr",
    arity: 2,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::STRING,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))],
    group: Group::String,
    since: "1.0.0",
    summary: "Takes one from an integer",
    run: Run::Write(decr),
    ..Spec::DEFAULT
};
/// INCRBY
pub(super) static INCRBY: Spec = Spec {
    name: "incrby",
    arity: 3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::STRING,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))],
    group: Group::String,
    since: "1.0.0",
    summary: "Adds to an integer",
    run: Run::Write(incrby),
    ..Spec::DEFAULT
};
/// DECRBY
pub(super) static DECRBY: Spec = Spec {
    name: "decrby",
    arity: 3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::STRING,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))],
    group: Group::String,
    since: "1.0.0",
    summary: "Takes from an integer",
    run: Run::Write(decrby),
    ..Spec::DEFAULT
};
/// INCRBYFLOAT
pub(super) static INCRBYFLOAT: Spec = Spec {
    name: "incrbyfloat",
    arity: 3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::STRING,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))],
    group: Group::String,
    since: "2.6.0",
    summary: "Adds to a float",
    run: Run::Write(incrbyfloat),
    ..Spec::DEFAULT
};

fn incr(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    add(writer, &args[1], 1)
}

fn decr(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    add(writer, &args[1], -1)
}

fn incrby(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    add(writer, &args[1], integer(&args[2])?)
}

fn decrby(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let by = integer(&args[2])?.checked_neg().ok_or(Error::reply("ERR decrement would overflow"))?;
    add(writer, &args[1], by)
}

fn add(writer: &mut Writer<'_>, key: &[u8], by: i64) -> Result<Reply> {
    let held = writer.get::<Str>(key)?.map(|string| string.to_integer().ok_or(Error::NOT_AN_INTEGER)).transpose()?;
    let sum = held.unwrap_or(0).checked_add(by).ok_or(Error::reply("ERR increment or decrement would overflow"))?;
    put(writer, key, held.is_some(), Str::Int(sum))?;
    writer.notify(EventClass::STRING, "incrby", key);
    Ok(Reply::Integer(sum))
}

fn incrbyfloat(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let key = &args[1];
    let held = match writer.get::<Str>(key)? {
        Some(Str::Int(value)) => Some(LongDouble::from_integer(*value)),
        Some(string) => Some(LongDouble::parse(&string.to_bytes()).ok_or(Error::NOT_A_FLOAT)?),
        None => None,
    };
    let by = LongDouble::parse(&args[2]).ok_or(Error::NOT_A_FLOAT)?;
    let sum = match held {
        Some(held) => held.add(by),
        None => LongDouble::from_integer(0).add(by),
    };
    let sum = sum.ok_or(Error::reply("ERR increment would produce NaN or Infinity"))?.format();
    let bytes = Bytes::from(sum);
    put(writer, key, held.is_some(), Str::raw(&bytes))?;
    writer.notify(EventClass::STRING, "incrbyfloat", key);
    Ok(Reply::Bulk(bytes))
}

/// Puts a string and leaves the key's end.
fn put(writer: &mut Writer<'_>, key: &[u8], exists: bool, string: Str) -> Result<()> {
    if !exists {
        return writer.put(key, Value::String(string), None);
    }
    if let Some(held) = writer.get_mut::<Str>(key)? {
        *held = string;
    }
    Ok(())
}
