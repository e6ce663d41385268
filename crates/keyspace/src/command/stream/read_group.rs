//! XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]

use bytes::Bytes;

use super::parse::{self, Read, entry_reply, id_reply, no_group, streams_reply};
use crate::effects::EventClass;
use crate::error::Block;
use crate::object::stream::{Id, Stream};
use crate::spec::{Begin, Category, Find, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reply, Result, Writer};

/// XREADGROUP
pub(super) static XREADGROUP: Spec = Spec {
    name: "xreadgroup",
    arity: -7,
    flags: Flags::WRITE.union(Flags::BLOCKING).union(Flags::MOVABLEKEYS),
    category: Category::STREAM,
    keys: &[KeySpec {
        flags: KeyFlags::RO.union(KeyFlags::ACCESS),
        begin: Begin::Keyword("STREAMS", 4),
        find: Find::Range { last: -1, step: 1, limit: 2 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Entries of streams that nobody of a group has read yet, or that a consumer has not acknowledged",
    run: Run::Write(xreadgroup),
    ..Spec::DEFAULT
};

fn xreadgroup(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let read = Read::parse(args, true)?;
    let Some((group_name, consumer)) = read.group else {
        return Err(Error::reply("ERR Missing GROUP option for XREADGROUP"));
    };
    parse::repeats_fit(read.keys, |key| writer.get::<Stream>(key))?;
    // What each stream is read behind; `None` for what nobody has read.
    let mut behind = Vec::with_capacity(read.keys.len());
    let mut serves = Vec::with_capacity(read.keys.len());
    for (key, id) in read.keys.iter().zip(read.ids) {
        let stream = writer.get::<Stream>(key)?;
        let Some((stream, group)) = stream.and_then(|stream| Some((stream, stream.group(group_name)?))) else {
            return Err(no_group(key, group_name, " in XREADGROUP with GROUP option"));
        };
        behind.push(match &**id {
            b"$" | b"+" => return Err(meaningless(id)),
            b">" => None,
            text => Some(parse::id(text)?),
        });
        serves.push(behind.last().is_some_and(Option::is_some) || stream.last_entry() > Some(group.last));
    }
    let serves_any = serves.contains(&true);
    let now = writer.now();
    let mut streams = Vec::new();
    for ((key, behind), serves) in read.keys.iter().zip(&behind).zip(&serves) {
        // Who was already seen when it began to wait changes nothing by waiting on.
        if !serves_any && writer.context.waited {
            break;
        }
        let Some(stream) = writer.get_mut::<Stream>(key)? else { continue };
        let is_new = stream.group_mut(group_name).is_some_and(|group| group.see(consumer, now));
        let entries = match (serves, behind) {
            (false, _) => None,
            (true, Some(behind)) => Some(history(stream, group_name, consumer, *behind, read.count_max(), now)),
            (true, None) => Some(fresh(stream, group_name, consumer, &read, now)),
        };
        if is_new {
            writer.notify(EventClass::STREAM, "xgroup-createconsumer", key);
        }
        if let Some(entries) = entries {
            streams.push((Reply::Bulk(key.clone()), Reply::Array(entries)));
        }
    }
    match read.block_ms {
        _ if !streams.is_empty() => Ok(streams_reply(streams, writer.context.resp3)),
        Some(timeout_ms) => Err(Error::Block(Block { timeout_ms, otherwise: Reply::NullArray, again: None })),
        None => Ok(Reply::NullArray),
    }
}

/// Delivers what no consumer of the group has read.
fn fresh(stream: &mut Stream, group_name: &[u8], consumer: &[u8], read: &Read<'_>, now: i64) -> Vec<Reply> {
    let Some((from, mut count)) = stream.group(group_name).and_then(|group| Some((group.last.next()?, group.read)))
    else {
        return Vec::new();
    };
    let (mut ids, mut entries) = (Vec::new(), Vec::new());
    for entry in stream.range(from, Id::MAX).take(read.count_max()) {
        count = stream.read_to(count, entry.id);
        ids.push(entry.id);
        entries.push(entry_reply(&entry));
    }
    if let Some(group) = stream.group_mut(group_name) {
        group.read = count;
        group.last = ids.last().copied().unwrap_or(group.last);
        group.be_active(consumer, now);
        if !read.no_ack {
            ids.into_iter().for_each(|id| group.give(id, consumer, now, 1, now));
        }
    }
    entries
}

/// What a consumer has and not acknowledged, behind an id; it counts as delivered again.
fn history(
    stream: &mut Stream,
    group_name: &[u8],
    consumer: &[u8],
    behind: Id,
    count_max: usize,
    now: i64,
) -> Vec<Reply> {
    let (Some(from), Some(group)) = (behind.next(), stream.group(group_name)) else { return Vec::new() };
    let Some(consumer) = group.consumers().get(consumer) else { return Vec::new() };
    let ids: Vec<Id> = consumer.pending.range(from..).take(count_max).copied().collect();
    let mut again = Vec::new();
    let mut entries = Vec::with_capacity(ids.len());
    for id in ids {
        match stream.get(id) {
            Some(entry) => {
                again.push(id);
                entries.push(entry_reply(&entry));
            }
            None => entries.push(Reply::Array(vec![id_reply(id), Reply::NullArray])),
        }
    }
    if let Some(group) = stream.group_mut(group_name) {
        again.into_iter().for_each(|id| group.deliver_again(id, now));
    }
    entries
}

fn meaningless(id: &[u8]) -> Error {
    let id = String::from_utf8_lossy(id);
    Error::reply(format!(
        "ERR The {id} ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
         specifying a proper ID, or use the > ID to get new messages. The {id} ID would just return an empty result set."
    ))
}
