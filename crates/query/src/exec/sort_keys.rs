//! Every key of ORDER BY stays.
//!
//! DataFusion 55 drops keys that earlier ones decide, and takes a primary key behind a join for one that decides all
//! columns of a GROUP BY or DISTINCT above it. It does not: `GROUP BY a.id, b.id ORDER BY a.id, b.id` came back in the order
//! of `a.id` alone.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{ApplyOrder, Optimizer, OptimizerConfig, OptimizerRule};

/// DataFusion's rules, none of which touches the keys of a sort.
pub(super) fn logical_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let careful = |rule: Arc<dyn OptimizerRule + Send + Sync>| -> Arc<dyn OptimizerRule + Send + Sync> {
        if rule.name() == "eliminate_duplicated_expr" { Arc::new(ExceptSorts { rule }) } else { rule }
    };
    Optimizer::new().rules.into_iter().map(careful).collect()
}

/// Runs a rule on all nodes that are no sorts.
#[derive(Debug)]
struct ExceptSorts {
    rule: Arc<dyn OptimizerRule + Send + Sync>,
}

impl OptimizerRule for ExceptSorts {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Sort(_) => Ok(Transformed::no(plan)),
            other => self.rule.rewrite(other, config),
        }
    }
}
