//! Whole rows: `SELECT t FROM t`, `ROW(a, b)`, `(t).a`, `row_to_json(t)`, `count(t)` over a table or subquery of FROM.
//!
//! A row is written as a call with the names and values of its columns, which the catalog or the subquery's select list says:
//! of [`ROW`], which makes a record, or of [`JSON_ROW`] where JSON is all that it is for.

use std::ops::ControlFlow;

use perigee_types::catalog::Object;
use perigee_types::{SqlError, SqlResult};
use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    JoinOperator, ObjectName, OrderBy, OrderByExpr, OrderByKind, Query, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, TableAlias, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut,
};

use super::super::{columns, names};
use super::functions::call;
use crate::exec::{JSON_ROW, ROW};
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

/// A relation by name, with its columns where they are known here.
pub(super) struct Relation {
    name: String,
    columns: Option<Vec<String>>,
    /// Whether an outer join makes rows of it that it does not have.
    outer: bool,
}

/// The relations of a SELECT.
pub(super) type Relations = Vec<Relation>;

/// Finds the columns of a relation that is in no catalog.
type Columns<'a> = &'a dyn Fn(&TableFactor) -> Option<Vec<String>>;

/// The relations of a FROM.
pub(super) fn relations(from: &[TableWithJoins], context: &PlanContext) -> Relations {
    relations_with(from, context, &|_| None)
}

/// The relations of a FROM; `queries` finds the columns of queries.
pub(super) fn relations_with(from: &[TableWithJoins], context: &PlanContext, queries: Columns<'_>) -> Relations {
    let mut found = Vec::new();
    for table in from {
        collect(table, context, queries, &mut found);
    }
    found
}

fn collect(table: &TableWithJoins, context: &PlanContext, queries: Columns<'_>, found: &mut Relations) {
    let first = found.len();
    collect_factor(&table.relation, context, queries, found);
    for join in &table.joins {
        let right = found.len();
        collect_factor(&join.relation, context, queries, found);
        let (before, behind) = found.split_at_mut(right);
        let (left_is_outer, right_is_outer) = match join.join_operator {
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => (false, true),
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => (true, false),
            JoinOperator::FullOuter(_) => (true, true),
            _ => (false, false),
        };
        before[first..].iter_mut().for_each(|relation| relation.outer |= left_is_outer);
        behind.iter_mut().for_each(|relation| relation.outer |= right_is_outer);
    }
}

fn collect_factor(factor: &TableFactor, context: &PlanContext, queries: Columns<'_>, found: &mut Relations) {
    found.push(match factor {
        TableFactor::Table { name, alias, args: None, .. } => {
            let Ok(qualified) = names::qualified(name, context) else { return };
            let columns = match names::find(&qualified, context) {
                Some(Object::Table(table)) => Some(table.visible_columns().iter().map(|c| c.name.clone()).collect()),
                Some(Object::View(view)) => Some(view.columns.iter().map(|(column, _)| column.clone()).collect()),
                _ => queries(factor),
            };
            named(alias.as_ref(), qualified.1, columns)
        }
        TableFactor::Derived { subquery, alias, .. } => {
            named(alias.as_ref(), String::new(), outputs(&subquery.body).or_else(|| queries(factor)))
        }
        TableFactor::NestedJoin { table_with_joins, .. } => return collect(table_with_joins, context, queries, found),
        // A series has one column, which is called as it is.
        TableFactor::Table { alias: Some(alias), .. } => {
            let name = fold(&alias.name);
            let columns = alias.columns.iter().map(|column| fold(&column.name)).collect::<Vec<_>>();
            let columns = if columns.is_empty() { vec![name.clone()] } else { columns };
            Relation { columns: Some(columns), name, outer: false }
        }
        _ => Relation { name: String::new(), columns: None, outer: false },
    });
}

