//! Who may hold how many bytes of memory.
//!
//! ```text
//! root ---- hot        chunks, indexes in memory, caches of warm columns
//!      ---- query      what queries build
//!      ---- session    buffers of sessions and open transactions
//!      ---- log_cache  recent entries
//!
//! dirty     the part of hot that no checkpoint holds yet: a quarter of hot, counted beside it
//! ```
//!
//! A reservation is a [`Guard`]: its bytes count until the last holder drops it, also when a cursor keeps an evicted
//! chunk alive. Reserving is one atomic addition per level; only a crossing of a threshold of *dirty* takes a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use thiserror::Error;
use tokio::sync::watch;

/// How the memory of the process is shared out, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetOptions {
    /// Everything that is counted.
    pub root: u64,
    /// Hot data and caches of warm data.
    pub hot: u64,
    /// What queries build.
    pub query: u64,
    /// Buffers of sessions and open transactions.
    pub session: u64,
    /// Recent log entries.
    pub log_cache: u64,
}

impl BudgetOptions {
    /// Shares for a process that may use `bytes` in all: a fifth stays for code, stacks, the LSM's cache and fragmentation.
    #[must_use]
    pub fn of(bytes: u64) -> Self {
        let percent = |n: u64| bytes / 100 * n;
        Self { root: percent(80), hot: percent(40), query: percent(30), session: percent(10), log_cache: percent(5) }
    }
}

/// A reservation that does not fit.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{asked} bytes do not fit into the memory for {pool}: {used} of {limit} are in use")]
pub struct OutOfMemory {
    /// Which share is full.
    pub pool: &'static str,
    /// Bytes asked for.
    pub asked: u64,
    /// Bytes in use.
    pub used: u64,
    /// Bytes that may be.
    pub limit: u64,
}

/// How far dirty data is over its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pressure {
    /// Within its share.
    None,
    /// Over its share: a checkpoint is due.
    High,
    /// Over twice its share: writers wait.
    Critical,
}

/// The memory of the process.
pub struct MemoryBudget {
    /// Everything.
    pub root: Pool,
    /// Hot data and caches of warm data.
    pub hot: Pool,
    /// Hot data that no checkpoint holds yet; its bytes are counted in `hot` too, by their own guard.
    pub dirty: Pool,
    /// What queries build.
    pub query: Pool,
    /// Buffers of sessions and open transactions.
    pub session: Pool,
    /// Recent log entries.
    pub log_cache: Pool,
}

impl MemoryBudget {
    /// A budget with these shares; dirty gets a quarter of hot.
    #[must_use]
    pub fn new(options: BudgetOptions) -> Arc<Self> {
        let root = Pool::new("everything", options.root, None);
        let share = |name, limit| Pool::new(name, limit, Some(root.clone()));
        Arc::new(Self {
            hot: share("hot data", options.hot),
            dirty: Pool::new("dirty data", options.hot / 4, None),
            query: share("queries", options.query),
            session: share("sessions", options.session),
            log_cache: share("the log cache", options.log_cache),
            root,
        })
    }

    /// A budget that never refuses, for tests.
    #[must_use]
    pub fn unlimited() -> Arc<Self> {
        let all = u64::MAX / 8;
        Self::new(BudgetOptions { root: all, hot: all, query: all, session: all, log_cache: all })
    }
}

/// One share. Clones are the same share.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    name: &'static str,
    limit: u64,
    used: AtomicU64,
    peak: AtomicU64,
    parent: Option<Pool>,
    signal: Signal,
}

impl Pool {
    fn new(name: &'static str, limit: u64, parent: Option<Pool>) -> Self {
        let (level, used, peak) = (watch::Sender::new(Pressure::None), AtomicU64::new(0), AtomicU64::new(0));
        let signal = Signal { lock: Mutex::new(()), changed: Condvar::new(), level };
        Self(Arc::new(Inner { name, limit, used, peak, parent, signal }))
    }

    /// Counts `bytes` that are already taken or cannot be refused; may go over the limit.
    pub fn reserve(&self, bytes: usize) -> Guard {
        self.add(bytes as u64);
        Guard { pool: self.clone(), bytes: bytes as u64 }
    }

    /// Counts `bytes` if they fit here and above.
    ///
    /// # Errors
    /// [`OutOfMemory`], and nothing is counted.
    pub fn try_reserve(&self, bytes: usize) -> Result<Guard, OutOfMemory> {
        self.try_add(bytes as u64)?;
        Ok(Guard { pool: self.clone(), bytes: bytes as u64 })
    }

    /// Bytes in use.
    #[must_use]
    pub fn usage(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// The most bytes that were in use at once.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.0.peak.load(Ordering::Relaxed)
    }

