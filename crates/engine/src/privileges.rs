//! Whether the current role may do what a statement asks for. Source: PostgreSQL's documentation of GRANT.

use std::sync::Arc;

use perigee_plan::command::LockMode;
use perigee_plan::ddl::{AlterTable, AlterType, FunctionChange, RelationChange};
use perigee_plan::role::RoleName;
use perigee_plan::{Ddl, Need};
use perigee_query::sql::RowExpression;
use perigee_types::acl::Privileges;
use perigee_types::catalog::{Catalog, Object, TEMPORARY_SCHEMA, Table, View};
use perigee_types::rights::Rights;
use perigee_types::{Oid, SqlError, SqlResult, SqlState};

use crate::api::Severity;
use crate::identity::{Identity, denied, may_become};
use crate::session::Session;

/// How deep views may stand on views.
const VIEWS_MAX: usize = 32;

impl Session {
    /// Refuses a statement whose needs the current role is not granted.
    ///
    /// # Errors
    /// `42501`
    pub(crate) fn check_needs(&self, needs: &[Need]) -> SqlResult<()> {
        if needs.is_empty() {
            return Ok(());
        }
        let catalog = self.planning_catalog();
        let identity = self.identity(&catalog);
        // What a view's owner needs is asked for whoever reads it.
        let asked = needs.iter().filter(|need| need.by.is_some() || !identity.rights.is_superuser());
        asked.into_iter().try_for_each(|need| self.check_need(&catalog, &identity.rights, need))
    }

    /// Refuses to evaluate an expression of the catalog's that calls what `by` may not: a role, else the current one.
    ///
    /// # Errors
    /// `42501`
    pub(crate) fn check_calls(&self, expression: &RowExpression, by: Option<Oid>) -> SqlResult<()> {
        let calls = expression.calls();
        if calls.is_empty() {
            return Ok(());
        }
        let need = |object: &Oid| Need { object: *object, privileges: Privileges::EXECUTE, columns: None, by };
        self.check_needs(&calls.iter().map(need).collect::<Vec<_>>())
    }

    fn check_need(&self, catalog: &Catalog, rights: &Rights, need: &Need) -> SqlResult<()> {
        let owners = need.by.map(|owner| Rights::of(catalog, owner, self.tenant));
        let rights = owners.as_ref().unwrap_or(rights);
        if rights.is_superuser() {
            return Ok(());
        }
        // Without an entry in the catalog it is a system table that not everybody may read.
        let Some(object) = catalog.object(need.object) else {
            let system = perigee_query::exec::RESTRICTED.iter().find(|(oid, _)| *oid == need.object);
            let name = system.map(|(_, name)| *name).unwrap_or_default();
            return Err(denied(format!("permission denied for table {name}")));
        };
        // A function may be called by a view that found it.
        if let Some(schema) = object.schema().and_then(|oid| catalog.object(oid))
            && !matches!(object, Object::Function(_))
        {
            require(rights, schema, Privileges::USAGE, None)?;
        }
        require(rights, object, need.privileges, need.columns.as_deref())?;
        match object {
            // What is written through a view is among the needs.
            Object::View(view) if need.privileges.contains(Privileges::SELECT) => self.check_below(catalog, view, 0),
            _ => Ok(()),
        }
    }

