//! Foreign keys: what a statement's rows point to is there, and what points to them follows.
//!
//! ```text
//! rows written  -- point to --> key share of the row there; 23503 where there is none
//! rows gone     -- pointed to by --> CASCADE, SET NULL, SET DEFAULT: rows written or gone, and so on
//!                                    RESTRICT: 23503; NO ACTION: 23503 if the key is still missing at the end
//! ```
//!
//! Whoever writes a row that points holds a share of the row that it points to, and whoever ends that row or changes its
//! key holds it alone: so each sees what the other has committed, by reading the latest state behind the lock.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use perigee_plan::evaluate;
use perigee_storage::arrow_value::batch_to_rows;
use perigee_storage::table::LATEST;
use perigee_types::catalog::{ForeignKey, ReferentialAction, Table};
use perigee_types::text::OutputSettings;
use perigee_types::{Row, SqlError, SqlResult, SqlState, SqlType, Value, Vid, key};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::deferred::Postponed;
use crate::error::storage;
use crate::locks::{Acquired, LockKey, LockMode};
use crate::pointing_rows::{Room, Search};
use crate::rows::{Locked, Target, row_lock};
use crate::session::Session;
use crate::transaction::Transaction;
use crate::write::RUNS_MAX;
use crate::write_set::UniqueKey;

/// Up to so many keys are looked up in an index one by one; more are looked for in one scan.
const LOOKUPS_MAX: usize = 1_000;
/// Rows that point to one that shall go, of those that are looked at at once: one of them is enough to refuse it.
const REFUSED_BY_MAX: usize = 64;
/// Keys that are looked up without a thread of their own.
const LOOKUPS_AT_ONCE_MAX: usize = 4;
/// Rows whose key the end of the statement has to find, at most.
pub(crate) const PENDING_MAX: usize = 1_000_000;

/// A row that a statement has written or ended.
pub(crate) struct RowChange {
    pub(crate) old: Option<Row>,
    pub(crate) new: Option<Row>,
}

impl RowChange {
    pub(crate) fn written(row: &Row) -> Self {
        Self { old: None, new: Some(row.clone()) }
    }
}

/// Values that a row points with and that were not there yet: a row behind it in the statement may bring them.
pub(crate) struct PendingKey {
    pub(crate) table: Arc<Table>,
    pub(crate) key: ForeignKey,
    pub(crate) values: Row,
}

/// Keys that are gone from a table, with what they have become.
pub(crate) type Gone = FxHashMap<Vec<u8>, (Row, Option<Row>)>;

/// Rows that point with a key, and where.
pub(crate) struct Pointing<'a> {
    pub(crate) child: &'a Target,
    pub(crate) key: &'a ForeignKey,
    pub(crate) parent: &'a Table,
}

impl Session {
    /// Upholds the foreign keys of and to a table behind changes of its rows, which are in the write set.
    ///
    /// # Errors
    /// `23503`; of rows that change with them what their constraints give; what locks give.
    pub(crate) async fn uphold(&mut self, target: &Target, changes: Vec<RowChange>) -> SqlResult<()> {
        if changes.is_empty() || !(target.points() || target.referenced) {
            return Ok(());
        }
        if let Some(deferred) = &mut self.transaction()?.deferred {
            deferred.push((target.table.clone(), changes));
            return Ok(());
        }
        Box::pin(self.uphold_all(VecDeque::from([(target.table.clone(), changes)]))).await
    }

    /// As [`Session::uphold`], for all writes of a statement that has several, at its end.
    ///
    /// # Errors
    /// As [`Session::uphold`].
    pub(crate) async fn uphold_deferred(&mut self, changes: Vec<(Arc<Table>, Vec<RowChange>)>) -> SqlResult<()> {
        if changes.is_empty() {
            return Ok(());
        }
        Box::pin(self.uphold_all(changes.into())).await?;
        self.uphold_pending().await
    }