/// A relation under its alias, whose columns may have other names.
fn named(alias: Option<&TableAlias>, name: String, mut columns: Option<Vec<String>>) -> Relation {
    let Some(alias) = alias else { return Relation { name, columns, outer: false } };
    for (column, other) in columns.iter_mut().flatten().zip(&alias.columns) {
        *column = fold(&other.name);
    }
    Relation { name: fold(&alias.name), columns, outer: false }
}

/// The name of the relation that has a column of this name, where that is sure: the innermost SELECT around that has one has
/// one alone.
pub(super) fn owner_of<'a>(column: &Ident, scopes: &'a [Relations]) -> Option<&'a str> {
    let wanted = fold(column);
    for scope in scopes.iter().rev() {
        if scope.iter().any(|relation| relation.columns.is_none() || relation.name.is_empty()) {
            return None;
        }
        let mut owners =
            scope.iter().filter(|relation| relation.columns.as_ref().is_some_and(|known| known.contains(&wanted)));
        match (owners.next(), owners.next()) {
            (Some(owner), None) => return Some(&owner.name),
            (Some(_), Some(_)) => return None,
            (None, _) => {}
        }
    }
    None
}

/// Whether a column is surely of a query around the innermost SELECT.
pub(super) fn is_outer(column: &Expr, scopes: &[Relations]) -> bool {
    let Some(scope) = scopes.last() else { return false };
    match column {
        Expr::Identifier(name) => {
            let name = fold(name);
            scope.iter().all(|relation| relation.columns.as_ref().is_some_and(|known| !known.contains(&name)))
        }
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., table, _] => {
                let table = fold(table);
                scope.iter().all(|relation| !relation.name.is_empty() && relation.name != table)
            }
            _ => false,
        },
        _ => false,
    }
}

/// Whether one of the relations has a column of this name, as far as their columns are known.
pub(super) fn has_column(name: &Ident, relations: &[Relation]) -> bool {
    let wanted = fold(name);
    relations.iter().flat_map(|relation| relation.columns.iter()).any(|known| known.contains(&wanted))
}

/// Whether one of the relations has a column of this name, or may have one.
pub(super) fn may_have_column(name: &str, relations: &[Relation]) -> bool {
    relations
        .iter()
        .any(|relation| relation.columns.as_ref().is_none_or(|known| known.iter().any(|column| column == name)))
}

/// The relation that a name stands for: no column of that name may be there, which would come first.
fn relation_named<'a>(ident: &Ident, scopes: &'a [Relations]) -> Option<(&'a Relation, &'a [String])> {
    let wanted = fold(ident);
    for scope in scopes.iter().rev() {
        // One may be where columns are not known.
        if scope.iter().any(|relation| relation.columns.as_ref().is_none_or(|known| known.contains(&wanted))) {
            return None;
        }
        if let Some(relation) = scope.iter().find(|relation| relation.name == wanted) {
            return relation.columns.as_deref().map(|columns| (relation, columns));
        }
    }
    None
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
            relation_named(ident, scopes).map(|(relation, columns)| columns_of(&relation.name, columns))
        }
        _ => None,
    }
}

/// The record that an expression is: `ROW(a, b)`, `(a, b)`, or a relation's name.
fn record(expr: &Expr, scopes: &[Relations]) -> Option<Expr> {
    let fields = match expr {
        Expr::Nested(inner) => return record(inner, scopes),
        Expr::Function(row) if is_row(row) => {
            let FunctionArguments::List(list) = &row.args else { return None };
            let mut values = Vec::new();
            for arg in &list.args {
                match arg {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => values.push(expr.clone()),
                    FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) => {
                        let [part] = name.0.as_slice() else { return None };
                        let wanted = fold(part.as_ident()?);
                        let relation = scopes.iter().rev().flatten().find(|relation| relation.name == wanted)?;
                        let columns = columns_of(&relation.name, relation.columns.as_deref()?);
                        values.extend(columns.into_iter().map(|(_, column)| column));
                    }
                    _ => return None,
                }
            }
            values.into_iter().enumerate().map(|(at, value)| (format!("f{}", at + 1), value)).collect()
        }
        other => fields(other, scopes)?,
    };
    let outer = match expr {
        Expr::Identifier(ident) => relation_named(ident, scopes).is_some_and(|(relation, _)| relation.outer),
        _ => false,
    };
    let present = outer.then(|| any_value(fields.iter().map(|(_, column)| column.clone()))).flatten();
    let mut args = Vec::with_capacity(fields.len() * 2);
    for (name, value) in fields {
        args.push(Expr::value(Value::SingleQuotedString(name)));
        args.push(record(&value, scopes).unwrap_or(value));
    }
    let row = call(ROW, args);
    Some(match present {
        Some(present) => when(present, row),
        None => row,
    })
}

