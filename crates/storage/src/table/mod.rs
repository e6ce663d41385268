//! One table: its chunks, its open rows and its indexes.
//!
//! ```text
//!          entries in log order
//!                 |
//!                 v           256 rows            merge small neighbours, drop dead rows
//!             open rows  ------------------> chunks ----------------------------------> chunks
//!             (as rows)    bulk batches come
//!                          as chunks at once
//! ```
//!
//! A row version has a vid, given out in log order. An update ends a vid and appends a row. It is visible to a snapshot S
//! when begin <= S < end. Apply is the only one that appends and ends; maintenance only replaces chunks by others that
//! show every open snapshot the same rows. Readers pin what they read and hold locks for the length of a look-up.
//!
//! Locks are taken in this order and held for microseconds: an index's deltas, the table's state, a chunk's own.

mod append;
pub(crate) mod chunk;
pub(crate) mod compact;
pub(crate) mod context;
pub(crate) mod directory;
pub(crate) mod ends;
pub(crate) mod fate;
pub(crate) mod index;
mod mark;
mod newest;
pub(crate) mod open_rows;
mod read;
mod scan;
pub(crate) mod schema;
pub(crate) mod vids;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use perigee_types::catalog::{Index, Table};
use perigee_types::{IndexId, LogIndex, Oid, SqlType};

use self::chunk::Chunk;
use self::context::TableContext;
use self::directory::Directory;
use self::fate::NEVER;
use self::index::TableIndex;
use self::open_rows::OpenRows;
use self::schema::TableSchema;
use crate::budget::Guard;
use crate::cold::{LoggedManifest, Manifest, Manifests, with_manifest, without_unread};
use crate::store::{StoreError, TableStatistics};

pub(crate) use append::Begin;
pub(crate) use index::VidList;
pub use newest::NewestRequest;
pub use scan::{Begun, ChunkScan, TableScan, VID_COLUMN};

/// Where a chunk's columns are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// In memory.
    Hot,
    /// In the LSM, read through a cache.
    Warm,
    /// In Parquet files of an object store.
    Cold,
}

/// Stands for the latest applied index where an index is asked for.
pub const LATEST: LogIndex = LogIndex(NEVER);

/// The rows of one table. Shared by apply, readers, maintenance and checkpoints.
pub struct TableStore {
    pub(crate) context: TableContext,
    schema: ArcSwap<TableSchema>,
    state: RwLock<State>,
    indexes: ArcSwap<Vec<Arc<TableIndex>>>,
    /// The vid of the next row. Only apply moves it.
    next_vid: AtomicU64,
    live: AtomicI64,
    /// The index that dropped the table, [`NEVER`] while it exists.
    dropped_at: AtomicU64,
    /// Something changed that the next checkpoint has to write.
    dirty: AtomicBool,
    open_bytes: Mutex<Guard>,
    /// What the LSM holds of the table's chunks. Only checkpoints use it.
    pub(crate) written: Mutex<BTreeMap<u64, WrittenChunk>>,
    /// Chunks that may have enough dead rows to be rewritten.
    worn: Mutex<Vec<Arc<Chunk>>>,
    /// Chunks before this vid and chunks from it on are not merged: those before it are about to become cold.
    seal: AtomicU64,
    /// The last manifest for which no chunk is left that could become cold.
    pub(crate) settled: AtomicU64,
    /// Hidden chunks of aborted transactions, whose entries still stand in the indexes.
    aborted: Mutex<Vec<Arc<Chunk>>>,
}

/// What readers pin.
#[derive(Clone, Default)]
struct State {
    directory: Arc<Directory>,
    open: Arc<OpenRows>,
}

/// Which values of a chunk the LSM holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrittenChunk {
    /// Column numbers; 0 alone for a packed chunk.
    pub(crate) columns: Vec<u16>,
    pub(crate) marks: bool,
}

/// What a checkpoint keeps of a table beside its chunks.
pub(crate) struct TableFacts {
    pub(crate) schema: TableSchema,
    pub(crate) next_vid: u64,
    pub(crate) indexes: Vec<Arc<TableIndex>>,
    pub(crate) manifests: Vec<Arc<LoggedManifest>>,
}

