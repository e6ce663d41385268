//! INSERT … ON CONFLICT: a row whose key is taken is left out, or the row that has the key is updated.
//!
//! DO UPDATE locks the key before it looks it up, so of two sessions that insert one key the second waits for the first,
//! and sees the row that it left. DO NOTHING looks first: a row that is there is not kept from others.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use perigee_plan::command::Isolation;
use perigee_plan::relational::{ConflictAction, ConflictValues, OnConflict};
use perigee_query::exec::ReadView;
use perigee_storage::arrow_value::{batch_to_rows, rows_to_batch};
use perigee_storage::table::LATEST;
use perigee_types::catalog::{Deferral, Table};
use perigee_types::{IndexId, Row, SqlError, SqlResult, SqlState, Value, Vid};

use crate::commit::check_values;
use crate::error::storage;
use crate::family::{Family, Member};
use crate::foreign::RowChange;
use crate::locks::LockKey;
use crate::rows::{Target, concurrent_update, row_lock};
use crate::session::Session;
use crate::transaction::Transaction;
use crate::write_set::UniqueKey;

impl Transaction {
    /// The row that has a key of `row` by now. Whoever is about to take it away is waited for.
    async fn look_for_key(&mut self, target: &Target, unique: &UniqueKey, row: &Row) -> SqlResult<Option<Vid>> {
        let Some(key) = unique.of_row(row) else { return Ok(None) };
        if let Some(reads) = &mut self.reads {
            reads.read_key(target.table.oid, unique.index.oid, &key);
        }
        let storage_oid = target.table.storage;
        if let Some((vid, _)) = self.writes.find(storage_oid, unique.index.oid, &key) {
            return Ok(Some(vid));
        }
        let Some(store) = &target.store else { return Ok(None) };
        let staged = self.staged();
        loop {
            let found = store.get_with_staged(unique.index.oid, &key, LATEST, staged).map_err(storage)?;
            let Some(vid) = found.filter(|vid| !self.writes.has_ended(storage_oid, *vid)) else { return Ok(None) };
            let lock = if Some(unique.index.oid) == target.table.primary_key {
                LockKey::Key(unique.index.oid, key.clone().into())
            } else {
                // What is gone meanwhile is looked for again.
                let Some(row) = store.row_as(vid, &target.table).map_err(storage)? else { continue };
                row_lock(target, vid, &row)
            };
            self.look(&lock, target.wait, &target.cancel).await?;
            if store.ended(vid).is_none() {
                return Ok(Some(vid));
            }
        }
    }
}

impl Session {
    /// Appends a row to a member of the family, or does what `on` says. Gives the row that was written, and whether it was
    /// there before.
    ///
    /// # Errors
    /// `21000` for a row that the statement has written already, `40001` in REPEATABLE READ for one that the snapshot does
    /// not show, and what [`crate::transaction::Transaction::insert_row`] gives.
    pub(crate) async fn insert_or_update(
        &mut self,
        family: &Family,
        member: &Member,
        on: &OnConflict,
        row: Row,
        parameters: &[Value],
        view: Option<&Arc<ReadView>>,
    ) -> SqlResult<Option<(Row, bool)>> {
        let target = &member.target;
        check_values(&target.table, &target.schema, &row)?;
        let mut free = Vec::new();
        let Some((vid, old)) = self.find_conflict(family, member, on, &row, &mut free).await? else {
            self.transaction()?.insert_checked_row(target, row.clone(), &free).await?;
            if target.points() {
                self.uphold(target, vec![RowChange::written(&row)]).await?;
            }
            return Ok(Some((row, false)));
        };
        let ConflictAction::Update { assigned, values } = &on.action else { return Ok(None) };
        if vid.is_local() && vid >= member.own_first {
            return Err(SqlError::new(
                SqlState::CardinalityViolation,
                "ON CONFLICT DO UPDATE command cannot affect row a second time",
            )
            .hint(
                "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
            ));
        }
        // The clause is planned over the root's columns.
        let both = (member.to_root(&old), member.to_root(&row));
        let Some(values) = self.conflict_values(&family.root, values, both, parameters, view).await? else {
            return Ok(None);
        };
        let mut new = old.clone();
        for (place, value) in assigned.iter().zip(values) {
            let slot = member.place(*place).and_then(|place| new.get_mut(place));
            *slot.ok_or_else(|| SqlError::internal("assignment past the row"))? = value;
        }
        self.generate(target, std::slice::from_mut(&mut new)).await?;
        self.check_rows(target, std::slice::from_ref(&new)).await?;
        if target.table.oid == family.root.oid {
            self.check_bounds(&target.table, std::slice::from_ref(&new)).await?;
        } else if self.find_outside(&target.table, std::slice::from_ref(&new)).await?.is_some() {
            return Err(SqlError::new(SqlState::FeatureNotSupported, "invalid ON UPDATE specification")
                .detail("The result tuple would appear in a different partition than the original tuple."));
        }
        let change = RowChange { old: Some(old.clone()), new: Some(new.clone()) };
        self.transaction()?.replace_rows(target, vec![(vid, old, new.clone())]).await?;
        self.uphold(target, vec![change]).await?;
        Ok(Some((new, true)))
    }

