//! SELECT … FOR UPDATE and FOR SHARE: rows are locked before any is given out.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use perigee_plan::relational::{RowLock, RowLockWait};
use perigee_plan::{Expr, Query};
use perigee_query::exec::ReadView;
use perigee_storage::arrow_value::batch_to_rows;
use perigee_types::{Row, SqlError, SqlResult, SqlState, TableId, Value, Vid};

use crate::error::storage;
use crate::family::Family;
use crate::lock_order::RowsToLock;
use crate::locks::{LockMode, LockWait};
use crate::rows::Locked;
use crate::session::Session;
use crate::write::RUNS_MAX;

/// How often SKIP LOCKED looks again for rows that have changed between its snapshot and their locks.
const SKIPPING_RUNS_MAX: usize = 10;

/// What one run of the query came to.
#[derive(Default)]
struct Run {
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    /// Rows were left out because they have changed since the snapshot.
    changed: bool,
}

/// What locking the rows that one row of the result stands for came to.
enum Found {
    Locked,
    /// Another transaction holds one of them.
    Held,
    /// One has changed since the snapshot.
    Changed,
}

impl Session {
    /// Runs the query and locks the rows that it gives; if one has changed since the snapshot, it runs again. `given` is
    /// what other queries of the statement have given.
    pub(crate) async fn lock_query_rows(
        &mut self,
        query: &Query,
        lock: &RowLock,
        parameters: &[Value],
        given: &[Vec<RecordBatch>],
    ) -> SqlResult<Vec<RecordBatch>> {
        let mut families = Vec::with_capacity(lock.tables.len());
        for oid in &lock.tables {
            let table = self.planning_catalog().table(*oid).cloned();
            let table = table.ok_or_else(|| SqlError::new(SqlState::UndefinedTable, "the locked table is gone"))?;
            let command = if lock.shared { "SELECT FOR SHARE" } else { "SELECT FOR UPDATE" };
            let mut family = self.family(&table, command).await?;
            if lock.wait != RowLockWait::Block {
                family.wait = Some(LockWait::Never);
            }
            families.push(family);
        }
        let limit = self.row_count(lock.limit.as_ref(), SqlState::InvalidRowCountInLimit, "LIMIT", parameters)?;
        let offset = self.row_count(lock.offset.as_ref(), SqlState::InvalidRowCountInOffset, "OFFSET", parameters)?;
        let offset = offset.unwrap_or(0);
        let wanted = limit.map_or(usize::MAX, |limit| limit.saturating_add(offset));
        let mut best = Run::default();
        let runs_max = if lock.wait == RowLockWait::SkipLocked { SKIPPING_RUNS_MAX } else { RUNS_MAX };
        for _ in 0..runs_max {
            let run = self.lock_once(query, lock, &mut families, wanted, parameters, given).await?;
            let enough = !run.changed || (lock.wait == RowLockWait::SkipLocked && run.rows >= wanted);
            best = run;
            if enough {
                break;
            }
        }
        // A row that somebody keeps changing is as good as locked for one who leaves those out.
        if best.changed && lock.wait != RowLockWait::SkipLocked {
            return Err(SqlError::new(SqlState::SerializationFailure, "rows kept changing under the statement"));
        }
        Ok(behind(best.batches, offset))
    }

