//! Writing rows: locks, constraints, the write set. Every INSERT, UPDATE and DELETE of every door ends here.
//!
//! What names a row in the lock table is its primary key, or its vid where the table has none. Whoever wants to write a
//! row takes that lock, then looks at the latest applied state: what a snapshot showed may be gone by then.

use std::sync::Arc;

use perigee_plan::command::Isolation;
use perigee_storage::table::{LATEST, TableStore};
use perigee_types::catalog::{Catalog, Table};
use perigee_types::{IndexId, Oid, Row, SqlError, SqlResult, SqlState, Value, Vid, key};
use tokio_util::sync::CancellationToken;

use crate::checks::RowRules;
use crate::commit::check_values;
use crate::deferred::Postponed;
use crate::engine::Engine;
use crate::error::storage;
use crate::locks::{Acquired, LockKey, LockMode, LockWait};
use crate::session::Session;
use crate::transaction::Transaction;
use crate::write_set::{UniqueKey, UniqueKeys};

/// A table that a statement writes to, and what it needs for that.
pub(crate) struct Target {
    pub(crate) table: Arc<Table>,
    pub(crate) schema: String,
    pub(crate) unique: UniqueKeys,
    pub(crate) rules: Arc<RowRules>,
    /// The role whose right to call functions its rules need; `None`: the current one.
    pub(crate) by: Option<Oid>,
    /// Whether foreign keys point to it.
    pub(crate) referenced: bool,
    /// `None` for a table that this transaction has made.
    pub(crate) store: Option<Arc<TableStore>>,
    pub(crate) wait: LockWait,
    pub(crate) cancel: CancellationToken,
}

/// What became of a row that a snapshot showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locked {
    /// It is still the latest version.
    Unchanged,
    /// Another transaction has changed or deleted it since.
    Changed,
}

impl Session {
    /// Locks a table against DDL and gets ready to write to it.
    ///
    /// # Errors
    /// `42P01` when it has been dropped meanwhile, and what locks give.
    pub(crate) async fn target(&mut self, table: &Arc<Table>, command: &str) -> SqlResult<Target> {
        let (wait, cancel) = (self.lock_wait(), self.cancel.clone());
        let engine = self.engine.clone();
        let transaction = self.transaction()?;
        transaction.check_leads(command)?;
        // A read-only transaction may write to what nobody else reads.
        if !transaction.catalog(&engine).is_temporary(table.schema) {
            transaction.check_writable(command)?;
        }
        transaction.lock(LockKey::Table(table.oid), LockMode::Shared, None, wait, &cancel).await?;
        let catalog = transaction.catalog(&engine);
        // The plan may be older than the lock.
        let current = catalog.table(table.oid).cloned();
        let Some(current) = current else {
            self.stale_plan = true;
            return Err(dropped(table));
        };
        if current.version != table.version || current.storage != table.storage || current.indexes != table.indexes {
            self.stale_plan = true;
            return Err(SqlError::new(
                SqlState::SerializationFailure,
                format!("table \"{}\" was changed while the statement was planned", table.name),
            ));
        }
        let transaction = self.transaction()?;
        if !transaction.shows_latest(&engine, table.oid) {
            // Planning again would find the same old table: the snapshot is older than the change.
            return Err(concurrent_update());
        }
        let rules = self.rules_of(&current)?;
        Ok(Target {
            schema: schema_name(&catalog, table),
            unique: UniqueKeys::of(&current, &catalog),
            rules,
            by: None,
            referenced: catalog.referencing(current.oid).next().is_some(),
            store: engine.store.table(current.storage),
            table: current,
            wait,
            cancel,
        })
    }
}

impl Target {
    /// What a row is needed for that another version takes the place of: its keys. All of it where the log says what was in it, or
    /// foreign keys ask.
    pub(crate) fn needed_of(&self, mut row: Row) -> Row {
        let keys_do = self.unique.primary(&self.table).is_some() && self.table.aggregates.is_empty();
        if keys_do && !self.points() && !self.referenced {
            let is_key = |place: &usize| self.unique.0.iter().any(|unique| unique.positions.contains(place));
            for (_, value) in row.iter_mut().enumerate().filter(|(place, _)| !is_key(place)) {
                *value = Value::Null;
            }
        }
        row
    }

