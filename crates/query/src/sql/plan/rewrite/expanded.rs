//! `information_schema._pg_expandarray(array)`: the elements of an array, each with its place, as rows `(x, n)`.
//!
//! There are no values of row types, so its uses are written as the set-returning functions that they stand for:
//!
//! ```text
//! (_pg_expandarray(a)).n             the places of a's elements
//! (_pg_expandarray(a)).x             unnest(a)
//! _pg_expandarray(a) AS keys         unnest(a) AS keys
//! (around.keys).x                    around.keys
//! ```

use std::collections::HashSet;

use sqlparser::ast::{AccessExpr, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, SelectItem};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::exec::PLACES;
use crate::sql::parse::fold;

/// The columns of a statement that hold such rows.
#[derive(Default)]
pub(super) struct Expanded(HashSet<String>);

impl Expanded {
    /// Takes in the columns of a select list, whose elements alone are kept.
    pub(super) fn enter_select(&mut self, projection: &mut [SelectItem]) {
        for item in projection {
            if let SelectItem::ExprWithAlias { expr, alias } = item
                && let Some(elements) = argument(expr).and_then(|array| call("unnest", array, ""))
            {
                *expr = elements;
                self.0.insert(fold(alias));
            }
        }
    }

    /// What a field of such a row is.
    pub(super) fn field(&self, expr: &Expr) -> Option<Expr> {
        let Expr::CompoundFieldAccess { root, access_chain } = expr else { return None };
        let [AccessExpr::Dot(Expr::Identifier(field))] = access_chain.as_slice() else { return None };
        let (row, field) = (bare(root), fold(field));
        if let Some(array) = argument(row) {
            return match field.as_str() {
                "n" => call(PLACES, array, ", 1"),
                "x" => call("unnest", array, ""),
                _ => None,
            };
        }
        let name = match row {
            Expr::Identifier(name) => name,
            Expr::CompoundIdentifier(names) => names.last()?,
            _ => return None,
        };
        (field == "x" && self.0.contains(&fold(name))).then(|| row.clone())
    }
}

fn bare(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

/// The array that a call of the function expands.
fn argument(expr: &Expr) -> Option<&Expr> {
    let Expr::Function(function) = bare(expr) else { return None };
    if fold(function.name.0.last()?.as_ident()?) != "_pg_expandarray" {
        return None;
    }
    let FunctionArguments::List(list) = &function.args else { return None };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))] => Some(array),
        _ => None,
    }
}

fn call(function: &str, array: &Expr, more: &str) -> Option<Expr> {
    let text = format!("{function}({array}{more})");
    Parser::new(&PostgreSqlDialect {}).try_with_sql(&text).and_then(|mut parser| parser.parse_expr()).ok()
}
