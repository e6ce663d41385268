//! INSERT, UPDATE and DELETE whose rows a DataFusion query yields.
//!
//! The query runs at the statement's snapshot. Each row that it wants to end is locked; when another transaction has
//! changed one since, READ COMMITTED keeps the locks and runs the whole statement again at a new snapshot.

use arrow::record_batch::RecordBatch;
use perigee_plan::relational::{Write, WriteKind};
use perigee_plan::{Prepared, Query};
use perigee_storage::arrow_value::{batch_to_rows, rows_to_batch};
use perigee_types::{Row, SqlError, SqlResult, SqlState, Value, Vid};

use crate::api::{CommandTag, Outcome, RowBlock, RowStream};
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
        let target = self.target(&write.table, prepared.tag).await?;
        self.refuse_staged_reads(&write.source)?;
        let mark = self.transaction()?.writes.mark();
        let mut result = None;
        for _ in 0..RUNS_MAX {
            let engine = self.engine.clone();
            self.transaction()?.begin_statement(&engine);
            result = match &write.kind {
                WriteKind::Insert { ignore_conflicts } => {
                    Some(self.insert_from(&target, write, parameters, *ignore_conflicts).await?)
                }
                WriteKind::Update { assigned } => self.update_from(&target, write, parameters, assigned).await?,
                WriteKind::Delete => self.delete_from(&target, write, parameters).await?,
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
        let view = self.view()?;
        let batches = self.engine.query.evaluate(returning, batch, parameters, view).await?;
        let columns = prepared.columns.clone().unwrap_or_else(|| Vec::new().into());
        let stream = futures::stream::iter(batches.into_iter().map(|b| Ok(RowBlock::Batch(b))));
        Ok(Outcome::Rows(columns, RowStream::stream(prepared.tag, Box::pin(stream))))
    }

    /// Appends the query's rows. They are written as they come, so the query must not see them: it has its snapshot and
    /// an overlay of its own.
    async fn insert_from(
        &mut self,
        target: &Target,
        write: &Write,
        parameters: &[Value],
        ignore_conflicts: bool,
    ) -> SqlResult<(u64, Vec<Row>)> {
        let view = self.view()?;
        let mut stream = self.engine.query.run(&write.source, parameters, view);
        let mut count = 0;
        let mut written = Vec::new();
        while let Some(batch) = stream.next().await {
            for row in batch_to_rows(&batch?) {
                let kept = write.returning.is_some().then(|| row.clone());
                if self.transaction()?.insert_row(target, row, ignore_conflicts).await? {
                    count += 1;
                    written.extend(kept);
                }
            }
            self.stage_if_large(target, write.returning.is_some()).await?;
        }
        Ok((count, written))
    }

    /// `None`: a row has changed under the statement.
    async fn update_from(
        &mut self,
        target: &Target,
        write: &Write,
        parameters: &[Value],
        assigned: &[usize],
    ) -> SqlResult<Option<(u64, Vec<Row>)>> {
        let width = target.table.columns.len();
        let mut replaced: Vec<(Vid, Row, Row)> = Vec::new();
        let mut seen = rustc_hash::FxHashSet::default();
        let view = self.view()?;
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
                if self.transaction()?.lock_row(target, vid, &old, LockMode::Exclusive).await? == Locked::Changed {
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
        let count = replaced.len() as u64;
        let new = if write.returning.is_some() {
            replaced.iter().map(|(_, _, new)| new.clone()).collect()
        } else {
            Vec::new()
        };
        self.transaction()?.replace_rows(target, replaced).await?;
        Ok(Some((count, new)))
    }

    /// `None`: a row has changed under the statement.
    async fn delete_from(
        &mut self,
        target: &Target,
        write: &Write,
        parameters: &[Value],
    ) -> SqlResult<Option<(u64, Vec<Row>)>> {
        let mut count = 0;
        let mut ended = Vec::new();
        let mut deleted: Vec<(Vid, Row)> = Vec::new();
        let mut seen = rustc_hash::FxHashSet::default();
        let view = self.view()?;
        let mut stream = self.engine.query.run(&write.source, parameters, view);
        while let Some(batch) = stream.next().await {
            for mut row in batch_to_rows(&batch?) {
                let vid = pop_vid(&mut row)?;
                if !seen.insert(vid) {
                    continue;
                }
                if self.transaction()?.lock_row(target, vid, &row, LockMode::Exclusive).await? == Locked::Changed {
                    return Ok(None);
                }
                count += 1;
                if write.returning.is_some() {
                    ended.push(row.clone());
                }
                deleted.push((vid, row));
            }
        }
        let transaction = self.transaction()?;
        for (vid, row) in deleted {
            transaction.writes.end(&target.table, &target.unique, vid, &row);
        }
        Ok(Some((count, ended)))
    }

    /// A transaction's buffered rows are bounded.
    fn check_transaction_memory(&self, bytes: usize) -> SqlResult<()> {
        let limit = self.engine.options.transaction_bytes_max.saturating_mul(8);
        if bytes > limit {
            return Err(SqlError::new(
                SqlState::OutOfMemory,
                format!("the statement changes more than {} MB of rows", limit >> 20),
            )
            .hint("change fewer rows in a statement"));
        }
        Ok(())
    }

    /// Rows that were staged are in the log, hidden also from this transaction's queries.
    pub(crate) fn refuse_staged_reads(&self, query: &Query) -> SqlResult<()> {
        let Some(staging) = self.transaction.as_ref().and_then(|t| t.staging.as_ref()) else { return Ok(()) };
        if query.reads.iter().any(|oid| staging.has_rows_of(*oid)) {
            return Err(SqlError::unsupported(
                "reading a table in the transaction that has just loaded more rows into it than fit its buffer",
            )
            .hint("commit first"));
        }
        Ok(())
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
