//! HINCRBY key field increment, HINCRBYFLOAT key field increment

use bytes::Bytes;

use crate::args::{integer, parse_integer};
use crate::long_double::LongDouble;
use crate::object::{Hash, HashLimits};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reply, Result, Writer};

/// HINCRBY
pub(super) static HINCRBY: Spec = Spec {
    name: "hincrby",
    arity: 4,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))],
    group: Group::Hash,
    since: "2.0.0",
    summary: "Adds to an integer in a field of a hash",
    run: Run::Write(hincrby),
    ..Spec::DEFAULT
};

/// HINCRBYFLOAT
pub(super) static HINCRBYFLOAT: Spec = Spec {
    name: "hincrbyfloat",
    arity: 4,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))],
    group: Group::Hash,
    since: "2.6.0",
    summary: "Adds to a float in a field of a hash",
    run: Run::Write(hincrbyfloat),
    ..Spec::DEFAULT
};

/// Gives a field a new value and leaves its end.
fn put(writer: &mut Writer<'_>, key: &[u8], field: &[u8], value: &[u8]) -> Result<()> {
    let limits = HashLimits::of(writer.state());
    let hash = writer.get_or_create::<Hash>(key)?;
    if !hash.replace(field, value, limits) {
        hash.insert(field, value, limits);
    }
    Ok(())
}

fn hincrby(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (key, field) = (&args[1], &args[2]);
    let by = integer(&args[3])?;
    let held = match writer.get::<Hash>(key)?.and_then(|hash| hash.get(field, writer.now())) {
        Some(value) => parse_integer(value).ok_or(Error::reply("ERR hash value is not an integer"))?,
        None => 0,
    };
    let sum = held.checked_add(by).ok_or(Error::reply("ERR increment or decrement would overflow"))?;
    put(writer, key, field, itoa::Buffer::new().format(sum).as_bytes())?;
    writer.notify(EventClass::HASH, "hincrby", key);
    Ok(Reply::Integer(sum))
}

fn hincrbyfloat(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (key, field) = (&args[1], &args[2]);
    let by = LongDouble::parse(&args[3]).ok_or(Error::NOT_A_FLOAT)?;
    // Only an infinity cannot be added to zero.
    let by = LongDouble::from_integer(0).add(by).ok_or(Error::reply("ERR value is NaN or Infinity"))?;
    let held = match writer.get::<Hash>(key)?.and_then(|hash| hash.get(field, writer.now())) {
        Some(value) => LongDouble::parse(value).ok_or(Error::reply("ERR hash value is not a float"))?,
        None => LongDouble::from_integer(0),
    };
    let sum = held.add(by).ok_or(Error::reply("ERR increment would produce NaN or Infinity"))?.format();
    put(writer, key, field, sum.as_bytes())?;
    writer.notify(EventClass::HASH, "hincrbyfloat", key);
    Ok(Reply::Bulk(Bytes::from(sum)))
}
