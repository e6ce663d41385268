//! APPEND, STRLEN, SETRANGE, GETRANGE, SUBSTR

use bytes::Bytes;

use super::check_size;
use crate::args::{integer, parse_integer};
use crate::growth::Growth;
use crate::object::{Str, Value};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reader, Reply, Result, Writer};

/// APPEND
pub(super) static APPEND: Spec = Spec {
    name: "append",
    arity: 3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::STRING,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))],
    group: Group::String,
    since: "2.0.0",
    summary: "Puts bytes behind a string",
    run: Run::Write(append),
    ..Spec::DEFAULT
};
/// STRLEN
pub(super) static STRLEN: Spec = Spec {
    name: "strlen",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::STRING,
    keys: &[KeySpec::one(1, KeyFlags::RO)],
    group: Group::String,
    since: "2.2.0",
    summary: "How many bytes a string has",
    run: Run::Read(strlen),
    ..Spec::DEFAULT
};
/// SETRANGE
pub(super) static SETRANGE: Spec = Spec {
    name: "setrange",
    arity: 4,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::STRING,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::String,
    since: "2.2.0",
    summary: "Overwrites a string from an offset on",
    grows: Growth::To(end_of),
    run: Run::Write(setrange),
    ..Spec::DEFAULT
};
/// GETRANGE
pub(super) static GETRANGE: Spec = Spec {
    name: "getrange",
    arity: 4,
    flags: Flags::READONLY,
    category: Category::STRING,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::String,
    since: "2.4.0",
    summary: "A part of a string",
    run: Run::Read(getrange),
    ..Spec::DEFAULT
};
/// SUBSTR
pub(super) static SUBSTR: Spec = Spec {
    name: "substr",
    arity: 4,
    flags: Flags::READONLY,
    category: Category::STRING,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::String,
    since: "1.0.0",
    summary: "A part of a string",
    run: Run::Read(getrange),
    ..Spec::DEFAULT
};

fn append(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (key, more) = (&args[1], &args[2]);
    let length = match writer.get::<Str>(key)?.map(Str::len) {
        Some(length) => {
            check_size(writer.state(), length as u64 + more.len() as u64)?;
            if let Some(string) = writer.get_mut::<Str>(key)? {
                string.edit(|bytes| bytes.extend_from_slice(more));
            }
            length + more.len()
        }
        None => {
            writer.put(key, Value::String(Str::new(more)), None)?;
            more.len()
        }
    };
    writer.notify(EventClass::STRING, "append", key);
    Ok(Reply::count(length))
}

fn strlen(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    Ok(Reply::count(reader.get::<Str>(&args[1])?.map_or(0, Str::len)))
}

/// The last byte that SETRANGE writes.
fn end_of(args: &[Bytes]) -> u64 {
    let offset = args.get(2).and_then(|offset| parse_integer(offset)).map_or(0, i64::unsigned_abs);
    offset.saturating_add(args.get(3).map_or(0, Bytes::len) as u64)
}

fn setrange(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (key, part) = (&args[1], &args[3]);
    let offset = integer(&args[2])?;
    let offset = usize::try_from(offset).map_err(|_| Error::reply("ERR offset is out of range"))?;
    let length = writer.get::<Str>(key)?.map(Str::len);
    if part.is_empty() {
        return Ok(Reply::count(length.unwrap_or(0)));
    }
    let end = offset.saturating_add(part.len());
    check_size(writer.state(), end as u64)?;
    let length = end.max(length.unwrap_or(0));
    writer.get_or_create::<Str>(key)?.edit(|bytes| {
        bytes.resize(length, 0);
        bytes[offset..end].copy_from_slice(part);
    });
    writer.notify(EventClass::STRING, "setrange", key);
    Ok(Reply::count(length))
}

fn getrange(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let (start, end) = (integer(&args[2])?, integer(&args[3])?);
    let Some(string) = reader.get::<Str>(&args[1])? else { return Ok(Reply::Bulk(Bytes::new())) };
    let bytes = string.to_bytes();
    let length = bytes.len() as i64;
    // Both from the end and the wrong way round: nothing, however far they reach beyond the beginning.
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::Bulk(Bytes::new()));
    }
    let from_begin = |at: i64| if at < 0 { (at + length).max(0) } else { at };
    let (start, end) = (from_begin(start), from_begin(end).min(length - 1));
    if start > end {
        return Ok(Reply::Bulk(Bytes::new()));
    }
    Ok(Reply::Bulk(bytes.slice(start as usize..=end as usize)))
}
