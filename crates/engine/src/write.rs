//! INSERT, UPDATE, DELETE and MERGE whose rows a DataFusion query yields.
//!
//! The query runs at the statement's snapshot. Each row that it wants to end is locked; when another transaction has
//! changed one since, READ COMMITTED keeps the locks and runs the whole statement again at a new snapshot.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use perigee_plan::Prepared;
use perigee_plan::relational::{OnConflict, Write, WriteKind};
use perigee_query::exec::ReadView;
use perigee_storage::arrow_value::{batch_to_rows, rows_to_batch};
use perigee_types::catalog::Table;
use perigee_types::{Row, SqlError, SqlResult, SqlState, Value, Vid};

use crate::api::{CommandTag, Outcome, RowBlock, RowStream};
use crate::foreign::RowChange;
use crate::locks::LockMode;
use crate::rows::{Locked, Target};
use crate::session::Session;

/// How often a statement runs again because rows have changed under it.
pub(crate) const RUNS_MAX: usize = 10;

impl Session {
    pub(crate) async fn run_write(
        &mut self,
        prepared: &Prepared,
        write: &Write,
        parameters: &[Value],
    ) -> SqlResult<Outcome> {
        let mut target = self.target(&write.table, prepared.tag).await?;
        self.settle_staged().await?;
        let mark = self.transaction()?.writes.mark();
        for _ in 0..RUNS_MAX {
            let engine = self.engine.clone();
            self.transaction()?.begin_statement(&engine);
            // What the statement's queries see, those of RETURNING too: the rows as they were before.
            let view = self.view()?;
            let own_first = self.transaction()?.writes.next_local(target.table.storage);
            let done = self.write_once(&mut target, write, parameters, own_first, view.clone()).await?;
            let Some((count, rows)) = done else {
                self.transaction()?.writes.rollback_to(mark);
                continue;
            };
            if write.returning.is_none() {
                return Ok(Outcome::Command(CommandTag { name: prepared.tag, rows: Some(count) }));
            }
            let batches = self.returned(&target, write, &rows, parameters, view).await?;
            let columns = prepared.columns.clone().unwrap_or_else(|| Vec::new().into());
            let stream = futures::stream::iter(batches.into_iter().map(|b| Ok(RowBlock::Batch(b))));
            return Ok(Outcome::Rows(columns, RowStream::stream(prepared.tag, Box::pin(stream))));
        }
        Err(kept_changing())
    }

    /// Runs a write over a view: how many rows it has written, and those that RETURNING wants. `own_first` is where the
    /// transaction's own rows begin that the statement makes. `None`: a row has changed under it.
    pub(crate) async fn write_once(
        &mut self,
        target: &mut Target,
        write: &Write,
        parameters: &[Value],
        own_first: Vid,
        view: Arc<ReadView>,
    ) -> SqlResult<Option<(u64, Vec<Row>)>> {
        match &write.kind {
            WriteKind::Insert { on_conflict } => {
                self.insert_from(target, write, parameters, on_conflict.as_ref(), own_first, view).await.map(Some)
            }
            WriteKind::Update { assigned } => self.update_from(target, write, parameters, assigned, view).await,
            WriteKind::Delete => self.delete_from(target, write, parameters, view).await,
            WriteKind::Merge { actions } => {
                let count = self.merge_from(target, write, parameters, actions, view).await?;
                Ok(count.map(|count| (count, Vec::new())))
            }
        }
    }