    /// What a view reads is read with its owner's rights.
    fn check_below(&self, catalog: &Catalog, view: &View, depth: usize) -> SqlResult<()> {
        let rights = Rights::of(catalog, view.owner, self.tenant);
        if rights.is_superuser() || depth >= VIEWS_MAX {
            return Ok(());
        }
        for object in view.depends_on.iter().filter_map(|oid| catalog.object(*oid)) {
            match object {
                Object::View(below) => {
                    require(&rights, object, Privileges::SELECT, None)?;
                    self.check_below(catalog, below, depth + 1)?;
                }
                Object::Table(_) => require(&rights, object, Privileges::SELECT, None)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Refuses a change of the catalog that the current role may not make. DROP and changes of roles look for
    /// themselves, at what they find.
    ///
    /// # Errors
    /// `42501`
    pub(crate) fn check_ddl(&self, ddl: &Ddl) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let identity = self.identity(&catalog);
        let rights = &identity.rights;
        if rights.is_superuser() {
            return Ok(());
        }
        let create_in = |schema: &Oid| match catalog.object(*schema) {
            None if *schema == TEMPORARY_SCHEMA => match catalog.database(&self.database) {
                Some(database) if !rights.held(&Object::Database(database.clone())).contains(Privileges::TEMPORARY) => {
                    let text =
                        format!("permission denied to create temporary tables in database \"{}\"", self.database);
                    Err(denied(text))
                }
                _ => Ok(()),
            },
            Some(schema) => require(rights, schema, Privileges::CREATE, None),
            None => Ok(()),
        };
        let points_to = |table: Option<Oid>| match table.and_then(|oid| catalog.object(oid)) {
            Some(table) => require(rights, table, Privileges::REFERENCES, Some(&[])),
            None => Ok(()),
        };
        let own = |oid: Oid| match catalog.object(oid) {
            Some(object) => self.require_owner(&catalog, rights, object),
            None => Ok(()),
        };
        match ddl {
            Ddl::CreateTable { schema, foreign_keys, lineage, .. } => {
                create_in(schema)?;
                lineage.parents.iter().try_for_each(|parent| own(parent.oid))?;
                foreign_keys.iter().try_for_each(|key| points_to(key.references))
            }
            Ddl::CreateView { schema, name, .. } => {
                create_in(schema)?;
                catalog.relation(*schema, name).map_or(Ok(()), |view| own(view.oid()))
            }
            Ddl::CreateSequence { schema, .. } | Ddl::CreateMaterializedView { schema, .. } => create_in(schema),
            Ddl::RefreshMaterializedView { view, .. } => own(view.oid),
            Ddl::CreateType { schema, .. } => create_in(schema),
            Ddl::CreateFunction { function, .. } => create_in(&function.schema),
            Ddl::AlterFunction { change: FunctionChange::SetSchema(to), .. } => create_in(to),
            // Whose they are is asked where they are found.
            Ddl::DropFunctions { .. } | Ddl::AlterFunction { .. } => Ok(()),
            Ddl::AlterType { ty, action } => {
                own(*ty)?;
                match action {
                    AlterType::Owner(to) => {
                        self.check_new_owner(&catalog, &identity, &RoleName::Named(to.clone()), None)
                    }
                    _ => Ok(()),
                }
            }
            // It is there already.
            Ddl::CreateExtension { .. } => Ok(()),
            Ddl::CreateSchema { .. } => match catalog.database(&self.database) {
                Some(database) => require(rights, &Object::Database(database.clone()), Privileges::CREATE, None),
                None => Ok(()),
            },
            Ddl::CreateIndex { table, .. } => own(table.oid),
            Ddl::Hypertable(of) => own(of.table.oid),
            Ddl::AlterTable { table: Some(table), actions, only } => {
                own(table.oid)?;
                if !only && actions.iter().any(AlterTable::is_passed_on) {
                    catalog.family(table).iter().try_for_each(|below| own(below.oid))?;
                }
                actions.iter().try_for_each(|action| match action {
                    AlterTable::Attach { child: other, .. } | AlterTable::Inherit { parent: other } => own(other.oid),
                    AlterTable::AddForeignKey(key) => points_to(key.references),
                    AlterTable::Owner(to) => self.check_new_owner(&catalog, &identity, to, Some(table.schema)),
                    AlterTable::Rename { .. } => create_in(&table.schema),
                    _ => Ok(()),
                })
            }
            Ddl::AlterRelation { object: Some(oid), change, .. } => {
                own(*oid)?;
                let schema = catalog.object(*oid).and_then(Object::schema);
                match change {
                    RelationChange::Rename(_) => schema.map_or(Ok(()), |schema| create_in(&schema)),
                    RelationChange::SetSchema(to) => create_in(to),
                    RelationChange::Owner(to) => self.check_new_owner(&catalog, &identity, to, schema),
                    RelationChange::RenameColumn { .. }
                    | RelationChange::Sequence(_)
                    | RelationChange::AttachIndex(_) => Ok(()),
                }
            }
            Ddl::Comment { object, .. } => own(*object),
            Ddl::AlterTable { table: None, .. }
            | Ddl::AlterRelation { object: None, .. }
            | Ddl::Drop { .. }
            | Ddl::Truncate { .. }
            | Ddl::Role(_)
            | Ddl::Database(_) => Ok(()),
        }
    }

    /// Refuses LOCK TABLE to whom none of the privileges is granted that such a lock is for.
    ///
    /// # Errors
    /// `42501`
    pub(crate) fn check_lock(&self, named: &[Oid], mode: LockMode) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let identity = self.identity(&catalog);
        let writes = Privileges::UPDATE.with(Privileges::DELETE).with(Privileges::TRUNCATE);
        let any = match mode {
            LockMode::AccessShare => Privileges::SELECT,
            LockMode::RowExclusive => writes.with(Privileges::INSERT),
            LockMode::RowShare | LockMode::Exclusive => writes,
        };
        for object in named.iter().filter_map(|oid| catalog.object(*oid)) {
            if !identity.rights.is_superuser() && identity.rights.held(object).within(any).is_empty() {
                return Err(no_privilege(object));
            }
        }
        Ok(())
    }

    /// Whether the current role may do what the owner of the database may.
    pub(crate) fn owns_database(&self) -> bool {
        let catalog = self.latest_catalog();
        let rights = &self.identity(&catalog).rights;
        let database = catalog.database(&self.database);
        rights.is_superuser()
            || database.is_some_and(|database| rights.owns(&Object::Database(database.clone()), &catalog))
    }

    /// Those of some tables, of all where none are named, that the current role may VACUUM or ANALYZE; it is warned of
    /// the others.
    pub(crate) fn maintained(&mut self, tables: &[Arc<Table>], verb: &str) -> Vec<Arc<Table>> {
        let catalog = self.latest_catalog();
        let all: Vec<Arc<Table>> = match tables {
            [] => catalog
                .objects()
                .filter_map(|object| match object {
                    Object::Table(table) if !catalog.is_temporary(table.schema) => Some(table.clone()),
                    _ => None,
                })
                .collect(),
            named => named.to_vec(),
        };
        if self.owns_database() {
            return all;
        }
        let rights = &self.identity(&catalog).rights;
        let (own, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|table| rights.owns(&Object::Table(table.clone()), &catalog));
        for table in others {
            let text = format!("skipping \"{}\" --- only table or database owner can {verb} it", table.name);
            self.notice(Severity::Warning, SqlError::new(SqlState::Warning, text));
        }
        own
    }

    /// Refuses REINDEX of what the current role does not own.
    ///
    /// # Errors
    /// `42501`
    pub(crate) fn check_reindex(&self, object: Option<Oid>) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let identity = self.identity(&catalog);
        let database = || catalog.database(&self.database).map(|database| Object::Database(database.clone()));
        match object.map_or_else(database, |oid| catalog.object(oid).cloned()) {
            Some(object) if !identity.rights.is_superuser() => self.require_owner(&catalog, &identity.rights, &object),
            _ => Ok(()),
        }
    }