    /// The row that has a key of `row`: for DO UPDATE locked at its latest version. DO NOTHING leaves it to others, and
    /// locks a key only to make a row with it. Indexes whose key nobody has, and nobody else can take any more, go to `free`.
    async fn find_conflict(
        &mut self,
        family: &Family,
        member: &Member,
        on: &OnConflict,
        row: &Row,
        free: &mut Vec<IndexId>,
    ) -> SqlResult<Option<(Vid, Row)>> {
        let engine = self.engine.clone();
        let target = &member.target;
        let below = |index: &IndexId| family.catalog.index_below(&target.table, *index);
        let arbiters: Vec<_> = on.arbiters.iter().filter_map(below).collect();
        let mode = match &on.action {
            ConflictAction::Nothing => None,
            ConflictAction::Update { assigned, .. } => {
                Some(target.write_mode(assigned.iter().filter_map(|place| member.place(*place))))
            }
        };
        let transaction = self.transaction()?;
        for unique in target.unique.0.iter() {
            if !on.arbiters.is_empty() && !arbiters.contains(&unique.index.oid) {
                continue;
            }
            let found = match mode {
                Some(mode) => {
                    let Some(key) = transaction.lock_key(target, unique, row).await? else { continue };
                    transaction.find_and_lock(&engine, target, unique, &key, mode).await?
                }
                None => {
                    // Who makes the key has its lock until that is applied: where nothing was, the second look finds what the
                    // first has found.
                    let before = engine.store.applied();
                    let mut found = transaction.look_for_key(target, unique, row).await?;
                    if found.is_none() {
                        transaction.lock_key(target, unique, row).await?;
                        if engine.store.applied() != before {
                            found = transaction.look_for_key(target, unique, row).await?;
                        }
                    }
                    found.map(|vid| (vid, Row::new()))
                }
            };
            let Some((vid, old)) = found else {
                if unique.index.definition.deferral == Deferral::Never {
                    free.push(unique.index.oid);
                }
                continue;
            };
            if transaction.isolation != Isolation::ReadCommitted && !vid.is_local() {
                let at = transaction.snapshot(&engine).index;
                let staged = transaction.staging.as_ref().is_some_and(|s| s.has_rows_of(target.table.oid));
                let seen = staged || target.store.as_ref().is_some_and(|store| store.is_visible(vid, at));
                if !seen {
                    return Err(concurrent_update());
                }
            }
            return Ok(Some((vid, old)));
        }
        Ok(None)
    }

    /// The new values of DO UPDATE; `None` where its WHERE does not hold.
    pub(crate) async fn conflict_values(
        &mut self,
        table: &Table,
        values: &ConflictValues,
        (mut both, excluded): (Row, Row),
        parameters: &[Value],
        view: Option<&Arc<ReadView>>,
    ) -> SqlResult<Option<Row>> {
        both.extend(excluded);
        match values {
            ConflictValues::Row { values, filter } => {
                if let Some(filter) = filter
                    && self.evaluate(filter, &both, parameters)? != Value::Bool(true)
                {
                    return Ok(None);
                }
                Ok(Some(self.evaluate_all(values, &both, parameters)?))
            }
            ConflictValues::Rows(plan) => {
                let columns = table.columns.iter();
                let fields: Vec<_> =
                    columns.clone().chain(columns).map(|c| (c.number, &c.ty, c.name.as_str())).collect();
                let batch = rows_to_batch(&fields, &[both]).map_err(SqlError::internal)?;
                // Queries in the clause see what the statement's own query sees.
                let view = match view {
                    Some(view) => view.clone(),
                    None => self.view()?,
                };
                let batches = self.engine.query.evaluate(plan, batch, parameters, view).await?;
                let Some(batch) = batches.into_iter().find(|batch| batch.num_rows() > 0) else { return Ok(None) };
                let holds = batch.columns().last().and_then(|array| array.as_boolean_opt());
                let holds = holds.ok_or_else(|| SqlError::internal("WHERE of DO UPDATE is not boolean"))?;
                if !holds.is_valid(0) || !holds.value(0) {
                    return Ok(None);
                }
                let mut row = batch_to_rows(&batch.slice(0, 1)).pop().unwrap_or_default();
                row.pop();
                Ok(Some(row))
            }
        }
    }
}
