//! HSET key field value [field value ...], HMSET key field value [field value ...], HSETNX key field value

use bytes::Bytes;

use crate::error::wrong_arity;
use crate::object::{Hash, HashLimits};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{EventClass, Reply, Result, Writer};

/// HSET
pub(super) static HSET: Spec = Spec {
    name: "hset",
    arity: -4,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Hash,
    since: "2.0.0",
    summary: "Gives fields of a hash their values",
    run: Run::Write(hset),
    ..Spec::DEFAULT
};

/// HMSET
pub(super) static HMSET: Spec = Spec {
    name: "hmset",
    arity: -4,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Hash,
    since: "2.0.0",
    summary: "Gives fields of a hash their values",
    run: Run::Write(hmset),
    ..Spec::DEFAULT
};

/// HSETNX
pub(super) static HSETNX: Spec = Spec {
    name: "hsetnx",
    arity: 4,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))],
    group: Group::Hash,
    since: "2.0.0",
    summary: "Gives a field of a hash its value unless it has one",
    run: Run::Write(hsetnx),
    ..Spec::DEFAULT
};

fn set(writer: &mut Writer<'_>, args: &[Bytes], name: &str) -> Result<i64> {
    let (key, (pairs, rest)) = (&args[1], args[2..].as_chunks::<2>());
    if !rest.is_empty() {
        return Err(wrong_arity(name));
    }
    let limits = HashLimits::of(writer.state());
    let hash = writer.get_or_create::<Hash>(key)?;
    hash.expect(pairs.len(), args[2..].iter().map(Bytes::len), limits);
    let added = pairs.iter().filter(|[field, value]| hash.insert(field, value, limits)).count();
    writer.notify(EventClass::HASH, "hset", key);
    Ok(added as i64)
}

fn hset(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    set(writer, args, "hset").map(Reply::Integer)
}

fn hmset(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    set(writer, args, "hmset").map(|_| Reply::OK)
}

fn hsetnx(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (key, field) = (&args[1], &args[2]);
    if writer.get::<Hash>(key)?.is_some_and(|hash| hash.get(field, writer.now()).is_some()) {
        return Ok(Reply::Integer(0));
    }
    set(writer, args, "hsetnx").map(Reply::Integer)
}
