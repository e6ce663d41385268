//! TS.CREATERULE source destination AGGREGATION aggregation bucket [align], TS.DELETERULE source destination,
//! and what rules do
//!
//! A bucket is computed when a sample opens a later one, and again whenever one comes late: from the samples of the
//! source, so that both give the same.

use bytes::Bytes;

use super::{NO_KEY, time};
use crate::args::{is, parse_integer};
use crate::error::wrong_arity;
use crate::object::{Added, Aggregation, DuplicatePolicy, Rule, Sample, Series};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reader, Reply, Result, Writer};

/// TS.CREATERULE
pub(super) static CREATERULE: Spec = Spec {
    name: "ts.createrule",
    arity: -6,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::TIMESERIES,
    keys: &[KeySpec::range(1, 1, 1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Module,
    since: "1.0.0",
    summary: "Lets a time series hold aggregates of another",
    run: Run::Write(create),
    ..Spec::DEFAULT
};

/// TS.DELETERULE
pub(super) static DELETERULE: Spec = Spec {
    name: "ts.deleterule",
    arity: 3,
    flags: Flags::WRITE,
    category: Category::TIMESERIES,
    keys: &[KeySpec::range(1, 1, 1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Module,
    since: "1.0.0",
    summary: "Ends that a time series holds aggregates of another",
    run: Run::Write(delete),
    ..Spec::DEFAULT
};

fn create(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    if args.len() > 7 || !is(&args[3], "aggregation") {
        return Err(wrong_arity("ts.createrule"));
    }
    let bucket_ms = parse_integer(&args[5]).ok_or(Error::reply("ERR TSDB: Couldn't parse AGGREGATION"))?;
    let aggregation = Aggregation::parse(&args[4]).ok_or(Error::reply("ERR TSDB: Unknown aggregation type"))?;
    if bucket_ms <= 0 {
        return Err(Error::reply("ERR TSDB: bucketDuration must be greater than zero"));
    }
    let align = match args.get(6) {
        Some(text) => time(text).ok_or(Error::reply("ERR TSDB: Couldn't parse alignTimestamp"))?,
        None => 0,
    };
    let (from, to) = (&args[1], &args[2]);
    if from == to {
        return Err(Error::reply("ERR TSDB: the source key and destination key should be different"));
    }
    let source = writer.get::<Series>(from)?.ok_or(NO_KEY)?;
    if live_source(&writer.reader(), from, source)?.is_some() {
        return Err(Error::reply("ERR TSDB: the source key already has a source rule"));
    }
    let since = source.last().map_or(0, |last| last.time.saturating_add(1));
    let destination = writer.get::<Series>(to)?.ok_or(NO_KEY)?;
    if !live_rules(&writer.reader(), to, destination)?.is_empty() {
        return Err(Error::reply("ERR TSDB: the destination key already has a dst rule"));
    }
    if live_source(&writer.reader(), to, destination)?.is_some() {
        return Err(Error::reply("ERR TSDB: the destination key already has a src rule"));
    }
    let (source_key, destination) = (Bytes::copy_from_slice(from), Bytes::copy_from_slice(to));
    if let Some(series) = writer.get_mut::<Series>(to)? {
        // What is dead of former rules goes.
        (series.source, series.rules) = (Some(source_key), Vec::new());
    }
    if let Some(series) = writer.get_mut::<Series>(from)? {
        series.source = None;
        series.rules.retain(|rule| rule.destination != destination);
        series.rules.push(Rule { destination, aggregation, bucket_ms, align, since });
    }
    writer.notify(EventClass::MODULE, "ts.createrule:src", from);
    writer.notify(EventClass::MODULE, "ts.createrule:dest", to);
    Ok(Reply::OK)
}

fn delete(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (from, to) = (&args[1], &args[2]);
    let source = writer.get::<Series>(from)?.ok_or(NO_KEY)?;
    if !source.rules.iter().any(|rule| rule.destination == *to) {
        return Err(Error::reply("ERR TSDB: compaction rule does not exist"));
    }
    let destination = writer.get::<Series>(to)?.ok_or(NO_KEY)?;
    let is_bound = destination.source.as_ref() == Some(from);
    if let Some(series) = writer.get_mut::<Series>(from)? {
        series.rules.retain(|rule| rule.destination != *to);
    }
    if is_bound && let Some(series) = writer.get_mut::<Series>(to)? {
        series.source = None;
    }
    writer.notify(EventClass::MODULE, "ts.deleterule:src", from);
    writer.notify(EventClass::MODULE, "ts.deleterule:dest", to);
    Ok(Reply::OK)
}

/// The key that a series holds aggregates of, where that has not gone.
pub(super) fn live_source(reader: &Reader<'_>, key: &[u8], series: &Series) -> Result<Option<Bytes>> {
    let Some(source) = &series.source else { return Ok(None) };
    let is_live = match reader.get::<Series>(source) {
        Ok(found) => found.is_some_and(|found| found.rules.iter().any(|rule| rule.destination == key)),
        Err(Error::Reply(_)) => false,
        Err(other) => return Err(other),
    };
    Ok(is_live.then(|| source.clone()))
}

/// The rules of a series whose destinations have not gone.
pub(super) fn live_rules(reader: &Reader<'_>, key: &[u8], series: &Series) -> Result<Vec<Rule>> {
    let mut live = Vec::new();
    for rule in &series.rules {
        let holds = match reader.get::<Series>(&rule.destination) {
            Ok(found) => found.is_some_and(|found| found.source.as_deref() == Some(key)),
            Err(Error::Reply(_)) => false,
            Err(other) => return Err(other),
        };
        if holds {
            live.push(rule.clone());
        }
    }
    Ok(live)
}

/// The series that name another one, which is about to get another name: they must be in memory then.
pub(in crate::command) fn related(writer: &Writer<'_>, key: &[u8]) -> Result<Vec<Bytes>> {
    let Ok(Some(series)) = writer.get::<Series>(key) else { return Ok(Vec::new()) };
    let rules = series.rules.iter().map(|rule| rule.destination.clone());
    let keys: Vec<Bytes> = rules.chain(series.source.clone()).collect();
    for key in &keys {
        writer.exists(key)?;
    }
    Ok(keys)
}

/// Lets them name it by its new name.
pub(in crate::command) fn renamed(writer: &mut Writer<'_>, from: &[u8], to: &[u8], related: &[Bytes]) -> Result<()> {
    for key in related {
        let names = |series: &Series| {
            series.source.as_deref() == Some(from) || series.rules.iter().any(|rule| rule.destination == from)
        };
        // The one that had the name until now has gone.
        if key == to {
            if let Some(series) = writer.get_mut::<Series>(to)? {
                series.rules.retain(|rule| rule.destination != to);
                series.source.take_if(|source| source == to);
            }
        } else if matches!(writer.get::<Series>(key), Ok(Some(series)) if names(series))
            && let Some(series) = writer.get_mut::<Series>(key)?
        {
            if let Some(source) = series.source.as_mut().filter(|source| *source == from) {
                *source = Bytes::copy_from_slice(to);
            }
            for rule in series.rules.iter_mut().filter(|rule| rule.destination == from) {
                rule.destination = Bytes::copy_from_slice(to);
            }
        }
    }
    Ok(())
}

/// Asks for the destinations of a series' rules, before the first change: they are not among the command's keys.
pub(super) fn load(writer: &Writer<'_>, key: &[u8]) -> Result<()> {
    let Ok(Some(series)) = writer.get::<Series>(key) else { return Ok(()) };
    for rule in &series.rules {
        writer.exists(&rule.destination)?;
    }
    Ok(())
}

/// Whether a series still holds aggregates of `source`.
fn holds(writer: &Writer<'_>, destination: &[u8], source: &[u8]) -> Result<bool> {
    let Some(entry) = writer.entry(destination)? else { return Ok(false) };
    let series = entry.value.as_ref().and_then(<Series as crate::object::Object>::of);
    Ok(series.is_some_and(|series| series.source.as_deref() == Some(source)))
}

/// Does what rules ask for when a sample has come: closes the bucket that it ends, or computes the one that it is late
/// for. `before` was the newest until then.
pub(super) fn feed(
    writer: &mut Writer<'_>,
    key: &[u8],
    before: Option<Sample>,
    sample: Sample,
    added: Added,
) -> Result<()> {
    let Some(series) = writer.get::<Series>(key)? else { return Ok(()) };
    if series.rules.is_empty() {
        return Ok(());
    }
    let mut rules = series.rules.clone();
    let newest = series.last().map_or(sample.time, |last| last.time);
    let mut earlier = false;
    for rule in &mut rules {
        let bucket = rule.bucket(sample.time);
        // A sample from before the rule takes its whole bucket into account.
        if added == Added::Late && sample.time < rule.since && rule.bucket(rule.since) == bucket {
            (rule.since, earlier) = (bucket.max(0), true);
        }
    }
    if earlier && let Some(series) = writer.get_mut::<Series>(key)? {
        series.rules.clone_from(&rules);
    }
    for rule in &rules {
        let bucket = rule.bucket(sample.time);
        let due = match (added, before) {
            (Added::Last, Some(before)) => Some(rule.bucket(before.time)).filter(|closed| *closed < bucket),
            (Added::Late, _) => Some(bucket).filter(|late| *late < rule.bucket(newest)),
            _ => None,
        };
        if let Some(due) = due {
            compute(writer, key, rule, due)?;
        }
    }
    Ok(())
}

/// Computes a bucket and puts it into the destination, or takes it out when nothing is left.
fn compute(writer: &mut Writer<'_>, key: &[u8], rule: &Rule, bucket: i64) -> Result<()> {
    if !holds(writer, &rule.destination, key)? {
        return Ok(());
    }
    let value = writer.get::<Series>(key)?.and_then(|series| rule.value(series, bucket));
    let time = bucket.max(0);
    let Some(destination) = writer.get::<Series>(&rule.destination)? else { return Ok(()) };
    match value {
        Some(value) => {
            let sample = Sample { time, value };
            let would = destination.would_add(sample, DuplicatePolicy::Last);
            if matches!(would, Added::Last | Added::Late)
                && let Some(series) = writer.get_mut::<Series>(&rule.destination)?
            {
                series.add(sample, DuplicatePolicy::Last);
                writer.notify(EventClass::MODULE, "ts.add:dest", &rule.destination);
            }
        }
        None if destination.after(time).is_some_and(|found| found.time == time) => {
            if let Some(series) = writer.get_mut::<Series>(&rule.destination)? {
                series.delete(time, time);
                writer.notify(EventClass::MODULE, "ts.del:dest", &rule.destination);
            }
        }
        None => {}
    }
    Ok(())
}

/// Computes again what was computed of samples that are gone, from one time to another.
pub(super) fn recompute(writer: &mut Writer<'_>, key: &[u8], from: i64, to: i64) -> Result<()> {
    let rules = writer.get::<Series>(key)?.map(|series| series.rules.clone()).unwrap_or_default();
    for rule in &rules {
        if !holds(writer, &rule.destination, key)? {
            continue;
        }
        let mut buckets = Vec::new();
        if let Some(destination) = writer.get::<Series>(&rule.destination)? {
            destination.visit(rule.bucket(from).max(0), to, false, |sample| {
                buckets.push(rule.bucket(sample.time));
                true
            });
        }
        for bucket in buckets {
            compute(writer, key, rule, bucket)?;
        }
    }
    Ok(())
}