fn is_row(function: &Function) -> bool {
    function.name.to_string().eq_ignore_ascii_case("row") && function.over.is_none()
}

/// Rewrites an operand that is a record.
fn operand(expr: &mut Expr, scopes: &[Relations]) {
    if let Some(record) = record(expr, scopes) {
        *expr = record;
    }
}

/// Rewrites the items of a select list that are records, and writes `(t).*` as `t.*`.
pub(super) fn in_select_list(items: &mut [SelectItem], scopes: &[Relations]) {
    for item in items {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let name = columns::expression_name(expr);
                if let Some(expr) = record(expr, scopes) {
                    *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
                }
            }
            SelectItem::ExprWithAlias { expr, .. } => operand(expr, scopes),
            SelectItem::QualifiedWildcard(kind, _) => {
                let SelectItemQualifiedWildcardKind::Expr(expr) = &*kind else { continue };
                let mut row = expr;
                while let Expr::Nested(inner) = row {
                    row = inner;
                }
                if let Expr::Identifier(ident) = row
                    && relation_named(ident, scopes).is_some()
                {
                    *kind = SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(vec![ident.clone()]));
                }
            }
            _ => {}
        }
    }
}

/// Rewrites the arguments of a function that are records.
pub(super) fn in_arguments(function: &mut Function, scopes: &[Relations]) {
    if is_row(function) {
        return;
    }
    let FunctionArguments::List(list) = &mut function.args else { return };
    for arg in &mut list.args {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg {
            operand(arg, scopes);
        }
    }
}

/// Rewrites records where an expression takes values, and the columns that are taken out of rows: `(t).a`.
pub(super) fn in_operands(expr: &mut Expr, scopes: &[Relations]) {
    match expr {
        Expr::Case { conditions, else_result, .. } => {
            let results = conditions.iter_mut().map(|case| &mut case.result);
            results.chain(else_result.as_deref_mut()).for_each(|result| operand(result, scopes));
        }
        Expr::Cast { expr, .. } => operand(expr, scopes),
        Expr::Array(array) => array.elem.iter_mut().for_each(|element| operand(element, scopes)),
        // A subquery of several columns is no record.
        Expr::BinaryOp { left, op: BinaryOperator::Eq | BinaryOperator::NotEq, right }
            if matches!(left.as_ref(), Expr::Subquery(_)) || matches!(right.as_ref(), Expr::Subquery(_)) => {}
        Expr::BinaryOp {
            left,
            op: BinaryOperator::StringConcat | BinaryOperator::Eq | BinaryOperator::NotEq,
            right,
        } => {
            operand(left, scopes);
            operand(right, scopes);
        }
        Expr::CompoundFieldAccess { root, access_chain } => {
            let [AccessExpr::Dot(Expr::Identifier(field)), rest @ ..] = access_chain.as_slice() else { return };
            let wanted = fold(field);
            let mut row = root.as_ref();
            while let Expr::Nested(inner) = row {
                row = inner;
            }
            let found = fields(row, scopes).and_then(|all| all.into_iter().find(|(name, _)| *name == wanted));
            let Some((_, value)) = found else {
                operand(root, scopes);
                // The planner takes the name of a record's field as text.
                if matches!(root.as_ref(), Expr::Nested(_) | Expr::Function(_)) {
                    access_chain[0] = AccessExpr::Dot(Expr::value(Value::SingleQuotedString(wanted)));
                }
                return;
            };
            *expr = match rest {
                [] => value,
                rest => Expr::CompoundFieldAccess { root: Box::new(value), access_chain: rest.to_vec() },
            };
        }
        _ => {}
    }
}

