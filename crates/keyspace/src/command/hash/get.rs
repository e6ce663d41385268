//! HGET key field, HMGET key field [field ...], HGETALL, HKEYS, HVALS, HLEN key, HSTRLEN key field, HEXISTS key field

use bytes::Bytes;

use crate::object::{Field, Hash};
use crate::room::fits;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Reader, Reply, Result};

/// HGET
pub(super) static HGET: Spec = Spec {
    name: "hget",
    arity: 3,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Hash,
    since: "2.0.0",
    summary: "The value of a field of a hash",
    run: Run::Read(hget),
    ..Spec::DEFAULT
};

/// HMGET
pub(super) static HMGET: Spec = Spec {
    name: "hmget",
    arity: -3,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Hash,
    since: "2.0.0",
    summary: "The values of fields of a hash",
    run: Run::Read(hmget),
    ..Spec::DEFAULT
};

/// HGETALL
pub(super) static HGETALL: Spec = Spec {
    name: "hgetall",
    arity: 2,
    flags: Flags::READONLY,
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Hash,
    since: "2.0.0",
    summary: "All fields of a hash with their values",
    run: Run::Read(hgetall),
    ..Spec::DEFAULT
};

/// HKEYS
pub(super) static HKEYS: Spec = Spec {
    name: "hkeys",
    arity: 2,
    flags: Flags::READONLY,
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Hash,
    since: "2.0.0",
    summary: "All fields of a hash",
    run: Run::Read(hkeys),
    ..Spec::DEFAULT
};

/// HVALS
pub(super) static HVALS: Spec = Spec {
    name: "hvals",
    arity: 2,
    flags: Flags::READONLY,
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Hash,
    since: "2.0.0",
    summary: "The values of all fields of a hash",
    run: Run::Read(hvals),
    ..Spec::DEFAULT
};

/// HLEN
pub(super) static HLEN: Spec = Spec {
    name: "hlen",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RO)],
    group: Group::Hash,
    since: "2.0.0",
    summary: "How many fields a hash has",
    run: Run::Read(hlen),
    ..Spec::DEFAULT
};

/// HSTRLEN
pub(super) static HSTRLEN: Spec = Spec {
    name: "hstrlen",
    arity: 3,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RO)],
    group: Group::Hash,
    since: "3.2.0",
    summary: "How long the value of a field of a hash is",
    run: Run::Read(hstrlen),
    ..Spec::DEFAULT
};

/// HEXISTS
pub(super) static HEXISTS: Spec = Spec {
    name: "hexists",
    arity: 3,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RO)],
    group: Group::Hash,
    since: "2.0.0",
    summary: "Whether a hash has a field",
    run: Run::Read(hexists),
    ..Spec::DEFAULT
};

fn value(reader: &Reader<'_>, hash: Option<&Hash>, field: &[u8]) -> Reply {
    hash.and_then(|hash| hash.get(field, reader.now())).map_or(Reply::Null, Reply::bulk)
}

fn hget(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    Ok(value(reader, reader.get::<Hash>(&args[1])?, &args[2]))
}

fn hmget(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let hash = reader.get::<Hash>(&args[1])?;
    let found: Vec<Option<&[u8]>> =
        args[2..].iter().map(|field| hash.and_then(|hash| hash.get(field, reader.now()))).collect();
    fits(found.iter().map(|value| value.map_or(0, <[u8]>::len)))?;
    Ok(Reply::Array(found.into_iter().map(|value| value.map_or(Reply::Null, Reply::bulk)).collect()))
}

fn hgetall(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let Some(hash) = reader.get::<Hash>(&args[1])? else { return Ok(Reply::Map(Vec::new())) };
    let fields = hash.live(reader.now()).map(|field| (Reply::bulk(field.name), Reply::bulk(field.value)));
    Ok(Reply::Map(fields.collect()))
}

fn each(reader: &Reader<'_>, key: &[u8], part: impl Fn(Field<'_>) -> Reply) -> Result<Reply> {
    let hash = reader.get::<Hash>(key)?;
    Ok(Reply::Array(hash.map(|hash| hash.live(reader.now()).map(part).collect()).unwrap_or_default()))
}

fn hkeys(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    each(reader, &args[1], |field| Reply::bulk(field.name))
}

fn hvals(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    each(reader, &args[1], |field| Reply::bulk(field.value))
}

fn hlen(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    Ok(Reply::count(reader.get::<Hash>(&args[1])?.map_or(0, |hash| hash.len(reader.now()))))
}

fn hstrlen(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let hash = reader.get::<Hash>(&args[1])?;
    Ok(Reply::count(hash.and_then(|hash| hash.get(&args[2], reader.now())).map_or(0, <[u8]>::len)))
}

fn hexists(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let hash = reader.get::<Hash>(&args[1])?;
    Ok(Reply::flag(hash.is_some_and(|hash| hash.get(&args[2], reader.now()).is_some())))
}
