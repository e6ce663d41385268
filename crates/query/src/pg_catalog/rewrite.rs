//! What a plan needs before it is optimized.
//!
//! Casts to and from `regclass`, `regtype`, `regproc` ask the catalog: they become functions. The subscripts of int2vector
//! and oidvector begin at zero, other than those of the arrays that hold them here.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan};
use datafusion::scalar::ScalarValue;
use perigee_types::SqlType;

use super::{VECTOR_METADATA_KEY, functions};
use crate::exec::VECTOR_SUBSCRIPTS;

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
        found = found || expr.exists(|e| Ok(matches!(e, Expr::Cast(_)) || is_of_subscripts(e)))?;
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

fn is_of_subscripts(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call)
        if matches!(call.func.name(), "generate_subscripts" | "array_lower" | "array_upper"))
}

/// Whether an expression is an int2vector or oidvector.
pub(crate) fn is_vector(expr: &Expr, schema: &DFSchema) -> bool {
    expr.to_field(schema).is_ok_and(|(_, field)| field.metadata().contains_key(VECTOR_METADATA_KEY))
}

fn replace(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::ScalarFunction(mut call)
            if is_of_subscripts(&Expr::ScalarFunction(call.clone()))
                && call.args.first().is_some_and(|array| is_vector(array, schema)) =>
        {
            if call.func.name() == "generate_subscripts" {
                if let Some(function) = crate::exec::scalar_function(VECTOR_SUBSCRIPTS) {
                    call.func = function;
                }
                return Ok(Transformed::yes(Expr::ScalarFunction(call)));
            }
            let one = Expr::Literal(ScalarValue::Int32(Some(1)), None);
            let lower = Expr::ScalarFunction(call) - one;
            Ok(Transformed::yes(lower))
        }
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
        (Some(SqlType::Regnamespace), to) if to.is_string() => "regnamespaceout",
        (Some(SqlType::Regrole), to) if to.is_string() => "regroleout",
        (_, SqlType::Regclass) => "regclass",
        (_, SqlType::Regtype) => "regtype",
        (_, SqlType::Regproc) => "regproc",
        (_, SqlType::Regnamespace) => "regnamespace",
        (_, SqlType::Regrole) => "regrole",
        _ => return None,
    };
    let function = functions::find(name)?;
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![cast.expr.as_ref().clone()])))
}
