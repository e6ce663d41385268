//! DEL, UNLINK, EXISTS, TOUCH, TYPE

use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::object::Value;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{EventClass, Reader, Reply, Result, Writer};

/// DEL
pub(super) static DEL: Spec = Spec {
    name: "del",
    arity: -2,
    flags: Flags::WRITE,
    category: Category::KEYSPACE,
    keys: &[KeySpec::range(1, -1, 1, KeyFlags::RM.union(KeyFlags::DELETE))],
    group: Group::Generic,
    since: "1.0.0",
    summary: "Removes keys",
    run: Run::Write(del),
    ..Spec::DEFAULT
};
/// UNLINK
pub(super) static UNLINK: Spec = Spec {
    name: "unlink",
    arity: -2,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::KEYSPACE,
    keys: &[KeySpec::range(1, -1, 1, KeyFlags::RM.union(KeyFlags::DELETE))],
    group: Group::Generic,
    since: "4.0.0",
    summary: "Removes keys; their memory goes later",
    run: Run::Write(del),
    ..Spec::DEFAULT
};
/// EXISTS
pub(super) static EXISTS: Spec = Spec {
    name: "exists",
    arity: -2,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::KEYSPACE,
    keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO)],
    group: Group::Generic,
    since: "1.0.0",
    summary: "How many of these keys exist",
    run: Run::Read(exists),
    ..Spec::DEFAULT
};
/// TOUCH
pub(super) static TOUCH: Spec = Spec {
    name: "touch",
    arity: -2,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::KEYSPACE,
    keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO)],
    group: Group::Generic,
    since: "3.2.1",
    summary: "Counts as a use of keys",
    run: Run::Read(touch),
    ..Spec::DEFAULT
};
/// TYPE
pub(super) static TYPE: Spec = Spec {
    name: "type",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::KEYSPACE,
    keys: &[KeySpec::one(1, KeyFlags::RO)],
    group: Group::Generic,
    since: "1.0.0",
    summary: "What type a key holds",
    run: Run::Read(type_of),
    ..Spec::DEFAULT
};

fn del(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    // All are there before the first goes.
    for key in &args[1..] {
        writer.exists(key)?;
    }
    let mut count = 0;
    for key in &args[1..] {
        if writer.remove(key)? {
            writer.notify(EventClass::GENERIC, "del", key);
            count += 1;
        }
    }
    Ok(Reply::Integer(count))
}

fn exists(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let mut count = 0;
    for key in &args[1..] {
        count += usize::from(reader.entry(key)?.is_some());
    }
    Ok(Reply::count(count))
}

/// A use, also for who leaves no trace otherwise (CLIENT NO-TOUCH).
fn touch(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let mut count = 0;
    for key in &args[1..] {
        if let Some(entry) = reader.entry(key)? {
            entry.used.store(reader.context.uptime, Ordering::Relaxed);
            count += 1;
        }
    }
    Ok(Reply::Integer(count))
}

fn type_of(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let value = reader.entry(&args[1])?.and_then(|entry| entry.value.as_ref());
    Ok(Reply::status(value.map_or("none", Value::type_name)))
}
