//! Filters go down a physical plan only where every column has a name of its own.
//!
//! DataFusion 55 finds a filter's columns in the input by their names, without the tables'. Where a join gives two
//! columns of one name, the filter then asks the first one: rows vanish, or come that should not. (Apache DataFusion
//! issues 21246, 25244 and 25296; mapped by place from the version after it.) So the plan is cut below each such node, and
//! each piece gets its filters by itself. What the logical plan has pushed down already is not touched.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};

/// DataFusion's rules, those that push filters down among them with this one's care.
pub(super) fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let rules = PhysicalOptimizer::new().rules;
    let careful = |rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>| -> Arc<dyn PhysicalOptimizerRule + Send + Sync> {
        if rule.name().starts_with("FilterPushdown") { Arc::new(InPieces { rule }) } else { rule }
    };
    rules.into_iter().map(careful).collect()
}

/// Runs a rule on each piece of a plan whose nodes have distinct names.
#[derive(Debug)]
struct InPieces {
    rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>,
}

impl PhysicalOptimizerRule for InPieces {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, options: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let pieces = plan.transform_up(|node| {
            if !has_duplicates(node.as_ref()) {
                return Ok(Transformed::no(node));
            }
            let piece = self.rule.optimize(node, options)?;
            Ok(Transformed::yes(Arc::new(Piece { plan: piece }) as Arc<dyn ExecutionPlan>))
        })?;
        let top = self.rule.optimize(pieces.data, options)?;
        if !pieces.transformed {
            return Ok(top);
        }
        let together = top.transform_down(|node| match node.downcast_ref::<Piece>() {
            Some(piece) => Ok(Transformed::yes(Arc::clone(&piece.plan))),
            None => Ok(Transformed::no(node)),
        });
        together.map(|plan| plan.data)
    }

    fn name(&self) -> &str {
        self.rule.name()
    }

    fn schema_check(&self) -> bool {
        self.rule.schema_check()
    }
}

fn has_duplicates(node: &dyn ExecutionPlan) -> bool {
    let schema = node.schema();
    let mut names = HashSet::with_capacity(schema.fields().len());
    !schema.fields().iter().all(|field| names.insert(field.name()))
}

/// A piece that is done, as a leaf of the one above it.
#[derive(Debug)]
struct Piece {
    plan: Arc<dyn ExecutionPlan>,
}

impl DisplayAs for Piece {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("Piece")
    }
}

impl ExecutionPlan for Piece {
    fn name(&self) -> &'static str {
        "Piece"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.plan.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Err(DataFusionError::Internal("a piece of a plan that was not put together".to_owned()))
    }
}
