//! ALTER TABLE.

use std::sync::Arc;

use perigee_plan::ddl::{AlterTable, ColumnDefinition, ColumnType, InheritedColumn, KeyConstraint, SequenceColumn};
use perigee_types::catalog::{Catalog, CatalogChange, Column, ColumnDefault, Index, Object, Table};
use perigee_types::{Oid, SqlError, SqlResult, SqlState, Value};

use super::create::new_key;
use super::{Oids, names};
use crate::family::key_columns;
use crate::session::Session;

impl Session {
    /// `only`: not the tables below it.
    pub(super) async fn alter_table(
        &mut self,
        table: &Arc<Table>,
        actions: &[AlterTable],
        only: bool,
    ) -> SqlResult<()> {
        for action in actions {
            // Each action builds on the one before it.
            let current = self.lock_table(table.oid, &table.name).await?;
            match action {
                AlterTable::Attach { child, bound } => self.attach(&current, child, bound).await?,
                AlterTable::Detach { child } => self.detach(&current, child).await?,
                AlterTable::Inherit { parent } => self.inherit(&current, parent).await?,
                AlterTable::NoInherit { parent } => self.disinherit(&current, parent).await?,
                _ => {
                    refuse_inherited(&current, action)?;
                    self.alter_family(&current, action, only).await?;
                }
            }
        }
        Ok(())
    }

    /// Does one action to a table and, where it is passed on, to those below it.
    async fn alter_family(&mut self, table: &Arc<Table>, action: &AlterTable, only: bool) -> SqlResult<()> {
        match action {
            AlterTable::RenameColumn { from, .. } => return self.rename_in_family(table, from, action, only).await,
            AlterTable::SetTypes(types) => return self.set_types_in_family(table, types, action, only).await,
            AlterTable::RenameConstraint { from, .. } if table.checks.iter().any(|check| check.name == *from) => {
                let mut family = self.latest_catalog().family(table);
                if only && family.len() > 1 {
                    let text = format!("inherited constraint \"{from}\" must be renamed in child tables too");
                    return Err(SqlError::new(SqlState::InvalidTableDefinition, text));
                }
                family.retain(|member| member.checks.iter().any(|check| check.name == *from));
                return self.alter_each(family, action).await;
            }
            _ => {}
        }
        let catalog = self.latest_catalog();
        let passed_on = match action {
            AlterTable::DropConstraint { name, .. } => table.checks.iter().any(|check| check.name == *name),
            AlterTable::RenameConstraint { .. } => false,
            _ => action.is_passed_on(),
        };
        let passed_on = passed_on && catalog.has_children(table.oid);
        let is_identity =
            |column: &ColumnDefinition| column.sequence.is_some_and(|kind| kind != SequenceColumn::Serial);
        if let AlterTable::AddColumn { column, .. } = action
            && passed_on
            && is_identity(column)
        {
            let text = "cannot recursively add identity column to table that has child tables";
            return Err(SqlError::new(SqlState::InvalidTableDefinition, text));
        }
        if !passed_on {
            return self.alter(table, action).await;
        }
        if only {
            refuse_only(table, action)?;
        }
        let before = table.clone();
        self.alter(table, action).await?;
        let table = self.lock_table(table.oid, &table.name).await?;
        if *table == *before {
            // IF EXISTS or IF NOT EXISTS has said that there is nothing to do.
            return Ok(());
        }
        let children: Vec<Oid> = self.latest_catalog().children(table.oid).map(|child| child.oid).collect();
        for child in children {
            let child = self.lock_table(child, "").await?;
            Box::pin(self.alter_child(&before, &table, &child, action, only)).await?;
        }
        Ok(())
    }

    /// Renames a column in a table and in all that have it from there. One may have it from several parents.
    async fn rename_in_family(
        &mut self,
        table: &Arc<Table>,
        from: &str,
        action: &AlterTable,
        only: bool,
    ) -> SqlResult<()> {
        let refused = |text: String| Err(SqlError::new(SqlState::InvalidTableDefinition, text));
        let family = self.latest_catalog().family(table);
        if only && family.len() > 1 {
            return refused(format!("inherited column \"{from}\" must be renamed in child tables too"));
        }
        for member in &family {
            let Some(column) = member.columns.iter().find(|column| column.name == *from) else { continue };
            let within = member.parents.iter().filter(|parent| family.iter().any(|other| other.oid == **parent));
            if usize::from(column.inherited) > within.count() {
                return refused(format!("cannot rename inherited column \"{from}\""));
            }
        }
        self.alter_each(family, action).await
    }

