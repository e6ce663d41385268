//! Aggregates of buckets of time.

use super::{Sample, Series};

/// A reply has so many rows at most.
pub const ROWS_MAX: usize = 1 << 24;

/// What is computed of the samples of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    /// The mean.
    Avg,
    /// The sum.
    Sum,
    /// The lowest value.
    Min,
    /// The highest value.
    Max,
    /// The highest less the lowest value.
    Range,
    /// How many there are.
    Count,
    /// The value of the oldest.
    First,
    /// The value of the newest.
    Last,
    /// The standard deviation of them all.
    StdP,
    /// The standard deviation of a population that they are a sample of.
    StdS,
    /// The variance of them all.
    VarP,
    /// The variance of a population that they are a sample of.
    VarS,
    /// The mean over time of straight lines between samples.
    Twa,
}

impl Aggregation {
    const ALL: [(Aggregation, &'static str); 13] = [
        (Aggregation::Avg, "avg"),
        (Aggregation::Sum, "sum"),
        (Aggregation::Min, "min"),
        (Aggregation::Max, "max"),
        (Aggregation::Range, "range"),
        (Aggregation::Count, "count"),
        (Aggregation::First, "first"),
        (Aggregation::Last, "last"),
        (Aggregation::StdP, "std.p"),
        (Aggregation::StdS, "std.s"),
        (Aggregation::VarP, "var.p"),
        (Aggregation::VarS, "var.s"),
        (Aggregation::Twa, "twa"),
    ];

    /// By its name, in any case.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| crate::args::is(name, known)).map(|(kind, _)| *kind)
    }

    /// Its name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// Of values in order, without regard to their times. [`Aggregation::Twa`] is the mean then.
    #[must_use]
    pub fn of(self, values: impl Iterator<Item = f64>) -> f64 {
        let (mut count, mut sum, mut mean, mut squares) = (0_u64, 0.0, 0.0, 0.0);
        let (mut min, mut max, mut first, mut last) = (f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::NAN);
        for value in values {
            count += 1;
            sum += value;
            // Welford: differences stay small where values are large.
            let off = value - mean;
            mean += off / count as f64;
            squares += off * (value - mean);
            (min, max) = (min.min(value), max.max(value));
            (first, last) = (if count == 1 { value } else { first }, value);
        }
        let n = count as f64;
        match self {
            Aggregation::Sum => sum,
            Aggregation::Count => n,
            _ if count == 0 => f64::NAN,
            Aggregation::Avg | Aggregation::Twa => sum / n,
            Aggregation::Min => min,
            Aggregation::Max => max,
            Aggregation::Range => max - min,
            Aggregation::First => first,
            Aggregation::Last => last,
            Aggregation::VarP => squares / n,
            Aggregation::StdP => (squares / n).sqrt(),
            Aggregation::VarS | Aggregation::StdS if count == 1 => 0.0,
            Aggregation::VarS => squares / (n - 1.0),
            Aggregation::StdS => (squares / (n - 1.0)).sqrt(),
        }
    }
}

/// When the bucket begins that holds a time, where one begins at `align`. May be negative.
#[must_use]
pub fn bucket_start(time: i64, bucket_ms: i64, align: i64) -> i64 {
    let into = (i128::from(time) - i128::from(align)).rem_euclid(i128::from(bucket_ms.max(1)));
    time.saturating_sub(into as i64)
}

/// Samples of one bucket with what stands beside them.
#[derive(Clone, Copy, Debug)]
struct Span<'a> {
    before: Option<Sample>,
    samples: &'a [Sample],
    after: Option<Sample>,
    /// Its first millisecond, and the first behind it.
    begin: i64,
    end: i64,
}

/// The value at a time on the straight line through two samples.
fn line(a: Sample, b: Sample, time: i64) -> f64 {
    if b.time == a.time {
        return a.value;
    }
    a.value + (b.value - a.value) * ((time - a.time) as f64 / (b.time - a.time) as f64)
}

