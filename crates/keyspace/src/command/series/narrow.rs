//! TS.NRANGE numkeys key ... from to [options of TS.RANGE; an AGGREGATION for each key], and TS.NREVRANGE
//!
//! One row for each time that any of the series has; NaN where one has nothing.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::query::{Query, Reverse};
use super::{find, latest, must_get, value};
use crate::args::parse_integer;
use crate::error::wrong_arity;
use crate::object::Aggregation;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reader, Reply, Result};

const READ: Spec = Spec {
    arity: -5,
    flags: Flags::READONLY.union(Flags::MOVABLEKEYS),
    category: Category::TIMESERIES,
    keys: &[KeySpec::count(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Module,
    since: "8.10.0",
    ..Spec::DEFAULT
};

/// TS.NRANGE
pub(super) static NRANGE: Spec = Spec {
    name: "ts.nrange",
    summary: "The samples of a span of time of several time series, side by side",
    run: Run::Read(nrange),
    ..READ
};

/// TS.NREVRANGE
pub(super) static NREVRANGE: Spec =
    Spec { name: "ts.nrevrange", summary: "The same from the newest on", run: Run::Read(nrevrange), ..READ };

fn nrange(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    run(reader, args, "ts.nrange", false)
}

fn nrevrange(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    run(reader, args, "ts.nrevrange", true)
}

fn run(reader: &Reader<'_>, args: &[Bytes], name: &str, reverse: Reverse) -> Result<Reply> {
    let number = parse_integer(&args[1]).and_then(|number| usize::try_from(number).ok());
    let number = number.ok_or(Error::reply("ERR TSDB: numkeys must be a positive integer"))?;
    if number == 0 || args.len() - 2 < number.saturating_add(2) {
        return Err(wrong_arity(name));
    }
    let (keys, rest) = args[2..].split_at(number);
    check_aggregations(rest, number)?;
    let query = Query::parse(rest, number, name)?;
    let mut columns = Vec::with_capacity(number);
    for key in keys {
        columns.push((key, must_get(reader, key)?));
    }
    let mut rows: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    let width = |at: usize| query.aggregations.get(at).map_or(1, Vec::len);
    let total: usize = (0..number).map(width).sum();
    let mut first = 0;
    for (at, (key, series)) in columns.into_iter().enumerate() {
        let open = if query.latest { latest(reader, key, series)? } else { None };
        // No later row than the first `count` of each can be among the first `count` of all.
        for (time, values) in query.run(series, open, at, reverse, query.count)? {
            let row = rows.entry(time).or_insert_with(|| vec![f64::NAN; total]);
            row[first..first + values.len()].copy_from_slice(&values);
        }
        first += width(at);
    }
    let resp3 = reader.context.resp3;
    let row = |(time, values): (i64, Vec<f64>)| {
        let values = values.into_iter().map(|each| value(each, resp3));
        Reply::Array(vec![Reply::Integer(time), Reply::Array(values.collect())])
    };
    let limit = query.count.unwrap_or(usize::MAX);
    Ok(Reply::Array(if reverse {
        rows.into_iter().rev().take(limit).map(row).collect()
    } else {
        rows.into_iter().take(limit).map(row).collect()
    }))
}

/// As many words behind AGGREGATION as keys, then the bucket.
fn check_aggregations(rest: &[Bytes], number: usize) -> Result<()> {
    let Some(at) = find(rest, "aggregation") else { return Ok(()) };
    let words = &rest[at + 1..];
    let Some(given) = words.iter().position(|word| parse_integer(word).is_some()) else { return Ok(()) };
    let is_known = |word: &Bytes| word.split(|byte| *byte == b',').all(|name| Aggregation::parse(name).is_some());
    if given != number && words[..given].iter().all(is_known) {
        return Err(Error::reply("ERR TSDB: the number of AGGREGATION arguments must be equal to numkeys"));
    }
    Ok(())
}
