//! What a statement's session sees of the catalog.

use std::sync::Arc;

use perigee_types::catalog::{
    Catalog, Database, Function, Index, Object, Role, Schema, Sequence, Table, UserType, View, is_system_schema,
};
use perigee_types::{Oid, SqlType, TenantId};

use super::definition::{self, Definition};
use crate::exec::{ReadView, SessionFacts};
use crate::sql::{PlanContext, TemporarySchema};

/// The catalog of a statement's snapshot, as far as its database's tenant goes.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    view: &'a ReadView,
}

/// What has a row in `pg_class`.
#[derive(Clone, Copy)]
pub(super) enum Relation<'a> {
    Table(&'a Arc<Table>),
    Index(&'a Arc<Index>),
    Sequence(&'a Arc<Sequence>),
    View(&'a Arc<View>),
    System(&'static Definition),
}

/// Where a continuous aggregate stands: none of the user's sequences.
fn is_position(sequence: &Sequence) -> bool {
    sequence.owned_by.is_some_and(|(_, column)| column == 0)
}

impl<'a> Scope<'a> {
    pub(super) fn new(view: &'a ReadView) -> Self {
        Self { view }
    }

    pub(super) fn view(&self) -> &'a ReadView {
        self.view
    }

    pub(super) fn catalog(&self) -> &'a Catalog {
        &self.view.snapshot.catalog
    }

    /// Which columns of a view a statement may change; `None` where its rows are not rows of one table.
    pub(super) fn updatable_columns(&self, view: &View) -> Option<Vec<bool>> {
        let session = self.session();
        let temporary = TemporarySchema { name: &session.temporary_schema, implicit: session.implicit_temporary };
        let context = PlanContext {
            catalog: &self.view.snapshot.catalog,
            tenant: session.tenant,
            database: &session.database,
            search_path: session.listed_schemas(),
            temporary,
            user: &session.user,
            role: session.role,
            settings: &|_| None,
            maintains: None,
            declared: &[],
            uses: None,
            relations: &[],
        };
        crate::sql::updatable_columns(view, &context)
    }

    pub(super) fn session(&self) -> &'a SessionFacts {
        &self.view.session
    }

    /// Everything that has a row in `pg_class`, by oid.
    pub(super) fn relations(&self) -> impl Iterator<Item = Relation<'a>> + use<'a> {
        let scope = *self;
        let own = self.catalog().objects().filter_map(move |object| scope.relation_of(object));
        definition::all().map(Relation::System).chain(own)
    }

    /// The relation with an oid.
    pub(super) fn relation(&self, oid: Oid) -> Option<Relation<'a>> {
        match self.catalog().object(oid) {
            Some(object) => self.relation_of(object),
            None => definition::all().find(|d| d.oid == oid.0).map(Relation::System),
        }
    }

    fn relation_of(&self, object: &'a Object) -> Option<Relation<'a>> {
        let tenant = self.session().tenant;
        match object {
            Object::Table(t) if t.tenant == tenant => Some(Relation::Table(t)),
            Object::Index(i) => {
                self.catalog().table(i.table).filter(|t| t.tenant == tenant).map(|_| Relation::Index(i))
            }
            Object::Sequence(s) if s.tenant == tenant && !is_position(s) => Some(Relation::Sequence(s)),
            Object::View(v) if v.tenant == tenant => Some(Relation::View(v)),
            _ => None,
        }
    }

    pub(super) fn catalog_arc(&self) -> &'a Arc<Catalog> {
        &self.view.snapshot.catalog
    }

    /// The types that users made.
    pub(super) fn user_types(&self) -> impl Iterator<Item = &'a Arc<UserType>> + use<'a> {
        let tenant = self.session().tenant;
        self.catalog().user_types().filter(move |ty| ty.tenant == tenant)
    }

    /// The type that has an oid, or whose arrays have it (`true`).
    pub(super) fn user_type(&self, oid: Oid) -> Option<(&'a Arc<UserType>, bool)> {
        user_type(self.catalog(), self.session().tenant, oid)
    }

    /// Whether a bare name means this type.
    pub(super) fn type_is_visible(&self, ty: &UserType) -> bool {
        type_is_visible(self.catalog(), self.session().tenant, &self.session().search_path, ty)
    }

    /// The functions that users made.
    pub(super) fn functions(&self) -> impl Iterator<Item = &'a Arc<Function>> + use<'a> {
        let tenant = self.session().tenant;
        self.catalog().objects().filter_map(move |object| match object {
            Object::Function(function) if function.tenant == tenant => Some(function),
            _ => None,
        })
    }

    /// The function with an oid.
    pub(super) fn function(&self, oid: Oid) -> Option<&'a Arc<Function>> {
        self.catalog().function(oid).filter(|function| function.tenant == self.session().tenant)
    }

    /// The functions of a name, by the search path where it has no schema, in the order of their oids.
    pub(super) fn functions_named(&self, schema: Option<&str>, name: &str) -> Vec<&'a Arc<Function>> {
        let within = |schema: &str| {
            let schema = self.catalog().schema(self.session().tenant, schema);
            schema.into_iter().flat_map(|schema| self.catalog().functions(schema.oid, name)).collect::<Vec<_>>()
        };
        match schema {
            Some(schema) => within(schema),
            None => self
                .session()
                .search_path
                .iter()
                .map(|schema| within(schema))
                .find(|f| !f.is_empty())
                .unwrap_or_default(),
        }
    }

    /// Whether a bare name means this function.
    pub(super) fn function_is_visible(&self, function: &Function) -> bool {
        self.functions_named(None, &function.name).iter().any(|found| found.oid == function.oid)
    }

    /// The tables that users made.
    pub(super) fn tables(&self) -> impl Iterator<Item = &'a Arc<Table>> + use<'a> {
        let tenant = self.session().tenant;
        self.catalog().objects().filter_map(move |object| match object {
            Object::Table(table) if table.tenant == tenant => Some(table),
            _ => None,
        })
    }

    /// Indexes with their tables.
    pub(super) fn indexes(&self) -> impl Iterator<Item = (&'a Arc<Table>, &'a Arc<Index>)> + use<'a> {
        let catalog = self.catalog();
        self.tables().flat_map(move |table| catalog.indexes_of(table).map(move |index| (table, index)))
    }

    /// Whether a foreign key leaves the relation or points to it.
    pub(super) fn has_key_triggers(&self, relation: Relation<'_>) -> bool {
        match relation {
            Relation::Table(table) => {
                !table.foreign_keys.is_empty() || self.catalog().referencing(table.oid).next().is_some()
            }
            _ => false,
        }
    }

    pub(super) fn views(&self) -> impl Iterator<Item = &'a Arc<View>> + use<'a> {
        let tenant = self.session().tenant;
        self.catalog().objects().filter_map(move |object| match object {
            Object::View(view) if view.tenant == tenant => Some(view),
            _ => None,
        })
    }

    pub(super) fn sequences(&self) -> impl Iterator<Item = &'a Arc<Sequence>> + use<'a> {
        let tenant = self.session().tenant;
        self.catalog().objects().filter_map(move |object| match object {
            Object::Sequence(sequence) if sequence.tenant == tenant && !is_position(sequence) => Some(sequence),
            _ => None,
        })
    }

    pub(super) fn schemas(&self) -> impl Iterator<Item = &'a Arc<Schema>> + use<'a> {
        let tenant = self.session().tenant;
        self.catalog().objects().filter_map(move |object| match object {
            Object::Schema(schema) if schema.tenant == tenant || is_system_schema(&schema.name) => Some(schema),
            _ => None,
        })
    }

    pub(super) fn roles(&self) -> impl Iterator<Item = &'a Arc<Role>> + use<'a> {
        self.catalog().objects().filter_map(|object| match object {
            Object::Role(role) => Some(role),
            _ => None,
        })
    }

    pub(super) fn databases(&self) -> impl Iterator<Item = &'a Arc<Database>> + use<'a> {
        self.catalog().objects().filter_map(|object| match object {
            Object::Database(database) => Some(database),
            _ => None,
        })
    }

    /// The name of a schema; empty where there is none.
    pub(super) fn schema_name(&self, schema: Oid) -> &'a str {
        match self.catalog().object(schema) {
            Some(Object::Schema(schema)) => &schema.name,
            _ => "",
        }
    }

    /// The oid of a schema of this tenant, zero where there is none.
    pub(super) fn schema_oid(&self, name: &str) -> Oid {
        self.catalog().schema(self.session().tenant, name).map_or(Oid(0), |s| s.oid)
    }

    /// The name of a role, or PostgreSQL's words for an oid without one.
    pub(super) fn role_name(&self, role: Oid) -> String {
        match self.catalog().object(role) {
            Some(Object::Role(role)) => role.name.clone(),
            _ => format!("unknown (OID={role})"),
        }
    }

    /// The schemas that bare names are looked up in, in order.
    fn path(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let path = &self.session().search_path;
        let implicit = (!path.iter().any(|s| s == "pg_catalog")).then_some("pg_catalog");
        implicit.into_iter().chain(path.iter().map(String::as_str))
    }

    /// The relation of a name, by the search path where it names no schema.
    pub(super) fn find(&self, schema: Option<&str>, name: &str) -> Option<Relation<'a>> {
        let within = |schema: &str| match definition::find(schema, name) {
            Some(definition) => Some(Relation::System(definition)),
            None => {
                let schema = self.catalog().schema(self.session().tenant, schema)?;
                self.catalog().relation(schema.oid, name).and_then(|object| self.relation_of(object))
            }
        };
        match schema {
            Some(schema) => within(schema),
            None => self.path().find_map(within),
        }
    }

    /// Whether a bare name means this relation.
    pub(super) fn is_visible(&self, relation: Relation<'a>) -> bool {
        self.find(None, relation.name()).is_some_and(|found| found.oid() == relation.oid())
    }

    /// Rows of a table, about.
    pub(super) fn row_count(&self, table: &Table) -> u64 {
        self.view.snapshot.table(table.storage).map_or(0, |t| t.row_count())
    }
}

