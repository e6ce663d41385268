//! Time series.
//!
//! ```text
//! blocks  [ 1..512 | 513..1,024 | … ]   compressed, decoded only when read
//! open    [ …, the newest ]             plain
//! ```
//!
//! Samples stand in the order of time. A late one goes to where it belongs: into the open part, or into its block, which is
//! written again. Rules say which series hold aggregates of this one; what they compute is read from here, so a late
//! sample gives what a timely one would have given.

mod aggregate;
mod block;

use std::sync::Arc;

use bytes::Bytes;
use perigee_types::row::{get_bytes, get_varint, put_bytes, put_varint};

pub use self::aggregate::{Aggregation, Buckets, ROWS_MAX, Row, bucket_start};
use self::block::Block;
use super::{Object, Value};

/// A value at a time: milliseconds since 1970 UTC, never negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When.
    pub time: i64,
    /// How much.
    pub value: f64,
}

/// What becomes of a sample when there is one at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuplicatePolicy {
    /// It is refused.
    Block,
    /// It is dropped.
    First,
    /// It replaces the other.
    Last,
    /// The lower value stays.
    Min,
    /// The higher value stays.
    Max,
    /// Both are added.
    Sum,
}

impl DuplicatePolicy {
    const ALL: [(DuplicatePolicy, &'static str); 6] = [
        (DuplicatePolicy::Block, "block"),
        (DuplicatePolicy::First, "first"),
        (DuplicatePolicy::Last, "last"),
        (DuplicatePolicy::Min, "min"),
        (DuplicatePolicy::Max, "max"),
        (DuplicatePolicy::Sum, "sum"),
    ];

    /// By its name, in any case.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| crate::args::is(name, known)).map(|(policy, _)| *policy)
    }

    /// Its name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(policy, _)| *policy == self).map_or("", |(_, name)| name)
    }

    /// The value that stays; `None` where the new one is refused.
    fn resolve(self, old: f64, new: f64) -> Option<f64> {
        Some(match self {
            DuplicatePolicy::Block => return None,
            DuplicatePolicy::First => old,
            DuplicatePolicy::Last => new,
            DuplicatePolicy::Min => old.min(new),
            DuplicatePolicy::Max => old.max(new),
            DuplicatePolicy::Sum => old + new,
        })
    }
}

/// Where aggregates of a series go.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The key of the series that gets them.
    pub destination: Bytes,
    /// What is computed.
    pub aggregation: Aggregation,
    /// Milliseconds of a bucket.
    pub bucket_ms: i64,
    /// A time at which a bucket begins.
    pub align: i64,
    /// Samples before this were there before the rule.
    pub since: i64,
}

impl Rule {
    /// When the bucket of a time begins.
    #[must_use]
    pub fn bucket(&self, time: i64) -> i64 {
        bucket_start(time, self.bucket_ms, self.align)
    }

    /// What a bucket of its source amounts to; `None` for no samples.
    #[must_use]
    pub fn value(&self, source: &Series, bucket: i64) -> Option<f64> {
        let end = bucket.saturating_add(self.bucket_ms);
        let begin = if (bucket..end).contains(&self.since) { self.since } else { bucket };
        aggregate::of_bucket(source, self.aggregation, begin.max(0), end)
    }
}

/// A name and a value that describe a series.
pub type Label = (Bytes, Bytes);

/// What TS.CREATE and TS.ALTER set.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesOptions {
    /// Milliseconds before the newest sample that are kept; zero: all.
    pub retention_ms: i64,
    /// Bytes of a chunk as clients name them; sets how many samples a block has.
    pub chunk_bytes: i64,
    /// Whether ENCODING is COMPRESSED: closed blocks are smaller, and slower to read.
    pub is_compressed: bool,
    /// `None`: as the server has it.
    pub policy: Option<DuplicatePolicy>,
    /// A sample this near to the newest one in time (milliseconds) and value is ignored.
    pub ignore: (i64, f64),
    /// In the order given.
    pub labels: Vec<Label>,
}

impl Default for SeriesOptions {
    fn default() -> Self {
        Self {
            retention_ms: 0,
            chunk_bytes: 4_096,
            is_compressed: true,
            policy: None,
            ignore: (0, 0.0),
            labels: Vec::new(),
        }
    }
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is the newest.
    Last,
    /// It stands between others, or has changed one.
    Late,
    /// Nothing has changed.
    Unchanged,
    /// There is one at its time.
    Refused,
    /// It is older than is kept.
    TooOld,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// See [`SeriesOptions`].
    pub options: SeriesOptions,
    /// The key of the series that this one holds aggregates of.
    pub source: Option<Bytes>,
    /// Where aggregates of this one go.
    pub rules: Vec<Rule>,
    blocks: Vec<Block>,
    open: Vec<Sample>,
    /// Samples in blocks.
    closed: usize,
    /// Bytes of blocks.
    bytes: usize,
    last: Option<Sample>,
}