/// Does for ORDER BY of a SELECT what [`in_operands`] does: it stands outside of it.
pub(super) fn in_order(query: &mut Query, context: &PlanContext) {
    struct Operands<'a>(&'a [Relations]);
    impl VisitorMut for Operands<'_> {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            in_operands(expr, self.0);
            ControlFlow::Continue(())
        }
    }
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let Some(OrderBy { kind: OrderByKind::Expressions(order), .. }) = &mut query.order_by else { return };
    let is_row = |by: &OrderByExpr| matches!(by.expr, Expr::Tuple(_) | Expr::CompoundFieldAccess { .. });
    if !order.iter().any(is_row) {
        return;
    }
    let scopes = [relations(&select.from, context)];
    for by in order {
        if matches!(by.expr, Expr::Tuple(_)) {
            operand(&mut by.expr, &scopes);
        }
        let _ = by.expr.visit(&mut Operands(&scopes));
    }
}

/// The columns of a row that is a relation's name; `None` for another expression.
pub(super) fn columns_of_row(expr: &Expr, scopes: &[Relations]) -> Option<Vec<Expr>> {
    match expr {
        Expr::Identifier(_) => Some(fields(expr, scopes)?.into_iter().map(|(_, column)| column).collect()),
        _ => None,
    }
}

/// Whether one of the values is there.
fn any_value(values: impl Iterator<Item = Expr>) -> Option<Expr> {
    values.map(|value| Expr::IsNotNull(Box::new(value))).reduce(|all, next| Expr::BinaryOp {
        left: Box::new(all),
        op: BinaryOperator::Or,
        right: Box::new(next),
    })
}

/// The value where the condition holds.
fn when(condition: Expr, result: Expr) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result }],
        else_result: None,
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
            let own = scopes.last().and_then(|scope| scope.iter().find(|relation| relation.name == wanted));
            if own.is_some_and(|relation| !relation.outer) && list.duplicate_treatment.is_none() {
                // Each row is one, whatever is in it.
                *arg = FunctionArgExpr::Wildcard;
                return Ok(());
            }
            let found = scopes.iter().rev().flatten().find(|relation| relation.name == wanted);
            let Some((relation, columns)) = found.and_then(|found| Some((&found.name, found.columns.as_ref()?))) else {
                return Err(SqlError::unsupported("count of a row whose columns are not known"));
            };
            columns_of(relation, columns)
        }
        FunctionArgExpr::Expr(Expr::Identifier(ident)) => match relation_named(ident, scopes) {
            Some((relation, _)) if !relation.outer && list.duplicate_treatment.is_none() => {
                *arg = FunctionArgExpr::Wildcard;
                return Ok(());
            }
            Some((relation, columns)) => columns_of(&relation.name, columns),
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    let Some(has_value) = any_value(row.into_iter().map(|(_, column)| column)) else { return Ok(()) };
    *arg = FunctionArgExpr::Expr(when(has_value, Expr::value(Value::Boolean(true))));
    Ok(())
}

fn columns_of(relation: &str, columns: &[String]) -> Vec<(String, Expr)> {
    let quoted = |name: &str| Ident::with_quote('"', name);
    let column = |c: &String| Expr::CompoundIdentifier(vec![quoted(relation), quoted(c)]);
    columns.iter().map(|c| (c.clone(), column(c))).collect()
}
