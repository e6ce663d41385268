//! Names of relations and columns, resolved against the catalog.

use std::sync::Arc;

use perigee_types::catalog::{Object, TEMPORARY_PREFIX, TEMPORARY_SCHEMA, Table};
use perigee_types::{Oid, SqlError, SqlResult, SqlState};
use sqlparser::ast::{Ident, ObjectName};

use crate::exec::{LATEST_MARK, ONLY_MARK, TABLE_OID_MARK, TID_MARK};
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

/// `schema.name`, the schema where one was written.
pub(super) type Qualified = (Option<String>, String);

/// Splits a name of a relation.
///
/// # Errors
/// `0A000` where it names another database, `42601` where it has too many parts.
pub(super) fn qualified(name: &ObjectName, context: &PlanContext) -> SqlResult<Qualified> {
    let mut parts = name.0.iter().map(|part| part.as_ident().map(fold)).collect::<Option<Vec<_>>>();
    if let Some(last) = parts.as_mut().and_then(|parts| parts.last_mut()) {
        let unmarked = last.strip_suffix(TID_MARK).unwrap_or(last.as_str());
        let plain = unmarked
            .strip_suffix(ONLY_MARK)
            .or_else(|| unmarked.strip_suffix(TABLE_OID_MARK))
            .or_else(|| unmarked.split_once(LATEST_MARK).map(|(plain, _)| plain))
            .unwrap_or(unmarked);
        let length = plain.len();
        last.truncate(length);
    }
    let schema_of = |schema: &str| Some(if schema == "pg_temp" { context.temporary.name } else { schema }.to_owned());
    match parts.as_deref() {
        Some([name]) => Ok((None, name.clone())),
        Some([schema, name]) => Ok((schema_of(schema), name.clone())),
        Some([database, schema, name]) if database == context.database => Ok((schema_of(schema), name.clone())),
        Some([_, _, _]) => {
            Err(SqlError::unsupported(format_args!("cross-database references are not implemented: {name}")))
        }
        _ => Err(SqlError::syntax(format!("improper relation name (too many dotted names): {name}"))),
    }
}

/// Whether ONLY stood before the name.
pub(super) fn is_only(name: &ObjectName) -> bool {
    has_mark(name, ONLY_MARK)
}

/// Whether the scan of the name ends with the table of each row.
pub(super) fn has_table_oid(name: &ObjectName) -> bool {
    has_mark(name, TABLE_OID_MARK)
}

/// Whether the scan of the name has the column that `ctid` is made of.
pub(super) fn has_tid(name: &ObjectName) -> bool {
    last_part(name).is_some_and(|last| last.ends_with(TID_MARK))
}

fn has_mark(name: &ObjectName, mark: &str) -> bool {
    last_part(name).is_some_and(|last| last.strip_suffix(TID_MARK).unwrap_or(last).ends_with(mark))
}

fn last_part(name: &ObjectName) -> Option<&str> {
    Some(name.0.last()?.as_ident()?.value.as_str())
}

/// The relation of this name, by the search path where it names no schema.
pub(super) fn find<'a>(name: &Qualified, context: &PlanContext<'a>) -> Option<&'a Object> {
    let catalog = context.catalog;
    let in_schema = |schema: &str| catalog.relation(catalog.schema(context.tenant, schema)?.oid, &name.1);
    match &name.0 {
        Some(schema) => in_schema(schema),
        None => context.search_path.iter().find_map(|schema| in_schema(schema)),
    }
}

/// The table of this name.
///
/// # Errors
/// `42P01` where there is none, `42809` where it is something else.
pub(super) fn table(name: &ObjectName, context: &PlanContext) -> SqlResult<Arc<Table>> {
    let name = qualified(name, context)?;
    match find(&name, context) {
        Some(Object::Table(_)) if is_foreign_temporary(&name, context) => {
            Err(SqlError::new(SqlState::FeatureNotSupported, "cannot access temporary tables of other sessions"))
        }
        Some(Object::Table(table)) => Ok(Arc::clone(table)),
        Some(_) => Err(not_a_table(&name.1)),
        None if is_system(&name) => Err(SqlError::new(
            SqlState::InsufficientPrivilege,
            format!("permission denied: \"{}\" is a system catalog", name.1),
        )),
        None => Err(undefined_table(&name)),
    }
}

