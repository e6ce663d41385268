//! Oids to names and back.

use std::collections::HashMap;
use std::sync::LazyLock;

use perigee_types::catalog::{Catalog, Object, Returns};
use perigee_types::{IntervalType, Oid, SqlError, SqlResult, SqlState, SqlType, TenantId, Value};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::{SystemFunction, function, named, oid_at, oid_of, relation_of, text_at};
use crate::exec::{domain_of, plain_object, plain_object_named, sql_type_of, with_types};
use crate::pg_catalog::definition;
use crate::pg_catalog::deparse;
use crate::pg_catalog::scope::{self, Scope};

/// What `format_type` gives for an oid that no type has.
const UNKNOWN_TYPE: &str = "???";
/// What `reg…` types show for zero.
const NOTHING: &str = "-";
/// Oid of `character(n)`.
const BPCHAR: u32 = 1042;

/// Types of text with a length, and those of bits.
const CHARACTERS: [u32; 2] = [BPCHAR, 1043];
const BITS: [u32; 2] = [1560, 1562];

/// `_pg_char_max_length(type, modifier)` of information_schema
fn characters_max(_: &Scope, values: &[Value]) -> SqlResult<Value> {
    let modifier = values.get(1).and_then(Value::as_i64).and_then(|modifier| i32::try_from(modifier).ok());
    let Some(modifier) = modifier.filter(|modifier| *modifier >= 0) else { return Ok(Value::Null) };
    Ok(match oid_at(values, 0).0 {
        ty if CHARACTERS.contains(&ty) => Value::Int4(modifier - 4),
        ty if BITS.contains(&ty) => Value::Int4(modifier),
        _ => Value::Null,
    })
}

/// `_pg_index_position(index, column)` of information_schema: which key of the index the column is.
fn index_position(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let (oid, number) = (oid_at(values, 0), values.get(1).and_then(Value::as_i64));
    let found = scope.indexes().find(|(_, index)| index.oid == oid);
    let place = found.and_then(|(_, index)| index.key_columns().iter().position(|key| Some(i64::from(*key)) == number));
    let place = place.and_then(|place| i32::try_from(place + 1).ok());
    Ok(place.map_or(Value::Null, Value::Int4))
}

