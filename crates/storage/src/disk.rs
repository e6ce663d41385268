//! When writes are refused because the disk is nearly full.
//!
//! Below a reserve the engine refuses what adds data (53100) and lets through what frees some: DELETE, DROP, expiry,
//! checkpoints and compaction. So the node never runs into a full disk by itself; fjall would stay stopped until reopened.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use perigee_runtime::{Clock, Files};

/// The reserve in bytes where none is set, on a disk large enough for it.
const RESERVE_BYTES: u64 = 256 << 20;

/// How long an answer is good for.
const CACHED_FOR: Duration = Duration::from_secs(1);

/// Watches the free space of the file system that holds the data.
pub struct DiskReserve {
    files: Arc<dyn Files>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    reserve_bytes: Option<u64>,
    /// Microseconds of the monotonic clock up to which `writable` holds.
    fresh_until: AtomicU64,
    writable: AtomicBool,
    free: AtomicU64,
}

impl DiskReserve {
    /// Watches the file system of `dir`; `reserve_bytes` overrides [`default_reserve`].
    #[must_use]
    pub fn new(
        files: Arc<dyn Files>,
        clock: Arc<dyn Clock>,
        dir: impl Into<PathBuf>,
        reserve_bytes: Option<u64>,
    ) -> Self {
        let (fresh_until, writable, free) = (AtomicU64::new(0), AtomicBool::new(true), AtomicU64::new(u64::MAX));
        Self { files, clock, dir: dir.into(), reserve_bytes, fresh_until, writable, free }
    }

    /// Whether data may be added. Asks the file system once a second; a system that does not answer does not stop writes.
    #[must_use]
    pub fn writable(&self) -> bool {
        let now = self.clock.monotonic().as_micros() as u64;
        let fresh_until = self.fresh_until.load(Ordering::Relaxed);
        if now < fresh_until {
            return self.writable.load(Ordering::Relaxed);
        }
        // One caller asks; those that lose the race go by the answer before.
        let next = now + CACHED_FOR.as_micros() as u64;
        if self.fresh_until.compare_exchange(fresh_until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.ask();
        }
        self.writable.load(Ordering::Relaxed)
    }

    /// Bytes that were free when the file system was last asked.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    fn ask(&self) {
        let (free, total) = match self.files.available_bytes(&self.dir) {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(%error, dir = %self.dir.display(), "free space is not known");
                return;
            }
        };
        let reserve = self.reserve_bytes.unwrap_or_else(|| default_reserve(total));
        let writable = free >= reserve;
        self.free.store(free, Ordering::Relaxed);
        if self.writable.swap(writable, Ordering::Relaxed) != writable {
            if writable {
                tracing::info!(free, reserve, "the disk has room again: writes are accepted");
            } else {
                tracing::error!(free, reserve, "the disk is nearly full: writes are refused");
            }
        }
    }
}

/// 2 % of the disk, at least 256 MiB, but never more than a tenth of a small one.
#[must_use]
pub fn default_reserve(total_bytes: u64) -> u64 {
    (total_bytes / 50).max(RESERVE_BYTES).min(total_bytes / 10)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use parking_lot::Mutex;
    use perigee_runtime::{BoxFuture, SystemFiles};

    use super::*;

    #[derive(Default)]
    struct TestClock(Mutex<Duration>);

    impl Clock for TestClock {
        fn now_micros(&self) -> u64 {
            0
        }
        fn monotonic(&self) -> Duration {
            *self.0.lock()
        }
        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    #[test]
    fn small_disks_keep_a_small_reserve() {
        let check = |total, want| assert_eq!(default_reserve(total), want, "{total}");
        check(1 << 40, (1 << 40) / 50);
        check(4 << 30, 256 << 20);
        check(1 << 30, (1 << 30) / 10);
        check(0, 0);
    }

    #[test]
    fn the_file_system_is_asked_once_a_second() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let clock = Arc::new(TestClock::default());
        *clock.0.lock() = Duration::from_secs(5);
        let open = |reserve| DiskReserve::new(Arc::new(SystemFiles), clock.clone(), dir.path(), reserve);
        assert!(open(Some(0)).writable());
        let full = open(Some(u64::MAX));
        assert!(!full.writable());
        assert!(full.free_bytes() < u64::MAX);
        full.writable.store(true, Ordering::Relaxed);
        assert!(full.writable(), "within the second the answer stands");
        *clock.0.lock() += Duration::from_millis(1_001);
        assert!(!full.writable());
        Ok(())
    }

    #[test]
    fn a_file_system_that_does_not_answer_does_not_stop_writes() {
        let clock = Arc::new(TestClock::default());
        let reserve = DiskReserve::new(Arc::new(SystemFiles), clock, Path::new("/does/not/exist"), None);
        assert!(reserve.writable());
    }
}
