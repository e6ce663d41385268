//! Taking hold of the state between two entries.

use std::collections::BTreeMap;
use std::sync::Arc;

use perigee_types::catalog::Object;
use perigee_types::{Hlc, IndexId, LogIndex, Oid, TransactionId};

use super::records::{DroppedIndexRecord, DroppedRecord, MetaRecord, StagedRecord, TableRecord};
use crate::companion::FrozenCompanion;
use crate::entry::Pieces;
use crate::store::{Core, SequenceState, Store};
use crate::table::chunk::Chunk;
use crate::table::directory::Directory;
use crate::table::index::{Delta, TableIndex};
use crate::table::open_rows::OpenRows;
use crate::table::{TableStore, WrittenChunk};

/// All that a checkpoint writes, as of its index.
pub(super) struct Frozen {
    pub(super) index: LogIndex,
    pub(super) time: Hlc,
    pub(super) meta: MetaRecord,
    pub(super) staged: Vec<StagedRecord>,
    /// Pieces of entries that are not whole yet.
    pub(super) pieces: BTreeMap<TransactionId, Pieces>,
    pub(super) dropped: DroppedRecord,
    /// Dropped indexes that nobody reads any more: their keys go in this run.
    pub(super) cleared: Vec<DroppedIndexRecord>,
    pub(super) objects: BTreeMap<Oid, Option<Object>>,
    pub(super) sequences: BTreeMap<Oid, Option<SequenceState>>,
    pub(super) companion: Option<Box<dyn FrozenCompanion>>,
    /// By storage oid.
    pub(super) tables: Vec<FrozenTable>,
}

/// What a checkpoint writes of one table.
pub(super) struct FrozenTable {
    pub(super) store: Arc<TableStore>,
    pub(super) facts: TableRecord,
    pub(super) open: Arc<OpenRows>,
    /// Chunks to write or to remove, by first vid.
    pub(super) chunks: BTreeMap<u64, ChunkChange>,
    /// By index oid.
    pub(super) indexes: BTreeMap<IndexId, (Arc<TableIndex>, Arc<Delta>)>,
}

/// What changed of a chunk.
pub(super) struct ChunkChange {
    /// The chunk, `None` when it is gone.
    pub(super) chunk: Option<Arc<Chunk>>,
    /// What the LSM holds of it.
    pub(super) before: Option<WrittenChunk>,
    pub(super) header: bool,
    pub(super) columns: bool,
    pub(super) marks: bool,
}

impl Store {
    /// Freezes the state as of the last entry applied, if there is anything new and `proof` has its chain hash.
    pub(super) fn freeze(&self, proof: impl FnOnce(LogIndex) -> Option<[u8; 32]>) -> Option<Frozen> {
        let mut core = self.core.lock();
        let last = self.checkpoint_index.load(std::sync::atomic::Ordering::Acquire);
        let mut tables: Vec<_> = self.all_tables();
        // Maintenance changes tables too, without an entry.
        let changed = core.index.0 > last || tables.iter().any(|table| table.is_dirty());
        if core.index.0 == 0 || !changed {
            return None;
        }
        let chain_hash = proof(core.index)?;
        let catalog = self.newest_catalog();
        let objects = std::mem::take(&mut core.changed_objects);
        let sequences = std::mem::take(&mut core.changed_sequences);
        tables.sort_by_key(|table| table.storage());
        let (dropped, cleared) = core.freeze_dropped();
        Some(Frozen {
            index: core.index,
            time: core.time,
            meta: MetaRecord {
                index: core.index,
                term: core.term,
                time: core.time,
                chain_hash,
                digest: core.outcomes.digest(),
                membership: core.membership.clone(),
                catalog_version: catalog.version,
                next_oid: catalog.next_oid(),
                rejected: self.rejected.read().iter().copied().collect(),
                timeline: core.timeline.samples().to_vec(),
            },
            staged: core.freeze_staged(),
            pieces: core.freeze_pieces(),
            dropped,
            cleared,
            objects: objects.into_iter().map(|oid| (oid, catalog.object(oid).cloned())).collect(),
            sequences: sequences.into_iter().map(|oid| (oid, self.sequence(oid))).collect(),
            companion: self.companion.as_ref().map(|companion| companion.freeze()),
            tables: tables.iter().filter_map(TableStore::freeze).collect(),
        })
    }

    /// Dropped indexes whose keys are gone now.
    pub(super) fn forget_cleared(&self, frozen: &Frozen) {
        let mut core = self.core.lock();
        for one in &frozen.cleared {
            core.dropped.indexes.remove(&(one.storage, one.index));
        }
    }
}

impl Core {
    fn freeze_staged(&self) -> Vec<StagedRecord> {
        let record = |(transaction, staged): (&_, &crate::store::Staged)| StagedRecord {
            transaction: *transaction,
            term: staged.term,
            tables: staged.tables.iter().copied().collect(),
            created: staged.created.clone(),
        };
        self.staged.iter().map(record).collect()
    }

