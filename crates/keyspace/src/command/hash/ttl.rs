//! HTTL, HPTTL, HEXPIRETIME, HPEXPIRETIME key FIELDS numfields field [field ...]

use bytes::Bytes;

use super::{NOT_POSITIVE, fields};
use crate::object::Hash;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Reader, Reply, Result};

/// HTTL
pub(super) static HTTL: Spec = Spec {
    name: "httl",
    arity: -5,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Hash,
    since: "7.4.0",
    summary: "In how many seconds fields of a hash end",
    run: Run::Read(httl),
    ..Spec::DEFAULT
};

/// HPTTL
pub(super) static HPTTL: Spec = Spec {
    name: "hpttl",
    arity: -5,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Hash,
    since: "7.4.0",
    summary: "In how many milliseconds fields of a hash end",
    run: Run::Read(hpttl),
    ..Spec::DEFAULT
};

/// HEXPIRETIME
pub(super) static HEXPIRETIME: Spec = Spec {
    name: "hexpiretime",
    arity: -5,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Hash,
    since: "7.4.0",
    summary: "When fields of a hash end, in seconds",
    run: Run::Read(hexpiretime),
    ..Spec::DEFAULT
};

/// HPEXPIRETIME
pub(super) static HPEXPIRETIME: Spec = Spec {
    name: "hpexpiretime",
    arity: -5,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Hash,
    since: "7.4.0",
    summary: "When fields of a hash end, in milliseconds",
    run: Run::Read(hpexpiretime),
    ..Spec::DEFAULT
};

fn ends(reader: &Reader<'_>, args: &[Bytes], say: impl Fn(i64) -> i64) -> Result<Reply> {
    let hash = reader.get::<Hash>(&args[1])?;
    let names = fields(&args[2..], NOT_POSITIVE)?;
    let end = |name: &Bytes| match hash.and_then(|hash| hash.field(name, reader.now())) {
        None => -2,
        Some(field) => field.end.map_or(-1, &say),
    };
    Ok(Reply::Array(names.iter().map(|name| Reply::Integer(end(name))).collect()))
}

/// Seconds that hold so many milliseconds.
fn seconds(ms: i64) -> i64 {
    ms.saturating_add(999) / 1_000
}

fn httl(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    ends(reader, args, |end| seconds(end - reader.now()))
}

fn hpttl(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    ends(reader, args, |end| end - reader.now())
}

fn hexpiretime(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    ends(reader, args, seconds)
}

fn hpexpiretime(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    ends(reader, args, |end| end)
}
