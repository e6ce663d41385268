//! Eviction: memory copies of chunks that the LSM holds as well.

use std::sync::Arc;

use super::Store;
use crate::table::chunk::Chunk;

impl Store {
    /// Drops memory copies, the longest unused first: those older than `hot_retention`, and more while hot data is over
    /// its share. What no checkpoint holds yet stays.
    pub fn evict(&self) {
        let retention = self.options.hot_retention.map(|age| u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
        let hot = &self.shared.budget.hot;
        if retention.is_none() && hot.excess() == 0 {
            return;
        }
        let mut chunks: Vec<Arc<Chunk>> = Vec::new();
        for table in self.all_tables() {
            chunks.extend(table.pin().0.chunks().iter().filter(|c| !c.columns_dirty() && c.is_hot()).cloned());
        }
        chunks.sort_by_key(|chunk| chunk.used());
        let now = self.clock.time_micros();
        for chunk in chunks {
            let old = retention.is_some_and(|age| now.saturating_sub(chunk.used()) >= age);
            if !old && hot.excess() == 0 {
                break;
            }
            chunk.evict();
        }
        if hot.excess() > 0 {
            // Chunks are gone as far as they may; what is left is mostly decoded columns.
            self.shared.forget_warm();
        }
    }

    /// Drops every memory copy that the LSM holds as well, and what was decoded of it. For tests and for measuring.
    pub fn evict_all(&self) {
        for table in self.all_tables() {
            for chunk in table.pin().0.chunks() {
                chunk.evict();
            }
        }
        self.shared.forget_warm();
    }
}
