//! Aggregates of buckets of time.

use smallvec::SmallVec;

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
    /// Its first millisecond, and the first behind it; those of the range asked for where that holds a part of the bucket only.
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

/// A time with its values: one, or one for each aggregation.
pub type Row = (i64, SmallVec<[f64; 1]>);

impl Buckets {
    fn start(&self, time: i64) -> i64 {
        bucket_start(time, self.bucket_ms, self.align)
    }

    /// The begin of each bucket with its values, in order, until `emit` says no.
    ///
    /// `samples` gives the samples of `from..=to` in order. `before` and `after` are those on both sides, where there are
    /// some: time-weighted means reach to them, and so do empty buckets.
    pub fn run(
        &self,
        samples: impl FnOnce(&mut dyn FnMut(Sample) -> bool),
        (before, after): (Option<Sample>, Option<Sample>),
        (from, to): (i64, i64),
        mut emit: impl FnMut(Row) -> bool,
    ) {
        let mut filling =
            Filling { buckets: self, range: (from, to), before, current: Vec::new(), next: None, emit: &mut emit };
        if before.is_some() {
            filling.next = Some(self.start(from));
        }
        let mut goes_on = true;
        samples(&mut |sample| {
            goes_on = filling.push(sample);
            goes_on
        });
        let nothing = filling.current.is_empty();
        if !goes_on || !filling.flush(after) {
            return;
        }
        // Up to the end only where something stands behind it.
        if after.is_some() && !(nothing && before.is_none()) {
            filling.gap(self.start(to).saturating_add(1), after);
        }
    }
}

struct Filling<'a> {
    buckets: &'a Buckets,
    /// The times asked for, both included.
    range: (i64, i64),
    /// The last sample before the current bucket.
    before: Option<Sample>,
    current: Vec<Sample>,
    /// The bucket that is due, where one has been seen.
    next: Option<i64>,
    emit: &'a mut dyn FnMut(Row) -> bool,
}

impl Filling<'_> {
    fn push(&mut self, sample: Sample) -> bool {
        let bucket = self.buckets.start(sample.time);
        let is_other = self.current.first().is_none_or(|first| self.buckets.start(first.time) != bucket);
        if is_other && !(self.flush(Some(sample)) && self.gap(bucket, Some(sample))) {
            return false;
        }
        self.current.push(sample);
        true
    }

    /// Reports the current bucket, if there is one.
    fn flush(&mut self, after: Option<Sample>) -> bool {
        let (Some(first), Some(last)) = (self.current.first(), self.current.last().copied()) else { return true };
        let bucket = self.buckets.start(first.time);
        let samples = std::mem::take(&mut self.current);
        let goes_on = self.report(bucket, &samples, after);
        self.before = Some(last);
        self.next = Some(bucket.saturating_add(self.buckets.bucket_ms));
        self.current = samples;
        self.current.clear();
        goes_on
    }

    /// Reports empty buckets from the one that is due to before another.
    fn gap(&mut self, end: i64, after: Option<Sample>) -> bool {
        let Some(mut bucket) = self.next.filter(|_| self.buckets.empty) else { return true };
        while bucket < end {
            if !self.report(bucket, &[], after) {
                return false;
            }
            bucket = bucket.saturating_add(self.buckets.bucket_ms);
        }
        true
    }

    fn report(&mut self, bucket: i64, samples: &[Sample], after: Option<Sample>) -> bool {
        // What lies outside of the range says only where a line goes, not what is under it.
        let (begin, end) = (bucket.max(self.range.0), bucket.saturating_add(self.buckets.bucket_ms).min(self.range.1));
        let span = Span { before: self.before, samples, after, begin, end: end.max(begin) };
        (self.emit)((bucket, self.buckets.kinds.iter().map(|kind| span.aggregate(*kind)).collect()))
    }
}