    /// How a row is locked whose columns at `assigned` get new values: others may point to a row that keeps its keys.
    pub(crate) fn write_mode(&self, assigned: impl IntoIterator<Item = usize>) -> LockMode {
        let is_key = |place: usize| self.unique.0.iter().any(|unique| unique.positions.contains(&place));
        let generated = self.rules.generated.iter().map(|generated| generated.place);
        // Without a primary key the lock names the version: who points to it must not miss that another one takes its place.
        let moves = self.referenced && self.table.primary_key.is_none();
        if moves || assigned.into_iter().chain(generated).any(is_key) {
            LockMode::Ending
        } else {
            LockMode::NoKeyExclusive
        }
    }
}

pub(crate) fn schema_name(catalog: &Catalog, table: &Table) -> String {
    catalog.object(table.schema).map(|s| s.name().to_owned()).unwrap_or_default()
}

fn dropped(table: &Table) -> SqlError {
    SqlError::new(SqlState::UndefinedTable, format!("relation \"{}\" does not exist", table.name))
}

/// The lock that stands for a row.
pub(crate) fn row_lock(target: &Target, vid: Vid, row: &[Value]) -> LockKey {
    match target.unique.primary(&target.table).and_then(|primary| Some((primary, primary.of_row(row)?))) {
        Some((primary, key)) => LockKey::Key(primary.index.oid, key.into()),
        None => LockKey::Row(target.table.oid, vid),
    }
}

impl Transaction {
    /// Locks a row that the statement's snapshot shows, to end it. `row` holds the table's live columns.
    ///
    /// # Errors
    /// `40001` in REPEATABLE READ when the row has changed since the snapshot; what locks give.
    pub(crate) async fn lock_row(
        &mut self,
        target: &Target,
        vid: Vid,
        row: &[Value],
        mode: LockMode,
    ) -> SqlResult<Locked> {
        if vid.is_local() {
            return Ok(Locked::Unchanged);
        }
        self.lock_version(target, vid, row_lock(target, vid, row), mode).await
    }

    /// As [`Transaction::lock_row`], of a row of others by the lock that stands for it.
    ///
    /// # Errors
    /// As [`Transaction::lock_row`].
    pub(crate) async fn lock_version(
        &mut self,
        target: &Target,
        vid: Vid,
        key: LockKey,
        mode: LockMode,
    ) -> SqlResult<Locked> {
        self.lock(key, mode, Some(target.table.oid), target.wait, &target.cancel).await?;
        let ended = target.store.as_ref().is_some_and(|store| store.ended(vid).is_some());
        if ended && self.isolation != Isolation::ReadCommitted {
            return Err(concurrent_update());
        }
        Ok(if ended { Locked::Changed } else { Locked::Unchanged })
    }

    /// Finds a row by the key of a unique index at its latest version and locks it: what an UPDATE by key wants.
    /// Gives its vid and its live columns; `None` when there is none.
    pub(crate) async fn find_and_lock(
        &mut self,
        engine: &Engine,
        target: &Target,
        unique: &UniqueKey,
        key: &[u8],
        mode: LockMode,
    ) -> SqlResult<Option<(Vid, Row)>> {
        let storage_oid = target.table.storage;
        if let Some((vid, row)) = self.writes.find(storage_oid, unique.index.oid, key) {
            return Ok(Some((vid, row.clone())));
        }
        let Some(store) = &target.store else { return Ok(None) };
        let primary = Some(unique.index.oid) == target.table.primary_key;
        let staged = self.staged();
        loop {
            let Some(vid) = store.get_with_staged(unique.index.oid, key, LATEST, staged).map_err(storage)? else {
                // In REPEATABLE READ a row that the snapshot shows may have been deleted since.
                self.check_unchanged(engine, store, unique, key, None)?;
                return Ok(None);
            };
            if self.writes.has_ended(storage_oid, vid) {
                return Ok(None);
            }
            let mut row = None;
            let lock = if primary {
                LockKey::Key(unique.index.oid, key.into())
            } else {
                row = store.row_as(vid, &target.table).map_err(storage)?;
                match &row {
                    Some(row) => row_lock(target, vid, row),
                    None => continue,
                }
            };
            let acquired = self.lock(lock, mode, Some(target.table.oid), target.wait, &target.cancel).await?;
            if acquired == Acquired::AfterWait || store.ended(vid).is_some() {
                // Whoever held it has written it: look again, now that nobody else can.
                if store.get_with_staged(unique.index.oid, key, LATEST, staged).map_err(storage)? != Some(vid) {
                    self.check_unchanged(engine, store, unique, key, Some(vid))?;
                    continue;
                }
            }
            self.check_unchanged(engine, store, unique, key, Some(vid))?;
            let row = match row {
                Some(row) => Some(row),
                None => store.row_as(vid, &target.table).map_err(storage)?,
            };
            if let Some(row) = row {
                return Ok(Some((vid, row)));
            }
        }
    }

