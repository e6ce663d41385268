//! A read view of the store at one index.

use std::fmt;
use std::sync::Arc;

use perigee_types::catalog::Catalog;
use perigee_types::{LogIndex, Oid};

use super::Store;
use crate::table::TableStore;

/// A read view at an applied index. While it lives, no version that it sees is dropped.
pub struct Snapshot {
    /// The index it shows.
    pub index: LogIndex,
    /// The catalog as of that index.
    pub catalog: Arc<Catalog>,
    store: Arc<Store>,
    /// The view that holds the index open, for one that only differs in its catalog.
    base: Option<Arc<Snapshot>>,
}

impl Store {
    /// Opens a view at the applied index.
    #[must_use]
    pub fn snapshot(self: &Arc<Self>) -> Arc<Snapshot> {
        let index = self.clock.open();
        Arc::new(Snapshot {
            index: LogIndex(index),
            catalog: self.catalogs.at(index),
            store: Arc::clone(self),
            base: None,
        })
    }
}

impl Snapshot {
    /// The store it is a view of.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The same rows under another catalog: that of a transaction which has changed it and not committed yet.
    #[must_use]
    pub fn with_catalog(self: &Arc<Self>, catalog: Arc<Catalog>) -> Arc<Self> {
        Arc::new(Self { index: self.index, catalog, store: Arc::clone(&self.store), base: Some(Arc::clone(self)) })
    }

    /// The view with the catalog that all see.
    #[must_use]
    pub fn committed(self: &Arc<Self>) -> Arc<Self> {
        Arc::clone(self.base.as_ref().unwrap_or(self))
    }

    /// A table of this view's catalog by storage oid, also one that was dropped since. `None` for a table that the
    /// view's index does not know.
    #[must_use]
    pub fn table(&self, storage: Oid) -> Option<Arc<TableStore>> {
        self.store.any_table(storage).filter(|table| self.index.0 < table.dropped_at())
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if self.base.is_none() {
            self.store.clock.close(self.index.0);
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({})", self.index)
    }
}
