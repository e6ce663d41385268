//! TTL, PTTL, EXPIRETIME, PEXPIRETIME

use bytes::Bytes;

use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Reader, Reply, Result};

/// TTL
pub(super) static TTL: Spec = Spec {
    name: "ttl",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::KEYSPACE,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Generic,
    since: "1.0.0",
    summary: "In how many seconds a key ends",
    run: Run::Read(ttl),
    ..Spec::DEFAULT
};
/// PTTL
pub(super) static PTTL: Spec = Spec {
    name: "pttl",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::KEYSPACE,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Generic,
    since: "2.6.0",
    summary: "In how many milliseconds a key ends",
    run: Run::Read(pttl),
    ..Spec::DEFAULT
};
/// EXPIRETIME
pub(super) static EXPIRETIME: Spec = Spec {
    name: "expiretime",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::KEYSPACE,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Generic,
    since: "7.0.0",
    summary: "When a key ends, in seconds since 1970",
    run: Run::Read(expiretime),
    ..Spec::DEFAULT
};
/// PEXPIRETIME
pub(super) static PEXPIRETIME: Spec = Spec {
    name: "pexpiretime",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::KEYSPACE,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Generic,
    since: "7.0.0",
    summary: "When a key ends, in milliseconds since 1970",
    run: Run::Read(pexpiretime),
    ..Spec::DEFAULT
};

fn ttl(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    end(reader, args, |at| seconds(at.saturating_sub(reader.now())))
}

fn pttl(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    end(reader, args, |at| at.saturating_sub(reader.now()))
}

fn expiretime(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    end(reader, args, seconds)
}

fn pexpiretime(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    end(reader, args, |at| at)
}

/// To the nearest second.
fn seconds(ms: i64) -> i64 {
    ms / 1_000 + i64::from(ms % 1_000 >= 500)
}

fn end(reader: &Reader<'_>, args: &[Bytes], of: impl Fn(i64) -> i64) -> Result<Reply> {
    Ok(Reply::Integer(match reader.entry(&args[1])? {
        Some(entry) => entry.expire_at().map_or(-1, of),
        None => -2,
    }))
}