    /// As [`Session::uphold`], for new rows in columns.
    ///
    /// # Errors
    /// As [`Session::uphold`].
    pub(crate) async fn uphold_batch(&mut self, target: &Target, batch: &RecordBatch) -> SqlResult<()> {
        if !target.points() {
            return Ok(());
        }
        if target.table.foreign_keys.iter().any(|key| key.references == target.table.oid) {
            // Rows of the same load may be meant.
            self.settle_staged().await?;
        }
        let changes = batch_to_rows(batch).into_iter().map(|row| RowChange { old: None, new: Some(row) }).collect();
        self.uphold(target, changes).await
    }

    /// At the end of a statement: what its rows point to must be there by now.
    ///
    /// # Errors
    /// `23503`
    pub(crate) async fn uphold_pending(&mut self) -> SqlResult<()> {
        if self.transaction()?.deferred.is_some() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.transaction()?.pending_keys);
        for PendingKey { table, key, values } in pending {
            let parent = self.parent(&key).await?;
            if self.transaction()?.lock_referenced(&parent, &table, &key, &values).await? {
                continue;
            }
            if !self.transaction()?.defers(key.oid, key.deferral) {
                return Err(self.not_present(&table, &key, &values, &parent.table));
            }
            self.transaction()?.postpone(Postponed::Points(PendingKey { table, key, values }))?;
        }
        Ok(())
    }

    /// At COMMIT: a statement that has forgotten [`Session::uphold_pending`] must not bring rows in that point nowhere.
    ///
    /// # Errors
    /// `23503`
    pub(crate) async fn uphold_left(&mut self) -> SqlResult<()> {
        let left = self.transaction.as_ref().is_some_and(|t| !t.failed && !t.pending_keys.is_empty());
        if left { self.uphold_pending().await } else { Ok(()) }
    }

    async fn uphold_all(&mut self, mut queue: VecDeque<(Arc<Table>, Vec<RowChange>)>) -> SqlResult<()> {
        let mut pointing: Vec<(Arc<Table>, ForeignKey, Vec<Row>)> = Vec::new();
        let mut no_action: Vec<(Arc<Table>, ForeignKey, Arc<Table>, Gone)> = Vec::new();
        while let Some((table, changes)) = queue.pop_front() {
            for key in &table.foreign_keys {
                let rows = self.pointing_rows(&table, key, &changes)?;
                if !rows.is_empty() {
                    pointing.push((table.clone(), key.clone(), rows));
                }
            }
            let engine = self.engine.clone();
            let catalog = self.transaction()?.catalog(&engine);
            for child in catalog.referencing(table.oid) {
                for key in child.foreign_keys.iter().filter(|key| key.references == table.oid) {
                    let (deleted, updated) = gone_keys(&table, key, &changes)?;
                    for (gone, action) in [(deleted, key.on_delete), (updated, key.on_update)] {
                        if gone.is_empty() {
                            continue;
                        }
                        if action == ReferentialAction::NoAction {
                            no_action.push((child.clone(), key.clone(), table.clone(), gone));
                            continue;
                        }
                        let (child, followed) = self.follow(child, key, &table, &gone, action).await?;
                        if !followed.is_empty() {
                            queue.push_back((child, followed));
                        }
                    }
                }
            }
        }
        for (child, key, parent, mut gone) in no_action {
            self.drop_present(&key, &parent, &mut gone).await?;
            if !gone.is_empty() {
                let child = self.target(&child, "DELETE").await?;
                let pointing = Pointing { child: &child, key: &key, parent: &parent };
                match self.refuse_pointing(&pointing, &gone).await {
                    Err(error)
                        if error.state() == SqlState::ForeignKeyViolation
                            && self.transaction()?.defers(key.oid, key.deferral) =>
                    {
                        let (child, key) = (child.table.oid, key.oid);
                        self.transaction()?.postpone(Postponed::PointedTo { child, key, gone })?;
                    }
                    other => other?,
                }
            }
        }
        for (table, key, rows) in pointing {
            let parent = self.parent(&key).await?;
            for values in rows {
                if self.transaction()?.lock_referenced(&parent, &table, &key, &values).await? {
                    continue;
                }
                if self.transaction()?.defers(key.oid, key.deferral) {
                    let pending = PendingKey { table: table.clone(), key: key.clone(), values };
                    self.transaction()?.postpone(Postponed::Points(pending))?;
                    continue;
                }
                // A row behind it in the same statement may be the one.
                if key.references != table.oid {
                    return Err(self.not_present(&table, &key, &values, &parent.table));
                }
                let pending = &mut self.transaction()?.pending_keys;
                if pending.len() >= PENDING_MAX {
                    return Err(SqlError::new(
                        SqlState::OutOfMemory,
                        "too many rows point to rows that are not there yet",
                    ));
                }
                pending.push(PendingKey { table: table.clone(), key: key.clone(), values });
            }
        }
        Ok(())
    }

    /// The distinct values that changed rows point with.
    fn pointing_rows(&self, table: &Table, key: &ForeignKey, changes: &[RowChange]) -> SqlResult<Vec<Row>> {
        let places = places(table, &key.columns)?;
        let mut seen = FxHashSet::default();
        let mut rows = Vec::new();
        for change in changes {
            let Some(new) = &change.new else { continue };
            let values = pick(new, &places);
            if change.old.as_ref().is_some_and(|old| pick(old, &places) == values) {
                continue;
            }
            if values.iter().any(Value::is_null) {
                if key.match_full && !values.iter().all(Value::is_null) {
                    return Err(mixed_nulls(self.violation(table, key)));
                }
                continue;
            }
            let mut bytes = Vec::new();
            key::encode(&values, &mut bytes);
            if seen.insert(bytes) {
                rows.push(values);
            }
        }
        Ok(rows)
    }

    pub(crate) async fn parent(&mut self, key: &ForeignKey) -> SqlResult<Target> {
        let engine = self.engine.clone();
        let parent = self.transaction()?.catalog(&engine).table(key.references).cloned();
        let parent = parent.ok_or_else(|| SqlError::internal("the table of a foreign key is gone"))?;
        self.target(&parent, "INSERT").await
    }

    /// Takes keys out of `gone` that other rows have by now.
    pub(crate) async fn drop_present(
        &mut self,
        key: &ForeignKey,
        parent: &Arc<Table>,
        gone: &mut Gone,
    ) -> SqlResult<()> {
        let target = self.target(parent, "DELETE").await?;
        let unique = target.unique_of(key)?;
        let transaction = self.transaction()?;
        let staged = transaction.staging.as_ref().map(|s| s.id);
        let mut present = Vec::new();
        for (bytes, (values, _)) in gone.iter() {
            let index_key = index_key(&target.table, key, unique, values)?;
            let own = transaction.writes.find(target.table.storage, unique.index.oid, &index_key).is_some();
            let found = own
                || match &target.store {
                    Some(store) => store
                        .get_with_staged(unique.index.oid, &index_key, LATEST, staged)
                        .map_err(storage)?
                        .is_some_and(|vid| !transaction.writes.has_ended(target.table.storage, vid)),
                    None => false,
                };
            if found {
                present.push(bytes.clone());
            }
        }
        for bytes in present {
            gone.remove(&bytes);
        }
        Ok(())
    }

    pub(crate) async fn refuse_pointing(&mut self, pointing: &Pointing<'_>, gone: &Gone) -> SqlResult<()> {
        for _ in 0..RUNS_MAX {
            let found = self.find_pointing(pointing, gone, REFUSED_BY_MAX).await?;
            let mut still = None;
            for (vid, row) in &found {
                // Whoever deletes it just now is waited for.
                match self.transaction()?.lock_row(pointing.child, *vid, row, LockMode::KeyShare).await? {
                    Locked::Unchanged => still = Some(row),
                    Locked::Changed => {}
                }
                if still.is_some() {
                    break;
                }
            }
            let Some(row) = still else {
                if found.is_empty() {
                    return Ok(());
                }
                continue;
            };
            let values = pick(row, &places(&pointing.child.table, &pointing.key.columns)?);
            return Err(self.still_referenced(pointing, &values));
        }
        Err(kept_changing())
    }

    /// Does to the rows that point to `gone` keys what the foreign key says. Gives what has become of them.
    async fn follow(
        &mut self,
        child: &Arc<Table>,
        key: &ForeignKey,
        parent: &Arc<Table>,
        gone: &Gone,
        action: ReferentialAction,
    ) -> SqlResult<(Arc<Table>, Vec<RowChange>)> {
        let mut child = self.target(child, "DELETE").await?;
        // What a foreign key does is done for the table's owner.
        child.by = Some(child.table.owner);
        let child = child;
        let pointing = Pointing { child: &child, key, parent };
        if action == ReferentialAction::Restrict {
            self.refuse_pointing(&pointing, gone).await?;
            return Ok((child.table.clone(), Vec::new()));
        }
        let rows = self.lock_pointing(&pointing, gone).await?;
        let places = places(&child.table, &key.columns)?;
        let mut defaults = Vec::new();
        if action == ReferentialAction::SetDefault {
            for place in &places {
                let expr = self.with_plan_context(&[], |_, context| {
                    perigee_query::sql::column_default(&child.table, *place, context)
                })?;
                defaults.push(self.evaluate(&expr, &[], &[])?);
            }
        }
        let (mut changes, mut replaced) = (Vec::new(), Vec::new());
        for (vid, old) in rows {
            let mut new = old.clone();
            let bytes = referenced_key(&pointing, &pick(&old, &places));
            let values = match action {
                ReferentialAction::SetNull => Some(vec![Value::Null; places.len()]),
                ReferentialAction::SetDefault => Some(defaults.clone()),
                // ON DELETE CASCADE has no new key.
                _ => match bytes.and_then(|bytes| gone.get(&bytes)).and_then(|(_, new)| new.clone()) {
                    Some(values) => Some(pointing.as_child(values)?),
                    None => None,
                },
            };
            let Some(values) = values else {
                self.transaction()?.writes.end(&child.table, &child.unique, vid, &old);
                changes.push(RowChange { old: Some(old), new: None });
                continue;
            };
            for (place, value) in places.iter().zip(values) {
                if let Some(slot) = new.get_mut(*place) {
                    *slot = value;
                }
            }
            self.generate(&child, std::slice::from_mut(&mut new)).await?;
            changes.push(RowChange { old: Some(old.clone()), new: Some(new.clone()) });
            replaced.push((vid, old, new));
        }
        if !replaced.is_empty() {
            let new: Vec<Row> = replaced.iter().map(|(_, _, new)| new.clone()).collect();
            self.check_rows(&child, &new).await?;
            self.check_bounds(&child.table, &new).await?;
            self.transaction()?.replace_rows(&child, replaced).await?;
        }
        Ok((child.table.clone(), changes))
    }

    /// Finds and locks the rows that point to `gone` keys.
    async fn lock_pointing(&mut self, pointing: &Pointing<'_>, gone: &Gone) -> SqlResult<Vec<(Vid, Row)>> {
        for _ in 0..RUNS_MAX {
            let rows = self.find_pointing(pointing, gone, usize::MAX).await?;
            let mut changed = false;
            let others = rows.iter().filter(|(vid, _)| !vid.is_local());
            let mut in_order: Vec<_> = others.map(|(vid, row)| (row_lock(pointing.child, *vid, row), *vid)).collect();
            in_order.sort_unstable();
            for (key, vid) in in_order {
                let locked = self.transaction()?.lock_version(pointing.child, vid, key, LockMode::Ending).await?;
                changed |= locked == Locked::Changed;
            }
            if !changed {
                return Ok(rows);
            }
        }
        Err(kept_changing())
    }

    /// The latest rows of the child that point to `gone` keys, with this transaction's own; about `rows_max` of them.
    ///
    /// # Errors
    /// `53200` where they are more than a statement may hold.
    pub(crate) async fn find_pointing(
        &mut self,
        pointing: &Pointing<'_>,
        gone: &Gone,
        rows_max: usize,
    ) -> SqlResult<Vec<(Vid, Row)>> {
        let Pointing { child, key, .. } = pointing;
        let places = places(&child.table, &key.columns)?;
        let engine = self.engine.clone();
        // What becomes of them is held beside them.
        let mut room = Room { bytes: self.statement_bytes_max() / 4, rows: rows_max };
        let transaction = self.transaction()?;
        let catalog = transaction.catalog(&engine);
        let staged = transaction.staging.as_ref().filter(|s| s.has_rows_of(child.table.oid)).map(|s| s.id);
        let mut found = Vec::new();
        if let Some(own) = transaction.writes.table(child.table.storage) {
            for (place, row) in own.inserted.iter().enumerate() {
                let Some(row) = row else { continue };
                if referenced_key(pointing, &pick(row, &places)).is_some_and(|bytes| gone.contains_key(&bytes)) {
                    if !room.take(row)? {
                        return Ok(found);
                    }
                    found.push((Vid(Vid::LOCAL_FIRST.0 + place as u64), row.clone()));
                }
            }
        }
        let Some(store) = &child.store else { return Ok(found) };
        let same_types = pointing.types()?.iter().all(|(from, to)| from == to);
        let index = catalog.indexes_of(&child.table).find(|index| {
            let width = key.columns.len();
            index.columns.len() >= width
                && index.columns.iter().take(width).all(|n| key.columns.contains(n))
                && store.index_ready(index.oid)
        });
        let ended = transaction.writes.table(child.table.storage).map(|own| own.ended.keys().copied().collect());
        let mut search =
            Search { store: store.clone(), table: child.table.clone(), ended: ended.unwrap_or_default(), room };
        let rows = match index {
            Some(index) if same_types && staged.is_none() && gone.len() <= LOOKUPS_MAX => {
                let mut prefixes = Vec::with_capacity(gone.len());
                for (values, _) in gone.values() {
                    let mut prefix = Vec::new();
                    for number in index.columns.iter().take(key.columns.len()) {
                        let at = key.columns.iter().position(|n| n == number);
                        key::encode_value(at.and_then(|at| values.get(at)).unwrap_or(&Value::Null), &mut prefix);
                    }
                    prefixes.push(prefix);
                }
                let index = index.oid;
                let few = match prefixes.len() {
                    0..=LOOKUPS_AT_ONCE_MAX => search.few(index, &prefixes)?,
                    _ => None,
                };
                match few {
                    Some(vids) => search.rows(vids)?,
                    None => blocking(move || search.by_index(index, &prefixes)).await?,
                }
            }
            _ => {
                let keys: FxHashSet<Vec<u8>> = gone.keys().cloned().collect();
                let (columns, types) = (key.columns.clone(), pointing.types()?);
                blocking(move || search.by_scan(&columns, &types, &keys, staged)).await?
            }
        };
        found.extend(rows);
        Ok(found)
    }

    pub(crate) fn violation(&self, table: &Table, key: &ForeignKey) -> SqlError {
        let schema = crate::rows::schema_name(&self.planning_catalog(), table);
        SqlError::new(
            SqlState::ForeignKeyViolation,
            format!("insert or update on table \"{}\" violates foreign key constraint \"{}\"", table.name, key.name),
        )
        .table(&schema, &table.name)
        .constraint(&key.name)
    }

    pub(crate) fn not_present(&self, table: &Table, key: &ForeignKey, values: &[Value], parent: &Table) -> SqlError {
        let (names, texts) = described(table, &key.columns, values);
        self.violation(table, key)
            .detail(format!("Key ({names})=({texts}) is not present in table \"{}\".", parent.name))
    }

    fn still_referenced(&self, pointing: &Pointing<'_>, values: &[Value]) -> SqlError {
        let Pointing { child, key, parent } = pointing;
        let values: Vec<Value> = pointing.as_parent(values).unwrap_or_else(|| values.to_vec());
        let (names, texts) = described(parent, &key.referenced, &values);
        let catalog = self.planning_catalog();
        let (mut child, mut key) = (&child.table, *key);
        // A key of a partition is its parent's.
        while let Some(parent) = child.parents.first().and_then(|parent| catalog.table(*parent))
            && let Some(above) = parent.foreign_keys.iter().find(|above| key.parent == Some(above.oid))
        {
            (child, key) = (parent, above);
        }
        let schema = crate::rows::schema_name(&catalog, child);
        SqlError::new(
            SqlState::ForeignKeyViolation,
            format!(
                "update or delete on table \"{}\" violates foreign key constraint \"{}\" on table \"{}\"",
                parent.name, key.name, child.name
            ),
        )
        .detail(format!("Key ({names})=({texts}) is still referenced from table \"{}\".", child.name))
        .table(&schema, &child.name)
        .constraint(&key.name)
    }
}

