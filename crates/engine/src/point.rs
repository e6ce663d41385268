//! Reads and writes of one row by key: straight on storage, without DataFusion.

use perigee_plan::command::Isolation;
use perigee_plan::evaluate::EvaluationContext;
use perigee_plan::point::{KeyLookup, Point};
use perigee_plan::{Expr, Prepared};
use perigee_storage::table::LATEST;
use perigee_types::{Row, SqlError, SqlResult, Value, key};

use crate::api::{CommandTag, Outcome, RowBlock, RowStream};
use crate::error::storage;
use crate::foreign::RowChange;
use crate::locks::LockMode;
use crate::rows::Target;
use crate::session::Session;
use crate::transaction::Transaction;
use crate::write_set::UniqueKey;

impl Session {
    pub(crate) async fn run_point(
        &mut self,
        prepared: &Prepared,
        point: &Point,
        parameters: &[Value],
    ) -> SqlResult<Outcome> {
        match point {
            Point::Select { lookup, output, for_update: false } => {
                let row = self.read_by_key(lookup, parameters)?;
                let rows = match row {
                    Some(row) => vec![self.evaluate_all(output, &row, parameters)?],
                    None => Vec::new(),
                };
                Ok(rows_outcome(prepared, rows))
            }
            Point::Select { lookup, output, for_update: true } => {
                let target = self.target(&lookup.table, "SELECT FOR UPDATE").await?;
                let found = self.find_for_write(&target, lookup, LockMode::Exclusive, parameters).await?;
                let rows = match found {
                    Some((_, row)) => vec![self.evaluate_all(output, &row, parameters)?],
                    None => Vec::new(),
                };
                Ok(rows_outcome(prepared, rows))
            }
            Point::Insert { table, rows, on_conflict, returning } => {
                let mut family = self.family(table, "INSERT").await?;
                let engine = self.engine.clone();
                self.transaction()?.begin_statement_for_write(&engine);
                let mut returned = Vec::new();
                let mut changes = Vec::new();
                let mut count = 0;
                for row in rows {
                    let row = self.evaluate_all(row, &[], parameters)?;
                    let (oid, mut row) = self.place_one(&mut family, row).await?;
                    let member = family.member(oid)?;
                    let target = &member.target;
                    self.generate(target, std::slice::from_mut(&mut row)).await?;
                    self.check_rows(target, std::slice::from_ref(&row)).await?;
                    if target.table.is_partition() && oid == family.root.oid {
                        self.check_bounds(&target.table, std::slice::from_ref(&row)).await?;
                    }
                    if let Some(on) = on_conflict {
                        match self.insert_or_update(&family, member, on, row, parameters, None).await? {
                            Some((written, _)) => row = written,
                            None => continue,
                        }
                        if let Some(returning) = returning {
                            returned.push(self.evaluate_all(returning, &member.to_root(&row), parameters)?);
                        }
                        count += 1;
                        continue;
                    }
                    if let Some(returning) = returning {
                        returned.push(self.evaluate_all(returning, &member.to_root(&row), parameters)?);
                    }
                    if target.points() {
                        changes.push((oid, RowChange::written(&row)));
                    }
                    self.transaction()?.insert_row(target, row).await?;
                    count += 1;
                }
                // ON CONFLICT has upheld each row, and left what rows behind it may bring.
                if on_conflict.is_some() || !changes.is_empty() {
                    self.uphold_each(&family, changes).await?;
                }
                if self.buffers_much()? {
                    Box::pin(self.stage_written(&mut family)).await?;
                }
                Ok(self.written(prepared, count, returning.is_some().then_some(returned)))
            }
            Point::Update { lookup, assignments, returning } => {
                let mut target = self.target(&lookup.table, "UPDATE").await?;
                let mut returned = Vec::new();
                let mut count = 0;
                let mode = target.write_mode(assignments.iter().map(|(place, _)| *place));
                if let Some((vid, old)) = self.find_for_write(&target, lookup, mode, parameters).await? {
                    let mut new = old.clone();
                    for (position, expr) in assignments {
                        let value = self.evaluate(expr, &old, parameters)?;
                        *new.get_mut(*position).ok_or_else(|| SqlError::internal("assignment past the row"))? = value;
                    }
                    self.generate(&target, std::slice::from_mut(&mut new)).await?;
                    if let Some(returning) = returning {
                        returned.push(self.evaluate_all(returning, &new, parameters)?);
                    }
                    self.check_rows(&target, std::slice::from_ref(&new)).await?;
                    if target.table.is_partition() {
                        self.check_bounds(&target.table, std::slice::from_ref(&new)).await?;
                    }
                    let keyed = target.points() || target.referenced;
                    let change = keyed.then(|| RowChange { old: Some(old.clone()), new: Some(new.clone()) });
                    self.transaction()?.replace_rows(&target, vec![(vid, old, new)]).await?;
                    if let Some(change) = change {
                        self.uphold(&target, vec![change]).await?;
                        self.uphold_pending().await?;
                    }
                    if self.buffers_much()? {
                        Box::pin(self.stage_written_to(&mut target)).await?;
                    }
                    count = 1;
                }
                Ok(self.written(prepared, count, returning.is_some().then_some(returned)))
            }
            Point::Delete { lookup, returning } => {
                let target = self.target(&lookup.table, "DELETE").await?;
                let mut returned = Vec::new();
                let mut count = 0;
                if let Some((vid, old)) = self.find_for_write(&target, lookup, LockMode::Ending, parameters).await? {
                    if let Some(returning) = returning {
                        returned.push(self.evaluate_all(returning, &old, parameters)?);
                    }
                    self.transaction()?.writes.end(&target.table, &target.unique, vid, &old);
                    if target.referenced {
                        self.uphold(&target, vec![RowChange { old: Some(old), new: None }]).await?;
                        self.uphold_pending().await?;
                    }
                    count = 1;
                }
                Ok(self.written(prepared, count, returning.is_some().then_some(returned)))
            }
        }
    }

