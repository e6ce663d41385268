//! What a transaction's scans have looked at, for SERIALIZABLE: each table with the filters under which it was read.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::collect_columns;
use parking_lot::Mutex;
use perigee_plan::relational::VID_COLUMN;
use perigee_storage::arrow_value::rows_to_batch;
use perigee_types::catalog::Table;
use perigee_types::{Row, TableId};

/// Scans that are kept with their filters; of those beyond them the table alone is known.
const SCANS_MAX: usize = 1_000;

/// The scans of one transaction.
#[derive(Default)]
pub struct ReadLog {
    scans: Mutex<Scans>,
}

#[derive(Default)]
struct Scans {
    kept: Vec<Arc<ScanRead>>,
    /// Tables that count as read whole.
    whole: BTreeSet<TableId>,
}

/// One scan. Until it runs, and where it is answered from statistics alone, it counts as one of the whole table.
pub struct ScanRead {
    table: Arc<Table>,
    predicate: Mutex<Predicate>,
}

enum Predicate {
    /// Not run.
    Unknown,
    /// Every row counts.
    Whole,
    /// A row counts for which all filters are true. They are over `schema`, whose columns are those at `columns` of the
    /// table; behind the last are the hidden ones, the vid and the table's oid.
    Filters { filters: Vec<Arc<dyn PhysicalExpr>>, columns: Arc<[usize]>, schema: SchemaRef },
}

impl fmt::Debug for ReadLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadLog").field("scans", &self.len()).finish()
    }
}

impl ReadLog {
    pub(super) fn scan_of(&self, table: &Arc<Table>) -> Arc<ScanRead> {
        let scan = Arc::new(ScanRead { table: Arc::clone(table), predicate: Mutex::new(Predicate::Unknown) });
        let mut scans = self.scans.lock();
        if scans.kept.len() < SCANS_MAX {
            scans.kept.push(Arc::clone(&scan));
        } else {
            scans.whole.insert(table.oid);
        }
        scan
    }

    /// Whether a table was read as a whole, or so often that it counts as that.
    #[must_use]
    pub fn has_whole(&self, table: TableId) -> bool {
        self.scans.lock().whole.contains(&table)
    }

    /// Whether a table was scanned.
    #[must_use]
    pub fn has_read(&self, table: TableId) -> bool {
        let scans = self.scans.lock();
        scans.whole.contains(&table) || scans.kept.iter().any(|scan| scan.table.oid == table)
    }

    /// The scans whose filters are known.
    #[must_use]
    pub fn scans(&self) -> Vec<Arc<ScanRead>> {
        self.scans.lock().kept.clone()
    }

    /// How many scans there were so far.
    #[must_use]
    pub fn len(&self) -> usize {
        let scans = self.scans.lock();
        scans.kept.len() + scans.whole.len()
    }

    /// Whether there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl ScanRead {
    /// The table that was read.
    #[must_use]
    pub fn table(&self) -> TableId {
        self.table.oid
    }

    /// The scan runs with these filters.
    pub(super) fn runs(&self, filters: &[Arc<dyn PhysicalExpr>], columns: &Arc<[usize]>, schema: &SchemaRef) {
        let mut predicate = self.predicate.lock();
        let same = match &*predicate {
            Predicate::Unknown => true,
            Predicate::Whole => return,
            Predicate::Filters { filters: known, .. } => known.as_slice() == filters,
        };
        *predicate = if same && !filters.is_empty() {
            Predicate::Filters { filters: filters.to_vec(), columns: Arc::clone(columns), schema: Arc::clone(schema) }
        } else {
            Predicate::Whole
        };
    }

    /// Whether it would have seen one of these rows of the table, or may have: what cannot be evaluated counts.
    #[must_use]
    pub fn may_see(&self, rows: &[Row]) -> bool {
        match &*self.predicate.lock() {
            Predicate::Unknown | Predicate::Whole => !rows.is_empty(),
            Predicate::Filters { filters, columns, schema } => {
                self.evaluate(rows, filters, columns, schema).unwrap_or(true)
            }
        }
    }

    /// `None` where it cannot be said.
    fn evaluate(
        &self,
        rows: &[Row],
        filters: &[Arc<dyn PhysicalExpr>],
        columns: &[usize],
        schema: &SchemaRef,
    ) -> Option<bool> {
        let live = &self.table.columns;
        if rows.iter().any(|row| row.len() != live.len()) {
            return None;
        }
        // Which versions these rows are is not known here.
        if filters.iter().flat_map(collect_columns).any(|column| column.name() == VID_COLUMN) {
            return None;
        }
        let fields: Vec<_> = live.iter().map(|c| (c.number, &c.ty, c.name.as_str())).collect();
        let batch = rows_to_batch(&fields, rows).ok()?;
        let arrays = columns.iter().zip(schema.fields()).map(|(place, field)| match batch.columns().get(*place) {
            Some(array) => cast(array, field.data_type()).ok(),
            None if *place > live.len() => {
                Some(Arc::new(UInt32Array::from_value(self.table.oid.0, rows.len())) as ArrayRef)
            }
            None => Some(arrow::array::new_null_array(field.data_type(), rows.len())),
        });
        let arrays = arrays.collect::<Option<Vec<_>>>()?;
        let nullable: Vec<_> = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
        let schema = Arc::new(arrow::datatypes::Schema::new(nullable));
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(schema, arrays, &options).ok()?;
        let mut seen = vec![true; rows.len()];
        for filter in filters {
            let mask = filter.evaluate(&batch).ok()?.into_array(rows.len()).ok()?;
            let mask = mask.as_boolean_opt()?.clone();
            for (row, seen) in seen.iter_mut().enumerate() {
                *seen &= arrow::array::Array::is_valid(&mask, row) && mask.value(row);
            }
        }
        Some(seen.contains(&true))
    }
}
