//! Functions of `information_schema` that tools take from its views: `_pg_truetypid(a.*, t.*)` and its like, over rows of
//! pg_attribute and pg_type.

use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName};

use super::super::names;
use crate::sql::parse::{fold, parse_expression};

/// What a call is in their place; those over values alone lose their schema.
pub(super) fn called(function: &mut Function) -> Option<Expr> {
    let [schema, name] = function.name.0.as_slice() else { return None };
    if fold(schema.as_ident()?) != "information_schema" {
        return None;
    }
    let name = fold(name.as_ident()?);
    match name.as_str() {
        "_pg_truetypid" => true_type(function, "typbasetype", "atttypid"),
        "_pg_truetypmod" => true_type(function, "typtypmod", "atttypmod"),
        "_pg_char_max_length" | "_pg_index_position" => {
            function.name = ObjectName::from(vec![Ident::new(name)]);
            None
        }
        _ => None,
    }
}

/// What pg_type says of a domain, and pg_attribute of any other type.
fn true_type(function: &Function, of_domain: &str, of_column: &str) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let [
        FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(column)),
        FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(ty)),
    ] = list.args.as_slice()
    else {
        return None;
    };
    let (column, ty) = (names::last_ident(column).ok()?, names::last_ident(ty).ok()?);
    let text = format!("CASE WHEN {ty}.typtype = 'd' THEN {ty}.{of_domain} ELSE {column}.{of_column} END");
    parse_expression(&text).ok()
}
