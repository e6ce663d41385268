//! The store: all tables, the catalog and the sequences, as of the entries applied so far.
//!
//! ```text
//! committed entries --> Applier --> tables, catalog, sequences        one thread
//!                          |
//!                       publish: applied index moves                  readers see it
//!                          |
//! Snapshot (index, catalog) --> TableStore::{get, range, row, scan}   any thread, never waits for apply
//!
//! checkpoint, evict, maintain, backfill                               threads of their own
//! ```
//!
//! What readers see is decided by the applied index alone: apply may be in the middle of the next entry.

mod applier;
mod attest;
mod backfill;
mod catalogs;
mod ddl;
mod duplicates;
mod error;
mod eviction;
mod maintenance;
mod options;
mod overlay;
mod snapshot;
mod staged;
mod sums;
mod tiering;
mod timeline;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use perigee_types::catalog::Catalog;
use perigee_types::{Hlc, IndexId, LogIndex, Oid, Term, TransactionId};
use rustc_hash::FxHashMap;

pub(crate) use self::attest::Outcomes;
use self::catalogs::Catalogs;
pub(crate) use self::staged::Staged;
pub(crate) use self::timeline::Timeline;
use crate::budget::{MemoryBudget, Pressure};
use crate::checkpoint::CheckpointState;
use crate::companion::Companion;
use crate::kv::{DroppedSet, KvEngine};
use crate::table::TableStore;
use crate::table::context::{Clock, Shared, TableContext};
use crate::table::index::TableIndex;

pub use applier::Applier;
pub use attest::Attestation;
pub use duplicates::OwnRows;
pub use error::StoreError;
pub use options::{ApplyOutcome, Recovered, SequenceState, StoreOptions, StoreStatistics, TableStatistics};
pub use overlay::{Overlay, TableOverlay};
pub use snapshot::Snapshot;
pub use sums::{ContentSum, HeldStore};
pub use tiering::{Export, TierStatistics, file_path};
pub use verify::TableCheck;

/// All tables of a node.
pub struct Store {
    pub(crate) options: StoreOptions,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) companion: Option<Arc<dyn Companion>>,
    catalogs: Catalogs,
    tables: RwLock<FxHashMap<Oid, Arc<TableStore>>>,
    sequences: RwLock<FxHashMap<Oid, SequenceState>>,
    /// Held while an entry is applied, and by a checkpoint while it takes hold of the state: between two entries.
    pub(crate) core: Mutex<Core>,
    recovered: Recovered,
    pub(crate) checkpoints: Mutex<CheckpointState>,
    pub(crate) checkpoint_index: AtomicU64,
    pub(crate) checkpoint_time: AtomicU64,
    /// How many dropped tables the LSM has been told of.
    dropped_told: Mutex<DroppedSet>,
    /// Until when the object store is left alone.
    cold_retry: Mutex<Option<std::time::Instant>>,
    /// Transactions in the log that had no effect, for who reads it again.
    pub(crate) rejected: RwLock<BTreeSet<LogIndex>>,
}

/// What only apply changes.
#[derive(Default)]
pub(crate) struct Core {
    pub(crate) index: LogIndex,
    pub(crate) term: Term,
    pub(crate) time: Hlc,
    pub(crate) membership: Option<Vec<u8>>,
    pub(crate) staged: BTreeMap<TransactionId, Staged>,
    /// Catalog objects and sequences that the next checkpoint has to write.
    pub(crate) changed_objects: BTreeSet<Oid>,
    pub(crate) changed_sequences: BTreeSet<Oid>,
    pub(crate) dropped: Dropped,
    pub(crate) outcomes: Outcomes,
    pub(crate) timeline: Timeline,
}

/// What is dropped and still has keys in the LSM.
#[derive(Default)]
pub(crate) struct Dropped {
    /// Tables: the index that dropped each, and whoever still reads it.
    pub(crate) tables: BTreeMap<Oid, (LogIndex, Weak<TableStore>)>,
    /// Indexes of tables that live on.
    pub(crate) indexes: BTreeMap<(Oid, IndexId), DroppedIndex>,
}

