//! HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT key time [NX | XX | GT | LT] FIELDS numfields field [field ...];
//! HPERSIST key FIELDS numfields field [field ...]

use bytes::Bytes;

use super::times::Unit;
use super::{NOT_POSITIVE, fields, tell_ends};
use crate::args::is;
use crate::object::Hash;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{EventClass, Reply, Result, Writer};

/// HEXPIRE
pub(super) static HEXPIRE: Spec = Spec {
    name: "hexpire",
    arity: -6,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Hash,
    since: "7.4.0",
    summary: "Lets fields of a hash end in some seconds",
    run: Run::Write(hexpire),
    ..Spec::DEFAULT
};

/// HPEXPIRE
pub(super) static HPEXPIRE: Spec = Spec {
    name: "hpexpire",
    arity: -6,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Hash,
    since: "7.4.0",
    summary: "Lets fields of a hash end in some milliseconds",
    run: Run::Write(hpexpire),
    ..Spec::DEFAULT
};

/// HEXPIREAT
pub(super) static HEXPIREAT: Spec = Spec {
    name: "hexpireat",
    arity: -6,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Hash,
    since: "7.4.0",
    summary: "Lets fields of a hash end at a time in seconds",
    run: Run::Write(hexpireat),
    ..Spec::DEFAULT
};

/// HPEXPIREAT
pub(super) static HPEXPIREAT: Spec = Spec {
    name: "hpexpireat",
    arity: -6,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Hash,
    since: "7.4.0",
    summary: "Lets fields of a hash end at a time in milliseconds",
    run: Run::Write(hpexpireat),
    ..Spec::DEFAULT
};

/// HPERSIST
pub(super) static HPERSIST: Spec = Spec {
    name: "hpersist",
    arity: -5,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Hash,
    since: "7.4.0",
    summary: "Takes the ends of fields of a hash away",
    run: Run::Write(hpersist),
    ..Spec::DEFAULT
};

const NO_FIELD: i64 = -2;
const NO_END: i64 = -1;
const CONDITION_FAILS: i64 = 0;
const DONE: i64 = 1;
const REMOVED: i64 = 2;

/// Which ends are replaced.
#[derive(Clone, Copy)]
enum Condition {
    Any,
    Absent,
    Present,
    Earlier,
    Later,
}

impl Condition {
    fn of(word: &[u8]) -> Self {
        if is(word, "nx") {
            Condition::Absent
        } else if is(word, "xx") {
            Condition::Present
        } else if is(word, "gt") {
            Condition::Earlier
        } else if is(word, "lt") {
            Condition::Later
        } else {
            Condition::Any
        }
    }

    /// Whether an end gives way to a new one. No end is later than any.
    fn holds(self, held: Option<i64>, end: i64) -> bool {
        match self {
            Condition::Any => true,
            Condition::Absent => held.is_none(),
            Condition::Present => held.is_some(),
            Condition::Earlier => held.is_some_and(|held| held < end),
            Condition::Later => held.is_none_or(|held| held > end),
        }
    }
}

fn expire(writer: &mut Writer<'_>, args: &[Bytes], command: &str, unit: Unit) -> Result<Reply> {
    let (key, now) = (&args[1], writer.now());
    writer.get::<Hash>(key)?;
    let end = unit.end(&args[2], now, command)?;
    let condition = Condition::of(&args[3]);
    let at = if matches!(condition, Condition::Any) { 3 } else { 4 };
    let names = fields(&args[at..], "ERR Parameter `numFields` should be greater than 0")?;
    let Some(hash) = writer.get::<Hash>(key)? else {
        return Ok(Reply::Array(vec![Reply::Integer(NO_FIELD); names.len()]));
    };
    let judge = |hash: &Hash, name: &[u8]| match hash.field(name, now) {
        None => NO_FIELD,
        Some(field) if !condition.holds(field.end, end) => CONDITION_FAILS,
        Some(_) if end <= now => REMOVED,
        Some(_) => DONE,
    };
    if !names.iter().any(|name| judge(hash, name) > CONDITION_FAILS) {
        return Ok(Reply::Array(names.iter().map(|name| Reply::Integer(judge(hash, name))).collect()));
    }
    let (mut updated, mut removed) = (0, 0);
    let mut replies = Vec::with_capacity(names.len());
    if let Some(hash) = writer.get_mut::<Hash>(key)? {
        hash.expect_ends();
        for name in names {
            // One by one: a field may be named twice.
            let found = judge(hash, name);
            match found {
                DONE => updated += usize::from(hash.set_end(name, Some(end))),
                REMOVED => removed += usize::from(hash.remove(name).is_some()),
                _ => {}
            }
            replies.push(Reply::Integer(found));
        }
    }
    tell_ends(writer, key, updated, removed)?;
    Ok(Reply::Array(replies))
}

fn hexpire(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    expire(writer, args, "hexpire", Unit { seconds: true, from_now: true })
}

fn hpexpire(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    expire(writer, args, "hpexpire", Unit { seconds: false, from_now: true })
}

fn hexpireat(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    expire(writer, args, "hexpireat", Unit { seconds: true, from_now: false })
}

fn hpexpireat(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    expire(writer, args, "hpexpireat", Unit { seconds: false, from_now: false })
}

fn hpersist(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (key, now) = (&args[1], writer.now());
    writer.get::<Hash>(key)?;
    let names = fields(&args[2..], NOT_POSITIVE)?;
    let Some(hash) = writer.get::<Hash>(key)? else {
        return Ok(Reply::Array(vec![Reply::Integer(NO_FIELD); names.len()]));
    };
    let judge = |hash: &Hash, name: &[u8]| match hash.field(name, now) {
        None => NO_FIELD,
        Some(field) if field.end.is_none() => NO_END,
        Some(_) => DONE,
    };
    let replies: Vec<i64> = names.iter().map(|name| judge(hash, name)).collect();
    if !replies.contains(&DONE) {
        return Ok(Reply::Array(replies.into_iter().map(Reply::Integer).collect()));
    }
    let mut replies = Vec::with_capacity(names.len());
    if let Some(hash) = writer.get_mut::<Hash>(key)? {
        for name in names {
            let found = judge(hash, name);
            if found == DONE {
                hash.set_end(name, None);
            }
            replies.push(Reply::Integer(found));
        }
    }
    writer.notify(EventClass::HASH, "hpersist", key);
    Ok(Reply::Array(replies))
}
