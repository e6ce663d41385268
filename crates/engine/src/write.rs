//! INSERT, UPDATE, DELETE and MERGE whose rows a DataFusion query yields.
//!
//! The query runs at the statement's snapshot. Each row that it wants to end is locked; when another transaction has
//! changed one since, READ COMMITTED keeps the locks and runs the whole statement again at a new snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use perigee_plan::Prepared;
use perigee_plan::relational::{OnConflict, TABLE_OID_COLUMN, Write, WriteKind};
use perigee_query::exec::ReadView;
use perigee_query::keyspace::KeyTable;
use perigee_storage::arrow_value::{batch_to_rows, rows_to_batch};
use perigee_storage::table::Begun;
use perigee_types::catalog::Table;
use perigee_types::{Oid, Row, SqlError, SqlResult, SqlState, SqlType, TableId, Value, Vid};
use rustc_hash::FxHashSet;

use crate::api::{CommandTag, Outcome, RowBlock, RowStream};
use crate::family::Family;
use crate::foreign::RowChange;
use crate::lock_order::RowsToLock;
use crate::locks::LockMode;
use crate::rows::Locked;
use crate::session::Session;

/// How often a statement runs again because rows have changed under it. A run that meets such a row locks the rest too, so the
/// next one finds little that others may still change, and each run more is a commit of somebody else's.
pub(crate) const RUNS_MAX: usize = 1_000;

/// What a statement may hold, in buffers of a transaction.
pub(crate) const STATEMENT_BUFFERS: usize = 8;

impl Session {
    pub(crate) async fn run_write(
        &mut self,
        prepared: &Prepared,
        write: &Write,
        parameters: &[Value],
    ) -> SqlResult<Outcome> {
        if let Some(keys) = KeyTable::of(write.table.oid) {
            return Box::pin(self.run_key_write(prepared, write, keys, parameters)).await;
        }
        self.check_only(write.table.oid)?;
        let mut family = self.written_family(write, prepared.tag).await?;
        self.settle_staged().await?;
        let mark = self.transaction()?.writes.mark();
        for _ in 0..RUNS_MAX {
            let engine = self.engine.clone();
            self.transaction()?.begin_statement(&engine);
            // What the statement's queries see, those of RETURNING too: the rows as they were before.
            let mut view = self.view_to_write(&write.source, false)?;
            if let Some(upto) = self.ends_old {
                view = view.of_rows_begun(Begun::by(upto));
            }
            let Some((count, rows)) = self.write_once(&mut family, write, parameters, view.clone()).await? else {
                self.transaction()?.writes.rollback_to(mark);
                continue;
            };
            if self.buffers_much()? {
                Box::pin(self.stage_written(&mut family)).await?;
            }
            if write.returning.is_none() {
                return Ok(Outcome::Command(CommandTag { name: prepared.tag, rows: Some(count) }));
            }
            let batches = self.returned(&family.root, write, rows, parameters, view).await?;
            let columns = prepared.columns.clone().unwrap_or_else(|| Vec::new().into());
            let stream = futures::stream::iter(batches.into_iter().map(|b| Ok(RowBlock::Batch(b))));
            return Ok(Outcome::Rows(columns, RowStream::stream(prepared.tag, Box::pin(stream))));
        }
        Err(kept_changing())
    }

    /// Runs a write over a view: how many rows it has written, and those that RETURNING wants. `None`: a row has changed
    /// under it.
    pub(crate) async fn write_once(
        &mut self,
        family: &mut Family,
        write: &Write,
        parameters: &[Value],
        view: Arc<ReadView>,
    ) -> SqlResult<Option<(u64, Vec<Returned>)>> {
        match &write.kind {
            WriteKind::Insert { on_conflict } => {
                self.insert_from(family, write, parameters, on_conflict.as_ref(), view).await.map(Some)
            }
            WriteKind::Update { assigned } => self.update_from(family, write, parameters, assigned, view).await,
            WriteKind::Delete => self.delete_from(family, write, parameters, view).await,
            WriteKind::Merge { actions } => {
                let count = self.merge_from(family, write, parameters, actions, view).await?;
                Ok(count.map(|count| (count, Vec::new())))
            }
        }
    }

