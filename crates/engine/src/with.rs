//! Statements behind a WITH whose queries write or lock rows.
//!
//! What locks rows runs first, so that the statement sees rows which nobody else changes any more. Each write runs over the same view, that of the rows as they were before the statement, so none sees what another has
//! written but by what it returns. Foreign keys are upheld when all have run.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use perigee_keyspace::Reading;
use perigee_plan::command::Isolation;
use perigee_plan::relational::{With, WithMain, WriteKind};
use perigee_plan::{Prepared, Write};
use perigee_query::exec::ReadView;
use perigee_query::keyspace::KeyTable;
use perigee_types::catalog::Table;
use perigee_types::{SqlResult, Value};

use crate::api::{CommandTag, Outcome, RowBlock, RowStream};
use crate::family::Family;
use crate::row_locks::with_given;
use crate::session::Session;
use crate::write::{RUNS_MAX, Returned, kept_changing, returning_batch};

/// A write of the statement, ready to run.
struct Part<'a> {
    write: &'a Write,
    family: Family,
}

/// What all parts came to.
struct Done {
    view: Arc<ReadView>,
    /// Of the statement itself, where it writes.
    count: u64,
    returned: Vec<RecordBatch>,
}

impl Session {
    pub(crate) async fn run_with(
        &mut self,
        prepared: &Prepared,
        with: &With,
        parameters: &[Value],
    ) -> SqlResult<Outcome> {
        let main = match &with.main {
            WithMain::Write(write) => Some(write.as_ref()),
            WithMain::Query(_) => None,
        };
        let mut parts = Vec::with_capacity(with.parts.len() + 1 + with.after.len());
        for write in with.parts.iter().chain(main).chain(&with.after) {
            if let Some(keys) = KeyTable::of(write.table.oid) {
                return Err(keys.unsupported("WITH queries that write"));
            }
            let family = self.written_family(write, command_of(write)).await?;
            parts.push(Part { write, family });
        }
        let main_place = main.map(|_| with.parts.len());
        let mut locked = Vec::with_capacity(with.locks.len());
        for query in &with.locks {
            let rows = match &query.row_lock {
                Some(lock) => self.lock_query_rows(query, lock, parameters, &locked).await?,
                // It reads no table of its own.
                None => {
                    let engine = self.engine.clone();
                    self.transaction()?.begin_statement(&engine);
                    let view = with_given(self.view()?, &locked);
                    engine.query.fetch_batches(query, parameters, view).await?
                }
            };
            locked.push(rows);
        }
        if let WithMain::Query(query) = &with.main
            && let Some(lock) = &query.row_lock
        {
            let rows = self.lock_query_rows(query, lock, parameters, &locked).await?;
            let columns = prepared.columns.clone().unwrap_or_else(|| Vec::new().into());
            return Ok(Outcome::Rows(columns, RowStream::batches(prepared.tag, rows)));
        }
        self.settle_staged().await?;
        let mark = self.transaction()?.writes.mark();
        for _ in 0..RUNS_MAX {
            let engine = self.engine.clone();
            self.transaction()?.begin_statement(&engine);
            // All of its queries may be what its writes depend on.
            let view = self.view()?;
            let view = match self.transaction()?.isolation {
                Isolation::ReadCommitted => view.reading(Reading::Watched),
                Isolation::RepeatableRead | Isolation::Serializable => view.reading(Reading::Repeatable),
            };
            let view = with_given(view, &locked);
            self.transaction()?.deferred = Some(Vec::new());
            let done = self.run_parts(&mut parts, main_place, parameters, view).await;
            let deferred = self.transaction()?.deferred.take().unwrap_or_default();
            let Some(done) = done? else {
                self.transaction()?.writes.rollback_to(mark);
                continue;
            };
            self.uphold_deferred(deferred).await?;
            let columns = prepared.columns.clone().unwrap_or_else(|| Vec::new().into());
            return Ok(match &with.main {
                WithMain::Query(query) => {
                    let stream = self.engine.query.run(query, parameters, done.view);
                    let stream = futures::StreamExt::map(stream, |batch| batch.map(RowBlock::Batch));
                    Outcome::Rows(columns, RowStream::stream(prepared.tag, Box::pin(stream)))
                }
                WithMain::Write(write) if write.returning.is_none() => {
                    Outcome::Command(CommandTag { name: prepared.tag, rows: Some(done.count) })
                }
                WithMain::Write(_) => Outcome::Rows(columns, RowStream::batches(prepared.tag, done.returned)),
            });
        }
        Err(kept_changing())
    }

    /// Runs the writes one behind the other; the one at `main_place` is the statement's own. `None`: a row has changed under
    /// the statement.
    async fn run_parts(
        &mut self,
        parts: &mut [Part<'_>],
        main_place: Option<usize>,
        parameters: &[Value],
        view: Arc<ReadView>,
    ) -> SqlResult<Option<Done>> {
        let mut done = Done { view, count: 0, returned: Vec::new() };
        let mut bytes = 0;
        for (place, part) in parts.iter_mut().enumerate() {
            let Part { write, family } = part;
            let view = done.view.clone();
            let Some((count, rows)) = self.write_once(family, write, parameters, view).await? else {
                return Ok(None);
            };
            let returned = self.returned(&family.root, write, rows, parameters, done.view.clone()).await?;
            bytes += returned.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
            let written = self.transaction()?.writes.size_bytes();
            self.check_transaction_memory(written + bytes)?;
            if Some(place) == main_place {
                (done.count, done.returned) = (count, returned);
            } else {
                done.view = Arc::new(done.view.with_returned(returned));
            }
        }
        Ok(Some(done))
    }

    /// What RETURNING of a write gives for its rows; nothing without one.
    pub(crate) async fn returned(
        &mut self,
        root: &Table,
        write: &Write,
        rows: Vec<Returned>,
        parameters: &[Value],
        view: Arc<ReadView>,
    ) -> SqlResult<Vec<RecordBatch>> {
        let Some(returning) = &write.returning else { return Ok(Vec::new()) };
        let batch = returning_batch(root, write, rows)?;
        self.engine.query.evaluate(returning, batch, parameters, view).await
    }
}

/// The command that a write is.
pub(crate) fn command_of(write: &Write) -> &'static str {
    match write.kind {
        WriteKind::Insert { .. } => "INSERT",
        WriteKind::Update { .. } => "UPDATE",
        WriteKind::Delete => "DELETE",
        WriteKind::Merge { .. } => "MERGE",
    }
}
