//! A table whose rows are written anew: other types of columns, new columns whose values differ from row to row.
//!
//! As with TRUNCATE the table gets a new storage; the rows of the old are read as they are now, whichever snapshot the
//! transaction has, and written to it as any statement writes: staged where they are many, with their keys and
//! constraints. The old storage goes with the entry that commits.

use std::sync::Arc;

use perigee_plan::ddl::ColumnType;
use perigee_query::sql::RowExpression;
use perigee_types::catalog::{CatalogChange, ForeignKey, Object, Sequence, Table};
use perigee_types::{Row, SqlError, SqlResult, SqlState, SqlType, Value};

use super::Oids;
use super::alter::number_of;
use super::sequence::bounds;
use crate::checks::domain_violation;
use crate::rows::Target;
use crate::session::Session;

impl Session {
    /// Whether a table that this transaction holds has rows, its own included.
    pub(super) async fn has_rows(&mut self, table: &Arc<Table>) -> SqlResult<bool> {
        let mut all = self.all_rows(table).await?;
        while let Some(rows) = all.next().await? {
            if !rows.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// ALTER COLUMN … TYPE
    pub(super) async fn set_types(&mut self, table: &Arc<Table>, types: &[ColumnType]) -> SqlResult<()> {
        if table.materialized.is_some() {
            let text = "ALTER action ALTER COLUMN ... SET DATA TYPE cannot be performed on a materialized view";
            return Err(SqlError::new(SqlState::WrongObjectType, text));
        }
        let mut changed = Table::clone(table);
        let (mut refilled, mut others, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        let catalog = self.latest_catalog();
        for new in types {
            let number = number_of(table, &new.column)?;
            self.refuse_type_change(table, number, &new.column)?;
            numbers.push(number);
            let Some(place) = changed.column_position(&new.column) else { continue };
            let Some(column) = changed.columns.get_mut(place) else { continue };
            let rules = catalog.domains(new.domain).any(|(_, domain)| domain.not_null || !domain.checks.is_empty());
            let tested = rules && new.domain != column.domain;
            if tested || new.using.is_some() || !holds_every_value(&new.ty, &column.ty) {
                let quoted = format!("\"{}\"", new.column.replace('"', "\"\""));
                refilled.push((place, Some(new.using.clone().unwrap_or(quoted))));
                column.missing = Value::Null;
            }
            if column.identity_always.is_some() {
                others.extend(catalog.objects().filter_map(|object| match object {
                    Object::Sequence(sequence) if sequence.owned_by == Some((table.oid, number)) => {
                        Some(CatalogChange::Put(Object::Sequence(Arc::new(retyped(sequence, &new.ty)))))
                    }
                    _ => None,
                }));
            }
            column.ty = new.ty.clone();
            column.domain = new.domain;
        }
        let changed = self.retype_hidden(table, changed, &numbers)?;
        if !others.is_empty() {
            self.change(others)?;
        }
        // The generated ones among them get their values from the rest of the row.
        refilled.retain(|(place, _)| changed.columns.get(*place).is_some_and(|column| column.generated().is_none()));
        let generated = changed.columns.iter().any(|c| c.generated().is_some() && numbers.contains(&c.number));
        if refilled.is_empty() && !generated {
            return self.put(changed);
        }
        self.rewrite(table, changed, &refilled).await?;
        self.test_keys_of(table, &numbers).await
    }

    /// Lets the keys of indexes that are expressions over columns of new types have the types that they are of by now.
    fn retype_hidden(&self, table: &Table, mut changed: Table, numbers: &[u16]) -> SqlResult<Table> {
        let visible = changed.visible_columns().len();
        let mut without = changed.clone();
        without.columns.truncate(visible);
        let without = Arc::new(without);
        for column in changed.columns.iter_mut().skip(visible) {
            let Some(text) = column.generated() else { continue };
            if perigee_query::sql::check_columns(table, text).iter().any(|number| numbers.contains(number)) {
                column.ty = self.with_plan_context(&[], |_, c| perigee_query::sql::index_type(&without, text, c))?;
                column.missing = Value::Null;
            }
        }
        Ok(changed)
    }

    /// What names a column by its type does not follow it.
    fn refuse_type_change(&self, table: &Table, number: u16, name: &str) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let refuse = |what: &str, detail: String| {
            let text = format!("cannot alter type of a column used by a {what}");
            Err(SqlError::new(SqlState::FeatureNotSupported, text).detail(detail))
        };
        for object in catalog.objects() {
            let (kind, view, reads) = match object {
                Object::View(view) => ("view", &view.name, &view.depends_on),
                Object::Table(view) => match &view.materialized {
                    Some(materialized) => ("materialized view", &view.name, &materialized.depends_on),
                    None => continue,
                },
                _ => continue,
            };
            if reads.contains(&table.oid) {
                let detail = format!("rule _RETURN on {kind} {view} depends on column \"{name}\"");
                return refuse("view or rule", detail);
            }
        }
        for column in table.visible_columns() {
            if let Some(text) = column.generated()
                && perigee_query::sql::check_columns(table, text).contains(&number)
            {
                let detail = format!("Column \"{name}\" is used by generated column \"{}\".", column.name);
                return refuse("generated column", detail);
            }
        }
        Ok(())
    }

    /// Writes the rows of `old` to the table as `new` says. `refilled` are places in `new` and what their columns get:
    /// an expression over the old row, or the column's default. Other columns keep their values by their numbers.
    pub(super) async fn rewrite(
        &mut self,
        old: &Arc<Table>,
        mut new: Table,
        refilled: &[(usize, Option<String>)],
    ) -> SqlResult<()> {
        self.engine.check_disk(0)?;
        // Its groups would count the rows that are written again as new ones.
        let is_continuous = |object: &Object| match object {
            Object::Table(view) => view
                .materialized
                .as_ref()
                .is_some_and(|view| view.continuous.is_some() && view.depends_on.contains(&old.oid)),
            _ => false,
        };
        if self.latest_catalog().objects().any(is_continuous) {
            return Err(SqlError::unsupported("writing anew a table that a continuous aggregate reads"));
        }
        new.storage = Oids::new(&self.latest_catalog()).next();
        new.version = new.version.max(old.version) + 1;
        let new = Arc::new(new);
        let refilled: Vec<(usize, RowExpression)> = self.with_plan_context(&[], |_, context| {
            let plan = |(place, using): &(usize, Option<String>)| {
                let value = perigee_query::sql::rewritten_value(old, &new, *place, using.as_deref(), context)?;
                Ok((*place, value))
            };
            refilled.iter().map(plan).collect()
        })?;
        refilled.iter().try_for_each(|(_, value)| self.check_calls(value, None))?;
        let mut all = self.all_rows(old).await?;
        self.change(vec![CatalogChange::Put(Object::Table(new.clone()))])?;
        self.transaction()?.writes.forget(old.storage);
        let mut target = self.target(&new, "ALTER TABLE").await?;
        while let Some(rows) = all.next().await? {
            let mut written: Vec<Row> = rows.iter().map(|row| moved(old, &new, row)).collect();
            for (place, expression) in &refilled {
                let values = self.values_over(old, expression, &rows).await?;
                for (row, value) in written.iter_mut().zip(values) {
                    if let Some(slot) = row.get_mut(*place) {
                        *slot = value;
                    }
                }
            }
            self.write_again(&mut target, written).await?;
        }
        Ok(())
    }

    async fn write_again(&mut self, target: &mut Target, mut rows: Vec<Row>) -> SqlResult<()> {
        self.generate(target, &mut rows).await?;
        let table = target.table.clone();
        for (place, column) in table.columns.iter().enumerate().filter(|(_, column)| column.not_null) {
            if rows.iter().any(|row| row.get(place).is_some_and(Value::is_null)) {
                return Err(SqlError::new(
                    SqlState::NotNullViolation,
                    format!("column \"{}\" of relation \"{}\" contains null values", column.name, table.name),
                )
                .table(&target.schema, &table.name)
                .column(&column.name));
            }
        }
        if let Some((_, check)) = self.find_violation(target, &target.rules.checks, &rows).await? {
            if check.domain.is_some() {
                return Err(domain_violation(check));
            }
            let text =
                format!("check constraint \"{}\" of relation \"{}\" is violated by some row", check.name, table.name);
            return Err(SqlError::new(SqlState::CheckViolation, text)
                .table(&target.schema, &table.name)
                .constraint(&check.name));
        }
        for row in rows {
            self.transaction()?.insert_row(target, row).await?;
        }
        self.stage_if_large(target, false).await
    }

    /// Rows still point to rows where the types of the columns that do, or that they point to, have changed.
    async fn test_keys_of(&mut self, table: &Arc<Table>, numbers: &[u16]) -> SqlResult<()> {
        let changed = |columns: &[u16]| columns.iter().any(|number| numbers.contains(number));
        let current = self.lock_table(table.oid, &table.name).await?;
        let mut keys: Vec<(Arc<Table>, ForeignKey)> = Vec::new();
        for other in self.latest_catalog().referencing(table.oid) {
            let to_it = other.foreign_keys.iter().filter(|key| key.references == table.oid && changed(&key.referenced));
            keys.extend(to_it.map(|key| (other.clone(), key.clone())));
        }
        let own = current.foreign_keys.iter().filter(|key| changed(&key.columns));
        keys.extend(own.map(|key| (current.clone(), key.clone())));
        for (child, key) in keys {
            let child = self.lock_table(child.oid, &child.name).await?;
            let parent = self.lock_table(key.references, "").await?;
            self.test_foreign_key(&child, &key, parent).await?;
        }
        Ok(())
    }
}

/// A row of `old` with the columns of `new`; what `old` does not have is NULL.
fn moved(old: &Table, new: &Table, row: &[Value]) -> Row {
    let value = |number: u16| old.number_position(number).and_then(|place| row.get(place)).cloned();
    new.columns.iter().map(|column| value(column.number).unwrap_or(Value::Null)).collect()
}

/// Whether a column of type `from` may be of type `to` without a look at its rows.
fn holds_every_value(to: &SqlType, from: &SqlType) -> bool {
    match (from, to) {
        (SqlType::Text | SqlType::Varchar(_), SqlType::Text | SqlType::Varchar(None)) => true,
        (SqlType::Varchar(Some(from)), SqlType::Varchar(Some(to))) => from <= to,
        _ => from == to,
    }
}

/// The sequence of an identity column whose type changes; its bounds follow where they were the type's.
fn retyped(sequence: &Sequence, ty: &SqlType) -> Sequence {
    let (old, new) = (bounds(&sequence.ty), bounds(ty));
    Sequence {
        ty: ty.clone(),
        minimum: if sequence.minimum == old.0 { new.0 } else { sequence.minimum.max(new.0) },
        maximum: if sequence.maximum == old.1 { new.1 } else { sequence.maximum.min(new.1) },
        ..sequence.clone()
    }
}
