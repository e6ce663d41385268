//! GRANT and REVOKE of privileges: names to objects.

use std::sync::Arc;

use perigee_plan::role::PrivilegeChange;
use perigee_plan::{Ddl, Plan, ResultColumn, RoleChange};
use perigee_types::acl::{AclKind, Privileges};
use perigee_types::catalog::{Catalog, Object};
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType};
use sqlparser::ast::{DataType, ObjectName};

use super::{Planned, function, names};
use crate::sql::context::PlanContext;
use crate::sql::statement::{PrivilegeStatement, PrivilegeTarget};

/// Plans a change of roles.
pub(super) fn plan(change: &RoleChange) -> Planned {
    let tag = match change {
        RoleChange::Create { .. } => "CREATE ROLE",
        RoleChange::Alter { .. } | RoleChange::Rename { .. } | RoleChange::Settings { .. } => "ALTER ROLE",
        RoleChange::Drop { .. } => "DROP ROLE",
        RoleChange::Privileges(change) if change.revoke => "REVOKE",
        RoleChange::Privileges(_) => "GRANT",
        RoleChange::DefaultPrivileges { .. } => "ALTER DEFAULT PRIVILEGES",
        RoleChange::Membership(change) if change.revoke => "REVOKE ROLE",
        RoleChange::Membership(_) => "GRANT ROLE",
        RoleChange::DropOwned { .. } => "DROP OWNED",
        RoleChange::ReassignOwned { .. } => "REASSIGN OWNED",
        RoleChange::CreateApiKey { .. } | RoleChange::RevokeApiKey(_) => "CALL",
    };
    let planned = Planned::command(Plan::Ddl(Ddl::Role(change.clone())), tag);
    let RoleChange::CreateApiKey { .. } = change else { return planned };
    // As a procedure of PostgreSQL gives its OUT arguments.
    let column = |name: &str| ResultColumn { name: name.to_owned(), ty: SqlType::Text, source: None, vector: false };
    Planned { columns: Some(Arc::from([column("id"), column("api_key")])), ..planned }
}

