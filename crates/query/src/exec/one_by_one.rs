//! Filters ask their conditions one by one.
//!
//! DataFusion's filters evaluate all conditions for all rows unless few rows are left, so that `d <> 0 AND 100 / d > 1`
//! fails. Where a condition can fail, this makes of those before it a CASE, which leaves rows out. It runs when filters
//! have gone down as far as they can: scans take conditions one by one anyway.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, case, lit};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr, split_conjunction};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};

use super::postgres::is_total;

/// How many guards may stand within each other: what evaluates them recurses.
const GUARDS_MAX: usize = 64;

/// Guards the conditions of filters that can fail by those before them.
#[derive(Debug)]
pub(super) struct OneByOne;

impl PhysicalOptimizerRule for OneByOne {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let changed = node.downcast_ref::<FilterExec>().map(one_by_one).transpose()?.flatten();
            Ok(match changed {
                Some(filter) => Transformed::yes(Arc::new(filter) as _),
                None => Transformed::no(node),
            })
        })
        .map(|t| t.data)
    }

    fn name(&self) -> &'static str {
        "one_by_one"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The filter with guards; `None` where it needs none.
fn one_by_one(filter: &FilterExec) -> Result<Option<FilterExec>> {
    let mut groups: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
    for condition in split_conjunction(filter.predicate()) {
        let condition = Arc::clone(condition);
        let fails = can_fail(&condition)?;
        match groups.pop() {
            Some(group) if fails => groups.extend([group, condition]),
            Some(group) => groups.push(Arc::new(BinaryExpr::new(group, Operator::And, condition))),
            None => groups.push(condition),
        }
    }
    let Some(mut predicate) = groups.pop() else { return Ok(None) };
    if groups.is_empty() || groups.len() > GUARDS_MAX {
        return Ok(None);
    }
    for guard in groups.into_iter().rev() {
        // NULL and false are the same to a filter.
        predicate = case(None, vec![(guard, predicate)], Some(lit(false)))?;
    }
    FilterExecBuilder::from(filter).with_predicate(predicate).build().map(Some)
}

/// Whether a condition may fail for some row: arithmetic and casts are functions.
fn can_fail(condition: &Arc<dyn PhysicalExpr>) -> Result<bool> {
    condition.exists(|expr| {
        let partial = expr.downcast_ref::<ScalarFunctionExpr>().is_some_and(|call| !is_total(call.name()));
        Ok(partial && expr.exists(|expr| Ok(expr.is::<Column>()))?)
    })
}
