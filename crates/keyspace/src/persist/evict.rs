//! Eviction from memory: what the LSM holds as well may go. Nobody sees it, but for the time that the next read takes.

use std::sync::atomic::Ordering;

use crate::Keyspace;
use crate::db::{Db, hash_of};
use crate::state::State;

/// Buckets that are looked at under one lock.
const TURN: usize = 64;

impl Keyspace {
    /// Evicts objects that have not been used for long until about `bytes` are free, or all that can be. Gives the bytes
    /// that it freed. Blocking, in short turns. Goes on where it has stopped the last time.
    pub fn evict(&self, bytes: usize) -> usize {
        let mut freed = 0;
        // First what was not used for a while, then whatever is clean.
        let now = self.uptime();
        for limit in [now / 2, now - now / 8, u32::MAX] {
            let ids = self.state.read().db_ids();
            for id in ids {
                let mut left = self.state.read().db(id).map_or(0, Db::buckets);
                while freed < bytes && left > 0 {
                    let mut state = self.state.write();
                    freed += state.evict_some(id, limit);
                    self.account(&state);
                    left = left.saturating_sub(TURN);
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
    fn evict_some(&mut self, id: crate::DbId, used_max: u32) -> usize {
        let (durable, frozen) = (self.durable, self.frozen);
        let Some(db) = self.dbs.get_mut(&id) else { return 0 };
        let mut freed = 0;
        let (gone, next) = db.extract_from(db.evict_at, TURN, |entry| {
            entry.generation <= durable
                && Some(entry.generation) != frozen
                && entry.used.load(Ordering::Relaxed) <= used_max
        });
        db.evict_at = next.unwrap_or(0);
        for entry in gone {
            freed += entry.counted;
            if let Some(due) = entry.due() {
                db.expires.remove(&(due, hash_of(&entry.key), entry.key.clone()));
            }
            if entry.value.is_some() {
                (db.hot, db.cold) = (db.hot.saturating_sub(1), db.cold + 1);
            }
        }
        self.memory = self.memory.saturating_sub(freed);
        freed
    }
}
