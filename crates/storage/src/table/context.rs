//! What every table of a store shares: the LSM, the caches, the budget, the clock of the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use bytes::Bytes;
use parking_lot::Mutex;
use perigee_types::{Hlc, LogIndex, Oid};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::chunk::{Chunk, array_bytes};
use super::fate::NEVER;
use super::index::cache::IndexCache;
use crate::budget::{Guard, MemoryBudget};
use crate::checkpoint::format;
use crate::cold::{ColdError, ColdStore, LoggedManifest, Manifests};
use crate::encoding::decode_column;
use crate::kv::SharedKv;
use crate::store::StoreError;

/// How far the log is applied, and the oldest index that a reader may still ask for.
#[derive(Debug)]
pub(crate) struct Clock {
    applied: AtomicU64,
    time: AtomicU64,
    open: Mutex<BTreeMap<u64, usize>>,
    published: tokio::sync::watch::Sender<LogIndex>,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            applied: AtomicU64::default(),
            time: AtomicU64::default(),
            open: Mutex::default(),
            published: tokio::sync::watch::Sender::new(LogIndex(0)),
        }
    }
}

impl Clock {
    /// The last index that readers see.
    pub(crate) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// Time of the last entry that readers see.
    pub(crate) fn time_micros(&self) -> u64 {
        Hlc(self.time.load(Ordering::Relaxed)).micros()
    }

    /// Shows readers everything through `index`.
    pub(crate) fn publish(&self, index: LogIndex, time: Hlc) {
        self.time.store(time.0, Ordering::Relaxed);
        self.applied.store(index.0, Ordering::Release);
        // Nobody listens on most nodes, and then it costs one load.
        if self.published.receiver_count() > 0 {
            self.published.send_replace(index);
        }
    }

    /// Follows the applied index. What was published before is not told.
    pub(crate) fn published(&self) -> tokio::sync::watch::Receiver<LogIndex> {
        self.published.subscribe()
    }

    /// Opens a snapshot at the applied index.
    pub(crate) fn open(&self) -> u64 {
        let mut open = self.open.lock();
        // Read under the lock: a horizon computed before has seen an older index, one computed later sees this one.
        let index = self.applied();
        *open.entry(index).or_default() += 1;
        index
    }

    /// Closes a snapshot.
    pub(crate) fn close(&self, index: u64) {
        let mut open = self.open.lock();
        if let Some(count) = open.get_mut(&index) {
            *count -= 1;
            if *count == 0 {
                open.remove(&index);
            }
        }
    }

    /// Holds the applied index open until it is dropped.
    pub(crate) fn hold(&self) -> Held<'_> {
        Held { clock: self, index: self.open() }
    }

    /// No reader asks for an older index: a version that ended at or before it is dead.
    pub(crate) fn horizon(&self) -> u64 {
        let open = self.open.lock();
        open.keys().next().copied().unwrap_or_else(|| self.applied())
    }

    pub(crate) fn snapshots(&self) -> usize {
        self.open.lock().values().sum()
    }

    /// The index that a reader means: the latest applied for [`super::LATEST`].
    pub(crate) fn resolve(&self, at: LogIndex) -> u64 {
        if at.0 == NEVER { self.applied() } else { at.0 }
    }
}

/// An index held open for the length of one look.
pub(crate) struct Held<'a> {
    clock: &'a Clock,
    index: u64,
}

impl Held<'_> {
    pub(crate) fn index(&self) -> u64 {
        self.index
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.clock.close(self.index);
    }
}

/// What the tables of one store share.
pub(crate) struct Shared {
    pub(crate) kv: SharedKv,
    pub(crate) budget: Arc<MemoryBudget>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) cold: Option<Arc<ColdStore>>,
    pub(crate) index_cache: IndexCache,
    warm: Cache<(u64, usize), Arc<CachedColumn>, ColumnWeight>,
    instances: AtomicU64,
}

/// A decoded column, counted while anyone holds it through the cache.
pub(crate) struct CachedColumn {
    array: ArrayRef,
    bytes: Guard,
}

#[derive(Clone)]
struct ColumnWeight;

impl Weighter<(u64, usize), Arc<CachedColumn>> for ColumnWeight {
    fn weight(&self, _: &(u64, usize), column: &Arc<CachedColumn>) -> u64 {
        column.bytes.bytes().max(64)
    }
}