pub(super) fn all() -> Vec<SystemFunction> {
    let visible_always = |name| function(name, 1..=1, SqlType::Bool, |_, _| Ok(Value::Bool(true)));
    let mut all = vec![
        function("format_type", 2..=2, SqlType::Text, format_type).called_on_null(),
        function("pg_get_userbyid", 1..=1, SqlType::Name, |s, v| Ok(Value::Text(s.role_name(oid_at(v, 0))))),
        function("pg_table_is_visible", 1..=1, SqlType::Bool, table_is_visible),
        function("pg_function_is_visible", 1..=1, SqlType::Bool, |scope, v| {
            let oid = oid_at(v, 0);
            let user = || scope.function(oid).is_some_and(|function| scope.function_is_visible(function));
            Ok(Value::Bool(row("pg_proc", oid).is_some() || user()))
        }),
        function("pg_type_is_visible", 1..=1, SqlType::Bool, type_is_visible),
        function("_pg_char_max_length", 2..=2, SqlType::Int4, characters_max),
        function("_pg_index_position", 2..=2, SqlType::Int4, index_position),
        function("regclass", 1..=1, SqlType::Regclass, regclass),
        function("regtype", 1..=1, SqlType::Regtype, regtype),
        function("regproc", 1..=1, SqlType::Regproc, regproc),
        function("to_regclass", 1..=1, SqlType::Regclass, to_regclass),
        function("to_regtype", 1..=1, SqlType::Regtype, |s, v| {
            Ok(type_named(s, text_at(v, 0)).map_or(Value::Null, Value::Oid))
        }),
        function("to_regproc", 1..=1, SqlType::Regproc, |s, v| {
            Ok(proc_named(s, text_at(v, 0)).map_or(Value::Null, |o| Value::Oid(o.0)))
        }),
        function("regnamespace", 1..=1, SqlType::Regnamespace, |s, v| {
            registered(s, v.first().unwrap_or(&Value::Null), &SqlType::Regnamespace)
        }),
        function("regrole", 1..=1, SqlType::Regrole, |s, v| {
            registered(s, v.first().unwrap_or(&Value::Null), &SqlType::Regrole)
        }),
        function("to_regnamespace", 1..=1, SqlType::Regnamespace, |s, v| {
            Ok(plain_object(s.catalog(), s.session().tenant, text_at(v, 0), &SqlType::Regnamespace)
                .map_or(Value::Null, |oid| Value::Oid(oid.0)))
        }),
        function("to_regrole", 1..=1, SqlType::Regrole, |s, v| {
            Ok(plain_object(s.catalog(), s.session().tenant, text_at(v, 0), &SqlType::Regrole)
                .map_or(Value::Null, |oid| Value::Oid(oid.0)))
        }),
        function("regnamespaceout", 1..=1, SqlType::Text, |s, v| {
            Ok(Value::Text(plain_text(s.catalog(), oid_at(v, 0), &SqlType::Regnamespace)))
        }),
        function("regroleout", 1..=1, SqlType::Text, |s, v| {
            Ok(Value::Text(plain_text(s.catalog(), oid_at(v, 0), &SqlType::Regrole)))
        }),
        function("oidvectortypes", 1..=1, SqlType::Text, |s, v| {
            let Some(Value::Array(types)) = v.first() else { return Ok(Value::Null) };
            let types: Vec<String> = types.iter().filter_map(oid_of).map(|oid| formatted(s, oid, -1)).collect();
            Ok(Value::Text(types.join(", ")))
        }),
        function("int2vectorout", 1..=1, SqlType::Text, |_, v| Ok(Value::Text(vector_text(v)))),
        function("regclassout", 1..=1, SqlType::Text, |s, v| Ok(Value::Text(class_text(s, oid_at(v, 0))))),
        function("regtypeout", 1..=1, SqlType::Text, |s, v| Ok(Value::Text(type_text(s, oid_at(v, 0))))),
        function("regprocout", 1..=1, SqlType::Text, |s, v| {
            let session = s.session();
            Ok(Value::Text(proc_text(s.catalog(), session.tenant, &session.search_path, oid_at(v, 0))))
        }),
    ];
    all.extend(
        [
            "pg_operator_is_visible",
            "pg_opclass_is_visible",
            "pg_opfamily_is_visible",
            "pg_conversion_is_visible",
            "pg_collation_is_visible",
            "pg_statistics_obj_is_visible",
            "pg_ts_config_is_visible",
            "pg_ts_dict_is_visible",
            "pg_ts_parser_is_visible",
            "pg_ts_template_is_visible",
        ]
        .map(visible_always),
    );
    all
}

fn format_type(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let Some(oid) = values.first().and_then(oid_of) else { return Ok(Value::Null) };
    let given = values.get(1).and_then(Value::as_i64);
    // A length that is not known is another thing than none.
    Ok(Value::Text(match given {
        None if oid.0 == BPCHAR => "character".to_owned(),
        Some(..4) if oid.0 == BPCHAR => "bpchar".to_owned(),
        _ => formatted(scope, oid, given.unwrap_or(-1)),
    }))
}

/// A type's name, with its modifier unless that is -1.
pub(super) fn formatted(scope: &Scope, oid: Oid, modifier: i64) -> String {
    let Some(ty) = SqlType::from_oid(oid.0) else { return type_text(scope, oid) };
    with_modifier(ty, modifier).to_string()
}

