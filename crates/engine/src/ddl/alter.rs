//! ALTER TABLE.

use std::sync::Arc;

use perigee_plan::ddl::{AlterTable, ColumnDefinition};
use perigee_types::catalog::{CatalogChange, ColumnDefault, Index, Object, Table};
use perigee_types::{SqlError, SqlResult, SqlState, Value};

use super::Oids;
use super::create::new_key;
use crate::session::Session;

impl Session {
    pub(super) async fn alter_table(&mut self, table: &Arc<Table>, actions: &[AlterTable]) -> SqlResult<()> {
        let mut current = self.lock_table(table.oid, &table.name).await?;
        for action in actions {
            self.alter(&current, action).await?;
            // The next action builds on this one.
            current = self.lock_table(table.oid, &table.name).await?;
        }
        Ok(())
    }

    async fn alter(&mut self, table: &Arc<Table>, action: &AlterTable) -> SqlResult<()> {
        match action {
            AlterTable::AddColumn { column, if_not_exists, key } => {
                self.add_column(table, column, *if_not_exists).await?;
                if let Some(key) = key {
                    let current = self.lock_table(table.oid, &table.name).await?;
                    Box::pin(self.alter(&current, &AlterTable::AddKey(key.clone()))).await?;
                }
                Ok(())
            }
            AlterTable::DropColumn { name, if_exists, cascade } => {
                self.drop_column(table, name, *if_exists, *cascade).await
            }
            AlterTable::AddCheck(check) => self.add_check(table, check).await,
            AlterTable::AddForeignKey(key) => self.add_foreign_key(table, key).await,
            AlterTable::RenameColumn { from, to } => {
                if table.column_position(to).is_some() {
                    return Err(SqlError::new(
                        SqlState::DuplicateColumn,
                        format!("column \"{to}\" of relation \"{}\" already exists", table.name),
                    ));
                }
                self.refuse_dependent_views(table, from)?;
                let mut changed = Table::clone(table);
                for check in &mut changed.checks {
                    check.expression =
                        perigee_query::sql::check_text(&check.expression, &table.name, Some((from, to)))?;
                }
                for column in &mut changed.columns {
                    if let Some(ColumnDefault::Generated(text)) = &mut column.default {
                        *text = perigee_query::sql::check_text(text, &table.name, Some((from, to)))?;
                    }
                }
                self.edit_column(&changed, from, |column| column.name.clone_from(to))?;
                self.rename_in_indexes(table, from, to)
            }
            AlterTable::Rename { to } => {
                let catalog = self.latest_catalog();
                if self.name_is_taken(&catalog, table.schema, to, false)? {
                    return Ok(());
                }
                self.refuse_dependent_views(table, &table.name)?;
                let mut changed = Table::clone(table);
                changed.name.clone_from(to);
                self.put(changed)
            }
            AlterTable::SetNotNull { column, not_null } => {
                let number = number_of(table, column)?;
                if *not_null {
                    self.refuse_nulls(table, number, column).await?;
                } else if self.in_primary_key(table, number) {
                    return Err(SqlError::new(
                        SqlState::InvalidTableDefinition,
                        format!("column \"{column}\" is in a primary key"),
                    ));
                }
                self.edit_column(table, column, |c| c.not_null = *not_null)
            }
            AlterTable::SetDefault { column, default } => {
                self.edit_column(table, column, |c| c.default = default.clone().map(ColumnDefault::Expression))
            }
            AlterTable::RenameConstraint { from, to } => self.rename_constraint(table, from, to),
            AlterTable::AddIdentity { column, always, clauses } => self.add_identity(table, column, *always, clauses),
            AlterTable::SetIdentity { column, always, clauses } => self.set_identity(table, column, *always, clauses),
            AlterTable::DropIdentity { column, if_exists } => self.drop_identity(table, column, *if_exists),
            AlterTable::SetTypes(types) => self.set_types(table, types).await,
            AlterTable::AddKey(key) => {
                let catalog = self.latest_catalog();
                if key.primary {
                    for name in &key.columns {
                        let number = number_of(table, name)?;
                        self.refuse_nulls(table, number, name).await?;
                    }
                }
                let mut changed = Table::clone(table);
                changed.version += 1;
                let index = new_key(&catalog, &mut changed, key, Oids::new(&catalog).next(), &mut Vec::new())?;
                self.add_index(Arc::new(changed), index).await
            }
            AlterTable::DropConstraint { name, if_exists, cascade } => {
                if self.drop_own_constraint(table, name)? {
                    return Ok(());
                }
                let catalog = self.latest_catalog();
                let found: Option<Index> =
                    catalog.indexes_of(table).find(|i| i.constraint && i.name == *name).map(|i| (**i).clone());
                match found {
                    Some(index) => {
                        let what = (&*format!("constraint {name} on table {}", table.name), &*format!("index {name}"));
                        self.drop_dependent_keys(table, what, *cascade, |key| key.index == index.oid).await?;
                        let table = self.lock_table(table.oid, &table.name).await?;
                        self.remove_index(&table, &index)
                    }
                    None if *if_exists => {
                        self.notify(format!(
                            "constraint \"{name}\" of relation \"{}\" does not exist, skipping",
                            table.name
                        ));
                        Ok(())
                    }
                    None => Err(SqlError::new(
                        SqlState::UndefinedObject,
                        format!("constraint \"{name}\" of relation \"{}\" does not exist", table.name),
                    )),
                }
            }
            AlterTable::SetOptions(options) => {
                let mut changed = Table::clone(table);
                changed.options.extend(options.clone());
                self.put(changed)
            }
            AlterTable::Owner(role) => {
                let catalog = self.latest_catalog();
                let owner = self.named_role(&catalog, role)?.oid;
                // Its sequences belong to whom it belongs to.
                let owned = catalog.objects().filter(|object| {
                    matches!(object, Object::Sequence(s) if s.owned_by.is_some_and(|(table_of, _)| table_of == table.oid))
                });
                self.change(owned.map(|sequence| CatalogChange::Put(sequence.with_owner(owner))).collect())?;
                match Object::Table(table.clone()).with_owner(owner) {
                    Object::Table(changed) => self.put(Table::clone(&changed)),
                    _ => Ok(()),
                }
            }
        }
    }

