//! TS.ADD key timestamp | * value [options of TS.CREATE] [ON_DUPLICATE policy],
//! TS.MADD key timestamp value [key timestamp value ...],
//! TS.INCRBY key addend [TIMESTAMP timestamp] [options of TS.CREATE], TS.DECRBY likewise

use bytes::Bytes;

use super::{find, options, rule, time};
use crate::args::parse_float;
use crate::error::wrong_arity;
use crate::object::{Added, DuplicatePolicy, Object, Sample, Series, SeriesOptions};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reply, Result, Writer};

const WRITE: Spec = Spec {
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::TIMESERIES,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))],
    group: Group::Module,
    ..Spec::DEFAULT
};

/// TS.ADD
pub(super) static ADD: Spec =
    Spec { name: "ts.add", arity: -4, summary: "Adds a sample to a time series", run: Run::Write(add), ..WRITE };

/// TS.MADD
pub(super) static MADD: Spec = Spec {
    name: "ts.madd",
    arity: -4,
    keys: &[KeySpec::range(1, -1, 3, KeyFlags::RW.union(KeyFlags::INSERT))],
    summary: "Adds samples to time series",
    run: Run::Write(madd),
    ..WRITE
};

/// TS.INCRBY
pub(super) static INCRBY: Spec = Spec {
    name: "ts.incrby",
    arity: -3,
    summary: "Adds a sample that is higher than the newest",
    run: Run::Write(incrby),
    ..WRITE
};

/// TS.DECRBY
pub(super) static DECRBY: Spec = Spec {
    name: "ts.decrby",
    arity: -3,
    summary: "Adds a sample that is lower than the newest",
    run: Run::Write(decrby),
    ..WRITE
};

fn parse(writer: &Writer<'_>, when: &[u8], value: &[u8]) -> Result<Sample> {
    let value = parse_float(value).filter(|value| value.is_finite());
    let value = value.ok_or(Error::reply("ERR TSDB: invalid value"))?;
    let time = match when {
        b"*" => writer.now(),
        when => match crate::args::parse_integer(when) {
            Some(time @ 0..) => time,
            Some(_) => {
                return Err(Error::reply("ERR TSDB: invalid timestamp, must be a nonnegative integer"));
            }
            None => return Err(Error::reply("ERR TSDB: invalid timestamp")),
        },
    };
    Ok(Sample { time, value })
}

/// A series to add to; `None` when the key is absent.
fn target<'a>(writer: &'a Writer<'_>, key: &[u8]) -> Result<Option<&'a Series>> {
    match writer.get::<Series>(key) {
        Err(Error::Reply(_)) => Err(Error::reply("ERR TSDB: the key is not a TSDB key")),
        other => other,
    }
}

fn add(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let key = &args[1];
    let sample = parse(writer, &args[2], &args[3])?;
    let Some(series) = target(writer, key)? else {
        create(writer, key, &args[4..], "ts.add")?;
        return put(writer, key, sample, None, "ts.add");
    };
    let policy = options::policy(&args[4..], "on_duplicate")?;
    if let Some(last) = ignored(series, sample, policy) {
        return Ok(Reply::Integer(last));
    }
    rule::load(writer, key)?;
    put(writer, key, sample, policy, "ts.add")
}

fn create(writer: &mut Writer<'_>, key: &[u8], args: &[Bytes], command: &str) -> Result<()> {
    let mut options = SeriesOptions::default();
    options::parse(args, &mut options, command)?;
    writer.put(key, Series::new(options).into_value(), None)
}

/// The time of the newest sample, when a new one says nothing new.
fn ignored(series: &Series, sample: Sample, policy: Option<DuplicatePolicy>) -> Option<i64> {
    let (ms, difference) = series.options.ignore;
    let last = series.last()?;
    let is_near =
        sample.time >= last.time && sample.time - last.time <= ms && (sample.value - last.value).abs() <= difference;
    let may_be = series.source.is_none() && series.policy(policy) == DuplicatePolicy::Last;
    (may_be && is_near).then_some(last.time)
}

/// Adds a sample and computes what follows from it. The destinations of the series' rules are in memory.
fn put(
    writer: &mut Writer<'_>,
    key: &[u8],
    sample: Sample,
    policy: Option<DuplicatePolicy>,
    event: &'static str,
) -> Result<Reply> {
    let Some(series) = writer.get::<Series>(key)? else { return Err(super::NO_KEY) };
    let (policy, before) = (series.policy(policy), series.last());
    match series.would_add(sample, policy) {
        Added::TooOld => return Err(Error::reply("ERR TSDB: Timestamp is older than retention")),
        Added::Refused => {
            return Err(Error::reply(
                "ERR TSDB: Error at upsert, update is not supported when DUPLICATE_POLICY is set to BLOCK mode",
            ));
        }
        Added::Unchanged => return Ok(Reply::Integer(sample.time)),
        Added::Last | Added::Late => {}
    }
    if let Some(series) = writer.get_mut::<Series>(key)? {
        let added = series.add(sample, policy);
        writer.notify(EventClass::MODULE, event, key);
        rule::feed(writer, key, before, sample, added)?;
    }
    Ok(Reply::Integer(sample.time))
}

fn madd(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (samples, odd) = args[1..].as_chunks::<3>();
    if !odd.is_empty() {
        return Err(wrong_arity("ts.madd"));
    }
    for [key, ..] in samples {
        rule::load(writer, key)?;
    }
    let mut replies = Vec::with_capacity(samples.len());
    for [key, when, value] in samples {
        let added = parse(writer, when, value).and_then(|sample| match target(writer, key)? {
            None => Err(super::NO_KEY),
            Some(series) => match ignored(series, sample, None) {
                Some(last) => Ok(Reply::Integer(last)),
                None => put(writer, key, sample, None, "ts.add"),
            },
        });
        replies.push(match added {
            Ok(reply) => reply,
            Err(Error::Reply(text)) => Reply::Error(text),
            Err(other) => return Err(other),
        });
    }
    Ok(Reply::Array(replies))
}

fn incrby(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    increment(writer, args, 1.0, "ts.incrby")
}

fn decrby(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    increment(writer, args, -1.0, "ts.decrby")
}

fn increment(writer: &mut Writer<'_>, args: &[Bytes], sign: f64, name: &'static str) -> Result<Reply> {
    let key = &args[1];
    let series = writer.get::<Series>(key)?;
    let by = parse_float(&args[2]).filter(|by| by.is_finite());
    let by = sign * by.ok_or(Error::reply("ERR TSDB: invalid increase/decrease value"))?;
    let given = find(&args[3..], "timestamp").map(|at| args.get(at + 4));
    let when = match given {
        None => writer.now(),
        Some(Some(word)) if word.as_ref() == b"*" => writer.now(),
        Some(word) => word.and_then(|word| time(word)).ok_or(Error::reply("ERR TSDB: invalid timestamp"))?,
    };
    let last = series.and_then(Series::last);
    if last.is_some_and(|last| when < last.time) {
        return Err(Error::reply("ERR TSDB: timestamp must be equal to or higher than the maximum existing timestamp"));
    }
    let sample = Sample { time: when, value: last.map_or(0.0, |last| last.value) + by };
    if !sample.value.is_finite() {
        return Err(Error::reply("ERR TSDB: invalid increase/decrease value"));
    }
    if let Some(last) = series.and_then(|series| ignored(series, sample, None)) {
        return Ok(Reply::Integer(last));
    }
    if series.is_none() {
        create(writer, key, &args[3..], name)?;
    } else {
        rule::load(writer, key)?;
    }
    put(writer, key, sample, Some(DuplicatePolicy::Last), name)
}