    /// In REPEATABLE READ the latest version of a row must be the one that the snapshot shows.
    fn check_unchanged(
        &mut self,
        engine: &Engine,
        store: &TableStore,
        unique: &UniqueKey,
        key: &[u8],
        latest: Option<Vid>,
    ) -> SqlResult<()> {
        if self.isolation == Isolation::ReadCommitted {
            return Ok(());
        }
        let at = self.snapshot(engine).index;
        let seen = store.get(unique.index.oid, key, at).map_err(storage)?;
        match seen {
            Some(vid) if Some(vid) != latest && !self.writes.has_ended(store.storage(), vid) => {
                Err(concurrent_update())
            }
            // A row that is newer than the snapshot is not there for it.
            _ => Ok(()),
        }
    }

    /// Appends a row: one value for each live column.
    ///
    /// # Errors
    /// `23502`, `23505`, and what locks give.
    pub(crate) async fn insert_row(&mut self, target: &Target, row: Row) -> SqlResult<()> {
        check_values(&target.table, &target.schema, &row)?;
        self.insert_checked_row(target, row, &[]).await
    }

    /// The same for a row whose values are checked. Its keys in the indexes of `free` are locked and, as was seen behind that, nobody's.
    ///
    /// # Errors
    /// `23505`, and what locks give.
    pub(crate) async fn insert_checked_row(&mut self, target: &Target, row: Row, free: &[IndexId]) -> SqlResult<()> {
        for unique in target.unique.0.iter().filter(|unique| !free.contains(&unique.index.oid)) {
            self.claim_key(target, unique, &row).await?;
        }
        self.writes.insert(&target.table, &target.unique, row);
        Ok(())
    }

    /// Locks a row's key in a unique index and makes sure that nobody has it.
    async fn claim_key(&mut self, target: &Target, unique: &UniqueKey, row: &[Value]) -> SqlResult<()> {
        let Some(bytes) = self.lock_key(target, unique, row).await? else { return Ok(()) };
        if self.defers(unique.index.oid, unique.index.definition.deferral) {
            // Whether it is the only one is asked when the transaction ends. What others do to it meanwhile waits.
            let (table, index) = (target.table.oid, unique.index.oid);
            return self.postpone(Postponed::Shared { table, index, row: row.to_vec() });
        }
        let own = self.writes.find(target.table.storage, unique.index.oid, &bytes).is_some();
        self.check_key(target, unique, row, &bytes, own).await
    }

    /// Makes sure that no row but this one has a key that is locked; `own`: another of the transaction's own has.
    ///
    /// # Errors
    /// `23505`, and what locks give.
    pub(crate) async fn check_key(
        &mut self,
        target: &Target,
        unique: &UniqueKey,
        row: &[Value],
        bytes: &[u8],
        own: bool,
    ) -> SqlResult<()> {
        let storage_oid = target.table.storage;
        if own {
            return Err(duplicate_key(target, unique, row));
        }
        let Some(store) = &target.store else { return Ok(()) };
        let staged = self.staged();
        loop {
            let found = store.get_with_staged(unique.index.oid, bytes, LATEST, staged).map_err(storage)?;
            let Some(vid) = found.filter(|vid| !self.writes.has_ended(storage_oid, *vid)) else { return Ok(()) };
            if Some(unique.index.oid) == target.table.primary_key {
                return Err(duplicate_key(target, unique, row));
            }
            // The row that has the key is locked under its primary key: whoever ends it just now is waited for.
            let Some(taken) = store.row_as(vid, &target.table).map_err(storage)? else { continue };
            let lock = row_lock(target, vid, &taken);
            let of = Some(target.table.oid);
            self.lock(lock, LockMode::KeyShare, of, target.wait, &target.cancel).await?;
            if store.ended(vid).is_none() {
                return Err(duplicate_key(target, unique, row));
            }
        }
    }

