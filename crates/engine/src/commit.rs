//! COMMIT: what a transaction has buffered becomes one entry of the log.

use std::sync::Arc;

use bytes::Bytes;
use perigee_consensus::{Expected, ProposalId};
use perigee_query::keyspace::draft_error;
use perigee_storage::arrow_value::{ValueError, check_value, rows_to_batch};
use perigee_storage::entry::{
    BATCH_ROWS_MIN, EndedRow, Entry, PIECE_BYTES, PieceEnd, RowBlock, TableChange, Transaction as Logged,
};
use perigee_telemetry::trace::{self, Step};
use perigee_types::catalog::{CatalogChange, Column, Object};
use perigee_types::{LogIndex, Oid, Row, SqlError, SqlResult, SqlState, SqlType, TableId, Value};
use rustc_hash::FxHashMap;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::large::{Unfinished, check_row_bytes};
use crate::serializable::Written;
use crate::stage::{STAGE_BYTES, Staging};
use crate::transaction::Transaction;
use crate::write_set::TableWrites;

/// Logs a transaction and waits until it is applied. Its locks are given up by the caller, behind that, at the latest.
pub(crate) async fn commit(
    engine: &Arc<Engine>,
    transaction: &mut Transaction,
    cancel: &CancellationToken,
    name: Option<ProposalId>,
) -> SqlResult<()> {
    let silent = transaction.notifications.is_empty();
    let only_keys = transaction.writes.is_empty() && transaction.staging.is_none() && silent;
    let keys = transaction.keys.take().map(|keys| keys.payload(!only_keys)).transpose().map_err(draft_error)?;
    let companion = keys.flatten().unwrap_or_default();
    if only_keys && companion.is_empty() {
        return Ok(());
    }
    if cancel.is_cancelled() {
        return Err(canceled());
    }
    let bytes = transaction.writes.size_bytes() + transaction.notifications.bytes() + companion.len();
    let large = bytes > STAGE_BYTES;
    let catalog = transaction.writes.catalog().cloned();
    let catalog_changes = std::mem::take(&mut transaction.writes.catalog_changes);
    let mut changes: Vec<(Oid, TableChange)> = Vec::new();
    let (mut appends, mut deletes) = (!companion.is_empty(), false);
    let known = transaction.reads.is_some() || engine.serializable.is_asked();
    let mut written: FxHashMap<TableId, Written> = FxHashMap::default();
    written.extend(transaction.staging.iter().flat_map(Staging::tables_with_rows).map(|table| (table, Written::Whole)));
    written.extend(catalog_changes.iter().filter_map(|change| match change {
        CatalogChange::Put(Object::Table(table)) => Some((table.oid, Written::Whole)),
        CatalogChange::Put(_) => None,
        CatalogChange::Remove(oid) => Some((*oid, Written::Whole)),
    }));
    for (storage, writes) in transaction.writes.take_tables() {
        let table = writes.table.oid;
        // Without a serializable transaction there is nobody to ask which rows they were.
        let rows =
            if known && !large { crate::serializable::written(engine, storage, &writes) } else { Written::Whole };
        written.entry(table).or_insert(rows);
        let change = table_change(storage, writes)?;
        if change.ended.is_empty() && change.rows.is_empty() {
            continue;
        }
        appends |= !change.rows.is_empty();
        deletes |= !change.ended.is_empty();
        changes.push((table, change));
    }
    if appends {
        engine.check_disk(bytes)?;
    } else if deletes {
        engine.check_disk_to_delete(bytes)?;
    }
    // Nothing is proposed yet: a checkpoint may take long.
    tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(canceled()),
        () = engine.wait_for_memory() => {}
    }
    // Without a part a staged transaction is none: its end would find nothing.
    if large && !changes.is_empty() {
        let staging = transaction.staging.get_or_insert_with(|| Staging::new(transaction.holder, transaction.term));
        for (table_oid, change) in changes.drain(..) {
            if let Some(catalog) = &catalog
                && let Some(table) = new_table(&catalog_changes, change.storage)
            {
                staging.table(engine, &table, catalog).await?;
            }
            staging.push(engine, table_oid, change).await?;
        }
    }
    if let Some(staging) = &mut transaction.staging {
        staging.settle().await?;
    }
    // What was refused before it came into the log is no part: the end of none would find nothing.
    let staged = transaction.staging.as_ref().and_then(|staging| Some((staging.id, staging.first()?)));
    let dropped = catalog_changes.iter().filter_map(|change| match change {
        CatalogChange::Remove(oid) => Some(*oid),
        CatalogChange::Put(_) => None,
    });
    let restarted: Vec<Oid> = transaction.sequences.iter().map(|change| change.sequence).collect();
    for sequence in dropped.chain(restarted.iter().copied()) {
        engine.sequences.forget(sequence);
    }
    let before = engine.store.catalog();
    let redefined: Vec<_> = catalog_changes
        .iter()
        .filter_map(|change| match change {
            CatalogChange::Put(Object::Sequence(new)) if !restarted.contains(&new.oid) => {
                Some((before.sequence(new.oid)?.clone(), new.clone()))
            }
            _ => None,
        })
        .collect();
    let logged = Logged {
        staged: staged.map(|(id, _)| id),
        staged_from: staged.map_or(LogIndex(0), |(_, first)| first),
        changes: changes.into_iter().map(|(_, change)| change).collect(),
        catalog: catalog_changes,
        sequences: std::mem::take(&mut transaction.sequences),
        notifications: transaction.notifications.take(),
        companion,
    };
    let (payload, mut unfinished) = encoded(engine, transaction, logged).await?;
    // Where leaders may change, this node's own log tells what became of a commit whose leader was lost. And those who write and
    // apply an entry know by its name which trace it belongs to.
    let mut step = transaction.traced.map(|parent| Step::of(parent, "propose"));
    let is_named = (engine.elsewhere.get().is_some() || step.is_some()) && name.is_none();
    let mut expected = is_named.then(|| engine.consensus.expect(transaction.term));
    let name = name.or_else(|| expected.as_ref().map(Expected::id));
    if let (Some(step), Some(name)) = (&mut step, name) {
        step.tell("perigee.entry.bytes", payload.len().to_string());
        trace::note_entry((name.origin, name.number), trace::Entry { parent: step.parent(), received_nanos: None });
    }
    let propose = || engine.consensus.propose_as(transaction.term, name, &payload);
    let (proposal, passage) = engine.serializable.pass(transaction.reads.as_ref(), || written, propose)?;
    if let Some(unfinished) = &mut unfinished {
        unfinished.ended();
    }
    let outcome = match &mut expected {
        Some(expected) => engine.consensus.outcome(proposal, expected, transaction.term).await,
        None => proposal.await,
    };
    let outcome = crate::engine::outcome(outcome);
    if let (Some(step), Err(error)) = (&mut step, &outcome) {
        step.fail(error.state().code(), error.message());
    }
    if let (Some(step), Ok((index, _))) = (&mut step, &outcome) {
        step.tell("perigee.entry.index", index.to_string());
    }
    drop(step);
    match &outcome {
        Ok((index, _)) => {
            transaction.committed_at = Some(*index);
            passage.ended(Some(*index));
        }
        // It may come yet.
        Err(error) if error.state() == SqlState::TransactionResolutionUnknown => drop(passage),
        Err(_) => passage.ended(None),
    }
    outcome?;
    // It is committed: what was staged is no longer to be dropped.
    transaction.staging = None;
    for (old, new) in redefined {
        engine.sequences.redefine(engine, &old, &new);
    }
    let catalog = engine.store.catalog();
    let indexes = std::mem::take(&mut transaction.backfill);
    // Apply keeps the indexes from here on, so writes need not wait for the older rows to be in them. But what is to be
    // unique is looked for there.
    let is_unique = |index: &Oid| catalog.index(*index).is_some_and(|index| index.unique);
    if !indexes.is_empty() && !indexes.iter().any(is_unique) {
        transaction.release_locks();
    }
    for index in indexes {
        // One that was dropped again in the same transaction has nothing to be filled for.
        if catalog.object(index).is_none() {
            continue;
        }
        // The transaction is committed, whatever comes. An index that is not filled is not used, and filled at the next start.
        if let Err(error) = backfill(engine, index).await {
            tracing::error!(%error, index = index.0, "an index could not be filled");
        }
    }
    Ok(())
}