fn with_modifier(ty: SqlType, modifier: i64) -> SqlType {
    let length = u32::try_from(modifier - 4).ok();
    match ty {
        SqlType::Array(of) => SqlType::Array(Box::new(with_modifier(*of, modifier))),
        SqlType::Varchar(_) => SqlType::Varchar(length),
        SqlType::Char(_) => SqlType::Char(length.unwrap_or(1)),
        SqlType::Vector(_) => SqlType::Vector(u16::try_from(modifier).ok()),
        SqlType::Coded(of) => SqlType::Coded(of.with_modifier(modifier)),
        SqlType::Time(_) => SqlType::Time(u8::try_from(modifier).ok()),
        SqlType::Timetz(_) => SqlType::Timetz(u8::try_from(modifier).ok()),
        SqlType::Timestamp(_) => SqlType::Timestamp(u8::try_from(modifier).ok()),
        SqlType::Timestamptz(_) => SqlType::Timestamptz(u8::try_from(modifier).ok()),
        SqlType::Interval => i32::try_from(modifier)
            .ok()
            .and_then(IntervalType::of_modifier)
            .map_or(SqlType::Interval, SqlType::IntervalOf),
        SqlType::Numeric(_) => {
            SqlType::Numeric(length.map(|bits| ((bits >> 16) as u16, (((bits & 0x7ff) ^ 1024) as i16) - 1024)))
        }
        other => other,
    }
}

fn type_is_visible(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let oid = oid_at(values, 0);
    Ok(Value::Bool(match scope.user_type(oid) {
        Some((ty, _)) => scope.type_is_visible(ty),
        None => row("pg_type", oid).is_some(),
    }))
}

fn table_is_visible(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    Ok(scope.relation(oid_at(values, 0)).map_or(Value::Null, |relation| Value::Bool(scope.is_visible(relation))))
}

fn regclass(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let value = values.first().unwrap_or(&Value::Null);
    if let Some(oid) = oid_of(value) {
        return Ok(Value::Oid(oid.0));
    }
    if value.as_str() == Some(NOTHING) {
        return Ok(Value::Oid(0));
    }
    Ok(relation_of(scope, value)?.map_or(Value::Null, |relation| Value::Oid(relation.oid().0)))
}

fn to_regclass(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let found = named(scope, text_at(values, 0))?;
    Ok(found.map_or(Value::Null, |relation| Value::Oid(relation.oid().0)))
}

/// A schema or a role by its name or its number.
fn registered(scope: &Scope, value: &Value, ty: &SqlType) -> SqlResult<Value> {
    if let Some(oid) = oid_of(value) {
        return Ok(Value::Oid(oid.0));
    }
    let name = value.as_str().unwrap_or_default();
    plain_object_named(scope.catalog(), scope.session().tenant, name, ty).map(|oid| Value::Oid(oid.0))
}

/// The name of a schema or a role.
fn plain_text(catalog: &Catalog, oid: Oid, ty: &SqlType) -> String {
    match (catalog.object(oid), ty) {
        (Some(Object::Schema(schema)), SqlType::Regnamespace) => deparse::quote_ident(&schema.name),
        (Some(Object::Role(role)), SqlType::Regrole) => deparse::quote_ident(&role.name),
        _ => number_text(oid),
    }
}

fn regtype(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let value = values.first().unwrap_or(&Value::Null);
    if let Some(oid) = oid_of(value) {
        return Ok(Value::Oid(oid.0));
    }
    let name = value.as_str().unwrap_or_default();
    if name == NOTHING {
        return Ok(Value::Oid(0));
    }
    match type_named(scope, name) {
        Some(oid) => Ok(Value::Oid(oid)),
        None => Err(SqlError::new(SqlState::UndefinedObject, format!("type \"{name}\" does not exist"))),
    }
}

pub(super) fn type_named(scope: &Scope, name: &str) -> Option<u32> {
    let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(name).ok()?;
    let parsed = parser.parse_data_type().ok()?;
    let session = scope.session();
    let known = with_types(scope.catalog_arc(), session.tenant, &session.search_path, || match domain_of(&parsed) {
        Some(domain) => Some(domain.oid.0),
        None => sql_type_of(&parsed).ok().map(|ty| ty.oid()),
    });
    known.or_else(|| fixed_type(name))
}

