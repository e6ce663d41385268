//! OBJECT: what is known of a key beside its value.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::help;
use crate::object::{Str, Value};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Entry, Error, Reader, Reply, Result};

/// OBJECT
pub(super) static OBJECT: Spec = Spec {
    name: "object",
    arity: -2,
    group: Group::Generic,
    since: "2.2.3",
    summary: "What is known of a key beside its value",
    subcommands: &[&ENCODING, &FREQ, &HELP, &IDLETIME, &REFCOUNT],
    run: Run::Container,
    ..Spec::DEFAULT
};
/// OBJECT ENCODING
static ENCODING: Spec = Spec {
    name: "object|encoding",
    arity: 3,
    flags: Flags::READONLY,
    category: Category::KEYSPACE,
    keys: &[KeySpec::one(2, KeyFlags::RO)],
    group: Group::Generic,
    since: "2.2.3",
    summary: "How a value is kept",
    run: Run::Read(encoding),
    ..Spec::DEFAULT
};
/// OBJECT FREQ
static FREQ: Spec = Spec {
    name: "object|freq",
    arity: 3,
    flags: Flags::READONLY,
    category: Category::KEYSPACE,
    keys: &[KeySpec::one(2, KeyFlags::RO)],
    group: Group::Generic,
    since: "4.0.0",
    summary: "How often a key is used, as a logarithm",
    run: Run::Read(freq),
    ..Spec::DEFAULT
};
/// OBJECT IDLETIME
static IDLETIME: Spec = Spec {
    name: "object|idletime",
    arity: 3,
    flags: Flags::READONLY,
    category: Category::KEYSPACE,
    keys: &[KeySpec::one(2, KeyFlags::RO)],
    group: Group::Generic,
    since: "2.2.3",
    summary: "For how many seconds nobody has used a key",
    run: Run::Read(idletime),
    ..Spec::DEFAULT
};
/// OBJECT REFCOUNT
static REFCOUNT: Spec = Spec {
    name: "object|refcount",
    arity: 3,
    flags: Flags::READONLY,
    category: Category::KEYSPACE,
    keys: &[KeySpec::one(2, KeyFlags::RO)],
    group: Group::Generic,
    since: "2.2.3",
    summary: "How many hold a value",
    run: Run::Read(refcount),
    ..Spec::DEFAULT
};
/// OBJECT HELP
static HELP: Spec = Spec {
    name: "object|help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    category: Category::KEYSPACE,
    group: Group::Generic,
    since: "6.2.0",
    summary: "Names the subcommands",
    run: Run::Read(object_help),
    ..Spec::DEFAULT
};

/// Redis shares integers below.
const SHARED_INTEGERS: i64 = 10_000;

fn of(reader: &Reader<'_>, args: &[Bytes], tell: impl Fn(&Entry, &Value) -> Result<Reply>) -> Result<Reply> {
    match reader.entry(&args[2])?.and_then(|entry| Some((entry, entry.value.as_ref()?))) {
        Some((entry, value)) => tell(entry, value),
        None => Ok(Reply::Null),
    }
}

fn encoding(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    of(reader, args, |_, value| Ok(Reply::bulk(value.encoding())))
}

fn refcount(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    of(reader, args, |_, value| {
        let shared = matches!(value, Value::String(Str::Int(0..SHARED_INTEGERS)));
        Ok(Reply::Integer(if shared { i64::from(i32::MAX) } else { 1 }))
    })
}

/// Whether keys are evicted by how often they are used.
fn counts_uses(reader: &Reader<'_>) -> bool {
    reader.state().settings.values.get("maxmemory-policy").is_some_and(|policy| policy.ends_with("-lfu"))
}

fn idletime(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    of(reader, args, |entry, _| {
        if counts_uses(reader) {
            return Err(Error::reply(
                "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching \
                 between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        let used = entry.used.load(Ordering::Relaxed);
        Ok(Reply::Integer(i64::from(reader.context.uptime.saturating_sub(used))))
    })
}

fn freq(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    of(reader, args, |entry, _| {
        if !counts_uses(reader) {
            return Err(Error::reply(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                 switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        Ok(Reply::Integer(i64::from(entry.frequency.load(Ordering::Relaxed))))
    })
}

fn object_help(_reader: &Reader<'_>, _args: &[Bytes]) -> Result<Reply> {
    Ok(help(&[
        "OBJECT <subcommand> [<arg> ...]. Subcommands:",
        "ENCODING <key>",
        "    How the value of the key is kept.",
        "FREQ <key>",
        "    How often the key is used, as a logarithm.",
        "HELP",
        "    This text.",
        "IDLETIME <key>",
        "    For how many seconds nobody has used the key.",
        "REFCOUNT <key>",
        "    How many hold the value of the key.",
    ]))
}