    /// Appends the query's rows. They are written as they come, so the query must not see them: it has its snapshot and
    /// an overlay of its own.
    async fn insert_from(
        &mut self,
        family: &mut Family,
        write: &Write,
        parameters: &[Value],
        on_conflict: Option<&OnConflict>,
        view: Arc<ReadView>,
    ) -> SqlResult<(u64, Vec<Returned>)> {
        let mut stream = self.engine.query.run(&write.source, parameters, view.clone());
        let returns = write.returning.is_some();
        let mut count = 0;
        let mut written = Vec::new();
        // Rows that are kept cannot go into the log while the statement runs.
        let mut keep = returns || self.transaction()?.deferred.is_some();
        // What RETURNING wants besides the row is its `xmax`: who has it was there before.
        let number = view.transaction_number();
        let xmax = |was_there: bool| {
            let value = Value::Oid(if was_there { number } else { 0 });
            write.others.iter().map(|_| value.clone()).collect::<Row>()
        };
        while let Some(batch) = stream.next().await {
            for (oid, mut rows) in self.place(family, batch_to_rows(&batch?)).await? {
                let member = family.member(oid)?;
                let target = &member.target;
                keep |= target.unique.may_defer();
                self.generate(target, &mut rows).await?;
                self.check_rows(target, &rows).await?;
                if oid == family.root.oid {
                    self.check_bounds(&target.table, &rows).await?;
                }
                if let Some(on) = on_conflict {
                    for row in rows {
                        if let Some((row, was_there)) =
                            self.insert_or_update(family, member, on, row, parameters, Some(&view)).await?
                        {
                            count += 1;
                            written.extend(returns.then(|| family.returned(member, &row, xmax(was_there))));
                        }
                    }
                    let bytes = self.transaction()?.writes.size_bytes();
                    self.check_transaction_memory(bytes)?;
                    continue;
                }
                count += rows.len() as u64;
                let changes = if target.points() { rows.iter().map(RowChange::written).collect() } else { Vec::new() };
                if returns {
                    written.extend(rows.iter().map(|row| family.returned(member, row, xmax(false))));
                }
                for row in rows {
                    self.transaction()?.insert_row(target, row).await?;
                }
                self.uphold(target, changes).await?;
                if keep {
                    let bytes = self.transaction()?.writes.size_bytes();
                    self.check_transaction_memory(bytes)?;
                }
                self.stage_if_large(&mut family.member_mut(oid)?.target, keep).await?;
            }
        }
        self.uphold_pending().await?;
        Ok((count, written))
    }

    /// Which row a write has found; `None` where it had it before. Opens its table.
    async fn found_row(
        &mut self,
        family: &mut Family,
        write: &Write,
        row: &mut Row,
        seen: &mut FxHashSet<(TableId, Vid)>,
    ) -> SqlResult<Option<(TableId, Vid)>> {
        let vid = pop_vid(row)?;
        let oid = if write.family { pop_oid(row.pop())? } else { family.root.oid };
        self.open_member(family, oid).await?;
        let storage = family.member(oid)?.target.table.storage;
        // UPDATE … FROM may meet a row more than once; the first match counts. So does the first write of WITH.
        if !seen.insert((oid, vid)) || self.transaction()?.writes.is_gone(storage, vid) {
            return Ok(None);
        }
        Ok(Some((oid, vid)))
    }

    /// `None`: a row has changed under the statement.
    pub(crate) async fn update_from(
        &mut self,
        family: &mut Family,
        write: &Write,
        parameters: &[Value],
        assigned: &[usize],
        view: Arc<ReadView>,
    ) -> SqlResult<Option<(u64, Vec<Returned>)>> {
        let width = family.width(write);
        let moves = family.may_move(assigned);
        let mut updated: Vec<Updated> = Vec::new();
        let mut seen = FxHashSet::default();
        let mut stream = self.engine.query.run(&write.source, parameters, view);
        let mut bytes = 0;
        let mut changed = false;
        let mut to_lock = RowsToLock::default();
        while let Some(batch) = stream.next().await {
            for mut row in batch_to_rows(&batch?) {
                let Some((from, vid)) = self.found_row(family, write, &mut row, &mut seen).await? else { continue };
                let mut values = row.split_off(width.min(row.len()));
                let others = values.split_off(assigned.len().min(values.len()));
                let member = family.member(from)?;
                let Some(old) = self.whole_row(member, vid, row)? else {
                    changed = true;
                    continue;
                };
                let mode = member.update_mode(assigned, moves);
                to_lock.push((0, &*family), (from, vid), &old, mode)?;
                if to_lock.is_full() {
                    changed |= self.lock_in_order(std::slice::from_ref(&*family), &mut to_lock).await?;
                }
                if changed {
                    continue;
                }
                let new = member.assigned(&old, assigned.iter().copied().zip(values))?;
                // A row that moves has another table's keys to be asked for.
                let old = if moves { old } else { member.target.needed_of(old) };
                bytes += old.iter().chain(&new).chain(&others).map(Value::size_bytes).sum::<usize>();
                self.check_transaction_memory(bytes)?;
                updated.push(Updated { from, vid, old, to: from, new, others });
            }
        }
        changed |= self.lock_in_order(std::slice::from_ref(&*family), &mut to_lock).await?;
        if changed {
            return Ok(None);
        }
        let count = updated.len() as u64;
        let mut changes = Vec::new();
        let written = self.write_updated(family, updated, moves, write.returning.is_some(), &mut changes).await?;
        self.uphold_each(family, changes).await?;
        Ok(Some((count, written)))
    }

