//! MGET, MSET, MSETNX

use bytes::Bytes;

use crate::error::wrong_arity;
use crate::object::{Object, Str, Value};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{EventClass, Reader, Reply, Result, Writer};

/// MGET
pub(super) static MGET: Spec = Spec {
    name: "mget",
    arity: -2,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::STRING,
    keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::String,
    since: "1.0.0",
    summary: "The strings that keys hold",
    run: Run::Read(mget),
    ..Spec::DEFAULT
};
/// MSET
pub(super) static MSET: Spec = Spec {
    name: "mset",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::STRING,
    keys: &[KeySpec::range(1, -1, 2, KeyFlags::OW.union(KeyFlags::UPDATE))],
    group: Group::String,
    since: "1.0.1",
    summary: "Sets strings, whatever their keys held",
    run: Run::Write(mset),
    ..Spec::DEFAULT
};
/// MSETNX
pub(super) static MSETNX: Spec = Spec {
    name: "msetnx",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::STRING,
    keys: &[KeySpec::range(1, -1, 2, KeyFlags::OW.union(KeyFlags::INSERT))],
    group: Group::String,
    since: "1.0.1",
    summary: "Sets strings where none of their keys exists",
    run: Run::Write(msetnx),
    ..Spec::DEFAULT
};

fn mget(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    // A key of another type is as good as absent.
    let one = |key: &Bytes| Ok(Reply::bulk_or_null(reader.value(key)?.and_then(Str::of).map(Str::to_bytes)));
    args[1..].iter().map(one).collect::<Result<Vec<_>>>().map(Reply::Array)
}

fn mset(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let pairs = pairs(args, "mset")?;
    // All are there before the first changes.
    for pair in pairs.clone() {
        writer.exists(&pair[0])?;
    }
    set_all(writer, pairs)?;
    Ok(Reply::OK)
}

fn msetnx(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let pairs = pairs(args, "msetnx")?;
    for pair in pairs.clone() {
        if writer.exists(&pair[0])? {
            return Ok(Reply::Integer(0));
        }
    }
    set_all(writer, pairs)?;
    Ok(Reply::Integer(1))
}

fn pairs<'a>(args: &'a [Bytes], command: &str) -> Result<std::slice::ChunksExact<'a, Bytes>> {
    if args.len().is_multiple_of(2) { Err(wrong_arity(command)) } else { Ok(args[1..].chunks_exact(2)) }
}

fn set_all(writer: &mut Writer<'_>, pairs: std::slice::ChunksExact<'_, Bytes>) -> Result<()> {
    for pair in pairs {
        writer.put(&pair[0], Value::String(Str::new(&pair[1])), None)?;
        writer.notify(EventClass::STRING, "set", &pair[0]);
    }
    Ok(())
}