impl Transaction {
    /// Takes a share of the row that `values` of `table` point to. Whether it is there.
    pub(crate) async fn lock_referenced(
        &mut self,
        parent: &Target,
        table: &Table,
        key: &ForeignKey,
        values: &[Value],
    ) -> SqlResult<bool> {
        let unique = parent.unique_of(key)?;
        let types = types(table, key, &parent.table)?;
        let Some(values) = cast_all(values, types.iter().map(|(from, to)| (from, to))) else { return Ok(false) };
        let bytes = index_key(&parent.table, key, unique, &values)?;
        let storage_oid = parent.table.storage;
        if self.writes.find(storage_oid, unique.index.oid, &bytes).is_some() {
            return Ok(true);
        }
        let Some(store) = parent.store.clone() else { return Ok(false) };
        let staged = self.staging.as_ref().map(|s| s.id);
        loop {
            // What is not there yet is not waited for, as in PostgreSQL.
            let found = store.get_with_staged(unique.index.oid, &bytes, LATEST, staged).map_err(storage)?;
            let Some(vid) = found.filter(|vid| !self.writes.has_ended(storage_oid, *vid)) else { return Ok(false) };
            let lock = if Some(unique.index.oid) == parent.table.primary_key {
                LockKey::Key(unique.index.oid, bytes.clone().into())
            } else {
                let Some(row) = store.row_as(vid, &parent.table).map_err(storage)? else { continue };
                row_lock(parent, vid, &row)
            };
            let of = Some(parent.table.oid);
            let acquired = self.lock(lock, LockMode::KeyShare, of, parent.wait, &parent.cancel).await?;
            if acquired == Acquired::AtOnce && store.ended(vid).is_none() {
                return Ok(true);
            }
            if store.get_with_staged(unique.index.oid, &bytes, LATEST, staged).map_err(storage)? == Some(vid) {
                return Ok(true);
            }
        }
    }
}

