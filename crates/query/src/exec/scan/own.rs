//! The rows of the statement's own transaction, laid over the snapshot.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, UInt64Array};
use arrow::datatypes::{SchemaRef, UInt64Type};
use datafusion::error::{DataFusionError, Result};
use perigee_storage::arrow_value::ColumnBuilder;
use perigee_storage::store::TableOverlay;
use perigee_types::Vid;
use perigee_types::catalog::Table;

/// What an open transaction has done to one table.
#[derive(Debug)]
pub(super) struct OwnRows {
    ended: HashSet<Vid>,
    /// The table's live columns in order, then the vids, then the table's oid.
    inserted: Vec<ArrayRef>,
    rows: usize,
}

impl OwnRows {
    pub(super) fn new(table: &Table, overlay: &TableOverlay) -> Result<Self> {
        let mut inserted: Vec<ArrayRef> = Vec::with_capacity(table.columns.len() + 1);
        for (position, column) in table.columns.iter().enumerate() {
            let mut builder = ColumnBuilder::new(&column.ty, overlay.inserted.len());
            for (_, row) in &overlay.inserted {
                let value = row.get(position).unwrap_or(&column.missing);
                builder.push(value).map_err(|e| DataFusionError::External(Box::new(e)))?;
            }
            inserted.push(builder.finish());
        }
        inserted.push(Arc::new(UInt64Array::from_iter_values(overlay.inserted.iter().map(|(vid, _)| vid.0))));
        inserted.push(Arc::new(UInt32Array::from_value(table.oid.0, overlay.inserted.len())));
        Ok(Self { ended: overlay.ended.clone(), inserted, rows: overlay.inserted.len() })
    }

    /// Whether it ended any row of the snapshot.
    pub(super) fn ends_rows(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Whether it ended this row of the snapshot.
    pub(super) fn has_ended(&self, vid: Vid) -> bool {
        self.ended.contains(&vid)
    }

    /// Count of rows that it ended.
    pub(super) fn ended_count(&self) -> usize {
        self.ended.len()
    }

    /// Count of rows that it inserted.
    pub(super) fn inserted_count(&self) -> usize {
        self.rows
    }

    /// Its inserted rows; `columns` are places in the table's columns, with the vid and the table's oid behind the last.
    pub(super) fn inserted(&self, schema: &SchemaRef, columns: &[usize]) -> Result<RecordBatch> {
        let arrays = columns.iter().map(|c| Arc::clone(&self.inserted[*c])).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
    }

    /// Which rows of the snapshot, by their vids, it has not ended; `None` where that is all.
    pub(super) fn alive(&self, vids: &ArrayRef) -> Result<Option<BooleanArray>> {
        let vids = vids
            .as_primitive_opt::<UInt64Type>()
            .ok_or_else(|| DataFusionError::Internal("vids are not UInt64".to_owned()))?;
        if !vids.values().iter().any(|vid| self.ended.contains(&Vid(*vid))) {
            return Ok(None);
        }
        let alive: arrow::buffer::BooleanBuffer =
            vids.values().iter().map(|vid| !self.ended.contains(&Vid(*vid))).collect();
        debug_assert_eq!(alive.len(), vids.len());
        Ok(Some(BooleanArray::new(alive, None)))
    }
}
