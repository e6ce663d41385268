//! SISMEMBER key member, SMISMEMBER key member [member ...], SMEMBERS key, SCARD key

use bytes::Bytes;

use super::bulk;
use crate::object::Set;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Reader, Reply, Result};

/// SISMEMBER
pub(super) static SISMEMBER: Spec = Spec {
    name: "sismember",
    arity: 3,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::SET,
    keys: &[KeySpec::one(1, KeyFlags::RO)],
    group: Group::Set,
    since: "1.0.0",
    summary: "Whether something is a member of a set",
    run: Run::Read(sismember),
    ..Spec::DEFAULT
};

/// SMISMEMBER
pub(super) static SMISMEMBER: Spec = Spec {
    name: "smismember",
    arity: -3,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::SET,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Set,
    since: "6.2.0",
    summary: "Which of several are members of a set",
    run: Run::Read(smismember),
    ..Spec::DEFAULT
};

/// SMEMBERS
pub(super) static SMEMBERS: Spec = Spec {
    name: "smembers",
    arity: 2,
    flags: Flags::READONLY,
    category: Category::SET,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Set,
    since: "1.0.0",
    summary: "All members of a set",
    run: Run::Read(smembers),
    ..Spec::DEFAULT
};

/// SCARD
pub(super) static SCARD: Spec = Spec {
    name: "scard",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::SET,
    keys: &[KeySpec::one(1, KeyFlags::RO)],
    group: Group::Set,
    since: "1.0.0",
    summary: "How many members a set has",
    run: Run::Read(scard),
    ..Spec::DEFAULT
};

fn sismember(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let set = reader.get::<Set>(&args[1])?;
    Ok(Reply::flag(set.is_some_and(|set| set.contains(&args[2]))))
}

fn smismember(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let set = reader.get::<Set>(&args[1])?;
    let found = args[2..].iter().map(|member| Reply::flag(set.is_some_and(|set| set.contains(member))));
    Ok(Reply::Array(found.collect()))
}

fn smembers(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let set = reader.get::<Set>(&args[1])?;
    Ok(Reply::Set(set.map(|set| set.iter().map(bulk).collect()).unwrap_or_default()))
}

fn scard(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    Ok(Reply::count(reader.get::<Set>(&args[1])?.map_or(0, Set::len)))
}
