//! Unique keys of a large COPY: each batch is tested against the table and against what of this COPY is on its way there.
//!
//! ```text
//!   batch ---> keys ---> between no two keys of the index?   yes: none of them is taken
//!                    \-> else each key by a lookup
//!                    \-> blocks on their way (pushed, perhaps not applied yet)
//! ```
//!
//! A load in the order of its key, which is how tables are dumped, costs one look at the index for each batch.

use std::collections::VecDeque;
use std::sync::OnceLock;

use arrow::record_batch::RecordBatch;
use perigee_storage::arrow_value::{KeyColumn, batch_to_rows, encode_key};
use perigee_storage::table::{LATEST, TableStore};
use perigee_types::{SqlResult, TransactionId, key};
use rustc_hash::FxHashSet;

use crate::copy::{RefusedBatch, in_row};
use crate::error::storage;
use crate::rows::{Target, duplicate_key, key_too_long};
use crate::write_set::{UniqueKey, WriteSet};

/// Keys of one batch for one unique index, end to end. Keys with a NULL in them equal nothing and are left out.
struct KeyBlock {
    bytes: Vec<u8>,
    /// Where each key ends, and the batch's row that it is of.
    keys: Vec<(u32, u32)>,
    /// Whether each key is above the one before it.
    ascending: bool,
    /// Made when it is first asked for.
    set: OnceLock<FxHashSet<Box<[u8]>>>,
}

impl KeyBlock {
    fn new(unique: &UniqueKey, target: &Target, batch: &RecordBatch) -> Result<Self, RefusedBatch> {
        let columns: Vec<KeyColumn<'_>> = unique
            .positions
            .iter()
            .filter_map(|p| Some(KeyColumn::new(batch.columns().get(*p)?, &target.table.columns.get(*p)?.ty)))
            .collect();
        let rows = batch.num_rows();
        let mut block = Self {
            bytes: Vec::with_capacity(rows * 10 * columns.len()),
            keys: Vec::with_capacity(rows),
            ascending: true,
            set: OnceLock::new(),
        };
        let mut last = 0..0;
        for row in 0..rows {
            let from = block.bytes.len();
            if !encode_key(&columns, row, &mut block.bytes) {
                block.bytes.truncate(from);
                continue;
            }
            let length = block.bytes.len() - from;
            if length > key::KEY_BYTES_MAX {
                return Err(in_row(row)(key_too_long(unique, length)));
            }
            block.ascending &= block.keys.is_empty() || block.bytes[last] < block.bytes[from..];
            last = from..block.bytes.len();
            block.keys.push((block.bytes.len() as u32, row as u32));
        }
        Ok(block)
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], usize)> {
        let mut from = 0;
        self.keys.iter().map(move |(end, row)| {
            let key = &self.bytes[from..*end as usize];
            from = *end as usize;
            (key, *row as usize)
        })
    }

    fn key(&self, at: usize) -> &[u8] {
        let from = if at == 0 { 0 } else { self.keys[at - 1].0 as usize };
        &self.bytes[from..self.keys[at].0 as usize]
    }

    /// The least and the greatest key.
    fn bounds(&self) -> Option<(&[u8], &[u8])> {
        match self.keys.len() {
            0 => None,
            count if self.ascending => Some((self.key(0), self.key(count - 1))),
            _ => {
                let min = self.iter().map(|(key, _)| key).min()?;
                Some((min, self.iter().map(|(key, _)| key).max()?))
            }
        }
    }

    fn set(&self) -> &FxHashSet<Box<[u8]>> {
        self.set.get_or_init(|| self.iter().map(|(key, _)| key.into()).collect())
    }

    /// The row of the first key that an earlier row of the block has.
    fn repeated(&self) -> Option<usize> {
        if self.ascending {
            return None;
        }
        let mut seen = FxHashSet::with_capacity_and_hasher(self.keys.len(), Default::default());
        self.iter().find(|(key, _)| !seen.insert(*key)).map(|(_, row)| row)
    }

    /// The row of `self` whose key is in `other`.
    fn meets(&self, other: &KeyBlock) -> Option<usize> {
        let ((from, to), (other_from, other_to)) = (self.bounds()?, other.bounds()?);
        if from > other_to || to < other_from {
            return None;
        }
        let set = other.set();
        self.iter().find(|(key, _)| set.contains(*key)).map(|(_, row)| row)
    }
}

/// Keys of batches that were pushed and that a lookup may not find yet, oldest first; bounded by the parts in flight.
#[derive(Default)]
pub(crate) struct KeysOnTheWay {
    blocks: VecDeque<(u32, Vec<KeyBlock>)>,
}

/// The keys of one batch, tested.
pub(crate) struct BatchKeys(Vec<KeyBlock>);

impl KeysOnTheWay {
    /// Forgets batches all of whose parts are applied: those before part `applied`.
    pub(crate) fn applied(&mut self, applied: u32) {
        while self.blocks.front().is_some_and(|(end, _)| *end <= applied) {
            self.blocks.pop_front();
        }
    }

    /// Keeps the keys of a batch whose parts end before part `end`.
    pub(crate) fn pushed(&mut self, end: u32, keys: BatchKeys) {
        self.blocks.push_back((end, keys.0));
    }

    /// Tests a batch: no key twice, none taken. The table is locked against other writers.
    ///
    /// # Errors
    /// `23505` for the first key that is; `54000` for one that is too long.
    pub(crate) fn test(
        &self,
        target: &Target,
        batch: &RecordBatch,
        writes: &WriteSet,
        staged: Option<TransactionId>,
    ) -> Result<BatchKeys, RefusedBatch> {
        let mut blocks = Vec::with_capacity(target.unique.0.len());
        for (number, unique) in target.unique.0.iter().enumerate() {
            let block = KeyBlock::new(unique, target, batch)?;
            let on_the_way = || self.blocks.iter().find_map(|(_, earlier)| block.meets(earlier.get(number)?));
            let taken = match block.repeated().or_else(on_the_way) {
                None => match &target.store {
                    Some(store) => taken(store, unique, &block, target, writes, staged)?,
                    None => None,
                },
                found => found,
            };
            if let Some(row) = taken {
                let values = batch_to_rows(&batch.slice(row, 1)).pop().unwrap_or_default();
                return Err(in_row(row)(duplicate_key(target, unique, &values)));
            }
            blocks.push(block);
        }
        Ok(BatchKeys(blocks))
    }
}

/// The row of the first key that a row of the table has.
fn taken(
    store: &TableStore,
    unique: &UniqueKey,
    block: &KeyBlock,
    target: &Target,
    writes: &WriteSet,
    staged: Option<TransactionId>,
) -> SqlResult<Option<usize>> {
    let Some((from, to)) = block.bounds() else { return Ok(None) };
    if store.is_empty_between(unique.index.oid, from, to).map_err(storage)? {
        return Ok(None);
    }
    for (key, row) in block.iter() {
        let found = store.get_with_staged(unique.index.oid, key, LATEST, staged).map_err(storage)?;
        if found.is_some_and(|vid| !writes.has_ended(target.table.storage, vid)) {
            return Ok(Some(row));
        }
    }
    Ok(None)
}
