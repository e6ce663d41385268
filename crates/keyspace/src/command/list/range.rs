//! LRANGE key start stop, LTRIM key start stop

use bytes::Bytes;

use super::span;
use crate::args::integer;
use crate::object::{List, ListLimits};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{EventClass, Reader, Reply, Result, Writer};

/// LRANGE
pub(super) static LRANGE: Spec = Spec {
    name: "lrange",
    arity: 4,
    flags: Flags::READONLY,
    category: Category::LIST,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::List,
    since: "1.0.0",
    summary: "Elements of a list from one place to another",
    run: Run::Read(lrange),
    ..Spec::DEFAULT
};

/// LTRIM
pub(super) static LTRIM: Spec = Spec {
    name: "ltrim",
    arity: 4,
    flags: Flags::WRITE,
    category: Category::LIST,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))],
    group: Group::List,
    since: "1.0.0",
    summary: "Removes all elements of a list but those from one place to another",
    run: Run::Write(ltrim),
    ..Spec::DEFAULT
};

fn lrange(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let (start, stop) = (integer(&args[2])?, integer(&args[3])?);
    let Some(list) = reader.get::<List>(&args[1])? else { return Ok(Reply::Array(Vec::new())) };
    Ok(Reply::Array(list.range(span(start, stop, list.len())).map(Reply::bulk).collect()))
}

fn ltrim(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let key = &args[1];
    let (start, stop) = (integer(&args[2])?, integer(&args[3])?);
    let limits = ListLimits::of(writer.state());
    let Some(list) = writer.get::<List>(key)? else { return Ok(Reply::OK) };
    let (kept, len) = (span(start, stop, list.len()), list.len());
    if kept.len() < len
        && let Some(list) = writer.get_mut::<List>(key)?
    {
        list.remove_range(kept.end..len, limits);
        list.remove_range(0..kept.start, limits);
        list.shrink(limits);
    }
    // Told even where nothing went.
    writer.notify(EventClass::LIST, "ltrim", key);
    writer.remove_if_empty(key)?;
    Ok(Reply::OK)
}
