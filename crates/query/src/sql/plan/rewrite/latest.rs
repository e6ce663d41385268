//! `LATEST ON t PARTITION BY a, b`: of the rows that WHERE lets through, the newest of each partition.

use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::ast::{
    Distinct, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, OrderBy, OrderByExpr, OrderByKind,
    OrderByOptions, Select, SelectItem, TableAlias, TableFactor, TableWithJoins,
};

use super::functions;
use crate::sql::parse::LATEST;

/// Makes FROM and WHERE a subquery that keeps the newest rows.
///
/// # Errors
/// `0A000` over more than one relation, and for QUALIFY otherwise.
pub(super) fn on(select: &mut Select) -> SqlResult<()> {
    let Some(qualify) = select.qualify.take() else { return Ok(()) };
    let mut names = names(&qualify).ok_or_else(|| SqlError::unsupported("QUALIFY"))?.into_iter();
    let time = names.next().ok_or_else(|| SqlError::internal("LATEST ON without a time"))?;
    let partition: Vec<Expr> = names.collect();
    let [TableWithJoins { relation, joins }] = select.from.as_slice() else {
        return Err(SqlError::unsupported("LATEST ON over more than one relation"));
    };
    let name = name_of(relation).filter(|_| joins.is_empty());
    let name = name.ok_or_else(|| {
        SqlError::unsupported("LATEST ON over more than one relation")
            .hint("Join in a subquery, or take the latest rows in one.")
    })?;
    let everything = SelectItem::Wildcard(sqlparser::ast::WildcardAdditionalOptions::default());
    let mut newest = functions::select(vec![everything], std::mem::take(&mut select.from), select.selection.take());
    let ordered = |expr: Expr, options| OrderByExpr { expr, options, with_fill: None };
    let order = partition.iter().cloned().map(|expr| ordered(expr, OrderByOptions::default()));
    let newest_first = OrderByOptions { asc: Some(false), nulls_first: Some(false) };
    let order = order.chain([ordered(time, newest_first)]).collect();
    newest.order_by = Some(OrderBy { kind: OrderByKind::Expressions(order), interpolate: None });
    match newest.body.as_mut() {
        sqlparser::ast::SetExpr::Select(inner) => inner.distinct = Some(Distinct::On(partition)),
        _ => return Err(SqlError::new(SqlState::InternalError, "LATEST ON without a SELECT")),
    }
    let alias = TableAlias { explicit: true, name, columns: Vec::new(), at: None };
    let relation =
        TableFactor::Derived { lateral: false, subquery: Box::new(newest), alias: Some(alias), sample: None };
    select.from = vec![TableWithJoins { relation, joins: Vec::new() }];
    Ok(())
}

fn names(qualify: &Expr) -> Option<Vec<Expr>> {
    let Expr::Function(function) = qualify else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    let name = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    (function.name.to_string() == LATEST).then(|| list.args.iter().map(name).collect())?
}

/// What the relation's columns are qualified with.
fn name_of(relation: &TableFactor) -> Option<Ident> {
    match relation {
        TableFactor::Table { name, alias, .. } => match alias {
            Some(alias) => Some(alias.name.clone()),
            None => name.0.last()?.as_ident().cloned(),
        },
        TableFactor::Derived { alias, .. } => alias.as_ref().map(|alias| alias.name.clone()),
        _ => None,
    }
}
