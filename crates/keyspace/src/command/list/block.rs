//! BLPOP, BRPOP key [key ...] timeout; BLMOVE source destination LEFT | RIGHT LEFT | RIGHT timeout;
//! BRPOPLPUSH source destination timeout; BLMPOP timeout numkeys key [key ...] LEFT | RIGHT [COUNT count]

use bytes::Bytes;

use super::Side;
use super::r#move::step;
use super::pop::{first, parse, pop_of};
use crate::args::timeout;
use crate::error::Block;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reply, Result, Writer};

/// BLPOP
pub(super) static BLPOP: Spec = Spec {
    name: "blpop",
    arity: -3,
    flags: Flags::WRITE.union(Flags::NOSCRIPT).union(Flags::BLOCKING),
    category: Category::LIST,
    keys: &[KeySpec::range(1, -2, 1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))],
    group: Group::List,
    since: "2.0.0",
    summary: "Takes the first element of a list, or waits for one",
    run: Run::Write(blpop),
    ..Spec::DEFAULT
};

/// BRPOP
pub(super) static BRPOP: Spec = Spec {
    name: "brpop",
    arity: -3,
    flags: Flags::WRITE.union(Flags::NOSCRIPT).union(Flags::BLOCKING),
    category: Category::LIST,
    keys: &[KeySpec::range(1, -2, 1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))],
    group: Group::List,
    since: "2.0.0",
    summary: "Takes the last element of a list, or waits for one",
    run: Run::Write(brpop),
    ..Spec::DEFAULT
};

/// BLMOVE
pub(super) static BLMOVE: Spec = Spec {
    name: "blmove",
    arity: 6,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::NOSCRIPT).union(Flags::BLOCKING),
    category: Category::LIST,
    keys: &[
        KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE)),
        KeySpec::one(2, KeyFlags::RW.union(KeyFlags::INSERT)),
    ],
    group: Group::List,
    since: "6.2.0",
    summary: "Moves an element from a list to another, or waits for one",
    run: Run::Write(blmove),
    ..Spec::DEFAULT
};

/// BRPOPLPUSH
pub(super) static BRPOPLPUSH: Spec = Spec {
    name: "brpoplpush",
    arity: 4,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::NOSCRIPT).union(Flags::BLOCKING),
    category: Category::LIST,
    keys: &[
        KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE)),
        KeySpec::one(2, KeyFlags::RW.union(KeyFlags::INSERT)),
    ],
    group: Group::List,
    since: "2.2.0",
    summary: "Moves the last element of a list in front of another, or waits for one",
    run: Run::Write(brpoplpush),
    ..Spec::DEFAULT
};

/// BLMPOP
pub(super) static BLMPOP: Spec = Spec {
    name: "blmpop",
    arity: -5,
    flags: Flags::WRITE.union(Flags::BLOCKING).union(Flags::MOVABLEKEYS),
    category: Category::LIST,
    keys: &[KeySpec::count(2, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))],
    group: Group::List,
    since: "7.0.0",
    summary: "Takes elements of the first list that has some, or waits for one",
    run: Run::Write(blmpop),
    ..Spec::DEFAULT
};

fn wait(timeout_ms: u64) -> Result<Reply> {
    Err(Error::Block(Block { timeout_ms, otherwise: Reply::NullArray, again: None }))
}

fn pop(writer: &mut Writer<'_>, args: &[Bytes], side: Side) -> Result<Reply> {
    let Some((seconds, keys)) = args[1..].split_last() else { return Err(Error::SYNTAX) };
    let timeout_ms = timeout(seconds)?;
    let Some(key) = first(writer, keys)? else { return wait(timeout_ms) };
    let taken = side.pop(writer, key, 1)?;
    Ok(Reply::Array([key.clone()].into_iter().chain(taken).map(Reply::Bulk).collect()))
}

fn blpop(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    pop(writer, args, Side::Left)
}

fn brpop(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    pop(writer, args, Side::Right)
}

fn move_or_wait(
    writer: &mut Writer<'_>,
    source: (&Bytes, Side),
    destination: (&Bytes, Side),
    timeout_ms: u64,
) -> Result<Reply> {
    match step(writer, source, destination)? {
        Some(reply) => Ok(reply),
        // Where it must not wait it says another null than at the end of its time.
        None if writer.context.must_not_wait => Ok(Reply::Null),
        None => wait(timeout_ms),
    }
}

fn blmove(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (from, to) = (Side::of(&args[3])?, Side::of(&args[4])?);
    let timeout_ms = timeout(&args[5])?;
    move_or_wait(writer, (&args[1], from), (&args[2], to), timeout_ms)
}

fn brpoplpush(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let timeout_ms = timeout(&args[3])?;
    move_or_wait(writer, (&args[1], Side::Right), (&args[2], Side::Left), timeout_ms)
}

fn blmpop(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let timeout_ms = timeout(&args[1])?;
    let (keys, side, count) = parse(&args[2..])?;
    match first(writer, keys)? {
        Some(key) => pop_of(writer, key, side, count),
        None => wait(timeout_ms),
    }
}