    /// Appends the query's rows. They are written as they come, so the query must not see them: it has its snapshot and
    /// an overlay of its own.
    async fn insert_from(
        &mut self,
        target: &mut Target,
        write: &Write,
        parameters: &[Value],
        on_conflict: Option<&OnConflict>,
        own_first: Vid,
        view: Arc<ReadView>,
    ) -> SqlResult<(u64, Vec<Row>)> {
        let mut stream = self.engine.query.run(&write.source, parameters, view.clone());
        let mut count = 0;
        let mut written = Vec::new();
        // Rows that are kept cannot go into the log while the statement runs.
        let keep = write.returning.is_some() || self.transaction()?.deferred.is_some();
        while let Some(batch) = stream.next().await {
            let mut rows = batch_to_rows(&batch?);
            self.generate(target, &mut rows).await?;
            self.check_rows(target, &rows).await?;
            if let Some(on) = on_conflict {
                for row in rows {
                    if let Some(row) =
                        self.insert_or_update(target, on, row, own_first, parameters, Some(&view)).await?
                    {
                        count += 1;
                        written.extend(write.returning.is_some().then_some(row));
                    }
                }
                let bytes = self.transaction()?.writes.size_bytes();
                self.check_transaction_memory(bytes)?;
                continue;
            }
            count += rows.len() as u64;
            let changes = if target.points() { rows.iter().map(RowChange::written).collect() } else { Vec::new() };
            if write.returning.is_some() {
                written.extend(rows.iter().cloned());
            }
            for row in rows {
                self.transaction()?.insert_row(target, row).await?;
            }
            self.uphold(target, changes).await?;
            if keep {
                let bytes = self.transaction()?.writes.size_bytes();
                self.check_transaction_memory(bytes)?;
            }
            self.stage_if_large(target, keep).await?;
        }
        self.uphold_pending().await?;
        Ok((count, written))
    }

    /// `None`: a row has changed under the statement.
    pub(crate) async fn update_from(
        &mut self,
        target: &Target,
        write: &Write,
        parameters: &[Value],
        assigned: &[usize],
        view: Arc<ReadView>,
    ) -> SqlResult<Option<(u64, Vec<Row>)>> {
        let width = target.table.columns.len();
        let mode = target.write_mode(assigned.iter().copied());
        let mut replaced: Vec<(Vid, Row, Row)> = Vec::new();
        let mut of_others: Vec<Row> = Vec::new();
        let mut seen = rustc_hash::FxHashSet::default();
        let mut stream = self.engine.query.run(&write.source, parameters, view);
        let mut bytes = 0;
        while let Some(batch) = stream.next().await {
            for mut row in batch_to_rows(&batch?) {
                let vid = pop_vid(&mut row)?;
                let mut values = row.split_off(width.min(row.len()));
                let others = values.split_off(assigned.len().min(values.len()));
                let old = row;
                // UPDATE … FROM may meet a row more than once; the first match counts. So does the first write of WITH.
                if !seen.insert(vid) || self.transaction()?.writes.is_gone(target.table.storage, vid) {
                    continue;
                }
                if self.transaction()?.lock_row(target, vid, &old, mode).await? == Locked::Changed {
                    return Ok(None);
                }
                let mut new = old.clone();
                for (position, value) in assigned.iter().zip(values) {
                    *new.get_mut(*position).ok_or_else(|| SqlError::internal("assignment past the row"))? = value;
                }
                bytes += new.iter().chain(&others).map(Value::size_bytes).sum::<usize>();
                self.check_transaction_memory(bytes * 2)?;
                replaced.push((vid, old, new));
                if !write.others.is_empty() {
                    of_others.push(others);
                }
            }
        }
        if !target.rules.generated.is_empty() {
            let mut new: Vec<Row> = replaced.iter_mut().map(|(_, _, new)| std::mem::take(new)).collect();
            self.generate(target, &mut new).await?;
            for ((_, _, slot), new) in replaced.iter_mut().zip(new) {
                *slot = new;
            }
        }
        let count = replaced.len() as u64;
        let mut new: Vec<Row> = if write.returning.is_some() || !target.rules.checks.is_empty() {
            replaced.iter().map(|(_, _, new)| new.clone()).collect()
        } else {
            Vec::new()
        };
        self.check_rows(target, &new).await?;
        let changes = if target.points() || target.referenced {
            let change = |(_, old, new): &(Vid, Row, Row)| RowChange { old: Some(old.clone()), new: Some(new.clone()) };
            replaced.iter().map(change).collect()
        } else {
            Vec::new()
        };
        self.transaction()?.replace_rows(target, replaced).await?;
        self.uphold(target, changes).await?;
        self.uphold_pending().await?;
        for (row, others) in new.iter_mut().zip(of_others) {
            row.extend(others);
        }
        Ok(Some((count, new)))
    }

