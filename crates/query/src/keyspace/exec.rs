//! A scan of the keyspace as an operator: EXPLAIN shows what was pushed down.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use perigee_keyspace::scan::{ScanError, ScannedKey};
use perigee_keyspace::{DbId, Draft, DraftKeys, IDEMPOTENCY_DB, Keyspace, Matcher, Reading};
use perigee_storage::arrow_value::ColumnBuilder;
use perigee_types::{Oid, Row, SqlError, SqlState, SqlType, Value};

use super::filter::Wanted;
use super::rows::{KeyTable, Shown, key_bytes};
use super::write::draft_error;
use crate::exec::error::from_sql;

/// Rows of a batch, and about how many bytes.
const BATCH_ROWS: usize = 4_096;
const BATCH_BYTES: usize = 4 << 20;

/// One scan, not begun.
#[derive(Clone)]
pub(super) struct KeyspaceExec {
    pub(super) keyspace: Option<Arc<Keyspace>>,
    pub(super) tenant: Oid,
    pub(super) table: KeyTable,
    /// Places of the columns that are asked for, and their types.
    pub(super) places: Vec<usize>,
    pub(super) columns: Vec<SqlType>,
    pub(super) schema: SchemaRef,
    pub(super) wanted: Wanted,
    pub(super) limit: Option<usize>,
    /// What the transaction has changed, and where it is told what was read.
    pub(super) own: Arc<DraftKeys>,
    pub(super) draft: Option<(Arc<Draft>, Reading)>,
    properties: Arc<PlanProperties>,
}

/// What a scan is made of.
pub(super) struct Parts {
    pub(super) keyspace: Option<Arc<Keyspace>>,
    pub(super) tenant: Oid,
    pub(super) table: KeyTable,
    pub(super) places: Vec<usize>,
    pub(super) columns: Vec<SqlType>,
    pub(super) schema: SchemaRef,
    pub(super) wanted: Wanted,
    pub(super) limit: Option<usize>,
    pub(super) draft: Option<(Arc<Draft>, Reading)>,
}

impl KeyspaceExec {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { keyspace, tenant, table, places, columns, schema, wanted, limit, draft } = parts;
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        // It waits for a channel.
        let properties = Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative));
        let own = Arc::new(draft.as_ref().map(|(draft, _)| draft.changed()).unwrap_or_default());
        Self { keyspace, tenant, table, places, columns, schema, wanted, limit, own, draft, properties }
    }
}

impl fmt::Debug for KeyspaceExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyspaceExec").field("table", &self.table).field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

impl DisplayAs for KeyspaceExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "KeyspaceScan: redis.{}, columns=[{}]{}", self.table.name(), names.join(", "), self.wanted)?;
        match self.limit {
            Some(limit) => write!(f, ", limit={limit}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for KeyspaceExec {
    fn name(&self) -> &'static str {
        "KeyspaceExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut stream = RecordBatchReceiverStream::builder(Arc::clone(&self.schema), 2);
        if let Some(keyspace) = self.keyspace.clone() {
            let batches = stream.tx();
            let mut send = move |batch| batches.blocking_send(Ok(batch)).is_ok();
            let scan = self.clone();
            // Reading may wait for the disk.
            stream.spawn_blocking(move || {
                let mut reader =
                    Reader { scan: &scan, keyspace, rows: Vec::new(), bytes: 0, given: 0, send: &mut send };
                reader.run()
            });
        }
        Ok(stream.build())
    }
}

/// One scan.
struct Reader<'a> {
    scan: &'a KeyspaceExec,
    keyspace: Arc<Keyspace>,
    rows: Vec<Row>,
    bytes: usize,
    given: usize,
    send: &'a mut dyn FnMut(RecordBatch) -> bool,
}

