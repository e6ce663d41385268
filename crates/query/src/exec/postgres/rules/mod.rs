//! What DataFusion's SQL planner leaves as its own, made PostgreSQL's before types are coerced.
//!
//! - [`expressions`]: literals, casts, session values, operators without a hook in the planner
//! - [`plans`]: what takes more than one expression: set-returning functions, recursive queries, untyped columns

mod expressions;
mod plans;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::optimizer::analyzer::AnalyzerRule;

use expressions::Rewriter;

/// Rewrites every expression of a plan. Runs before type coercion.
#[derive(Debug)]
pub(in crate::exec) struct PostgresSemantics;

impl AnalyzerRule for PostgresSemantics {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(rewrite_node)?.data;
        plans::untyped_as_text(plan)
    }

    fn name(&self) -> &'static str {
        "postgres_semantics"
    }
}

fn rewrite_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        let source = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?;
        schema.merge(&source);
    }
    // Rows to skip and to fetch are int8 and stay so.
    let shrinks = !matches!(plan, LogicalPlan::Limit(_));
    let names = NamePreserver::new(&plan);
    let plan = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.rewrite(&mut Rewriter { schema: &schema, shrinks })?;
        Ok(rewritten.update_data(|e| name.restore(e)))
    })?;
    plans::rewrite(plan).map(Transformed::yes)
}
