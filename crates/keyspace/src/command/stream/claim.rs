//! XCLAIM key group consumer min-idle-time id [id ...] [IDLE milliseconds] [TIME milliseconds] [RETRYCOUNT count] [FORCE]
//! [JUSTID] [LASTID id]; XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]

use bytes::Bytes;
use rustc_hash::FxHashSet;

use super::parse::{self, entry_reply, id_reply, no_group};
use crate::args::{Cursor, integer, parse_integer};
use crate::effects::EventClass;
use crate::object::stream::{Id, Stream};
use crate::room::Room;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reply, Result, Writer};

/// XCLAIM
pub(super) static XCLAIM: Spec = Spec {
    name: "xclaim",
    arity: -6,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::STREAM,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Gives pending entries of a group to another consumer",
    run: Run::Write(xclaim),
    ..Spec::DEFAULT
};

/// XAUTOCLAIM
pub(super) static XAUTOCLAIM: Spec = Spec {
    name: "xautoclaim",
    arity: -6,
    flags: Flags::WRITE.union(Flags::FAST),
    category: Category::STREAM,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))],
    group: Group::Stream,
    since: "6.2.0",
    summary: "Gives entries that were pending for long to another consumer",
    run: Run::Write(xautoclaim),
    ..Spec::DEFAULT
};

/// XAUTOCLAIM looks at so many entries for each that it may give.
const ATTEMPTS: i64 = 10;

/// An integer with an error of its own.
fn number(text: &[u8], wrong: &'static str) -> Result<i64> {
    parse_integer(text).ok_or(Error::reply(wrong))
}

