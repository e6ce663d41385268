//! TS.GET key [LATEST], TS.MGET [LATEST] [WITHLABELS | SELECTED_LABELS label ...] FILTER filter ...

use bytes::Bytes;

use super::labels::{matching, parse};
use super::many::shown;
use super::{find, latest, must_get, sample};
use crate::args::is;
use crate::error::wrong_arity;
use crate::object::Series;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, Reader, Reply, Result};

/// TS.GET
pub(super) static GET: Spec = Spec {
    name: "ts.get",
    arity: -2,
    flags: Flags::READONLY,
    category: Category::TIMESERIES,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Module,
    since: "1.0.0",
    summary: "The newest sample of a time series",
    run: Run::Read(get),
    ..Spec::DEFAULT
};

/// TS.MGET
pub(super) static MGET: Spec = Spec {
    name: "ts.mget",
    arity: -3,
    flags: Flags::READONLY,
    category: Category::TIMESERIES,
    group: Group::Module,
    since: "1.0.0",
    summary: "The newest samples of the time series whose labels match",
    run: Run::Read(mget),
    ..Spec::DEFAULT
};

fn newest(reader: &Reader<'_>, key: &[u8], series: &Series, with_open: bool) -> Result<Reply> {
    let open = if with_open { latest(reader, key, series)? } else { None };
    let last = match (series.last(), open) {
        (Some(last), Some(open)) if open.time <= last.time => Some(last),
        (last, open) => open.or(last),
    };
    Ok(last.map_or(Reply::Array(Vec::new()), |last| sample(last, reader.context.resp3)))
}

fn get(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    if args.len() > 3 || args.get(2).is_some_and(|word| !is(word, "latest")) {
        return Err(wrong_arity("ts.get"));
    }
    newest(reader, &args[1], must_get(reader, &args[1])?, args.len() == 3)
}

fn mget(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let at = find(args, "filter").ok_or_else(|| wrong_arity("ts.mget"))?;
    let shown = shown(&args[1..at])?;
    let with_open = find(&args[1..at], "latest").is_some();
    let matchers = parse(&args[at + 1..])?;
    let resp3 = reader.context.resp3;
    let (mut map, mut list) = (Vec::new(), Vec::new());
    for (key, labels) in matching(reader, "ts.mget", &matchers)? {
        let series = match reader.get::<Series>(key) {
            Ok(Some(series)) => series,
            Ok(None) | Err(Error::Reply(_)) => continue,
            Err(other) => return Err(other),
        };
        let (labels, newest) = (shown.reply(labels, resp3), newest(reader, key, series, with_open)?);
        if resp3 {
            map.push((Reply::bulk(key), Reply::Array(vec![labels, newest])));
        } else {
            list.push(Reply::Array(vec![Reply::bulk(key), labels, newest]));
        }
    }
    Ok(if resp3 { Reply::Map(map) } else { Reply::Array(list) })
}
