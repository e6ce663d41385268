//! What a planned statement does: one place that tells the kinds of plans apart.

use std::sync::Arc;

use futures::StreamExt;
use perigee_plan::command::Isolation;
use perigee_plan::relational::WithMain;
use perigee_plan::{Admin, Copy, Explain, Plan, Prepared, Query, ResultColumn, SessionCommand};
use perigee_query::exec::explain::ExplainOptions;
use perigee_telemetry::measured;
use perigee_types::catalog::{Object, Table};
use perigee_types::{LogIndex, SqlError, SqlResult, SqlState, Value};

use crate::Statement;
use crate::advisory;
use crate::api::{CommandTag, CopyOut, Outcome, RowBlock, RowStream};
use crate::locks::{LockKey, LockMode, LockWait};
use crate::serializable::Reads;
use crate::session::Session;
use crate::session_transaction::isolation_of;

/// How often a statement is planned again because its tables change while it waits for locks: each time somebody else has committed
/// a change of theirs.
const PLANS_MAX: usize = 100;

impl Session {
    /// Runs a statement; one whose tables have changed since it was planned is planned again first.
    pub(crate) async fn run(&mut self, prepared: &Arc<Prepared>, parameters: &[Value]) -> SqlResult<Outcome> {
        self.enter_serializable(&prepared.plan).await?;
        let mut statement = Statement { prepared: prepared.clone(), literals: Vec::new() };
        for _ in 0..PLANS_MAX {
            statement = self.refresh_apart(&statement).await?;
            self.check_needs(&statement.prepared.needs)?;
            self.services.act_as(&self.identity(&self.planning_catalog()), self.is_read_only());
            self.stale_plan = false;
            match self.run_plan(&statement.prepared, parameters).await {
                Err(_) if self.stale_plan => {}
                result => return result,
            }
        }
        Err(SqlError::new(SqlState::SerializationFailure, "the statement's tables kept changing while it was planned"))
    }

    /// A serializable transaction takes part in the tests at COMMIT from its first statement on. Of a pipeline nobody knows
    /// whether a statement is the only one, so the first counts as one of several.
    async fn enter_serializable(&mut self, plan: &Plan) -> SqlResult<()> {
        let wanted = match (&self.transaction, plan) {
            (_, Plan::Transaction(_)) => false,
            (Some(transaction), _) => transaction.isolation == Isolation::Serializable && transaction.reads.is_none(),
            (None, Plan::Session(SessionCommand::Declare { .. })) => {
                self.default_isolation() == Isolation::Serializable
            }
            // They read nothing, or run another statement that comes here.
            (None, Plan::Session(_)) => false,
            (None, _) => self.default_isolation() == Isolation::Serializable,
        };
        if wanted {
            let reads = Reads::begin(&self.engine.serializable).await;
            let transaction = self.transaction()?;
            transaction.reads = (transaction.isolation == Isolation::Serializable).then_some(reads);
        }
        Ok(())
    }

    /// The level of a transaction that names none.
    pub(crate) fn default_isolation(&self) -> Isolation {
        isolation_of(self.settings.get("default_transaction_isolation").unwrap_or_default())
    }

