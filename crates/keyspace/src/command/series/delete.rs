//! TS.DEL key from to

use bytes::Bytes;

use super::{NO_KEY, rule, time};
use crate::object::Series;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reply, Result, Writer};

/// TS.DEL
pub(super) static DEL: Spec = Spec {
    name: "ts.del",
    arity: 4,
    flags: Flags::WRITE,
    category: Category::TIMESERIES,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::DELETE))],
    group: Group::Module,
    since: "1.6.0",
    summary: "Removes the samples of a span of time",
    run: Run::Write(delete),
    ..Spec::DEFAULT
};

fn delete(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let key = &args[1];
    let from = if args[2].as_ref() == b"-" { Some(0) } else { time(&args[2]) };
    let from = from.ok_or(Error::reply("ERR TSDB: wrong fromTimestamp"))?;
    let to = if args[3].as_ref() == b"+" { Some(i64::MAX) } else { time(&args[3]) };
    let to = to.ok_or(Error::reply("ERR TSDB: wrong toTimestamp"))?;
    let series = writer.get::<Series>(key)?.ok_or(NO_KEY)?;
    // What is over cannot be computed again.
    let kept = series.kept_from();
    if series.rules.iter().any(|rule| from < kept || rule.bucket(from).max(0) < kept) {
        return Err(Error::reply(
            "ERR TSDB: Can't delete an event which is older than retention time, in such case no valid way to update the downsample",
        ));
    }
    rule::load(writer, key)?;
    let series = writer.get::<Series>(key)?.ok_or(NO_KEY)?;
    if series.after(from).is_none_or(|sample| sample.time > to) {
        return Ok(Reply::Integer(0));
    }
    let Some(series) = writer.get_mut::<Series>(key)? else { return Err(NO_KEY) };
    let count = series.delete(from, to);
    writer.notify(EventClass::MODULE, "ts.del", key);
    rule::recompute(writer, key, from, to)?;
    Ok(Reply::count(count))
}