impl Shared {
    pub(crate) fn new(
        kv: SharedKv,
        budget: Arc<MemoryBudget>,
        clock: Arc<Clock>,
        cold: Option<Arc<ColdStore>>,
    ) -> Self {
        // Caches live inside the hot share, beside the chunks.
        let columns = budget.hot.limit() / 2;
        let keys = (budget.hot.limit() / 16).min(256 << 20);
        Self {
            kv,
            budget,
            clock,
            cold,
            index_cache: IndexCache::new(keys),
            warm: Cache::with_weighter(4_096, columns, ColumnWeight),
            instances: AtomicU64::new(1),
        }
    }

    /// Empties the cache of decoded columns, for eviction and tests.
    pub(crate) fn forget_warm(&self) {
        self.warm.clear();
    }

    /// Bytes of decoded columns in the cache.
    pub(crate) fn warm_bytes(&self) -> u64 {
        self.warm.weight()
    }
}

/// What one table needs of its surroundings.
#[derive(Clone)]
pub(crate) struct TableContext {
    pub(crate) storage: Oid,
    shared: Arc<Shared>,
    /// What apply has logged of the table's cold files, for all clones.
    manifests: Arc<ArcSwap<Vec<Arc<LoggedManifest>>>>,
}

impl std::ops::Deref for TableContext {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl TableContext {
    pub(crate) fn new(storage: Oid, shared: Arc<Shared>) -> Self {
        Self { storage, shared, manifests: Arc::default() }
    }

    pub(crate) fn next_instance(&self) -> u64 {
        self.instances.fetch_add(1, Ordering::Relaxed)
    }

    /// The table's manifests, oldest first.
    pub(crate) fn manifests(&self) -> Manifests {
        self.manifests.load_full()
    }

    pub(crate) fn set_manifests(&self, manifests: Manifests) {
        self.manifests.store(manifests);
    }

    /// Columns of rows of cold files, by number and type, in the order of `vids`. `begins` bounds where they begin.
    pub(crate) fn cold_rows(
        &self,
        vids: &[u64],
        begins: (u64, u64),
        columns: &[(u16, DataType)],
    ) -> Result<Vec<ArrayRef>, StoreError> {
        let store = self.cold.as_ref().ok_or(ColdError::NoStore)?;
        let manifests = self.manifests();
        // A row that has ended is in files that were replaced, as long as a snapshot may ask for it. Behind that nobody does,
        // and the files may be gone.
        let oldest = LogIndex(self.clock.horizon());
        let covering = manifests.iter().filter(|manifest| manifest.covers(begins));
        store.rows(covering.flat_map(|manifest| manifest.read_from(oldest)), vids, columns)
    }

    /// A column of a chunk that is not in memory, decoded once and kept while the cache has room.
    pub(crate) fn warm_column(
        &self,
        chunk: &Chunk,
        place: usize,
        packed: Option<bool>,
    ) -> Result<ArrayRef, StoreError> {
        let cached = self.warm.get_or_insert_with(&(chunk.instance(), place), || {
            let array = self.read_column(chunk, place, packed)?;
            let bytes = self.budget.hot.reserve(array_bytes(&array));
            Ok::<_, StoreError>(Arc::new(CachedColumn { array, bytes }))
        })?;
        Ok(Arc::clone(&cached.array))
    }

    /// Columns of a cold chunk, read together and not kept.
    pub(crate) fn cold_columns(&self, chunk: &Chunk, places: &[usize]) -> Result<Vec<ArrayRef>, StoreError> {
        let vids: Vec<u64> = chunk.vids().iter().collect();
        let columns = places.iter().map(|place| &chunk.columns()[*place]);
        let columns: Vec<_> = columns.map(|column| (column.number, column.ty.clone())).collect();
        self.cold_rows(&vids, chunk.begins().bounds(), &columns)
    }

    /// `packed`: how it stands in the LSM, `None` where it does not.
    fn read_column(&self, chunk: &Chunk, place: usize, packed: Option<bool>) -> Result<ArrayRef, StoreError> {
        let column = &chunk.columns()[place];
        let Some(packed) = packed else {
            let mut read = self.cold_columns(chunk, &[place])?;
            return read.pop().ok_or_else(|| StoreError::Arrow("a cold column was not read".to_owned()));
        };
        let key = format::column_key(self.storage, chunk.first(), if packed { 0 } else { column.number });
        let missing = || StoreError::Damaged { at: format::describe(&key), what: "the column is missing".to_owned() };
        let value: Bytes = self.kv.get(&key)?.ok_or_else(missing)?;
        let bytes = if packed { format::unpack(&value, column.number, &key)? } else { &value[..] };
        decode_column(bytes, &column.ty, chunk.rows()).map_err(|error| StoreError::Column {
            storage: self.storage,
            column: column.number,
            error,
        })
    }
}
