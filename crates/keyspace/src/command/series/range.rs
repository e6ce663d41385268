//! TS.RANGE key from to [LATEST] [FILTER_BY_TS time ...] [FILTER_BY_VALUE min max] [COUNT count] [[ALIGN align]
//! AGGREGATION aggregation bucket [BUCKETTIMESTAMP which] [EMPTY]], and TS.REVRANGE

use bytes::Bytes;

use super::query::{Query, Reverse};
use super::{latest, must_get, value};
use crate::object::Row;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Reader, Reply, Result};

const READ: Spec = Spec {
    arity: -4,
    flags: Flags::READONLY,
    category: Category::TIMESERIES,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::Module,
    ..Spec::DEFAULT
};

/// TS.RANGE
pub(super) static RANGE: Spec =
    Spec { name: "ts.range", summary: "The samples of a span of time", run: Run::Read(range), ..READ };

/// TS.REVRANGE
pub(super) static REVRANGE: Spec = Spec {
    name: "ts.revrange",
    since: "1.4.0",
    summary: "The samples of a span of time, from the newest on",
    run: Run::Read(revrange),
    ..READ
};

fn range(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    run(reader, args, "ts.range", false)
}

fn revrange(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    run(reader, args, "ts.revrange", true)
}

fn run(reader: &Reader<'_>, args: &[Bytes], name: &str, reverse: Reverse) -> Result<Reply> {
    let series = must_get(reader, &args[1])?;
    let query = Query::parse(&args[2..], 1, name)?;
    let open = if query.latest { latest(reader, &args[1], series)? } else { None };
    let found = query.run(series, open, 0, reverse, query.count)?;
    Ok(rows(found, reader.context.resp3))
}

/// Rows, as replies have them: each a time and its values.
pub(super) fn rows(rows: Vec<Row>, resp3: bool) -> Reply {
    let row = |(time, values): Row| {
        let values = values.into_iter().map(|each| value(each, resp3));
        Reply::Array([Reply::Integer(time)].into_iter().chain(values).collect())
    };
    Reply::Array(rows.into_iter().map(row).collect())
}
