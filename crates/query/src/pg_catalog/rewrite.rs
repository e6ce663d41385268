//! What a plan needs before it is optimized.
//!
//! Casts to and from `regclass`, `regtype`, `regproc` ask the catalog: they become functions.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan};
use perigee_types::SqlType;

use super::{VECTOR_METADATA_KEY, functions};

/// The plan with catalog casts in it. Shares what it does not change.
///
/// # Errors
/// What a new expression's types refuse.
pub(crate) fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        if !concerns(&node)? {
            return Ok(Transformed::no(node));
        }
        let schema = schema_of(&node);
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = expr.transform_up(|e| replace(e, &schema))?;
            Ok(expr.update_data(|e| name.restore(e)))
        })?
        .map_data(LogicalPlan::recompute_schema)
    })
    .map(|t| t.data)
}

fn concerns(node: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found = found || expr.exists(|e| Ok(matches!(e, Expr::Cast(_))))?;
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The columns that a node's expressions see.
fn schema_of(node: &LogicalPlan) -> DFSchema {
    match node {
        LogicalPlan::TableScan(scan) => scan.projected_schema.as_ref().clone(),
        _ => merge_schema(&node.inputs()),
    }
}

fn replace(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::Cast(cast) => Ok(match catalog_cast(&cast, schema) {
            Some(function) => Transformed::yes(function),
            None => Transformed::no(Expr::Cast(cast)),
        }),
        other => Ok(Transformed::no(other)),
    }
}

/// A cast as a call of the function that does it, where the catalog must be asked.
fn catalog_cast(cast: &Cast, schema: &DFSchema) -> Option<Expr> {
    let to = SqlType::of_field(&cast.field);
    let field = cast.expr.to_field(schema).ok().map(|(_, field)| field);
    let is_vector = field.as_ref().is_some_and(|field| field.metadata().contains_key(VECTOR_METADATA_KEY));
    let from = field.map(|field| SqlType::of_field(&field));
    let name = match (from, to) {
        (Some(SqlType::Array(_)), to) if is_vector && to.is_string() => "int2vectorout",
        (Some(SqlType::Regclass), to) if to.is_string() => "regclassout",
        (Some(SqlType::Regtype), to) if to.is_string() => "regtypeout",
        (Some(SqlType::Regproc), to) if to.is_string() => "regprocout",
        (_, SqlType::Regclass) => "regclass",
        (_, SqlType::Regtype) => "regtype",
        (_, SqlType::Regproc) => "regproc",
        _ => return None,
    };
    let function = functions::find(name)?;
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![cast.expr.as_ref().clone()])))
}
