//! Writes to the tables of schema `redis`: rows become commands in the transaction's draft.
//!
//! ```text
//! rows of a query --> commands, run over copies of their keys --> Draft --- COMMIT ---> Transaction { companion }
//! ```
//!
//! Keys have no locks. The entry carries the versions that the transaction has seen; apply compares them and rejects the
//! whole transaction, rows of tables too, where one differs: `40001`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use perigee_keyspace::{Draft, DraftError, Reading};
use perigee_plan::command::Isolation;
use perigee_plan::relational::{ConflictAction, OnConflict, Write, WriteKind};
use perigee_plan::{Prepared, Query};
use perigee_query::exec::{KeysView, ReadView};
use perigee_query::keyspace::{Arguments, Deleted, KeyTable, draft_error, scans_of};
use perigee_storage::arrow_value::batch_to_rows;
use perigee_types::catalog::WRITE_ALL_DATA;
use perigee_types::{Oid, Row, SqlError, SqlResult, SqlState, Value};

use crate::api::{CommandTag, Outcome, RowBlock, RowStream};
use crate::commit::check_values;
use crate::identity::denied;
use crate::session::Session;
use crate::write::Returned;

/// A key that a transaction depends on was changed by somebody else.
pub(crate) fn changed() -> SqlError {
    draft_error(DraftError::Changed)
}

/// A statement that writes rows of schema `redis`.
struct KeyWrite<'a> {
    table: KeyTable,
    write: &'a Write,
    draft: Arc<Draft>,
    now: i64,
    returned: Vec<Returned>,
    count: u64,
}

/// A row as what it is: its database, and the columns of its identity.
type Identity = Vec<String>;

impl Session {
    /// The keys of the open transaction; `None` on a node without a keyspace.
    pub(crate) fn draft(&mut self) -> SqlResult<Option<Arc<Draft>>> {
        let Some(keyspace) = self.engine.keyspace.clone() else { return Ok(None) };
        let tenant = Oid(self.tenant.0);
        let transaction = self.transaction()?;
        Ok(Some(transaction.keys.get_or_insert_with(|| Draft::new(keyspace, tenant)).clone()))
    }

    /// Keys as a query of the open transaction sees them.
    pub(crate) fn keys_view(&mut self) -> SqlResult<Option<KeysView>> {
        let Some(draft) = self.draft()? else { return Ok(None) };
        let shared = self.shared_implicit;
        let transaction = self.transaction()?;
        let reading = match transaction.isolation {
            // A statement that is all of its transaction has nothing to come back to.
            _ if !transaction.explicit && !shared => Reading::Free,
            Isolation::ReadCommitted => Reading::Noted,
            Isolation::RepeatableRead | Isolation::Serializable => Reading::Repeatable,
        };
        Ok(Some(KeysView { draft, reading }))
    }

    /// What a statement that writes reads: it depends on the keys among it. `of_keys`: it changes rows of one table of
    /// keys, those that its query finds.
    pub(crate) fn view_to_write(&mut self, source: &Query, of_keys: bool) -> SqlResult<Arc<ReadView>> {
        let view = self.view()?;
        let scans = scans_of(&source.logical);
        if scans == 0 {
            return Ok(view);
        }
        let reading = match self.transaction()?.isolation {
            Isolation::RepeatableRead | Isolation::Serializable => Reading::Repeatable,
            // Those that it changes are compared when they are changed.
            Isolation::ReadCommitted if of_keys && scans == 1 => Reading::Found,
            Isolation::ReadCommitted => Reading::Watched,
        };
        Ok(view.reading(reading))
    }

