//! Time: the wall clock for timestamps, a monotonic clock for intervals, timers.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_go_forward() {
        let clock = SystemClock::new();
        let before = clock.monotonic();
        assert!(clock.now_micros() > 1_600_000_000_000_000);
        assert!(clock.monotonic() >= before);
    }
}