    /// Writes rows that were found, locked and changed, some to other partitions than before where they `may_move`. Gives
    /// them where they are wanted, and adds what foreign keys have to know to `changes`.
    pub(crate) async fn write_updated(
        &mut self,
        family: &mut Family,
        mut updated: Vec<Updated>,
        may_move: bool,
        wanted: bool,
        changes: &mut Vec<(TableId, RowChange)>,
    ) -> SqlResult<Vec<Returned>> {
        if may_move {
            self.move_rows(family, &mut updated).await?;
        }
        let mut written: Vec<Returned> = Vec::new();
        let mut kept: BTreeMap<TableId, Vec<(Vid, Row, Row)>> = BTreeMap::new();
        let mut moved: Vec<(TableId, Row)> = Vec::new();
        // Runs of rows of one table, so that what is returned keeps its order.
        let mut rest = updated.into_iter().peekable();
        while let Some(first) = rest.next() {
            let to = first.to;
            let mut run = vec![first];
            while let Some(next) = rest.next_if(|next| next.to == to) {
                run.push(next);
            }
            let member = family.member(to)?;
            let target = &member.target;
            let mut new: Vec<Row> = run.iter_mut().map(|row| std::mem::take(&mut row.new)).collect();
            self.generate(target, &mut new).await?;
            self.check_rows(target, &new).await?;
            if to == family.root.oid {
                self.check_bounds(&target.table, &new).await?;
            }
            for (row, new) in run.into_iter().zip(new) {
                let Updated { from, vid, old, others, .. } = row;
                if wanted {
                    written.push(family.returned(member, &new, others));
                }
                let source = &family.member(from)?.target;
                let noted = target.points() || target.referenced || source.referenced;
                if from == to {
                    if noted {
                        let change = RowChange { old: Some(old.clone()), new: Some(new.clone()) };
                        changes.push((to, change));
                    }
                    kept.entry(to).or_default().push((vid, old, new));
                    continue;
                }
                self.transaction()?.writes.end(&source.table, &source.unique, vid, &old);
                if noted {
                    changes.push((from, RowChange { old: Some(old), new: None }));
                    changes.push((to, RowChange { old: None, new: Some(new.clone()) }));
                }
                moved.push((to, new));
            }
        }
        for (oid, rows) in kept {
            self.transaction()?.replace_rows(&family.member(oid)?.target, rows).await?;
        }
        for (oid, row) in moved {
            self.transaction()?.insert_row(&family.member(oid)?.target, row).await?;
        }
        Ok(written)
    }

    /// Finds the partitions of updated rows: some belong to others than before.
    async fn move_rows(&mut self, family: &mut Family, updated: &mut [Updated]) -> SqlResult<()> {
        let new = updated.iter_mut().map(|row| {
            let new = std::mem::take(&mut row.new);
            family.member(row.from).map(|member| member.to_root(&new))
        });
        let new = new.collect::<SqlResult<Vec<Row>>>()?;
        let placed = self.place(family, new).await?;
        let placed = placed.into_iter().flat_map(|(oid, rows)| rows.into_iter().map(move |row| (oid, row)));
        for (row, (to, new)) in updated.iter_mut().zip(placed) {
            row.to = to;
            row.new = new;
        }
        Ok(())
    }

    /// As [`Session::uphold`] for each of the tables, and [`Session::uphold_pending`].
    ///
    /// # Errors
    /// As those.
    pub(crate) async fn uphold_each(&mut self, family: &Family, changes: Vec<(TableId, RowChange)>) -> SqlResult<()> {
        let mut by_table: BTreeMap<TableId, Vec<RowChange>> = BTreeMap::new();
        for (oid, change) in changes {
            by_table.entry(oid).or_default().push(change);
        }
        for (oid, changes) in by_table {
            self.uphold(&family.member(oid)?.target, changes).await?;
        }
        self.uphold_pending().await
    }