    /// The row that the statement's snapshot and the transaction's own writes show.
    fn read_by_key(&mut self, lookup: &KeyLookup, parameters: &[Value]) -> SqlResult<Option<Row>> {
        let Some(bytes) = self.key(&lookup.key, parameters)? else { return Ok(None) };
        let engine = self.engine.clone();
        let table = &lookup.table;
        if self.transaction.is_none() && self.default_isolation() != Isolation::ReadCommitted {
            // Statements behind it in the same pipeline read at its snapshot.
            self.transaction()?;
        }
        // A SELECT outside of a block needs no transaction: one snapshot, nothing to commit.
        let at = match &mut self.transaction {
            Some(transaction) => {
                if let Some(reads) = &mut transaction.reads {
                    reads.read_key(table.oid, lookup.index, &bytes);
                }
                if let Some((_, row)) = transaction.writes.find(table.storage, lookup.index, &bytes) {
                    let row = row.clone();
                    return self.filter(lookup, row, parameters);
                }
                match transaction.isolation {
                    Isolation::ReadCommitted => {
                        transaction.has_run = true;
                        LATEST
                    }
                    _ => transaction.begin_statement(&engine).index,
                }
            }
            None => LATEST,
        };
        let Some(store) = engine.store.table(table.storage) else { return Ok(None) };
        let staged = self.transaction.as_ref().and_then(Transaction::staged);
        // A version may be ended and dropped between the two steps; a newer one is there then.
        loop {
            let found = store.get_with_staged(lookup.index, &bytes, at, staged).map_err(storage)?;
            let Some(vid) = found else { return Ok(None) };
            if self.transaction.as_ref().is_some_and(|t| t.writes.has_ended(table.storage, vid)) {
                return Ok(None);
            }
            if let Some(row) = store.row_as(vid, table).map_err(storage)? {
                return self.filter(lookup, row, parameters);
            }
            if at != LATEST {
                return Err(SqlError::internal("a row version of an open snapshot is gone"));
            }
        }
    }

    fn filter(&self, lookup: &KeyLookup, row: Row, parameters: &[Value]) -> SqlResult<Option<Row>> {
        match &lookup.residual {
            Some(residual) if self.evaluate(residual, &row, parameters)? != Value::Bool(true) => Ok(None),
            _ => Ok(Some(row)),
        }
    }