impl TableStore {
    /// An empty table.
    pub(crate) fn new(context: TableContext, table: &Table) -> Arc<Self> {
        let facts = TableFacts {
            schema: TableSchema::default().with(table),
            next_vid: 0,
            indexes: Vec::new(),
            manifests: Vec::new(),
        };
        let store = Self::restored(context, facts, Vec::new(), OpenRows::default(), BTreeMap::new());
        store.dirty.store(true, Ordering::Release);
        store
    }

    /// A table as a checkpoint kept it.
    pub(crate) fn restored(
        context: TableContext,
        facts: TableFacts,
        chunks: Vec<Arc<Chunk>>,
        open: OpenRows,
        written: BTreeMap<u64, WrittenChunk>,
    ) -> Arc<Self> {
        let live = chunks.iter().filter(|c| c.begins().bounds().0 != NEVER).map(|c| c.live()).sum::<usize>()
            + open.ends.iter().filter(|end| **end == NEVER).count();
        context.set_manifests(Arc::new(facts.manifests));
        let open_bytes = context.budget.dirty.reserve(open.bytes);
        let worn = chunks.iter().filter(|c| c.ends.count() * 2 > c.rows()).cloned().collect();
        Arc::new(Self {
            schema: ArcSwap::from_pointee(facts.schema),
            state: RwLock::new(State { directory: Arc::new(Directory::new(chunks)), open: Arc::new(open) }),
            indexes: ArcSwap::from_pointee(facts.indexes),
            next_vid: AtomicU64::new(facts.next_vid),
            live: AtomicI64::new(live as i64),
            dropped_at: AtomicU64::new(NEVER),
            dirty: AtomicBool::new(false),
            open_bytes: Mutex::new(open_bytes),
            written: Mutex::new(written),
            worn: Mutex::new(worn),
            seal: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            aborted: Mutex::default(),
            context,
        })
    }

    /// Names the rows: `catalog::Table::storage`.
    #[must_use]
    pub fn storage(&self) -> Oid {
        self.context.storage
    }