impl Target {
    /// Whether its rows point to others.
    pub(crate) fn points(&self) -> bool {
        !self.table.foreign_keys.is_empty()
    }

    fn unique_of(&self, key: &ForeignKey) -> SqlResult<&UniqueKey> {
        let found = self.unique.0.iter().find(|unique| unique.index.oid == key.index);
        found.ok_or_else(|| SqlError::internal("the index of a foreign key is gone"))
    }
}

impl Pointing<'_> {
    /// Types of the columns of the child and of those that they point to.
    fn types(&self) -> SqlResult<Vec<(SqlType, SqlType)>> {
        types(&self.child.table, self.key, self.parent)
    }

    /// A key of the parent as the child's columns hold it.
    fn as_child(&self, values: Row) -> SqlResult<Row> {
        let types = self.types()?;
        values
            .into_iter()
            .zip(&types)
            .map(|(value, (child, parent))| evaluate::cast(value, parent, child, false, OutputSettings::DEFAULT))
            .collect()
    }

    fn as_parent(&self, values: &[Value]) -> Option<Row> {
        let types = self.types().ok()?;
        cast_all(values, types.iter().map(|(from, to)| (from, to)))
    }
}

/// The key of the parent that the child's `values` point to; `None` where they point to nothing.
pub(crate) fn referenced_key(pointing: &Pointing<'_>, values: &[Value]) -> Option<Vec<u8>> {
    if values.iter().any(Value::is_null) {
        return None;
    }
    let mut bytes = Vec::new();
    key::encode(&pointing.as_parent(values)?, &mut bytes);
    Some(bytes)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> SqlResult<T> + Send + 'static) -> SqlResult<T> {
    tokio::task::spawn_blocking(work).await.map_err(SqlError::internal)?
}