    /// Gives columns of a table, and of all that have them from there, new types.
    async fn set_types_in_family(
        &mut self,
        table: &Arc<Table>,
        types: &[ColumnType],
        action: &AlterTable,
        only: bool,
    ) -> SqlResult<()> {
        let family = self.latest_catalog().family(table);
        for name in types.iter().map(|new| &new.column) {
            let refused = |text: String| Err(SqlError::new(SqlState::InvalidTableDefinition, text));
            for member in &family {
                if member.columns.iter().any(|c| c.name == *name && key_columns(member).contains(&c.number)) {
                    let of = format!("partition key of relation \"{}\"", member.name);
                    return refused(format!("cannot alter column \"{name}\" because it is part of the {of}"));
                }
            }
            if only && family.len() > 1 {
                return refused(format!("type of inherited column \"{name}\" must be changed in child tables too"));
            }
        }
        self.alter_each(family, action).await
    }

    async fn alter_each(&mut self, tables: Vec<Arc<Table>>, action: &AlterTable) -> SqlResult<()> {
        for table in tables {
            let current = self.lock_table(table.oid, &table.name).await?;
            self.alter(&current, action).await?;
        }
        Ok(())
    }

    /// Passes an action on to a child, and to those below it. `before` and `parent`: its parent before and behind it.
    async fn alter_child(
        &mut self,
        before: &Arc<Table>,
        parent: &Arc<Table>,
        child: &Arc<Table>,
        action: &AlterTable,
        only: bool,
    ) -> SqlResult<()> {
        let mut action = action.clone();
        match &mut action {
            AlterTable::AddColumn { column, if_not_exists, key } => {
                *key = None;
                *if_not_exists = false;
                let made = parent.columns.iter().find(|made| made.name == column.name);
                let default = made.filter(|made| made.identity_always.is_none()).and_then(|made| made.default.clone());
                if let Some(own) = child.columns.iter().find(|own| own.name == column.name) {
                    if own.ty != column.ty || own.domain != column.domain {
                        return Err(SqlError::new(
                            SqlState::DatatypeMismatch,
                            format!("child table \"{}\" has different type for column \"{}\"", child.name, own.name),
                        ));
                    }
                    self.notify(format!("merging definition of column \"{}\" for child \"{}\"", own.name, child.name));
                    return self.edit_column(child, &own.name, |column| column.inherited += 1);
                }
                column.sequence = None;
                column.inherited = Some(InheritedColumn { parents: 1, local: false, default });
            }
            AlterTable::DropColumn { name, if_exists, .. } => {
                *if_exists = true;
                let Some(own) = child.columns.iter().find(|own| own.name == *name) else { return Ok(()) };
                if only || own.inherited > 1 || own.local {
                    return self.edit_column(child, name, |column| {
                        column.inherited = column.inherited.saturating_sub(1);
                        column.local |= only;
                    });
                }
            }
            AlterTable::AddCheck(check) => {
                let made = parent.checks.iter().find(|made| before.checks.iter().all(|old| old.oid != made.oid));
                let Some(made) = made else { return Ok(()) };
                if let Some(own) = child.checks.iter().find(|own| own.name == made.name) {
                    if own.expression != made.expression {
                        return Err(SqlError::new(
                            SqlState::DuplicateObject,
                            format!("constraint \"{}\" for relation \"{}\" already exists", own.name, child.name),
                        ));
                    }
                    self.notify(format!("merging constraint \"{}\" with inherited definition", own.name));
                    let partition = child.is_partition();
                    return self.edit_check(child, &made.name, |check| {
                        check.inherited += 1;
                        check.local &= !partition;
                    });
                }
                check.name = Some(made.name.clone());
                let name = made.name.clone();
                self.alter_family(child, &action, false).await?;
                let child = self.lock_table(child.oid, &child.name).await?;
                return self.edit_check(&child, &name, |check| {
                    check.inherited = 1;
                    check.local = false;
                });
            }
            AlterTable::ValidateConstraint { name } if child.checks.iter().all(|own| own.name != *name) => {
                return Ok(());
            }
            AlterTable::DropConstraint { name, if_exists, .. } => {
                *if_exists = true;
                let Some(own) = child.checks.iter().find(|own| own.name == *name) else { return Ok(()) };
                if only || own.inherited > 1 || own.local {
                    return self.edit_check(child, name, |check| {
                        check.inherited = check.inherited.saturating_sub(1);
                        check.local |= only;
                    });
                }
            }
            _ => {}
        }
        let child = self.lock_table(child.oid, &child.name).await?;
        self.alter_family(&child, &action, false).await
    }

