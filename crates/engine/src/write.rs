//! INSERT, UPDATE and DELETE whose rows a DataFusion query yields.
//!
//! The query runs at the statement's snapshot. Each row that it wants to end is locked; when another transaction has
//! changed one since, READ COMMITTED keeps the locks and runs the whole statement again at a new snapshot.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use perigee_plan::Prepared;
use perigee_plan::relational::{OnConflict, Write, WriteKind};
use perigee_query::exec::ReadView;
use perigee_storage::arrow_value::{batch_to_rows, rows_to_batch};
use perigee_types::{Row, SqlError, SqlResult, SqlState, Value, Vid};

use crate::api::{CommandTag, Outcome, RowBlock, RowStream};
use crate::foreign::RowChange;
use crate::locks::LockMode;
use crate::rows::{Locked, Target};
use crate::session::Session;

/// How often a statement runs again because rows have changed under it.
const RUNS_MAX: usize = 10;

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
        let mut result = None;
        // What the statement's queries see, those of RETURNING too: the rows as they were before.
        let mut before = None;
        for _ in 0..RUNS_MAX {
            let engine = self.engine.clone();
            self.transaction()?.begin_statement(&engine);
            let view = self.view()?;
            before = Some(view.clone());
            result = match &write.kind {
                WriteKind::Insert { on_conflict } => {
                    Some(self.insert_from(&mut target, write, parameters, on_conflict.as_ref(), view).await?)
                }
                WriteKind::Update { assigned } => self.update_from(&target, write, parameters, assigned, view).await?,
                WriteKind::Delete => self.delete_from(&target, write, parameters, view).await?,
            };
            if result.is_some() {
                break;
            }
            self.transaction()?.writes.rollback_to(mark);
        }
        let Some((count, rows)) = result else {
            return Err(SqlError::new(
                SqlState::SerializationFailure,
                "could not serialize access: rows kept changing under the statement",
            ));
        };
        let Some(returning) = &write.returning else {
            return Ok(Outcome::Command(CommandTag { name: prepared.tag, rows: Some(count) }));
        };
        let batch = table_batch(&target, &rows)?;
        let view = match before {
            Some(view) => view,
            None => self.view()?,
        };
        let batches = self.engine.query.evaluate(returning, batch, parameters, view).await?;
        let columns = prepared.columns.clone().unwrap_or_else(|| Vec::new().into());
        let stream = futures::stream::iter(batches.into_iter().map(|b| Ok(RowBlock::Batch(b))));
        Ok(Outcome::Rows(columns, RowStream::stream(prepared.tag, Box::pin(stream))))
    }

    /// Appends the query's rows. They are written as they come, so the query must not see them: it has its snapshot and
    /// an overlay of its own.
    async fn insert_from(
        &mut self,
        target: &mut Target,
        write: &Write,
        parameters: &[Value],
        on_conflict: Option<&OnConflict>,
        view: Arc<ReadView>,
    ) -> SqlResult<(u64, Vec<Row>)> {
        let mut stream = self.engine.query.run(&write.source, parameters, view.clone());
        let mut count = 0;
        let mut written = Vec::new();
        let own_first = self.transaction()?.writes.next_local(target.table.storage);
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
            self.stage_if_large(target, write.returning.is_some()).await?;
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
        let mut seen = rustc_hash::FxHashSet::default();
        let mut stream = self.engine.query.run(&write.source, parameters, view);
        let mut bytes = 0;
        while let Some(batch) = stream.next().await {
            for mut row in batch_to_rows(&batch?) {
                let vid = pop_vid(&mut row)?;
                let values = row.split_off(width.min(row.len()));
                let old = row;
                // UPDATE … FROM may meet a row more than once; the first match counts.
                if !seen.insert(vid) {
                    continue;
                }
                if self.transaction()?.lock_row(target, vid, &old, mode).await? == Locked::Changed {
                    return Ok(None);
                }
                let mut new = old.clone();
                for (position, value) in assigned.iter().zip(values) {
                    *new.get_mut(*position).ok_or_else(|| SqlError::internal("assignment past the row"))? = value;
                }
                bytes += new.iter().map(Value::size_bytes).sum::<usize>();
                self.check_transaction_memory(bytes * 2)?;
                replaced.push((vid, old, new));
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
        let new: Vec<Row> = if write.returning.is_some() || !target.rules.checks.is_empty() {
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
        let mut count = 0;
        let mut ended = Vec::new();
        let mut changes = Vec::new();
        let mut seen = rustc_hash::FxHashSet::default();
        let mut stream = self.engine.query.run(&write.source, parameters, view);
        let mut bytes = 0;
        while let Some(batch) = stream.next().await {
            for mut row in batch_to_rows(&batch?) {
                let vid = pop_vid(&mut row)?;
                if !seen.insert(vid) {
                    continue;
                }
                if self.transaction()?.lock_row(target, vid, &row, LockMode::Ending).await? == Locked::Changed {
                    return Ok(None);
                }
                count += 1;
                self.transaction()?.writes.end(&target.table, &target.unique, vid, &row);
                let size = row.iter().map(Value::size_bytes).sum::<usize>();
                if write.returning.is_some() {
                    bytes += size;
                    ended.push(row.clone());
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
    match row.pop() {
        Some(Value::Int8(vid)) => Ok(Vid(vid as u64)),
        Some(Value::Numeric(vid, 0)) => Ok(Vid(vid as u64)),
        other => Err(SqlError::internal(format_args!("row version of type {other:?}"))),
    }
}

/// Rows of the table's live columns as a batch.
pub(crate) fn table_batch(target: &Target, rows: &[Row]) -> SqlResult<RecordBatch> {
    let fields: Vec<_> = target.table.columns.iter().map(|c| (c.number, &c.ty, c.name.as_str())).collect();
    rows_to_batch(&fields, rows).map_err(SqlError::internal)
}