/// The values as other types hold them; `None` where one has no such value.
pub(crate) fn cast_all<'a>(values: &[Value], types: impl Iterator<Item = (&'a SqlType, &'a SqlType)>) -> Option<Row> {
    let cast = |(value, (from, to)): (&Value, (&SqlType, &SqlType))| {
        if from == to {
            return Some(value.clone());
        }
        evaluate::cast(value.clone(), from, to, false, OutputSettings::DEFAULT).ok()
    };
    values.iter().zip(types).map(cast).collect()
}

fn types(child: &Table, key: &ForeignKey, parent: &Table) -> SqlResult<Vec<(SqlType, SqlType)>> {
    let of = |table: &Table, columns: &[u16]| -> SqlResult<Vec<SqlType>> {
        Ok(places(table, columns)?.into_iter().filter_map(|p| Some(table.columns.get(p)?.ty.clone())).collect())
    };
    Ok(of(child, &key.columns)?.into_iter().zip(of(parent, &key.referenced)?).collect())
}

/// Keys that rows have had and have no more: of deleted rows, and of updated ones with their new keys.
fn gone_keys(table: &Table, key: &ForeignKey, changes: &[RowChange]) -> SqlResult<(Gone, Gone)> {
    let places = places(table, &key.referenced)?;
    let (mut deleted, mut updated) = (Gone::default(), Gone::default());
    for change in changes {
        let Some(old) = &change.old else { continue };
        let values = pick(old, &places);
        let new = change.new.as_ref().map(|new| pick(new, &places));
        if values.iter().any(Value::is_null) || new.as_ref() == Some(&values) {
            continue;
        }
        let mut bytes = Vec::new();
        key::encode(&values, &mut bytes);
        match new {
            None => deleted.insert(bytes, (values, None)),
            Some(new) => updated.insert(bytes, (values, Some(new))),
        };
    }
    Ok((deleted, updated))
}