    /// Refuses to give an object to a role that the current one may not act as.
    pub(crate) fn check_new_owner(
        &self,
        catalog: &Catalog,
        identity: &Identity,
        to: &RoleName,
        schema: Option<Oid>,
    ) -> SqlResult<()> {
        let to = self.named_role(catalog, to)?;
        if !may_become(catalog, &identity.role, to.oid) {
            return Err(denied(format!("must be able to SET ROLE \"{}\"", to.name)));
        }
        match schema.and_then(|schema| catalog.object(schema)) {
            Some(schema) if !identity.rights.is_superuser() => {
                require(&Rights::of(catalog, to.oid, self.tenant), schema, Privileges::CREATE, None)
            }
            _ => Ok(()),
        }
    }

    /// Refuses what only the owner may do.
    ///
    /// # Errors
    /// `42501`
    pub(crate) fn require_owner(&self, catalog: &Catalog, rights: &Rights, object: &Object) -> SqlResult<()> {
        if rights.owns(object, catalog) {
            return Ok(());
        }
        Err(denied(format!("must be owner of {} {}", noun(object), object.name())))
    }
}

/// `42501` unless the object allows it.
pub(crate) fn require(
    rights: &Rights,
    object: &Object,
    privileges: Privileges,
    columns: Option<&[u16]>,
) -> SqlResult<()> {
    if rights.allows(object, privileges, columns) { Ok(()) } else { Err(no_privilege(object)) }
}

pub(crate) fn no_privilege(object: &Object) -> SqlError {
    denied(format!("permission denied for {} {}", noun(object), object.name()))
}

/// An object's kind as errors name it.
pub(crate) fn noun(object: &Object) -> &'static str {
    match object {
        Object::Database(_) => "database",
        Object::Schema(_) => "schema",
        Object::Table(table) if table.materialized.is_some() => "materialized view",
        Object::Table(_) => "table",
        Object::Index(_) => "index",
        Object::Sequence(_) => "sequence",
        Object::View(_) => "view",
        Object::Role(_) => "role",
        Object::Type(_) => "type",
        Object::Function(_) => "function",
    }
}
