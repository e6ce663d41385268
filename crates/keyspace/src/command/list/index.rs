//! LINDEX key index, LSET key index element, LLEN key

use bytes::Bytes;

use super::place;
use crate::args::integer;
use crate::object::{List, ListLimits};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reader, Reply, Result, Writer};

/// LINDEX
pub(super) static LINDEX: Spec = Spec {
    name: "lindex",
    arity: 3,
    flags: Flags::READONLY,
    category: Category::LIST,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::List,
    since: "1.0.0",
    summary: "An element of a list by its place",
    run: Run::Read(lindex),
    ..Spec::DEFAULT
};

/// LSET
pub(super) static LSET: Spec = Spec {
    name: "lset",
    arity: 4,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::LIST,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::List,
    since: "1.0.0",
    summary: "Puts an element of a list in place of another",
    run: Run::Write(lset),
    ..Spec::DEFAULT
};

/// LLEN
pub(super) static LLEN: Spec = Spec {
    name: "llen",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::LIST,
    keys: &[KeySpec::one(1, KeyFlags::RO)],
    group: Group::List,
    since: "1.0.0",
    summary: "How many elements a list has",
    run: Run::Read(llen),
    ..Spec::DEFAULT
};

fn lindex(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let Some(list) = reader.get::<List>(&args[1])? else { return Ok(Reply::Null) };
    let index = integer(&args[2])?;
    Ok(place(index, list.len()).and_then(|at| list.get(at)).map_or(Reply::Null, Reply::bulk))
}

fn lset(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (key, limits) = (&args[1], ListLimits::of(writer.state()));
    let Some(list) = writer.get::<List>(key)? else { return Err(Error::NO_SUCH_KEY) };
    let index = integer(&args[2])?;
    let at = place(index, list.len()).ok_or(Error::OUT_OF_RANGE)?;
    if let Some(list) = writer.get_mut::<List>(key)? {
        list.set(at, &args[3], limits);
        list.shrink(limits);
    }
    writer.notify(EventClass::LIST, "lset", key);
    Ok(Reply::OK)
}

fn llen(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    Ok(Reply::count(reader.get::<List>(&args[1])?.map_or(0, List::len)))
}