    fn edit_check(
        &mut self,
        table: &Table,
        name: &str,
        edit: impl FnOnce(&mut perigee_types::catalog::Check),
    ) -> SqlResult<()> {
        let mut changed = table.clone();
        if let Some(check) = changed.checks.iter_mut().find(|check| check.name == name) {
            edit(check);
        }
        self.put(changed)
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
            AlterTable::ValidateConstraint { name } => self.validate_constraint(table, name).await,
            AlterTable::RenameColumn { from, to } => {
                names::check_column(to)?;
                if table.column_position(to).is_some() {
                    return Err(SqlError::new(
                        SqlState::DuplicateColumn,
                        format!("column \"{to}\" of relation \"{}\" already exists", table.name),
                    ));
                }
                let views = self.views_of(table);
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
                self.rename_in_indexes(table, from, to)?;
                // Views are kept as text, and none that names the column can be read any more.
                match self.broken(views).first() {
                    Some(view) => Err(depends_on_column(&format!("cannot change {from}"), from, table, view)
                        .hint("drop the view first")),
                    None => Ok(()),
                }
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
            AlterTable::DropExpression { column, if_exists } => {
                let is_generated = |c: &Column| c.name == *column && c.generated().is_some();
                if table.columns.iter().any(is_generated) {
                    return self.edit_column(table, column, |c| c.default = None);
                }
                let text =
                    format!("column \"{column}\" of relation \"{}\" is not a stored generated column", table.name);
                if !if_exists {
                    return Err(SqlError::new(SqlState::ObjectNotInPrerequisiteState, text));
                }
                self.notify(format!("{text}, skipping"));
                Ok(())
            }
            AlterTable::DropIdentity { column, if_exists } => self.drop_identity(table, column, *if_exists),
            AlterTable::SetTypes(types) => self.set_types(table, types).await,
            AlterTable::AddKey(key) => {
                let catalog = self.latest_catalog();
                if let Some(index) = key_of_parent(&catalog, table, key)? {
                    return match &key.name {
                        Some(name) if *name != index.name => self.rename_relation(&Object::Index(index), name),
                        _ => Ok(()),
                    };
                }
                if key.primary {
                    for name in &key.columns {
                        let number = number_of(table, name)?;
                        self.refuse_nulls(table, number, name).await?;
                    }
                }
                let mut changed = Table::clone(table);
                changed.version += 1;
                let index = new_key(&catalog, &mut changed, key, Oids::new(&catalog).next(), &mut Vec::new())?;
                let oid = index.oid;
                self.add_index(Arc::new(changed), index).await?;
                self.index_on_partitions(table.oid, oid).await
            }
            AlterTable::DropConstraint { name, if_exists, cascade } => {
                if self.drop_own_constraint(table, name).await? {
                    return Ok(());
                }
                let catalog = self.latest_catalog();
                let found: Option<Index> =
                    catalog.indexes_of(table).find(|i| i.constraint && i.name == *name).map(|i| (**i).clone());
                match found {
                    Some(index) if index.parent.is_some() => Err(cannot_drop_inherited(name, table)),
                    Some(index) => {
                        let what = (&*format!("constraint {name} on table {}", table.name), &*format!("index {name}"));
                        self.drop_dependent_keys(table, what, *cascade, |key| key.index == index.oid).await?;
                        let table = self.lock_table(table.oid, &table.name).await?;
                        self.remove_index(&table, &index).await
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
            AlterTable::SetOptions { set, reset } => {
                let mut changed = Table::clone(table);
                changed.options.extend(set.clone());
                changed.options.retain(|name, _| !reset.contains(name));
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
            AlterTable::Attach { .. }
            | AlterTable::Detach { .. }
            | AlterTable::Inherit { .. }
            | AlterTable::NoInherit { .. } => Err(SqlError::internal("a change of a family as one of a table")),
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
        names::check_column(&definition.name)?;
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
        let views = self.views_of(table);
        let number = number_of(table, name)?;
        if key_columns(table).contains(&number) {
            return Err(SqlError::new(
                SqlState::InvalidTableDefinition,
                format!(
                    "cannot drop column \"{name}\" because it is part of the partition key of relation \"{}\"",
                    table.name
                ),
            ));
        }
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
        self.change_table(Arc::new(changed), others, narrowed)?;
        let used = self.broken(views);
        if !cascade && let Some(view) = used.first() {
            return Err(depends_on_column(&format!("cannot drop {what}"), name, table, view)
                .hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        self.drop_dependents(&used).await
    }

    /// Those of the views of a table that cannot be read as before, now that it has changed.
    fn broken(&self, views: Vec<(Object, usize)>) -> Vec<Object> {
        let broken = views.into_iter().filter(|(view, width)| self.width_of(view) != Some(*width));
        broken.map(|(view, _)| view).collect()
    }

    /// The views that read a table, and how many columns their queries have.
    fn views_of(&self, table: &Table) -> Vec<(Object, usize)> {
        let mut views = Vec::new();
        for object in self.latest_catalog().objects() {
            let reads = match object {
                Object::View(view) => view.depends_on.contains(&table.oid),
                Object::Table(view) => view.materialized.as_ref().is_some_and(|m| m.depends_on.contains(&table.oid)),
                _ => false,
            };
            if reads && let Some(width) = self.width_of(object) {
                views.push((object.clone(), width));
            }
        }
        views
    }

    /// How many columns a view's query has; `None` where it cannot be planned. Views are kept as text, so this is how one
    /// is found that names a column which is gone, or had it by `*`.
    fn width_of(&self, view: &Object) -> Option<usize> {
        let text = match view {
            Object::View(view) => &view.query,
            Object::Table(view) => &view.materialized.as_ref()?.query,
            _ => return None,
        };
        let statement = perigee_query::sql::parse(text).ok()?.pop()?;
        let planned = self.plan_unlifted(&statement, &[]).ok()?;
        planned.prepared.columns.as_ref().map(|columns| columns.len())
    }

    /// Takes an index off a table that this transaction holds, and those that belong to it off its partitions.
    pub(super) async fn remove_index(&mut self, table: &Arc<Table>, index: &Index) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let children: Vec<Arc<Table>> = catalog.children(table.oid).cloned().collect();
        for child in children {
            let below = catalog.indexes_of(&child).find(|below| below.parent == Some(index.oid)).cloned();
            if let Some(below) = below {
                let child = self.lock_table(child.oid, &child.name).await?;
                Box::pin(self.remove_index(&child, &below)).await?;
            }
        }
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

/// `2BP01` for a column that a view reads.
fn depends_on_column(cannot: &str, column: &str, table: &Table, view: &Object) -> SqlError {
    let kind = if matches!(view, Object::Table(_)) { "materialized view" } else { "view" };
    let text = format!("{cannot} because other objects depend on it");
    SqlError::new(SqlState::DependentObjectsStillExist, text).detail(format!(
        "{kind} {} depends on column {column} of table {}",
        view.name(),
        table.name
    ))
}

/// Whether an index goes with a column.
fn depends(table: &Table, index: &Index, number: u16) -> bool {
    let hidden = table.columns.iter().filter(|column| column.is_hidden() && index.columns.contains(&column.number));
    let mut texts = hidden.filter_map(|column| column.generated());
    index.columns.contains(&number)
        || index.definition.include.contains(&number)
        || texts.any(|text| perigee_query::sql::check_columns(table, text).contains(&number))
}

fn cannot_drop_inherited(name: &str, table: &Table) -> SqlError {
    SqlError::new(
        SqlState::InvalidTableDefinition,
        format!("cannot drop inherited constraint \"{name}\" of relation \"{}\"", table.name),
    )
}

/// Refuses to change alone what a table has from its parents.
fn refuse_inherited(table: &Table, action: &AlterTable) -> SqlResult<()> {
    let refused = |text: String| Err(SqlError::new(SqlState::InvalidTableDefinition, text));
    let inherited = |name: &String| table.columns.iter().any(|column| column.name == *name && column.inherited > 0);
    match action {
        AlterTable::DropColumn { name, .. } if inherited(name) => {
            refused(format!("cannot drop inherited column \"{name}\""))
        }
        AlterTable::RenameConstraint { from, .. }
            if table.checks.iter().any(|check| check.name == *from && check.inherited > 0) =>
        {
            refused(format!("cannot rename inherited constraint \"{from}\""))
        }
        AlterTable::SetTypes(types) => match types.iter().find(|new| inherited(&new.column)) {
            Some(new) => refused(format!("cannot alter inherited column \"{}\"", new.column)),
            None => Ok(()),
        },
        AlterTable::DropConstraint { name, .. } => {
            let check = table.checks.iter().any(|check| check.name == *name && check.inherited > 0);
            let key = table.foreign_keys.iter().any(|key| key.name == *name && key.parent.is_some());
            if check || key { Err(cannot_drop_inherited(name, table)) } else { Ok(()) }
        }
        AlterTable::AddColumn { column, .. } if table.is_partition() && column.inherited.is_none() => {
            Err(SqlError::new(SqlState::WrongObjectType, "cannot add column to a partition"))
        }
        _ => Ok(()),
    }
}

/// Refuses with ONLY what the tables below must follow.
fn refuse_only(table: &Table, action: &AlterTable) -> SqlResult<()> {
    let refused = |text: String| Err(SqlError::new(SqlState::InvalidTableDefinition, text));
    match action {
        AlterTable::AddColumn { .. } => refused("column must be added to child tables too".to_owned()),
        AlterTable::AddCheck(_) => refused("constraint must be added to child tables too".to_owned()),
        AlterTable::ValidateConstraint { name }
            if table.checks.iter().any(|check| check.name == *name && check.not_valid) =>
        {
            refused("constraint must be validated on child tables too".to_owned())
        }
        AlterTable::DropColumn { .. } if table.partitioning.is_some() => Err(SqlError::new(
            SqlState::InvalidTableDefinition,
            "cannot drop column from only the partitioned table when partitions exist",
        )
        .hint("Do not specify the ONLY keyword.")),
        AlterTable::DropConstraint { .. } if table.partitioning.is_some() => Err(SqlError::new(
            SqlState::InvalidTableDefinition,
            "cannot remove constraint from only the partitioned table when partitions exist",
        )
        .hint("Do not specify the ONLY keyword.")),
        _ => Ok(()),
    }
}

pub(super) fn number_of(table: &Table, name: &str) -> SqlResult<u16> {
    table.columns.iter().find(|c| c.name == name).map(|c| c.number).ok_or_else(|| {
        SqlError::new(
            SqlState::UndefinedColumn,
            format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
        )
    })
}

/// The index of a partition that came with its table's key, where a key of its own is to be just that one: dumps give each
/// partition its key once more, and may call it otherwise.
fn key_of_parent(catalog: &Catalog, table: &Table, key: &KeyConstraint) -> SqlResult<Option<Arc<Index>>> {
    if !table.is_partition() {
        return Ok(None);
    }
    let columns = key.columns.iter().map(|name| number_of(table, name)).collect::<SqlResult<Vec<_>>>()?;
    let found = catalog.indexes_of(table).find(|index| {
        let is_primary = table.primary_key == Some(index.oid);
        index.parent.is_some()
            && index.constraint
            && index.columns == columns
            && index.definition.deferral == key.deferral
            && is_primary == key.primary
            && (is_primary || key.name.as_ref() == Some(&index.name))
    });
    Ok(found.cloned())
}
