//! What a range of a series is asked for: TS.RANGE and its like.

use bytes::Bytes;
use smallvec::smallvec;

use super::{find, time};
use crate::args::{is, parse_float, parse_integer};
use crate::error::wrong_arity;
use crate::object::{Aggregation, Buckets, ROWS_MAX, Row, Sample, Series};
use crate::{Error, Result};

/// Which time of a bucket is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Begin,
    Middle,
    End,
}

/// A range as asked for.
#[derive(Clone, Debug)]
pub(super) struct Query {
    /// `None`: from the first sample.
    from: Option<i64>,
    /// `None`: to the last sample.
    to: Option<i64>,
    /// Whether the bucket of a source that is not closed is computed, too.
    pub(super) latest: bool,
    times: Option<Vec<i64>>,
    values: Option<(f64, f64)>,
    /// Rows at most.
    pub(super) count: Option<usize>,
    /// What is computed, each word by itself: one for TS.RANGE, one for each key for TS.NRANGE.
    pub(super) aggregations: Vec<Vec<Aggregation>>,
    bucket_ms: i64,
    align: i64,
    empty: bool,
    mark: Mark,
}

/// The range begins at its end.
pub(super) type Reverse = bool;

impl Query {
    /// From the two times and the options behind them. `words`: how many words name aggregations.
    pub(super) fn parse(args: &[Bytes], words: usize, command: &str) -> Result<Self> {
        let [from, to, rest @ ..] = args else { return Err(wrong_arity(command)) };
        let parse = |text: &Bytes, open: &[u8], wrong| {
            if text.as_ref() == open {
                return Ok(None);
            }
            time(text).map(Some).ok_or(Error::reply(wrong))
        };
        let mut query = Query {
            from: parse(from, b"-", "ERR TSDB: wrong fromTimestamp")?,
            to: parse(to, b"+", "ERR TSDB: wrong toTimestamp")?,
            latest: find(rest, "latest").is_some(),
            times: None,
            values: None,
            count: None,
            aggregations: Vec::new(),
            bucket_ms: 1,
            align: 0,
            empty: false,
            mark: Mark::Begin,
        };
        let aggregation = find(rest, "aggregation");
        // `count` may also be what is computed.
        let counts = rest.iter().enumerate().filter(|(_, word)| is(word, "count"));
        let inside = |at: usize| aggregation.is_some_and(|from| (from + 1..=from + words).contains(&at));
        if let Some((at, _)) = { counts }.find(|(at, _)| !inside(*at)) {
            let count = rest.get(at + 1).ok_or(Error::reply("ERR TSDB: COUNT argument is missing"))?;
            let count = parse_integer(count).ok_or(Error::reply("ERR TSDB: Couldn't parse COUNT"))?;
            let count = usize::try_from(count).ok().filter(|count| *count > 0);
            query.count = Some(count.ok_or(Error::reply("ERR TSDB: Invalid COUNT value"))?);
        }
        if let Some(at) = aggregation {
            query.parse_aggregation(&rest[at + 1..], words)?;
        }
        query.parse_align(rest, command)?;
        query.parse_filters(rest)?;
        Ok(query)
    }

    fn parse_aggregation(&mut self, rest: &[Bytes], words: usize) -> Result<()> {
        let names = rest.get(..words).ok_or(Error::reply("ERR TSDB: Couldn't parse AGGREGATION"))?;
        let bucket = rest.get(words).and_then(|text| parse_integer(text));
        let bucket = bucket.ok_or(Error::reply("ERR TSDB: Couldn't parse AGGREGATION"))?;
        for word in names {
            let kinds = word.split(|byte| *byte == b',').map(Aggregation::parse);
            let kinds = kinds.collect::<Option<Vec<_>>>().ok_or(Error::reply("ERR TSDB: Unknown aggregation type"))?;
            self.aggregations.push(kinds);
        }
        if bucket <= 0 {
            return Err(Error::reply("ERR TSDB: bucketDuration must be greater than zero"));
        }
        self.bucket_ms = bucket;
        let rest = &rest[words + 1..];
        self.empty = find(rest, "empty").is_some();
        if let Some(at) = find(rest, "buckettimestamp") {
            self.mark = match rest.get(at + 1) {
                Some(word) if is(word, "-") || is(word, "start") || is(word, "low") => Mark::Begin,
                Some(word) if is(word, "+") || is(word, "end") || is(word, "high") => Mark::End,
                Some(word) if is(word, "~") || is(word, "mid") => Mark::Middle,
                _ => return Err(Error::reply("ERR TSDB: unknown BUCKETTIMESTAMP parameter")),
            };
        }
        Ok(())
    }

