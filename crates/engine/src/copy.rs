//! COPY … FROM STDIN: batches from the door become rows of the table, staged in the log as they come.
//!
//! What fits into one entry is buffered as other writes are; beyond that full batches go to the log while the client is
//! still sending, so the size of a COPY is bounded by the disk, not by memory.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::record_batch::RecordBatch;
use perigee_plan::Expr;
use perigee_plan::command::CopyFormat;
use perigee_query::sql::{RowExpression, row_condition};
use perigee_storage::arrow_value::{batch_to_rows, repeat, rows_to_batch, schema_of};
use perigee_storage::entry::{RowBlock as LogRows, TableChange};
use perigee_types::catalog::Table;
use perigee_types::{SqlError, SqlResult, SqlType, TableId, Value};
use rustc_hash::FxHashMap;
use tokio_util::sync::CancellationToken;

use crate::api::{CommandTag, CopyIn, Outcome};
use crate::commit::check_values;
use crate::copy_keys::{BatchKeys, KeysOnTheWay};
use crate::family::Family;
use crate::large::{ROW_BYTES_MAX, check_row_bytes};
use crate::locks::{LockKey, LockMode};
use crate::rows::{Target, column_numbers, schema_name};
use crate::session::Session;
use crate::stage::{STAGE_BYTES, Staging, batch_bytes};
use crate::write::{STATEMENT_BUFFERS, table_batch};

/// Why a batch of rows was refused, and by which of its rows.
#[derive(Debug)]
pub struct RefusedBatch {
    /// Why.
    pub error: SqlError,
    /// The row in the batch, from 0; `None` where it was not for one of them.
    pub row: Option<usize>,
}

impl From<SqlError> for RefusedBatch {
    fn from(error: SqlError) -> Self {
        Self { error, row: None }
    }
}

/// Says that an error is about a row of the batch.
pub(crate) fn in_row(row: usize) -> impl FnOnce(SqlError) -> RefusedBatch {
    move |error| RefusedBatch { error, row: Some(row) }
}

/// A COPY that the client is sending.
pub(crate) struct CopyState {
    family: Family,
    /// Places in the table's columns of the columns that the data holds.
    columns: Vec<usize>,
    /// Defaults of the others, by place.
    defaults: Vec<Option<Expr>>,
    /// WHERE
    filter: Option<RowExpression>,
    rows: u64,
    /// By table: a COPY into a partitioned one loads several.
    loads: FxHashMap<TableId, Load>,
}

/// What a COPY has done to one table.
#[derive(Default)]
struct Load {
    /// Rows of this COPY that are not in the write set: they are staged.
    staged: bool,
    keys: KeysOnTheWay,
}

impl Session {
    pub(crate) async fn copy_from(
        &mut self,
        table: &Arc<Table>,
        columns: &[usize],
        format: &CopyFormat,
        filter: Option<&str>,
    ) -> SqlResult<Outcome> {
        let family = self.family(table, "COPY FROM").await?;
        let table = family.root.clone();
        let mut defaults = Vec::new();
        for position in 0..table.columns.len() {
            defaults.push(if columns.contains(&position) {
                None
            } else {
                Some(self.with_plan_context(&[], |_, context| {
                    perigee_query::sql::column_default(&table, position, context)
                })?)
            });
        }
        let wanted: Vec<(String, SqlType)> = columns
            .iter()
            .filter_map(|position| table.columns.get(*position))
            .map(|column| (column.name.clone(), column.ty.clone()))
            .collect();
        let outcome = CopyIn { format: format.clone(), table: table.name.clone(), columns: wanted.into() };
        let filter = match filter {
            Some(text) => Some(self.with_plan_context(&[], |_, context| row_condition(&table, text, context))?),
            None => None,
        };
        let columns = columns.to_vec();
        self.copy = Some(CopyState { family, columns, defaults, filter, rows: 0, loads: FxHashMap::default() });
        Ok(Outcome::CopyIn(outcome))
    }

