//! DROP TABLE, VIEW, MATERIALIZED VIEW, INDEX, SEQUENCE, SCHEMA, TYPE, DOMAIN.

use std::collections::BTreeSet;
use std::sync::Arc;

use perigee_plan::ddl::DropKind;
use perigee_types::catalog::{Catalog, CatalogChange, Object, Table, TypeKind, UserType};
use perigee_types::{Oid, SqlError, SqlResult, SqlState};

use crate::api::Severity;
use crate::session::Session;

impl Session {
    pub(super) async fn drop_objects(
        &mut self,
        kind: DropKind,
        names: &[(Option<String>, String)],
        if_exists: bool,
        cascade: bool,
    ) -> SqlResult<()> {
        let mut wanted = Vec::new();
        for (schema, name) in names {
            let catalog = self.latest_catalog();
            match self.find_to_drop(&catalog, kind, schema.as_deref(), name)? {
                Some(object) => wanted.push(object),
                None if if_exists => self.notify(format!("{} \"{name}\" does not exist, skipping", noun(kind))),
                None => return Err(missing(kind, name)),
            }
        }
        let catalog = self.latest_catalog();
        let identity = self.identity(&catalog);
        for object in &wanted {
            self.check_only(object.oid())?;
            // The owner of a schema may empty it.
            let schema = object.schema().and_then(|oid| catalog.object(oid));
            if !schema.is_some_and(|schema| identity.rights.owns(schema, &catalog)) {
                self.require_owner(&catalog, &identity.rights, object)?;
            }
        }
        self.drop_found(&wanted, cascade).await
    }

    /// Drops objects, and with them what belongs to them or, with CASCADE, depends on them.
    pub(crate) async fn drop_found(&mut self, wanted: &[Object], cascade: bool) -> SqlResult<()> {
        for object in wanted {
            if let Object::Table(table) = object {
                self.lock_table(table.oid, &table.name).await?;
            }
            if let Object::Index(index) = object {
                let name = index.name.clone();
                let table = self.lock_table(index.table, &name).await?;
                let what = format!("index {name}");
                self.drop_dependent_keys(&table, (&what, &what), cascade, |key| key.index == index.oid).await?;
            }
        }
        let catalog = self.latest_catalog();
        let (gone, _) = closure(&catalog, wanted, cascade)?;
        self.drop_columns_of(&gone, cascade).await?;
        let catalog = self.latest_catalog();
        let (gone, edited) = closure(&catalog, wanted, cascade)?;
        for oid in &gone {
            if let Some(table) = catalog.table(*oid)
                && !wanted.iter().any(|o| o.oid() == *oid)
            {
                self.lock_table(table.oid, &table.name.clone()).await?;
            }
        }
        for table in edited {
            let before = self.lock_table(table.oid, &table.name).await?;
            let narrowed = super::index::narrowed(&before, &table);
            self.change_table(Arc::new(table), Vec::new(), narrowed)?;
        }
        let storages: Vec<Oid> = gone.iter().filter_map(|oid| catalog.table(*oid)).map(|t| t.storage).collect();
        self.change(gone.into_iter().map(CatalogChange::Remove).collect())?;
        for storage in storages {
            self.transaction()?.writes.forget(storage);
        }
        Ok(())
    }

    /// Drops views whose tables have lost what they read, with what depends on them, and tells so.
    pub(super) async fn drop_dependents(&mut self, views: &[Object]) -> SqlResult<()> {
        if views.is_empty() {
            return Ok(());
        }
        let catalog = self.latest_catalog();
        let (gone, _) = closure(&catalog, views, true)?;
        let gone = gone.iter().filter_map(|oid| catalog.object(*oid));
        let told = gone.filter(|object| matches!(object, Object::View(_) | Object::Table(_)));
        let told: Vec<String> = told.map(|object| format!("drop cascades to {}", described(object))).collect();
        let notice = match told.as_slice() {
            [one] => SqlError::new(SqlState::Warning, one.as_str()),
            all => SqlError::new(SqlState::Warning, format!("drop cascades to {} other objects", all.len()))
                .detail(all.join("\n")),
        };
        self.notice(Severity::Notice, notice);
        Box::pin(self.drop_found(views, true)).await
    }

