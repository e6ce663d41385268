//! Expressions in GROUPING SETS, ROLLUP and CUBE, as columns of the input.
//!
//! What stands above names such an expression by its text, and analysis changes the text: literals get types, casts PostgreSQL's
//! functions. A column keeps its name.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet, LogicalPlan, Projection};

/// Computes what the sets of an aggregation group by, where that is more than columns, below it.
pub(super) fn as_columns(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Aggregate(aggregate) = plan else { return Ok(Transformed::no(plan)) };
    let mut computed: Vec<(Expr, Column)> = Vec::new();
    for group in &aggregate.group_expr {
        let Expr::GroupingSet(set) = group else { continue };
        for expr in set.distinct_expr() {
            if !matches!(expr, Expr::Column(_)) && !computed.iter().any(|(known, _)| known == expr) {
                computed.push((expr.clone(), Column::new_unqualified(expr.schema_name().to_string())));
            }
        }
    }
    if computed.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let Aggregate { input, group_expr, aggr_expr, .. } = aggregate;
    let mut columns: Vec<Expr> = input.schema().iter().map(|pair| Expr::Column(Column::from(pair))).collect();
    columns.extend(computed.iter().map(|(expr, column)| expr.clone().alias(column.name.clone())));
    let column = |expr: Expr| match computed.iter().find(|(known, _)| *known == expr) {
        Some((_, column)) => Expr::Column(column.clone()),
        None => expr,
    };
    let list = |exprs: Vec<Expr>| exprs.into_iter().map(column).collect::<Vec<_>>();
    let group_expr = group_expr.into_iter().map(|group| match group {
        Expr::GroupingSet(GroupingSet::Rollup(exprs)) => Expr::GroupingSet(GroupingSet::Rollup(list(exprs))),
        Expr::GroupingSet(GroupingSet::Cube(exprs)) => Expr::GroupingSet(GroupingSet::Cube(list(exprs))),
        Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => {
            Expr::GroupingSet(GroupingSet::GroupingSets(sets.into_iter().map(list).collect()))
        }
        other => other,
    });
    let group_expr: Vec<Expr> = group_expr.collect();
    // GROUPING names what it asks for as the sets do.
    let names = NamePreserver::new_for_projection();
    let aggr_expr = aggr_expr.into_iter().map(|expr| {
        let name = names.save(&expr);
        let asked = expr.transform_down(|e| match e {
            Expr::AggregateFunction(mut call) if call.func.name() == "grouping" => {
                call.params.args = list(call.params.args);
                Ok(Transformed::yes(Expr::AggregateFunction(call)))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(name.restore(asked.data))
    });
    let aggr_expr = aggr_expr.collect::<Result<Vec<Expr>>>()?;
    let input = LogicalPlan::Projection(Projection::try_new(columns, input)?);
    let aggregate = Aggregate::try_new(Arc::new(input), group_expr, aggr_expr)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
}
