//! XINFO STREAM | GROUPS | CONSUMERS | HELP

use std::sync::Arc;

use bytes::Bytes;

use super::parse::{entry_reply, id_reply, no_such_group, wrong_subcommand};
use crate::args::{integer, is};
use crate::object::stream::{self, Id, Stream};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reader, Reply, Result};

/// XINFO
pub(super) static XINFO: Spec = Spec {
    name: "xinfo",
    arity: -2,
    group: Group::Stream,
    since: "5.0.0",
    summary: "About streams, groups and consumers",
    subcommands: &[&STREAM, &GROUPS, &CONSUMERS, &HELP],
    run: Run::Container,
    ..Spec::DEFAULT
};

static STREAM: Spec = Spec {
    name: "xinfo|stream",
    arity: -3,
    flags: Flags::READONLY,
    category: Category::STREAM,
    keys: &[KeySpec::one(2, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Stream,
    since: "5.0.0",
    summary: "About a stream",
    run: Run::Read(stream),
    ..Spec::DEFAULT
};

static GROUPS: Spec = Spec {
    name: "xinfo|groups",
    arity: 3,
    flags: Flags::READONLY,
    category: Category::STREAM,
    keys: &[KeySpec::one(2, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Stream,
    since: "5.0.0",
    summary: "The groups of a stream",
    run: Run::Read(groups),
    ..Spec::DEFAULT
};

static CONSUMERS: Spec = Spec {
    name: "xinfo|consumers",
    arity: 4,
    flags: Flags::READONLY,
    category: Category::STREAM,
    keys: &[KeySpec::one(2, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Stream,
    since: "5.0.0",
    summary: "The consumers of a group",
    run: Run::Read(consumers),
    ..Spec::DEFAULT
};

static HELP: Spec = Spec {
    name: "xinfo|help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    category: Category::STREAM,
    group: Group::Stream,
    since: "5.0.0",
    summary: "Lists the subcommands",
    run: Run::Read(help),
    ..Spec::DEFAULT
};

fn map<const N: usize>(fields: [(&'static str, Reply); N]) -> Vec<(Reply, Reply)> {
    fields.into_iter().map(|(name, value)| (Reply::bulk(name), value)).collect()
}

fn number(value: u64) -> Reply {
    Reply::Integer(value.cast_signed())
}

fn number_or_null(value: Option<i64>) -> Reply {
    value.map_or(Reply::Null, Reply::Integer)
}

fn stream(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let stream = reader.get::<Stream>(&args[2])?.ok_or(Error::NO_SUCH_KEY)?;
    let count = match &args[3..] {
        [] => None,
        [full] if is(full, "full") => Some(10),
        [full, count, number] if is(full, "full") && is(count, "count") => {
            Some(usize::try_from(integer(number)?).unwrap_or(10))
        }
        _ => return Err(wrong_subcommand("XINFO", &args[1])),
    };
    let mut fields = map([
        ("length", number(stream.count())),
        ("radix-tree-keys", Reply::count(stream.blocks())),
        ("radix-tree-nodes", Reply::count(stream.blocks() + 1)),
        ("last-generated-id", id_reply(stream.last)),
        ("max-deleted-entry-id", id_reply(stream.max_deleted)),
        ("entries-added", number(stream.added)),
        ("recorded-first-entry-id", id_reply(stream.first())),
    ]);
    let Some(count) = count else {
        let entry = |entry: Option<stream::Entry<'_>>| entry.map_or(Reply::Null, |entry| entry_reply(&entry));
        fields.extend(map([
            ("groups", Reply::count(stream.groups().len())),
            ("first-entry", entry(stream.range(Id::MIN, Id::MAX).next())),
            ("last-entry", entry(stream.backwards(Id::MIN, Id::MAX).next())),
        ]));
        return Ok(Reply::Map(fields));
    };
    let count = if count == 0 { usize::MAX } else { count };
    let entries = stream.range(Id::MIN, Id::MAX).take(count).map(|entry| entry_reply(&entry)).collect();
    let groups = stream.groups().iter().map(|(name, group)| full_group(stream, name, group, count)).collect();
    fields.extend(map([("entries", Reply::Array(entries)), ("groups", Reply::Array(groups))]));
    Ok(Reply::Map(fields))
}

fn full_group(stream: &Stream, name: &[u8], group: &stream::Group, count: usize) -> Reply {
    let pending = group.pending().iter().take(count).map(|(id, pending)| {
        let consumer = Reply::bulk(pending.consumer.as_deref().unwrap_or_default());
        Reply::Array(vec![id_reply(*id), consumer, Reply::Integer(pending.time), Reply::Integer(pending.count)])
    });
    let consumers = group.consumers().iter().map(|(name, consumer)| full_consumer(group, name, consumer, count));
    Reply::Map(map([
        ("name", Reply::bulk(name)),
        ("last-delivered-id", id_reply(group.last)),
        ("entries-read", group.read.map_or(Reply::Null, number)),
        ("lag", number_or_null(stream.lag(group))),
        ("pel-count", Reply::count(group.pending().len())),
        ("pending", Reply::Array(pending.collect())),
        ("consumers", Reply::Array(consumers.collect())),
    ]))
}

fn full_consumer(group: &stream::Group, name: &Arc<[u8]>, consumer: &stream::Consumer, count: usize) -> Reply {
    let pending = consumer.pending.iter().filter_map(|id| Some((id, group.pending().get(id)?))).take(count);
    let pending = pending.map(|(id, pending)| {
        Reply::Array(vec![id_reply(*id), Reply::Integer(pending.time), Reply::Integer(pending.count)])
    });
    Reply::Map(map([
        ("name", Reply::bulk(name)),
        ("seen-time", Reply::Integer(consumer.seen)),
        ("active-time", Reply::Integer(consumer.active.unwrap_or(-1))),
        ("pel-count", Reply::count(consumer.pending.len())),
        ("pending", Reply::Array(pending.collect())),
    ]))
}

fn groups(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let stream = reader.get::<Stream>(&args[2])?.ok_or(Error::NO_SUCH_KEY)?;
    let groups = stream.groups().iter().map(|(name, group)| {
        Reply::Map(map([
            ("name", Reply::bulk(name)),
            ("consumers", Reply::count(group.consumers().len())),
            ("pending", Reply::count(group.pending().len())),
            ("last-delivered-id", id_reply(group.last)),
            ("entries-read", group.read.map_or(Reply::Null, number)),
            ("lag", number_or_null(stream.lag(group))),
        ]))
    });
    Ok(Reply::Array(groups.collect()))
}

fn consumers(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let stream = reader.get::<Stream>(&args[2])?.ok_or(Error::NO_SUCH_KEY)?;
    let group = stream.group(&args[3]).ok_or_else(|| no_such_group(&args[2], &args[3]))?;
    let since = |time: i64| reader.now().saturating_sub(time).max(0);
    let consumers = group.consumers().iter().map(|(name, consumer)| {
        Reply::Map(map([
            ("name", Reply::bulk(name)),
            ("pending", Reply::count(consumer.pending.len())),
            ("idle", Reply::Integer(since(consumer.seen))),
            ("inactive", Reply::Integer(consumer.active.map_or(-1, since))),
        ]))
    });
    Ok(Reply::Array(consumers.collect()))
}

fn help(_: &Reader<'_>, _: &[Bytes]) -> Result<Reply> {
    let lines = [
        "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CONSUMERS <key> <group>",
        "    The consumers of a group.",
        "GROUPS <key>",
        "    The groups of a stream.",
        "STREAM <key> [FULL [COUNT <count>]]",
        "    About a stream; FULL with entries, groups and consumers.",
        "HELP",
        "    Prints this help.",
    ];
    Ok(Reply::Array(lines.into_iter().map(Reply::status).collect()))
}