fn xclaim(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (key, name, consumer) = (&args[1], &args[2], &args[3]);
    let now = writer.now();
    if writer.get::<Stream>(key)?.and_then(|stream| stream.group(name)).is_none() {
        return Err(no_group(key, name, ""));
    }
    let idle_min = number(&args[4], "ERR Invalid min-idle-time argument for XCLAIM")?;
    let ids: Vec<Id> = args[5..].iter().map_while(|arg| parse::parse_id(arg, 0)).collect();
    let mut options = Cursor::new(args.get(5 + ids.len()..).unwrap_or_default());
    let (mut force, mut just_id, mut time, mut retry_count, mut last_id) = (false, false, None, None, Id::MIN);
    while let Some(word) = options.rest().first() {
        let has_value = options.rest().len() > 1;
        if options.take("force") {
            force = true;
        } else if options.take("justid") {
            just_id = true;
        } else if has_value && options.take("idle") {
            let idle = number(options.must()?, "ERR Invalid IDLE option argument for XCLAIM")?;
            time = Some(now.saturating_sub(idle));
        } else if has_value && options.take("time") {
            time = Some(number(options.must()?, "ERR Invalid TIME option argument for XCLAIM")?);
        } else if has_value && options.take("retrycount") {
            retry_count = Some(number(options.must()?, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?);
        } else if has_value && options.take("lastid") {
            last_id = parse::id(options.must()?)?;
        } else {
            let word = String::from_utf8_lossy(word);
            return Err(Error::reply(format!("ERR Unrecognized XCLAIM option '{word}'")));
        }
    }
    let time = time.filter(|time| (0..=now).contains(time)).unwrap_or(now);
    let retry_count = retry_count.filter(|count| *count >= 0);

    if let Some(stream) = writer.get::<Stream>(key)?.filter(|_| !just_id) {
        let (mut seen, mut room) = (FxHashSet::default(), Room::default());
        for entry in ids.iter().filter(|id| !seen.insert(**id)).filter_map(|id| stream.get(*id)) {
            room.take(entry.fields().map(|(name, value)| name.len() + value.len()).sum())?;
        }
    }
    let Some(stream) = writer.get_mut::<Stream>(key)? else { return Err(no_group(key, name, "")) };
    let mut is_new = false;
    if let Some(group) = stream.group_mut(name) {
        group.last = group.last.max(last_id);
        is_new = group.see(consumer, now);
    }
    let mut claimed = Vec::new();
    for id in ids {
        let exists = stream.get(id).is_some();
        let Some(group) = stream.group_mut(name) else { break };
        let pending = group.pending().get(&id);
        if !exists {
            group.acknowledge(id);
            continue;
        }
        // An entry that FORCE puts there counts as delivered once, by this claim or before it.
        let (owner, since, count) = match pending {
            Some(pending) => (pending.consumer.is_some(), pending.time, pending.count),
            None if force => (false, now, 1),
            None => continue,
        };
        if owner && idle_min > 0 && now.saturating_sub(since) < idle_min {
            continue;
        }
        let count = retry_count.unwrap_or(if just_id { count } else { count.saturating_add(1) });
        group.give(id, consumer, time, count, now);
        claimed.push(claim_reply(stream, id, just_id));
    }
    if is_new {
        writer.notify(EventClass::STREAM, "xgroup-createconsumer", key);
    }
    Ok(Reply::Array(claimed))
}

fn claim_reply(stream: &Stream, id: Id, just_id: bool) -> Reply {
    match stream.get(id) {
        Some(entry) if !just_id => entry_reply(&entry),
        _ => id_reply(id),
    }
}

fn xautoclaim(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (key, name, consumer) = (&args[1], &args[2], &args[3]);
    let now = writer.now();
    let idle_min = number(&args[4], "ERR Invalid min-idle-time argument for XAUTOCLAIM")?;
    let from = parse::start(&args[5])?;
    let (mut count, mut just_id) = (100, false);
    let mut options = Cursor::new(&args[6..]);
    while !options.is_empty() {
        if options.rest().len() > 1 && options.take("count") {
            count = integer(options.must()?)?;
            if !(1..=i64::MAX / 16).contains(&count) {
                return Err(Error::reply("ERR COUNT must be > 0"));
            }
        } else if options.take("justid") {
            just_id = true;
        } else {
            return Err(Error::SYNTAX);
        }
    }
    if writer.get::<Stream>(key)?.and_then(|stream| stream.group(name)).is_none() {
        return Err(no_group(key, name, ""));
    }

    let Some(stream) = writer.get_mut::<Stream>(key)? else { return Err(no_group(key, name, "")) };
    let is_new = stream.group_mut(name).is_some_and(|group| group.see(consumer, now));
    let (mut attempts, mut left) = (count.saturating_mul(ATTEMPTS), count);
    let (mut claimed, mut deleted, mut next) = (Vec::new(), Vec::new(), Some(from));
    while attempts > 0 && left > 0 {
        attempts -= 1;
        let group = stream.group(name);
        let found = next.and_then(|from| group?.pending().range(from..).next());
        let Some((id, pending)) = found.map(|(id, pending)| (*id, pending.clone())) else {
            next = None;
            break;
        };
        next = id.next();
        let exists = stream.get(id).is_some();
        let Some(group) = stream.group_mut(name) else { break };
        if !exists {
            group.acknowledge(id);
            deleted.push(id_reply(id));
            left -= 1;
            continue;
        }
        if idle_min > 0 && now.saturating_sub(pending.time) < idle_min {
            continue;
        }
        let count = if just_id { pending.count } else { pending.count.saturating_add(1) };
        group.give(id, consumer, now, count, now);
        claimed.push(claim_reply(stream, id, just_id));
        left -= 1;
    }
    let group = stream.group(name);
    let cursor = next.and_then(|from| group?.pending().range(from..).next()).map_or(Id::MIN, |(id, _)| *id);
    if is_new {
        writer.notify(EventClass::STREAM, "xgroup-createconsumer", key);
    }
    Ok(Reply::Array(vec![id_reply(cursor), Reply::Array(claimed), Reply::Array(deleted)]))
}
