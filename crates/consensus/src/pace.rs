//! How long the writer waits for company before a sync.
//!
//! N clients that each wait for their own commit fall into two halves: while one half is synced the other one queues, and
//! every sync carries N/2. Who was just answered comes back within a fraction of a sync, so waiting that fraction for as
//! many entries as were around a moment ago puts all N into one sync: up to twice the commits from the same disk. A single
//! client never waits, nor does anyone when syncs are fast.

use std::time::Duration;

/// Syncs below this are not worth a wait.
const SLOW: Duration = Duration::from_micros(400);
/// Longest wait.
const WINDOW_MAX: Duration = Duration::from_micros(500);

/// See the module.
#[derive(Default)]
pub(crate) struct Pace {
    /// Smoothed time of a sync.
    sync: Duration,
    /// Entries in the last frame and behind it when it was done.
    around: u64,
}

impl Pace {
    /// A sync took `took`.
    pub(crate) fn synced(&mut self, took: Duration) {
        self.sync = if self.sync.is_zero() { took } else { (self.sync * 7 + took) / 8 };
    }

    /// A frame of `entries` is done, `waiting` others have come meanwhile.
    pub(crate) fn written(&mut self, entries: u64, waiting: u64) {
        self.around = entries + waiting;
    }

    /// How long to wait for more when `waiting` entries are there.
    pub(crate) fn window(&self, waiting: u64) -> Duration {
        if self.sync < SLOW || waiting >= self.around { Duration::ZERO } else { (self.sync / 8).min(WINDOW_MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(sync_micros: u64, entries: u64, waiting: u64) -> Pace {
        let mut pace = Pace::default();
        pace.synced(Duration::from_micros(sync_micros));
        pace.written(entries, waiting);
        pace
    }

    #[test]
    fn only_company_on_a_slow_disk_is_waited_for() {
        let ms = 1_000;
        assert_eq!(pace(2 * ms, 1, 0).window(1), Duration::ZERO, "alone");
        assert_eq!(pace(50, 32, 32).window(32), Duration::ZERO, "a fast disk");
        assert_eq!(pace(2 * ms, 32, 32).window(32), Duration::from_micros(250), "two halves");
        assert_eq!(pace(2 * ms, 32, 32).window(64), Duration::ZERO, "all are there");
        assert_eq!(pace(100 * ms, 32, 32).window(1), WINDOW_MAX);
    }
}
