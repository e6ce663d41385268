//! TS.QUERYINDEX filter ..., TS.QUERYLABELS LABELS | VALUES label [FILTER filter ...], and what filters are

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::args::is;
use crate::error::wrong_arity;
use crate::object::Label;
use crate::spec::{Category, Flags, Group, Run, Spec};
use crate::{Error, Matcher, Reader, Reply, Result};

const READ: Spec =
    Spec { flags: Flags::READONLY, category: Category::TIMESERIES, group: Group::Module, ..Spec::DEFAULT };

/// TS.QUERYINDEX
pub(super) static QUERYINDEX: Spec = Spec {
    name: "ts.queryindex",
    arity: -2,
    summary: "The time series whose labels match",
    run: Run::Read(query_index),
    ..READ
};

/// TS.QUERYLABELS
pub(super) static QUERYLABELS: Spec = Spec {
    name: "ts.querylabels",
    arity: -2,
    since: "8.10.0",
    summary: "Names or values of the labels of time series that match",
    run: Run::Read(query_labels),
    ..READ
};

/// The series of the selected database that match, with their labels, by key; an error when the user may not read one of them.
pub(super) fn matching<'a>(
    reader: &Reader<'a>,
    name: &str,
    matchers: &[Matcher],
) -> Result<Vec<(&'a Bytes, &'a [Label])>> {
    let found: Vec<_> = reader.db().map(|db| db.labels().query(matchers, reader.now())).unwrap_or_default();
    if found.iter().all(|(key, _)| may_read(reader, name, key)) {
        return Ok(found);
    }
    Err(Error::reply(
        "ERR TSDB: the current user doesn't have read permission to one or more keys that match the specified filter",
    ))
}

/// The same without those that the user may not read.
fn readable<'a>(reader: &Reader<'a>, name: &str, matchers: &[Matcher]) -> Vec<(&'a Bytes, &'a [Label])> {
    let mut found: Vec<_> = reader.db().map(|db| db.labels().query(matchers, reader.now())).unwrap_or_default();
    found.retain(|(key, _)| may_read(reader, name, key));
    found
}

fn may_read(reader: &Reader<'_>, name: &str, key: &[u8]) -> bool {
    reader.context.permit.as_ref().is_none_or(|permit| permit.may_read(name, key))
}

/// Filters, of which one at least must name a value.
pub(super) fn parse(filters: &[Bytes]) -> Result<Vec<Matcher>> {
    let matchers = filters.iter().map(|filter| matcher(filter)).collect::<Option<Vec<_>>>();
    let matchers = matchers.ok_or(Error::reply("ERR TSDB: failed parsing labels"))?;
    if !matchers.iter().any(|matcher| matches!(matcher, Matcher::Is(..))) {
        return Err(Error::reply("ERR TSDB: please provide at least one matcher"));
    }
    Ok(matchers)
}

fn matcher(filter: &[u8]) -> Option<Matcher> {
    let at = filter.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (&filter[..at], &filter[at + 1..]);
    let (name, negated) = match name {
        [name @ .., b'!'] => (name, true),
        name => (name, false),
    };
    if name.is_empty() {
        return None;
    }
    let name = Bytes::copy_from_slice(name);
    let values = match value {
        b"" if negated => return Some(Matcher::Has(name)),
        b"" => return Some(Matcher::HasNot(name)),
        [b'(', list @ .., b')'] => list.split(|byte| *byte == b',').map(unquoted).collect(),
        [b'(', ..] => return None,
        value => vec![unquoted(value)],
    };
    Some(if negated { Matcher::IsNot(name, values) } else { Matcher::Is(name, values) })
}

/// A value, without the quotes that let it hold spaces.
fn unquoted(value: &[u8]) -> Bytes {
    Bytes::copy_from_slice(match value.trim_ascii() {
        [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => inner,
        value => value,
    })
}

fn query_index(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let found = readable(reader, "ts.queryindex", &parse(&args[1..])?);
    Ok(Reply::Set(found.into_iter().map(|(key, _)| Reply::bulk(key)).collect()))
}

fn query_labels(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let (label, rest) = if is(&args[1], "labels") {
        (None, &args[2..])
    } else if is(&args[1], "values") {
        (Some(args.get(2).ok_or_else(|| wrong_arity("ts.querylabels"))?), &args[3..])
    } else {
        return Err(Error::reply("ERR TSDB: unknown subtype, must be one of LABELS|VALUES"));
    };
    let matchers = match rest {
        [] => Vec::new(),
        [word, ..] if !is(word, "filter") => {
            return Err(Error::reply("ERR TSDB: unknown argument, expected FILTER"));
        }
        [_] => return Err(Error::reply("ERR TSDB: FILTER given with no filter expressions")),
        [_, filters @ ..] => parse(filters)?,
    };
    let found = readable(reader, "ts.querylabels", &matchers);
    let labels = found.into_iter().flat_map(|(_, labels)| labels);
    let texts: BTreeSet<&Bytes> = match label {
        None => labels.map(|(name, _)| name).collect(),
        Some(label) => labels.filter(|(name, _)| name == label).map(|(_, value)| value).collect(),
    };
    Ok(Reply::Set(texts.into_iter().map(Reply::bulk).collect()))
}