/// The key in a unique index of values in the order of `key.referenced`.
fn index_key(table: &Table, key: &ForeignKey, unique: &UniqueKey, values: &[Value]) -> SqlResult<Vec<u8>> {
    let mut bytes = Vec::with_capacity(16);
    for position in &unique.positions {
        let number = table.columns.get(*position).map(|c| c.number);
        let at = key.referenced.iter().position(|n| Some(*n) == number);
        let value = at.and_then(|at| values.get(at));
        key::encode_value(value.ok_or_else(|| SqlError::internal("a foreign key without its index"))?, &mut bytes);
    }
    Ok(bytes)
}

pub(crate) fn places(table: &Table, columns: &[u16]) -> SqlResult<Vec<usize>> {
    let places = columns.iter().map(|number| table.number_position(*number)).collect::<Option<_>>();
    places.ok_or_else(|| SqlError::internal("a column of a foreign key is gone"))
}

pub(crate) fn pick(row: &[Value], places: &[usize]) -> Row {
    places.iter().map(|place| row.get(*place).cloned().unwrap_or(Value::Null)).collect()
}

fn described(table: &Table, columns: &[u16], values: &[Value]) -> (String, String) {
    let settings = OutputSettings::default();
    let (mut names, mut texts) = (Vec::new(), Vec::new());
    for (number, value) in columns.iter().zip(values) {
        if let Some(column) = table.columns.iter().find(|c| c.number == *number) {
            names.push(column.name.clone());
            texts.push(perigee_types::text::format(value, &column.ty, &settings));
        }
    }
    (names.join(", "), texts.join(", "))
}

fn kept_changing() -> SqlError {
    SqlError::new(SqlState::SerializationFailure, "could not serialize access: referencing rows kept changing")
}

/// What MATCH FULL says of a key that is NULL in part.
pub(crate) fn mixed_nulls(violation: SqlError) -> SqlError {
    violation.detail("MATCH FULL does not allow mixing of null and nonnull key values.")
}
