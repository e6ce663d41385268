//! `has_table_privilege` and its like: what [`Rights`] say.

use std::sync::Arc;

use perigee_types::acl::{Acl, AclKind, Privileges};
use perigee_types::catalog::{BOOTSTRAP_ROLE, Function, Object, Table};
use perigee_types::rights::Rights;
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType, Value};

use super::names::type_named;
use super::{SystemFunction, function, oid_at, oid_of, relation_of, text_at};
use crate::pg_catalog::deparse::parse_ident;
use crate::pg_catalog::scope::{Relation, Scope};

pub(super) fn all() -> Vec<SystemFunction> {
    let of = |name, eval| function(name, 2..=3, SqlType::Bool, eval);
    // Types and languages are everybody's.
    let always = |name| function(name, 2..=3, SqlType::Bool, |_, _| Ok(Value::Bool(true)));
    vec![
        of("has_table_privilege", |s, v| on_relation(s, v, AclKind::Table, false)),
        of("has_any_column_privilege", |s, v| on_relation(s, v, AclKind::Table, true)),
        of("has_sequence_privilege", |s, v| on_relation(s, v, AclKind::Sequence, false)),
        function("has_column_privilege", 3..=4, SqlType::Bool, on_column),
        of("has_schema_privilege", on_schema),
        of("has_database_privilege", on_database),
        of("has_function_privilege", on_function),
        always("has_type_privilege"),
        always("has_language_privilege"),
        of("has_tablespace_privilege", on_tablespace),
        function("pg_has_role", 2..=3, SqlType::Bool, has_role),
        function("row_security_active", 1..=1, SqlType::Bool, |_, _| Ok(Value::Bool(false))),
        function("acldefault", 2..=2, SqlType::Array(Box::new(SqlType::Text)), default_acl),
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
        // Everybody: a role that nobody is, and that holds what PUBLIC holds.
        None if name == "public" => Ok(Oid(0)),
        None => Err(SqlError::new(SqlState::UndefinedObject, format!("role \"{name}\" does not exist"))),
    }
}

fn rights(scope: &Scope, role: Oid) -> Rights {
    Rights::of(scope.catalog(), role, scope.session().tenant)
}

/// The privileges of a list such as `SELECT, UPDATE WITH GRANT OPTION`; `true`: to give on.
fn privileges(value: &Value, kind: AclKind) -> SqlResult<Vec<(Privileges, bool)>> {
    let list = value.as_str().unwrap_or_default();
    let one = |word: &str| {
        let word = word.trim();
        let upper = word.to_ascii_uppercase();
        let (name, grantable) = match upper.strip_suffix("WITH GRANT OPTION") {
            Some(name) => (name.trim_end(), true),
            None => (upper.as_str(), false),
        };
        Privileges::named(name).filter(|privilege| Privileges::all_of(kind).contains(*privilege)).map_or_else(
            || Err(SqlError::new(SqlState::InvalidParameterValue, format!("unrecognized privilege type: \"{word}\""))),
            |privilege| Ok((privilege, grantable)),
        )
    };
    list.split(',').map(one).collect()
}

