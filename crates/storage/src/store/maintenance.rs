//! Work behind apply: rewriting worn chunks, letting go of what no reader needs any more.

use std::sync::{Arc, Weak};
use std::time::Duration;

use perigee_types::{Hlc, LogIndex, Oid};

use super::{Store, StoreError};
use crate::checkpoint::format::GROUP;
use crate::kv::DroppedSet;

/// How long a chunk may be worn before it is looked at.
const INTERVAL: Duration = Duration::from_millis(50);

/// Starts the thread that maintains a store until the store is dropped.
pub(super) fn spawn(store: &Arc<Store>) -> Result<(), StoreError> {
    let weak = Arc::downgrade(store);
    let spawned = std::thread::Builder::new().name("store-maintain".to_owned()).spawn(move || run(&weak));
    spawned.map(drop).map_err(|error| StoreError::Kv(error.into()))
}

fn run(store: &Weak<Store>) {
    loop {
        std::thread::sleep(INTERVAL);
        let Some(store) = store.upgrade() else { return };
        if let Err(error) = store.maintain() {
            // Chunks stay as they were: correct, only larger. The next reader of the same bytes reports it to a client.
            tracing::error!(%error, "a chunk could not be rewritten");
        }
    }
}

impl Store {
    pub(super) fn publish(&self, index: LogIndex, time: Hlc) {
        self.clock.publish(index, time);
        self.catalogs.prune(|| self.clock.horizon());
    }

    /// Rewrites chunks of which more than half is dead, and lets go of dropped tables. Blocking; gives the count of chunks
    /// rewritten.
    ///
    /// # Errors
    /// The LSM's, where a warm chunk cannot be read. Nothing is lost by it.
    pub fn maintain(&self) -> Result<usize, StoreError> {
        self.release_dropped();
        self.settle_cold(None);
        let mut rewritten = 0;
        for table in self.all_tables() {
            rewritten += table.maintain()?;
        }
        Ok(rewritten)
    }

    /// Drops every dead version now, of one table (by storage oid) or of all.
    ///
    /// # Errors
    /// The LSM's, where a warm chunk cannot be read. Nothing is lost by it.
    pub fn vacuum(&self, table: Option<Oid>) -> Result<(), StoreError> {
        let tables = self.all_tables();
        for table in tables.iter().filter(|t| table.is_none_or(|only| t.storage() == only)) {
            {
                // Open rows belong to apply: this stands in for it between two entries.
                let _core = self.core.lock();
                table.close_open_rows()?;
            }
            table.vacuum()?;
        }
        Ok(())
    }

    /// Forgets dropped tables that no snapshot sees, and tells the LSM of those that nobody reads and that no restart
    /// would bring back.
    pub(crate) fn release_dropped(&self) {
        let horizon = self.clock.horizon();
        let gone: Vec<_> = {
            let tables = self.tables.read();
            if tables.values().all(|table| table.dropped_at() > horizon) {
                Vec::new()
            } else {
                drop(tables);
                self.tables.write().extract_if(|_, table| table.dropped_at() <= horizon).collect()
            }
        };
        drop(gone);
        let checkpoint = LogIndex(self.checkpoint_index.load(std::sync::atomic::Ordering::Acquire));
        let core = self.core.lock();
        let unread =
            core.dropped.tables.iter().filter(|(_, (at, readers))| *at <= checkpoint && readers.strong_count() == 0);
        let set: DroppedSet = unread.map(|(storage, _)| (GROUP, *storage)).collect();
        drop(core);
        let mut set = set;
        if let Some(companion) = &self.companion {
            set.extend(companion.dropped().into_iter().map(|oid| (GROUP, oid)));
        }
        let mut known = self.dropped_told.lock();
        if *known != set {
            known.clone_from(&set);
            self.shared.kv.dropped(set);
        }
    }
}