    async fn lock_once(
        &mut self,
        query: &Query,
        lock: &RowLock,
        families: &mut [Family],
        wanted: usize,
        parameters: &[Value],
        given: &[Vec<RecordBatch>],
    ) -> SqlResult<Run> {
        let engine = self.engine.clone();
        self.settle_staged().await?;
        self.transaction()?.begin_statement(&engine);
        let view = with_given(self.view()?, given);
        let mut run = Run::default();
        if wanted == 0 {
            return Ok(run);
        }
        // Who takes them all and waits for each takes them in one order. Else the query's own decides which they are.
        let all = wanted == usize::MAX && lock.wait == RowLockWait::Block;
        let mut to_lock = RowsToLock::default();
        let mut stream = engine.query.run(query, parameters, view);
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            // A table's oid and its row's vid for each.
            let width = batch.num_columns().saturating_sub(families.len() * 2);
            let (shown, hidden): (Vec<usize>, Vec<usize>) = (0..batch.num_columns()).partition(|at| *at < width);
            let hidden = batch.project(&hidden).map_err(SqlError::internal)?;
            let mut kept: Vec<u32> = Vec::with_capacity(batch.num_rows());
            for (row, versions) in (0..).zip(batch_to_rows(&hidden)) {
                if all {
                    run.changed |= !self.find_versions(versions, families, mode_of(lock), &mut to_lock).await?;
                    if to_lock.is_full() {
                        run.changed |= self.lock_in_order(families, &mut to_lock).await?;
                    }
                    kept.push(row);
                    continue;
                }
                match self.lock_versions(versions, families, lock).await? {
                    Found::Locked => kept.push(row),
                    Found::Held => {}
                    Found::Changed => {
                        run.changed = true;
                        // What comes behind LIMIT stays free for others; else the rest is locked for the next run.
                        if lock.wait != RowLockWait::SkipLocked && wanted != usize::MAX {
                            return Ok(run);
                        }
                    }
                }
                if run.rows + kept.len() >= wanted {
                    break;
                }
            }
            run.rows += kept.len();
            let shown = batch.project(&shown).map_err(SqlError::internal)?;
            let kept = if kept.len() == shown.num_rows() || shown.num_columns() == 0 {
                shown.slice(0, kept.len())
            } else {
                take_record_batch(&shown, &UInt32Array::from(kept)).map_err(SqlError::internal)?
            };
            run.bytes += kept.get_array_memory_size();
            self.check_transaction_memory(run.bytes)?;
            run.batches.push(kept);
            if run.rows >= wanted {
                break;
            }
        }
        run.changed |= self.lock_in_order(families, &mut to_lock).await?;
        Ok(run)
    }

    /// The version of a family that comes next in a row of the result, and its row; `None` for one that this transaction
    /// has made, which needs no lock.
    async fn next_version(
        &mut self,
        versions: &mut std::vec::IntoIter<Value>,
        family: &mut Family,
    ) -> SqlResult<Option<(TableId, Vid, Option<Row>)>> {
        let oid = crate::write::pop_oid(versions.next())?;
        let vid = crate::write::vid_of(versions.next().unwrap_or(Value::Null))?;
        if vid.is_local() {
            return Ok(None);
        }
        self.open_member(family, oid).await?;
        let target = &family.member(oid)?.target;
        let row = match &target.store {
            Some(store) => store.row_as(vid, &target.table).map_err(storage)?,
            None => None,
        };
        Ok(Some((oid, vid, row)))
    }

    /// Adds the row versions that one row of the result stands for to those that are to be locked. Whether all are still there.
    async fn find_versions(
        &mut self,
        versions: Row,
        families: &mut [Family],
        mode: LockMode,
        to_lock: &mut RowsToLock,
    ) -> SqlResult<bool> {
        let mut versions = versions.into_iter();
        for (number, family) in families.iter_mut().enumerate() {
            let Some((oid, vid, row)) = self.next_version(&mut versions, family).await? else { continue };
            let Some(row) = row else { return Ok(false) };
            to_lock.push((number, &*family), (oid, vid), &row, mode)?;
        }
        Ok(true)
    }

    /// Locks the row versions that one row of the result stands for: of each table its oid, then the vid.
    async fn lock_versions(&mut self, versions: Row, families: &mut [Family], lock: &RowLock) -> SqlResult<Found> {
        let mode = mode_of(lock);
        let mut versions = versions.into_iter();
        for family in families {
            let Some((oid, vid, row)) = self.next_version(&mut versions, family).await? else { continue };
            let Some(row) = row else { return Ok(Found::Changed) };
            let target = &family.member(oid)?.target;
            match self.transaction()?.lock_row(target, vid, &row, mode).await {
                Ok(Locked::Unchanged) => {}
                Ok(Locked::Changed) => return Ok(Found::Changed),
                Err(error) if error.state() == SqlState::LockNotAvailable => match lock.wait {
                    RowLockWait::SkipLocked => return Ok(Found::Held),
                    RowLockWait::NoWait => {
                        return Err(SqlError::new(
                            SqlState::LockNotAvailable,
                            format!("could not obtain lock on row in relation \"{}\"", target.table.name),
                        ));
                    }
                    RowLockWait::Block => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
        Ok(Found::Locked)
    }

    /// The value of a LIMIT or OFFSET; `None` without one, or where it is NULL.
    fn row_count(
        &self,
        expr: Option<&Expr>,
        state: SqlState,
        word: &str,
        parameters: &[Value],
    ) -> SqlResult<Option<usize>> {
        let Some(expr) = expr else { return Ok(None) };
        match self.evaluate(expr, &[], parameters)?.as_i64() {
            Some(count) => match usize::try_from(count) {
                Ok(count) => Ok(Some(count)),
                Err(_) => Err(SqlError::new(state, format!("{word} must not be negative"))),
            },
            None => Ok(None),
        }
    }
}

fn mode_of(lock: &RowLock) -> LockMode {
    if lock.shared { LockMode::Shared } else { LockMode::Exclusive }
}

/// The view in which what queries of the statement have given can be read.
pub(crate) fn with_given(view: Arc<ReadView>, given: &[Vec<RecordBatch>]) -> Arc<ReadView> {
    given.iter().fold(view, |view, batches| Arc::new(view.with_returned(batches.clone())))
}

/// What stands behind the first `offset` rows.
fn behind(batches: Vec<RecordBatch>, mut offset: usize) -> Vec<RecordBatch> {
    let cut = |batch: RecordBatch| {
        let skipped = offset.min(batch.num_rows());
        offset -= skipped;
        batch.slice(skipped, batch.num_rows() - skipped)
    };
    batches.into_iter().map(cut).collect()
}