/// The bytes of the entry that ends a transaction. Of one that is too large they are those of its last piece, with the others in
/// the log.
async fn encoded<'e>(
    engine: &'e Arc<Engine>,
    transaction: &mut Transaction,
    logged: Logged,
) -> SqlResult<(Bytes, Option<Unfinished<'e>>)> {
    let mut entry = Entry::Transaction(logged);
    let payload = entry.encode();
    if payload.len() <= PIECE_BYTES {
        return Ok((payload, None));
    }
    drop(payload);
    let staging = transaction.staging.get_or_insert_with(|| Staging::new(transaction.holder, transaction.term));
    let from = staging.begin(engine).await?;
    if let Entry::Transaction(logged) = &mut entry {
        // Where it fails, the pieces go as all that is staged does.
        (logged.staged, logged.staged_from) = (Some(staging.id), from);
    }
    let payload = entry.encode();
    drop(entry);
    let (last, unfinished) = staging.all_but_last(engine, payload, PieceEnd::Transaction { from }).await?;
    Ok((last, Some(unfinished)))
}

fn canceled() -> SqlError {
    SqlError::new(SqlState::QueryCanceled, "canceling statement due to user request")
}

/// The table that these changes make with a storage of its own.
fn new_table(changes: &[CatalogChange], storage: Oid) -> Option<Arc<perigee_types::catalog::Table>> {
    changes.iter().rev().find_map(|change| match change {
        CatalogChange::Put(Object::Table(table)) if table.storage == storage => Some(table.clone()),
        _ => None,
    })
}