    /// INSERT, UPDATE and DELETE of rows of schema `redis`.
    pub(crate) async fn run_key_write(
        &mut self,
        prepared: &Prepared,
        write: &Write,
        table: KeyTable,
        parameters: &[Value],
    ) -> SqlResult<Outcome> {
        let rights = self.identity(&self.planning_catalog());
        if !rights.rights.is_superuser() && !rights.rights.is(WRITE_ALL_DATA) {
            return Err(denied(format!("permission denied for table {}", table.name())));
        }
        self.transaction()?.check_writable(prepared.tag)?;
        self.settle_staged().await?;
        let engine = self.engine.clone();
        self.transaction()?.begin_statement(&engine);
        let draft = self.draft()?.ok_or_else(|| SqlError::unsupported("keys on a node without a keyspace"))?;
        let finds = matches!(write.kind, WriteKind::Update { .. } | WriteKind::Delete);
        let view = self.view_to_write(&write.source, finds)?;
        let now = draft.keyspace().now_ms();
        let mut run = KeyWrite { table, write, draft, now, returned: Vec::new(), count: 0 };
        match &write.kind {
            WriteKind::Insert { on_conflict } => {
                self.insert_keys(&mut run, on_conflict.as_ref(), parameters, &view).await?;
            }
            WriteKind::Update { assigned } => self.update_keys(&mut run, assigned, parameters, &view).await?,
            WriteKind::Delete => self.delete_keys(&mut run, parameters, &view).await?,
            WriteKind::Merge { .. } => return Err(table.unsupported("MERGE into")),
        }
        let KeyWrite { returned, count, .. } = run;
        if write.returning.is_none() {
            return Ok(Outcome::Command(CommandTag { name: prepared.tag, rows: Some(count) }));
        }
        let batches = self.returned(&write.table, write, returned, parameters, view).await?;
        let columns = prepared.columns.clone().unwrap_or_else(|| Vec::new().into());
        let stream = futures::stream::iter(batches.into_iter().map(|batch| Ok(RowBlock::Batch(batch))));
        Ok(Outcome::Rows(columns, RowStream::stream(prepared.tag, Box::pin(stream))))
    }

    async fn insert_keys(
        &mut self,
        run: &mut KeyWrite<'_>,
        on_conflict: Option<&OnConflict>,
        parameters: &[Value],
        view: &Arc<ReadView>,
    ) -> SqlResult<()> {
        let table = run.table;
        if !table.inserts() {
            return Err(table.unsupported("INSERT into"));
        }
        let mut written: BTreeSet<Identity> = BTreeSet::new();
        let mut stream = self.engine.query.run(&run.write.source, parameters, view.clone());
        let mut bytes = 0;
        while let Some(batch) = stream.next().await {
            for mut row in batch_to_rows(&batch?) {
                check_values(&run.write.table, "redis", &row)?;
                table.settle(&mut row);
                let found = run.find(&row)?;
                let identity = run.identity(&row);
                let row = match (found, on_conflict) {
                    (None, _) => {
                        run.insert(&row)?;
                        row
                    }
                    (Some(_), None) => return Err(table.duplicate(&row)),
                    (Some(old), Some(on)) => {
                        let ConflictAction::Update { assigned, values } = &on.action else { continue };
                        if written.contains(&identity) {
                            return Err(SqlError::new(
                                SqlState::CardinalityViolation,
                                "ON CONFLICT DO UPDATE command cannot affect row a second time",
                            ));
                        }
                        let both = (old.clone(), row);
                        let values =
                            self.conflict_values(&run.write.table, values, both, parameters, Some(view)).await?;
                        let Some(values) = values else { continue };
                        let new = run.assigned(&old, assigned, values)?;
                        run.update(&old, &new)?;
                        new
                    }
                };
                written.insert(identity);
                run.count += 1;
                if run.write.returning.is_some() {
                    bytes += row.iter().map(Value::size_bytes).sum::<usize>();
                    self.check_transaction_memory(bytes)?;
                    run.returned.push((run.write.table.oid, row));
                }
            }
        }
        Ok(())
    }

    /// The rows that a query finds, each once: as they are, what is assigned, and columns of other tables.
    async fn found_keys(
        &mut self,
        run: &KeyWrite<'_>,
        assigned: usize,
        parameters: &[Value],
        view: &Arc<ReadView>,
    ) -> SqlResult<Vec<(Row, Row, Row)>> {
        let width = run.write.table.columns.len();
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        let mut bytes = 0;
        let mut stream = self.engine.query.run(&run.write.source, parameters, view.clone());
        while let Some(batch) = stream.next().await {
            for mut row in batch_to_rows(&batch?) {
                bytes += row.iter().map(Value::size_bytes).sum::<usize>();
                self.check_transaction_memory(bytes)?;
                let mut values = row.split_off(width.min(row.len()));
                let others = values.split_off(assigned.min(values.len()));
                // FROM and USING may meet a row more than once: the first match counts.
                if seen.insert(run.identity(&row)) {
                    found.push((row, values, others));
                }
            }
        }
        Ok(found)
    }