/// A dropped index of a table that lives on.
#[derive(Clone)]
pub(crate) struct DroppedIndex {
    pub(crate) unique: bool,
    pub(crate) readers: Weak<TableIndex>,
}

/// What a checkpoint kept, for [`Store::open`].
pub(crate) struct Restored {
    pub(crate) recovered: Recovered,
    pub(crate) catalog: Catalog,
    pub(crate) tables: Vec<Arc<TableStore>>,
    pub(crate) sequences: FxHashMap<Oid, SequenceState>,
    pub(crate) core: Core,
    pub(crate) rejected: BTreeSet<LogIndex>,
}

impl Store {
    /// The LSM that checkpoints are written to.
    #[must_use]
    pub fn kv(&self) -> &dyn KvEngine {
        self.shared.kv.as_ref()
    }

    /// Opens a store: what the last checkpoint in `kv` holds, or a new one with the catalog of a new cluster.
    ///
    /// Give every entry behind [`Store::recovered`] to the applier; only then are reads up to date.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where a value of the checkpoint is not what was written; the LSM's.
    pub fn open(
        options: StoreOptions,
        kv: Arc<dyn KvEngine>,
        budget: Arc<MemoryBudget>,
    ) -> Result<(Arc<Store>, Applier), StoreError> {
        Self::open_with(options, kv, budget, None)
    }

