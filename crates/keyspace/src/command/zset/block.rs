//! BZPOPMIN key [key ...] timeout, BZPOPMAX key [key ...] timeout,
//! BZMPOP timeout numkeys key [key ...] MIN | MAX [COUNT count]

use bytes::Bytes;

use super::pop::{self, End};
use crate::args;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Block, Error, Reply, Result, Writer};

/// BZPOPMIN
pub(super) static BZPOPMIN: Spec = Spec {
    name: "bzpopmin",
    arity: -3,
    flags: Flags::WRITE.union(Flags::NOSCRIPT).union(Flags::BLOCKING).union(Flags::FAST),
    category: Category::SORTEDSET,
    keys: &[KeySpec::range(1, -2, 1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))],
    group: Group::SortedSet,
    since: "5.0.0",
    summary: "Takes out the member with the lowest score, or waits for one",
    run: Run::Write(bzpopmin),
    ..Spec::DEFAULT
};

/// BZPOPMAX
pub(super) static BZPOPMAX: Spec = Spec {
    name: "bzpopmax",
    arity: -3,
    flags: Flags::WRITE.union(Flags::NOSCRIPT).union(Flags::BLOCKING).union(Flags::FAST),
    category: Category::SORTEDSET,
    keys: &[KeySpec::range(1, -2, 1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))],
    group: Group::SortedSet,
    since: "5.0.0",
    summary: "Takes out the member with the highest score, or waits for one",
    run: Run::Write(bzpopmax),
    ..Spec::DEFAULT
};

/// BZMPOP
pub(super) static BZMPOP: Spec = Spec {
    name: "bzmpop",
    arity: -5,
    flags: Flags::WRITE.union(Flags::BLOCKING).union(Flags::MOVABLEKEYS),
    category: Category::SORTEDSET,
    keys: &[KeySpec::count(2, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))],
    group: Group::SortedSet,
    since: "7.0.0",
    summary: "Takes members out of the first sorted set that has some, or waits for one",
    run: Run::Write(bzmpop),
    ..Spec::DEFAULT
};

fn bzpopmin(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    pop_one(writer, args, End::Min)
}

fn bzpopmax(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    pop_one(writer, args, End::Max)
}

fn pop_one(writer: &mut Writer<'_>, args: &[Bytes], end: End) -> Result<Reply> {
    let Some((timeout, keys)) = args[1..].split_last() else { return Err(Error::SYNTAX) };
    let timeout_ms = args::timeout(timeout)?;
    let Some(key) = pop::first(writer, keys)? else { return wait(timeout_ms) };
    let found = pop::pop(writer, key, end, 1)?;
    let found = found.into_iter().flat_map(|(member, score)| [Reply::Bulk(member), Reply::Double(score)]);
    Ok(Reply::Array([Reply::Bulk(key.clone())].into_iter().chain(found).collect()))
}

fn bzmpop(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let timeout_ms = args::timeout(&args[1])?;
    let (keys, end, count) = pop::parse(&args[2..])?;
    let Some(key) = pop::first(writer, keys)? else { return wait(timeout_ms) };
    Ok(pop::reply(key, pop::pop(writer, key, end, count)?))
}

fn wait(timeout_ms: u64) -> Result<Reply> {
    Err(Error::Block(Block { timeout_ms, otherwise: Reply::NullArray, again: None }))
}
