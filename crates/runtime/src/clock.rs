//! Time: the wall clock for timestamps, a monotonic clock for intervals, timers.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::BoxFuture;

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since the Unix epoch, UTC. May jump in both directions.
    fn now_micros(&self) -> u64;

    /// Time since some fixed moment. Never runs back, and goes on while the machine sleeps, as leases need.
    fn monotonic(&self) -> Duration;

    /// Completes `duration` from now.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The clocks of the machine; timers are tokio's.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The clocks of the machine.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Clock for SystemClock {
    fn now_micros(&self) -> u64 {
        // A clock before 1970 reads as 1970: the log's time goes on from its last entry anyway.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        // Not CLOCK_MONOTONIC: it stands still while a virtual machine is suspended, and a lease would outlive its term.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let time = clock_gettime(ClockId::Boottime);
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let time = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Times that were seen, and that go on from there: a wall clock that was set back would stand still until it is as far again, and
/// nothing would come to its end meanwhile.
#[derive(Debug)]
pub struct Passing {
    /// The greatest difference between a time and the monotonic clock when it was seen, microseconds.
    ahead: AtomicI64,
}

impl Default for Passing {
    fn default() -> Self {
        Self { ahead: AtomicI64::new(i64::MIN) }
    }
}

impl Passing {
    /// A time that is now or is over: microseconds since the Unix epoch.
    pub fn saw(&self, micros: u64, clock: &dyn Clock) {
        let ahead = i64::try_from(micros).unwrap_or(i64::MAX).saturating_sub(monotonic_micros(clock));
        self.ahead.fetch_max(ahead, Ordering::AcqRel);
    }

    /// Now, microseconds since the Unix epoch: what the wall clock says, but never behind a time that was seen and what has
    /// passed since.
    pub fn now_micros(&self, clock: &dyn Clock) -> u64 {
        let passed = self.ahead.load(Ordering::Acquire).saturating_add(monotonic_micros(clock));
        clock.now_micros().max(u64::try_from(passed).unwrap_or(0))
    }
}

fn monotonic_micros(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.monotonic().as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wall clock that can be set, beside a monotonic one.
    #[derive(Default)]
    struct Set {
        wall: std::sync::atomic::AtomicU64,
        passed: std::sync::atomic::AtomicU64,
    }

    impl Clock for Set {
        fn now_micros(&self) -> u64 {
            self.wall.load(Ordering::Relaxed)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_micros(self.passed.load(Ordering::Relaxed))
        }

        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    #[test]
    fn time_passes_behind_a_clock_that_was_set_back() {
        let (clock, times) = (Set::default(), Passing::default());
        clock.wall.store(1_000, Ordering::Relaxed);
        assert_eq!(times.now_micros(&clock), 1_000, "nothing was seen");
        times.saw(5_000, &clock);
        assert_eq!(times.now_micros(&clock), 5_000);
        clock.passed.store(70, Ordering::Relaxed);
        assert_eq!(times.now_micros(&clock), 5_070);
        times.saw(2_000, &clock);
        assert_eq!(times.now_micros(&clock), 5_070, "earlier times change nothing");
        clock.wall.store(9_000, Ordering::Relaxed);
        assert_eq!(times.now_micros(&clock), 9_000, "the clock is as far again");
    }

    #[test]
    fn clocks_go_forward() {
        let clock = SystemClock::new();
        let before = clock.monotonic();
        assert!(clock.now_micros() > 1_600_000_000_000_000);
        assert!(clock.monotonic() >= before);
    }
}
