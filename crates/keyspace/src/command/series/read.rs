//! TS.READ key time | - | + | $ [BLOCK ms min_count] [MAX_COUNT max_count]

use bytes::Bytes;

use super::{sample, time};
use crate::args::{is, parse_integer};
use crate::error::wrong_arity;
use crate::object::Series;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Block, Error, Reader, Reply, Result};

/// TS.READ
pub(super) static READ: Spec = Spec {
    name: "ts.read",
    arity: -3,
    flags: Flags::READONLY.union(Flags::BLOCKING),
    category: Category::TIMESERIES,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Module,
    since: "8.10.0",
    summary: "Samples from a time on; waits for them if asked to",
    run: Run::Read(read),
    ..Spec::DEFAULT
};

struct Options {
    /// How long to wait (milliseconds), and for how many samples.
    block: Option<(u64, usize)>,
    max: usize,
}

fn parse(mut rest: &[Bytes]) -> Result<Options> {
    let arity = || wrong_arity("ts.read");
    let positive = |text: &Bytes| parse_integer(text).and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let (mut block, mut max) = (None, None);
    while !rest.is_empty() {
        rest = match rest {
            [word, ms, count, rest @ ..] if block.is_none() && is(word, "block") => {
                let wrong = || Error::reply("ERR TSDB: BLOCK milliseconds must be a non-negative integer");
                let ms = parse_integer(ms).and_then(|ms| u64::try_from(ms).ok()).ok_or_else(wrong)?;
                parse_integer(count).ok_or_else(wrong)?;
                let count = positive(count);
                block = Some((ms, count.ok_or(Error::reply("ERR TSDB: BLOCK min_count must be a positive integer"))?));
                rest
            }
            [word, count, rest @ ..] if max.is_none() && is(word, "max_count") => {
                let count = positive(count);
                max = Some(count.ok_or(Error::reply("ERR TSDB: MAX_COUNT must be a positive integer"))?);
                rest
            }
            _ => return Err(arity()),
        };
    }
    let max = max.unwrap_or(crate::object::ROWS_MAX);
    if block.is_some_and(|(_, count)| count > max) {
        return Err(Error::reply("ERR TSDB: BLOCK min_count must be <= MAX_COUNT"));
    }
    Ok(Options { block, max })
}

fn read(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let options = parse(&args[3..])?;
    let given = match args[2].as_ref() {
        b"-" | b"+" | b"$" => None,
        text => Some(time(text).ok_or(Error::reply("ERR TSDB: invalid timestamp"))?),
    };
    let series = reader.get::<Series>(&args[1])?;
    let last = series.and_then(Series::last).map(|last| last.time);
    let from = given.unwrap_or(match args[2].as_ref() {
        b"-" => 0,
        b"+" => last.unwrap_or(0),
        _ => last.map_or(0, |last| last.saturating_add(1)),
    });
    let mut found = Vec::new();
    if let Some(series) = series {
        series.visit(from, i64::MAX, false, |each| {
            found.push(sample(each, reader.context.resp3));
            found.len() < options.max
        });
    }
    let count = found.len();
    let reply = Reply::Array(found);
    let Some((timeout_ms, _)) = options.block.filter(|(_, wanted)| count < *wanted) else { return Ok(reply) };
    if reader.context.must_not_wait {
        return Err(Error::reply(
            "ERR TSDB: blocking TS.READ (with BLOCK) is not allowed inside MULTI, EVAL, or a deny-blocking context",
        ));
    }
    // What the words meant is settled now.
    let mut again = args.to_vec();
    again[2] = Bytes::from(from.to_string());
    Err(Error::Block(Block { timeout_ms, otherwise: reply, again: Some(again) }))
}
