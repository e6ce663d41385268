//! What ALTER does to a sequence, an index, a view or a table alike: names, schemas, owners.

use std::sync::Arc;

use perigee_plan::ddl::RelationChange;
use perigee_plan::role::RoleName;
use perigee_types::catalog::{CatalogChange, Index, Object, Sequence, Table, View};
use perigee_types::{Oid, SqlError, SqlResult, SqlState};

use crate::session::Session;

impl Session {
    pub(super) async fn alter_relation(
        &mut self,
        object: Option<Oid>,
        name: &str,
        change: &RelationChange,
    ) -> SqlResult<()> {
        let Some(oid) = object else {
            self.notify(format!("relation \"{name}\" does not exist, skipping"));
            return Ok(());
        };
        match self.latest_catalog().object(oid) {
            Some(Object::Table(table)) => drop(self.lock_table(table.oid, name).await?),
            Some(Object::Index(index)) => drop(self.lock_table(index.table, name).await?),
            _ => {}
        }
        let found = self.latest_catalog().object(oid).cloned();
        let Some(object) = found else {
            return Err(SqlError::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist")));
        };
        match (change, &object) {
            (RelationChange::Rename(to), _) => self.rename_relation(&object, to),
            (RelationChange::RenameColumn { from, to }, Object::View(view)) => self.rename_view_column(view, from, to),
            (RelationChange::SetSchema(schema), _) => self.move_relation(&object, *schema),
            (RelationChange::Owner(role), _) => self.own_relation(&object, role),
            (RelationChange::Sequence(clauses), Object::Sequence(sequence)) => self.alter_sequence(sequence, clauses),
            (RelationChange::AttachIndex(child), Object::Index(parent)) => {
                // A partition has the indexes of its table from the start.
                match self.latest_catalog().index(*child) {
                    Some(child) if child.parent == Some(parent.oid) => Ok(()),
                    _ => Err(SqlError::unsupported("ATTACH PARTITION of an index that the table's index did not make")),
                }
            }
            _ => Err(SqlError::unsupported("this ALTER of this kind of relation")),
        }
    }

    pub(super) fn rename_relation(&mut self, object: &Object, to: &str) -> SqlResult<()> {
        let Some((schema, _)) = object.relation_name() else { return Ok(()) };
        let catalog = self.latest_catalog();
        if self.name_is_taken(&catalog, schema, to, false)? {
            return Ok(());
        }
        self.refuse_reading_views(object)?;
        let name = to.to_owned();
        let renamed = match object {
            Object::Sequence(o) => Object::Sequence(Arc::new(Sequence { name, ..(**o).clone() })),
            Object::Index(o) => Object::Index(Arc::new(Index { name, ..(**o).clone() })),
            Object::View(o) => Object::View(Arc::new(View { name, ..(**o).clone() })),
            _ => return Err(SqlError::internal("a table is renamed by ALTER TABLE")),
        };
        self.change(vec![CatalogChange::Put(renamed)])
    }

    fn rename_view_column(&mut self, view: &Arc<View>, from: &str, to: &str) -> SqlResult<()> {
        self.refuse_reading_views(&Object::View(view.clone()))?;
        if view.columns.iter().any(|(name, _)| name == to) {
            let text = format!("column \"{to}\" of relation \"{}\" already exists", view.name);
            return Err(SqlError::new(SqlState::DuplicateColumn, text));
        }
        let mut changed = View::clone(view);
        let Some((name, _)) = changed.columns.iter_mut().find(|(name, _)| name == from) else {
            return Err(SqlError::new(SqlState::UndefinedColumn, format!("column \"{from}\" does not exist")));
        };
        to.clone_into(name);
        self.change(vec![CatalogChange::Put(Object::View(Arc::new(changed)))])
    }

    fn move_relation(&mut self, object: &Object, schema: Oid) -> SqlResult<()> {
        let Some((from, name)) = object.relation_name() else { return Ok(()) };
        let catalog = self.latest_catalog();
        if from == schema {
            return Ok(());
        }
        if catalog.is_temporary(from) || catalog.is_temporary(schema) {
            return Err(SqlError::new(
                SqlState::FeatureNotSupported,
                "cannot move objects into or out of temporary schemas",
            ));
        }
        let to = catalog.object(schema).map(Object::name).unwrap_or_default();
        if matches!(to, "pg_catalog" | "information_schema" | "perigee") {
            return Err(SqlError::new(SqlState::InsufficientPrivilege, format!("permission denied for schema {to}")));
        }
        let free = |name: &str| {
            if catalog.relation(schema, name).is_none() {
                return Ok(());
            }
            let text = format!("relation \"{name}\" already exists in schema \"{to}\"");
            Err(SqlError::new(SqlState::DuplicateTable, text))
        };
        free(name)?;
        self.refuse_reading_views(object)?;
        let mut changes = Vec::new();
        match object {
            Object::Table(table) => {
                let moved = Table { schema, version: table.version + 1, ..(**table).clone() };
                for index in catalog.indexes_of(table) {
                    free(&index.name)?;
                    let index = Index { schema, ..(**index).clone() };
                    changes.push(CatalogChange::Put(Object::Index(Arc::new(index))));
                }
                for other in catalog.objects() {
                    if let Object::Sequence(sequence) = other
                        && sequence.owned_by.is_some_and(|(owner, _)| owner == table.oid)
                    {
                        free(&sequence.name)?;
                        let sequence = Sequence { schema, ..(**sequence).clone() };
                        changes.push(CatalogChange::Put(Object::Sequence(Arc::new(sequence))));
                    }
                }
                return self.change_table(Arc::new(moved), changes, |row| row);
            }
            Object::Sequence(sequence) => {
                if let Some(table) = sequence.owned_by.and_then(|(table, _)| catalog.table(table)) {
                    return Err(SqlError::new(
                        SqlState::FeatureNotSupported,
                        "cannot move an owned sequence into another schema",
                    )
                    .detail(format!("Sequence \"{}\" is linked to table \"{}\".", sequence.name, table.name)));
                }
                let sequence = Sequence { schema, ..(**sequence).clone() };
                changes.push(CatalogChange::Put(Object::Sequence(Arc::new(sequence))));
            }
            Object::View(view) => {
                changes.push(CatalogChange::Put(Object::View(Arc::new(View { schema, ..(**view).clone() }))));
            }
            _ => {
                let text = format!("cannot change schema of index \"{name}\"");
                return Err(
                    SqlError::new(SqlState::WrongObjectType, text).hint("Change the schema of the table instead.")
                );
            }
        }
        self.change(changes)
    }

    fn own_relation(&mut self, object: &Object, role: &RoleName) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        if let Object::Index(index) = object {
            let text = format!("cannot change owner of index \"{}\"", index.name);
            return Err(SqlError::new(SqlState::WrongObjectType, text)
                .hint("Change the ownership of the index's table instead."));
        }
        let owner = self.named_role(&catalog, role)?.oid;
        self.change(vec![CatalogChange::Put(object.with_owner(owner))])
    }

