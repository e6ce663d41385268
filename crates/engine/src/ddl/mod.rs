//! Changes of the catalog: CREATE, ALTER, DROP, TRUNCATE, COMMENT.
//!
//! DDL is transactional: its changes are buffered beside the rows and logged with them in one entry. One transaction at a
//! time changes the catalog (it holds [`LockKey::Catalog`] to its end), so it always builds on the latest version, and
//! whoever changes a table holds it exclusively, so no row is written under it meanwhile.

mod alter;
mod chunk;
mod constraint;
mod create;
mod database;
mod drop;
mod function;
mod index;
mod materialized;
mod names;
mod partition;
mod relation;
mod rewrite;
pub(crate) mod role;
mod sequence;
mod truncate;
mod user_type;

use std::sync::Arc;

use perigee_plan::{Ddl, Prepared, RoleChange};
use perigee_types::catalog::{Catalog, CatalogChange, Object, Table};
use perigee_types::{Oid, SqlError, SqlResult, SqlState, Value};

use crate::api::{CommandTag, Outcome, RowBlock, RowStream, Severity};
use crate::locks::{LockKey, LockMode};
use crate::session::Session;
use crate::write_set::UniqueKeys;

impl Session {
    pub(crate) async fn run_ddl(&mut self, prepared: &Prepared, ddl: &Ddl, parameters: &[Value]) -> SqlResult<Outcome> {
        if !matches!(ddl, Ddl::Drop { .. } | Ddl::Truncate { .. }) {
            self.engine.check_disk(0)?;
        }
        self.lock_catalog(prepared.tag).await?;
        self.check_ddl(ddl)?;
        let mut rows = None;
        match ddl {
            Ddl::CreateExtension { name, if_not_exists } => {
                let there = format!("extension \"{name}\" already exists");
                // PostgreSQL has it in each new database too; a script that makes any other finds what it wants.
                if !if_not_exists && name == "plpgsql" {
                    return Err(SqlError::new(SqlState::DuplicateObject, there));
                }
                self.notify(format!("{there}, skipping"));
            }
            Ddl::CreateTable { .. } => rows = self.create_table(ddl, parameters).await?,
            Ddl::CreateView { .. } => self.create_view(ddl)?,
            Ddl::CreateMaterializedView { .. } => rows = self.create_materialized_view(ddl).await?,
            Ddl::RefreshMaterializedView { .. } => self.refresh_materialized_view(ddl).await?,
            Ddl::CreateSchema { name, if_not_exists, owner } => {
                self.create_schema(name, *if_not_exists, owner.as_ref())?;
            }
            Ddl::Role(RoleChange::CreateApiKey { role, name, expires, read_only }) => {
                let row = self.create_api_key(role, name, *expires, *read_only)?;
                self.audit_ddl(prepared, ddl);
                let columns = prepared.columns.clone().unwrap_or_else(|| Vec::new().into());
                return Ok(Outcome::Rows(columns, RowStream::ready(prepared.tag, RowBlock::Values(vec![row]))));
            }
            Ddl::Role(change) => Box::pin(self.change_roles(change)).await?,
            Ddl::Database(change) => Box::pin(self.change_database(change)).await?,
            Ddl::CreateSequence { .. } => self.create_sequence(ddl)?,
            Ddl::CreateType { schema, name, definition } => self.create_type(*schema, name, definition)?,
            Ddl::CreateFunction { replace, function } => self.create_function(function, *replace)?,
            Ddl::AlterFunction { name, change } => self.alter_function(name, change)?,
            Ddl::DropFunctions { names, if_exists, cascade } => self.drop_functions(names, *if_exists, *cascade)?,
            Ddl::AlterType { ty, action } => self.alter_type(*ty, action).await?,
            Ddl::CreateIndex { .. } => self.create_index(ddl).await?,
            Ddl::Hypertable(of) => {
                let created = self.create_hypertable(of).await?;
                let columns = prepared.columns.clone().unwrap_or_else(|| Vec::new().into());
                let schema = crate::rows::schema_name(&self.latest_catalog(), &of.table);
                let row = chunk::hypertable_row(of.table.oid, &schema, &of.table.name, created);
                let row = if of.whole { vec![chunk::as_record(&row)] } else { row };
                return Ok(Outcome::Rows(columns, RowStream::ready("SELECT", RowBlock::Values(vec![row]))));
            }
            Ddl::AlterTable { table, actions, only } => match table {
                Some(table) => self.alter_table(table, actions, *only).await?,
                None => self.notify("relation does not exist, skipping"),
            },
            Ddl::AlterRelation { object, name, change } => self.alter_relation(*object, name, change).await?,
            Ddl::Drop { kind, names, if_exists, cascade } => {
                self.drop_objects(*kind, names, *if_exists, *cascade).await?;
            }
            Ddl::Truncate { tables, restart_identity, cascade } => {
                self.truncate(tables, *restart_identity, *cascade).await?;
            }
            Ddl::Comment { object, column, constraint, text } => {
                self.comment(*object, *column, *constraint, text.clone())?;
            }
        }
        self.audit_ddl(prepared, ddl);
        let name = match ddl {
            _ if rows.is_some() => "SELECT",
            // There was one already.
            Ddl::CreateTable { source: Some(_), .. } => "CREATE TABLE AS",
            _ => prepared.tag,
        };
        let tag = CommandTag { name, rows };
        Ok(Outcome::Command(tag))
    }

    pub(crate) async fn lock_catalog(&mut self, command: &str) -> SqlResult<()> {
        let (wait, cancel) = (self.lock_wait(), self.cancel.clone());
        let transaction = self.transaction()?;
        transaction.check_writable(command)?;
        transaction.has_run = true;
        transaction.lock(LockKey::Catalog, LockMode::Exclusive, None, wait, &cancel).await?;
        Ok(())
    }