    fn find_to_drop(
        &self,
        catalog: &Catalog,
        kind: DropKind,
        schema: Option<&str>,
        name: &str,
    ) -> SqlResult<Option<Object>> {
        if kind == DropKind::Schema {
            return match catalog.schema(self.tenant, name) {
                Some(schema) if schema.oid.0 < perigee_types::catalog::FIRST_USER_OID && schema.name != "public" => {
                    Err(SqlError::new(
                        SqlState::InsufficientPrivilege,
                        format!("permission denied to drop schema \"{name}\": it is a system schema"),
                    ))
                }
                found => Ok(found.cloned().map(Object::Schema)),
            };
        }
        if kind == DropKind::Extension {
            return match perigee_types::catalog::extension(name) {
                Some(_) => Err(SqlError::new(
                    SqlState::DependentObjectsStillExist,
                    format!("cannot drop extension {name} because it is required by the database system"),
                )),
                None => Ok(None),
            };
        }
        let path = match schema {
            Some(schema) => vec![schema.to_owned()],
            None => self.search_path(catalog).schemas.to_vec(),
        };
        if matches!(kind, DropKind::Type | DropKind::Domain) {
            let within = |schema: &String| catalog.user_type(catalog.schema(self.tenant, schema)?.oid, name);
            let found = path.iter().find_map(within).cloned();
            let is_domain = |ty: &UserType| matches!(ty.kind, TypeKind::Domain(_));
            if kind == DropKind::Domain && found.as_ref().is_some_and(|ty| !is_domain(ty)) {
                return Err(SqlError::new(SqlState::WrongObjectType, format!("\"{name}\" is not a domain")));
            }
            if let Some(ty) = &found
                && let TypeKind::Multirange(of) = &ty.kind
            {
                return Err(SqlError::new(
                    SqlState::DependentObjectsStillExist,
                    format!("cannot drop type {name} because type {} requires it", of.name),
                )
                .hint(format!("You can drop type {} instead.", of.name)));
            }
            return Ok(found.map(Object::Type));
        }
        for schema in path {
            let Some(schema) = catalog.schema(self.tenant, &schema) else { continue };
            if let Some(object) = catalog.relation(schema.oid, name) {
                let is_materialized = matches!(object, Object::Table(table) if table.materialized.is_some());
                let fits = match kind {
                    DropKind::Table => matches!(object, Object::Table(_)) && !is_materialized,
                    DropKind::MaterializedView => is_materialized,
                    _ => false,
                } || matches!(
                    (kind, object),
                    (DropKind::View, Object::View(_))
                        | (DropKind::Index, Object::Index(_))
                        | (DropKind::Sequence, Object::Sequence(_))
                );
                if !fits {
                    return Err(SqlError::new(
                        SqlState::WrongObjectType,
                        format!("\"{name}\" is not {}", article(kind)),
                    ));
                }
                if let Object::Index(index) = object
                    && let Some(parent) = index.parent.and_then(|parent| catalog.index(parent))
                {
                    return Err(SqlError::new(
                        SqlState::DependentObjectsStillExist,
                        format!("cannot drop index {name} because index {} requires it", parent.name),
                    )
                    .hint(format!("You can drop index {} instead.", parent.name)));
                }
                if let Object::Index(index) = object
                    && index.constraint
                {
                    return Err(SqlError::new(
                        SqlState::DependentObjectsStillExist,
                        format!("cannot drop index {name} because constraint {name} requires it"),
                    )
                    .hint(format!("You can drop constraint {name} instead.")));
                }
                return Ok(Some(object.clone()));
            }
        }
        Ok(None)
    }
}

