//! SELECT … FOR UPDATE and FOR SHARE: rows are locked before any is given out.

use perigee_plan::relational::{RowLock, RowLockWait};
use perigee_plan::{Expr, Query};
use perigee_types::{Row, SqlError, SqlResult, SqlState, Value};

use crate::error::storage;
use crate::family::Family;
use crate::locks::{LockMode, LockWait};
use crate::rows::Locked;
use crate::session::Session;

/// How often a query runs again because rows have changed between its snapshot and their locks.
const RUNS_MAX: usize = 10;

/// What one run of the query came to.
struct Run {
    rows: Vec<Row>,
    /// Rows were left out because they have changed since the snapshot.
    changed: bool,
}

impl Session {
    /// Runs the query and locks the rows that it gives; if one has changed since the snapshot, it runs again.
    pub(crate) async fn lock_query_rows(
        &mut self,
        query: &Query,
        lock: &RowLock,
        parameters: &[Value],
    ) -> SqlResult<Vec<Row>> {
        let table = self.planning_catalog().table(lock.table).cloned();
        let table = table.ok_or_else(|| SqlError::new(SqlState::UndefinedTable, "the locked table is gone"))?;
        let mut family =
            self.family(&table, if lock.shared { "SELECT FOR SHARE" } else { "SELECT FOR UPDATE" }).await?;
        if lock.wait != RowLockWait::Block {
            family.wait = Some(LockWait::Never);
        }
        let limit = self.row_count(lock.limit.as_ref(), SqlState::InvalidRowCountInLimit, "LIMIT", parameters)?;
        let offset = self.row_count(lock.offset.as_ref(), SqlState::InvalidRowCountInOffset, "OFFSET", parameters)?;
        let offset = offset.unwrap_or(0);
        let wanted = limit.map_or(usize::MAX, |limit| limit.saturating_add(offset));
        let mut best = Run { rows: Vec::new(), changed: false };
        for _ in 0..RUNS_MAX {
            let run = self.lock_once(query, lock, &mut family, wanted, parameters).await?;
            let enough = !run.changed || (lock.wait == RowLockWait::SkipLocked && run.rows.len() >= wanted);
            best = run;
            if enough {
                break;
            }
        }
        // A row that somebody keeps changing is as good as locked for one who leaves those out.
        if best.changed && lock.wait != RowLockWait::SkipLocked {
            return Err(SqlError::new(SqlState::SerializationFailure, "rows kept changing under the statement"));
        }
        let mut rows = best.rows;
        rows.drain(..offset.min(rows.len()));
        Ok(rows)
    }

    async fn lock_once(
        &mut self,
        query: &Query,
        lock: &RowLock,
        family: &mut Family,
        wanted: usize,
        parameters: &[Value],
    ) -> SqlResult<Run> {
        let engine = self.engine.clone();
        let mode = if lock.shared { LockMode::Shared } else { LockMode::Exclusive };
        self.settle_staged().await?;
        self.transaction()?.begin_statement(&engine);
        let view = self.view()?;
        let mut run = Run { rows: Vec::new(), changed: false };
        if wanted == 0 {
            return Ok(run);
        }
        let mut stream = engine.query.run(query, parameters, view);
        while let Some(batch) = stream.next().await {
            for mut row in perigee_storage::arrow_value::batch_to_rows(&batch?) {
                let vid = crate::write::pop_vid(&mut row)?;
                let oid = crate::write::pop_oid(row.pop())?;
                if !vid.is_local() {
                    self.open_member(family, oid).await?;
                    let target = &family.member(oid)?.target;
                    let full = match &target.store {
                        Some(store) => store.row_as(vid, &target.table).map_err(storage)?,
                        None => None,
                    };
                    let locked = match full {
                        Some(full) => self.transaction()?.lock_row(target, vid, &full, mode).await,
                        None => Ok(Locked::Changed),
                    };
                    match locked {
                        Ok(Locked::Unchanged) => {}
                        Ok(Locked::Changed) => {
                            run.changed = true;
                            if lock.wait == RowLockWait::SkipLocked {
                                continue;
                            }
                            return Ok(run);
                        }
                        Err(error) if error.state() == SqlState::LockNotAvailable => match lock.wait {
                            RowLockWait::SkipLocked => continue,
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
                run.rows.push(row);
                if run.rows.len() >= wanted {
                    return Ok(run);
                }
            }
        }
        Ok(run)
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
