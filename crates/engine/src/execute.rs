//! What a planned statement does: one place that tells the kinds of plans apart.

use std::sync::Arc;

use futures::StreamExt;
use perigee_plan::{Admin, Copy, Explain, Plan, Prepared, Query};
use perigee_query::exec::explain::ExplainOptions;
use perigee_types::{SqlError, SqlResult, SqlState, Value};

use crate::Statement;
use crate::api::{CommandTag, CopyOut, Outcome, RowBlock, RowStream};
use crate::locks::LockMode;
use crate::session::Session;

/// How often a statement is planned again because its tables change while it waits for locks.
const PLANS_MAX: usize = 5;

impl Session {
    /// Runs a statement; one whose tables have changed since it was planned is planned again first.
    pub(crate) async fn run(&mut self, prepared: &Arc<Prepared>, parameters: &[Value]) -> SqlResult<Outcome> {
        let mut statement = Statement { prepared: prepared.clone(), literals: Vec::new() };
        for _ in 0..PLANS_MAX {
            statement = self.refresh(&statement)?;
            self.stale_plan = false;
            match self.run_plan(&statement.prepared, parameters).await {
                Err(_) if self.stale_plan => {}
                result => return result,
            }
        }
        Err(SqlError::new(SqlState::SerializationFailure, "the statement's tables kept changing while it was planned"))
    }

    pub(crate) async fn run_plan(&mut self, prepared: &Arc<Prepared>, parameters: &[Value]) -> SqlResult<Outcome> {
        match &prepared.plan {
            Plan::Point(point) => self.run_point(prepared, point, parameters).await,
            Plan::Query(query) => self.run_query(prepared, query, parameters).await,
            Plan::Write(write) => self.run_write(prepared, write, parameters).await,
            Plan::Ddl(ddl) => Box::pin(self.run_ddl(prepared, ddl, parameters)).await,
            Plan::Transaction(command) => self.transaction_command(command).await,
            Plan::Session(command) => Box::pin(self.session_command(prepared, command, parameters)).await,
            Plan::Copy(Copy::FromStdin { table, columns, format }) => self.copy_from(table, columns, format).await,
            Plan::Copy(Copy::ToStdout { query, columns, format }) => {
                let rows = self.query_rows("COPY", query, parameters).await?;
                Ok(Outcome::CopyOut(CopyOut { format: format.clone(), columns: columns.clone(), rows }))
            }
            Plan::Explain(explain) => Box::pin(self.explain(prepared, explain, parameters)).await,
            Plan::Admin(admin) => Box::pin(self.admin(prepared, admin)).await,
        }
    }

    async fn run_query(&mut self, prepared: &Prepared, query: &Query, parameters: &[Value]) -> SqlResult<Outcome> {
        let columns = prepared.columns.clone().unwrap_or_else(|| Vec::new().into());
        if query.row_lock.is_some() {
            let rows = self.lock_query_rows(query, parameters).await?;
            return Ok(Outcome::Rows(columns, RowStream::ready(prepared.tag, RowBlock::Values(rows))));
        }
        let rows = self.query_rows(prepared.tag, query, parameters).await?;
        Ok(Outcome::Rows(columns, rows))
    }

    pub(crate) async fn query_rows(
        &mut self,
        tag: &'static str,
        query: &Query,
        parameters: &[Value],
    ) -> SqlResult<RowStream> {
        self.refuse_staged_reads(query)?;
        let engine = self.engine.clone();
        self.transaction()?.begin_statement(&engine);
        let view = self.view()?;
        let stream = engine.query.run(query, parameters, view);
        Ok(RowStream::stream(tag, Box::pin(stream.map(|batch| batch.map(RowBlock::Batch)))))
    }

    /// SELECT … FOR UPDATE: the rows are locked before any is given out; if one has changed since the snapshot, the
    /// query runs again.
    async fn lock_query_rows(&mut self, query: &Query, parameters: &[Value]) -> SqlResult<Vec<perigee_types::Row>> {
        let Some(lock) = &query.row_lock else { return Ok(Vec::new()) };
        if lock.wait != perigee_plan::relational::RowLockWait::Block {
            return Err(SqlError::unsupported("FOR UPDATE with NOWAIT or SKIP LOCKED over more than one row"));
        }
        let mode = if lock.shared { LockMode::Shared } else { LockMode::Exclusive };
        let table = self
            .planning_catalog()
            .table(lock.table)
            .cloned()
            .ok_or_else(|| SqlError::new(SqlState::UndefinedTable, "the locked table is gone"))?;
        let target = self.target(&table, "SELECT FOR UPDATE").await?;
        let columns = crate::rows::column_numbers(&table);
        let engine = self.engine.clone();
        'again: for _ in 0..10 {
            self.transaction()?.begin_statement(&engine);
            let view = self.view()?;
            let mut rows = engine.query.fetch_rows(query, parameters, view).await?;
            for row in &mut rows {
                let vid = crate::write::pop_vid(row)?;
                if vid.is_local() {
                    continue;
                }
                let full = match &target.store {
                    Some(store) => store.row(vid, &columns).map_err(crate::error::storage)?,
                    None => None,
                };
                let Some(full) = full else { continue 'again };
                if self.transaction()?.lock_row(&target, vid, &full, mode).await? == crate::rows::Locked::Changed {
                    continue 'again;
                }
            }
            return Ok(rows);
        }
        Err(SqlError::new(SqlState::SerializationFailure, "rows kept changing under the statement"))
    }