    /// Shares the bytes.
    fn freeze_pieces(&self) -> BTreeMap<TransactionId, Pieces> {
        let unfinished = self.staged.iter().filter(|(_, staged)| !staged.pieces.is_empty());
        unfinished.map(|(transaction, staged)| (*transaction, staged.pieces.clone())).collect()
    }

    /// What stays dropped with keys in the LSM, and the indexes whose keys this run removes.
    fn freeze_dropped(&self) -> (DroppedRecord, Vec<DroppedIndexRecord>) {
        let mut kept = DroppedRecord { tables: self.dropped.tables.keys().copied().collect(), indexes: Vec::new() };
        let mut cleared = Vec::new();
        for ((storage, index), dropped) in &self.dropped.indexes {
            let record = DroppedIndexRecord { storage: *storage, index: *index, unique: dropped.unique };
            if dropped.readers.strong_count() == 0 {
                cleared.push(record);
            } else {
                kept.indexes.push(record);
            }
        }
        (kept, cleared)
    }
}

impl TableStore {
    /// Takes hold of what changed in the table. Its entries are applied through the checkpoint's index, no further.
    fn freeze(self: &Arc<Self>) -> Option<FrozenTable> {
        if self.dropped_at() != u64::MAX || !self.take_dirty() {
            return None;
        }
        let (directory, open) = self.pin();
        let mut indexes = BTreeMap::new();
        let mut facts = TableRecord {
            next_vid: self.next_vid(),
            schema: (*self.schema()).clone(),
            indexes: BTreeMap::new(),
            manifests: self.manifests().as_ref().clone(),
        };
        for index in self.indexes().iter() {
            facts.indexes.insert(index.oid.0, index.is_ready());
            if let Some(delta) = index.freeze() {
                indexes.insert(index.oid, (Arc::clone(index), delta));
            }
        }
        let chunks = self.freeze_chunks(&directory);
        Some(FrozenTable { store: Arc::clone(self), facts, open, chunks, indexes })
    }

    fn freeze_chunks(&self, directory: &Directory) -> BTreeMap<u64, ChunkChange> {
        let written = self.written.lock();
        let mut changes = BTreeMap::new();
        for chunk in directory.chunks() {
            let (header, columns, marks) = (chunk.header_dirty(), chunk.columns_dirty(), chunk.ends_dirty());
            if header || columns || marks {
                chunk.begin_checkpoint();
                let before = written.get(&chunk.first()).cloned();
                let chunk = Some(Arc::clone(chunk));
                let change = ChunkChange { before, header: header || columns, columns, marks: marks || columns, chunk };
                changes.insert(change.chunk.as_ref().map_or(0, |chunk| chunk.first()), change);
            }
        }
        for (first, before) in written.iter() {
            if !directory.holds(*first) {
                let before = Some(before.clone());
                changes.insert(*first, ChunkChange { chunk: None, before, header: true, columns: true, marks: true });
            }
        }
        changes
    }
}

impl Frozen {
    /// Forgets cached answers of the LSM that the run makes stale.
    pub(super) fn purge_caches(&self) -> &Self {
        for table in &self.tables {
            for (index, delta) in table.indexes.values() {
                index.purge_cache(&table.store.context, delta);
            }
        }
        self
    }

    /// The run is durable: what it holds is clean.
    pub(super) fn finish(&self) {
        if let Some(companion) = &self.companion {
            companion.finish();
        }
        for table in &self.tables {
            let mut written = table.store.written.lock();
            for (first, change) in &table.chunks {
                let Some(chunk) = &change.chunk else {
                    written.remove(first);
                    continue;
                };
                let marks = change.before.as_ref().is_some_and(|before| before.marks) || !chunk.ends.is_empty();
                let columns = match &change.before {
                    Some(before) if !change.columns => before.columns.clone(),
                    _ => change.column_numbers(),
                };
                written.insert(*first, WrittenChunk { columns, marks });
                if change.columns {
                    chunk.columns_written();
                }
            }
            drop(written);
            for (index, _) in table.indexes.values() {
                index.thaw();
            }
        }
    }
}

impl ChunkChange {
    /// The values that the columns take in the LSM; 0 is all of a small chunk in one.
    pub(super) fn column_numbers(&self) -> Vec<u16> {
        match &self.chunk {
            None => Vec::new(),
            Some(chunk) if chunk.is_cold() => Vec::new(),
            Some(chunk) if chunk.is_packed() => vec![0],
            Some(chunk) => {
                let mut numbers: Vec<u16> = chunk.columns().iter().map(|column| column.number).collect();
                numbers.sort_unstable();
                numbers
            }
        }
    }
}