impl Reader<'_> {
    fn run(&mut self) -> Result<()> {
        let scan = self.scan;
        let is_apart = scan.table == KeyTable::IdempotencyKeys;
        let mut numbers = scan.own.numbers();
        numbers.extend(self.keyspace.db_numbers(scan.tenant));
        if is_apart {
            numbers = [IDEMPOTENCY_DB].into_iter().collect();
        }
        for number in numbers {
            if !is_apart && scan.wanted.db.is_some_and(|db| db != i64::from(number)) {
                continue;
            }
            let db = DbId { tenant: scan.tenant, number };
            let more = match self.keys(db) {
                Some(keys) => self.some(db, &keys)?,
                None => self.all(db)?,
            };
            if !more {
                break;
            }
        }
        if !self.rows.is_empty() {
            self.flush()?;
        }
        Ok(())
    }

    /// The keys that are asked for, where filters say it.
    fn keys(&self, db: DbId) -> Option<Vec<Vec<u8>>> {
        let wanted = &self.scan.wanted;
        if let Some(keys) = &wanted.keys {
            return Some(keys.iter().map(|key| key_bytes(key)).collect());
        }
        if wanted.labels.is_empty() {
            return None;
        }
        let bytes = |text: &String| Bytes::from(key_bytes(text));
        let matcher = |(name, value): &(String, String)| Matcher::Is(bytes(name), vec![bytes(value)]);
        let matchers: Vec<Matcher> = wanted.labels.iter().map(matcher).collect();
        let now = self.keyspace.now_ms();
        let found = self.keyspace.with_state(|state| {
            let found = state.db(db).map(|db| db.labels().query(&matchers, now)).unwrap_or_default();
            found.into_iter().map(|(key, _)| key.to_vec()).collect::<Vec<_>>()
        });
        // A series of the transaction's own is looked at whatever its labels are.
        let own = self.scan.own.of(db).map(|key| key.key.to_vec());
        let mut keys: Vec<Vec<u8>> = found.into_iter().chain(own).collect();
        keys.sort();
        keys.dedup();
        Some(keys)
    }

    /// Some keys, all of them as they are at one moment.
    fn some(&mut self, db: DbId, keys: &[Vec<u8>]) -> Result<bool> {
        let scan = self.scan;
        let below: Vec<&[u8]> = keys.iter().map(Vec::as_slice).filter(|key| scan.own.get(db, key).is_none()).collect();
        let mut found = self.keyspace.get_all(db, &below).map_err(failed)?.into_iter();
        for key in keys {
            let more = match scan.own.get(db, key) {
                Some(own) => own.is_none_or(|own| self.take(db, own)),
                None => {
                    let (version, found) = found.next().unwrap_or_default();
                    self.note(db, &Bytes::copy_from_slice(key), version)?;
                    found.is_none_or(|found| self.take(db, &found))
                }
            };
            if !more {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All keys of a database as they are at one moment. Several databases are scanned one after the other.
    fn all(&mut self, db: DbId) -> Result<bool> {
        let prefix = self.scan.wanted.prefix.clone().unwrap_or_default();
        // What is shown in hexadecimal digits begins as its text does, not as its bytes.
        let fits =
            |key: &[u8]| key.starts_with(prefix.as_bytes()) || prefix.starts_with('\\') || "\\x".starts_with(&prefix);
        if let Some(mut keys) = self.keyspace.scan(db) {
            while let Some(some) = keys.next().map_err(ended)? {
                for key in &some {
                    let own = self.scan.own.get(db, &key.key).is_some();
                    if own || !self.scan.table.holds(&key.value) || !fits(&key.key) {
                        continue;
                    }
                    self.note(db, &key.key, key.version)?;
                    if !self.take(db, key) {
                        return Ok(false);
                    }
                }
            }
        }
        let own = Arc::clone(&self.scan.own);
        Ok(own.of(db).filter(|key| fits(&key.key)).all(|key| self.take(db, key)))
    }

    fn note(&self, db: DbId, key: &Bytes, version: perigee_keyspace::Position) -> Result<()> {
        match &self.scan.draft {
            Some((draft, reading)) => {
                draft.note(db, key, version, *reading).map_err(|error| from_sql(draft_error(error)))
            }
            None => Ok(()),
        }
    }

    /// Gives the rows of a key; whether more are wanted.
    fn take(&mut self, db: DbId, key: &ScannedKey) -> bool {
        let now = self.keyspace.now_ms();
        if key.expire_at.is_some_and(|at| at <= now) && self.scan.own.get(db, &key.key).is_some() {
            return true;
        }
        let scan = self.scan;
        let shown = Shown { now, window: scan.wanted.window, places: &scan.places };
        scan.table.rows_of(db.number, key, &shown, &mut |row| self.push(row))
    }

    fn push(&mut self, row: Row) -> bool {
        self.bytes += row.iter().map(Value::size_bytes).sum::<usize>();
        self.rows.push(row);
        self.given += 1;
        let enough = self.scan.limit.is_some_and(|limit| self.given >= limit);
        let full = self.rows.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES;
        // A batch that cannot be made ends the scan: it is tried again at its end, which tells the error.
        if full && !self.flush().unwrap_or(false) {
            return false;
        }
        !enough
    }

    /// Sends the rows so far; whether more are wanted.
    fn flush(&mut self) -> Result<bool> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.scan.columns.len());
        for (at, ty) in self.scan.columns.iter().enumerate() {
            let mut builder = ColumnBuilder::new(ty, self.rows.len());
            for row in &self.rows {
                let value = row.get(at).unwrap_or(&Value::Null);
                builder.push(value).map_err(|error| from_sql(SqlError::internal(error)))?;
            }
            arrays.push(builder.finish());
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.scan.schema), arrays, &options)?;
        self.rows.clear();
        self.bytes = 0;
        Ok((self.send)(batch))
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