    /// Rows that have not ended, about: rows whose entry readers do not see yet are counted already.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        self.live.load(Ordering::Relaxed).try_into().unwrap_or(0)
    }

    /// Whether an index holds every row.
    #[must_use]
    pub fn index_ready(&self, index: IndexId) -> bool {
        self.index(index).is_ok_and(|index| index.is_ready())
    }

    /// The types of columns, `None` where one does not exist.
    #[must_use]
    pub fn column_types(&self, columns: &[u16]) -> Option<Vec<SqlType>> {
        self.schema.load().types(columns)
    }

    pub(crate) fn schema(&self) -> Arc<TableSchema> {
        self.schema.load_full()
    }

    /// The columns of the storage, with those that only a `definition` knows which is not committed yet.
    pub(crate) fn schema_as(&self, definition: Option<&Table>) -> Arc<TableSchema> {
        let schema = self.schema();
        match definition {
            Some(table) if table.columns.iter().any(|c| schema.column(c.number).is_none()) => {
                Arc::new(schema.with(table))
            }
            _ => schema,
        }
    }

    pub(crate) fn indexes(&self) -> Arc<Vec<Arc<TableIndex>>> {
        self.indexes.load_full()
    }

    pub(crate) fn index(&self, oid: IndexId) -> Result<Arc<TableIndex>, StoreError> {
        let indexes = self.indexes.load();
        indexes.iter().find(|index| index.oid == oid).cloned().ok_or(StoreError::UnknownIndex(oid))
    }

    pub(crate) fn next_vid(&self) -> u64 {
        self.next_vid.load(Ordering::Acquire)
    }

    /// Whether it holds no row version at all, so that a new index has nothing to be filled from.
    pub(crate) fn is_empty(&self) -> bool {
        let state = self.state.read();
        state.open.is_empty() && state.directory.chunks().is_empty()
    }

    /// The chunks and the open rows as they are now.
    pub(crate) fn pin(&self) -> (Arc<Directory>, Arc<OpenRows>) {
        let state = self.state.read();
        (Arc::clone(&state.directory), Arc::clone(&state.open))
    }

    /// Takes over the columns of a definition that `committed` does not have: a staged transaction has added them, and its
    /// rows come before it commits. Nobody else asks for them.
    pub(crate) fn learn(&self, table: &Table, committed: &Table) {
        self.schema.store(Arc::new(self.schema.load().with_new(table, committed)));
        self.mark_dirty();
    }

    /// Whether rows of this definition can be read: all of its columns are known as they are.
    #[must_use]
    pub fn knows(&self, table: &Table) -> bool {
        let schema = self.schema();
        table.columns.iter().all(|column| schema.column(column.number).is_some_and(|known| known.ty == column.ty))
    }

    /// The catalog has a new version of the table. Columns are only ever added here.
    pub(crate) fn alter(&self, table: &Table) {
        self.schema.store(Arc::new(self.schema.load().with(table)));
        self.mark_dirty();
    }

    /// Maintains an index from here on. It is ready at once when there is no older row.
    pub(crate) fn add_index(&self, index: &Index) {
        let mut indexes = self.indexes.load().as_ref().clone();
        if indexes.iter().any(|known| known.oid == index.oid) {
            return;
        }
        indexes.push(TableIndex::new(&self.context, index.oid, &index.columns, index.unique, self.is_empty()));
        self.indexes.store(Arc::new(indexes));
        self.mark_dirty();
    }

    /// Gives up an index. Queries that use it keep it until they end.
    pub(crate) fn drop_index(&self, oid: IndexId) -> Option<Arc<TableIndex>> {
        let mut indexes = self.indexes.load().as_ref().clone();
        let at = indexes.iter().position(|index| index.oid == oid)?;
        let dropped = indexes.remove(at);
        self.indexes.store(Arc::new(indexes));
        self.mark_dirty();
        Some(dropped)
    }

    pub(crate) fn mark_dropped(&self, index: LogIndex) {
        self.dropped_at.store(index.0, Ordering::Release);
    }

    pub(crate) fn dropped_at(&self) -> u64 {
        self.dropped_at.load(Ordering::Acquire)
    }

    pub(crate) fn mark_dirty(&self) {
        self.dirty.store(true, Ordering::Release);
    }

    /// Whether anything changed that the next checkpoint has to write.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire) && self.dropped_at() == NEVER
    }

    /// Whether anything changed since the last call.
    pub(crate) fn take_dirty(&self) -> bool {
        self.dirty.swap(false, Ordering::AcqRel)
    }

    /// The table's manifests, oldest first.
    #[must_use]
    pub fn manifests(&self) -> Manifests {
        self.context.manifests()
    }

    /// Where the next manifest begins: the horizon of the last one.
    #[must_use]
    pub fn cold_horizon(&self) -> LogIndex {
        self.manifests().last().map_or(LogIndex(0), |last| last.manifest.horizon)
    }

    /// Takes over what an entry says about cold files; `false` where it has no effect, because another one came first. Where
    /// chunks go follows behind.
    pub(crate) fn add_manifest(&self, index: LogIndex, manifest: Manifest) -> Result<bool, StoreError> {
        let horizon = manifest.horizon.0;
        let Some(manifests) = with_manifest(&self.manifests(), index, manifest) else { return Ok(false) };
        // Rows that stand one by one are in no chunk that could become cold.
        if self.pin().1.begins.first().is_some_and(|begin| *begin <= horizon) {
            self.close_open_rows()?;
        }
        self.context.set_manifests(manifests);
        self.mark_dirty();
        Ok(true)
    }

    /// Lets go of replaced manifests that no snapshot from `oldest` on reads. Not beside apply.
    pub(crate) fn forget_replaced(&self, oldest: LogIndex) {
        if let Some(manifests) = without_unread(&self.manifests(), oldest) {
            self.context.set_manifests(manifests);
            self.mark_dirty();
        }
    }

    /// The table in numbers.
    pub(crate) fn statistics(&self) -> TableStatistics {
        let (directory, open) = self.pin();
        let chunks = directory.chunks();
        let bytes = |tier| chunks.iter().filter(|c| c.tier() == tier).map(|c| c.bytes() as u64).sum::<u64>();
        TableStatistics {
            storage: self.storage(),
            rows: self.row_count(),
            dead_rows: chunks.iter().map(|c| c.ends.count() as u64).sum(),
            chunks: chunks.len(),
            hot_bytes: bytes(Tier::Hot) + open.bytes as u64,
            warm_bytes: bytes(Tier::Warm),
            index_delta_bytes: self.indexes().iter().map(|index| index.delta_bytes()).sum(),
        }
    }

    fn add_live(&self, rows: i64) {
        self.live.fetch_add(rows, Ordering::Relaxed);
    }
}
