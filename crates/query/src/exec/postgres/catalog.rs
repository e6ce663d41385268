//! Names of catalog objects as values: `'t'::regclass`, `'int4'::regtype`.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ScalarUDF};
use perigee_types::catalog::Catalog;
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType, TenantId, Value};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::function::{Call, Eval, Function, overload};
use crate::exec::error::from_sql;
use crate::exec::view::ReadView;
use crate::pg_catalog::deparse::told_name;

/// The call that turns a name, or the text of an array of names, into what a `reg…` type or an array of it holds.
pub(super) fn registered(to: &SqlType, name: Expr) -> Result<Expr> {
    let udf = match to {
        SqlType::Regclass => regclass(),
        SqlType::Regtype => regtype(),
        SqlType::Regnamespace => plain("regnamespace", SqlType::Regnamespace, |a, c| {
            plain_of(a[0].as_str().unwrap_or_default(), c, &SqlType::Regnamespace)
        }),
        SqlType::Regrole => {
            plain("regrole", SqlType::Regrole, |a, c| plain_of(a[0].as_str().unwrap_or_default(), c, &SqlType::Regrole))
        }
        SqlType::Array(of) if **of == SqlType::Regclass => regclasses(),
        SqlType::Array(of) if **of == SqlType::Regtype => regtypes(),
        other => return Err(from_sql(SqlError::unsupported(format_args!("a {other} by name")))),
    };
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(udf, vec![name])))
}

fn regclass() -> Arc<ScalarUDF> {
    let eval = |a: &[Value], c: &Call<'_>| class_named(a[0].as_str().unwrap_or_default(), c).map(Value::Oid);
    Function::new("regclass", vec![overload(&[SqlType::Text], SqlType::Regclass, eval)]).volatile().udf()
}

fn regclasses() -> Arc<ScalarUDF> {
    let eval = |a: &[Value], c: &Call<'_>| {
        each_named(a[0].as_str().unwrap_or_default(), &SqlType::Regclass, |name| class_named(name, c))
    };
    let of = SqlType::Array(Box::new(SqlType::Regclass));
    Function::new("regclass", vec![overload(&[SqlType::Text], of, eval)]).volatile().udf()
}

fn plain(name: &str, ty: SqlType, eval: Eval) -> Arc<ScalarUDF> {
    Function::new(name, vec![overload(&[SqlType::Text], ty, eval)]).volatile().udf()
}

fn plain_of(name: &str, call: &Call<'_>, ty: &SqlType) -> SqlResult<Value> {
    let view = call.view()?;
    plain_object_named(&view.snapshot.catalog, view.session.tenant, name, ty).map(|oid| Value::Oid(oid.0))
}

/// The schema or role that a text names, as SQL writes names, or `-` for none.
///
/// # Errors
/// `3F000`, `42704` where there is none of the name.
pub(crate) fn plain_object_named(catalog: &Catalog, tenant: TenantId, text: &str, ty: &SqlType) -> SqlResult<Oid> {
    if text.trim_ascii() == "-" {
        return Ok(Oid(0));
    }
    plain_object(catalog, tenant, text, ty).ok_or_else(|| match ty {
        SqlType::Regnamespace => {
            SqlError::new(SqlState::InvalidSchemaName, format!("schema \"{text}\" does not exist"))
        }
        _ => SqlError::new(SqlState::UndefinedObject, format!("role \"{text}\" does not exist")),
    })
}

/// The schema or role that a text names, where there is one.
pub(crate) fn plain_object(catalog: &Catalog, tenant: TenantId, text: &str, ty: &SqlType) -> Option<Oid> {
    let parts = name_parts(text)?;
    let [name] = parts.as_slice() else { return None };
    match ty {
        SqlType::Regnamespace => catalog.schema(tenant, name).map(|schema| schema.oid),
        _ => catalog.role(name).map(|role| role.oid),
    }
}

fn regtypes() -> Arc<ScalarUDF> {
    let eval = |a: &[Value], _: &Call<'_>| each_named(a[0].as_str().unwrap_or_default(), &SqlType::Regtype, type_named);
    let of = SqlType::Array(Box::new(SqlType::Regtype));
    Function::new("regtype", vec![overload(&[SqlType::Text], of, eval)]).udf()
}

fn class_named(name: &str, call: &Call<'_>) -> SqlResult<u32> {
    relation(name, call.view()?).map(|oid| oid.0).ok_or_else(|| {
        SqlError::new(SqlState::UndefinedTable, format!("relation \"{}\" does not exist", told_name(name)))
    })
}

/// The text of an array whose elements are numbers, `-` for none, or names, as an array of oids.
///
/// # Errors
/// `22P02` for what is no array of one dimension, and what `named` says of a name.
pub(crate) fn each_named(text: &str, ty: &SqlType, named: impl Fn(&str) -> SqlResult<u32>) -> SqlResult<Value> {
    let Value::Array(elements) = perigee_types::text::parse(text, &SqlType::Array(Box::new(SqlType::Text)))? else {
        return Err(SqlError::internal("an array that is none"));
    };
    let oid = |element: Value| match element.as_str() {
        None => Ok(Value::Null),
        Some(name) if is_oid(name) => perigee_types::text::parse(name, ty),
        Some(name) => named(name).map(Value::Oid),
    };
    elements.into_iter().map(oid).collect::<SqlResult<_>>().map(Value::Array)
}

/// Whether the text of a `reg…` type says the oid, and not a name.
pub(crate) fn is_oid(text: &str) -> bool {
    let text = text.trim_ascii();
    text == "-" || !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
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
            relation_in(text, catalog, tenant, temporary, path).ok_or_else(|| {
                SqlError::new(SqlState::UndefinedTable, format!("relation \"{}\" does not exist", told_name(text)))
            })
        }
        SqlType::Regtype => match user_type(text, catalog, tenant, path) {
            Some(oid) => Ok(oid),
            None => type_named(text).map(Oid),
        },
        SqlType::Regnamespace | SqlType::Regrole => plain_object_named(catalog, tenant, text, ty),
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