/// The table of schema `redis` of this name, where the name means one.
///
/// # Errors
/// As [`qualified`].
pub(super) fn key_table(name: &ObjectName, context: &PlanContext) -> SqlResult<Option<Arc<Table>>> {
    let (schema, name) = qualified(name, context)?;
    let named = match &schema {
        Some(schema) => schema == "redis",
        None => {
            let first = context
                .search_path
                .iter()
                .find(|schema| *schema == "redis" || find(&(Some((*schema).clone()), name.clone()), context).is_some());
            first.is_some_and(|schema| schema == "redis")
        }
    };
    Ok(if named { crate::pg_catalog::key_table(&name) } else { None })
}

fn is_foreign_temporary(name: &Qualified, context: &PlanContext) -> bool {
    name.0.as_ref().is_some_and(|schema| schema.starts_with(TEMPORARY_PREFIX) && *schema != context.temporary.name)
}

/// The table of this name, that is no materialized view.
///
/// # Errors
/// As [`table`].
pub(super) fn base_table(name: &ObjectName, context: &PlanContext) -> SqlResult<Arc<Table>> {
    let table = table(name, context)?;
    if table.materialized.is_some() { Err(not_a_table(&table.name)) } else { Ok(table) }
}

/// The schema in which an object of this name is made: [`TEMPORARY_SCHEMA`] for a temporary one.
///
/// # Errors
/// `3F000` where there is none, `42501` for one of the system, `42P16` where it and `temporary` do not fit.
pub(super) fn creation_schema(name: &Qualified, temporary: bool, context: &PlanContext) -> SqlResult<Oid> {
    let own = context.temporary;
    let wrong = |text: &str| Err(SqlError::new(SqlState::InvalidTableDefinition, text));
    let schema = match &name.0 {
        Some(schema) if schema == own.name => return Ok(TEMPORARY_SCHEMA),
        Some(_) if is_foreign_temporary(name, context) => {
            return wrong("cannot create relations in temporary schemas of other sessions");
        }
        Some(_) if temporary => return wrong("cannot create temporary relation in non-temporary schema"),
        None if temporary => return Ok(TEMPORARY_SCHEMA),
        Some(schema) => context.catalog.schema(context.tenant, schema).ok_or_else(|| undefined_schema(schema))?,
        None => {
            let mut listed = context.search_path.iter().skip(usize::from(own.implicit)).peekable();
            if listed.peek().is_some_and(|schema| *schema == own.name) {
                return Ok(TEMPORARY_SCHEMA);
            }
            listed
                .find_map(|schema| context.catalog.schema(context.tenant, schema))
                .ok_or_else(|| SqlError::new(SqlState::InvalidSchemaName, "no schema has been selected to create in"))?
        }
    };
    if perigee_types::catalog::is_system_schema(&schema.name) {
        return Err(SqlError::new(
            SqlState::InsufficientPrivilege,
            format!("permission denied for schema {}", schema.name),
        ));
    }
    Ok(schema.oid)
}

/// The place in `table.columns` of a column.
///
/// # Errors
/// `42703`
pub(super) fn column(table: &Table, name: &str) -> SqlResult<usize> {
    table.column_position(name).ok_or_else(|| {
        SqlError::new(
            SqlState::UndefinedColumn,
            format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
        )
    })
}

/// The last part of a name that may be qualified by the table's.
pub(super) fn last_ident(name: &ObjectName) -> SqlResult<&Ident> {
    name.0.last().and_then(|part| part.as_ident()).ok_or_else(|| SqlError::syntax(format!("improper name: {name}")))
}

pub(super) fn undefined_table(name: &Qualified) -> SqlError {
    let name = match &name.0 {
        Some(schema) => format!("{schema}.{}", name.1),
        None => name.1.clone(),
    };
    SqlError::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist"))
}

pub(super) fn undefined_schema(name: &str) -> SqlError {
    SqlError::new(SqlState::InvalidSchemaName, format!("schema \"{name}\" does not exist"))
}

pub(super) fn not_a_table(name: &str) -> SqlError {
    SqlError::new(SqlState::WrongObjectType, format!("\"{name}\" is not a table"))
}

fn is_system(name: &Qualified) -> bool {
    match &name.0 {
        Some(schema) => perigee_types::catalog::is_system_schema(schema),
        None => name.1.starts_with("pg_"),
    }
}