impl Series {
    /// An empty one.
    #[must_use]
    pub fn new(options: SeriesOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// Samples of a closed block.
    fn block_len(&self) -> usize {
        usize::try_from(self.options.chunk_bytes / 8).unwrap_or(0).clamp(256, 1_024)
    }

    /// The newest sample.
    #[must_use]
    pub fn last(&self) -> Option<Sample> {
        self.last
    }

    /// The oldest sample that is kept.
    #[must_use]
    pub fn first(&self) -> Option<Sample> {
        self.after(0)
    }

    /// The time before which samples are over.
    #[must_use]
    pub fn kept_from(&self) -> i64 {
        match (self.options.retention_ms, self.last) {
            (1.., Some(last)) => last.time.saturating_sub(self.options.retention_ms).max(0),
            _ => 0,
        }
    }

    /// How many samples are kept.
    #[must_use]
    pub fn count(&self) -> usize {
        let from = self.kept_from();
        let whole = self.blocks.partition_point(|block| block.last < from);
        let over: usize = self.blocks[..whole].iter().map(|block| block.len()).sum();
        let within = self.blocks.get(whole).filter(|block| block.first < from);
        let within = within.map_or(0, |block| block.decode().partition_point(|sample| sample.time < from));
        let open = self.open.partition_point(|sample| sample.time < from);
        self.closed + self.open.len() - over - within - open
    }

    /// Chunks as TS.INFO counts and shows them: first and last time, samples, bytes.
    #[must_use]
    pub fn chunks(&self) -> Vec<(i64, i64, usize, usize)> {
        let closed = self.blocks.iter().map(|block| (block.first, block.last, block.len(), block.bytes()));
        let times = self.open.first().zip(self.open.last());
        let open = times.map(|(first, last)| (first.time, last.time, self.open.len(), self.open.len() * 16));
        let all: Vec<_> = closed.chain(open).collect();
        if all.is_empty() { vec![(0, 0, 0, 0)] } else { all }
    }

    /// Visits samples from one time to another, both included, or backwards, until `visit` says no. What is over is left
    /// out.
    pub fn visit(&self, from: i64, to: i64, reverse: bool, visit: impl FnMut(Sample) -> bool) {
        self.walk(from.max(self.kept_from()), to, reverse, visit);
    }

    /// The same with what is over and still there: what rules have not computed yet.
    fn walk(&self, from: i64, to: i64, reverse: bool, mut visit: impl FnMut(Sample) -> bool) {
        if from > to {
            return;
        }
        let start = self.blocks.partition_point(|block| block.last < from);
        let end = self.blocks.partition_point(|block| block.first <= to).max(start);
        let inside = |samples: &[Sample]| {
            samples.partition_point(|sample| sample.time < from)..samples.partition_point(|sample| sample.time <= to)
        };
        let open = &self.open[inside(&self.open)];
        if reverse {
            if !open.iter().rev().all(|sample| visit(*sample)) {
                return;
            }
            for block in self.blocks[start..end].iter().rev() {
                let samples = block.decode();
                if !samples[inside(&samples)].iter().rev().all(|sample| visit(*sample)) {
                    return;
                }
            }
        } else {
            for block in &self.blocks[start..end] {
                let samples = block.decode();
                if !samples[inside(&samples)].iter().all(|sample| visit(*sample)) {
                    return;
                }
            }
            open.iter().all(|sample| visit(*sample));
        }
    }

    /// The first sample at a time or behind it.
    #[must_use]
    pub fn after(&self, time: i64) -> Option<Sample> {
        let mut found = None;
        self.visit(time, i64::MAX, false, |sample| {
            found = Some(sample);
            false
        });
        found
    }

    /// The last sample before a time.
    #[must_use]
    pub fn before(&self, time: i64) -> Option<Sample> {
        let mut found = None;
        self.visit(0, time.checked_sub(1)?, true, |sample| {
            found = Some(sample);
            false
        });
        found
    }

    /// The policy that holds for a new sample.
    #[must_use]
    pub fn policy(&self, given: Option<DuplicatePolicy>) -> DuplicatePolicy {
        given.or(self.options.policy).unwrap_or(DuplicatePolicy::Block)
    }

    /// What [`Series::add`] would do, without doing it.
    #[must_use]
    pub fn would_add(&self, sample: Sample, policy: DuplicatePolicy) -> Added {
        let Some(last) = self.last else { return Added::Last };
        if sample.time > last.time {
            return Added::Last;
        }
        if sample.time < self.kept_from() {
            return Added::TooOld;
        }
        let found = self.after(sample.time).filter(|found| found.time == sample.time);
        match found.map(|found| (found.value, policy.resolve(found.value, sample.value))) {
            None => Added::Late,
            Some((_, None)) => Added::Refused,
            Some((old, Some(new))) if old.to_bits() == new.to_bits() => Added::Unchanged,
            Some(_) => Added::Late,
        }
    }

    /// Adds a sample.
    pub fn add(&mut self, sample: Sample, policy: DuplicatePolicy) -> Added {
        let added = self.would_add(sample, policy);
        match added {
            Added::Last => {
                self.open.push(sample);
                self.last = Some(sample);
                self.close();
                self.forget();
            }
            Added::Late => self.put_late(sample, policy),
            _ => {}
        }
        added
    }

    fn put_late(&mut self, sample: Sample, policy: DuplicatePolicy) {
        let at = self.blocks.partition_point(|block| block.last < sample.time);
        if at < self.blocks.len() {
            let mut samples = self.blocks[at].decode();
            put(&mut samples, sample, policy);
            self.replace(at..at + 1, &samples);
        } else {
            put(&mut self.open, sample, policy);
            self.close();
        }
        self.update_last();
    }

    /// Writes some blocks again, as one or two.
    fn replace(&mut self, blocks: std::ops::Range<usize>, samples: &[Sample]) {
        let limit = self.block_len() * 5 / 4;
        let parts = samples.len().div_ceil(limit).max(1);
        let new: Vec<Block> = {
            let is_compressed = self.options.is_compressed;
            let block = |samples| Block::new(samples, is_compressed);
            samples.chunks(samples.len().div_ceil(parts).max(1)).map(block).collect()
        };
        let count = |blocks: &[Block]| blocks.iter().map(|block| (block.len(), block.bytes())).collect::<Vec<_>>();
        for (samples, bytes) in count(&new) {
            (self.closed, self.bytes) = (self.closed + samples, self.bytes + bytes);
        }
        for (samples, bytes) in count(&self.blocks[blocks.clone()]) {
            (self.closed, self.bytes) = (self.closed - samples, self.bytes - bytes);
        }
        self.blocks.splice(blocks, new);
    }

    /// Compresses the oldest open samples when there are enough. Some stay open, so that those a little late cost nothing.
    fn close(&mut self) {
        let len = self.block_len();
        if self.open.len() < len * 5 / 4 {
            return;
        }
        let rest = self.open.split_off(len);
        let samples = std::mem::replace(&mut self.open, rest);
        let end = self.blocks.len();
        self.replace(end..end, &samples);
    }

    /// Drops blocks of which nothing is kept. What a rule has still to compute stays.
    fn forget(&mut self) {
        let Some(last) = self.last else { return };
        let open = self.rules.iter().map(|rule| rule.bucket(last.time)).min();
        let from = self.kept_from().min(open.unwrap_or(i64::MAX));
        let over = self.blocks.partition_point(|block| block.last < from);
        if over > 0 {
            self.replace(0..over, &[]);
        }
    }

    fn update_last(&mut self) {
        let closed = || self.blocks.last().and_then(|block| block.decode().last().copied());
        self.last = self.open.last().copied().or_else(closed);
    }

    /// Removes the samples from one time to another, both included; says how many.
    pub fn delete(&mut self, from: i64, to: i64) -> usize {
        if from > to {
            return 0;
        }
        let before = self.closed + self.open.len();
        let start = self.blocks.partition_point(|block| block.last < from);
        let end = self.blocks.partition_point(|block| block.first <= to).max(start);
        if start < end {
            let mut left: Vec<Sample> = self.blocks[start].decode();
            if end - start > 1 {
                left.extend(self.blocks[end - 1].decode());
            }
            left.retain(|sample| sample.time < from || sample.time > to);
            self.replace(start..end, &left);
        }
        self.open.retain(|sample| sample.time < from || sample.time > to);
        self.update_last();
        before - self.closed - self.open.len()
    }
}

/// Puts a sample where it belongs.
fn put(samples: &mut Vec<Sample>, sample: Sample, policy: DuplicatePolicy) {
    let at = samples.partition_point(|other| other.time < sample.time);
    match samples.get_mut(at) {
        Some(other) if other.time == sample.time => {
            other.value = policy.resolve(other.value, sample.value).unwrap_or(other.value);
        }
        _ => samples.insert(at, sample),
    }
}

const VERSION: u8 = 1;

impl Object for Series {
    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::Series(object) => Some(object),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::Series(object) => Some(Arc::make_mut(object)),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::Series(Arc::new(self))
    }