    fn parse_align(&mut self, rest: &[Bytes], command: &str) -> Result<()> {
        let Some(at) = find(rest, "align") else { return Ok(()) };
        let word = rest.get(at + 1).ok_or_else(|| wrong_arity(command))?;
        let (start, end) = (is(word, "start") || is(word, "-"), is(word, "end") || is(word, "+"));
        let given = time(word);
        if !start && !end && given.is_none() {
            return Err(Error::reply("ERR TSDB: unknown ALIGN parameter"));
        }
        if self.aggregations.is_empty() {
            return Err(Error::reply("ERR TSDB: ALIGN parameter can only be used with AGGREGATION"));
        }
        self.align = match (start, end) {
            (true, _) => self
                .from
                .ok_or(Error::reply("ERR TSDB: start alignment can only be used with explicit start timestamp"))?,
            (_, true) => {
                self.to.ok_or(Error::reply("ERR TSDB: end alignment can only be used with explicit end timestamp"))?
            }
            _ => given.unwrap_or(0),
        };
        Ok(())
    }

    fn parse_filters(&mut self, rest: &[Bytes]) -> Result<()> {
        if let Some(at) = find(rest, "filter_by_value") {
            let (Some(min), Some(max)) = (rest.get(at + 1), rest.get(at + 2)) else {
                return Err(Error::reply("ERR TSDB: FILTER_BY_VALUE one or more arguments are missing"));
            };
            let min = parse_float(min).ok_or(Error::reply("ERR TSDB: Couldn't parse MIN"))?;
            let max = parse_float(max).ok_or(Error::reply("ERR TSDB: Couldn't parse MAX"))?;
            self.values = Some((min, max));
        }
        if let Some(at) = find(rest, "filter_by_ts") {
            let mut times: Vec<i64> = rest[at + 1..].iter().map_while(|text| time(text)).collect();
            if times.is_empty() {
                return Err(Error::reply("ERR TSDB: FILTER_BY_TS one or more arguments are missing"));
            }
            times.sort_unstable();
            self.times = Some(times);
        }
        Ok(())
    }

    fn wants(&self, sample: Sample) -> bool {
        self.values.is_none_or(|(min, max)| (min..=max).contains(&sample.value))
            && self.times.as_ref().is_none_or(|times| times.binary_search(&sample.time).is_ok())
    }

    /// The rows of a series, at most `count`. `open` stands behind its last sample: the bucket that is not closed.
    /// `at`: which word of AGGREGATION is computed.
    pub(super) fn run(
        &self,
        series: &Series,
        open: Option<Sample>,
        at: usize,
        reverse: Reverse,
        count: Option<usize>,
    ) -> Result<Vec<Row>> {
        let last = open.or(series.last());
        let open = open.filter(|open| series.last().is_none_or(|last| last.time < open.time));
        let (from, to) = (self.from.unwrap_or(0), self.to.or(last.map(|last| last.time)).unwrap_or(0));
        let open = open.filter(|open| (from..=to).contains(&open.time));
        let limit = count.unwrap_or(usize::MAX);
        let mut rows: Vec<Row> = Vec::new();
        let Some(kinds) = self.aggregations.get(at) else {
            let mut visit = |sample: Sample| {
                if self.wants(sample) {
                    rows.push((sample.time, smallvec![sample.value]));
                }
                rows.len() < limit.min(ROWS_MAX)
            };
            if !reverse || open.is_none_or(&mut visit) {
                series.visit(from, to, reverse, &mut visit);
            }
            if !reverse && let Some(open) = open.filter(|_| rows.len() < limit) {
                rows.extend(self.wants(open).then(|| (open.time, smallvec![open.value])));
            }
            return full(rows, limit);
        };
        let buckets = Buckets { kinds: kinds.clone(), bucket_ms: self.bucket_ms, align: self.align, empty: self.empty };
        let before = series.before(from).filter(|sample| self.wants(*sample));
        let after = series.after(to.saturating_add(1)).filter(|sample| self.wants(*sample) && sample.time > to);
        // Backwards all must be computed before the first is known.
        let limit_here = if reverse { ROWS_MAX } else { limit.min(ROWS_MAX) };
        buckets.run(
            |push| {
                let mut goes_on = true;
                series.visit(from, to, false, |sample| {
                    goes_on = !self.wants(sample) || push(sample);
                    goes_on
                });
                if goes_on && let Some(open) = open.filter(|open| self.wants(*open)) {
                    push(open);
                }
            },
            (before, after),
            (from, to),
            |row| {
                rows.push(row);
                rows.len() < limit_here
            },
        );
        let mut rows = full(rows, limit)?;
        for (time, _) in &mut rows {
            *time = time.max(&mut 0).saturating_add(match self.mark {
                Mark::Begin => 0,
                Mark::Middle => self.bucket_ms / 2,
                Mark::End => self.bucket_ms,
            });
        }
        if reverse {
            rows.reverse();
            rows.truncate(limit);
        }
        Ok(rows)
    }
}

/// More rows than a reply can have are an error, not a part of the truth.
fn full(rows: Vec<Row>, limit: usize) -> Result<Vec<Row>> {
    if rows.len() >= ROWS_MAX && limit > ROWS_MAX {
        return Err(Error::reply("ERR TSDB: the range has too many samples or buckets for one reply"));
    }
    Ok(rows)
}