    /// Is cancelled with the running statement: for who waits for what the client sends.
    #[must_use]
    pub fn cancellation(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Rows of the running COPY, with the columns that [`CopyIn`] names.
    ///
    /// # Errors
    /// What the rows violate; the COPY is over then and the transaction has failed.
    pub async fn copy_write(&mut self, batch: RecordBatch) -> Result<(), RefusedBatch> {
        let Some(mut copy) = self.copy.take() else {
            return Err(SqlError::internal("no COPY is running").into());
        };
        let result = self.copy_batch(&mut copy, batch).await;
        match result {
            Ok(()) => self.copy = Some(copy),
            Err(_) => self.fail(),
        }
        result
    }

    async fn copy_batch(&mut self, copy: &mut CopyState, batch: RecordBatch) -> Result<(), RefusedBatch> {
        if self.cancel.is_cancelled() {
            return Err(self
                .explain_cancel(SqlError::new(
                    perigee_types::SqlState::QueryCanceled,
                    "canceling statement due to user request",
                ))
                .into());
        }
        let mut batch = self.complete(copy, &batch)?;
        if let Some(filter) = &copy.filter {
            batch = self.filtered(filter, &copy.family.root, batch).await?;
            if batch.num_rows() == 0 {
                return Ok(());
            }
        }
        copy.rows += batch.num_rows() as u64;
        let root = copy.family.root.oid;
        if copy.family.root.partitioning.is_none() {
            return self.copy_into(copy, root, batch).await;
        }
        for (oid, rows) in self.place(&mut copy.family, batch_to_rows(&batch)).await? {
            let batch = table_batch(&copy.family.member(oid)?.target.table, &rows)?;
            self.copy_into(copy, oid, batch).await.map_err(|refused| RefusedBatch { row: None, ..refused })?;
        }
        Ok(())
    }

    /// The rows for which a condition is true.
    async fn filtered(
        &mut self,
        filter: &RowExpression,
        table: &Arc<Table>,
        batch: RecordBatch,
    ) -> SqlResult<RecordBatch> {
        self.check_calls(filter, None)?;
        let values = self.values_over(table, filter, &batch_to_rows(&batch)).await?;
        let keep: BooleanArray = values.iter().map(|value| Some(*value == Value::Bool(true))).collect();
        arrow::compute::filter_record_batch(&batch, &keep).map_err(SqlError::internal)
    }

    /// Rows of one table.
    async fn copy_into(&mut self, copy: &mut CopyState, oid: TableId, batch: RecordBatch) -> Result<(), RefusedBatch> {
        let load = copy.loads.entry(oid).or_default();
        let root = copy.family.root.oid;
        let target = &mut copy.family.member_mut(oid)?.target;
        let batch = self.generate_batch(target, batch).await?;
        self.check_batch(target, &batch).await?;
        if oid == root && target.table.is_partition() {
            self.check_bounds(&target.table, &batch_to_rows(&batch)).await?;
        }
        let buffered = self.transaction()?.writes.size_bytes();
        if !load.staged && buffered + batch_bytes(&batch) * 3 < STAGE_BYTES {
            for (i, row) in batch_to_rows(&batch).into_iter().enumerate() {
                self.transaction()?.insert_row(target, row).await.map_err(in_row(i))?;
            }
            return Ok(self.uphold_batch(target, &batch).await?);
        }
        // From here on the rows go to the log, those before them first.
        if !load.staged {
            self.stage_if_large_at(target, 0).await?;
            load.staged = true;
        }
        self.stage_batch(target, &mut load.keys, batch.clone()).await?;
        Ok(self.uphold_batch(target, &batch).await?)
    }

    /// The batch with all columns of the table, in its order.
    fn complete(&self, copy: &CopyState, batch: &RecordBatch) -> SqlResult<RecordBatch> {
        let table = &copy.family.root;
        let rows = batch.num_rows();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(table.columns.len());
        for (position, column) in table.columns.iter().enumerate() {
            if let Some(place) = copy.columns.iter().position(|p| *p == position) {
                arrays.push(batch.column(place).clone());
                continue;
            }
            let array = match copy.defaults.get(position).and_then(Option::as_ref) {
                None => repeat(&Value::Null, &column.ty, rows),
                Some(Expr::Literal(value)) => repeat(value, &column.ty, rows),
                Some(expr) => {
                    let values: Vec<Vec<Value>> =
                        (0..rows).map(|_| Ok(vec![self.evaluate(expr, &[], &[])?])).collect::<SqlResult<_>>()?;
                    let fields = [(column.number, &column.ty, column.name.as_str())];
                    rows_to_batch(&fields, &values).map(|b| b.column(0).clone())
                }
            };
            arrays.push(array.map_err(SqlError::internal)?);
        }
        let fields: Vec<_> = table.columns.iter().map(|c| (c.number, &c.ty, c.name.as_str())).collect();
        RecordBatch::try_new(schema_of(&fields), arrays).map_err(SqlError::internal)
    }

    /// Checks a batch and sends it to the log, hidden until COMMIT.
    async fn stage_batch(
        &mut self,
        target: &mut Target,
        keys: &mut KeysOnTheWay,
        batch: RecordBatch,
    ) -> Result<(), RefusedBatch> {
        for (column, array) in target.table.columns.iter().zip(batch.columns()) {
            if column.not_null && array.null_count() > 0 {
                for (i, row) in batch_to_rows(&batch).iter().enumerate() {
                    check_values(&target.table, &target.schema, row).map_err(in_row(i))?;
                }
            }
        }
        if batch_bytes(&batch) > ROW_BYTES_MAX {
            for row in 0..batch.num_rows() {
                check_row_bytes(batch_bytes(&batch.slice(row, 1))).map_err(in_row(row))?;
            }
        }
        let claimed = self.claim_batch_keys(target, keys, &batch).await?;
        let engine = self.engine.clone();
        engine.check_disk(batch_bytes(&batch))?;
        let catalog = self.planning_catalog();
        let transaction = self.transaction()?;
        let staging = transaction.staging.get_or_insert_with(|| Staging::new(transaction.holder, transaction.term));
        staging.table(&engine, &target.table, &catalog).await?;
        if target.store.is_none() {
            target.store = engine.store.table(target.table.storage);
        }
        let change = TableChange {
            storage: target.table.storage,
            columns: column_numbers(&target.table),
            ended: Vec::new(),
            rows: LogRows::Batch(batch),
        };
        staging.push(&engine, target.table.oid, change).await?;
        if let Some(claimed) = claimed {
            keys.pushed(staging.parts(), claimed);
        }
        Ok(())
    }

    /// Makes sure that nobody has the keys of these rows, and that nobody takes them before COMMIT.
    ///
    /// One lock stands for all rows of a large load: the table itself.
    async fn claim_batch_keys(
        &mut self,
        target: &Target,
        keys: &mut KeysOnTheWay,
        batch: &RecordBatch,
    ) -> Result<Option<BatchKeys>, RefusedBatch> {
        if target.unique.0.is_empty() {
            return Ok(None);
        }
        let (wait, cancel) = (target.wait, target.cancel.clone());
        let transaction = self.transaction()?;
        if !transaction.holds_table(target.table.oid) {
            transaction.lock(LockKey::Table(target.table.oid), LockMode::Exclusive, None, wait, &cancel).await?;
        }
        let staged = transaction.staging.as_ref().map(|s| s.id);
        keys.applied(transaction.staging.as_ref().map_or(0, Staging::applied_parts));
        keys.test(target, batch, &transaction.writes, staged).map(Some)
    }

    /// Whether the transaction has buffered more than it may since rows of it went to the log last. Not where a rewrite defers
    /// what foreign keys ask: rows must be seen again then.
    pub(crate) fn buffers_much(&mut self) -> SqlResult<bool> {
        let limit = self.engine.options.transaction_bytes_max;
        let transaction = self.transaction()?;
        let most = transaction.buffer_left.saturating_add(limit);
        Ok(transaction.deferred.is_none() && transaction.writes.size_bytes() > most)
    }

    /// Sends what a statement has left in the buffer to the log: many small statements are as much as a large one.
    pub(crate) async fn stage_written(&mut self, family: &mut Family) -> SqlResult<()> {
        for member in family.members_mut() {
            self.stage_if_large(&mut member.target, false).await?;
        }
        self.buffer_is_left()
    }

    /// As [`Session::stage_written`], of one table.
    pub(crate) async fn stage_written_to(&mut self, target: &mut Target) -> SqlResult<()> {
        self.stage_if_large(target, false).await?;
        self.buffer_is_left()
    }

    /// What is in the buffer now (rows that end, rows that a savepoint brings back) stays there.
    fn buffer_is_left(&mut self) -> SqlResult<()> {
        let transaction = self.transaction()?;
        transaction.buffer_left = transaction.writes.size_bytes();
        Ok(())
    }

    /// Sends buffered rows of a table to the log once they are too many to keep. Not where they must be seen again.
    pub(crate) async fn stage_if_large(&mut self, target: &mut Target, keep: bool) -> SqlResult<()> {
        let keep = keep || target.unique.may_defer();
        let limit = if keep { usize::MAX } else { self.engine.options.transaction_bytes_max };
        self.stage_if_large_at(target, limit).await
    }

    async fn stage_if_large_at(&mut self, target: &mut Target, limit: usize) -> SqlResult<()> {
        let engine = self.engine.clone();
        let catalog = self.planning_catalog();
        let transaction = self.transaction()?;
        let bytes = transaction.writes.size_bytes();
        if limit > 0 && bytes <= limit {
            return Ok(());
        }
        // What a savepoint would bring back could not come back: it stays as long as a statement may hold as much.
        let kept_max = limit.saturating_mul(STATEMENT_BUFFERS);
        if limit > 0 && bytes <= kept_max && transaction.would_lose(target.table.storage) {
            return Ok(());
        }
        let rows = transaction.take_to_stage(target.table.storage);
        if rows.is_empty() {
            return Ok(());
        }
        engine.check_disk(bytes)?;
        let staging = transaction.staging.get_or_insert_with(|| Staging::new(transaction.holder, transaction.term));
        staging.table(&engine, &target.table, &catalog).await?;
        // The keys of these rows are looked for there from now on.
        target.store = engine.store.table(target.table.storage);
        let fields: Vec<_> = target.table.columns.iter().map(|c| (c.number, &c.ty, c.name.as_str())).collect();
        for rows in rows.chunks(8_192) {
            let change = TableChange {
                storage: target.table.storage,
                columns: column_numbers(&target.table),
                ended: Vec::new(),
                rows: LogRows::Batch(rows_to_batch(&fields, rows).map_err(SqlError::internal)?),
            };
            staging.push(&engine, target.table.oid, change).await?;
        }
        staging.settle().await
    }

    /// The client has sent everything.
    ///
    /// # Errors
    /// Where no COPY is running; `23503` for rows that point to rows which did not come.
    pub async fn copy_finish(&mut self) -> SqlResult<CommandTag> {
        let copy = self.copy.take().ok_or_else(|| SqlError::internal("no COPY is running"))?;
        // The next statement may look for these rows by their keys.
        let done = match self.settle_staged().await {
            Ok(()) => self.uphold_pending().await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            self.fail();
            return Err(error);
        }
        tracing::debug!(
            table = %copy.family.root.name,
            schema = %schema_name(&self.planning_catalog(), &copy.family.root),
            rows = copy.rows,
            "copied"
        );
        Ok(CommandTag { name: "COPY", rows: Some(copy.rows) })
    }
}
