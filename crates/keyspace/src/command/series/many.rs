//! TS.MRANGE from to [options of TS.RANGE] [WITHLABELS | SELECTED_LABELS label ...] [EXCLUDEEMPTY] FILTER filter ...
//! [GROUPBY label REDUCE reducer], and TS.MREVRANGE

use std::collections::BTreeMap;

use bytes::Bytes;
use smallvec::smallvec;

use super::labels::{matching, parse};
use super::query::{Query, Reverse};
use super::{Shown, find, latest, range};
use crate::args::is;
use crate::error::wrong_arity;
use crate::object::{Aggregation, Label, Row, Series};
use crate::spec::{Category, Flags, Group, Run, Spec};
use crate::{Error, Reader, Reply, Result};

const READ: Spec =
    Spec { arity: -4, flags: Flags::READONLY, category: Category::TIMESERIES, group: Group::Module, ..Spec::DEFAULT };

/// TS.MRANGE
pub(super) static MRANGE: Spec = Spec {
    name: "ts.mrange",
    summary: "The samples of a span of time of the time series whose labels match",
    run: Run::Read(mrange),
    ..READ
};

/// TS.MREVRANGE
pub(super) static MREVRANGE: Spec = Spec {
    name: "ts.mrevrange",
    since: "1.4.0",
    summary: "The same from the newest on",
    run: Run::Read(mrevrange),
    ..READ
};

/// Words that end SELECTED_LABELS.
const WORDS: &[&str] = &[
    "withlabels",
    "aggregation",
    "groupby",
    "reduce",
    "filter",
    "filter_by_value",
    "filter_by_ts",
    "count",
    "align",
    "latest",
    "empty",
    "buckettimestamp",
    "excludeempty",
];

/// Which labels are asked for, in the arguments before FILTER.
pub(super) fn shown(args: &[Bytes]) -> Result<Shown> {
    let all = find(args, "withlabels").is_some();
    let Some(at) = find(args, "selected_labels") else { return Ok(if all { Shown::All } else { Shown::None }) };
    if all {
        return Err(Error::reply("ERR TSDB: cannot accept WITHLABELS and SELECT_LABELS together"));
    }
    let names = args[at + 1..].iter().take_while(|name| !WORDS.iter().any(|word| is(name, word)));
    let names: Vec<Bytes> = names.cloned().collect();
    if names.is_empty() {
        return Err(Error::reply("ERR TSDB: SELECT_LABELS should have at least 1 parameter"));
    }
    Ok(Shown::Some(names))
}

fn mrange(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    run(reader, args, "ts.mrange", false)
}

fn mrevrange(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    run(reader, args, "ts.mrevrange", true)
}

/// Reducers are aggregations of the values at one time.
fn reducer(name: &[u8]) -> Option<Aggregation> {
    use Aggregation::{First, Last, Twa};
    Aggregation::parse(name).filter(|kind| !matches!(kind, First | Last | Twa))
}

fn run(reader: &Reader<'_>, args: &[Bytes], name: &str, reverse: Reverse) -> Result<Reply> {
    let at = find(args, "filter").unwrap_or(args.len());
    let options = args.get(1..at).unwrap_or_default();
    let query = Query::parse(options, 1, name)?;
    if at == args.len() {
        return Err(Error::reply("ERR TSDB: missing FILTER argument"));
    }
    let shown = shown(options)?;
    if find(options, "groupby").is_some() {
        return Err(Error::reply("ERR TSDB: GROUPBY should always come after filter"));
    }
    let behind = &args[at + 1..];
    let (filters, group) = match find(behind, "groupby") {
        Some(group) => (&behind[..group], Some(&behind[group..])),
        None => (behind, None),
    };
    if filters.is_empty() {
        return Err(Error::reply("ERR TSDB: missing labels for filter argument"));
    }
    let matchers = parse(filters)?;
    let exclude_empty = find(options, "excludeempty").is_some();
    let group = match group {
        None => None,
        Some([_, label, word, name_of]) if is(word, "reduce") => {
            let kind = reducer(name_of).ok_or(Error::reply("ERR TSDB: failed parsing reducer"))?;
            if exclude_empty {
                return Err(Error::reply("ERR TSDB: EXCLUDEEMPTY is not allowed with GROUPBY"));
            }
            Some((label, kind))
        }
        Some(_) => return Err(wrong_arity(name)),
    };
    let mut found = Vec::new();
    for (key, labels) in matching(reader, name, &matchers)? {
        let series = match reader.get::<Series>(key) {
            Ok(Some(series)) => series,
            Ok(None) | Err(Error::Reply(_)) => continue,
            Err(other) => return Err(other),
        };
        let open = if query.latest { latest(reader, key, series)? } else { None };
        let count = if group.is_some() { None } else { query.count };
        let rows = query.run(series, open, 0, reverse, count)?;
        if !(exclude_empty && rows.is_empty()) {
            found.push(Found { key, labels, rows });
        }
    }
    let resp3 = reader.context.resp3;
    let replies = match group {
        None => {
            let kinds = query.aggregations.first().into_iter().flatten();
            let kinds: Vec<Reply> = kinds.map(|kind| Reply::bulk(kind.name())).collect();
            let reply = |found: Found<'_>| plain(found, &shown, &kinds, resp3);
            found.into_iter().map(reply).collect()
        }
        Some((label, kind)) => grouped(found, label, kind, &query, &shown, reverse, resp3),
    };
    Ok(if resp3 { Reply::Map(replies) } else { Reply::Array(replies.into_iter().map(|(_, reply)| reply).collect()) })
}

