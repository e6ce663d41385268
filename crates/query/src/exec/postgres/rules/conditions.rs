//! What stands where a truth value is wanted: DataFusion takes numbers there, or refuses them with other words.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};
use perigee_types::{SqlError, SqlState, SqlType};

use super::super::function::is_unknown;
use crate::exec::error::from_sql;

/// Refuses an expression one of whose arguments is no truth value.
///
/// # Errors
/// `42804`
pub(super) fn check(expr: &Expr, schema: &DFSchema) -> Result<()> {
    match expr {
        Expr::Case(case) if case.expr.is_none() => {
            case.when_then_expr.iter().try_for_each(|(when, _)| is_truth(when, "CASE/WHEN", schema))
        }
        Expr::Not(of) => is_truth(of, "NOT", schema),
        Expr::IsTrue(of) => is_truth(of, "IS TRUE", schema),
        Expr::IsNotTrue(of) => is_truth(of, "IS NOT TRUE", schema),
        Expr::IsFalse(of) => is_truth(of, "IS FALSE", schema),
        Expr::IsNotFalse(of) => is_truth(of, "IS NOT FALSE", schema),
        Expr::IsUnknown(of) => is_truth(of, "IS UNKNOWN", schema),
        Expr::IsNotUnknown(of) => is_truth(of, "IS NOT UNKNOWN", schema),
        Expr::BinaryExpr(binary) if matches!(binary.op, Operator::And | Operator::Or) => {
            let what = if binary.op == Operator::And { "AND" } else { "OR" };
            is_truth(&binary.left, what, schema)?;
            is_truth(&binary.right, what, schema)
        }
        _ => Ok(()),
    }
}

fn is_truth(expr: &Expr, what: &str, schema: &DFSchema) -> Result<()> {
    // Of other nodes the type is known without a look, which would go down a chain at each of its terms.
    if !matches!(expr, Expr::Column(_) | Expr::Literal(..) | Expr::Cast(_) | Expr::ScalarFunction(_)) {
        return Ok(());
    }
    let Ok((_, field)) = expr.to_field(schema) else { return Ok(()) };
    if *field.data_type() == DataType::Boolean || is_unknown(field.data_type()) {
        return Ok(());
    }
    let ty = SqlType::of_field(&field);
    let text = format!("argument of {what} must be type boolean, not type {ty}");
    Err(from_sql(SqlError::new(SqlState::DatatypeMismatch, text)))
}
