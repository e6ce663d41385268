//! Freeing what is large. It takes seconds for millions of parts, and who waits for the lock would wait for that.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::object::Value;

/// From so many bytes on it is worth a thread.
const LARGE_BYTES: usize = 16 << 20;
/// Threads at a time; what comes beside them is freed where it is.
const THREADS_MAX: usize = 4;

static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Frees something that has about so many bytes in many parts.
pub(crate) fn free<T: Send + 'static>(gone: T, bytes: usize) {
    if bytes < LARGE_BYTES || THREADS.fetch_add(1, Ordering::Relaxed) >= THREADS_MAX {
        if bytes >= LARGE_BYTES {
            THREADS.fetch_sub(1, Ordering::Relaxed);
        }
        return;
    }
    let work = move || {
        drop(gone);
        THREADS.fetch_sub(1, Ordering::Relaxed);
    };
    // Where there is no thread to be had it has gone with the closure.
    if std::thread::Builder::new().name("keyspace-free".to_owned()).spawn(work).is_err() {
        THREADS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Frees what a key held.
pub(crate) fn free_value(gone: Value) {
    // A string is one part.
    let bytes = if matches!(gone, Value::String(_)) { 0 } else { gone.memory() };
    free(gone, bytes);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_is_large_is_freed_all_the_same() {
        let held = Arc::new(());
        for bytes in [0, LARGE_BYTES - 1, LARGE_BYTES, usize::MAX] {
            for _ in 0..2 * THREADS_MAX {
                free(Arc::clone(&held), bytes);
            }
        }
        while Arc::strong_count(&held) > 1 {
            std::thread::yield_now();
        }
    }
}
