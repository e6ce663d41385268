//! The store: all tables, the catalog and the sequences, as of the entries applied so far. (skeleton)
#![allow(missing_docs, unused_variables, dead_code, clippy::todo, reason = "skeleton")]

mod error;
mod overlay;

use std::sync::Arc;
use std::time::Duration;

use perigee_types::catalog::Catalog;
use perigee_types::{Hlc, IndexId, LogIndex, Oid, Row, Term};

use crate::budget::MemoryBudget;
use crate::kv::KvEngine;
use crate::table::TableStore;

pub use error::StoreError;
pub use overlay::{Overlay, TableOverlay};

#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Name of the first superuser of a new store.
    pub superuser: String,
    /// How long, in entry time, chunks stay in memory after their last use, budget permitting.
    pub hot_retention: Option<Duration>,
    /// Dirty bytes from which a checkpoint is due.
    pub checkpoint_bytes: u64,
    /// Time since the last checkpoint, in entry time, from which one is due when anything changed.
    pub checkpoint_interval: Duration,
}

/// What the restored checkpoint holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    pub index: LogIndex,
    pub term: Term,
    pub chain_hash: [u8; 32],
    pub time: Hlc,
    pub membership: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceState {
    /// The next value that has not been handed out.
    pub next: i64,
    pub called: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyOutcome {
    Applied,
    Fenced,
}

pub struct Snapshot {
    pub index: LogIndex,
    pub catalog: Arc<Catalog>,
    store: Arc<Store>,
}

impl Snapshot {
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }
    /// A table of this snapshot's catalog by storage oid, also one that was dropped after it.
    pub fn table(&self, storage: Oid) -> Option<Arc<TableStore>> {
        self.store.table(storage)
    }
}

#[derive(Clone, Debug, Default)]
pub struct TableStatistics {
    pub storage: Oid,
    /// Live rows, about.
    pub rows: u64,
    pub chunks: usize,
    pub hot_bytes: u64,
    /// Bytes, as Arrow, of chunks that are in the LSM only.
    pub warm_bytes: u64,
    pub dead_rows: u64,
    pub index_delta_bytes: u64,
}

#[derive(Clone, Debug, Default)]
pub struct StoreStatistics {
    pub tables: Vec<TableStatistics>,
    pub applied: LogIndex,
    pub horizon: LogIndex,
    pub snapshots: usize,
    pub dirty_bytes: u64,
    pub staged: usize,
}

pub struct Store {}
pub struct Applier {}

impl Store {
    pub fn open(
        options: StoreOptions,
        kv: Arc<dyn KvEngine>,
        budget: Arc<MemoryBudget>,
    ) -> Result<(Arc<Store>, Applier), StoreError> {
        todo!()
    }
    pub fn recovered(&self) -> Recovered {
        todo!()
    }
    pub fn applied(&self) -> LogIndex {
        todo!()
    }
    pub fn snapshot(self: &Arc<Self>) -> Arc<Snapshot> {
        todo!()
    }
    pub fn catalog(&self) -> Arc<Catalog> {
        todo!()
    }
    pub fn table(&self, storage: Oid) -> Option<Arc<TableStore>> {
        todo!()
    }
    pub fn sequence(&self, oid: Oid) -> Option<SequenceState> {
        todo!()
    }
    pub fn checkpoint(&self, synced: LogIndex, chain_hash: [u8; 32]) -> Result<Option<LogIndex>, StoreError> {
        todo!()
    }
    pub fn checkpoint_due(&self) -> bool {
        todo!()
    }
    pub fn evict(&self) {
        todo!()
    }
    pub fn vacuum(&self, table: Option<Oid>) -> Result<(), StoreError> {
        todo!()
    }
    pub fn statistics(&self) -> StoreStatistics {
        todo!()
    }
    pub fn backfill_index(&self, index: IndexId) -> Result<(), StoreError> {
        todo!()
    }
    pub fn index_ready(&self, index: IndexId) -> bool {
        todo!()
    }
    pub fn find_duplicate(
        &self,
        storage: Oid,
        columns: &[u16],
        snapshot: &Snapshot,
    ) -> Result<Option<Row>, StoreError> {
        todo!()
    }
}

impl Applier {
    pub fn apply(
        &mut self,
        index: LogIndex,
        term: Term,
        time: Hlc,
        proposed_in: Term,
        payload: &[u8],
    ) -> Result<ApplyOutcome, StoreError> {
        todo!()
    }
    /// A blank entry of consensus: moves index and term, drops what earlier terms staged.
    pub fn apply_blank(&mut self, index: LogIndex, term: Term, time: Hlc) -> Result<(), StoreError> {
        todo!()
    }
    /// A membership entry of consensus: its bytes are kept for the checkpoint.
    pub fn apply_membership(
        &mut self,
        index: LogIndex,
        term: Term,
        time: Hlc,
        membership: Vec<u8>,
    ) -> Result<(), StoreError> {
        todo!()
    }
    pub fn publish(&mut self) {
        todo!()
    }
    pub fn store(&self) -> &Arc<Store> {
        todo!()
    }
}