/// Plans GRANT or REVOKE of privileges.
///
/// # Errors
/// `42P01`, `3F000`, `3D000` for objects that are not there, `42601` for words that are no privileges, `0LP01` for
/// privileges that this kind of object does not have, `42703`.
pub(super) fn privileges(statement: &PrivilegeStatement, context: &PlanContext) -> SqlResult<Planned> {
    let catalog = context.catalog;
    let schema = |name: &String| {
        catalog.schema(context.tenant, name).map(|s| s.oid).ok_or_else(|| names::undefined_schema(name))
    };
    let in_schemas = |schemas: &[String], wanted: fn(&Object) -> Option<Oid>| {
        let schemas = schemas.iter().map(schema).collect::<SqlResult<Vec<_>>>()?;
        let found = catalog.objects().filter(|object| wanted(object).is_some_and(|oid| schemas.contains(&oid)));
        Ok(found.map(Object::oid).collect::<Vec<_>>())
    };
    let (kind, objects) = match &statement.target {
        PrivilegeTarget::Tables(names) => {
            let objects = names.iter().map(|name| relation(name, context)).collect::<SqlResult<Vec<_>>>()?;
            // GRANT ON TABLE takes sequences too.
            let sequences = !objects.is_empty() && objects.iter().all(|oid| catalog.sequence(*oid).is_some());
            (if sequences { AclKind::Sequence } else { AclKind::Table }, objects)
        }
        PrivilegeTarget::Sequences(names) => {
            let objects = names.iter().map(|name| relation(name, context)).collect::<SqlResult<Vec<_>>>()?;
            if let Some(other) = objects.iter().find(|oid| catalog.sequence(**oid).is_none()) {
                let name = catalog.object(*other).map(Object::name).unwrap_or_default();
                return Err(SqlError::new(SqlState::WrongObjectType, format!("\"{name}\" is not a sequence")));
            }
            (AclKind::Sequence, objects)
        }
        PrivilegeTarget::Schemas(names) => (AclKind::Schema, names.iter().map(schema).collect::<SqlResult<Vec<_>>>()?),
        PrivilegeTarget::Databases(names) => {
            let database = |name: &String| {
                catalog.database(name).map(|d| d.oid).ok_or_else(|| {
                    SqlError::new(SqlState::InvalidCatalogName, format!("database \"{name}\" does not exist"))
                })
            };
            (AclKind::Database, names.iter().map(database).collect::<SqlResult<Vec<_>>>()?)
        }
        PrivilegeTarget::AllTables(schemas) => (
            AclKind::Table,
            in_schemas(schemas, |object| match object {
                Object::Table(o) => Some(o.schema),
                Object::View(o) => Some(o.schema),
                _ => None,
            })?,
        ),
        PrivilegeTarget::AllSequences(schemas) => (
            AclKind::Sequence,
            in_schemas(schemas, |object| match object {
                Object::Sequence(o) => Some(o.schema),
                _ => None,
            })?,
        ),
        PrivilegeTarget::New { kind, schemas, .. } => {
            if *kind == AclKind::Schema && !schemas.is_empty() {
                return Err(SqlError::new(
                    SqlState::InvalidGrantOperation,
                    "cannot use IN SCHEMA clause when using GRANT/REVOKE ON SCHEMAS",
                ));
            }
            (*kind, Vec::new())
        }
        PrivilegeTarget::Functions(names) => {
            let one = |(name, types): &(ObjectName, Option<Vec<DataType>>)| {
                function::named(name, types.as_deref(), context).map(|function| function.oid)
            };
            (AclKind::Function, names.iter().map(one).collect::<SqlResult<Vec<_>>>()?)
        }
        PrivilegeTarget::AllFunctions(schemas) => (
            AclKind::Function,
            in_schemas(schemas, |object| match object {
                Object::Function(o) => Some(o.schema),
                _ => None,
            })?,
        ),
        PrivilegeTarget::AllProcedures(schemas) => {
            schemas.iter().map(schema).collect::<SqlResult<Vec<_>>>()?;
            // There are none: any privilege is given on all of them.
            return Ok(plan(&RoleChange::Privileges(change(statement, Vec::new(), Vec::new(), Vec::new()))));
        }
    };
    let mut privileges = Vec::new();
    let mut all_columns = Vec::new();
    for (word, columns) in &statement.items {
        if !columns.is_empty() && kind != AclKind::Table {
            return Err(SqlError::new(
                SqlState::InvalidGrantOperation,
                "column privileges are only valid for relations",
            ));
        }
        check_columns(catalog, &objects, columns)?;
        if word == "all" {
            all_columns.clone_from(columns);
            continue;
        }
        let privilege = Privileges::named(word)
            .ok_or_else(|| SqlError::syntax(format!("unrecognized privilege type \"{word}\"")))?;
        let of = if columns.is_empty() { kind } else { AclKind::Column };
        if !Privileges::all_of(of).contains(privilege) {
            return Err(SqlError::new(
                SqlState::InvalidGrantOperation,
                format!("invalid privilege type {} for {}", word.to_uppercase(), noun(of)),
            ));
        }
        privileges.push((privilege, columns.clone()));
    }
    if let PrivilegeTarget::New { roles, schemas, kind } = &statement.target {
        let change = RoleChange::DefaultPrivileges {
            roles: roles.clone(),
            schemas: schemas.iter().map(schema).collect::<SqlResult<Vec<_>>>()?,
            kind: *kind,
            change: change(statement, privileges, all_columns, objects),
        };
        return Ok(plan(&change));
    }
    Ok(plan(&RoleChange::Privileges(change(statement, privileges, all_columns, objects))))
}

fn change(
    statement: &PrivilegeStatement,
    privileges: Vec<(Privileges, Vec<String>)>,
    all_columns: Vec<String>,
    objects: Vec<Oid>,
) -> PrivilegeChange {
    PrivilegeChange {
        revoke: statement.revoke,
        privileges,
        all_columns,
        objects,
        grantees: statement.grantees.clone(),
        option: statement.option,
        cascade: statement.cascade,
    }
}

fn relation(name: &ObjectName, context: &PlanContext) -> SqlResult<Oid> {
    let name = names::qualified(name, context)?;
    match names::find(&name, context) {
        Some(Object::Index(index)) => {
            Err(SqlError::new(SqlState::WrongObjectType, format!("\"{}\" is an index", index.name)))
        }
        Some(object) => Ok(object.oid()),
        None => Err(names::undefined_table(&name)),
    }
}

fn check_columns(catalog: &Catalog, objects: &[Oid], columns: &[String]) -> SqlResult<()> {
    for (object, column) in objects.iter().flat_map(|oid| columns.iter().map(move |column| (*oid, column))) {
        match catalog.object(object) {
            Some(Object::Table(table)) => names::column(table, column).map(|_| ())?,
            _ => return Err(SqlError::unsupported("column privileges on what is not a table")),
        }
    }
    Ok(())
}

fn noun(kind: AclKind) -> &'static str {
    match kind {
        AclKind::Table => "table",
        AclKind::Column => "column",
        AclKind::Sequence => "sequence",
        AclKind::Schema => "schema",
        AclKind::Database => "database",
        AclKind::Function => "function",
    }
}
