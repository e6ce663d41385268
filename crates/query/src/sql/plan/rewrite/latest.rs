//! `LATEST ON t PARTITION BY a, b`: of the rows that WHERE lets through, the newest of each partition.
//!
//! Where WHERE is about the partition's columns and the time alone, the scan is asked for the newest rows, which it may find
//! by an index.

use std::ops::ControlFlow;

use perigee_types::catalog::{Object, Table};
use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::ast::{
    BinaryOperator, Distinct, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectNamePart, OrderBy,
    OrderByExpr, OrderByKind, OrderByOptions, Select, SelectItem, TableAlias, TableFactor, TableWithJoins,
    visit_expressions,
};

use super::super::names;
use super::functions;
use super::joins::Joins;
use crate::exec::{NewestOf, system_table_oid};
use crate::sql::context::PlanContext;
use crate::sql::parse::{LATEST, fold};

/// Functions that give the same for all rows of a statement.
const STABLE: &[&str] = &[
    "now",
    "current_timestamp",
    "current_date",
    "localtimestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "date_trunc",
    "to_timestamp",
    "make_timestamp",
    "make_interval",
];

/// Makes FROM and WHERE a subquery that keeps the newest rows.
///
/// # Errors
/// `0A000` over more than one relation, and for QUALIFY otherwise.
pub(super) fn on(select: &mut Select, context: &PlanContext, joins_around: &Joins) -> SqlResult<()> {
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
    if let [TableWithJoins { relation, .. }] = select.from.as_mut_slice() {
        let wanted = Wanted { name: &name, time: &time, partition: &partition };
        ask_for_newest(relation, &wanted, select.selection.as_ref(), context, joins_around);
    }
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

struct Wanted<'a> {
    /// What the relation's columns are qualified with.
    name: &'a Ident,
    time: &'a Expr,
    partition: &'a [Expr],
}

impl Wanted<'_> {
    /// The place of a column of the table; `None` for anything else.
    fn column(&self, table: &Table, expr: &Expr) -> Option<usize> {
        match expr {
            Expr::Identifier(column) => table.column_position(&fold(column)),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [of, column] if fold(of) == fold(self.name) => table.column_position(&fold(column)),
                _ => None,
            },
            Expr::Nested(inner) => self.column(table, inner),
            _ => None,
        }
    }
}

/// Marks the table's name where only its newest rows are needed.
fn ask_for_newest(
    relation: &mut TableFactor,
    wanted: &Wanted<'_>,
    selection: Option<&Expr>,
    context: &PlanContext,
    joins: &Joins,
) {
    let TableFactor::Table { name, alias, args: None, sample: None, .. } = relation else { return };
    let Ok(qualified) = names::qualified(name, context) else { return };
    let hidden = |plain: &str| joins.names_cte(plain) || system_table_oid("pg_catalog", plain).is_some();
    if names::is_only(name)
        || alias.as_ref().is_some_and(|alias| !alias.columns.is_empty())
        || (qualified.0.is_none() && hidden(&qualified.1))
    {
        return;
    }
    let Some(Object::Table(table)) = names::find(&qualified, context) else { return };
    if table.materialized.is_some() {
        return;
    }
    let Some(time) = wanted.column(table, wanted.time) else { return };
    let partition = wanted.partition.iter().map(|expr| wanted.column(table, expr)).collect::<Option<Vec<_>>>();
    let Some(partition) = partition else { return };
    let mut bounded = false;
    if let Some(selection) = selection
        && !is_about(selection, &|expr| wanted.column(table, expr), time, &partition, &mut bounded)
    {
        return;
    }
    let Some(mark) = NewestOf::mark(table, time, &partition, bounded) else { return };
    let Some(ObjectNamePart::Identifier(last)) = name.0.last_mut() else { return };
    let alias_name = || TableAlias { explicit: true, name: wanted.name.clone(), columns: Vec::new(), at: None };
    alias.get_or_insert_with(alias_name);
    *last = Ident::with_quote('"', format!("{}{mark}", qualified.1));
}

/// Whether each condition is about the partition's columns alone, so that it is true for all rows of a partition or for none,
/// or compares the time with what is the same for all rows; `bounded` then says whether that may leave out the newest.
fn is_about(
    condition: &Expr,
    column: &impl Fn(&Expr) -> Option<usize>,
    time: usize,
    partition: &[usize],
    bounded: &mut bool,
) -> bool {
    match condition {
        Expr::Nested(inner) => is_about(inner, column, time, partition, bounded),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            is_about(left, column, time, partition, bounded) && is_about(right, column, time, partition, bounded)
        }
        Expr::BinaryOp { left, op, right } if column(left) == Some(time) && is_constant(right) => {
            *bounded |= !matches!(op, BinaryOperator::Gt | BinaryOperator::GtEq);
            is_comparison(op)
        }
        Expr::BinaryOp { left, op, right } if column(right) == Some(time) && is_constant(left) => {
            *bounded |= !matches!(op, BinaryOperator::Lt | BinaryOperator::LtEq);
            is_comparison(op)
        }
        Expr::Between { expr, negated: false, low, high } if column(expr) == Some(time) => {
            *bounded = true;
            is_constant(low) && is_constant(high)
        }
        Expr::IsNotNull(expr) if column(expr) == Some(time) => true,
        other => {
            let all = visit_expressions(other, |expr| match expr {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                    let known = column(expr).is_some_and(|place| partition.contains(&place));
                    if known { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                }
                Expr::Function(_) | Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            });
            all.is_continue()
        }
    }
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator as B;
    matches!(op, B::Lt | B::LtEq | B::Gt | B::GtEq | B::Eq)
}

/// Whether an expression gives the same for all rows.
fn is_constant(expr: &Expr) -> bool {
    let stable = visit_expressions(expr, |expr| match expr {
        Expr::Function(function) if STABLE.contains(&function.name.to_string().to_lowercase().as_str()) => {
            ControlFlow::Continue(())
        }
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Function(_) | Expr::Subquery(_) => {
            ControlFlow::Break(())
        }
        Expr::InSubquery { .. } | Expr::Exists { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    stable.is_continue()
}
