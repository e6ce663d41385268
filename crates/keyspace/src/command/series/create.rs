//! TS.CREATE key [RETENTION ms] [ENCODING COMPRESSED | UNCOMPRESSED] [CHUNK_SIZE bytes] [DUPLICATE_POLICY policy]
//! [IGNORE ms difference] [LABELS name value ...], and TS.ALTER with the same

use bytes::Bytes;

use super::{NO_KEY, options};
use crate::object::{Object, Series, SeriesOptions};
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Error, EventClass, Reply, Result, Writer};

/// TS.CREATE
pub(super) static CREATE: Spec = Spec {
    name: "ts.create",
    arity: -2,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::TIMESERIES,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::INSERT))],
    group: Group::Module,
    since: "1.0.0",
    summary: "Makes a time series",
    run: Run::Write(create),
    ..Spec::DEFAULT
};

/// TS.ALTER
pub(super) static ALTER: Spec = Spec {
    name: "ts.alter",
    arity: -2,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    category: Category::TIMESERIES,
    keys: &[KeySpec::one(1, KeyFlags::RW.union(KeyFlags::UPDATE))],
    group: Group::Module,
    since: "1.0.0",
    summary: "Changes the options and labels of a time series",
    run: Run::Write(alter),
    ..Spec::DEFAULT
};

fn create(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let mut options = SeriesOptions::default();
    options::parse(&args[2..], &mut options, "ts.create")?;
    if writer.exists(&args[1])? {
        return Err(Error::reply("ERR TSDB: key already exists"));
    }
    writer.put(&args[1], Series::new(options).into_value(), None)?;
    writer.notify(EventClass::MODULE, "ts.create", &args[1]);
    Ok(Reply::OK)
}

fn alter(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    options::parse(&args[2..], &mut SeriesOptions::default(), "ts.alter")?;
    let mut series = writer.get::<Series>(&args[1])?.ok_or(NO_KEY)?.clone();
    options::parse(&args[2..], &mut series.options, "ts.alter")?;
    // Put, not changed in place: the index of labels is told of what is put.
    writer.replace(&args[1], series.into_value())?;
    writer.notify(EventClass::MODULE, "ts.alter", &args[1]);
    Ok(Reply::OK)
}
