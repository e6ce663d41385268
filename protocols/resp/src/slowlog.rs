//! SLOWLOG: commands that took long.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::client::Client;
use crate::config::Hot;

/// Arguments that are kept of a command.
const ARGS_MAX: usize = 32;
/// Bytes that are kept of an argument.
const ARG_BYTES_MAX: usize = 128;

/// A command that took long.
#[derive(Clone, Debug)]
pub(crate) struct Slow {
    pub(crate) id: i64,
    pub(crate) time: i64,
    pub(crate) micros: i64,
    pub(crate) args: Vec<Bytes>,
    pub(crate) address: String,
    pub(crate) name: String,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct SlowLog {
    entries: Mutex<VecDeque<Slow>>,
    next_id: AtomicI64,
}

impl SlowLog {
    /// Keeps a command if it took long enough.
    pub(crate) fn keep(&self, hot: &Hot, client: &Client, args: &[Bytes], took: Duration) {
        let limit = hot.slowlog_slower_than_us.load(Ordering::Relaxed);
        let micros = i64::try_from(took.as_micros()).unwrap_or(i64::MAX);
        if limit < 0 || micros < limit {
            return;
        }
        let length_max = hot.slowlog_length_max.load(Ordering::Relaxed);
        let mut kept: Vec<Bytes> = Vec::with_capacity(args.len().min(ARGS_MAX));
        let hides = args.first().is_some_and(|name| crate::monitor::hides(name));
        for (number, arg) in args.iter().enumerate() {
            if args.len() > ARGS_MAX && number == ARGS_MAX - 1 {
                kept.push(format!("... ({} more arguments)", args.len() - ARGS_MAX + 1).into());
                break;
            }
            kept.push(if hides && number > 0 {
                Bytes::from_static(b"(redacted)")
            } else if arg.len() > ARG_BYTES_MAX {
                let mut cut = arg[..ARG_BYTES_MAX].to_vec();
                cut.extend(format!("... ({} more bytes)", arg.len() - ARG_BYTES_MAX).bytes());
                cut.into()
            } else {
                Bytes::copy_from_slice(arg)
            });
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let slow = Slow {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            time: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
            micros,
            args: kept,
            address: client.address(),
            name: client.view.lock().name.clone(),
        };
        let mut entries = self.entries.lock();
        entries.push_front(slow);
        entries.truncate(length_max);
    }

    /// The newest, at most `count`.
    pub(crate) fn newest(&self, count: usize) -> Vec<Slow> {
        self.entries.lock().iter().take(count).cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.lock().len()
    }

    pub(crate) fn clear(&self) {
        self.entries.lock().clear();
    }
}