    /// `None`: a row has changed under the statement.
    async fn delete_from(
        &mut self,
        target: &Target,
        write: &Write,
        parameters: &[Value],
        view: Arc<ReadView>,
    ) -> SqlResult<Option<(u64, Vec<Row>)>> {
        let width = target.table.columns.len();
        let mut count = 0;
        let mut ended = Vec::new();
        let mut changes = Vec::new();
        let mut seen = rustc_hash::FxHashSet::default();
        let mut stream = self.engine.query.run(&write.source, parameters, view);
        let mut bytes = 0;
        while let Some(batch) = stream.next().await {
            for mut row in batch_to_rows(&batch?) {
                let vid = pop_vid(&mut row)?;
                let others = row.split_off(width.min(row.len()));
                if !seen.insert(vid) || self.transaction()?.writes.is_gone(target.table.storage, vid) {
                    continue;
                }
                if self.transaction()?.lock_row(target, vid, &row, LockMode::Ending).await? == Locked::Changed {
                    return Ok(None);
                }
                count += 1;
                self.transaction()?.writes.end(&target.table, &target.unique, vid, &row);
                let size = row.iter().map(Value::size_bytes).sum::<usize>();
                if write.returning.is_some() {
                    bytes += size + others.iter().map(Value::size_bytes).sum::<usize>();
                    let mut row = row.clone();
                    row.extend(others);
                    ended.push(row);
                }
                if target.referenced {
                    bytes += size;
                    changes.push(RowChange { old: Some(row), new: None });
                }
            }
            let written = self.transaction()?.writes.size_bytes();
            self.check_transaction_memory(written + bytes)?;
        }
        self.uphold(target, changes).await?;
        self.uphold_pending().await?;
        Ok(Some((count, ended)))
    }

    /// A transaction's buffered rows are bounded.
    ///
    /// # Errors
    /// `53200`
    pub(crate) fn check_transaction_memory(&self, bytes: usize) -> SqlResult<()> {
        let limit = self.statement_bytes_max();
        if bytes > limit {
            return Err(SqlError::new(
                SqlState::OutOfMemory,
                format!("the statement changes more than {} MB of rows", limit >> 20),
            )
            .hint("change fewer rows in a statement"));
        }
        Ok(())
    }

    /// Bytes of rows that a statement may hold.
    pub(crate) fn statement_bytes_max(&self) -> usize {
        self.engine.options.transaction_bytes_max.saturating_mul(8)
    }

    /// Waits until rows that were staged can be read by this transaction.
    pub(crate) async fn settle_staged(&mut self) -> SqlResult<()> {
        match self.transaction.as_mut().and_then(|t| t.staging.as_mut()) {
            Some(staging) => staging.settle().await,
            None => Ok(()),
        }
    }
}

pub(crate) fn pop_vid(row: &mut Row) -> SqlResult<Vid> {
    vid_of(row.pop().unwrap_or(Value::Null))
}

/// The vid in a query's hidden column.
pub(crate) fn vid_of(value: Value) -> SqlResult<Vid> {
    match value {
        Value::Int8(vid) => Ok(Vid(vid as u64)),
        Value::Numeric(vid, 0) => Ok(Vid(vid as u64)),
        other => Err(SqlError::internal(format_args!("row version of type {other:?}"))),
    }
}

pub(crate) fn kept_changing() -> SqlError {
    SqlError::new(SqlState::SerializationFailure, "could not serialize access: rows kept changing under the statement")
}

/// Rows for RETURNING: the table's live columns, then those of other tables.
pub(crate) fn returning_batch(target: &Target, write: &Write, rows: &[Row]) -> SqlResult<RecordBatch> {
    let own = target.table.columns.iter().map(|c| (c.number, &c.ty, c.name.as_str()));
    let others = write.others.iter().map(|(name, ty)| (0, ty, name.as_str()));
    let fields: Vec<_> = own.chain(others).collect();
    rows_to_batch(&fields, rows).map_err(SqlError::internal)
}

/// Rows of the table's live columns as a batch.
pub(crate) fn table_batch(table: &Table, rows: &[Row]) -> SqlResult<RecordBatch> {
    let fields: Vec<_> = table.columns.iter().map(|c| (c.number, &c.ty, c.name.as_str())).collect();
    rows_to_batch(&fields, rows).map_err(SqlError::internal)
}