    /// A series without samples is one.
    fn is_empty(&self) -> bool {
        false
    }

    fn memory(&self) -> usize {
        let labels = &self.options.labels;
        size_of::<Self>()
            + self.bytes
            + self.blocks.len() * size_of::<Block>()
            + self.open.len() * size_of::<Sample>()
            + self.rules.len() * size_of::<Rule>()
            + labels.iter().map(|(name, value)| name.len() + value.len() + size_of::<Label>()).sum::<usize>()
    }

    fn encoding(&self) -> &'static str {
        "raw"
    }

    /// version | options: retention, chunk bytes, compressed, policy (0 none), ignore time, ignore value; labels: count, each
    /// | source (empty none) | rules: count, each | blocks: count, each: samples, first, last, bytes | open: count, each.
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        let options = &self.options;
        put_varint(options.retention_ms as u64, out);
        put_varint(options.chunk_bytes as u64, out);
        out.push(u8::from(options.is_compressed));
        let policy = DuplicatePolicy::ALL.iter().position(|(policy, _)| Some(*policy) == options.policy);
        out.push(policy.map_or(0, |at| at as u8 + 1));
        put_varint(options.ignore.0 as u64, out);
        out.extend_from_slice(&options.ignore.1.to_le_bytes());
        put_varint(options.labels.len() as u64, out);
        for (name, value) in &options.labels {
            put_bytes(name, out);
            put_bytes(value, out);
        }
        put_bytes(self.source.as_deref().unwrap_or_default(), out);
        out.push(u8::from(self.source.is_some()));
        put_varint(self.rules.len() as u64, out);
        for rule in &self.rules {
            put_bytes(&rule.destination, out);
            put_bytes(rule.aggregation.name().as_bytes(), out);
            for number in [rule.bucket_ms, rule.align, rule.since] {
                put_varint(number as u64, out);
            }
        }
        put_varint(self.blocks.len() as u64, out);
        self.blocks.iter().for_each(|block| block.encode(out));
        put_varint(self.open.len() as u64, out);
        for sample in &self.open {
            put_varint(sample.time as u64, out);
            out.extend_from_slice(&sample.value.to_le_bytes());
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, mut rest) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        let rest = &mut rest;
        let mut series = Series { options: decode_options(rest)?, ..Series::default() };
        let source = Bytes::copy_from_slice(get_bytes(rest).ok()?);
        series.source = (byte(rest)? != 0).then_some(source);
        for _ in 0..get_varint(rest).ok()? {
            series.rules.push(Rule {
                destination: Bytes::copy_from_slice(get_bytes(rest).ok()?),
                aggregation: Aggregation::parse(get_bytes(rest).ok()?)?,
                bucket_ms: time(rest).filter(|bucket| *bucket > 0)?,
                align: time(rest)?,
                since: time(rest)?,
            });
        }
        for _ in 0..get_varint(rest).ok()? {
            let block = Block::decode_from(rest)?;
            if series.blocks.last().is_some_and(|before| before.last >= block.first) {
                return None;
            }
            (series.closed, series.bytes) = (series.closed + block.len(), series.bytes + block.bytes());
            series.blocks.push(block);
        }
        for _ in 0..get_varint(rest).ok()? {
            let sample = Sample { time: time(rest)?, value: float(rest)? };
            let before = series.open.last().map(|sample| sample.time).or(series.blocks.last().map(|block| block.last));
            if before.is_some_and(|before| before >= sample.time) {
                return None;
            }
            series.open.push(sample);
        }
        series.update_last();
        rest.is_empty().then_some(series)
    }
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (first, behind) = rest.split_first()?;
    *rest = behind;
    Some(*first)
}

fn time(rest: &mut &[u8]) -> Option<i64> {
    i64::try_from(get_varint(rest).ok()?).ok()
}

fn float(rest: &mut &[u8]) -> Option<f64> {
    let (bytes, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(f64::from_le_bytes(*bytes))
}

fn decode_options(rest: &mut &[u8]) -> Option<SeriesOptions> {
    let mut options = SeriesOptions {
        retention_ms: time(rest)?,
        chunk_bytes: time(rest)?,
        is_compressed: byte(rest)? != 0,
        policy: match byte(rest)? {
            0 => None,
            at => Some(DuplicatePolicy::ALL.get(usize::from(at) - 1)?.0),
        },
        ignore: (time(rest)?, float(rest)?),
        labels: Vec::new(),
    };
    for _ in 0..get_varint(rest).ok()? {
        let name = Bytes::copy_from_slice(get_bytes(rest).ok()?);
        options.labels.push((name, Bytes::copy_from_slice(get_bytes(rest).ok()?)));
    }
    Some(options)
}

#[cfg(test)]
mod tests;
