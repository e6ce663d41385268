//! XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]

use bytes::Bytes;

use super::parse::{self, Read, entry_reply, streams_reply};
use crate::error::Block;
use crate::object::stream::{Id, Stream};
use crate::spec::{Begin, Category, Find, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reader, Reply, Result};

/// XREAD
pub(super) static XREAD: Spec = Spec {
    name: "xread",
    arity: -4,
    flags: Flags::READONLY.union(Flags::BLOCKING).union(Flags::MOVABLEKEYS),
    category: Category::STREAM,
    keys: &[KeySpec {
        flags: KeyFlags::RO.union(KeyFlags::ACCESS),
        begin: Begin::Keyword("STREAMS", 1),
        find: Find::Range { last: -1, step: 1, limit: 2 },
    }],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Entries of streams behind an id each, perhaps after a wait",
    run: Run::Read(xread),
    ..Spec::DEFAULT
};

fn xread(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let read = Read::parse(args, false)?;
    parse::repeats_fit(read.keys, |key| reader.get::<Stream>(key))?;
    let mut behind = Vec::with_capacity(read.keys.len());
    for (key, id) in read.keys.iter().zip(read.ids) {
        let stream = reader.get::<Stream>(key)?;
        behind.push(match &**id {
            b"$" => stream.map_or(Id::MIN, |stream| stream.last),
            // The last entry: what comes behind the id in front of it.
            b"+" => match stream.map(|stream| (stream, stream.last_entry())) {
                Some((_, Some(last))) => last.previous().unwrap_or(Id::MIN),
                Some((stream, None)) => stream.last,
                None => Id::MIN,
            },
            b">" => {
                return Err(Error::reply(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
                ));
            }
            text => parse::id(text)?,
        });
    }
    let mut streams = Vec::new();
    for (key, behind) in read.keys.iter().zip(&behind) {
        let (Some(stream), Some(from)) = (reader.get::<Stream>(key)?, behind.next()) else { continue };
        let entries: Vec<Reply> =
            stream.range(from, Id::MAX).take(read.count_max()).map(|entry| entry_reply(&entry)).collect();
        if !entries.is_empty() {
            streams.push((Reply::Bulk(key.clone()), Reply::Array(entries)));
        }
    }
    if !streams.is_empty() {
        return Ok(streams_reply(streams, reader.context.resp3));
    }
    let Some(timeout_ms) = read.block_ms else { return Ok(Reply::NullArray) };
    let mut again = args.to_vec();
    let ids_at = read.keys_at + read.keys.len();
    for (place, id) in again.iter_mut().skip(ids_at).zip(&behind) {
        *place = id.to_string().into();
    }
    Err(Error::Block(Block { timeout_ms, otherwise: Reply::NullArray, again: Some(again) }))
}