    /// Takes a table for itself and gives its latest definition.
    pub(crate) async fn lock_table(&mut self, oid: Oid, name: &str) -> SqlResult<Arc<Table>> {
        let (wait, cancel) = (self.lock_wait(), self.cancel.clone());
        let transaction = self.transaction()?;
        transaction.lock(LockKey::Table(oid), LockMode::Exclusive, None, wait, &cancel).await?;
        self.latest_catalog()
            .table(oid)
            .cloned()
            .ok_or_else(|| SqlError::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist")))
    }

    /// The committed catalog with this transaction's own changes.
    pub(crate) fn latest_catalog(&self) -> Arc<Catalog> {
        match self.transaction.as_ref().and_then(|t| t.writes.catalog()) {
            Some(own) => own.clone(),
            None => self.engine.store.catalog(),
        }
    }

    pub(crate) fn change(&mut self, changes: Vec<CatalogChange>) -> SqlResult<()> {
        for change in &changes {
            if let CatalogChange::Put(object) = change {
                refuse_temporary_types(object, &self.latest_catalog())?;
            }
            if let CatalogChange::Put(Object::Sequence(sequence)) = change {
                match self.latest_catalog().sequence(sequence.oid) {
                    None => self.services.own_sequence(sequence.clone(), sequence.start),
                    Some(_) => self.services.redefine_own_sequence(sequence),
                }
            }
        }
        let base = self.engine.store.catalog();
        self.transaction()?.writes.change_catalog(&base, changes);
        Ok(())
    }

    /// Puts a changed table, and makes the transaction's own rows follow it.
    fn change_table(
        &mut self,
        table: Arc<Table>,
        mut others: Vec<CatalogChange>,
        convert: impl Fn(perigee_types::Row) -> perigee_types::Row,
    ) -> SqlResult<()> {
        let mut changes = vec![CatalogChange::Put(Object::Table(table.clone()))];
        changes.append(&mut others);
        self.change(changes)?;
        let catalog = self.latest_catalog();
        let unique = UniqueKeys::of(&table, &catalog);
        self.transaction()?.writes.retarget(&table, &unique, convert).map_err(|index| {
            SqlError::new(SqlState::UniqueViolation, format!("could not create unique index \"{index}\""))
        })
    }

    pub(crate) fn notify(&mut self, text: impl Into<String>) {
        self.notice(Severity::Notice, SqlError::new(SqlState::Warning, text));
    }

    fn comment(
        &mut self,
        oid: Oid,
        column: Option<u16>,
        constraint: Option<Oid>,
        text: Option<String>,
    ) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let object = match catalog.object(oid) {
            Some(Object::Table(table)) => {
                let mut table = Table::clone(table);
                match (column, constraint) {
                    (_, Some(constraint)) => {
                        table.constraint_comments.retain(|(of, _)| *of != constraint);
                        table.constraint_comments.extend(text.map(|text| (constraint, text)));
                    }
                    (Some(number), None) => {
                        if let Some(column) = table.columns.iter_mut().find(|c| c.number == number) {
                            column.comment = text;
                        }
                    }
                    (None, None) => table.comment = text,
                }
                Object::Table(Arc::new(table))
            }
            Some(Object::Index(index)) => {
                Object::Index(Arc::new(perigee_types::catalog::Index { comment: text, ..(**index).clone() }))
            }
            Some(Object::View(view)) => {
                Object::View(Arc::new(perigee_types::catalog::View { comment: text, ..(**view).clone() }))
            }
            Some(Object::Type(ty)) => {
                Object::Type(Arc::new(perigee_types::catalog::UserType { comment: text, ..(**ty).clone() }))
            }
            Some(Object::Sequence(sequence)) => {
                Object::Sequence(Arc::new(perigee_types::catalog::Sequence { comment: text, ..(**sequence).clone() }))
            }
            // An empty comment is none, also for a schema that has one by itself.
            Some(Object::Schema(schema)) => Object::Schema(Arc::new(perigee_types::catalog::Schema {
                comment: Some(text.unwrap_or_default()),
                ..(**schema).clone()
            })),
            _ => return Err(SqlError::unsupported("COMMENT ON this kind of object")),
        };
        self.change(vec![CatalogChange::Put(object)])
    }
}

/// Oids for new objects of one statement.
pub(crate) struct Oids(u32);

impl Oids {
    pub(crate) fn new(catalog: &Catalog) -> Self {
        Self(catalog.next_oid())
    }

    pub(crate) fn next(&mut self) -> Oid {
        let oid = Oid(self.0);
        self.0 += 1;
        oid
    }
}

/// Refuses a type of a session in what stays behind it.
fn refuse_temporary_types(object: &Object, catalog: &Catalog) -> SqlResult<()> {
    if object.schema().is_none_or(|schema| catalog.is_temporary(schema)) {
        return Ok(());
    }
    let is_temporary = |ty: Oid| {
        let schema = catalog.object(ty).and_then(Object::schema);
        schema.is_some_and(|schema| catalog.is_temporary(schema))
    };
    let found = match object {
        Object::Table(table) => {
            let mut types = table.columns.iter().flat_map(|column| [column.domain, column.ty.user_type()]);
            types.any(|ty| ty.is_some_and(is_temporary))
        }
        Object::View(view) => view.columns.iter().filter_map(|(_, ty)| ty.user_type()).any(is_temporary),
        Object::Function(function) => function.user_types().any(is_temporary),
        Object::Type(ty) => ty.below().is_some_and(is_temporary),
        _ => false,
    };
    if found { Err(SqlError::unsupported("a temporary type in what is not temporary")) } else { Ok(()) }
}