/// A type that PostgreSQL has and Perigee has no values of, but whose row clients ask for.
fn fixed_type(name: &str) -> Option<u32> {
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name).to_ascii_lowercase();
    let definition = definition::find("pg_catalog", "pg_type")?;
    let at = definition.position("typname")?;
    let row = definition.fixed_rows().iter().find(|row| row.get(at).and_then(Value::as_str) == Some(&name))?;
    Some(oid_of(row.first()?)?.0)
}

fn regproc(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let value = values.first().unwrap_or(&Value::Null);
    if let Some(oid) = oid_of(value) {
        return Ok(Value::Oid(oid.0));
    }
    let name = value.as_str().unwrap_or_default();
    match proc_named(scope, name) {
        Some(oid) => Ok(Value::Oid(oid.0)),
        None => Err(SqlError::new(SqlState::UndefinedFunction, format!("function \"{name}\" does not exist"))),
    }
}

/// A function by its name; what stands in parentheses behind it, as in regprocedure, says how many parameters it has.
fn proc_named(scope: &Scope, name: &str) -> Option<Oid> {
    let (name, parameters) = match name.split_once('(') {
        Some((name, rest)) => (name, Some(rest.trim_end().trim_end_matches(')').trim())),
        None => (name, None),
    };
    let name = name.trim();
    let definition = definition::find("pg_catalog", "pg_proc")?;
    let at = definition.position("proname")?;
    let plain = name.strip_prefix("pg_catalog.").unwrap_or(name);
    let built_in = definition.fixed_rows().iter().find(|row| row.get(at).and_then(Value::as_str) == Some(plain));
    if let Some(row) = built_in {
        return oid_of(row.first()?);
    }
    let parts = deparse::parse_ident(name)?;
    let found = match parts.as_slice() {
        [name] => scope.functions_named(None, name),
        [schema, name] => scope.functions_named(Some(schema), name),
        _ => return None,
    };
    let count = parameters.map(|text| if text.is_empty() { 0 } else { text.split(',').count() });
    let fits = |parameters: usize| count.is_none_or(|count| count == parameters);
    found.iter().find(|function| fits(function.parameters.len())).map(|function| function.oid)
}

/// What a function of PostgreSQL's is, as `prokind` says it: `a` for an aggregate, `w` for a window function, `f` for one of a row,
/// and `s` for one that gives rows; `None` where PostgreSQL has none of this name.
pub(crate) fn kind_of_function(name: &str) -> Option<char> {
    static KINDS: LazyLock<HashMap<&'static str, char>> = LazyLock::new(|| {
        let Some(definition) = definition::find("pg_catalog", "pg_proc") else { return HashMap::new() };
        let place = |column: &str| definition.position(column);
        let (Some(name), Some(kind), Some(set)) = (place("proname"), place("prokind"), place("proretset")) else {
            return HashMap::new();
        };
        let mut kinds = HashMap::new();
        for row in definition.fixed_rows() {
            let Some(name) = row.get(name).and_then(Value::as_str) else { continue };
            let kind = match (row.get(kind).and_then(Value::as_str), row.get(set)) {
                (_, Some(Value::Bool(true))) => 's',
                (Some("a"), _) => 'a',
                (Some("w"), _) => 'w',
                _ => 'f',
            };
            // One of a name may be of another kind than the others: what gathers rows counts.
            let known = kinds.entry(name).or_insert(kind);
            if *known == 'f' {
                *known = kind;
            }
        }
        kinds
    });
    KINDS.get(name).copied()
}

