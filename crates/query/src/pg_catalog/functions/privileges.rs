//! `has_table_privilege` and its like.
//!
//! A superuser and an object's owner may do everything; everybody may use schemas, connect, and read system tables.

use perigee_types::catalog::{Object, Role};
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType, Value};

use super::{SystemFunction, function, oid_of, relation_of};
use crate::pg_catalog::scope::{Relation, Scope};

pub(super) fn all() -> Vec<SystemFunction> {
    let of = |name, eval| function(name, 2..=3, SqlType::Bool, eval);
    let always = |name| function(name, 2..=3, SqlType::Bool, |_, _| Ok(Value::Bool(true)));
    vec![
        of("has_table_privilege", table),
        of("has_any_column_privilege", table),
        of("has_sequence_privilege", table),
        function("has_column_privilege", 3..=4, SqlType::Bool, column),
        of("has_schema_privilege", schema),
        always("has_database_privilege"),
        always("has_function_privilege"),
        always("has_type_privilege"),
        always("has_language_privilege"),
        of("has_tablespace_privilege", tablespace),
        function("pg_has_role", 2..=3, SqlType::Bool, has_role),
        function("row_security_active", 1..=1, SqlType::Bool, |_, _| Ok(Value::Bool(false))),
    ]
}

/// The role that the first of `count + 1` arguments names, else the session's, and the other arguments.
fn role_and_rest<'v>(scope: &Scope, values: &'v [Value], count: usize) -> SqlResult<(Oid, &'v [Value])> {
    if values.len() <= count {
        return Ok((scope.session().role, values));
    }
    let (first, rest) =
        values.split_first().ok_or_else(|| SqlError::internal("a privilege function without arguments"))?;
    Ok((role_of(scope, first)?, rest))
}

fn role_of(scope: &Scope, value: &Value) -> SqlResult<Oid> {
    if let Some(oid) = value.as_i64().and_then(|v| u32::try_from(v).ok()) {
        return Ok(Oid(oid));
    }
    let name = value.as_str().unwrap_or_default();
    match scope.catalog().role(name) {
        Some(role) => Ok(role.oid),
        None => Err(SqlError::new(SqlState::UndefinedObject, format!("role \"{name}\" does not exist"))),
    }
}

fn role<'a>(scope: &Scope<'a>, oid: Oid) -> Option<&'a Role> {
    match scope.catalog().object(oid) {
        Some(Object::Role(role)) => Some(role),
        _ => None,
    }
}

fn is_superuser(scope: &Scope, oid: Oid) -> bool {
    role(scope, oid).is_some_and(|r| r.superuser)
}

fn table(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let (role, rest) = role_and_rest(scope, values, 2)?;
    on_relation(scope, role, rest)
}

fn column(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let (role, rest) = role_and_rest(scope, values, 3)?;
    on_relation(scope, role, &[&rest[..1], &rest[2..]].concat())
}

/// `rest`: the relation and the privileges.
fn on_relation(scope: &Scope, role: Oid, rest: &[Value]) -> SqlResult<Value> {
    let [relation, privilege] = rest else { return Ok(Value::Null) };
    let Some(relation) = relation_of(scope, relation)? else { return Ok(Value::Null) };
    let owner = match relation {
        Relation::Table(t) => t.owner,
        Relation::Sequence(s) => s.owner,
        Relation::View(v) => v.owner,
        Relation::Index(_) => Oid(0),
        Relation::System(_) => {
            let reads = privilege.as_str().is_some_and(|p| p.trim().eq_ignore_ascii_case("select"));
            return Ok(Value::Bool(reads || is_superuser(scope, role)));
        }
    };
    Ok(Value::Bool(owner == role || is_superuser(scope, role)))
}

fn schema(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let (role, rest) = role_and_rest(scope, values, 2)?;
    let [schema, privilege] = rest else { return Ok(Value::Null) };
    let oid = match oid_of(schema) {
        Some(oid) => oid,
        None => scope.schema_oid(schema.as_str().unwrap_or_default()),
    };
    let Some(Object::Schema(schema)) = scope.catalog().object(oid) else {
        let name = schema.as_str().unwrap_or_default();
        return Err(SqlError::new(SqlState::InvalidSchemaName, format!("schema \"{name}\" does not exist")));
    };
    let uses = privilege.as_str().is_some_and(|p| p.trim().eq_ignore_ascii_case("usage"));
    Ok(Value::Bool(uses || schema.owner == role || is_superuser(scope, role)))
}

fn tablespace(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let (role, _) = role_and_rest(scope, values, 2)?;
    Ok(Value::Bool(is_superuser(scope, role)))
}

fn has_role(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let (role, rest) = role_and_rest(scope, values, 2)?;
    let wanted = role_of(scope, rest.first().unwrap_or(&Value::Null))?;
    Ok(Value::Bool(role == wanted || is_superuser(scope, role)))
}
