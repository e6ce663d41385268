//! A clock over tokio's time, paused in tests.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::BoxFuture;
use crate::clock::Clock;

/// Time that passes only when the executor has nothing else to do. Must be made inside of its tokio runtime.
#[derive(Debug)]
pub struct SimClock {
    origin: Instant,
    start_micros: u64,
    jumped_micros: AtomicI64,
}

impl SimClock {
    /// A clock that reads `start_micros` now.
    #[must_use]
    pub fn new(start_micros: u64) -> Self {
        Self { origin: Instant::now(), start_micros, jumped_micros: AtomicI64::new(0) }
    }

    /// Sets the wall clock forward or back, as an operator or NTP would; the monotonic clock goes on.
    pub fn jump(&self, micros: i64) {
        self.jumped_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now_micros(&self) -> u64 {
        let passed = u64::try_from(self.monotonic().as_micros()).unwrap_or(u64::MAX);
        self.start_micros.saturating_add(passed).saturating_add_signed(self.jumped_micros.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Instant::now().duration_since(self.origin)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::block_on;

    #[test]
    fn time_passes_only_by_sleeping() {
        block_on(async {
            let clock = SimClock::new(1_000);
            assert_eq!(clock.now_micros(), 1_000);
            clock.sleep(Duration::from_secs(3_600)).await;
            assert_eq!(clock.now_micros(), 3_600_001_000);
            clock.jump(-1_000_000);
            assert_eq!(clock.now_micros(), 3_599_001_000);
            assert_eq!(clock.monotonic(), Duration::from_secs(3_600));
        })
        .unwrap();
    }
}
