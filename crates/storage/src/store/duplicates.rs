//! Looking for two rows with one key, before a unique index is made.

use std::collections::HashSet;
use std::hash::Hasher;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use arrow::record_batch::RecordBatch;
use perigee_types::catalog::Table;
use perigee_types::{Oid, Row, SqlType, TransactionId, Value, Vid, key};
use rustc_hash::FxHasher;

use super::{Snapshot, Store, StoreError};
use crate::arrow_value::value_at;
use crate::table::TableStore;

/// What the open transaction that makes the index has done to the table.
#[derive(Clone, Debug, Default)]
pub struct OwnRows {
    /// Its definition of the table, where that is not the committed one.
    pub definition: Option<Arc<Table>>,
    /// The name under which it has staged rows.
    pub staged: Option<TransactionId>,
    /// Row versions that it ended.
    pub ended: HashSet<Vid>,
    /// The index's columns of the rows that it appended.
    pub inserted: Vec<Row>,
}

impl Store {
    /// The values of `columns` that two rows of a table share, as `snapshot` with the transaction's `own` changes sees
    /// it; `None` where there are none.
    ///
    /// Rows with a NULL among them never collide. Takes 16 bytes of memory for each row.
    ///
    /// # Errors
    /// [`StoreError::UnknownStorage`], [`StoreError::UnknownColumn`]; the LSM's, where a warm chunk cannot be read.
    pub fn find_duplicate(
        &self,
        storage: Oid,
        columns: &[u16],
        snapshot: &Snapshot,
        own: &OwnRows,
    ) -> Result<Option<Row>, StoreError> {
        let table = self.must_get_table(storage)?;
        let types = table.schema_as(own.definition.as_deref()).types(columns);
        let types = types.ok_or_else(|| table.unknown_column(columns.first().copied().unwrap_or_default()))?;
        let mut hashes: Vec<(u64, u64)> = Vec::new();
        let mut bytes = Vec::new();
        for (vid, row) in (Vid::LOCAL_FIRST.0..).zip(&own.inserted) {
            bytes.clear();
            encode(row, &types, &mut bytes);
            if row.iter().all(|value| !value.is_null()) {
                hashes.push((hash(&bytes), vid));
            }
        }
        for chunk in table.scan_as(snapshot.index, own.staged, own.definition.as_deref()).chunks {
            let batch = chunk.batch(columns, true)?;
            let vids = vid_values(&batch);
            for (row, vid) in vids.iter().enumerate() {
                bytes.clear();
                let mut has_null = false;
                for (array, ty) in batch.columns().iter().zip(&types) {
                    let value = value_at(array, row, ty);
                    has_null |= value.is_null();
                    key::encode_as(&value, ty, &mut bytes);
                }
                if !has_null && !own.ended.contains(&Vid(*vid)) {
                    hashes.push((hash(&bytes), *vid));
                }
            }
        }
        hashes.sort_unstable();
        for alike in hashes.chunk_by(|a, b| a.0 == b.0).filter(|alike| alike.len() > 1) {
            if let Some(row) = collision(&table, (columns, types.as_slice()), alike, own)? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}

/// Two equal keys among rows whose keys have one hash.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(bytes);
    hasher.finish()
}

fn collision(
    table: &TableStore,
    (columns, types): (&[u16], &[SqlType]),
    alike: &[(u64, u64)],
    own: &OwnRows,
) -> Result<Option<Row>, StoreError> {
    let mut seen: Vec<(Vec<u8>, Row)> = Vec::with_capacity(alike.len());
    for (_, vid) in alike {
        let row = match vid.checked_sub(Vid::LOCAL_FIRST.0) {
            Some(place) => own.inserted.get(place as usize).cloned(),
            None => table.read_row(Vid(*vid), columns.iter(), &table.schema_as(own.definition.as_deref()))?,
        };
        let Some(row) = row else { continue };
        let mut bytes = Vec::new();
        encode(&row, types, &mut bytes);
        seen.push((bytes, row));
    }
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(seen.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[0].1.clone()))
}

fn encode(row: &[Value], types: &[SqlType], bytes: &mut Vec<u8>) {
    row.iter().zip(types).for_each(|(value, ty)| key::encode_as(value, ty, bytes));
}

pub(super) fn vid_values(batch: &RecordBatch) -> Vec<u64> {
    match batch.columns().last().and_then(|array| array.as_primitive_opt::<UInt64Type>()) {
        Some(vids) => vids.values().to_vec(),
        None => Vec::new(),
    }
}
