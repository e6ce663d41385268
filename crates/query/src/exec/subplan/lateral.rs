//! Lateral joins.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, Spans, TableReference, UnnestOptions};
use datafusion::functions::core::get_field;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, SubqueryAlias, lit,
};

use super::{Parameterized, function, is_aggregate, keeps_left, parameterized, pulls_up};
use crate::exec::own_names::OwnNames;
use crate::exec::postgres::labeled;

/// Name of the column of rows while they stand in it.
const ROWS: &str = "__lateral";

/// The subquery of a lateral join's right side, and its alias.
fn subquery(join: &Join) -> Option<(&Arc<LogicalPlan>, Option<&TableReference>)> {
    match join.right.as_ref() {
        LogicalPlan::Subquery(subquery) => Some((&subquery.subquery, None)),
        LogicalPlan::SubqueryAlias(alias) => match alias.input.as_ref() {
            LogicalPlan::Subquery(subquery) => Some((&subquery.subquery, Some(&alias.alias))),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a join's right side refers to its left.
pub(super) fn is_lateral(join: &Join) -> bool {
    matches!(join.join_type, JoinType::Inner | JoinType::Left) && subquery(join).is_some()
}

/// Whether a join's right side refers to its left by subqueries within it alone: the planner makes no lateral join of it.
pub(super) fn is_unmarked(join: &Join) -> bool {
    let of_left = |e: &Expr| match e {
        Expr::OuterReferenceColumn(_, column) => join.left.schema().maybe_index_of_column(column).is_some(),
        _ => false,
    };
    matches!(join.join_type, JoinType::Inner | JoinType::Left)
        && subquery(join).is_none()
        && join.right.all_out_ref_exprs().iter().any(of_left)
}

/// The join as a lateral one.
pub(super) fn marked(mut join: Join) -> Result<Join> {
    let lateral = |plan: &Arc<LogicalPlan>| {
        let outer_ref_columns = plan.all_out_ref_exprs();
        LogicalPlan::Subquery(Subquery { subquery: Arc::clone(plan), outer_ref_columns, spans: Spans::new() })
    };
    let right = match join.right.as_ref() {
        LogicalPlan::SubqueryAlias(alias) => {
            LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(lateral(&alias.input)), alias.alias.clone())?)
        }
        _ => lateral(&join.right),
    };
    join.right = Arc::new(right);
    Ok(join)
}

/// Whether DataFusion's join for a lateral join gives PostgreSQL's rows. It groups by the inner columns that outer ones are
/// compared with as well, which makes the same groups only where each must equal something; and it takes the row that
/// aggregates without groups have for no rows only where nothing filters that row.
pub(super) fn joins_keep_rows(join: &Join) -> Result<bool> {
    let Some((body, _)) = subquery(join) else { return Ok(true) };
    let (mut distinct, mut unequal, mut single) = (false, false, false);
    body.apply(|node| {
        match node {
            LogicalPlan::Distinct(_) => distinct = true,
            LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
                single |= !node.all_out_ref_exprs().is_empty();
            }
            LogicalPlan::Aggregate(aggregate) => distinct |= aggregate.aggr_expr.is_empty(),
            LogicalPlan::Filter(filter) => {
                let mut outer = split_conjunction(&filter.predicate).into_iter().filter(|e| e.contains_outer());
                unequal |= !outer.all(equals_column);
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(pulls_up(body) && !(distinct && unequal) && (!single || is_aggregate(body)))
}

/// Whether a condition is `column = something of the outer row`.
fn equals_column(condition: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return false };
    let sides = |column: &Expr, outer: &Expr| matches!(column, Expr::Column(_)) && outer.column_refs().is_empty();
    sides(left, right) || sides(right, left)
}

/// Calls in a lateral `(SELECT f(left.x)) AS a` as columns of the left side.
pub(super) fn calls(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Join(join) => Ok(match call(join)? {
            Some(plan) => Transformed::yes(plan),
            None => Transformed::no(node),
        }),
        _ => Ok(Transformed::no(node)),
    })
    .map(|t| t.data)
}

fn call(join: &Join) -> Result<Option<LogicalPlan>> {
    if join.join_type != JoinType::Inner || !join.on.is_empty() {
        return Ok(None);
    }
    let Some((body, Some(alias))) = subquery(join) else { return Ok(None) };
    let LogicalPlan::Projection(projection) = body.as_ref() else { return Ok(None) };
    if !matches!(projection.input.as_ref(), LogicalPlan::EmptyRelation(empty) if empty.produce_one_row) {
        return Ok(None);
    }
    let left = Arc::clone(&join.left);
    let mut columns = columns_of(left.schema());
    for (expr, field) in projection.expr.iter().zip(projection.schema.fields()) {
        let expr = expr.clone().unalias().transform_up(|e| match &e {
            Expr::OuterReferenceColumn(_, column) if left.schema().maybe_index_of_column(column).is_some() => {
                Ok(Transformed::yes(Expr::Column(column.clone())))
            }
            _ => Ok(Transformed::no(e)),
        })?;
        columns.push(expr.data.alias_qualified(Some(alias.clone()), field.name()));
    }
    let plan = LogicalPlanBuilder::from(left.as_ref().clone()).project(columns)?;
    match &join.filter {
        Some(filter) => plan.filter(filter.clone())?.build().map(Some),
        None => plan.build().map(Some),
    }
}

/// The join as a list of its right side's rows for each row of its left, taken apart.
pub(super) fn rows(join: Join) -> Result<LogicalPlan> {
    let Some((body, alias)) = subquery(&join) else { return Ok(LogicalPlan::Join(join)) };
    let left = join.left.schema();
    let mut body = LogicalPlanBuilder::from(body.as_ref().clone());
    if let Some(alias) = alias {
        body = body.alias(alias.clone())?;
    }
    let pairs = join.on.iter().map(|(l, r)| l.clone().eq(r.clone()));
    if let Some(condition) = conjunction(pairs.chain(join.filter.clone())) {
        let right = Arc::clone(body.schema());
        let condition = condition.transform_up(|e| match &e {
            Expr::Column(column) if right.maybe_index_of_column(column).is_none() => {
                match left.qualified_field_from_column(column) {
                    Ok((_, field)) => {
                        Ok(Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(field), column.clone())))
                    }
                    Err(_) => Ok(Transformed::no(e)),
                }
            }
            _ => Ok(Transformed::no(e)),
        })?;
        body = body.filter(condition.data)?;
    }
    let body = body.build()?;
    let names: Vec<(Option<TableReference>, String)> =
        body.schema().iter().map(|(q, f)| (q.cloned(), f.name().clone())).collect();
    let Parameterized { plan: body, arguments, types } = parameterized(body, left, None)?;
    let fields: Vec<_> = body.schema().inner().fields().iter().cloned().collect();
    let udf = Arc::new(function::rows(body, types, keeps_left(join.join_type)));
    let own = OwnNames::of(left);
    let (mut inner, mut outer) = (own.below(), own.above());
    inner.push(Expr::ScalarFunction(ScalarFunction::new_udf(udf, arguments)).alias(ROWS));
    for (place, (field, (qualifier, name))) in fields.iter().zip(names).enumerate() {
        let row = Expr::Column(Column::new_unqualified(ROWS));
        let value = ScalarFunction::new_udf(get_field(), vec![row, lit(function::column_name(place))]);
        let field = Arc::new(field.as_ref().clone().with_nullable(true));
        outer.push(labeled(Expr::ScalarFunction(value), field).alias_qualified(qualifier, name));
    }
    LogicalPlanBuilder::from(join.left.as_ref().clone())
        .project(inner)?
        .unnest_columns_with_options(
            vec![Column::new_unqualified(ROWS)],
            UnnestOptions::new().with_preserve_nulls(false),
        )?
        .project(outer)?
        .build()
}

fn columns_of(schema: &DFSchema) -> Vec<Expr> {
    schema.iter().map(|(q, f)| Expr::Column(Column::from((q, f)))).collect()
}
