//! Names of catalog objects as values: `'t'::regclass`, `'int4'::regtype`.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ScalarUDF};
use perigee_types::catalog::Catalog;
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType, TenantId, Value};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::function::{Call, Function, overload};
use crate::exec::error::from_sql;
use crate::exec::view::ReadView;

/// The call that turns a name into the oid that a `reg…` type holds.
pub(super) fn registered(to: &SqlType, name: Expr) -> Result<Expr> {
    let udf = match to {
        SqlType::Regclass => regclass(),
        SqlType::Regtype => regtype(),
        other => return Err(from_sql(SqlError::unsupported(format_args!("a {other} by name")))),
    };
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(udf, vec![name])))
}

fn regclass() -> Arc<ScalarUDF> {
    let eval = |a: &[Value], c: &Call<'_>| {
        let name = a[0].as_str().unwrap_or_default();
        relation(name, c.view()?)
            .map(|oid| Value::Oid(oid.0))
            .ok_or_else(|| SqlError::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist")))
    };
    Function::new("regclass", vec![overload(&[SqlType::Text], SqlType::Regclass, eval)]).volatile().udf()
}

fn regtype() -> Arc<ScalarUDF> {
    let eval = |a: &[Value], _: &Call<'_>| type_named(a[0].as_str().unwrap_or_default()).map(Value::Oid);
    Function::new("regtype", vec![overload(&[SqlType::Text], SqlType::Regtype, eval)]).udf()
}

/// A type by its SQL name.
fn type_named(name: &str) -> SqlResult<u32> {
    let unknown = || SqlError::new(SqlState::UndefinedObject, format!("type \"{name}\" does not exist"));
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(name).and_then(|mut p| p.parse_data_type());
    let parsed = parsed.map_err(|_| unknown())?;
    match crate::exec::domain_of(&parsed) {
        Some(domain) => Ok(domain.oid.0),
        None => crate::exec::type_planner::sql_type_of(&parsed).map(|ty| ty.oid()),
    }
}

/// A relation by name, perhaps with its schema, as the session's search path finds it.
pub(super) fn relation(name: &str, view: &ReadView) -> Option<Oid> {
    let session = &view.session;
    relation_in(name, &view.snapshot.catalog, session.tenant, &session.temporary_schema, &session.search_path)
}

fn relation_in(name: &str, catalog: &Catalog, tenant: TenantId, temporary: &str, path: &[String]) -> Option<Oid> {
    let parts = name_parts(name)?;
    let system = crate::exec::system::system_tables();
    let find = |schema: &str, relation: &str| {
        if let Some(oid) = system.oid(schema, relation) {
            return Some(oid);
        }
        Some(catalog.relation(catalog.schema(tenant, schema)?.oid, relation)?.oid())
    };
    match parts.as_slice() {
        [schema, relation] if schema == "pg_temp" => find(temporary, relation),
        [schema, relation] => find(schema, relation),
        [relation] => std::iter::once("pg_catalog")
            .chain(path.iter().map(String::as_str))
            .find_map(|schema| find(schema, relation)),
        _ => None,
    }
}

/// The oid that text means as a value of regclass or regtype, for values that come from outside of a statement.
///
/// # Errors
/// `42P01`, `42704` for a name of nothing, `0A000` for another `reg...` type.
pub(crate) fn object_named(
    text: &str,
    ty: &SqlType,
    catalog: &Catalog,
    tenant: TenantId,
    path: &[String],
) -> SqlResult<Oid> {
    match ty {
        SqlType::Regclass => {
            let temporary = path.iter().find(|schema| schema.starts_with("pg_temp_")).map_or("", String::as_str);
            relation_in(text, catalog, tenant, temporary, path)
                .ok_or_else(|| SqlError::new(SqlState::UndefinedTable, format!("relation \"{text}\" does not exist")))
        }
        SqlType::Regtype => match user_type(text, catalog, tenant, path) {
            Some(oid) => Ok(oid),
            None => type_named(text).map(Oid),
        },
        other => Err(SqlError::unsupported(format_args!("a {other} by name"))),
    }
}

/// A type that a user made, by its name.
fn user_type(name: &str, catalog: &Catalog, tenant: TenantId, path: &[String]) -> Option<Oid> {
    let parts = name_parts(name)?;
    let (schemas, name): (&[String], &String) = match parts.as_slice() {
        [schema, name] => (std::slice::from_ref(schema), name),
        [name] => (path, name),
        _ => return None,
    };
    let named = |schema: &String| {
        let schema = catalog.schema(tenant, schema)?.oid;
        catalog.user_types().find(|ty| ty.schema == schema && ty.name == *name).map(|ty| ty.oid)
    };
    schemas.iter().find_map(named)
}

/// The parts of a name with dots and quotes, folded as SQL folds them.
fn name_parts(name: &str) -> Option<Vec<String>> {
    let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(name).ok()?;
    let object = parser.parse_object_name(false).ok()?;
    object
        .0
        .iter()
        .map(|part| {
            let ident = part.as_ident()?;
            Some(if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() })
        })
        .collect()
}