    /// Views are kept as text: what they name may not change under them.
    fn refuse_reading_views(&self, object: &Object) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let view = catalog.objects().find_map(|other| match other {
            Object::View(view) if view.depends_on.contains(&object.oid()) => Some(view.clone()),
            _ => None,
        });
        let Some(view) = view else { return Ok(()) };
        let text = format!("cannot change {} because other objects depend on it", object.name());
        Err(SqlError::new(SqlState::DependentObjectsStillExist, text)
            .detail(format!("view {} depends on {}", view.name, object.name()))
            .hint("drop the view first"))
    }

    /// ALTER TABLE … RENAME CONSTRAINT
    pub(super) fn rename_constraint(&mut self, table: &Arc<Table>, from: &str, to: &str) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        super::constraint::refuse_taken(&catalog, table, to)?;
        if let Some(index) = catalog.indexes_of(table).find(|index| index.constraint && index.name == from) {
            return self.rename_relation(&Object::Index(index.clone()), to);
        }
        let mut changed = Table::clone(table);
        let check = changed.checks.iter_mut().find(|check| check.name == from).map(|check| &mut check.name);
        let key = changed.foreign_keys.iter_mut().find(|key| key.name == from).map(|key| &mut key.name);
        let Some(name) = check.or(key) else {
            let text = format!("constraint \"{from}\" for table \"{}\" does not exist", table.name);
            return Err(SqlError::new(SqlState::UndefinedObject, text));
        };
        to.clone_into(name);
        changed.checks.sort_by(|a, b| a.name.cmp(&b.name));
        self.put(changed)
    }
}