    /// Bytes that may be in use.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Bytes in use beyond the limit: how much eviction has to free.
    #[must_use]
    pub fn excess(&self) -> u64 {
        self.usage().saturating_sub(self.0.limit)
    }

    /// How far the share is exceeded.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        self.level(self.usage())
    }

    /// Follows the pressure; the receiver holds the present one.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Pressure> {
        self.0.signal.level.subscribe()
    }

    /// Waits until the pressure is at most `level`.
    pub async fn relieved(&self, level: Pressure) {
        let mut receiver = self.watch();
        // The sender lives as long as this pool, so there is no error to handle.
        let _ = receiver.wait_for(|now| *now <= level).await;
    }

    /// Blocks the thread until the pressure is at least `level`, or `timeout` is over; whether it is.
    pub fn wait_at_least(&self, level: Pressure, timeout: Duration) -> bool {
        self.wait(timeout, |now| now >= level)
    }

    /// Blocks the thread until the pressure is at most `level`, or `timeout` is over; whether it is.
    pub fn wait_at_most(&self, level: Pressure, timeout: Duration) -> bool {
        self.wait(timeout, |now| now <= level)
    }

    fn wait(&self, timeout: Duration, reached: impl Fn(Pressure) -> bool) -> bool {
        let mut lock = self.0.signal.lock.lock();
        let _ = self.0.signal.changed.wait_while_for(&mut lock, |()| !reached(self.pressure()), timeout);
        reached(self.pressure())
    }

    fn level(&self, used: u64) -> Pressure {
        match used {
            used if used > self.0.limit.saturating_mul(2) => Pressure::Critical,
            used if used > self.0.limit => Pressure::High,
            _ => Pressure::None,
        }
    }

    fn add(&self, bytes: u64) {
        let before = self.0.used.fetch_add(bytes, Ordering::Relaxed);
        self.moved(before, before + bytes);
        if let Some(parent) = &self.0.parent {
            parent.add(bytes);
        }
    }

    fn sub(&self, bytes: u64) {
        let before = self.0.used.fetch_sub(bytes, Ordering::Relaxed);
        self.moved(before, before.saturating_sub(bytes));
        if let Some(parent) = &self.0.parent {
            parent.sub(bytes);
        }
    }

    fn try_add(&self, bytes: u64) -> Result<(), OutOfMemory> {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.0.limit);
        let before = self
            .0
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .map_err(|used| OutOfMemory { pool: self.0.name, asked: bytes, used, limit: self.0.limit })?;
        if let Some(parent) = &self.0.parent
            && let Err(error) = parent.try_add(bytes)
        {
            self.0.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(error);
        }
        self.moved(before, before + bytes);
        Ok(())
    }

    fn moved(&self, before: u64, after: u64) {
        self.0.peak.fetch_max(after, Ordering::Relaxed);
        if self.level(before) != self.level(after) {
            self.tell();
        }
    }

    /// Publishes the pressure as it is now, which under the lock is never older than what is published.
    #[cold]
    fn tell(&self) {
        let _order = self.0.signal.lock.lock();
        let now = self.pressure();
        self.0.signal.level.send_if_modified(|level| std::mem::replace(level, now) != now);
        self.0.signal.changed.notify_all();
    }
}

/// Who waits for a change of pressure. Touched only when a threshold is crossed.
struct Signal {
    lock: Mutex<()>,
    changed: Condvar,
    level: watch::Sender<Pressure>,
}

/// Bytes that count until this is dropped.
#[must_use = "the bytes are given back when the guard is dropped"]
pub struct Guard {
    pool: Pool,
    bytes: u64,
}

impl Guard {
    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Holds `bytes` from now on, whatever the limit.
    pub fn resize(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        if bytes >= self.bytes {
            self.pool.add(bytes - self.bytes);
        } else {
            self.pool.sub(self.bytes - bytes);
        }
        self.bytes = bytes;
    }

    /// Holds `bytes` more if they fit.
    ///
    /// # Errors
    /// [`OutOfMemory`], and the guard holds what it held.
    pub fn try_grow(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        self.pool.try_add(bytes as u64)?;
        self.bytes += bytes as u64;
        Ok(())
    }

    /// Takes `bytes` of this guard into one of their own; all of them where there are fewer.
    pub fn split(&mut self, bytes: usize) -> Guard {
        let bytes = (bytes as u64).min(self.bytes);
        self.bytes -= bytes;
        Guard { pool: self.pool.clone(), bytes }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.pool.sub(self.bytes);
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Guard({} bytes of {})", self.bytes, self.pool.0.name)
    }
}

#[cfg(test)]
mod tests;
