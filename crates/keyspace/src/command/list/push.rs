//! LPUSH, RPUSH, LPUSHX, RPUSHX key element [element ...]

use bytes::Bytes;

use super::Side;
use crate::object::{List, ListLimits};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{EventClass, Reply, Result, Writer};

/// LPUSH
pub(super) static LPUSH: Spec = Spec {
    name: "lpush",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::LIST,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))],
    group: Group::List,
    since: "1.0.0",
    summary: "Adds elements in front of a list",
    run: Run::Write(lpush),
    ..Spec::DEFAULT
};

/// RPUSH
pub(super) static RPUSH: Spec = Spec {
    name: "rpush",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::LIST,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))],
    group: Group::List,
    since: "1.0.0",
    summary: "Adds elements behind a list",
    run: Run::Write(rpush),
    ..Spec::DEFAULT
};

/// LPUSHX
pub(super) static LPUSHX: Spec = Spec {
    name: "lpushx",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::LIST,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))],
    group: Group::List,
    since: "2.2.0",
    summary: "Adds elements in front of a list that exists",
    run: Run::Write(lpushx),
    ..Spec::DEFAULT
};

/// RPUSHX
pub(super) static RPUSHX: Spec = Spec {
    name: "rpushx",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::LIST,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))],
    group: Group::List,
    since: "2.2.0",
    summary: "Adds elements behind a list that exists",
    run: Run::Write(rpushx),
    ..Spec::DEFAULT
};

fn push(writer: &mut Writer<'_>, args: &[Bytes], side: Side, makes: bool) -> Result<Reply> {
    let (key, elements) = (&args[1], &args[2..]);
    if writer.get::<List>(key)?.is_none() && !makes {
        return Ok(Reply::Integer(0));
    }
    let limits = ListLimits::of(writer.state());
    let list = writer.get_or_create::<List>(key)?;
    list.expect(elements.len(), elements.iter().map(Bytes::len).sum(), limits);
    for element in elements {
        side.push(list, element, limits);
    }
    let count = list.len();
    writer.notify(EventClass::LIST, side.pushed(), key);
    Ok(Reply::count(count))
}

fn lpush(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    push(writer, args, Side::Left, true)
}

fn rpush(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    push(writer, args, Side::Right, true)
}

fn lpushx(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    push(writer, args, Side::Left, false)
}

fn rpushx(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    push(writer, args, Side::Right, false)
}
