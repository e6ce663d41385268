//! Eviction from memory: what the LSM holds as well may go. Nobody sees it, but for the time that the next read takes.

use std::sync::atomic::Ordering;

use crate::Keyspace;
use crate::db::hash_of;
use crate::state::State;

/// Buckets that are looked at under one lock.
const TURN: usize = 64;

impl Keyspace {
    /// Evicts objects that have not been used for long until about `bytes` are free, or all that can be. Gives the bytes
    /// that it freed. Blocking, in short turns.
    pub fn evict(&self, bytes: usize) -> usize {
        let mut freed = 0;
        // First what was not used for a while, then whatever is clean.
        let now = self.uptime();
        for limit in [now / 2, now - now / 8, u32::MAX] {
            let ids = self.state.read().db_ids();
            for id in ids {
                let mut at = 0;
                while freed < bytes {
                    let mut state = self.state.write();
                    let (more, next) = state.evict_some(id, at, limit);
                    self.account(&state);
                    freed += more;
                    match next {
                        Some(next) => at = next,
                        None => break,
                    }
                }
            }
            if freed >= bytes {
                break;
            }
        }
        freed
    }
}

impl State {
    fn evict_some(&mut self, id: crate::DbId, from: usize, used_max: u32) -> (usize, Option<usize>) {
        let (durable, frozen) = (self.durable, self.frozen);
        let Some(db) = self.dbs.get_mut(&id) else { return (0, None) };
        let mut freed = 0;
        let (gone, next) = db.extract_from(from, TURN, |entry| {
            entry.generation <= durable
                && Some(entry.generation) != frozen
                && entry.used.load(Ordering::Relaxed) <= used_max
        });
        let any = !gone.is_empty();
        for entry in gone {
            freed += entry.counted;
            if let Some(due) = entry.due {
                db.expires.remove(&(due, hash_of(&entry.key), entry.key.clone()));
            }
            if entry.value.is_some() {
                (db.hot, db.cold) = (db.hot.saturating_sub(1), db.cold + 1);
            }
        }
        self.memory = self.memory.saturating_sub(freed);
        if any {
            self.evictions += 1;
        }
        (freed, next)
    }
}