impl Span<'_> {
    fn aggregate(&self, kind: Aggregation) -> f64 {
        match kind {
            Aggregation::Twa => self.twa(),
            // An empty bucket has what was last there.
            Aggregation::Last if self.samples.is_empty() => self.before.map_or(f64::NAN, |sample| sample.value),
            kind => kind.of(self.samples.iter().map(|sample| sample.value)),
        }
    }

    /// The area under the lines between samples, from edge to edge where there are samples beyond them.
    fn twa(&self) -> f64 {
        let (Some(first), Some(last)) = (self.samples.first(), self.samples.last()) else {
            return match (self.before, self.after) {
                (Some(a), Some(b)) => (line(a, b, self.begin) + line(a, b, self.end)) / 2.0,
                _ => f64::NAN,
            };
        };
        let (mut area, mut time) = (0.0, 0.0);
        let mut add = |a: (i64, f64), b: (i64, f64)| {
            let width = (b.0 - a.0) as f64;
            area += (a.1 + b.1) / 2.0 * width;
            time += width;
        };
        if let Some(before) = self.before.filter(|_| first.time > self.begin) {
            add((self.begin, line(before, *first, self.begin)), (first.time, first.value));
        }
        for two in self.samples.windows(2) {
            add((two[0].time, two[0].value), (two[1].time, two[1].value));
        }
        if let Some(after) = self.after.filter(|_| last.time < self.end) {
            add((last.time, last.value), (self.end, line(*last, after, self.end)));
        }
        if time == 0.0 { first.value } else { area / time }
    }
}

/// What the samples of `begin..end` amount to, for a rule; `None` for no samples.
pub(super) fn of_bucket(series: &Series, kind: Aggregation, begin: i64, end: i64) -> Option<f64> {
    let mut samples = Vec::new();
    series.walk(begin, end - 1, false, |sample| {
        samples.push(sample);
        true
    });
    if samples.is_empty() {
        return None;
    }
    let is_twa = kind == Aggregation::Twa;
    let before = if is_twa { series.before(begin) } else { None };
    let after = if is_twa { series.after(end) } else { None };
    Some(Span { before, samples: &samples, after, begin, end }.aggregate(kind))
}

/// Puts samples, in order, into buckets.
#[derive(Clone, Debug)]
pub struct Buckets {
    /// What is computed, one value each.
    pub kinds: Vec<Aggregation>,
    /// Milliseconds.
    pub bucket_ms: i64,
    /// A time at which a bucket begins.
    pub align: i64,
    /// Whether buckets without samples are reported.
    pub empty: bool,
}

impl Buckets {
    /// The begin of each bucket with its values, in order, until `emit` says no.
    ///
    /// `before` and `after` are the samples on both sides of `from..=to`, where there are some: time-weighted means reach
    /// to them, and so do empty buckets.
    pub fn run(
        &self,
        samples: &[Sample],
        (before, after): (Option<Sample>, Option<Sample>),
        (from, to): (i64, i64),
        mut emit: impl FnMut(i64, Vec<f64>) -> bool,
    ) {
        let start = |time| bucket_start(time, self.bucket_ms, self.align);
        let values = |span: &Span<'_>| self.kinds.iter().map(|kind| span.aggregate(*kind)).collect();
        let span = |bucket: i64, before, samples, after| Span {
            before,
            samples,
            after,
            begin: bucket.max(0),
            end: bucket.saturating_add(self.bucket_ms),
        };
        // Empty buckets from one to before another.
        let gap = |mut bucket: i64, end: i64, before, after, emit: &mut dyn FnMut(i64, Vec<f64>) -> bool| {
            while self.empty && bucket < end {
                if !emit(bucket, values(&span(bucket, before, &[], after))) {
                    return false;
                }
                bucket = bucket.saturating_add(self.bucket_ms);
            }
            true
        };
        let Some(first) = samples.first() else {
            if before.is_some() && after.is_some() {
                gap(start(from), start(to).saturating_add(1), before, after, &mut emit);
            }
            return;
        };
        let mut last = before;
        if before.is_some() && !gap(start(from), start(first.time), before, Some(*first), &mut emit) {
            return;
        }
        for group in samples.chunk_by(|a, b| start(a.time) == start(b.time)) {
            let (Some(first), Some(newest)) = (group.first(), group.last()) else { continue };
            let bucket = start(first.time);
            if let Some(last) = last.filter(|last| last.time >= from) {
                let next = start(last.time).saturating_add(self.bucket_ms);
                if !gap(next, bucket, Some(last), Some(*first), &mut emit) {
                    return;
                }
            }
            let next = samples.partition_point(|sample| sample.time <= newest.time);
            let behind = samples.get(next).copied().or(after);
            if !emit(bucket, values(&span(bucket, last, group, behind))) {
                return;
            }
            last = Some(*newest);
        }
        if let (Some(last), Some(_)) = (last, after) {
            let next = start(last.time).saturating_add(self.bucket_ms);
            gap(next, start(to).saturating_add(1), Some(last), after, &mut emit);
        }
    }
}
