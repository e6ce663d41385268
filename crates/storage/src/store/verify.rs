//! Whether a table's rows and its indexes agree. Reads every row and every entry of every index.

use std::cell::Cell;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use perigee_types::catalog::Table;
use perigee_types::{IndexId, Vid};

use super::{Snapshot, Store, StoreError};
use crate::kv::KvError;
use crate::table::TableStore;
use crate::table::index::{RangeRequest, TableIndex, array_entries};

/// Faults told of one index; more are of the same kind.
const FAULTS_MAX: usize = 10;
/// Bytes of the LSM that are read at one snapshot of it, which holds back compaction.
const LSM_BYTES_AT_ONCE: usize = 64 << 20;

/// What was found in a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableCheck {
    /// Rows that the snapshot sees.
    pub rows: u64,
    /// Its indexes that are complete, by oid, and the rows that each was asked for.
    pub indexes: Vec<(IndexId, u64)>,
    /// What does not agree, in words.
    pub faults: Vec<String>,
}

impl Store {
    /// Reads all pairs of the LSM, and with them the blocks of its files, which have checksums: those of keys, of older chunks
    /// and of what is in memory anyway too. Blocking; checkpoints go on meanwhile.
    ///
    /// # Errors
    /// [`KvError::Damaged`], [`KvError::Io`]
    pub fn verify_lsm(&self) -> Result<(), KvError> {
        let mut from: Bound<Bytes> = Bound::Unbounded;
        loop {
            let mut bytes = 0;
            let mut last = None;
            for pair in self.kv().scan(from.as_ref().map(|key| &key[..]), Bound::Unbounded) {
                let (key, value) = pair?;
                bytes += key.len() + value.len();
                last = Some(key);
                if bytes >= LSM_BYTES_AT_ONCE {
                    break;
                }
            }
            match last {
                Some(last) if bytes >= LSM_BYTES_AT_ONCE => from = Bound::Excluded(last),
                _ => return Ok(()),
            }
        }
    }

    /// Reads all rows of a table as `snapshot` sees it and looks each up in every index; then counts the entries of the
    /// indexes, so that none is there for a row that is not. Blocking, and long for large tables; writes go on meanwhile.
    ///
    /// # Errors
    /// Those of reading: damage is one, what does not agree is none.
    pub fn verify_table(&self, table: &Table, snapshot: &Snapshot) -> Result<TableCheck, StoreError> {
        let mut check = TableCheck::default();
        let Some(store) = snapshot.table(table.storage) else {
            check.faults.push("the catalog has the table, storage has no rows of it".to_owned());
            return Ok(check);
        };
        let known = store.indexes();
        for oid in &table.indexes {
            if !known.iter().any(|index| index.oid == *oid) {
                check.faults.push(format!("storage has no index {oid}"));
            }
        }
        let indexes: Vec<Arc<TableIndex>> =
            known.iter().filter(|index| index.is_ready() && table.indexes.contains(&index.oid)).cloned().collect();
        let mut missing = vec![0; indexes.len()];
        let mut vids_sum = 0u64;
        let columns: Vec<u16> = table.columns.iter().map(|column| column.number).collect();
        let schema = store.schema();
        for chunk in store.scan(snapshot.index).chunks {
            let batch = chunk.batch(&columns, true)?;
            let vids = super::duplicates::vid_values(&batch);
            check.rows += vids.len() as u64;
            vids_sum = vids.iter().fold(vids_sum, |sum, vid| sum.wrapping_add(mixed(*vid)));
            for (column, array) in table.columns.iter().zip(batch.columns()) {
                if column.not_null && array.null_count() > 0 {
                    check.faults.push(format!("column {} holds NULL and may not", column.name));
                }
            }
            for (index, missing) in indexes.iter().zip(&mut missing) {
                let rows = (0u32..).zip(vids.iter().copied());
                let entries = array_entries(index, &schema, rows, |number| {
                    let place = columns.iter().position(|column| *column == number);
                    Ok(place.map(|place| Arc::clone(batch.column(place))))
                })?;
                for (entry, vid) in entries {
                    if !store.has_entry(index, &entry, vid, snapshot)? {
                        *missing += 1;
                        if *missing <= FAULTS_MAX {
                            check.faults.push(format!("index {} has no entry for row {}", index.oid, Vid(vid)));
                        }
                    }
                }
            }
        }
        for (index, missing) in indexes.iter().zip(missing) {
            let (entries, sum) = store.count_entries(index, snapshot)?;
            if missing == 0 && (entries, sum) != (check.rows, vids_sum) {
                let rows = check.rows;
                check.faults.push(format!("index {} has {entries} entries for {rows} rows", index.oid));
            }
            check.indexes.push((index.oid, entries));
        }
        Ok(check)
    }
}

impl TableStore {
    fn has_entry(&self, index: &TableIndex, entry: &[u8], vid: u64, snapshot: &Snapshot) -> Result<bool, StoreError> {
        let at = snapshot.index.0;
        let request = RangeRequest {
            from: Bound::Included(entry.to_vec()),
            to: Bound::Included(entry.to_vec()),
            reverse: false,
            limit: 1,
        };
        Ok(index.scan(&self.context, request, |vid| self.visible(vid, at))?.first() == Some(&vid))
    }

    /// Entries of versions that the snapshot sees, and a sum over them.
    fn count_entries(&self, index: &TableIndex, snapshot: &Snapshot) -> Result<(u64, u64), StoreError> {
        let at = snapshot.index.0;
        let (count, sum, last) = (Cell::new(0u64), Cell::new(0u64), Cell::new(None));
        let request = RangeRequest { from: Bound::Unbounded, to: Bound::Unbounded, reverse: false, limit: usize::MAX };
        // Nothing is collected: an index may be larger than memory. What a checkpoint moves meanwhile is met twice in a row.
        index.scan(&self.context, request, |vid| {
            if self.visible(vid, at) && last.replace(Some(vid)) != Some(vid) {
                count.set(count.get() + 1);
                sum.set(sum.get().wrapping_add(mixed(vid)));
            }
            false
        })?;
        Ok((count.get(), sum.get()))
    }
}

/// So that sums of different sets differ.
fn mixed(vid: u64) -> u64 {
    let mixed = (vid ^ (vid >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}