    /// The same, with what is applied and checkpointed beside the tables; it has read its part of the checkpoint.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(
        options: StoreOptions,
        kv: Arc<dyn KvEngine>,
        budget: Arc<MemoryBudget>,
        companion: Option<Arc<dyn Companion>>,
    ) -> Result<(Arc<Store>, Applier), StoreError> {
        let clock = Arc::new(Clock::default());
        let shared = Arc::new(Shared::new(kv, budget, Arc::clone(&clock), options.cold.clone()));
        let restored = crate::checkpoint::load(&shared, &options.superuser)?;
        clock.publish(restored.recovered.index, restored.recovered.time);
        let store = Arc::new(Store {
            shared,
            clock,
            companion,
            catalogs: Catalogs::new(restored.catalog),
            tables: RwLock::new(restored.tables.into_iter().map(|table| (table.storage(), table)).collect()),
            sequences: RwLock::new(restored.sequences),
            core: Mutex::new(restored.core),
            checkpoints: Mutex::default(),
            checkpoint_index: AtomicU64::new(restored.recovered.index.0),
            checkpoint_time: AtomicU64::new(restored.recovered.time.0),
            dropped_told: Mutex::default(),
            cold_retry: Mutex::default(),
            rejected: RwLock::new(restored.rejected),
            recovered: restored.recovered,
            options,
        });
        if store.options.maintenance_thread {
            maintenance::spawn(&store)?;
        }
        let applier = Applier::new(Arc::clone(&store));
        Ok((store, applier))
    }

    /// What the restored checkpoint holds.
    #[must_use]
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// The last index that readers see.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        LogIndex(self.clock.applied())
    }

    /// Changes whenever more entries are applied; for who follows the log. Look at [`Store::applied`] first: what was
    /// published before is not told.
    #[must_use]
    pub fn published(&self) -> tokio::sync::watch::Receiver<LogIndex> {
        self.clock.published()
    }

    /// The catalog as of the applied index.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalogs.at(self.clock.applied())
    }

    /// The version of the newest catalog, which may not be published yet. Costs no lock: for who asks often whether what
    /// [`Store::catalog`] gave is still the latest.
    #[must_use]
    pub fn catalog_version(&self) -> u64 {
        self.catalogs.newest_version()
    }

    /// A table by storage oid, from the entry that made it. A dropped one stays as long as an open snapshot sees it; where
    /// that matters ask [`Snapshot::table`].
    #[must_use]
    pub fn table(&self, storage: Oid) -> Option<Arc<TableStore>> {
        self.any_table(storage)
    }

    /// Where a sequence stands, as of the newest entry.
    #[must_use]
    pub fn sequence(&self, oid: Oid) -> Option<SequenceState> {
        self.sequences.read().get(&oid).copied()
    }

    /// The last entry applied and the running digest of all outcomes there; `None` when nothing has changed since the last
    /// attestation.
    #[must_use]
    pub fn to_attest(&self) -> Option<(LogIndex, [u8; 32])> {
        self.core.lock().outcomes.to_attest()
    }

    /// The last entry applied and the running digest of all outcomes there; `None` before the first.
    #[must_use]
    pub fn digest(&self) -> Option<(LogIndex, [u8; 32])> {
        self.core.lock().outcomes.newest()
    }

    /// The last attestation that was applied and agreed with this node; zero when there was none since the start.
    #[must_use]
    pub fn attested(&self) -> Attestation {
        self.core.lock().outcomes.last()
    }

    /// Whether a transaction of the log had no effect, because what it depended on beside the tables had changed.
    #[must_use]
    pub fn is_rejected(&self, index: LogIndex) -> bool {
        self.rejected.read().contains(&index)
    }

    /// Nobody reads the log before `first` any more.
    pub fn forget_rejected(&self, first: LogIndex) {
        let mut rejected = self.rejected.write();
        if rejected.first().is_some_and(|index| *index < first) {
            *rejected = rejected.split_off(&first);
        }
    }

    /// Whether an index holds every row of its table.
    #[must_use]
    pub fn index_ready(&self, index: IndexId) -> bool {
        self.table_of_index(index).is_ok_and(|table| table.index_ready(index))
    }

    /// Whether enough has changed, or for long enough, that a checkpoint should be made.
    #[must_use]
    pub fn checkpoint_due(&self) -> bool {
        let dirty = &self.shared.budget.dirty;
        let changed = self.clock.applied() > self.checkpoint_index.load(Ordering::Acquire);
        let since = self.clock.time_micros().saturating_sub(Hlc(self.checkpoint_time.load(Ordering::Acquire)).micros());
        dirty.pressure() >= Pressure::High
            || changed
                && (dirty.usage() >= self.options.checkpoint_bytes
                    || u128::from(since) >= self.options.checkpoint_interval.as_micros())
    }

    /// The store in numbers.
    #[must_use]
    pub fn statistics(&self) -> StoreStatistics {
        let mut tables: Vec<_> = self.all_tables().iter().map(|table| table.statistics()).collect();
        tables.sort_by_key(|table| table.storage);
        StoreStatistics {
            tables,
            applied: self.applied(),
            checkpoint: LogIndex(self.checkpoint_index.load(Ordering::Acquire)),
            checkpoint_micros: Hlc(self.checkpoint_time.load(Ordering::Acquire)).micros(),
            horizon: LogIndex(self.clock.horizon()),
            snapshots: self.clock.snapshots(),
            dirty_bytes: self.shared.budget.dirty.usage(),
            warm_cache_bytes: self.shared.warm_bytes(),
            staged: self.core.lock().staged.len(),
        }
    }

    pub(crate) fn any_table(&self, storage: Oid) -> Option<Arc<TableStore>> {
        self.tables.read().get(&storage).cloned()
    }

    pub(crate) fn all_tables(&self) -> Vec<Arc<TableStore>> {
        self.tables.read().values().cloned().collect()
    }

    /// The newest catalog, applied or about to be.
    pub(crate) fn newest_catalog(&self) -> Arc<Catalog> {
        self.catalogs.newest()
    }

    pub(crate) fn context(&self, storage: Oid) -> TableContext {
        TableContext::new(storage, Arc::clone(&self.shared))
    }

    fn must_get_table(&self, storage: Oid) -> Result<Arc<TableStore>, StoreError> {
        self.any_table(storage).ok_or(StoreError::UnknownStorage(storage))
    }

    fn table_of_index(&self, index: IndexId) -> Result<Arc<TableStore>, StoreError> {
        let catalog = self.newest_catalog();
        let table = catalog.index(index).and_then(|i| catalog.table(i.table)).ok_or(StoreError::UnknownIndex(index))?;
        self.must_get_table(table.storage)
    }
}