    async fn update_keys(
        &mut self,
        run: &mut KeyWrite<'_>,
        assigned: &[usize],
        parameters: &[Value],
        view: &Arc<ReadView>,
    ) -> SqlResult<()> {
        let table = run.table;
        if let Some(place) = assigned.iter().find(|place| !table.updates(**place)) {
            let name = run.write.table.columns.get(*place).map_or("", |column| &column.name);
            return Err(table.unsupported(&format!("UPDATE of column \"{name}\" of")));
        }
        for (old, values, others) in self.found_keys(run, assigned.len(), parameters, view).await? {
            let new = run.assigned(&old, assigned, values)?;
            run.update(&old, &new)?;
            run.count += 1;
            if run.write.returning.is_some() {
                run.returned.push((run.write.table.oid, new.into_iter().chain(others).collect()));
            }
        }
        Ok(())
    }

    async fn delete_keys(
        &mut self,
        run: &mut KeyWrite<'_>,
        parameters: &[Value],
        view: &Arc<ReadView>,
    ) -> SqlResult<()> {
        let table = run.table;
        if !table.deletes() {
            return Err(table.unsupported("DELETE from"));
        }
        let mut by_key: BTreeMap<(u32, Vec<u8>), Vec<Row>> = BTreeMap::new();
        for (old, _, others) in self.found_keys(run, 0, parameters, view).await? {
            run.count += 1;
            if run.write.returning.is_some() {
                run.returned.push((run.write.table.oid, old.iter().cloned().chain(others).collect()));
            }
            by_key.entry(table.key_of(&old)?).or_default().push(old);
        }
        for ((number, key), rows) in by_key {
            run.delete(number, &key, &rows)?;
        }
        Ok(())
    }
}

impl KeyWrite<'_> {
    fn identity(&self, row: &[Value]) -> Identity {
        std::iter::once(&0).chain(self.table.identity()).map(|at| format!("{:?}", row.get(*at))).collect()
    }

    /// What the key of a row holds.
    fn held(&self, row: &[Value]) -> SqlResult<Option<perigee_keyspace::scan::ScannedKey>> {
        let (number, key) = self.table.key_of(row)?;
        self.draft.get(number, &key).map_err(draft_error)
    }

    /// The row that is there with the identity of this one.
    fn find(&self, row: &[Value]) -> SqlResult<Option<Row>> {
        self.table.find(self.held(row)?.as_ref(), row, self.now)
    }

    fn run(&self, number: u32, commands: Vec<Arguments>) -> SqlResult<()> {
        commands.into_iter().try_for_each(|command| self.draft.run(number, command).map(drop).map_err(draft_error))
    }

    fn insert(&self, row: &[Value]) -> SqlResult<()> {
        let (number, _) = self.table.key_of(row)?;
        let length = match self.held(row)?.map(|held| held.value) {
            Some(perigee_keyspace::object::Value::List(list)) => list.len(),
            _ => 0,
        };
        self.run(number, self.table.insert(row, length)?)
    }

    fn assigned(&self, old: &Row, places: &[usize], values: Row) -> SqlResult<Row> {
        let mut new = old.clone();
        for (place, value) in places.iter().zip(values) {
            let slot = new.get_mut(*place).ok_or_else(|| SqlError::internal("assignment past the row"))?;
            *slot = value;
        }
        check_values(&self.write.table, "redis", &new)?;
        self.table.settle(&mut new);
        Ok(new)
    }

    fn update(&self, old: &[Value], new: &[Value]) -> SqlResult<()> {
        let (number, key) = self.table.key_of(old)?;
        if !self.table.moves(old, new) {
            let Some(held) = self.held(old)? else { return Err(changed()) };
            return self.run(number, self.table.update(old, new, &held)?);
        }
        if self.find(new)?.is_some() {
            return Err(self.table.duplicate(new));
        }
        if self.table != KeyTable::Keys {
            self.delete(number, &key, &[old.to_vec()])?;
            return self.insert(new);
        }
        if old.first() != new.first() {
            return Err(self.table.unsupported("UPDATE of column \"db\" of"));
        }
        self.run(number, vec![self.table.rename(old, new)?])?;
        let renamed: Row =
            old.iter().take(1).chain(new.iter().skip(1).take(1)).chain(old.iter().skip(2)).cloned().collect();
        self.update(&renamed, new)
    }

    /// Deletes rows of one key.
    fn delete(&self, number: u32, key: &[u8], rows: &[Row]) -> SqlResult<()> {
        let Some(held) = self.draft.get(number, key).map_err(draft_error)? else { return Err(changed()) };
        let commands = self.table.delete(&Deleted { rows, held: &held, mark: rand::random() })?;
        // The copy is changed in place when nobody else has it.
        drop(held);
        self.run(number, commands)
    }
}
