//! HGETDEL key FIELDS numfields field [field ...];
//! HGETEX key [EX seconds | PX milliseconds | EXAT seconds | PXAT milliseconds | PERSIST] FIELDS numfields field [field ...]

use bytes::Bytes;

use super::times::Unit;
use super::{NOT_POSITIVE, fields, tell_ends};
use crate::args::{is, parse_integer};
use crate::error::wrong_arity;
use crate::object::Hash;
use crate::room::fits;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reply, Result, Writer};

/// HGETDEL
pub(super) static HGETDEL: Spec = Spec {
    name: "hgetdel",
    arity: -5,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))],
    group: Group::Hash,
    since: "8.0.0",
    summary: "The values of fields of a hash, which are removed",
    run: Run::Write(hgetdel),
    ..Spec::DEFAULT
};

/// HGETEX
pub(super) static HGETEX: Spec = Spec {
    name: "hgetex",
    arity: -5,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::HASH,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Hash,
    since: "8.0.0",
    summary: "The values of fields of a hash, which get an end or lose it",
    run: Run::Write(hgetex),
    ..Spec::DEFAULT
};

/// The values of fields; nulls where there is none.
fn values(writer: &Writer<'_>, key: &[u8], names: &[Bytes]) -> Result<Vec<Reply>> {
    let (hash, now) = (writer.get::<Hash>(key)?, writer.now());
    let found: Vec<Option<&[u8]>> = names.iter().map(|name| hash.and_then(|hash| hash.get(name, now))).collect();
    fits(found.iter().map(|value| value.map_or(0, <[u8]>::len)))?;
    Ok(found.into_iter().map(|value| value.map_or(Reply::Null, Reply::bulk)).collect())
}

fn hgetdel(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let key = &args[1];
    writer.get::<Hash>(key)?;
    let names = fields(&args[2..], NOT_POSITIVE)?;
    let mut replies = values(writer, key, names)?;
    if replies.iter().all(|reply| *reply == Reply::Null) {
        return Ok(Reply::Array(replies));
    }
    if let Some(hash) = writer.get_mut::<Hash>(key)? {
        for (name, reply) in names.iter().zip(&mut replies) {
            // A field that is named twice has no value the second time.
            if hash.remove(name).is_none() {
                *reply = Reply::Null;
            }
        }
    }
    writer.notify(EventClass::HASH, "hdel", key);
    writer.remove_if_empty(key)?;
    Ok(Reply::Array(replies))
}

/// What becomes of the ends of fields that are read.
#[derive(Clone, Copy)]
enum Ends {
    Stay,
    Go,
    Become(i64),
}

fn parse(args: &[Bytes], now: i64) -> Result<(Ends, &[Bytes])> {
    let (mut ends, mut at) = (Ends::Stay, 0);
    let once = |ends: Ends| match ends {
        Ends::Stay => Ok(()),
        _ => Err(Error::reply("ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments can be specified")),
    };
    while let Some(word) = args.get(at) {
        if is(word, "fields") {
            let rest = &args[at + 1..];
            let (count, names) =
                rest.split_first().filter(|(_, names)| !names.is_empty()).ok_or(wrong_arity("hgetex"))?;
            let count = parse_integer(count).and_then(|count| i32::try_from(count).ok()).filter(|count| *count > 0);
            let count = count.ok_or(Error::reply("ERR invalid number of fields"))?;
            if usize::try_from(count) != Ok(names.len()) {
                return Err(wrong_arity("hgetex"));
            }
            return Ok((ends, names));
        } else if let Some(unit) = Unit::of(word) {
            once(ends)?;
            let time = args.get(at + 1).ok_or(Error::reply("ERR missing expire time"))?;
            ends = Ends::Become(unit.end(time, now, "hgetex")?);
            at += 2;
        } else if is(word, "persist") {
            once(ends)?;
            ends = Ends::Go;
            at += 1;
        } else {
            return Err(Error::reply(format!("ERR unknown argument: {}", String::from_utf8_lossy(word))));
        }
    }
    Err(wrong_arity("hgetex"))
}

fn hgetex(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (key, now) = (&args[1], writer.now());
    let (ends, names) = parse(&args[2..], now)?;
    let replies = values(writer, key, names)?;
    let Some(hash) = writer.get::<Hash>(key)? else { return Ok(Reply::Array(replies)) };
    let found = names.iter().filter_map(|name| hash.field(name, now));
    let changes = match ends {
        Ends::Stay => false,
        Ends::Go => found.into_iter().any(|field| field.end.is_some()),
        Ends::Become(_) => found.count() > 0,
    };
    if !changes {
        return Ok(Reply::Array(replies));
    }
    let (mut updated, mut removed) = (0, 0);
    if let Some(hash) = writer.get_mut::<Hash>(key)? {
        for name in names {
            match ends {
                Ends::Become(end) if end > now => updated += usize::from(hash.set_end(name, Some(end))),
                Ends::Become(_) => removed += usize::from(hash.remove(name).is_some()),
                _ => {
                    hash.set_end(name, None);
                }
            }
        }
    }
    if matches!(ends, Ends::Go) {
        writer.notify(EventClass::HASH, "hpersist", key);
    } else {
        tell_ends(writer, key, updated, removed)?;
    }
    Ok(Reply::Array(replies))
}