    async fn explain(&mut self, prepared: &Prepared, explain: &Explain, parameters: &[Value]) -> SqlResult<Outcome> {
        let options = ExplainOptions { analyze: explain.analyze, verbose: explain.verbose };
        let engine = self.engine.clone();
        let lines = match &explain.statement.plan {
            Plan::Query(query) => {
                self.transaction()?.begin_statement(&engine);
                let view = self.view()?;
                engine.query.explain(query, parameters, view, options).await?
            }
            Plan::Write(write) => {
                if explain.analyze {
                    return Err(SqlError::unsupported("EXPLAIN ANALYZE of a write"));
                }
                self.transaction()?.begin_statement(&engine);
                let view = self.view()?;
                let mut lines = vec![format!("{} on {}", explain.statement.tag, write.table.name)];
                let source = engine.query.explain(&write.source, parameters, view, options).await?;
                lines.extend(source.into_iter().map(|line| format!("  {line}")));
                lines
            }
            Plan::Point(point) => {
                let started = std::time::Instant::now();
                let mut lines = crate::explain::point(point, &self.planning_catalog());
                if explain.analyze {
                    if !matches!(point, perigee_plan::Point::Select { .. }) {
                        return Err(SqlError::unsupported("EXPLAIN ANALYZE of a write"));
                    }
                    let rows = match self.run_point(&explain.statement, point, parameters).await? {
                        Outcome::Rows(_, mut rows) => rows.next().await?.map_or(0, |block| block.row_count()),
                        _ => 0,
                    };
                    let elapsed = started.elapsed().as_secs_f64() * 1e3;
                    lines.push(format!("Execution: rows={rows} time={elapsed:.3} ms"));
                }
                lines
            }
            _ => return Err(SqlError::unsupported(format_args!("EXPLAIN {}", explain.statement.tag))),
        };
        let lines = if explain.json { vec![crate::explain::json(&lines)] } else { lines };
        let rows = lines.into_iter().map(|line| vec![Value::Text(line)]).collect();
        let columns = prepared.columns.clone().unwrap_or_else(|| Vec::new().into());
        Ok(Outcome::Rows(columns, RowStream::ready(prepared.tag, RowBlock::Values(rows))))
    }

    async fn admin(&mut self, prepared: &Prepared, admin: &Admin) -> SqlResult<Outcome> {
        let engine = self.engine.clone();
        match admin {
            Admin::Vacuum { tables, .. } => {
                if self.transaction.as_ref().is_some_and(|t| t.explicit) {
                    return Err(SqlError::new(
                        SqlState::ActiveSqlTransaction,
                        "VACUUM cannot run inside a transaction block",
                    ));
                }
                let storages: Vec<_> = tables.iter().map(|t| Some(t.storage)).collect();
                let storages = if storages.is_empty() { vec![None] } else { storages };
                let store = engine.store.clone();
                blocking(move || storages.into_iter().try_for_each(|storage| store.vacuum(storage))).await?;
            }
            // Statistics are kept with the data; there is nothing to collect.
            Admin::Analyze(_) => {}
            Admin::Checkpoint => {
                if !self.is_bootstrap_superuser() {
                    return Err(SqlError::new(
                        SqlState::InsufficientPrivilege,
                        "permission denied to execute CHECKPOINT command",
                    ));
                }
                let engine = engine.clone();
                tokio::task::spawn_blocking(move || crate::maintenance::checkpoint(&engine))
                    .await
                    .map_err(SqlError::internal)??;
            }
        }
        Ok(Outcome::Command(CommandTag { name: prepared.tag, rows: None }))
    }
}

async fn blocking(
    run: impl FnOnce() -> Result<(), perigee_storage::store::StoreError> + Send + 'static,
) -> SqlResult<()> {
    tokio::task::spawn_blocking(run).await.map_err(SqlError::internal)?.map_err(crate::error::storage)
}