fn table_change(storage: Oid, writes: TableWrites) -> SqlResult<TableChange> {
    let mut ended: Vec<EndedRow> = writes.ended.into_iter().map(|(vid, old)| EndedRow { vid, old }).collect();
    ended.sort_by_key(|row| row.vid);
    let rows: Vec<Row> = writes.inserted.into_iter().flatten().collect();
    let columns: Vec<u16> = writes.table.columns.iter().map(|c| c.number).collect();
    let rows = if rows.len() >= BATCH_ROWS_MIN {
        let fields: Vec<_> = writes.table.columns.iter().map(|c| (c.number, &c.ty, c.name.as_str())).collect();
        RowBlock::Batch(rows_to_batch(&fields, &rows).map_err(SqlError::internal)?)
    } else {
        RowBlock::Rows(rows)
    };
    Ok(TableChange { storage, columns, ended, rows })
}

/// Fills a new index from the rows that were there before it. Runs where it may block.
async fn backfill(engine: &Arc<Engine>, index: Oid) -> SqlResult<()> {
    let store = engine.store.clone();
    tokio::task::spawn_blocking(move || store.backfill_index(index))
        .await
        .map_err(SqlError::internal)?
        .map_err(crate::error::storage)
}

/// Refuses a NULL where a column may not be NULL, and what a column does not hold, an array of more dimensions than it has among
/// it: once in the log it could neither be applied nor read. And a row of more bytes than any may have.
pub(crate) fn check_values(table: &perigee_types::catalog::Table, schema: &str, row: &[Value]) -> SqlResult<()> {
    for (column, value) in table.columns.iter().zip(row) {
        if column.not_null && value.is_null() {
            return Err(SqlError::new(
                SqlState::NotNullViolation,
                format!(
                    "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                    column.name, table.name
                ),
            )
            .detail(format!("Failing row contains ({}).", describe(table, row)))
            .table(schema, &table.name)
            .column(&column.name));
        }
        if let (SqlType::Array(of), Value::Array(elements)) = (&column.ty, value)
            && !matches!(**of, SqlType::Array(_))
            && elements.iter().any(|element| matches!(element, Value::Array(_)))
        {
            return Err(SqlError::unsupported("an array of several dimensions in a column"));
        }
        check_value(&column.ty, value).map_err(|error| does_not_fit(column, error))?;
    }
    check_row_bytes(row.iter().map(Value::size_bytes).sum())
}

fn does_not_fit(column: &Column, error: ValueError) -> SqlError {
    match error {
        ValueError::OutOfRange(ty) => SqlError::new(SqlState::NumericValueOutOfRange, format!("{ty} out of range")),
        error => SqlError::new(SqlState::DatatypeMismatch, format!("column \"{}\": {error}", column.name)),
    }
}

/// A row for an error's detail, cut where it is long.
pub(crate) fn describe(table: &perigee_types::catalog::Table, row: &[Value]) -> String {
    let settings = perigee_types::text::OutputSettings::default();
    let values: Vec<String> = table
        .visible_columns()
        .iter()
        .zip(row)
        .map(|(column, value)| match value {
            Value::Null => "null".to_owned(),
            value => {
                let text = perigee_types::text::format(value, &column.ty, &settings);
                match text.char_indices().nth(64) {
                    Some((end, _)) => format!("{}...", &text[..end]),
                    None => text,
                }
            }
        })
        .collect();
    values.join(", ")
}
