//! `ASOF JOIN` as a join whose comparison of times is marked for the optimizer.

use std::ops::ControlFlow;

use perigee_types::{SqlError, SqlResult};
use sqlparser::ast::{
    BinaryOperator, Expr, JoinConstraint, JoinOperator, TableFactor, TableWithJoins, Value, visit_expressions,
};

use super::functions;
use crate::exec::asof::{MARK, one_comparison};

/// Rewrites the ASOF JOINs of one FROM. Those by USING have conditions by now.
///
/// # Errors
/// `42601` for a condition without one comparison of times, `0A000` for joins without a condition.
pub(super) fn joins(from: &mut [TableWithJoins]) -> SqlResult<()> {
    for table in from {
        factor(&mut table.relation)?;
        for join in &mut table.joins {
            factor(&mut join.relation)?;
            let JoinOperator::AsOf { match_condition, constraint } = &mut join.join_operator else { continue };
            let JoinConstraint::On(condition) = constraint else {
                return Err(SqlError::unsupported(
                    "ASOF JOIN by USING between relations whose columns are not known here",
                ));
            };
            let mut condition = std::mem::replace(condition, Expr::value(Value::Null));
            one_comparison(mark(&mut condition))?;
            let constraint = JoinConstraint::On(condition);
            join.join_operator = match match_condition {
                Expr::Value(value) if value.value == Value::Boolean(false) => JoinOperator::LeftOuter(constraint),
                _ => JoinOperator::Inner(constraint),
            };
        }
    }
    Ok(())
}

fn factor(factor: &mut TableFactor) -> SqlResult<()> {
    match factor {
        TableFactor::NestedJoin { table_with_joins, .. } => joins(std::slice::from_mut(table_with_joins)),
        _ => Ok(()),
    }
}

/// Marks the comparisons of columns among the operands of AND, and counts them.
fn mark(condition: &mut Expr) -> usize {
    match condition {
        Expr::Nested(inner) => mark(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => mark(left) + mark(right),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::GtEq | BinaryOperator::Gt | BinaryOperator::LtEq | BinaryOperator::Lt,
            right,
        } if names_column(left) && names_column(right) => {
            let comparison = std::mem::replace(condition, Expr::value(Value::Null));
            *condition = functions::call(MARK, vec![comparison]);
            1
        }
        _ => 0,
    }
}

fn names_column(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |e| match e {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Makes the last of the equalities that USING stands for the comparison of times.
pub(super) fn compare_last(condition: &mut Expr) {
    if let Expr::BinaryOp { op, right, .. } = condition {
        match op {
            BinaryOperator::And => compare_last(right),
            BinaryOperator::Eq => *op = BinaryOperator::GtEq,
            _ => {}
        }
    }
}