    /// `None`: a row has changed under the statement.
    async fn delete_from(
        &mut self,
        family: &mut Family,
        write: &Write,
        parameters: &[Value],
        view: Arc<ReadView>,
    ) -> SqlResult<Option<(u64, Vec<Returned>)>> {
        let width = family.width(write);
        let mut count = 0;
        let mut ended = Vec::new();
        let mut changes = Vec::new();
        let mut seen = FxHashSet::default();
        let mut stream = self.engine.query.run(&write.source, parameters, view);
        let mut bytes = 0;
        let mut changed = false;
        let mut to_lock = RowsToLock::default();
        while let Some(batch) = stream.next().await {
            for mut row in batch_to_rows(&batch?) {
                let Some((oid, vid)) = self.found_row(family, write, &mut row, &mut seen).await? else { continue };
                let others = row.split_off(width.min(row.len()));
                let member = family.member(oid)?;
                let target = &member.target;
                let Some(old) = self.whole_row(member, vid, row)? else {
                    changed |= self.ends_old.is_none();
                    continue;
                };
                if self.ends_old.is_some() {
                    // A row that is being changed, or was just now, gets young. It is not waited for.
                    match self.transaction()?.lock_row(target, vid, &old, LockMode::Ending).await {
                        Ok(Locked::Unchanged) => {}
                        Ok(Locked::Changed) => continue,
                        Err(error) if error.state() == SqlState::LockNotAvailable => continue,
                        Err(error) => return Err(error),
                    }
                } else {
                    to_lock.push((0, &*family), (oid, vid), &old, LockMode::Ending)?;
                    if to_lock.is_full() {
                        changed |= self.lock_in_order(std::slice::from_ref(&*family), &mut to_lock).await?;
                    }
                }
                if changed {
                    continue;
                }
                count += 1;
                self.transaction()?.writes.end(&target.table, &target.unique, vid, &old);
                let size = old.iter().map(Value::size_bytes).sum::<usize>();
                if write.returning.is_some() {
                    bytes += size + others.iter().map(Value::size_bytes).sum::<usize>();
                    ended.push(family.returned(member, &old, others));
                }
                if target.referenced {
                    bytes += size;
                    changes.push((oid, RowChange { old: Some(old), new: None }));
                }
            }
            let written = self.transaction()?.writes.size_bytes();
            self.check_transaction_memory(written + bytes)?;
        }
        // What is written already goes where a row has changed.
        changed |= self.lock_in_order(std::slice::from_ref(&*family), &mut to_lock).await?;
        if changed {
            return Ok(None);
        }
        self.uphold_each(family, changes).await?;
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
        self.engine.options.transaction_bytes_max.saturating_mul(STATEMENT_BUFFERS)
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

/// The table that a row is of, in a query's hidden column.
pub(crate) fn pop_oid(value: Option<Value>) -> SqlResult<TableId> {
    match value {
        Some(Value::Oid(oid)) => Ok(Oid(oid)),
        Some(Value::Int8(oid)) => u32::try_from(oid).map(Oid).map_err(SqlError::internal),
        other => Err(SqlError::internal(format_args!("table of type {other:?}"))),
    }
}

pub(crate) fn kept_changing() -> SqlError {
    SqlError::new(SqlState::SerializationFailure, "could not serialize access: rows kept changing under the statement")
}

/// A row that RETURNING sees: the table that it is of, and the root's visible columns with those of other tables.
pub(crate) type Returned = (TableId, Row);

/// A row that an UPDATE has found and what becomes of it.
pub(crate) struct Updated {
    pub(crate) from: TableId,
    pub(crate) vid: Vid,
    /// As its table holds it.
    pub(crate) old: Row,
    pub(crate) to: TableId,
    /// As its new table holds it.
    pub(crate) new: Row,
    /// Columns of other tables that RETURNING names.
    pub(crate) others: Row,
}

/// Rows for RETURNING: the root's visible columns, those of other tables, then the row's table.
pub(crate) fn returning_batch(root: &Table, write: &Write, rows: Vec<Returned>) -> SqlResult<RecordBatch> {
    let own = root.visible_columns().iter().map(|c| (c.number, &c.ty, c.name.as_str()));
    let others = write.others.iter().map(|(name, ty)| (0, ty, name.as_str()));
    let fields: Vec<_> = own.chain(others).chain([(u16::MAX, &SqlType::Oid, TABLE_OID_COLUMN)]).collect();
    let with_oid = rows.into_iter().map(|(oid, mut row)| {
        row.push(Value::Oid(oid.0));
        row
    });
    rows_to_batch(&fields, &with_oid.collect::<Vec<Row>>()).map_err(SqlError::internal)
}

/// Rows of the table's live columns as a batch.
pub(crate) fn table_batch(table: &Table, rows: &[Row]) -> SqlResult<RecordBatch> {
    let fields: Vec<_> = table.columns.iter().map(|c| (c.number, &c.ty, c.name.as_str())).collect();
    rows_to_batch(&fields, rows).map_err(SqlError::internal)
}
