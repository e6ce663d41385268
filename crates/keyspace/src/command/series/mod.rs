//! Time series.

mod add;
mod create;
mod delete;
mod get;
mod info;
mod labels;
mod many;
mod narrow;
mod options;
mod query;
mod range;
mod read;
mod rule;

pub(super) use rule::{related, renamed};

use std::borrow::Cow;

use bytes::Bytes;

use crate::args::{format_float, is, parse_integer};
use crate::object::{Label, Sample, Series};
use crate::spec::Spec;
use crate::{Error, Reader, Reply, Result};

/// The commands of this group.
pub(super) static COMMANDS: &[&Spec] = &[
    &add::ADD,
    &add::DECRBY,
    &add::INCRBY,
    &add::MADD,
    &create::ALTER,
    &create::CREATE,
    &delete::DEL,
    &get::GET,
    &get::MGET,
    &info::INFO,
    &labels::QUERYINDEX,
    &labels::QUERYLABELS,
    &many::MRANGE,
    &many::MREVRANGE,
    &narrow::NRANGE,
    &narrow::NREVRANGE,
    &range::RANGE,
    &range::REVRANGE,
    &read::READ,
    &rule::CREATERULE,
    &rule::DELETERULE,
];

const NO_KEY: Error = Error::Reply(Cow::Borrowed("ERR TSDB: the key does not exist"));

/// Where a word stands, in any case.
fn find(args: &[Bytes], word: &str) -> Option<usize> {
    args.iter().position(|arg| is(arg, word))
}

/// A time as clients give it: milliseconds since 1970 UTC, not negative.
fn time(text: &[u8]) -> Option<i64> {
    parse_integer(text).filter(|time| *time >= 0)
}

/// A value, as replies have it.
fn value(value: f64, resp3: bool) -> Reply {
    if resp3 {
        return Reply::Double(value);
    }
    Reply::Status(if value.is_nan() { "NaN".into() } else { format_float(value).into() })
}

fn sample(sample: Sample, resp3: bool) -> Reply {
    Reply::Array(vec![Reply::Integer(sample.time), value(sample.value, resp3)])
}

/// Labels, as replies have them.
fn labels_reply<'a>(labels: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>, resp3: bool) -> Reply {
    let text = |value: Option<&[u8]>| value.map_or(Reply::Null, Reply::bulk);
    let pairs = labels.map(|(name, value)| (Reply::bulk(name), text(value)));
    if resp3 {
        Reply::Map(pairs.collect())
    } else {
        Reply::Array(pairs.map(|(name, value)| Reply::Array(vec![name, value])).collect())
    }
}

/// Which labels a reply has.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shown {
    None,
    All,
    Some(Vec<Bytes>),
}

impl Shown {
    fn reply(&self, labels: &[Label], resp3: bool) -> Reply {
        match self {
            Shown::None => labels_reply(std::iter::empty(), resp3),
            Shown::All => labels_reply(labels.iter().map(|(name, value)| (&**name, Some(&**value))), resp3),
            Shown::Some(names) => {
                let value = |name: &Bytes| labels.iter().find(|(label, _)| label.eq_ignore_ascii_case(name));
                labels_reply(names.iter().map(|name| (&**name, value(name).map(|(_, value)| &**value))), resp3)
            }
        }
    }
}

/// A series that must be there.
fn must_get<'a>(reader: &Reader<'a>, key: &[u8]) -> Result<&'a Series> {
    reader.get(key)?.ok_or(NO_KEY)
}

/// What the bucket that is not yet closed of a series' source amounts to; `None` when it is no aggregate.
fn latest(reader: &Reader<'_>, key: &[u8], series: &Series) -> Result<Option<Sample>> {
    let Some(source) = &series.source else { return Ok(None) };
    let Some(source) = reader.get::<Series>(source)? else { return Ok(None) };
    let rule = source.rules.iter().find(|rule| rule.destination == key);
    Ok(rule.zip(source.last()).and_then(|(rule, last)| {
        let bucket = rule.bucket(last.time);
        let value = rule.value(source, bucket)?;
        Some(Sample { time: bucket.max(0), value })
    }))
}

#[cfg(test)]
mod tests;
