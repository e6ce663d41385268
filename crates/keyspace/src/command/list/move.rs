//! LMOVE source destination LEFT | RIGHT LEFT | RIGHT; RPOPLPUSH source destination

use bytes::Bytes;

use super::Side;
use crate::object::{List, ListLimits};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{EventClass, Reply, Result, Writer};

/// LMOVE
pub(super) static LMOVE: Spec = Spec {
    name: "lmove",
    arity: 5,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::LIST,
    keys: &[
        KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE)),
        KeySpec::one(2, KeyFlags::RW.union(KeyFlags::INSERT)),
    ],
    group: Group::List,
    since: "6.2.0",
    summary: "Moves an element from an end of a list to an end of another",
    run: Run::Write(lmove),
    ..Spec::DEFAULT
};

/// RPOPLPUSH
pub(super) static RPOPLPUSH: Spec = Spec {
    name: "rpoplpush",
    arity: 3,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::LIST,
    keys: &[
        KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE)),
        KeySpec::one(2, KeyFlags::RW.union(KeyFlags::INSERT)),
    ],
    group: Group::List,
    since: "1.2.0",
    summary: "Moves the last element of a list in front of another",
    run: Run::Write(rpoplpush),
    ..Spec::DEFAULT
};

/// Moves an element; `None` where the source is absent.
pub(super) fn step(
    writer: &mut Writer<'_>,
    (source, from): (&Bytes, Side),
    (destination, to): (&Bytes, Side),
) -> Result<Option<Reply>> {
    if writer.get::<List>(source)?.is_none() {
        return Ok(None);
    }
    writer.get::<List>(destination)?;
    let limits = ListLimits::of(writer.state());
    let Some(data) = from.take(writer, source, 1)?.pop() else { return Ok(None) };
    to.push(writer.get_or_create::<List>(destination)?, &data, limits);
    writer.notify(EventClass::LIST, to.pushed(), destination);
    writer.notify(EventClass::LIST, from.popped(), source);
    writer.remove_if_empty(source)?;
    Ok(Some(Reply::Bulk(data)))
}

fn lmove(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (from, to) = (Side::of(&args[3])?, Side::of(&args[4])?);
    Ok(step(writer, (&args[1], from), (&args[2], to))?.unwrap_or(Reply::Null))
}

fn rpoplpush(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    Ok(step(writer, (&args[1], Side::Right), (&args[2], Side::Left))?.unwrap_or(Reply::Null))
}
