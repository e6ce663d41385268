//! XLEN key; XRANGE key start end [COUNT count]; XREVRANGE key end start [COUNT count]

use bytes::Bytes;

use super::parse::{end, entry_reply, start};
use crate::args::Cursor;
use crate::object::stream::Stream;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reader, Reply, Result};

/// XLEN
pub(super) static XLEN: Spec = Spec {
    name: "xlen",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::STREAM,
    keys: &[KeySpec::one(1, KeyFlags::RO)],
    group: Group::Stream,
    since: "5.0.0",
    summary: "How many entries a stream has",
    run: Run::Read(xlen),
    ..Spec::DEFAULT
};

/// XRANGE
pub(super) static XRANGE: Spec = Spec {
    name: "xrange",
    arity: -4,
    flags: Flags::READONLY,
    category: Category::STREAM,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Entries of a stream between two ids",
    run: Run::Read(xrange),
    ..Spec::DEFAULT
};

/// XREVRANGE
pub(super) static XREVRANGE: Spec = Spec {
    name: "xrevrange",
    summary: "Entries of a stream between two ids, the last first",
    run: Run::Read(xrevrange),
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    arity: -4,
    flags: Flags::READONLY,
    category: Category::STREAM,
    group: Group::Stream,
    since: "5.0.0",
    ..Spec::DEFAULT
};

fn xlen(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let len = reader.get::<Stream>(&args[1])?.map_or(0, Stream::count);
    Ok(Reply::Integer(len.cast_signed()))
}

fn xrange(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    entries(reader, args, &args[2], &args[3], false)
}

fn xrevrange(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    entries(reader, args, &args[3], &args[2], true)
}

fn entries(reader: &Reader<'_>, args: &[Bytes], from: &[u8], to: &[u8], is_backwards: bool) -> Result<Reply> {
    let (from, to) = (start(from)?, end(to)?);
    let mut count = None;
    let mut options = Cursor::new(&args[4..]);
    while !options.is_empty() {
        if !options.take("count") {
            return Err(Error::SYNTAX);
        }
        count = Some(usize::try_from(options.integer()?).unwrap_or(0));
    }
    let Some(stream) = reader.get::<Stream>(&args[1])? else { return Ok(Reply::Array(Vec::new())) };
    if count == Some(0) {
        return Ok(Reply::NullArray);
    }
    let count = count.unwrap_or(usize::MAX);
    Ok(Reply::Array(if is_backwards {
        stream.backwards(from, to).take(count).map(|entry| entry_reply(&entry)).collect()
    } else {
        stream.range(from, to).take(count).map(|entry| entry_reply(&entry)).collect()
    }))
}
