//! Versions of the catalog, as long as an open snapshot may ask for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use perigee_types::catalog::Catalog;

/// Catalogs by the index that made them, ascending; never empty.
pub(super) struct Catalogs {
    versions: RwLock<Vec<Arc<Catalog>>>,
    /// The version of the newest, for who only asks whether there is a newer one.
    newest: AtomicU64,
}

impl Catalogs {
    pub(super) fn new(catalog: Catalog) -> Self {
        Self { newest: AtomicU64::new(catalog.version.0), versions: RwLock::new(vec![Arc::new(catalog)]) }
    }

    /// The catalog that `index` meets.
    pub(super) fn at(&self, index: u64) -> Arc<Catalog> {
        let versions = self.versions.read();
        let behind = versions.partition_point(|catalog| catalog.version.0 <= index);
        Arc::clone(&versions[behind.saturating_sub(1)])
    }

    /// The newest, applied or about to be.
    pub(super) fn newest(&self) -> Arc<Catalog> {
        let versions = self.versions.read();
        Arc::clone(&versions[versions.len() - 1])
    }

    pub(super) fn newest_version(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    pub(super) fn push(&self, catalog: Catalog) {
        let version = catalog.version.0;
        self.versions.write().push(Arc::new(catalog));
        self.newest.store(version, Ordering::Release);
    }

    /// Keeps the newest version from handing out an oid below `next`.
    pub(super) fn reserve_oids(&self, next: u32) {
        let mut versions = self.versions.write();
        if let Some(newest) = versions.last_mut().filter(|newest| newest.next_oid() < next) {
            Arc::make_mut(newest).reserve_oids(next);
        }
    }

    /// Forgets versions that nobody at or behind the horizon meets.
    pub(super) fn prune(&self, horizon: impl FnOnce() -> u64) {
        if self.versions.read().len() == 1 {
            return;
        }
        let horizon = horizon();
        let mut versions = self.versions.write();
        let behind = versions.partition_point(|catalog| catalog.version.0 <= horizon);
        versions.drain(..behind.saturating_sub(1));
    }
}