struct Found<'a> {
    key: &'a Bytes,
    labels: &'a [Label],
    rows: Vec<Row>,
}

/// The name of a series and the rest, for a map; without maps all of it is in the second.
type Named = (Reply, Reply);

fn plain(found: Found<'_>, shown: &Shown, kinds: &[Reply], resp3: bool) -> Named {
    let (name, labels) = (Reply::bulk(found.key), shown.reply(found.labels, resp3));
    let rows = range::rows(found.rows, resp3);
    if !resp3 {
        return (Reply::Null, Reply::Array(vec![name, labels, rows]));
    }
    let kinds = Reply::Map(vec![(Reply::bulk("aggregators"), Reply::Array(kinds.to_vec()))]);
    (name, Reply::Array(vec![labels, kinds, rows]))
}

fn grouped(
    found: Vec<Found<'_>>,
    label: &Bytes,
    kind: Aggregation,
    query: &Query,
    shown: &Shown,
    reverse: Reverse,
    resp3: bool,
) -> Vec<Named> {
    let mut groups: BTreeMap<&Bytes, Vec<Found<'_>>> = BTreeMap::new();
    for series in found {
        if let Some((_, value)) = series.labels.iter().find(|(name, _)| name == label) {
            groups.entry(value).or_default().push(series);
        }
    }
    let reply = |(value, members): (&Bytes, Vec<Found<'_>>)| {
        let sources: Vec<&Bytes> = members.iter().map(|found| found.key).collect();
        let name = [&label[..], b"=", &value[..]].concat();
        let mut labels: Vec<Label> = vec![(label.clone(), value.clone())];
        if !resp3 {
            let all = sources.iter().map(|key| &***key).collect::<Vec<_>>().join(&b","[..]);
            labels.push((Bytes::from_static(b"__reducer__"), Bytes::from_static(kind.name().as_bytes())));
            labels.push((Bytes::from_static(b"__source__"), all.into()));
        }
        let (labels, sources) = (shown.reply(&labels, resp3), sources.into_iter().map(Reply::bulk).collect());
        let rows = range::rows(reduce(members, kind, query.count, reverse), resp3);
        if !resp3 {
            return (Reply::Null, Reply::Array(vec![Reply::bulk(name), labels, rows]));
        }
        let one = |word: &str, list| Reply::Map(vec![(Reply::bulk(word), Reply::Array(list))]);
        let parts = vec![labels, one("reducers", vec![Reply::bulk(kind.name())]), one("sources", sources), rows];
        (Reply::bulk(name), Reply::Array(parts))
    };
    groups.into_iter().map(reply).collect()
}

/// One row for each time that any series has.
fn reduce(members: Vec<Found<'_>>, kind: Aggregation, count: Option<usize>, reverse: Reverse) -> Vec<Row> {
    let mut times: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for (time, values) in members.into_iter().flat_map(|found| found.rows) {
        times.entry(time).or_default().extend(values.first());
    }
    let row = |(time, values): (i64, Vec<f64>)| -> Row { (time, smallvec![kind.of(values.into_iter())]) };
    let limit = count.unwrap_or(usize::MAX);
    if reverse {
        times.into_iter().rev().take(limit).map(row).collect()
    } else {
        times.into_iter().take(limit).map(row).collect()
    }
}