/// PostgreSQL's own function of this name whose parameters have these types.
pub(crate) fn built_in_function(name: &str, parameters: &[SqlType]) -> Option<Oid> {
    let definition = definition::find("pg_catalog", "pg_proc")?;
    let (at_name, at_types) = (definition.position("proname")?, definition.position("proargtypes")?);
    let wanted = Value::Array(parameters.iter().map(|ty| Value::Oid(ty.oid())).collect());
    let mut rows = definition.fixed_rows().iter();
    let found =
        rows.find(|row| row.get(at_name).and_then(Value::as_str) == Some(name) && row.get(at_types) == Some(&wanted));
    oid_of(found?.first()?)
}

/// What a function takes and gives, as oids of types.
pub(in crate::pg_catalog) struct Callable {
    /// Its name as it is printed.
    pub(in crate::pg_catalog) name: String,
    /// The types of its parameters.
    pub(in crate::pg_catalog) parameters: Vec<u32>,
    /// The type of its result.
    pub(in crate::pg_catalog) result: u32,
}

/// The functions and aggregates of a name that take so many arguments and give one value: PostgreSQL's, where it has some of the
/// name, else those of users.
pub(in crate::pg_catalog) fn callables(
    scope: &Scope,
    schema: Option<&str>,
    name: &str,
    arguments: usize,
) -> Vec<Callable> {
    if schema.is_some() || kind_of_function(name).is_none() {
        let found = scope.functions_named(schema, name).into_iter().filter(|f| f.parameters.len() == arguments);
        return found
            .filter_map(|function| {
                let Returns::Value(result) = &function.returns else { return None };
                let session = scope.session();
                Some(Callable {
                    name: proc_text(scope.catalog(), session.tenant, &session.search_path, function.oid),
                    parameters: function.parameters.iter().map(|parameter| parameter.ty.oid()).collect(),
                    result: result.oid(),
                })
            })
            .collect();
    }
    let Some(definition) = definition::find("pg_catalog", "pg_proc") else { return Vec::new() };
    let place = |column: &str| definition.position(column).unwrap_or(usize::MAX);
    let (at_name, at_set, at_variadic) = (place("proname"), place("proretset"), place("provariadic"));
    let (at_types, at_result) = (place("proargtypes"), place("prorettype"));
    let fitting = definition.fixed_rows().iter().filter(|row| {
        row.get(at_name).and_then(Value::as_str) == Some(name)
            && row.get(at_set) == Some(&Value::Bool(false))
            && row.get(at_variadic) == Some(&Value::Oid(0))
    });
    fitting
        .filter_map(|row| {
            let Some(Value::Array(types)) = row.get(at_types) else { return None };
            let parameters: Vec<u32> = types.iter().filter_map(oid_of).map(|oid| oid.0).collect();
            let result = row.get(at_result).and_then(oid_of)?.0;
            (parameters.len() == arguments).then(|| Callable { name: deparse::quote_ident(name), parameters, result })
        })
        .collect()
}

/// An int2vector or oidvector as text: numbers with blanks between.
fn vector_text(values: &[Value]) -> String {
    let Some(Value::Array(numbers)) = values.first() else { return String::new() };
    let numbers: Vec<String> = numbers.iter().filter_map(Value::as_i64).map(|number| number.to_string()).collect();
    numbers.join(" ")
}

/// A relation as regclass shows it.
fn class_text(scope: &Scope, oid: Oid) -> String {
    match scope.relation(oid) {
        Some(relation) => deparse::short(scope, relation),
        None => number_text(oid),
    }
}

