//! Whole rows as JSON: `row_to_json(t)`, `to_jsonb(t)`, `json_agg(t)` over a table or subquery of FROM, `row_to_json(ROW(…))`.
//!
//! There are no values of composite types here, so a row becomes an object by the names of its columns, which the
//! catalog or the subquery's select list says.

use perigee_types::catalog::Object;
use perigee_types::{SqlError, SqlResult};
use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, SelectItem,
    SetExpr, TableAlias, TableFactor, TableWithJoins, Value,
};

use super::super::{columns, names};
use super::functions::call;
use crate::exec::JSON_ROW;
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

/// The relations of a SELECT by name, with their columns where they are known here.
pub(super) type Relations = Vec<(String, Option<Vec<String>>)>;

/// The relations of a FROM.
pub(super) fn relations(from: &[TableWithJoins], context: &PlanContext) -> Relations {
    let mut found = Vec::new();
    for table in from {
        collect(table, context, &mut found);
    }
    found
}

fn collect(table: &TableWithJoins, context: &PlanContext, found: &mut Relations) {
    for factor in std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)) {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let Ok(qualified) = names::qualified(name, context) else { continue };
                let columns = match names::find(&qualified, context) {
                    Some(Object::Table(table)) => Some(table.columns.iter().map(|c| c.name.clone()).collect()),
                    Some(Object::View(view)) => Some(view.columns.iter().map(|(column, _)| column.clone()).collect()),
                    _ => None,
                };
                found.push(named(alias.as_ref(), qualified.1, columns));
            }
            TableFactor::Derived { subquery, alias, .. } => {
                found.push(named(alias.as_ref(), String::new(), outputs(&subquery.body)));
            }
            TableFactor::NestedJoin { table_with_joins, .. } => collect(table_with_joins, context, found),
            // A series has one column, which is called as it is.
            TableFactor::Table { alias: Some(alias), .. } => {
                let name = fold(&alias.name);
                found.push((name.clone(), Some(vec![name])));
            }
            _ => found.push((String::new(), None)),
        }
    }
}

/// A relation under its alias, whose columns may have other names.
fn named(alias: Option<&TableAlias>, name: String, mut columns: Option<Vec<String>>) -> (String, Option<Vec<String>>) {
    let Some(alias) = alias else { return (name, columns) };
    for (column, other) in columns.iter_mut().flatten().zip(&alias.columns) {
        *column = fold(&other.name);
    }
    (fold(&alias.name), columns)
}

/// The names of a query's columns; `None` with a wildcard.
fn outputs(body: &SetExpr) -> Option<Vec<String>> {
    match body {
        SetExpr::Select(select) => select
            .projection
            .iter()
            .map(|item| match item {
                SelectItem::UnnamedExpr(expr) => Some(columns::expression_name(expr)),
                SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
                _ => None,
            })
            .collect(),
        SetExpr::Query(query) => outputs(&query.body),
        SetExpr::SetOperation { left, .. } => outputs(left),
        SetExpr::Values(values) => {
            let width = values.rows.first()?.content.len();
            Some((1..=width).map(|at| format!("column{at}")).collect())
        }
        _ => None,
    }
}

/// Rewrites the argument of a function that makes JSON of a whole row. `scopes`: the relations of each SELECT around,
/// innermost last.
pub(super) fn as_json(function: &mut Function, scopes: &[Relations]) {
    let name = function.name.to_string().to_lowercase();
    let is_row = name == "row_to_json";
    if !is_row && !matches!(name.as_str(), "to_json" | "to_jsonb" | "json_agg" | "jsonb_agg") {
        return;
    }
    let FunctionArguments::List(list) = &mut function.args else { return };
    let pretty = match list.args.get(1) {
        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))) if is_row => expr.clone(),
        _ => Expr::value(Value::Boolean(false)),
    };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))) = list.args.first_mut() else { return };
    let Some(fields) = fields(arg, scopes) else { return };
    let mut args = vec![pretty];
    for (name, value) in fields {
        args.push(Expr::value(Value::SingleQuotedString(name)));
        args.push(value);
    }
    *arg = call(JSON_ROW, args);
    if is_row {
        list.args.truncate(1);
        function.name = sqlparser::ast::ObjectName::from(vec![Ident::new("to_json")]);
    }
}

/// The names and values of a row; `None` where the expression is no whole row.
fn fields(expr: &Expr, scopes: &[Relations]) -> Option<Vec<(String, Expr)>> {
    let positions =
        |values: Vec<Expr>| values.into_iter().enumerate().map(|(at, e)| (format!("f{}", at + 1), e)).collect();
    match expr {
        Expr::Tuple(values) => Some(positions(values.clone())),
        Expr::Function(row) if row.name.to_string().eq_ignore_ascii_case("row") => {
            let FunctionArguments::List(list) = &row.args else { return None };
            let values: Option<Vec<Expr>> = list
                .args
                .iter()
                .map(|arg| match arg {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
                    _ => None,
                })
                .collect();
            values.map(positions)
        }
        Expr::Identifier(ident) => {
            let wanted = fold(ident);
            for scope in scopes.iter().rev() {
                // A column of that name comes first, and one may be where columns are not known.
                if scope.iter().any(|(_, columns)| columns.as_ref().is_none_or(|known| known.contains(&wanted))) {
                    return None;
                }
                if let Some((relation, Some(columns))) = scope.iter().find(|(name, _)| *name == wanted) {
                    return Some(columns_of(relation, columns));
                }
            }
            None
        }
        _ => None,
    }
}

/// Rewrites `count(t.*)` and `count(t)` over a relation of FROM. A row is counted that has a value; the rows that an outer
/// join makes have none.
///
/// # Errors
/// `0A000` where the columns are not known here.
pub(super) fn counted(function: &mut Function, scopes: &[Relations]) -> SqlResult<()> {
    if !function.name.to_string().eq_ignore_ascii_case("count") {
        return Ok(());
    }
    let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
    let [FunctionArg::Unnamed(arg)] = list.args.as_mut_slice() else { return Ok(()) };
    let row = match arg {
        FunctionArgExpr::QualifiedWildcard(name) => {
            let [part] = name.0.as_slice() else { return Err(SqlError::unsupported("count of this row")) };
            let Some(ident) = part.as_ident() else { return Err(SqlError::unsupported("count of this row")) };
            let wanted = fold(ident);
            let mut relations = scopes.iter().rev().flatten();
            let Some((relation, Some(columns))) = relations.find(|(name, _)| *name == wanted) else {
                return Err(SqlError::unsupported("count of a row whose columns are not known"));
            };
            columns_of(relation, columns)
        }
        FunctionArgExpr::Expr(expr @ Expr::Identifier(_)) => match fields(expr, scopes) {
            Some(fields) => fields,
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    let has_value = row
        .into_iter()
        .map(|(_, column)| Expr::IsNotNull(Box::new(column)))
        .reduce(|all, next| Expr::BinaryOp { left: Box::new(all), op: BinaryOperator::Or, right: Box::new(next) });
    let Some(has_value) = has_value else { return Ok(()) };
    *arg = FunctionArgExpr::Expr(Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition: has_value, result: Expr::value(Value::Boolean(true)) }],
        else_result: None,
    });
    Ok(())
}

fn columns_of(relation: &str, columns: &[String]) -> Vec<(String, Expr)> {
    let quoted = |name: &str| Ident::with_quote('"', name);
    let column = |c: &String| Expr::CompoundIdentifier(vec![quoted(relation), quoted(c)]);
    columns.iter().map(|c| (c.clone(), column(c))).collect()
}
