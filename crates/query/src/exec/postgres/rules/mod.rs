//! What DataFusion's SQL planner leaves as its own, made PostgreSQL's before types are coerced.
//!
//! - [`conditions`]: what is no truth value where one is wanted
//! - [`expressions`]: literals, casts, session values, operators without a hook in the planner
//! - [`frames`]: windows that go by distance
//! - [`grouping_sets`]: expressions in GROUPING SETS
//! - [`guards`]: what AND, OR and CASE keep from being evaluated
//! - [`keys`]: what sorts and groups by another value than its own
//! - [`numeric`]: numerics of any count of digits
//! - [`set_operation`]: the types that UNION, INTERSECT and EXCEPT give their columns
//! - [`ties`]: FETCH FIRST … WITH TIES
//! - [`plans`]: what takes more than one expression: set-returning functions, recursive queries, untyped columns

mod conditions;
mod expressions;
mod frames;
mod grouping_sets;
pub(super) mod guards;
mod keys;
mod numeric;
mod plans;
mod set_operation;
pub(super) mod ties;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};
use datafusion::optimizer::analyzer::AnalyzerRule;
use perigee_types::{SqlError, SqlState};

use expressions::Rewriter;

use crate::exec::error::from_sql;

/// Rewrites every expression of a plan. Runs before type coercion.
#[derive(Debug)]
pub(in crate::exec) struct PostgresSemantics;

impl AnalyzerRule for PostgresSemantics {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(grouping_sets::as_columns)?.data;
        let plan = plan.transform_up_with_subqueries(plans::type_recursion)?.data;
        let plan = plan.transform_up_with_subqueries(rewrite_node)?.data;
        plans::untyped_as_text(plan)
    }

    fn name(&self) -> &'static str {
        "postgres_semantics"
    }
}

/// What a subquery names of the outer query has the type that it has by now: a literal's may have become another.
fn refresh_outer(subquery: LogicalPlan, schema: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Subquery(Subquery { subquery, outer_ref_columns, spans }) = subquery else {
        return Ok(Transformed::no(subquery));
    };
    let refresh = |expr: Expr| {
        expr.transform_up(|e| match &e {
            Expr::OuterReferenceColumn(field, column) => match schema.qualified_field_from_column(column) {
                Ok((_, now)) if now.data_type() != field.data_type() => {
                    Ok(Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(now), column.clone())))
                }
                _ => Ok(Transformed::no(e)),
            },
            _ => Ok(Transformed::no(e)),
        })
    };
    let plan = subquery.as_ref().clone().transform_up_with_subqueries(|node| {
        let changed = node.map_expressions(&refresh)?;
        if changed.transformed { changed.map_data(LogicalPlan::recompute_schema) } else { Ok(changed) }
    })?;
    let outer_ref_columns = outer_ref_columns.into_iter().map(|e| refresh(e).map(|t| t.data)).collect::<Result<_>>()?;
    Ok(Transformed::yes(LogicalPlan::Subquery(Subquery { subquery: Arc::new(plan.data), outer_ref_columns, spans })))
}

fn rewrite_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        let source = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?;
        schema.merge(&source);
    }
    let plan = plan.map_subqueries(|subquery| refresh_outer(subquery, &schema))?.data;
    // Rows to skip and to fetch are int8 and stay so.
    let shrinks = !matches!(plan, LogicalPlan::Limit(_));
    let filters = matches!(plan, LogicalPlan::Filter(_) | LogicalPlan::Join(_));
    let names = NamePreserver::new(&plan);
    let place = if matches!(plan, LogicalPlan::Join(_)) { "JOIN conditions" } else { "WHERE" };
    let plan = plan.map_expressions(|expr| {
        if filters && expr.exists(|e| Ok(matches!(e, Expr::WindowFunction(_))))? {
            let text = format!("window functions are not allowed in {place}");
            return Err(from_sql(SqlError::new(SqlState::WindowingError, text)));
        }
        let name = names.save(&expr);
        let rewritten = expr.rewrite(&mut Rewriter { schema: &schema, shrinks })?;
        let guarded = rewritten.transform_data(|e| guards::guard(e, filters, &schema))?;
        Ok(guarded.update_data(|e| name.restore(e)))
    })?;
    plans::rewrite(plan).map(Transformed::yes)
}