    pub(crate) async fn run_plan(&mut self, prepared: &Arc<Prepared>, parameters: &[Value]) -> SqlResult<Outcome> {
        match &prepared.plan {
            Plan::Point(point) => self.run_point(prepared, point, parameters).await,
            Plan::Query(query) => self.run_query(prepared, query, parameters).await,
            Plan::Write(write) => self.run_write(prepared, write, parameters).await,
            Plan::With(with) => Box::pin(self.run_with(prepared, with, parameters)).await,
            Plan::Ddl(ddl) => Box::pin(self.run_ddl(prepared, ddl, parameters)).await,
            Plan::Transaction(command) => self.transaction_command(command, prepared.tag).await,
            Plan::Session(command) => Box::pin(self.session_command(prepared, command, parameters)).await,
            Plan::Copy(Copy::FromStdin { table, columns, format, filter }) => {
                self.copy_from(table, columns, format, filter.as_deref()).await
            }
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
        if let Some(lock) = &query.row_lock {
            let batches = self.lock_query_rows(query, lock, parameters, &[]).await?;
            return Ok(Outcome::Rows(columns, RowStream::batches(prepared.tag, batches)));
        }
        if advisory::is_named(&prepared.text) {
            return Box::pin(self.run_with_advisory(prepared, query, parameters, columns)).await;
        }
        let rows = self.query_rows(prepared.tag, query, parameters).await?;
        Ok(Outcome::Rows(columns, rows))
    }

    /// A query that may have to wait for an advisory lock: its rows are held until it has run to its end.
    async fn run_with_advisory(
        &mut self,
        prepared: &Prepared,
        query: &Query,
        parameters: &[Value],
        columns: Arc<[ResultColumn]>,
    ) -> SqlResult<Outcome> {
        self.begin_advisory();
        let outcome = loop {
            let found = match self.query_rows(prepared.tag, query, parameters).await {
                Ok(rows) => held(rows, self.statement_bytes_max()).await,
                Err(error) => Err(error),
            };
            self.link_advisory();
            match found {
                Ok(blocks) => {
                    let stream = futures::stream::iter(blocks.into_iter().map(Ok));
                    break Ok(Outcome::Rows(columns, RowStream::stream(prepared.tag, Box::pin(stream))));
                }
                Err(error) => match self.wait_for_advisory().await {
                    Ok(true) => {}
                    Ok(false) => break Err(error),
                    Err(error) => break Err(error),
                },
            }
        };
        self.settle_advisory();
        outcome
    }

    pub(crate) async fn query_rows(
        &mut self,
        tag: &'static str,
        query: &Query,
        parameters: &[Value],
    ) -> SqlResult<RowStream> {
        self.settle_staged().await?;
        let engine = self.engine.clone();
        self.transaction()?.begin_statement(&engine);
        let view = self.view()?;
        let stream = engine.query.run(query, parameters, view);
        Ok(RowStream::stream(tag, Box::pin(stream.map(|batch| batch.map(RowBlock::Batch)))))
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
                self.transaction()?.begin_statement(&engine);
                let view = self.view()?;
                // The query runs once, as part of the write: its own times are not shown.
                let options = ExplainOptions { analyze: false, ..options };
                let mut lines = vec![format!("{} on {}", explain.statement.tag, write.table.name)];
                let source = engine.query.explain(&write.source, parameters, view, options).await?;
                lines.extend(source.into_iter().map(|line| format!("  {line}")));
                if explain.analyze {
                    let started = std::time::Instant::now();
                    let outcome = self.run_write(&explain.statement, write, parameters).await?;
                    lines.push(execution(outcome, started).await?);
                }
                lines
            }
            Plan::With(with) => {
                self.transaction()?.begin_statement(&engine);
                let mut lines = Vec::new();
                // What the parts return is not there: they have not run.
                let mut view = self.view()?;
                for _ in 0..with.locks.len() + with.parts.len() {
                    view = Arc::new(view.with_returned(Vec::new()));
                }
                let options = ExplainOptions { analyze: false, ..options };
                let main = match &with.main {
                    WithMain::Write(write) => Some(write.as_ref()),
                    WithMain::Query(query) => {
                        lines = engine.query.explain(query, parameters, view.clone(), options).await?;
                        None
                    }
                };
                for query in &with.locks {
                    lines.push("LockRows".to_owned());
                    let source = engine.query.explain(query, parameters, view.clone(), options).await?;
                    lines.extend(source.into_iter().map(|line| format!("  {line}")));
                }
                for write in main.into_iter().chain(&with.parts).chain(&with.after) {
                    lines.push(format!("{} on {}", crate::with::command_of(write), write.table.name));
                    let source = engine.query.explain(&write.source, parameters, view.clone(), options).await?;
                    lines.extend(source.into_iter().map(|line| format!("  {line}")));
                }
                if explain.analyze {
                    let started = std::time::Instant::now();
                    let outcome = self.run_with(&explain.statement, with, parameters).await?;
                    lines.push(execution(outcome, started).await?);
                }
                lines
            }
            Plan::Point(point) => {
                let started = std::time::Instant::now();
                let mut lines = crate::explain::point(point, &self.planning_catalog());
                if explain.analyze {
                    let outcome = self.run_point(&explain.statement, point, parameters).await?;
                    lines.push(execution(outcome, started).await?);
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

    fn require_owned(&self, tables: &[Arc<Table>]) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let identity = self.identity(&catalog);
        tables
            .iter()
            .try_for_each(|table| self.require_owner(&catalog, &identity.rights, &Object::Table(Arc::clone(table))))
    }

    async fn admin(&mut self, prepared: &Prepared, admin: &Admin) -> SqlResult<Outcome> {
        // Backups and files of the cold tier are written too, and a lock keeps writers waiting.
        if self.reads_only && !matches!(admin, Admin::Analyze(_)) {
            let text = format!("cannot execute {}: who is connected may only read", prepared.tag);
            return Err(SqlError::new(SqlState::ReadOnlySqlTransaction, text));
        }
        let engine = self.engine.clone();
        match admin {
            Admin::Vacuum { tables, .. } => {
                self.refuse_in_block("VACUUM")?;
                let storages: Vec<_> = self.maintained(tables, "vacuum").iter().map(|t| Some(t.storage)).collect();
                let all = tables.is_empty() && self.owns_database();
                let storages = if all { vec![None] } else { storages };
                let store = engine.store.clone();
                blocking(move || storages.into_iter().try_for_each(|storage| store.vacuum(storage))).await?;
            }
            // Statistics are kept with the data; there is nothing to collect.
            Admin::Analyze(tables) => drop(self.maintained(tables, "analyze")),
            Admin::Lock { tables, named, mode, nowait } => {
                self.check_lock(named, *mode)?;
                self.lock_tables(tables, *mode, *nowait).await?;
            }
            Admin::Reindex(object) => self.check_reindex(*object)?,
            Admin::Migrate(tables) => {
                self.refuse_in_block("CALL perigee.migrate")?;
                self.require_owned(tables)?;
                let cancel = self.cancel.clone();
                for table in tables {
                    crate::cold::migrate(&engine, table, LogIndex(u64::MAX), &cancel).await?;
                }
            }
            Admin::Compact(tables) => {
                self.refuse_in_block("CALL perigee.compact")?;
                self.require_owned(tables)?;
                let cancel = self.cancel.clone();
                for table in tables {
                    crate::cold::compact(&engine, table, &engine.store.manifests(table.storage), &cancel).await?;
                }
            }
            Admin::Export(tables) => {
                self.refuse_in_block("CALL perigee.export")?;
                self.require_owned(tables)?;
                for table in tables {
                    crate::iceberg::export(&engine, table).await?;
                }
            }
            Admin::CollectCold => {
                self.refuse_in_block("CALL perigee.collect_cold_files")?;
                if !self.owns_database() {
                    return Err(SqlError::new(
                        SqlState::InsufficientPrivilege,
                        "permission denied to remove files of the cold tier",
                    ));
                }
                crate::cold::collect(&engine, None).await?;
            }
            Admin::Backup(url) => {
                self.refuse_in_block("CALL perigee.backup")?;
                // It reads everything, and writes where it is told to.
                if !self.identity(&self.latest_catalog()).rights.is_superuser() {
                    return Err(SqlError::new(SqlState::InsufficientPrivilege, "permission denied to make a backup")
                        .detail("Only roles with the SUPERUSER attribute may make backups."));
                }
                let url = url.clone();
                tokio::task::spawn_blocking(move || engine.back_up(url.as_deref()))
                    .await
                    .map_err(SqlError::internal)??;
            }
            Admin::Checkpoint => {
                let rights = &self.identity(&self.planning_catalog()).rights;
                if !rights.is(perigee_types::catalog::CHECKPOINT) {
                    return Err(SqlError::new(
                        SqlState::InsufficientPrivilege,
                        "permission denied to execute CHECKPOINT command",
                    )
                    .detail("Only roles with privileges of the \"pg_checkpoint\" role may execute this command."));
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

impl Session {
    /// Refuses what must be a statement of its own.
    ///
    /// # Errors
    /// `25001`
    pub(crate) fn refuse_in_block(&self, what: &str) -> SqlResult<()> {
        if self.transaction.as_ref().is_some_and(|t| t.explicit) {
            let text = format!("{what} cannot run inside a transaction block");
            return Err(SqlError::new(SqlState::ActiveSqlTransaction, text));
        }
        Ok(())
    }

    /// LOCK TABLE: writers and other lockers wait, readers never do.
    async fn lock_tables(
        &mut self,
        tables: &[Arc<perigee_types::catalog::Table>],
        mode: perigee_plan::command::LockMode,
        nowait: bool,
    ) -> SqlResult<()> {
        if !self.shared_implicit && !self.transaction.as_ref().is_some_and(|t| t.explicit) {
            return Err(SqlError::new(
                SqlState::NoActiveSqlTransaction,
                "LOCK TABLE can only be used in transaction blocks",
            ));
        }
        let wait = if nowait { LockWait::Never } else { self.lock_wait() };
        let exclusive = mode == perigee_plan::command::LockMode::Exclusive;
        let mode = if exclusive { LockMode::Exclusive } else { LockMode::Shared };
        let cancel = self.cancel.clone();
        for table in tables {
            let transaction = self.transaction()?;
            transaction.has_run = true;
            transaction.lock(LockKey::Table(table.oid), mode, None, wait, &cancel).await.map_err(|error| {
                if nowait && error.state() == SqlState::LockNotAvailable {
                    let text = format!("could not obtain lock on relation \"{}\"", table.name);
                    return SqlError::new(SqlState::LockNotAvailable, text);
                }
                error
            })?;
        }
        Ok(())
    }
}

/// What a plan is counted as.
pub(crate) fn kind_of(plan: &Plan) -> measured::Statement {
    match plan {
        Plan::Point(_) => measured::Statement::Point,
        Plan::Query(_) => measured::Statement::Query,
        Plan::Write(_) | Plan::With(_) => measured::Statement::Write,
        Plan::Ddl(_) => measured::Statement::Ddl,
        Plan::Transaction(_) => measured::Statement::Transaction,
        Plan::Session(_) => measured::Statement::Session,
        Plan::Copy(_) => measured::Statement::Copy,
        Plan::Explain(_) | Plan::Admin(_) => measured::Statement::Admin,
    }
}

/// EXPLAIN ANALYZE's line about a statement that has run.
async fn execution(outcome: Outcome, started: std::time::Instant) -> SqlResult<String> {
    let mut count = 0;
    match outcome {
        Outcome::Rows(_, mut rows) => {
            while let Some(block) = rows.next().await? {
                count += block.row_count() as u64;
            }
        }
        Outcome::Command(tag) => count = tag.rows.unwrap_or(0),
        Outcome::CopyIn(_) | Outcome::CopyOut(_) => {}
    }
    let elapsed = started.elapsed().as_secs_f64() * 1e3;
    Ok(format!("Execution: rows={count} time={elapsed:.3} ms"))
}

async fn blocking(
    run: impl FnOnce() -> Result<(), perigee_storage::store::StoreError> + Send + 'static,
) -> SqlResult<()> {
    tokio::task::spawn_blocking(run).await.map_err(SqlError::internal)?.map_err(crate::error::storage)
}

/// All rows of a stream, as far as a statement may hold them.
async fn held(mut rows: RowStream, mut room: usize) -> SqlResult<Vec<RowBlock>> {
    let mut blocks = Vec::new();
    while let Some(block) = rows.next().await? {
        let bytes = match &block {
            RowBlock::Batch(batch) => batch.get_array_memory_size(),
            RowBlock::Values(rows) => rows.iter().flatten().map(Value::size_bytes).sum(),
        };
        room = room.checked_sub(bytes).ok_or_else(|| {
            SqlError::new(SqlState::OutOfMemory, "too many rows in a query that takes advisory locks")
        })?;
        blocks.push(block);
    }
    Ok(blocks)
}
