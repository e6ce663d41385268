//! The keys of ORDER BY in aggregates, each once and none of them a constant.
//!
//! DataFusion 55 takes equal keys together when it runs an aggregate, but not in what goes by their number: `DISTINCT ON (a)
//! … ORDER BY a, b, b` came back without a row. Before a constant it forgets the keys behind it.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// Leaves out keys that decide nothing. Runs when expressions are as simple as they get.
#[derive(Debug)]
pub(super) struct AggregateKeys;

impl OptimizerRule for AggregateKeys {
    fn name(&self) -> &'static str {
        "aggregate_keys"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = plan else { return Ok(Transformed::no(plan)) };
        if !aggregate.aggr_expr.iter().any(has_idle_keys) {
            return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
        }
        let Aggregate { input, group_expr, aggr_expr, .. } = aggregate;
        let names = NamePreserver::new_for_projection();
        let aggr_expr = aggr_expr.into_iter().map(|expr| {
            let name = names.save(&expr);
            let changed = expr.transform_down(|e| match e {
                Expr::AggregateFunction(mut call)
                    if call.params.order_by.len() != deciding(&call.params.order_by).len() =>
                {
                    call.params.order_by = deciding(&call.params.order_by);
                    Ok(Transformed::yes(Expr::AggregateFunction(call)))
                }
                other => Ok(Transformed::no(other)),
            })?;
            Ok(name.restore(changed.data))
        });
        let aggr_expr = aggr_expr.collect::<Result<Vec<Expr>>>()?;
        Aggregate::try_new(input, group_expr, aggr_expr).map(|plan| Transformed::yes(LogicalPlan::Aggregate(plan)))
    }
}

fn has_idle_keys(expr: &Expr) -> bool {
    let idle = |e: &Expr| match e {
        Expr::AggregateFunction(call) => call.params.order_by.len() != deciding(&call.params.order_by).len(),
        _ => false,
    };
    expr.exists(|e| Ok(idle(e))).unwrap_or(false)
}

/// The keys that tell rows apart. Simplifying leaves an alias where a key was more than a column.
fn deciding(keys: &[Sort]) -> Vec<Sort> {
    let mut found: Vec<Sort> = Vec::with_capacity(keys.len());
    for key in keys {
        let key = Sort { expr: key.expr.clone().unalias(), ..key.clone() };
        if !matches!(key.expr, Expr::Literal(..)) && !found.iter().any(|known| known.expr == key.expr) {
            found.push(key);
        }
    }
    found
}