impl<'a> Relation<'a> {
    pub(super) fn oid(self) -> Oid {
        match self {
            Relation::Table(o) => o.oid,
            Relation::Index(o) => o.oid,
            Relation::Sequence(o) => o.oid,
            Relation::View(o) => o.oid,
            Relation::System(o) => Oid(o.oid),
        }
    }

    pub(super) fn name(self) -> &'a str {
        match self {
            Relation::Table(o) => &o.name,
            Relation::Index(o) => &o.name,
            Relation::Sequence(o) => &o.name,
            Relation::View(o) => &o.name,
            Relation::System(o) => o.name,
        }
    }

    pub(super) fn schema(self, scope: &Scope) -> Oid {
        match self {
            Relation::Table(o) => o.schema,
            Relation::Index(o) => o.schema,
            Relation::Sequence(o) => o.schema,
            Relation::View(o) => o.schema,
            Relation::System(o) => scope.schema_oid(o.schema),
        }
    }

    /// `relkind`; of an index of a partitioned table [`Relation::kind_in`] says it.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Relation::Table(t) if t.materialized.is_some() => "m",
            Relation::Table(table) if table.partitioning.is_some() => "p",
            Relation::Table(_) => "r",
            Relation::Index(_) => "i",
            Relation::Sequence(_) => "S",
            Relation::View(_) => "v",
            Relation::System(o) => o.kind,
        }
    }

    /// `relkind`
    pub(super) fn kind_in(self, scope: &Scope) -> &'static str {
        match self {
            Relation::Index(index) if scope.catalog().table(index.table).is_some_and(|t| t.partitioning.is_some()) => {
                "I"
            }
            other => other.kind(),
        }
    }

    pub(super) fn comment(self) -> Option<&'a str> {
        match self {
            Relation::Table(o) => o.comment.as_deref(),
            Relation::Index(o) => o.comment.as_deref(),
            Relation::View(o) => o.comment.as_deref(),
            Relation::Sequence(o) => o.comment.as_deref(),
            Relation::System(_) => None,
        }
    }

    /// Numbers, names and types of its columns.
    pub(super) fn columns(self, scope: &Scope) -> Vec<(u16, String, SqlType)> {
        let numbered = |columns: Vec<(String, SqlType)>| {
            columns.into_iter().zip(1u16..).map(|((name, ty), number)| (number, name, ty)).collect()
        };
        match self {
            Relation::Table(table) => {
                table.visible_columns().iter().map(|c| (c.number, c.name.clone(), c.ty.clone())).collect()
            }
            Relation::View(view) => numbered(view.columns.clone()),
            Relation::System(d) => numbered(d.columns.iter().map(|c| (c.name.to_owned(), c.ty.clone())).collect()),
            Relation::Sequence(_) => numbered(vec![
                ("last_value".to_owned(), SqlType::Int8),
                ("log_cnt".to_owned(), SqlType::Int8),
                ("is_called".to_owned(), SqlType::Bool),
            ]),
            Relation::Index(index) => {
                let Some(table) = scope.catalog().table(index.table) else { return Vec::new() };
                let numbers = index.key_columns().iter().chain(&index.definition.include);
                let columns = numbers.filter_map(|number| {
                    let column = table.columns.get(table.number_position(*number)?)?;
                    let name = if column.is_hidden() { "expr".to_owned() } else { column.name.clone() };
                    Some((name, column.ty.clone()))
                });
                numbered(columns.collect())
            }
        }
    }
}

/// Whether a bare name means this type to a session with these schemas in its path.
pub(super) fn type_is_visible(catalog: &Catalog, tenant: TenantId, path: &[String], ty: &UserType) -> bool {
    let within = |schema: &String| catalog.user_type(catalog.schema(tenant, schema)?.oid, &ty.name);
    path.iter().find_map(within).is_some_and(|found| found.oid == ty.oid)
}

/// The type of a tenant that has an oid, or whose arrays have it (`true`).
pub(super) fn user_type(catalog: &Catalog, tenant: TenantId, oid: Oid) -> Option<(&Arc<UserType>, bool)> {
    let mut types = catalog.user_types().filter(|ty| ty.tenant == tenant);
    types.find(|ty| ty.oid == oid || ty.array == oid).map(|ty| (ty, ty.array == oid))
}