/// What an oid of type regclass, regtype or regproc shows as text, to a session with these schemas in its path.
pub(in crate::pg_catalog) fn object_text(
    catalog: &Catalog,
    tenant: TenantId,
    path: &[String],
    oid: Oid,
    ty: &SqlType,
) -> String {
    match ty {
        SqlType::Regtype => return type_text_in(catalog, tenant, path, oid),
        SqlType::Regproc => return proc_text(catalog, tenant, path, oid),
        SqlType::Regnamespace | SqlType::Regrole => return plain_text(catalog, oid, ty),
        _ => {}
    }
    let (schema, name) = match catalog.object(oid) {
        Some(Object::Table(o)) => (o.schema, &o.name),
        Some(Object::Index(o)) => (o.schema, &o.name),
        Some(Object::Sequence(o)) => (o.schema, &o.name),
        Some(Object::View(o)) => (o.schema, &o.name),
        _ => {
            return match definition::all().find(|definition| definition.oid == oid.0) {
                Some(definition) if definition.schema == "pg_catalog" => deparse::quote_ident(definition.name),
                Some(definition) => format!("{}.{}", definition.schema, deparse::quote_ident(definition.name)),
                None => number_text(oid),
            };
        }
    };
    let first = path.iter().find_map(|schema| catalog.relation(catalog.schema(tenant, schema)?.oid, name));
    let hidden = definition::find("pg_catalog", name).is_some() || first.is_none_or(|first| first.oid() != oid);
    let name = deparse::quote_ident(name);
    match catalog.object(schema) {
        Some(schema) if hidden => format!("{}.{name}", deparse::quote_ident(schema.name())),
        _ => name,
    }
}

/// A type as regtype shows it.
fn type_text(scope: &Scope, oid: Oid) -> String {
    let session = scope.session();
    type_text_in(scope.catalog(), session.tenant, &session.search_path, oid)
}

fn type_text_in(catalog: &Catalog, tenant: TenantId, path: &[String], oid: Oid) -> String {
    if let Some((ty, is_array)) = scope::user_type(catalog, tenant, oid) {
        let schema = match catalog.object(ty.schema) {
            Some(schema) if !scope::type_is_visible(catalog, tenant, path, ty) => {
                format!("{}.", deparse::quote_ident(schema.name()))
            }
            _ => String::new(),
        };
        let brackets = if is_array { "[]" } else { "" };
        return format!("{schema}{}{brackets}", deparse::quote_ident(&ty.name));
    }
    match SqlType::from_oid(oid.0) {
        Some(SqlType::Char(_)) => "character".to_owned(),
        Some(SqlType::Array(of)) if matches!(*of, SqlType::Char(_)) => "character[]".to_owned(),
        Some(ty) => ty.to_string(),
        None if oid == Oid(0) => NOTHING.to_owned(),
        None => match cell("pg_type", oid, "typname") {
            Some(Value::Text(name)) => name,
            _ => UNKNOWN_TYPE.to_owned(),
        },
    }
}

/// A function as regproc shows it.
fn proc_text(catalog: &Catalog, tenant: TenantId, path: &[String], oid: Oid) -> String {
    if let Some(function) = catalog.function(oid) {
        let name = deparse::quote_ident(&function.name);
        let has_one = |schema: &String| {
            let schema = catalog.schema(tenant, schema)?.oid;
            catalog.functions(schema, &function.name).next().map(|_| schema)
        };
        return match catalog.object(function.schema) {
            Some(schema) if path.iter().find_map(has_one) != Some(function.schema) => {
                format!("{}.{name}", deparse::quote_ident(schema.name()))
            }
            _ => name,
        };
    }
    match cell("pg_proc", oid, "proname") {
        Some(Value::Text(name)) => name,
        _ => number_text(oid),
    }
}

fn number_text(oid: Oid) -> String {
    if oid == Oid(0) { NOTHING.to_owned() } else { oid.to_string() }
}

/// The row with an oid of a table whose rows never change and whose first column is the oid.
fn row(table: &str, oid: Oid) -> Option<&'static perigee_types::Row> {
    let definition = definition::find("pg_catalog", table)?;
    definition.fixed_rows().iter().find(|row| row.first() == Some(&Value::Oid(oid.0)))
}

/// A cell of [`row`].
pub(super) fn cell(table: &str, oid: Oid, column: &str) -> Option<Value> {
    let at = definition::find("pg_catalog", table)?.position(column)?;
    row(table, oid)?.get(at).cloned()
}
