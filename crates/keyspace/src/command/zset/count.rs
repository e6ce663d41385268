//! ZCARD key, ZCOUNT key min max, ZLEXCOUNT key min max

use bytes::Bytes;

use super::bounds::{Members, Scores};
use crate::object::ZSet;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Reader, Reply, Result};

/// ZCARD
pub(super) static ZCARD: Spec = Spec {
    name: "zcard",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RO)],
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "How many members there are",
    run: Run::Read(zcard),
    ..Spec::DEFAULT
};

/// ZCOUNT
pub(super) static ZCOUNT: Spec = Spec {
    name: "zcount",
    arity: 4,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "2.0.0",
    summary: "How many members have a score in a range",
    run: Run::Read(zcount),
    ..Spec::DEFAULT
};

/// ZLEXCOUNT
pub(super) static ZLEXCOUNT: Spec = Spec {
    name: "zlexcount",
    arity: 4,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::SORTEDSET,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "2.8.9",
    summary: "How many members stand between two",
    run: Run::Read(zlexcount),
    ..Spec::DEFAULT
};

fn zcard(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    Ok(Reply::count(reader.get::<ZSet>(&args[1])?.map_or(0, ZSet::len)))
}

fn zcount(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let scores = Scores::parse(&args[2], &args[3])?;
    Ok(Reply::count(reader.get::<ZSet>(&args[1])?.map_or(0, |set| scores.ranks(set).len())))
}

fn zlexcount(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let members = Members::parse(&args[2], &args[3])?;
    Ok(Reply::count(reader.get::<ZSet>(&args[1])?.map_or(0, |set| members.ranks(set).len())))
}