fn on_relation(scope: &Scope, values: &[Value], kind: AclKind, any_column: bool) -> SqlResult<Value> {
    let (role, rest) = role_and_rest(scope, values, 2)?;
    let [relation, wanted] = rest else { return Ok(Value::Null) };
    let Some(relation) = relation_of(scope, relation)? else { return Ok(Value::Null) };
    if kind == AclKind::Sequence && !matches!(relation, Relation::Sequence(_)) {
        return Err(SqlError::new(SqlState::WrongObjectType, format!("\"{}\" is not a sequence", relation.name())));
    }
    let rights = rights(scope, role);
    let columns: Option<&[u16]> = any_column.then_some(&[]);
    for (privilege, grantable) in privileges(wanted, kind)? {
        if held(scope, &rights, relation, privilege, grantable, columns) {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn held(
    scope: &Scope,
    rights: &Rights,
    relation: Relation,
    privilege: Privileges,
    grantable: bool,
    columns: Option<&[u16]>,
) -> bool {
    match scope.catalog().object(relation.oid()) {
        Some(object) if grantable => rights.grantable(object, scope.catalog()).contains(privilege),
        Some(object) => rights.allows(object, privilege, columns),
        // A system table: everybody reads it, but for those with passwords.
        None => {
            let open = !matches!(relation.name(), "pg_authid" | "pg_shadow") && privilege == Privileges::SELECT;
            rights.is_superuser() || open && !grantable
        }
    }
}

fn on_column(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let (role, rest) = role_and_rest(scope, values, 3)?;
    let [relation, column, wanted] = rest else { return Ok(Value::Null) };
    let Some(relation) = relation_of(scope, relation)? else { return Ok(Value::Null) };
    let number = match relation {
        Relation::Table(table) => number_of(table, column)?,
        _ => None,
    };
    let rights = rights(scope, role);
    for (privilege, grantable) in privileges(wanted, AclKind::Column)? {
        if held(scope, &rights, relation, privilege, grantable, number.as_ref().map(std::slice::from_ref)) {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn number_of(table: &Table, column: &Value) -> SqlResult<Option<u16>> {
    if let Some(number) = column.as_i64() {
        return Ok(u16::try_from(number).ok());
    }
    let name = column.as_str().unwrap_or_default();
    match table.columns.iter().find(|c| c.name == name) {
        Some(column) => Ok(Some(column.number)),
        None => Err(SqlError::new(
            SqlState::UndefinedColumn,
            format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
        )),
    }
}

fn on_schema(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let (role, rest) = role_and_rest(scope, values, 2)?;
    let [schema, wanted] = rest else { return Ok(Value::Null) };
    let oid = match oid_of(schema) {
        Some(oid) => oid,
        None => scope.schema_oid(schema.as_str().unwrap_or_default()),
    };
    match scope.catalog().object(oid) {
        Some(object @ Object::Schema(_)) => on_object(scope, role, object, wanted, AclKind::Schema),
        _ => {
            let name = schema.as_str().unwrap_or_default();
            Err(SqlError::new(SqlState::InvalidSchemaName, format!("schema \"{name}\" does not exist")))
        }
    }
}

fn on_database(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let (role, rest) = role_and_rest(scope, values, 2)?;
    let [database, wanted] = rest else { return Ok(Value::Null) };
    let name = database.as_str().unwrap_or_default();
    let found = scope.databases().find(|d| oid_of(database).is_some_and(|oid| oid == d.oid) || d.name == name);
    match found {
        Some(found) => on_object(scope, role, &Object::Database(found.clone()), wanted, AclKind::Database),
        None => Err(SqlError::new(SqlState::InvalidCatalogName, format!("database \"{name}\" does not exist"))),
    }
}

/// `has_function_privilege([role,] function, privileges)`: PostgreSQL's own functions are everybody's.
fn on_function(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let (role, rest) = role_and_rest(scope, values, 2)?;
    let [function, wanted] = rest else { return Ok(Value::Null) };
    let found = match oid_of(function) {
        Some(oid) => scope.function(oid),
        None => function_named(scope, function.as_str().unwrap_or_default())?,
    };
    match found {
        Some(found) => on_object(scope, role, &Object::Function(found.clone()), wanted, AclKind::Function),
        None => privileges(wanted, AclKind::Function).map(|_| Value::Bool(true)),
    }
}

/// The function of a user that `f(integer, text)` names. `None` is one of the system.
fn function_named<'s>(scope: &Scope<'s>, text: &str) -> SqlResult<Option<&'s Arc<Function>>> {
    let invalid = |what: &str| SqlError::new(SqlState::InvalidTextRepresentation, what.to_owned());
    let (name, types) = text.split_once('(').ok_or_else(|| invalid("expected a left parenthesis"))?;
    let types = types.trim_end().strip_suffix(')').ok_or_else(|| invalid("expected a right parenthesis"))?;
    let undefined = || SqlError::new(SqlState::UndefinedFunction, format!("function \"{text}\" does not exist"));
    let parts = parse_ident(name.trim()).ok_or_else(undefined)?;
    let (schema, name) = match parts.as_slice() {
        [name] => (None, name),
        [schema, name] => (Some(schema.as_str()), name),
        _ => return Err(undefined()),
    };
    let mut oids = Vec::new();
    for ty in listed(types) {
        let oid = type_named(scope, ty)
            .ok_or_else(|| SqlError::new(SqlState::UndefinedObject, format!("type \"{ty}\" does not exist")))?;
        oids.push(oid);
    }
    let found = scope.functions_named(schema, name).into_iter().find(|function| function.has_types(&oids));
    let of_system = || schema.is_none_or(|schema| schema == "pg_catalog") && super::kind_of_function(name).is_some();
    if found.is_none() && !of_system() {
        return Err(undefined());
    }
    Ok(found)
}

/// The types of a list, between commas that stand in no parentheses.
fn listed(types: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let parts = types.split(move |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|ty| !ty.is_empty())
}

fn on_object(scope: &Scope, role: Oid, object: &Object, wanted: &Value, kind: AclKind) -> SqlResult<Value> {
    let rights = rights(scope, role);
    let has = privileges(wanted, kind)?.into_iter().any(|(privilege, grantable)| match grantable {
        true => rights.grantable(object, scope.catalog()).contains(privilege),
        false => rights.allows(object, privilege, None),
    });
    Ok(Value::Bool(has))
}

fn on_tablespace(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let (role, _) = role_and_rest(scope, values, 2)?;
    Ok(Value::Bool(rights(scope, role).is_superuser()))
}

/// `pg_has_role([user,] role, kind)`: MEMBER of it at all, USAGE of its privileges, SET ROLE to it.
fn has_role(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let (role, rest) = role_and_rest(scope, values, 2)?;
    let [wanted, kinds] = rest else { return Ok(Value::Null) };
    let wanted = role_of(scope, wanted)?;
    let catalog = scope.catalog();
    if rights(scope, role).is_superuser() {
        return Ok(Value::Bool(true));
    }
    for kind in kinds.as_str().unwrap_or_default().split(',') {
        let upper = kind.trim().to_ascii_uppercase();
        let (name, admin) = match upper.strip_suffix("WITH ADMIN OPTION").or(upper.strip_suffix("WITH GRANT OPTION")) {
            Some(name) => (name.trim_end(), true),
            None => (upper.as_str(), false),
        };
        let has = match name {
            "MEMBER" | "USAGE" | "SET" if admin => catalog
                .reachable_roles(role, |_| true)
                .into_iter()
                .filter_map(|oid| catalog.role_of(oid))
                .any(|holder| holder.member_of.iter().any(|m| m.role == wanted && m.admin)),
            "MEMBER" => catalog.reachable_roles(role, |_| true).contains(&wanted),
            "USAGE" => catalog.inherited_roles(role, scope.session().tenant).contains(&wanted),
            "SET" => catalog.reachable_roles(role, |m| m.set).contains(&wanted),
            _ => {
                return Err(SqlError::new(
                    SqlState::InvalidParameterValue,
                    format!("unrecognized privilege type: \"{}\"", kind.trim()),
                ));
            }
        };
        if has {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

/// `acldefault(kind, owner)`
fn default_acl(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let kind = match text_at(values, 0) {
        "r" => AclKind::Table,
        "c" => AclKind::Column,
        "s" => AclKind::Sequence,
        "n" => AclKind::Schema,
        "d" => AclKind::Database,
        "f" => AclKind::Function,
        _ => return Ok(Value::Array(Vec::new())),
    };
    let owner = match oid_at(values, 1) {
        Oid(0) => BOOTSTRAP_ROLE,
        owner => owner,
    };
    let texts = Acl::default_of(kind, owner).texts(|role| scope.role_name(role));
    Ok(Value::Array(texts.into_iter().map(Value::Text).collect()))
}
