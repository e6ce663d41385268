//! `ARRAY(SELECT …)` as an aggregate over its query.

use sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments,
    GroupByExpr, Ident, ObjectName, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor,
};

use super::functions;
use crate::sql::parse::fold;

/// `ARRAY(SELECT e FROM … ORDER BY o)` is `COALESCE((SELECT array_agg(e ORDER BY o) FROM …), '{}')`. What groups, limits or
/// combines is left as it is.
pub(super) fn array_of_query(expr: &Expr) -> Option<Expr> {
    let Expr::Function(function) = expr else { return None };
    let FunctionArguments::Subquery(query) = &function.args else { return None };
    if !function.name.to_string().eq_ignore_ascii_case("array") {
        return None;
    }
    let mut query = query.clone();
    let plain = query.with.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
    let is_simple = |select: &Select| {
        let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
        plain && !grouped && select.distinct.is_none() && !functions::makes_rows(&select.projection)
    };
    if !matches!(query.body.as_ref(), SetExpr::Select(select) if is_simple(select)) {
        return array_of_any(query);
    }
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let [SelectItem::UnnamedExpr(element) | SelectItem::ExprWithAlias { expr: element, .. }] =
        select.projection.as_slice()
    else {
        return None;
    };
    let element = element.clone();
    let mut order = match query.order_by.take() {
        None => Vec::new(),
        Some(OrderBy { kind: OrderByKind::Expressions(order), .. }) => order,
        Some(_) => return None,
    };
    for by in &mut order {
        // ORDER BY 1: the only column.
        if matches!(&by.expr, Expr::Value(value) if matches!(&value.value, ast::Value::Number(n, _) if n == "1")) {
            by.expr = element.clone();
        }
    }
    let clauses = if order.is_empty() { Vec::new() } else { vec![FunctionArgumentClause::OrderBy(order)] };
    let aggregate = Expr::Function(ast::Function {
        name: ObjectName::from(vec![Ident::new("array_agg")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(element))],
            clauses,
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    });
    select.projection = vec![SelectItem::UnnamedExpr(aggregate)];
    let empty = Expr::value(ast::Value::SingleQuotedString("{}".to_owned()));
    Some(functions::call("coalesce", vec![Expr::Subquery(query), empty]))
}

/// As [`array_of_query`], of a query that is one relation to the aggregate. In which order its rows come is not said to an
/// aggregate over them, so what it sorts by stands behind its only column, and the aggregate sorts by that.
fn array_of_any(mut query: Box<Query>) -> Option<Expr> {
    let (order, keys) = order_of_elements(&mut query)?;
    let columns = (0..=keys).map(|place| ast::TableAliasColumnDef { name: element_column(place), data_type: None });
    let alias = ast::TableAlias {
        explicit: true,
        name: Ident::with_quote('"', "__elements"),
        columns: columns.collect(),
        at: None,
    };
    let relation = TableFactor::Derived { lateral: false, subquery: query, alias: Some(alias), sample: None };
    let from = vec![ast::TableWithJoins { relation, joins: Vec::new() }];
    let mut aggregate = functions::call("array_agg", vec![Expr::Identifier(element_column(0))]);
    if !order.is_empty()
        && let Expr::Function(function) = &mut aggregate
        && let FunctionArguments::List(list) = &mut function.args
    {
        list.clauses.push(FunctionArgumentClause::OrderBy(order));
    }
    let all = functions::select(vec![SelectItem::UnnamedExpr(aggregate)], from, None);
    let empty = Expr::value(ast::Value::SingleQuotedString("{}".to_owned()));
    Some(functions::call("coalesce", vec![Expr::Subquery(Box::new(all)), empty]))
}

/// The only column of the query of an array, and behind it those that it sorts by.
fn element_column(place: usize) -> Ident {
    Ident::with_quote('"', if place == 0 { "__element".to_owned() } else { format!("__key_{place}") })
}

/// What a query of one column sorts by, as columns of it, and how many it got for that. What DISTINCT or UNION sorts by is
/// its column.
fn order_of_elements(query: &mut Query) -> Option<(Vec<ast::OrderByExpr>, usize)> {
    let mut order = match &query.order_by {
        None => return Some((Vec::new(), 0)),
        Some(OrderBy { kind: OrderByKind::Expressions(order), .. }) => order.clone(),
        Some(_) => return None,
    };
    let mut keys = 0;
    for by in &mut order {
        let mut place = 0;
        if let SetExpr::Select(select) = query.body.as_mut()
            && select.distinct.is_none()
            && !is_column(&by.expr, select.projection.first()?)
        {
            keys += 1;
            place = keys;
            let key = SelectItem::ExprWithAlias { expr: by.expr.clone(), alias: element_column(place) };
            select.projection.push(key);
        }
        by.expr = Expr::Identifier(element_column(place));
    }
    Some((order, keys))
}

/// Whether ORDER BY means a query's only column: by its place, by its name, or by what it is.
fn is_column(by: &Expr, column: &SelectItem) -> bool {
    let named = match column {
        SelectItem::UnnamedExpr(expr) => by == expr,
        SelectItem::ExprWithAlias { expr, alias } => {
            by == expr || matches!(by, Expr::Identifier(name) if fold(name) == fold(alias))
        }
        _ => false,
    };
    named || matches!(by, Expr::Value(value) if matches!(&value.value, ast::Value::Number(n, _) if n == "1"))
}
