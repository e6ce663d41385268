//! The search for rows that point to others through a foreign key.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use perigee_storage::arrow_value::value_at;
use perigee_storage::table::{LATEST, TableStore};
use perigee_types::catalog::Table;
use perigee_types::{IndexId, Row, SqlError, SqlResult, SqlState, SqlType, TransactionId, Value, Vid, key};
use rustc_hash::FxHashSet;

use crate::error::storage;
use crate::foreign::cast_all;

/// Rows that may be found without a thread of their own.
const ROWS_AT_ONCE_MAX: usize = 64;

/// What may still be found.
pub(crate) struct Room {
    pub(crate) bytes: usize,
    pub(crate) rows: usize,
}

impl Room {
    /// Whether there is room for a row, which takes it.
    ///
    /// # Errors
    /// `53200` where there is none for its bytes.
    pub(crate) fn take(&mut self, row: &[Value]) -> SqlResult<bool> {
        if self.rows == 0 {
            return Ok(false);
        }
        let bytes = 64 + row.iter().map(Value::size_bytes).sum::<usize>();
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(|| {
            SqlError::new(SqlState::OutOfMemory, "too many rows point to the rows that the statement changes")
                .hint("change fewer rows in a statement")
        })?;
        self.rows -= 1;
        Ok(true)
    }
}

/// A search for rows of a table that point. It reads the disk, so it runs where it may block.
pub(crate) struct Search {
    pub(crate) store: Arc<TableStore>,
    pub(crate) table: Arc<Table>,
    /// Versions that the transaction has ended.
    pub(crate) ended: FxHashSet<Vid>,
    pub(crate) room: Room,
}

impl Search {
    /// Rows under these prefixes of an index; `None` where they are more than a few.
    pub(crate) fn few(&self, index: IndexId, prefixes: &[Vec<u8>]) -> SqlResult<Option<Vec<Vid>>> {
        let mut vids = Vec::new();
        for prefix in prefixes {
            let bound = || std::ops::Bound::Included(prefix.clone());
            vids.extend(self.store.range(index, bound(), bound(), LATEST, false, ROWS_AT_ONCE_MAX).map_err(storage)?);
            if vids.len() >= ROWS_AT_ONCE_MAX {
                return Ok(None);
            }
        }
        Ok(Some(vids))
    }

    pub(crate) fn by_index(&mut self, index: IndexId, prefixes: &[Vec<u8>]) -> SqlResult<Vec<(Vid, Row)>> {
        let mut found = Vec::new();
        for prefix in prefixes {
            let bound = || std::ops::Bound::Included(prefix.clone());
            // Own deletions may hide as many as there are.
            let limit = self.room.rows.saturating_add(self.ended.len()).min(self.room.bytes / 64 + 1);
            let vids = self.store.range(index, bound(), bound(), LATEST, false, limit).map_err(storage)?;
            found.extend(self.rows(vids)?);
            if self.room.rows == 0 {
                break;
            }
        }
        Ok(found)
    }

    /// Rows of versions, as far as they are there still and there is room.
    pub(crate) fn rows(&mut self, vids: impl IntoIterator<Item = Vid>) -> SqlResult<Vec<(Vid, Row)>> {
        let mut found = Vec::new();
        for vid in vids {
            if self.ended.contains(&vid) {
                continue;
            }
            // What is gone meanwhile points no more.
            if let Some(row) = self.store.row_as(vid, &self.table).map_err(storage)? {
                if !self.room.take(&row)? {
                    break;
                }
                found.push((vid, row));
            }
        }
        Ok(found)
    }

    /// Rows that point to one of `keys`, as the latest state and the open transaction `staged` see them.
    pub(crate) fn by_scan(
        &mut self,
        columns: &[u16],
        types: &[(SqlType, SqlType)],
        keys: &FxHashSet<Vec<u8>>,
        staged: Option<TransactionId>,
    ) -> SqlResult<Vec<(Vid, Row)>> {
        let mut found = Vec::new();
        for chunk in self.store.scan_as(LATEST, staged, Some(&self.table)).chunks {
            let batch = chunk.batch(columns, true).map_err(storage)?;
            let Some(vids) = batch.columns().last().and_then(|array| array.as_primitive_opt::<UInt64Type>()) else {
                continue;
            };
            let mut of_chunk = Vec::new();
            let mut bytes = Vec::new();
            for row in 0..batch.num_rows() {
                let values: Row =
                    batch.columns().iter().zip(types).map(|(array, (from, _))| value_at(array, row, from)).collect();
                if values.iter().any(Value::is_null) {
                    continue;
                }
                let Some(values) = cast_all(&values, types.iter().map(|(from, to)| (from, to))) else { continue };
                bytes.clear();
                key::encode(&values, &mut bytes);
                if keys.contains(&bytes) {
                    of_chunk.push(Vid(vids.value(row)));
                }
            }
            found.extend(self.rows(of_chunk)?);
            if self.room.rows == 0 {
                break;
            }
        }
        Ok(found)
    }
}
