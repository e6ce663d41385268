//! When writes are refused because the disk is nearly full.
//!
//! ```text
//! free space   |<------ reserve / 4 ------>|<------------- reserve ------------->|
//!              | DROP, TRUNCATE            | and DELETE                          | everything
//! ```
//!
//! Below a reserve the engine refuses what adds data (53100) and lets through what frees some. A DELETE writes to log and
//! LSM too before anything is freed, so it ends before the reserve does: what is left is for checkpoints, which cut the
//! log, and for compaction. So the node never runs into a full disk by itself; fjall would stay stopped until reopened.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use perigee_runtime::{Clock, Files};

/// The reserve in bytes where none is set, on a disk large enough for it.
const RESERVE_BYTES: u64 = 256 << 20;

/// How long an answer is good for.
const CACHED_FOR: Duration = Duration::from_secs(1);

/// What there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Room {
    /// For what frees space at once: DROP, TRUNCATE.
    Least = 0,
    /// For what frees space later: DELETE.
    Little = 1,
    /// For anything.
    Enough = 2,
}

/// Watches the free space of the file system that holds the data.
pub struct DiskReserve {
    files: Arc<dyn Files>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    reserve_bytes: Option<u64>,
    /// Microseconds of the monotonic clock up to which `room` holds.
    fresh_until: AtomicU64,
    /// Bytes that may still be written on this answer.
    allowance: AtomicU64,
    room: AtomicU8,
    free: AtomicU64,
    total: AtomicU64,
    /// The reserve that the last answer was compared with.
    reserve: AtomicU64,
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
        Self {
            files,
            clock,
            dir: dir.into(),
            reserve_bytes,
            fresh_until: AtomicU64::new(0),
            allowance: AtomicU64::new(0),
            room: AtomicU8::new(Room::Enough as u8),
            free: AtomicU64::new(u64::MAX),
            total: AtomicU64::new(0),
            reserve: AtomicU64::new(0),
        }
    }

    /// What there is room for, to a caller who is going to write about `bytes`. Asks the file system once a second, and
    /// when a part of the reserve was written since; a system that does not answer does not stop writes.
    #[must_use]
    pub fn room(&self, bytes: u64) -> Room {
        let now = self.clock.monotonic().as_micros() as u64;
        let fresh_until = self.fresh_until.load(Ordering::Relaxed);
        let take = |left: u64| left.checked_sub(bytes);
        let allowed = self.allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        if now >= fresh_until || !allowed {
            // One caller asks; those that lose the race go by the answer before.
            let next = now + CACHED_FOR.as_micros() as u64;
            if self.fresh_until.compare_exchange(fresh_until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                self.ask();
            }
        }
        self.known()
    }

    fn known(&self) -> Room {
        match self.room.load(Ordering::Relaxed) {
            0 => Room::Least,
            1 => Room::Little,
            _ => Room::Enough,
        }
    }

    /// Whether so much is free, asked now; a system that does not answer stops nobody.
    #[must_use]
    pub fn fits(&self, bytes: u64) -> bool {
        self.ask();
        self.free_bytes() >= bytes
    }

    /// Bytes that were free when the file system was last asked.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// The size of the file system, in bytes; 0 until it was asked.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Free bytes below which not everything is let through; 0 until the file system was asked.
    #[must_use]
    pub fn reserve_bytes(&self) -> u64 {
        self.reserve.load(Ordering::Relaxed)
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
        let room = if free >= reserve {
            Room::Enough
        } else if free >= reserve / 4 {
            Room::Little
        } else {
            Room::Least
        };
        self.free.store(free, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        self.reserve.store(reserve, Ordering::Relaxed);
        // What is written takes its place in the log, in a checkpoint and, for a while, in compaction.
        self.allowance.store(reserve / 16, Ordering::Relaxed);
        if self.known() != room {
            self.room.store(room as u8, Ordering::Relaxed);
            match room {
                Room::Enough => tracing::info!(free, reserve, "the disk has room again: writes are accepted"),
                Room::Little => {
                    tracing::error!(free, reserve, "the disk is nearly full: only DELETE, DROP and TRUNCATE")
                }
                Room::Least => {
                    tracing::error!(free, reserve, "the disk is full but for a rest: only DROP and TRUNCATE")
                }
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
        assert_eq!(open(Some(0)).room(1), Room::Enough);
        let full = open(Some(u64::MAX));
        assert_eq!(full.room(1), Room::Least);
        assert!(full.free_bytes() < u64::MAX);
        full.room.store(Room::Enough as u8, Ordering::Relaxed);
        assert_eq!(full.room(1), Room::Enough, "within the second the answer stands");
        *clock.0.lock() += Duration::from_millis(1_001);
        assert_eq!(full.room(1), Room::Least);
        full.room.store(Room::Enough as u8, Ordering::Relaxed);
        assert_eq!(full.room(u64::MAX / 16), Room::Enough, "that much may be written without a look");
        assert_eq!(full.room(u64::MAX / 16), Room::Least, "and no more");
        let free = full.free_bytes();
        assert_eq!(open(Some(free * 2)).room(1), Room::Little);
        assert_eq!(open(Some(free / 2)).room(1), Room::Enough);
        Ok(())
    }

    #[test]
    fn a_file_system_that_does_not_answer_does_not_stop_writes() {
        let clock = Arc::new(TestClock::default());
        let reserve = DiskReserve::new(Arc::new(SystemFiles), clock, Path::new("/does/not/exist"), None);
        assert_eq!(reserve.room(1), Room::Enough);
    }
}
