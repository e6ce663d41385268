//! Sums over what the store holds at one entry of the log: two nodes that have applied the same log have the same ones, wherever
//! their rows are.
//!
//! Chunks, tiers and the order of rows are a node's own, so a table's sum is one over its rows, each with its vid, in any order. The
//! sums find accidents; who forges rows can forge them too.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::row::{RowConverter, SortField};
use perigee_types::Oid;
use perigee_types::catalog::{Object, Table};
use xxhash_rust::xxh3::xxh3_128;

use super::{SequenceState, Snapshot, Store, StoreError};

/// How many there are, and a sum over what is in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentSum {
    /// Rows, keys or objects.
    pub count: u64,
    /// Over all of them, in any order.
    pub sum: u128,
}

impl ContentSum {
    /// Counts one more, by the bytes that are all of it.
    pub fn add(&mut self, bytes: &[u8]) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(xxh3_128(bytes));
    }
}

/// The store at one entry. While it lives, no version that it sees is dropped.
pub struct HeldStore {
    /// Rows and catalog.
    pub snapshot: Arc<Snapshot>,
    sequences: BTreeMap<Oid, SequenceState>,
}

impl Store {
    /// Takes hold of the store as the last entry has left it that was applied and published. Only where none is applied meanwhile:
    /// sequences have no versions.
    #[must_use]
    pub fn hold(self: &Arc<Self>) -> HeldStore {
        let sequences = self.sequences.read().iter().map(|(oid, state)| (*oid, *state)).collect();
        HeldStore { snapshot: self.snapshot(), sequences }
    }
}

impl HeldStore {
    /// Over the objects of the catalog.
    #[must_use]
    pub fn catalog_sum(&self) -> ContentSum {
        let mut sum = ContentSum::default();
        for object in self.snapshot.catalog.objects() {
            // As checkpoints write them.
            sum.add(&serde_json::to_vec(object).unwrap_or_default());
        }
        sum
    }

    /// Over the sequences.
    #[must_use]
    pub fn sequences_sum(&self) -> ContentSum {
        let mut sum = ContentSum::default();
        for (oid, SequenceState { next, called }) in &self.sequences {
            sum.add(format!("{oid} {next} {called}").as_bytes());
        }
        sum
    }

    /// The tables of the catalog, each with the name of its schema.
    pub fn tables(&self) -> impl Iterator<Item = (&str, &Arc<Table>)> {
        self.snapshot.catalog.objects().filter_map(|object| match object {
            Object::Table(table) => {
                Some((self.snapshot.catalog.object(table.schema).map(Object::name).unwrap_or_default(), table))
            }
            _ => None,
        })
    }

    /// Over the rows of a table. Blocking, and long for large tables.
    ///
    /// # Errors
    /// Those of reading.
    pub fn table_sum(&self, table: &Table) -> Result<ContentSum, StoreError> {
        let mut sum = ContentSum::default();
        let Some(store) = self.snapshot.table(table.storage) else { return Ok(sum) };
        let columns: Vec<u16> = table.columns.iter().map(|column| column.number).collect();
        for chunk in store.scan(self.snapshot.index).chunks {
            let batch = chunk.batch(&columns, true)?;
            let fields =
                batch.schema().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
            for row in &RowConverter::new(fields)?.convert_columns(batch.columns())? {
                sum.add(row.as_ref());
            }
        }
        Ok(sum)
    }
}
