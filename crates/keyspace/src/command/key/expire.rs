//! EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT, PERSIST

use bytes::Bytes;

use crate::args::{integer, is};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reply, Result, Writer};

/// EXPIRE
pub(super) static EXPIRE: Spec = Spec {
    name: "expire",
    arity: -3,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::KEYSPACE,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Generic,
    since: "1.0.0",
    summary: "Lets a key end in some seconds",
    run: Run::Write(expire),
    ..Spec::DEFAULT
};
/// PEXPIRE
pub(super) static PEXPIRE: Spec = Spec {
    name: "pexpire",
    arity: -3,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::KEYSPACE,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Generic,
    since: "2.6.0",
    summary: "Lets a key end in some milliseconds",
    run: Run::Write(pexpire),
    ..Spec::DEFAULT
};
/// EXPIREAT
pub(super) static EXPIREAT: Spec = Spec {
    name: "expireat",
    arity: -3,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::KEYSPACE,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Generic,
    since: "1.2.0",
    summary: "Lets a key end at a second since 1970",
    run: Run::Write(expireat),
    ..Spec::DEFAULT
};
/// PEXPIREAT
pub(super) static PEXPIREAT: Spec = Spec {
    name: "pexpireat",
    arity: -3,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::KEYSPACE,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Generic,
    since: "2.6.0",
    summary: "Lets a key end at a millisecond since 1970",
    run: Run::Write(pexpireat),
    ..Spec::DEFAULT
};
/// PERSIST
pub(super) static PERSIST: Spec = Spec {
    name: "persist",
    arity: 2,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::KEYSPACE,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Generic,
    since: "2.2.0",
    summary: "Takes a key's end away",
    run: Run::Write(persist),
    ..Spec::DEFAULT
};

fn expire(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let now = writer.now();
    set_end(writer, args, "expire", |time| time.checked_mul(1_000)?.checked_add(now))
}

fn pexpire(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let now = writer.now();
    set_end(writer, args, "pexpire", |time| time.checked_add(now))
}

fn expireat(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    set_end(writer, args, "expireat", |time| time.checked_mul(1_000))
}

fn pexpireat(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    set_end(writer, args, "pexpireat", Some)
}

/// Under which condition the end changes.
#[derive(Clone, Copy, Debug, Default)]
struct Conditions {
    absent: bool,
    present: bool,
    greater: bool,
    less: bool,
}

impl Conditions {
    fn parse(args: &[Bytes]) -> Result<Self> {
        let mut found = Conditions::default();
        for word in args {
            let which = match &word[..] {
                word if is(word, "nx") => &mut found.absent,
                word if is(word, "xx") => &mut found.present,
                word if is(word, "gt") => &mut found.greater,
                word if is(word, "lt") => &mut found.less,
                word => return Err(Error::reply(format!("ERR Unsupported option {}", String::from_utf8_lossy(word)))),
            };
            *which = true;
        }
        if found.absent && (found.present || found.greater || found.less) {
            return Err(Error::reply("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if found.greater && found.less {
            return Err(Error::reply("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(found)
    }

    /// A key without an end ends later than any other.
    fn hold(self, held: Option<i64>, new: i64) -> bool {
        !(self.absent && held.is_some()
            || self.present && held.is_none()
            || self.greater && held.is_none_or(|held| new <= held)
            || self.less && held.is_some_and(|held| new >= held))
    }
}

fn set_end(writer: &mut Writer<'_>, args: &[Bytes], command: &str, at: impl Fn(i64) -> Option<i64>) -> Result<Reply> {
    let key = &args[1];
    let conditions = Conditions::parse(&args[3..])?;
    let invalid = || Error::reply(format!("ERR invalid expire time in '{command}' command"));
    let at = at(integer(&args[2])?).ok_or_else(invalid)?;
    let Some(held) = writer.entry(key)?.map(|entry| entry.expire_at()) else { return Ok(Reply::Integer(0)) };
    if !conditions.hold(held, at) {
        return Ok(Reply::Integer(0));
    }
    if at <= writer.now() {
        writer.remove(key)?;
        writer.notify(EventClass::GENERIC, "del", key);
    } else {
        writer.set_expire(key, Some(at))?;
        writer.notify(EventClass::GENERIC, "expire", key);
    }
    Ok(Reply::Integer(1))
}

fn persist(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let ends = writer.entry(&args[1])?.is_some_and(|entry| entry.expire_at().is_some());
    if ends {
        writer.set_expire(&args[1], None)?;
        writer.notify(EventClass::GENERIC, "persist", &args[1]);
    }
    Ok(Reply::flag(ends))
}
