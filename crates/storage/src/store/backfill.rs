//! Filling a new index from the rows that were there before it.

use std::time::Duration;

use perigee_types::IndexId;

use super::{Store, StoreError};
use crate::budget::Pressure;
use crate::table::TableStore;
use crate::table::index::{array_entries, row_entry};

/// Entries added under one lock, so that apply and readers wait microseconds.
const STEP: usize = 256;
/// How long one chunk waits for a checkpoint to make room.
const PATIENCE: Duration = Duration::from_secs(1);

impl Store {
    /// Adds the rows of an index's table that are older than the index. Blocking, chunk by chunk; apply goes on meanwhile.
    ///
    /// Idempotent. After a restart it begins anew, see [`Store::unfilled_indexes`].
    ///
    /// # Errors
    /// [`StoreError::UnknownIndex`]; the LSM's, where a warm chunk cannot be read.
    pub fn backfill_index(&self, index: IndexId) -> Result<(), StoreError> {
        self.table_of_index(index)?.backfill(index)
    }

    /// Indexes of the newest catalog that do not hold every row yet.
    #[must_use]
    pub fn unfilled_indexes(&self) -> Vec<IndexId> {
        let mut unfilled: Vec<IndexId> = self
            .all_tables()
            .iter()
            .filter(|table| table.dropped_at() == u64::MAX)
            .flat_map(|table| table.indexes().iter().filter(|i| !i.is_ready()).map(|i| i.oid).collect::<Vec<_>>())
            .collect();
        unfilled.sort_unstable();
        unfilled
    }
}

impl TableStore {
    fn backfill(&self, index: IndexId) -> Result<(), StoreError> {
        let index = self.index(index)?;
        if index.is_ready() {
            return Ok(());
        }
        // Every row that is not pinned here comes later, and apply adds it.
        let (directory, open) = self.pin();
        let schema = self.schema();
        for chunk in directory.chunks() {
            let rows = (0..chunk.rows() as u32).map(|row| (row, chunk.vids().at(row)));
            let entries = array_entries(&index, &schema, rows, |number| match chunk.column_place(number) {
                Some(place) => chunk.column(place, &self.context).map(Some),
                None => Ok(None),
            });
            let entries = match entries {
                Ok(entries) => entries,
                // Hidden rows of a transaction that was aborted meanwhile: their columns may be gone.
                Err(_) if self.pin().0.place_of(chunk).is_none() => continue,
                Err(error) => return Err(error),
            };
            let mut entries = entries.into_iter().peekable();
            while entries.peek().is_some() {
                index.add(entries.by_ref().take(STEP));
            }
            self.mark_dirty();
            // A checkpoint empties the delta; without one there is nothing to wait for.
            self.context.budget.dirty.wait_at_most(Pressure::High, PATIENCE);
        }
        let rows = open.rows.iter().zip(open.first..);
        let entries = rows.map(|(row, vid)| Ok((row_entry(&index, &schema, &open.columns, row, vid)?, vid)));
        index.add(entries.collect::<Result<Vec<_>, StoreError>>()?);
        index.set_ready();
        self.mark_dirty();
        Ok(())
    }
}
