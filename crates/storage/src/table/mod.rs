//! One table: its chunks, its open rows and its indexes. (skeleton)
#![allow(missing_docs, unused_variables, dead_code, clippy::todo, reason = "skeleton")]

use std::ops::Bound;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use perigee_types::{IndexId, LogIndex, Oid, Row, Vid};

use crate::encoding::ColumnStats;
use crate::store::StoreError;

/// Where a chunk's columns are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    Hot,
    Warm,
}

/// Stands for "the latest applied" where an index is asked for.
pub const LATEST: LogIndex = LogIndex(u64::MAX);

pub struct TableStore {}

impl TableStore {
    pub fn storage(&self) -> Oid {
        todo!()
    }
    pub fn get(&self, index: IndexId, key: &[u8], at: LogIndex) -> Result<Option<Vid>, StoreError> {
        todo!()
    }
    pub fn range(
        &self,
        index: IndexId,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        at: LogIndex,
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<Vid>, StoreError> {
        todo!()
    }
    pub fn row(&self, vid: Vid, columns: &[u16]) -> Result<Option<Row>, StoreError> {
        todo!()
    }
    /// The index that ended a row version; None = still live. Versions that are gone: LogIndex(0).
    pub fn ended(&self, vid: Vid) -> Option<LogIndex> {
        todo!()
    }
    pub fn scan(self: &Arc<Self>, at: LogIndex) -> TableScan {
        todo!()
    }
    pub fn row_count(&self) -> u64 {
        todo!()
    }
    pub fn index_ready(&self, index: IndexId) -> bool {
        todo!()
    }
}

pub struct TableScan {
    pub chunks: Vec<ChunkScan>,
}

pub struct ChunkScan {}

impl ChunkScan {
    pub fn rows_max(&self) -> usize {
        todo!()
    }
    pub fn tier(&self) -> Tier {
        todo!()
    }
    pub fn stats(&self, column: u16) -> Option<ColumnStats> {
        todo!()
    }
    pub fn batch(&self, columns: &[u16], with_vid: bool) -> Result<RecordBatch, StoreError> {
        todo!()
    }
}
