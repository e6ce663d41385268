//! What INFO counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use perigee_keyspace::{Calls, Reply};

/// Different error prefixes that are counted, at most.
const ERRORS_MAX: usize = 128;

/// One command.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) calls: AtomicU64,
    pub(crate) micros: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Stats {
    /// By the number of the command.
    pub(crate) commands: Box<[Counters]>,
    pub(crate) errors: Mutex<BTreeMap<String, u64>>,
    pub(crate) error_total: AtomicU64,
    pub(crate) connection_total: AtomicU64,
    pub(crate) rejected_total: AtomicU64,
    pub(crate) blocked: AtomicI64,
    pub(crate) ops_per_second: AtomicU64,
    pub(crate) expired_total: AtomicU64,
    pub(crate) evicted_total: AtomicU64,
    pub(crate) evicted_clients: AtomicU64,
    pub(crate) acl_denied_auth: AtomicU64,
    pub(crate) read_bytes: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    /// Reads of keys that exist, and of others: by the replies, one for each command.
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
}

impl Stats {
    pub(crate) fn new(commands: usize) -> Self {
        Self {
            commands: (0..commands).map(|_| Counters::default()).collect(),
            errors: Mutex::default(),
            error_total: AtomicU64::new(0),
            connection_total: AtomicU64::new(0),
            rejected_total: AtomicU64::new(0),
            blocked: AtomicI64::new(0),
            ops_per_second: AtomicU64::new(0),
            expired_total: AtomicU64::new(0),
            evicted_total: AtomicU64::new(0),
            evicted_clients: AtomicU64::new(0),
            acl_denied_auth: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    pub(crate) fn ran(&self, number: usize, took: Duration, failed: bool) {
        if let Some(counters) = self.commands.get(number) {
            counters.calls.fetch_add(1, Ordering::Relaxed);
            counters.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            if failed {
                counters.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// All calls. Added up here: a counter of all commands would go from core to core with each.
    pub(crate) fn command_total(&self) -> u64 {
        self.commands.iter().map(|counters| counters.calls.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn rejected(&self, number: usize) {
        if let Some(counters) = self.commands.get(number) {
            counters.rejected.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts calls of a command within a script.
    pub(crate) fn ran_in_script(&self, number: usize, calls: &Calls) {
        if let Some(counters) = self.commands.get(number) {
            counters.calls.fetch_add(calls.count, Ordering::Relaxed);
            counters.failed.fetch_add(calls.failed, Ordering::Relaxed);
            counters.rejected.fetch_add(calls.rejected, Ordering::Relaxed);
        }
    }

    /// Counts an error by its prefix.
    pub(crate) fn count_error(&self, reply: &Reply) {
        let Reply::Error(text) = reply else { return };
        self.count_error_prefix(text.split(' ').next().unwrap_or_default());
    }

    /// Counts an error by its prefix.
    pub(crate) fn count_error_prefix(&self, prefix: &str) {
        self.error_total.fetch_add(1, Ordering::Relaxed);
        let mut errors = self.errors.lock();
        if let Some(count) = errors.get_mut(prefix) {
            *count += 1;
        } else if errors.len() < ERRORS_MAX {
            errors.insert(prefix.to_owned(), 1);
        }
    }

    /// Counts a read of a key by its reply.
    pub(crate) fn count_read(&self, reply: &Reply) {
        let is_miss = match reply {
            Reply::Null | Reply::NullArray => true,
            Reply::Array(items) | Reply::Set(items) => items.is_empty(),
            Reply::Map(pairs) | Reply::Pairs(pairs) => pairs.is_empty(),
            _ => false,
        };
        let counter = if is_miss { &self.misses } else { &self.hits };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset(&self) {
        for counters in &self.commands {
            for counter in [&counters.calls, &counters.micros, &counters.rejected, &counters.failed] {
                counter.store(0, Ordering::Relaxed);
            }
        }
        self.errors.lock().clear();
        for counter in [
            &self.error_total,
            &self.connection_total,
            &self.rejected_total,
            &self.expired_total,
            &self.evicted_total,
            &self.acl_denied_auth,
            &self.read_bytes,
            &self.sent_bytes,
            &self.hits,
            &self.misses,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
    }
}
