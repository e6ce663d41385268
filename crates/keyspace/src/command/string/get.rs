//! GET, GETEX, GETDEL

use bytes::Bytes;

use super::options::{End, Of, Options, end_at};
use crate::object::Str;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{EventClass, Reader, Reply, Result, Writer};

/// GET
pub(super) static GET: Spec = Spec {
    name: "get",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::STRING,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::String,
    since: "1.0.0",
    summary: "The string that a key holds",
    run: Run::Read(get),
    ..Spec::DEFAULT
};
/// GETEX
pub(super) static GETEX: Spec = Spec {
    name: "getex",
    arity: -2,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::STRING,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))],
    group: Group::String,
    since: "6.2.0",
    summary: "The string that a key holds, with another end for the key",
    run: Run::Write(getex),
    ..Spec::DEFAULT
};
/// GETDEL
pub(super) static GETDEL: Spec = Spec {
    name: "getdel",
    arity: 2,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::STRING,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))],
    group: Group::String,
    since: "6.2.0",
    summary: "The string that a key holds; then the key goes",
    run: Run::Write(getdel),
    ..Spec::DEFAULT
};

fn get(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    Ok(Reply::bulk_or_null(reader.get::<Str>(&args[1])?.map(Str::to_bytes)))
}

fn getex(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let key = &args[1];
    let options = Options::parse(&args[2..], Of::GetEx)?;
    let Some(value) = writer.get::<Str>(key)?.map(Str::to_bytes) else { return Ok(Reply::Null) };
    match options.end {
        End::At(unit, text) => {
            let at = end_at(unit, text, writer.now(), "getex")?;
            if at <= writer.now() {
                writer.remove(key)?;
                writer.notify(EventClass::GENERIC, "del", key);
            } else {
                writer.set_expire(key, Some(at))?;
                writer.notify(EventClass::GENERIC, "expire", key);
            }
        }
        End::Persist if writer.entry(key)?.is_some_and(|entry| entry.expire_at().is_some()) => {
            writer.set_expire(key, None)?;
            writer.notify(EventClass::GENERIC, "persist", key);
        }
        _ => {}
    }
    Ok(Reply::Bulk(value))
}

fn getdel(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let value = writer.get::<Str>(&args[1])?.map(Str::to_bytes);
    if value.is_some() {
        writer.remove(&args[1])?;
        writer.notify(EventClass::GENERIC, "del", &args[1]);
    }
    Ok(Reply::bulk_or_null(value))
}
