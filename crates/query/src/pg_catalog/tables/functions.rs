//! `pg_proc`, and routines and their parameters in `information_schema`: the functions that users made.

use perigee_types::catalog::{Function, Parameter, Returns, Volatility};
use perigee_types::{SqlType, Value};

use super::information::database;
use super::roles::acl_of;
use crate::pg_catalog::builder::{Rows, bool, int2, int4, oid, text, text_or_null, yes_or_no};
use crate::pg_catalog::functions::type_cell;
use crate::pg_catalog::scope::Scope;

/// Oid of language `sql`.
const SQL_LANGUAGE: u32 = 14;
/// Oid of type `record`: what functions give that have several columns.
const RECORD: u32 = 2249;

/// `pg_proc`
pub(super) fn procedures(scope: &Scope, rows: &mut Rows) {
    for function in scope.functions() {
        let types = |parameters: &[Parameter]| parameters.iter().map(|p| Value::Oid(p.ty.oid())).collect::<Vec<_>>();
        let arguments = types(&function.parameters);
        let defaults: Vec<&str> = function.parameters.iter().filter_map(|p| p.default.as_deref()).collect();
        let (all, modes) = match &function.returns {
            Returns::Table(columns) => {
                let all = arguments.iter().cloned().chain(columns.iter().map(|(_, ty)| Value::Oid(ty.oid())));
                let modes = arguments.iter().map(|_| "i").chain(columns.iter().map(|_| "t"));
                (Value::Array(all.collect()), Value::Array(modes.map(text).collect()))
            }
            _ => (Value::Null, Value::Null),
        };
        let is_set = !matches!(function.returns, Returns::Value(_));
        rows.push([
            ("oid", oid(function.oid.0)),
            ("proname", text(function.name.as_str())),
            ("pronamespace", oid(function.schema.0)),
            ("proowner", oid(function.owner.0)),
            ("prolang", oid(SQL_LANGUAGE)),
            ("procost", Value::Float4(100.0)),
            ("prorows", Value::Float4(if is_set { 1000.0 } else { 0.0 })),
            ("prokind", text("f")),
            ("proisstrict", bool(function.strict)),
            ("proretset", bool(is_set)),
            ("provolatile", text(function.volatility.code())),
            ("proparallel", text(function.parallel.code())),
            ("pronargs", int2(arguments.len())),
            ("pronargdefaults", int2(defaults.len())),
            ("prorettype", oid(result_type(function))),
            ("proargtypes", Value::Array(arguments)),
            ("proallargtypes", all),
            ("proargmodes", modes),
            ("proargnames", names(function)),
            ("proargdefaults", text_or_null((!defaults.is_empty()).then(|| defaults.join(", ")))),
            ("prosrc", text(function.source.as_str())),
            ("proacl", acl_of(scope, function.oid)),
        ]);
    }
}

/// `prorettype`
fn result_type(function: &Function) -> u32 {
    match &function.returns {
        Returns::Value(ty) | Returns::Set(ty) => ty.oid(),
        Returns::Table(columns) => match columns.as_slice() {
            [(_, ty)] => ty.oid(),
            _ => RECORD,
        },
    }
}

/// `proargnames`: NULL where nothing has a name.
fn names(function: &Function) -> Value {
    let parameters = function.parameters.iter().map(|parameter| parameter.name.clone().unwrap_or_default());
    let columns = match &function.returns {
        Returns::Table(columns) => columns.iter().map(|(name, _)| name.clone()).collect(),
        _ => Vec::new(),
    };
    let all: Vec<String> = parameters.chain(columns).collect();
    if all.iter().all(String::is_empty) {
        return Value::Null;
    }
    Value::Array(all.into_iter().map(Value::Text).collect())
}

/// `information_schema.routines`
pub(super) fn routines(scope: &Scope, rows: &mut Rows) {
    for function in scope.functions() {
        let result = match &function.returns {
            Returns::Value(ty) | Returns::Set(ty) => Some(ty),
            Returns::Table(columns) => match columns.as_slice() {
                [(_, ty)] => Some(ty),
                _ => None,
            },
        };
        let schema = scope.schema_name(function.schema);
        rows.push([
            ("specific_catalog", text(database(scope))),
            ("specific_schema", text(schema)),
            ("specific_name", text(specific_name(function))),
            ("routine_catalog", text(database(scope))),
            ("routine_schema", text(schema)),
            ("routine_name", text(function.name.as_str())),
            ("routine_type", text("FUNCTION")),
            ("data_type", text(result.map_or_else(|| "record".to_owned(), data_type))),
            ("type_udt_catalog", text(database(scope))),
            ("type_udt_schema", text("pg_catalog")),
            ("type_udt_name", text(result.map_or_else(|| "record".to_owned(), SqlType::internal_name))),
            ("dtd_identifier", text("0")),
            ("routine_body", text("SQL")),
            ("routine_definition", text(function.source.as_str())),
            ("external_language", text("SQL")),
            ("parameter_style", text("GENERAL")),
            ("is_deterministic", yes_or_no(function.volatility == Volatility::Immutable)),
            ("sql_data_access", text("MODIFIES")),
            ("is_null_call", yes_or_no(function.strict)),
            ("schema_level_routine", yes_or_no(true)),
            ("max_dynamic_result_sets", int4(0)),
            ("security_type", text("INVOKER")),
            ("as_locator", yes_or_no(false)),
            ("is_udt_dependent", yes_or_no(false)),
        ]);
    }
}

/// `information_schema.parameters`
pub(super) fn parameters(scope: &Scope, rows: &mut Rows) {
    for function in scope.functions() {
        let of_parameters = function.parameters.iter().map(|p| ("IN", p.name.as_deref(), &p.ty, p.default.as_deref()));
        let columns = match &function.returns {
            Returns::Table(columns) => columns.as_slice(),
            _ => &[],
        };
        let of_columns = columns.iter().map(|(name, ty)| ("OUT", Some(name.as_str()), ty, None));
        for (at, (mode, name, ty, default)) in of_parameters.chain(of_columns).enumerate() {
            rows.push([
                ("specific_catalog", text(database(scope))),
                ("specific_schema", text(scope.schema_name(function.schema))),
                ("specific_name", text(specific_name(function))),
                ("ordinal_position", int4(at + 1)),
                ("parameter_mode", text(mode)),
                ("is_result", yes_or_no(false)),
                ("as_locator", yes_or_no(false)),
                ("parameter_name", text_or_null(name)),
                ("data_type", text(data_type(ty))),
                ("udt_catalog", text(database(scope))),
                ("udt_schema", text("pg_catalog")),
                ("udt_name", text(ty.internal_name())),
                ("dtd_identifier", text((at + 1).to_string())),
                ("parameter_default", text_or_null(default)),
            ]);
        }
    }
}

/// A name that no other function has: with the oid behind it.
fn specific_name(function: &Function) -> String {
    format!("{}_{}", function.name, function.oid)
}

/// A type as the information schema names it.
fn data_type(ty: &SqlType) -> String {
    match ty {
        SqlType::Array(_) => "ARRAY".to_owned(),
        SqlType::Enum(_) => "USER-DEFINED".to_owned(),
        SqlType::Char(_) => "character".to_owned(),
        other => match type_cell(perigee_types::Oid(other.oid()), "typname") {
            Some(_) => other.to_string(),
            None => "USER-DEFINED".to_owned(),
        },
    }
}