    /// Locks a row's key in a unique index, so that nobody else makes a row with it; `None` with a NULL in it.
    pub(crate) async fn lock_key(
        &mut self,
        target: &Target,
        unique: &UniqueKey,
        row: &[Value],
    ) -> SqlResult<Option<Vec<u8>>> {
        let Some(bytes) = unique.of_row(row) else { return Ok(None) };
        if bytes.len() > key::KEY_BYTES_MAX {
            return Err(key_too_long(unique, bytes.len()));
        }
        if self.writes.find(target.table.storage, unique.index.oid, &bytes).is_none() {
            let lock = LockKey::Key(unique.index.oid, bytes.clone().into());
            let of = Some(target.table.oid);
            self.lock(lock, LockMode::NoKeyExclusive, of, target.wait, &target.cancel).await?;
        }
        Ok(Some(bytes))
    }

    /// Ends the rows and appends their new versions, as one statement: keys may move between the rows.
    ///
    /// # Errors
    /// As [`Transaction::insert_row`].
    pub(crate) async fn replace_rows(&mut self, target: &Target, rows: Vec<(Vid, Row, Row)>) -> SqlResult<()> {
        for (vid, old, _) in &rows {
            self.writes.end(&target.table, &target.unique, *vid, old);
        }
        for (_, old, new) in rows {
            check_values(&target.table, &target.schema, &new)?;
            for unique in target.unique.0.iter() {
                // The old version's key is locked by this transaction; nobody else can have taken it.
                let moved = unique.positions.iter().any(|p| old.get(*p) != new.get(*p));
                let taken_by_own = || {
                    unique
                        .of_row(&new)
                        .is_some_and(|k| self.writes.find(target.table.storage, unique.index.oid, &k).is_some())
                };
                if moved || taken_by_own() {
                    self.claim_key(target, unique, &new).await?;
                }
            }
            self.writes.insert(&target.table, &target.unique, new);
        }
        Ok(())
    }
}

pub(crate) fn column_numbers(table: &Table) -> Vec<u16> {
    table.columns.iter().map(|c| c.number).collect()
}

pub(crate) fn concurrent_update() -> SqlError {
    SqlError::new(SqlState::SerializationFailure, "could not serialize access due to concurrent update")
}

pub(crate) fn key_too_long(unique: &UniqueKey, bytes: usize) -> SqlError {
    SqlError::new(
        SqlState::ProgramLimitExceeded,
        format!("index row size {bytes} exceeds maximum {} for index \"{}\"", key::KEY_BYTES_MAX, unique.index.name),
    )
}

pub(crate) fn duplicate_key(target: &Target, unique: &UniqueKey, row: &[Value]) -> SqlError {
    let settings = perigee_types::text::OutputSettings::default();
    let names: Vec<_> = unique.index.key_texts(&target.table, str::to_owned).collect();
    let mut values = Vec::new();
    for position in unique.positions.iter().take(names.len()) {
        if let (Some(column), Some(value)) = (target.table.columns.get(*position), row.get(*position)) {
            values.push(perigee_types::text::format(value, &column.ty, &settings));
        }
    }
    SqlError::new(
        SqlState::UniqueViolation,
        format!("duplicate key value violates unique constraint \"{}\"", unique.index.name),
    )
    .detail(format!("Key ({})=({}) already exists.", names.join(", "), values.join(", ")))
    .table(&target.schema, &target.table.name)
    .constraint(&unique.index.name)
}