/// All that goes with the wanted objects, and tables that only lose an index or a default.
fn closure(catalog: &Catalog, wanted: &[Object], cascade: bool) -> SqlResult<(BTreeSet<Oid>, Vec<Table>)> {
    let mut gone: BTreeSet<Oid> = wanted.iter().map(Object::oid).collect();
    loop {
        let before = gone.len();
        for object in catalog.objects() {
            let oid = object.oid();
            if gone.contains(&oid) {
                continue;
            }
            // What belongs to an object goes with it; what merely uses it needs CASCADE.
            let belongs = match object {
                Object::Table(table) => table.is_partition() && table.parents.iter().any(|p| gone.contains(p)),
                Object::Index(index) => {
                    gone.contains(&index.table) || index.parent.is_some_and(|parent| gone.contains(&parent))
                }
                Object::Sequence(sequence) => sequence.owned_by.is_some_and(|(table, _)| gone.contains(&table)),
                // The type of several ranges of a type.
                Object::Type(ty) => match &ty.kind {
                    TypeKind::Multirange(of) => gone.contains(&of.oid),
                    _ => false,
                },
                _ => false,
            };
            let uses = match object {
                Object::View(view) => {
                    let types = view.columns.iter().filter_map(|(_, ty)| ty.user_type());
                    let needs = view.depends_on.iter().copied().chain([view.schema]).chain(types);
                    needs.into_iter().find_map(|oid| gone.get(&oid))
                }
                Object::Table(table) => {
                    let reads = table.materialized.iter().flat_map(|materialized| &materialized.depends_on);
                    reads.chain(&table.parents).chain([&table.schema]).find_map(|oid| gone.get(oid))
                }
                Object::Sequence(sequence) => gone.get(&sequence.schema),
                Object::Type(ty) => {
                    let below = ty.below().into_iter().chain(ty.calls());
                    below.chain([ty.schema]).find_map(|oid| gone.get(&oid))
                }
                Object::Function(function) => {
                    function.user_types().chain([function.schema]).find_map(|oid| gone.get(&oid))
                }
                _ => None,
            };
            if let (Some(on), false) = (uses, cascade || belongs) {
                let on = catalog.object(*on).map(described).unwrap_or_default();
                return Err(SqlError::new(
                    SqlState::DependentObjectsStillExist,
                    format!("cannot drop {on} because other objects depend on it"),
                )
                .detail(format!("{} depends on {on}", described(object)))
                .hint("Use DROP ... CASCADE to drop the dependent objects too."));
            }
            if belongs || uses.is_some() {
                gone.insert(oid);
            }
        }
        if gone.len() == before {
            break;
        }
    }
    let mut edited = Vec::new();
    for object in catalog.objects() {
        let Object::Table(table) = object else { continue };
        if gone.contains(&table.oid) {
            continue;
        }
        let mut changed = Table::clone(table);
        for index in catalog.indexes_of(table).filter(|index| gone.contains(&index.oid)) {
            changed = super::index::without_index(&changed, index);
        }
        changed.aggregates.retain(|oid| !gone.contains(oid));
        changed.primary_key = changed.primary_key.filter(|oid| !gone.contains(oid));
        if catalog.children(table.oid).any(|child| gone.contains(&child.oid)) {
            // What is kept for its family goes by its version.
            changed.version += 1;
        }
        if let Some(key) = table.foreign_keys.iter().find(|key| gone.contains(&key.references))
            && let (false, Some(on)) = (cascade, catalog.object(key.references).map(described))
        {
            return Err(SqlError::new(
                SqlState::DependentObjectsStillExist,
                format!("cannot drop {on} because other objects depend on it"),
            )
            .detail(format!("constraint {} on table {} depends on {on}", key.name, table.name))
            .hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        changed.foreign_keys.retain(|key| !gone.contains(&key.references));
        for column in &mut changed.columns {
            if let Some(perigee_types::catalog::ColumnDefault::Sequence(sequence)) = &column.default
                && gone.contains(sequence)
            {
                if !cascade {
                    return Err(SqlError::new(
                        SqlState::DependentObjectsStillExist,
                        "cannot drop the sequence because other objects depend on it",
                    )
                    .detail(format!("default value for column {} of table {} depends on it", column.name, table.name))
                    .hint("Use DROP ... CASCADE to drop the dependent objects too."));
                }
                column.default = None;
            }
        }
        if changed != **table {
            changed.version = table.version + 1;
            edited.push(changed);
        }
    }
    Ok((gone, edited))
}

/// An object with its kind, as PostgreSQL names it in a detail.
fn described(object: &Object) -> String {
    if let Object::Function(function) = object {
        return format!("function {}", super::function::signature(function));
    }
    format!("{} {}", crate::privileges::noun(object), object.name())
}

fn noun(kind: DropKind) -> &'static str {
    match kind {
        DropKind::Table => "table",
        DropKind::View => "view",
        DropKind::MaterializedView => "materialized view",
        DropKind::Index => "index",
        DropKind::Sequence => "sequence",
        DropKind::Schema => "schema",
        DropKind::Type | DropKind::Domain => "type",
        DropKind::Extension => "extension",
    }
}

fn article(kind: DropKind) -> &'static str {
    match kind {
        DropKind::Table => "a table",
        DropKind::View => "a view",
        DropKind::MaterializedView => "a materialized view",
        DropKind::Index => "an index",
        DropKind::Sequence => "a sequence",
        DropKind::Schema => "a schema",
        DropKind::Type | DropKind::Domain => "a type",
        DropKind::Extension => "an extension",
    }
}

fn missing(kind: DropKind, name: &str) -> SqlError {
    let state = match kind {
        DropKind::Table | DropKind::View | DropKind::MaterializedView | DropKind::Sequence => SqlState::UndefinedTable,
        DropKind::Index | DropKind::Type | DropKind::Domain | DropKind::Extension => SqlState::UndefinedObject,
        DropKind::Schema => SqlState::InvalidSchemaName,
    };
    SqlError::new(state, format!("{} \"{name}\" does not exist", noun(kind)))
}
