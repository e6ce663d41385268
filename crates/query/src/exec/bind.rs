//! Puts parameters and session values into an optimized plan.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::error::Result;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::physical_expr::create_physical_expr;
use datafusion::scalar::ScalarValue;
use perigee_types::{SqlError, SqlState, Value};

use super::error::from_sql;
use super::scalar::{natural, scalar};
use super::values::SessionValue;
use super::view::SessionFacts;

/// The plan with every `$n` and every session value as a literal. Shares with `plan` what holds none.
pub(super) fn bind(plan: &LogicalPlan, parameters: &[Value], facts: &SessionFacts) -> Result<LogicalPlan> {
    plan.clone()
        .transform_up_with_subqueries(|node| {
            let names = NamePreserver::new(&node);
            // Types stay as they were, so schemas do too.
            node.map_expressions(|expr| {
                if !expr.exists(|e| Ok(is_open(e)))? {
                    return Ok(Transformed::no(expr));
                }
                let name = names.save(&expr);
                let expr = expr.transform_up(|e| replace(e, parameters, facts))?;
                Ok(expr.update_data(|e| name.restore(e)))
            })
        })
        .map(|t| t.data)
}

/// Whether an expression waits for its value.
fn is_open(expr: &Expr) -> bool {
    matches!(expr, Expr::Placeholder(_) | Expr::ScalarVariable(..))
}

fn replace(expr: Expr, parameters: &[Value], facts: &SessionFacts) -> Result<Transformed<Expr>> {
    match &expr {
        Expr::Placeholder(placeholder) => {
            Ok(Transformed::yes(Expr::Literal(parameter(placeholder, parameters)?, metadata(&expr))))
        }
        Expr::ScalarVariable(_, names) => match SessionValue::of_variable(names) {
            Some(value) => Ok(Transformed::yes(Expr::Literal(value.literal(facts)?, metadata(&expr)))),
            None if let Some(end) = pending_end(&expr, names, facts)? => Ok(Transformed::yes(Expr::Literal(end, None))),
            None => Err(from_sql(SqlError::new(
                SqlState::UndefinedObject,
                format!("unrecognized configuration parameter \"{}\"", names.join(".")),
            ))),
        },
        Expr::Like(_) => match expr {
            Expr::Like(like) => super::postgres::like::planned(like),
            other => Ok(Transformed::no(other)),
        },
        _ => {
            let folded = fold(expr);
            Ok(match &folded.data {
                Expr::BinaryExpr(binary) => {
                    let (left, op, right) = (&binary.left, binary.op, &binary.right);
                    let short = super::postgres::numeric::short_comparison(left, op, right);
                    match short.or_else(|| super::postgres::cast::utc_comparison(left, op, right)) {
                        Some(short) => Transformed::yes(short),
                        None => folded,
                    }
                }
                _ => folded,
            })
        }
    }
}

fn pending_end(expr: &Expr, names: &[String], facts: &SessionFacts) -> Result<Option<ScalarValue>> {
    let Expr::ScalarVariable(field, _) = expr else { return Ok(None) };
    super::pending::end(names, &perigee_types::SqlType::of_field(field), facts)
}

fn metadata(expr: &Expr) -> Option<datafusion::common::metadata::FieldMetadata> {
    let field = match expr {
        Expr::Placeholder(p) => p.field.as_ref()?,
        Expr::ScalarVariable(field, _) => field,
        _ => return None,
    };
    (!field.metadata().is_empty()).then(|| datafusion::common::metadata::FieldMetadata::from(field.as_ref()))
}

fn parameter(placeholder: &Placeholder, parameters: &[Value]) -> Result<ScalarValue> {
    let missing =
        || from_sql(SqlError::new(SqlState::UndefinedParameter, format!("there is no parameter {}", placeholder.id)));
    let number: usize = placeholder.id.trim_start_matches('$').parse().map_err(|_| missing())?;
    let value = number.checked_sub(1).and_then(|at| parameters.get(at)).ok_or_else(missing)?;
    match &placeholder.field {
        Some(field) => scalar(value, field.data_type()),
        None => natural(value),
    }
}

/// An operation over literals as its result. What fails stays as it is: it may never be reached.
fn fold(expr: Expr) -> Transformed<Expr> {
    let constant = match &expr {
        Expr::ScalarFunction(f) => {
            f.func.signature().volatility == Volatility::Immutable && f.args.iter().all(is_literal)
        }
        Expr::Cast(c) => is_literal(&c.expr),
        Expr::BinaryExpr(b) => is_literal(&b.left) && is_literal(&b.right),
        Expr::Negative(e) | Expr::Not(e) => is_literal(e),
        _ => false,
    };
    if !constant {
        return Transformed::no(expr);
    }
    match evaluate_constant(&expr) {
        Ok(literal) => Transformed::yes(literal),
        Err(_) => Transformed::no(expr),
    }
}

fn is_literal(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(..))
}

/// The value of an expression without columns, as a literal.
pub(super) fn evaluate_constant(expr: &Expr) -> Result<Expr> {
    let schema = DFSchema::empty();
    let physical = create_physical_expr(expr, &schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
    let row = RecordBatch::try_new_with_options(
        Arc::new(arrow::datatypes::Schema::empty()),
        Vec::new(),
        &arrow::array::RecordBatchOptions::new().with_row_count(Some(1)),
    )?;
    let value = match physical.evaluate(&row)? {
        datafusion::logical_expr::ColumnarValue::Scalar(value) => value,
        datafusion::logical_expr::ColumnarValue::Array(array) if array.len() == 1 => {
            ScalarValue::try_from_array(&array, 0)?
        }
        datafusion::logical_expr::ColumnarValue::Array(_) => {
            return Err(DataFusionError::Internal("a constant of several rows".to_owned()));
        }
    };
    let field = datafusion::logical_expr::ExprSchemable::to_field(expr, &schema)?.1;
    let metadata =
        (!field.metadata().is_empty()).then(|| datafusion::common::metadata::FieldMetadata::from(field.as_ref()));
    Ok(Expr::Literal(value, metadata))
}
