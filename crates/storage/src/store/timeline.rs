//! When entries of the log were written, as far back as anybody asks, in bounded memory.
//!
//! Kept by who applies the log, out of the times of its entries, and by checkpoints. Samples are a second apart and become
//! sparse with their age: what is asked about an age is late by a hundredth of it at most.

use perigee_types::{Hlc, LogIndex};

/// The least distance of two samples.
const STEP_MICROS: u64 = 1_000_000;
/// How many times longer ago a sample must be than its neighbours are apart, to be left out.
const SPARSE: u64 = 128;
/// Samples from which on some are left out, at least.
const LENGTH_MIN: usize = 1_024;

/// Samples of the log: all entries up to an index were written at or before a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    /// Index and microseconds since the Unix epoch, both rising.
    samples: Vec<(LogIndex, u64)>,
    /// Length at which samples are left out next.
    thin_at: usize,
}

impl Timeline {
    /// What a checkpoint has kept.
    pub(crate) fn restored(samples: Vec<(LogIndex, u64)>) -> Self {
        let thin_at = (samples.len() * 2).max(LENGTH_MIN);
        Self { samples, thin_at }
    }

    /// For a checkpoint.
    pub(crate) fn samples(&self) -> &[(LogIndex, u64)] {
        &self.samples
    }

    /// The log went on: its last entry so far was `index`, written at `time`, and the next one is of `next`.
    pub(crate) fn passed(&mut self, index: LogIndex, time: Hlc, next: Hlc) {
        let (last_index, last_micros) = self.samples.last().copied().unwrap_or_default();
        let far = next.micros() >= last_micros.saturating_add(STEP_MICROS);
        if index <= last_index || !far {
            return;
        }
        self.samples.push((index, time.micros()));
        if self.samples.len() >= self.thin_at.max(LENGTH_MIN) {
            self.thin(next.micros());
        }
    }

    fn thin(&mut self, now_micros: u64) {
        let all = std::mem::take(&mut self.samples);
        for (place, sample) in all.iter().enumerate() {
            if let (Some((_, before)), Some((_, behind))) = (self.samples.last(), all.get(place + 1))
                && behind - before <= now_micros.saturating_sub(*behind) / SPARSE
            {
                continue;
            }
            self.samples.push(*sample);
        }
        self.thin_at = (self.samples.len() * 2).max(LENGTH_MIN);
    }

    /// The greatest index of which it is known that it was written at or before this time; 0 where none is.
    pub(crate) fn index_by(&self, micros: u64) -> LogIndex {
        let behind = self.samples.partition_point(|(_, time)| *time <= micros);
        behind.checked_sub(1).map_or(LogIndex(0), |place| self.samples[place].0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn written(entries: impl Iterator<Item = (u64, u64)>) -> Timeline {
        let mut timeline = Timeline::default();
        let mut last = None;
        for (index, micros) in entries {
            if let Some((index, time)) = last {
                timeline.passed(LogIndex(index), Hlc::from_micros(time), Hlc::from_micros(micros));
            }
            last = Some((index, micros));
        }
        timeline
    }

    #[test]
    fn an_index_is_never_taken_for_older_than_it_is() {
        let timeline = written([(1, 10), (2, 20), (3, 2 * SECOND), (4, 100 * SECOND), (5, 101 * SECOND)].into_iter());
        assert_eq!(timeline.index_by(5), LogIndex(0));
        assert_eq!(timeline.index_by(20), LogIndex(2), "the last entry before a pause has its own time");
        assert_eq!(timeline.index_by(2 * SECOND), LogIndex(3));
        assert_eq!(timeline.index_by(99 * SECOND), LogIndex(3));
        assert_eq!(timeline.index_by(100 * SECOND), LogIndex(4));
    }

    #[test]
    fn a_month_takes_few_samples_and_stays_exact_in_proportion() {
        let month = 30 * 24 * 3_600;
        let timeline = written((1..=month).map(|second| (second, second * SECOND)));
        assert!(timeline.samples().len() < 8_192, "{} samples", timeline.samples().len());
        for age in [10, 1_000, 86_400, 20 * 86_400] {
            let wanted = month - age;
            let found = timeline.index_by(wanted * SECOND).0;
            assert!(found <= wanted && wanted - found <= age / 50 + 2, "age {age}: {found} for {wanted}");
        }
        let again = Timeline::restored(timeline.samples().to_vec());
        assert_eq!(again.index_by(1_000_000 * SECOND), timeline.index_by(1_000_000 * SECOND));
    }
}