    pub(super) fn put(&mut self, mut table: Table) -> SqlResult<()> {
        table.version += 1;
        self.change_table(Arc::new(table), Vec::new(), |row| row)
    }

    pub(super) fn edit_column(
        &mut self,
        table: &Table,
        name: &str,
        edit: impl FnOnce(&mut perigee_types::catalog::Column),
    ) -> SqlResult<()> {
        let mut changed = table.clone();
        let number = number_of(table, name)?;
        if let Some(column) = changed.columns.iter_mut().find(|c| c.number == number) {
            edit(column);
        }
        self.put(changed)
    }

    /// Lets the expressions of indexes follow a column's new name.
    fn rename_in_indexes(&mut self, table: &Table, from: &str, to: &str) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let mut changes = Vec::new();
        for index in catalog.indexes_of(table) {
            let mut changed = Index::clone(index);
            let expressions = changed.definition.keys.iter_mut().filter_map(|key| key.expression.as_mut());
            for text in expressions.chain(changed.definition.predicate.as_mut()) {
                *text = perigee_query::sql::check_text(text, &table.name, Some((from, to)))?;
            }
            if changed != **index {
                changes.push(CatalogChange::Put(Object::Index(Arc::new(changed))));
            }
        }
        if changes.is_empty() { Ok(()) } else { self.change(changes) }
    }

    fn in_primary_key(&self, table: &Table, number: u16) -> bool {
        let catalog = self.latest_catalog();
        table.primary_key.and_then(|oid| catalog.index(oid)).is_some_and(|index| index.columns.contains(&number))
    }

    async fn add_column(
        &mut self,
        table: &Arc<Table>,
        definition: &ColumnDefinition,
        if_not_exists: bool,
    ) -> SqlResult<()> {
        if table.column_position(&definition.name).is_some() {
            let text = format!("column \"{}\" of relation \"{}\" already exists", definition.name, table.name);
            if !if_not_exists {
                return Err(SqlError::new(SqlState::DuplicateColumn, text));
            }
            self.notify(format!("{text}, skipping"));
            return Ok(());
        }
        let catalog = self.latest_catalog();
        let mut changed = Table::clone(table);
        changed.version += 1;
        let (mut column, sequence) = self.new_column(&catalog, &mut changed, definition, &mut Oids::new(&catalog))?;
        let missing = definition.default_value.clone().unwrap_or(Value::Null);
        column.missing = missing.clone();
        let needs_value = column.default.is_some() && definition.default_value.is_none();
        let no_value = column.not_null && missing.is_null();
        let has_rules = catalog.domains(column.domain).any(|(_, domain)| domain.not_null || !domain.checks.is_empty());
        // Hidden columns stay behind the others.
        let place = changed.visible_columns().len();
        changed.columns.insert(place, column);
        if (needs_value || no_value || has_rules) && self.has_rows(table).await? {
            // Its values differ from row to row, there is none to give, or it is to be tested.
            self.change(sequence.into_iter().collect())?;
            return self.rewrite(table, changed, &[(place, None)]).await;
        }
        self.change_table(Arc::new(changed), sequence.into_iter().collect(), |mut row| {
            row.insert(place.min(row.len()), missing.clone());
            row
        })
    }

    pub(super) async fn drop_column(
        &mut self,
        table: &Arc<Table>,
        name: &str,
        if_exists: bool,
        cascade: bool,
    ) -> SqlResult<()> {
        let Some(position) = table.column_position(name) else {
            let text = format!("column \"{name}\" of relation \"{}\" does not exist", table.name);
            if !if_exists {
                return Err(SqlError::new(SqlState::UndefinedColumn, text));
            }
            self.notify(format!("{text}, skipping"));
            return Ok(());
        };
        if !cascade {
            self.refuse_dependent_views(table, name)?;
        }
        let number = number_of(table, name)?;
        let what = format!("column {name} of table {}", table.name);
        let uses = |text: &str| perigee_query::sql::check_columns(table, text).contains(&number);
        if let Some(other) =
            table.visible_columns().iter().find(|c| c.number != number && c.generated().is_some_and(uses))
        {
            if cascade {
                return Err(SqlError::unsupported("DROP COLUMN CASCADE of what a generated column is made of")
                    .hint(format!("drop column {} first", other.name)));
            }
            return Err(SqlError::new(
                SqlState::DependentObjectsStillExist,
                format!("cannot drop {what} because other objects depend on it"),
            )
            .detail(format!("column {} of table {} depends on {what}", other.name, table.name))
            .hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        self.drop_dependent_keys(table, (&what, &what), cascade, |key| key.referenced.contains(&number)).await?;
        let table = &self.lock_table(table.oid, &table.name).await?;
        let catalog = self.latest_catalog();
        let mut changed = Table::clone(table);
        changed.version += 1;
        changed.columns.remove(position);
        changed.checks.retain(|c| !perigee_query::sql::check_columns(table, &c.expression).contains(&number));
        changed.foreign_keys.retain(|key| !key.columns.contains(&number));
        let mut others = Vec::new();
        for index in catalog.indexes_of(table).filter(|index| depends(table, index, number)) {
            changed = super::index::without_index(&changed, index);
            others.push(CatalogChange::Remove(index.oid));
        }
        for object in catalog.objects() {
            if let Object::Sequence(sequence) = object
                && sequence.owned_by == Some((table.oid, number))
            {
                others.push(CatalogChange::Remove(sequence.oid));
            }
        }
        let narrowed = super::index::narrowed(table, &changed);
        self.change_table(Arc::new(changed), others, narrowed)
    }

    /// Takes an index off a table that this transaction holds.
    pub(super) fn remove_index(&mut self, table: &Arc<Table>, index: &Index) -> SqlResult<()> {
        let mut changed = super::index::without_index(table, index);
        changed.version += 1;
        let narrowed = super::index::narrowed(table, &changed);
        self.change_table(Arc::new(changed), vec![CatalogChange::Remove(index.oid)], narrowed)
    }

    /// Views are kept as text: what they name may not change under them.
    pub(super) fn refuse_dependent_views(&self, table: &Table, what: &str) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let view = catalog.objects().find_map(|object| match object {
            Object::View(view) if view.depends_on.contains(&table.oid) => Some(("view", view.name.clone())),
            Object::Table(view) if view.materialized.as_ref().is_some_and(|m| m.depends_on.contains(&table.oid)) => {
                Some(("materialized view", view.name.clone()))
            }
            _ => None,
        });
        match view {
            Some((kind, name)) => Err(SqlError::new(
                SqlState::DependentObjectsStillExist,
                format!("cannot change {what} because other objects depend on it"),
            )
            .detail(format!("{kind} {name} depends on table {}", table.name))
            .hint("drop the view first")),
            None => Ok(()),
        }
    }
}

/// Whether an index goes with a column.
fn depends(table: &Table, index: &Index, number: u16) -> bool {
    let hidden = table.columns.iter().filter(|column| column.is_hidden() && index.columns.contains(&column.number));
    let mut texts = hidden.filter_map(|column| column.generated());
    index.columns.contains(&number)
        || index.definition.include.contains(&number)
        || texts.any(|text| perigee_query::sql::check_columns(table, text).contains(&number))
}

pub(super) fn number_of(table: &Table, name: &str) -> SqlResult<u16> {
    table.columns.iter().find(|c| c.name == name).map(|c| c.number).ok_or_else(|| {
        SqlError::new(
            SqlState::UndefinedColumn,
            format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
        )
    })
}
