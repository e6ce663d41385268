//! The keyspace as tables: schema `redis`, and `perigee.idempotency_keys`.
//!
//! A scan reads one moment of the keyspace, whatever is written meanwhile, some keys at a time. `key = '…'` and `db = n`
//! are pushed down: a table is then one lookup. Names and values that are not UTF-8 are shown as `\x` and hexadecimal
//! digits.

mod filter;
mod rows;

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use perigee_keyspace::scan::{ScanError, ScannedKey};
use perigee_keyspace::{DbId, IDEMPOTENCY_DB, Keyspace};
use perigee_storage::arrow_value::ColumnBuilder;
use perigee_types::catalog::READ_ALL_DATA;
use perigee_types::rights::Rights;
use perigee_types::{Oid, Row, SqlError, SqlState, SqlType};

use crate::exec::ReadView;
use crate::exec::error::from_sql;
use filter::Wanted;

/// Rows of a batch, about.
const BATCH_ROWS: usize = 4_096;

/// Reads a table of schema `redis`: `columns` with their types, of which `projection` is asked for.
///
/// # Errors
/// `42501` for who may not read it; internal, outside of a session.
pub(crate) fn scan(
    view: &ReadView,
    name: &'static str,
    columns: &[SqlType],
    schema: &SchemaRef,
    projection: Option<&Vec<usize>>,
    filters: &[Expr],
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let session = &view.session;
    let rights = Rights::of(&view.snapshot.catalog, session.role, session.tenant);
    if !rights.is_superuser() && !rights.is(READ_ALL_DATA) {
        let message = format!("permission denied for table {name}");
        return Err(from_sql(SqlError::new(SqlState::InsufficientPrivilege, message)));
    }
    let all: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..columns.len()).collect());
    let shown = Arc::new(schema.project(&all)?);
    let partition = KeyspacePartition {
        keyspace: session.services.as_ref().and_then(|services| services.keyspace()),
        tenant: Oid(session.tenant.0),
        table: rows::Table::of(name),
        columns: all.iter().filter_map(|at| columns.get(*at).cloned()).collect(),
        places: all,
        schema: Arc::clone(&shown),
        wanted: Wanted::of(filters),
    };
    let plan = StreamingTableExec::try_new(shown, vec![Arc::new(partition)], None, Vec::new(), false, limit)?;
    Ok(Arc::new(plan))
}

/// One scan, not begun.
struct KeyspacePartition {
    keyspace: Option<Arc<Keyspace>>,
    tenant: Oid,
    table: Option<rows::Table>,
    places: Vec<usize>,
    columns: Vec<SqlType>,
    schema: SchemaRef,
    wanted: Wanted,
}

impl fmt::Debug for KeyspacePartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyspacePartition").field("table", &self.table).field("wanted", &self.wanted).finish()
    }
}

impl PartitionStream for KeyspacePartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStream::builder(Arc::clone(&self.schema), 2);
        if let (Some(keyspace), Some(table)) = (self.keyspace.clone(), self.table) {
            let batches = stream.tx();
            let reader = Reader {
                keyspace,
                tenant: self.tenant,
                table,
                places: self.places.clone(),
                columns: self.columns.clone(),
                schema: Arc::clone(&self.schema),
                wanted: self.wanted.clone(),
                rows: Vec::new(),
            };
            // Reading may wait for the disk.
            stream.spawn_blocking(move || reader.run(|batch| batches.blocking_send(Ok(batch)).is_ok()));
        }
        stream.build()
    }
}

/// One scan.
struct Reader {
    keyspace: Arc<Keyspace>,
    tenant: Oid,
    table: rows::Table,
    places: Vec<usize>,
    columns: Vec<SqlType>,
    schema: SchemaRef,
    wanted: Wanted,
    rows: Vec<Row>,
}

impl Reader {
    /// Gives batches to `send` until it wants no more.
    fn run(mut self, mut send: impl FnMut(RecordBatch) -> bool) -> Result<()> {
        let is_apart = self.table == rows::Table::IdempotencyKeys;
        let numbers = if is_apart { vec![IDEMPOTENCY_DB] } else { self.keyspace.db_numbers(self.tenant) };
        for number in numbers {
            if !is_apart && self.wanted.db.is_some_and(|db| db != i64::from(number)) {
                continue;
            }
            let db = DbId { tenant: self.tenant, number };
            if let Some(keys) = self.wanted.keys.clone() {
                for key in keys {
                    if let Some(found) = self.keyspace.get(db, &rows::key_bytes(&key)).map_err(failed)? {
                        self.take(db, &found);
                    }
                }
                continue;
            }
            // All of a database stands at one moment. Several databases of a tenant are scanned one after the other.
            let Some(mut scan) = self.keyspace.scan(db) else { continue };
            while let Some(keys) = scan.next().map_err(ended)? {
                keys.iter().for_each(|key| self.take(db, key));
                if self.rows.len() >= BATCH_ROWS && !send(self.batch()?) {
                    return Ok(());
                }
            }
        }
        if !self.rows.is_empty() {
            send(self.batch()?);
        }
        Ok(())
    }

    fn take(&mut self, db: DbId, key: &ScannedKey) {
        self.table.rows_of(db.number, key, self.keyspace.now_ms(), &self.places, &mut self.rows);
    }

    fn batch(&mut self) -> Result<RecordBatch> {
        let rows = std::mem::take(&mut self.rows);
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for (at, ty) in self.columns.iter().enumerate() {
            let mut builder = ColumnBuilder::new(ty, rows.len());
            for row in &rows {
                let value = row.get(at).unwrap_or(&perigee_types::Value::Null);
                builder.push(value).map_err(|error| from_sql(SqlError::internal(error)))?;
            }
            arrays.push(builder.finish());
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?)
    }
}

fn failed(fault: impl fmt::Display) -> DataFusionError {
    from_sql(SqlError::new(SqlState::DataCorrupted, fault.to_string()))
}

fn ended(error: ScanError) -> DataFusionError {
    match error {
        ScanError::Overflow => from_sql(SqlError::new(SqlState::OutOfMemory, error.to_string())),
        ScanError::Storage(fault) => failed(fault),
    }
}