    /// The row to write, locked, at its latest version.
    async fn find_for_write(
        &mut self,
        target: &Target,
        lookup: &KeyLookup,
        mode: LockMode,
        parameters: &[Value],
    ) -> SqlResult<Option<(perigee_types::Vid, Row)>> {
        let Some(bytes) = self.key(&lookup.key, parameters)? else { return Ok(None) };
        let unique: UniqueKey = target
            .unique
            .0
            .iter()
            .find(|u| u.index.oid == lookup.index)
            .cloned()
            .ok_or_else(|| SqlError::internal("the plan's index is gone"))?;
        let engine = self.engine.clone();
        let transaction = self.transaction()?;
        transaction.begin_statement_for_write(&engine);
        if let Some(reads) = &mut transaction.reads {
            reads.read_key(target.table.oid, lookup.index, &bytes);
        }
        let Some((vid, row)) = transaction.find_and_lock(&engine, target, &unique, &bytes, mode).await? else {
            return Ok(None);
        };
        // A row that is newer than the snapshot of REPEATABLE READ is not there for it.
        if transaction.isolation != Isolation::ReadCommitted
            && !vid.is_local()
            && let Some(store) = &target.store
        {
            let (at, staged) = (transaction.snapshot(&engine).index, transaction.staged());
            if store.get_with_staged(unique.index.oid, &bytes, at, staged).map_err(storage)? != Some(vid) {
                return Ok(None);
            }
        }
        Ok(self.filter(lookup, row, parameters)?.map(|row| (vid, row)))
    }

    /// The key's bytes; `None` with a NULL in it, which equals nothing.
    fn key(&self, exprs: &[Expr], parameters: &[Value]) -> SqlResult<Option<Vec<u8>>> {
        let mut bytes = Vec::with_capacity(16);
        for expr in exprs {
            // Parameters are the usual case and need no copy.
            let owned;
            let value = match expr {
                Expr::Parameter(n) => parameters.get(*n).ok_or_else(|| SqlError::internal("missing parameter"))?,
                other => {
                    owned = self.evaluate(other, &[], parameters)?;
                    &owned
                }
            };
            if value.is_null() {
                return Ok(None);
            }
            key::encode_value(value, &mut bytes);
        }
        Ok(Some(bytes))
    }

    pub(crate) fn evaluate(&self, expr: &Expr, row: &[Value], parameters: &[Value]) -> SqlResult<Value> {
        match expr {
            Expr::Column(n) => {
                return row.get(*n).cloned().ok_or_else(|| SqlError::internal("column past the row"));
            }
            Expr::Literal(value) => return Ok(value.clone()),
            Expr::Parameter(n) => {
                return parameters.get(*n).cloned().ok_or_else(|| SqlError::internal("missing parameter"));
            }
            _ => {}
        }
        let started = self.transaction.as_ref().map(|t| t.started_micros);
        let now = self.engine.now_micros();
        let settings = self.settings.output();
        expr.evaluate(
            row,
            parameters,
            &EvaluationContext {
                transaction_time: started.unwrap_or(now),
                statement_time: now,
                settings: &settings,
                next_value: &|sequence| self.services.next_value_of(sequence),
                random_uuid: &|| rand::random(),
            },
        )
    }

    pub(crate) fn evaluate_all(&self, exprs: &[Expr], row: &[Value], parameters: &[Value]) -> SqlResult<Row> {
        exprs.iter().map(|expr| self.evaluate(expr, row, parameters)).collect()
    }

    fn written(&self, prepared: &Prepared, count: u64, returned: Option<Vec<Row>>) -> Outcome {
        match returned {
            Some(rows) => rows_outcome(prepared, rows),
            None => Outcome::Command(CommandTag { name: prepared.tag, rows: Some(count) }),
        }
    }
}

fn rows_outcome(prepared: &Prepared, rows: Vec<Row>) -> Outcome {
    let columns = prepared.columns.clone().unwrap_or_else(|| Vec::new().into());
    Outcome::Rows(columns, RowStream::ready(prepared.tag, RowBlock::Values(rows)))
}
