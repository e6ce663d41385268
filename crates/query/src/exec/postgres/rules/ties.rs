//! FETCH FIRST … WITH TIES: a limit that also takes the rows that are equal to its last one in the order.

use std::sync::Arc;

use datafusion::common::{Column, Result};
use datafusion::error::DataFusionError;
use datafusion::functions_window::expr_fn::rank;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    Cast, Expr, ExprFunctionExt, Limit, LogicalPlan, LogicalPlanBuilder, Projection, ScalarUDF, Sort, lit,
};
use perigee_types::{SqlError, SqlState, SqlType, Value};

use super::super::function::{Function, overload};
use crate::exec::error::from_sql;

/// The function that marks a limit as one with ties; its argument is the count of rows.
pub(crate) const WITH_TIES: &str = "__with_ties";

pub(in crate::exec::postgres) fn function() -> Arc<ScalarUDF> {
    let count = overload(&[SqlType::Int8], SqlType::Int8, |args, _| Ok(args.first().cloned().unwrap_or(Value::Null)));
    Function::new(WITH_TIES, vec![count]).udf()
}

/// The limit, or where it has ties the rows that are not behind the last one in their order.
pub(super) fn limit(mut limit: Limit) -> Result<LogicalPlan> {
    let count = match limit.fetch.as_deref() {
        Some(Expr::ScalarFunction(ScalarFunction { func, args })) if func.name() == WITH_TIES => args.first().cloned(),
        _ => return Ok(LogicalPlan::Limit(limit)),
    };
    let count = count.ok_or_else(|| DataFusionError::Internal("a limit without a count".to_owned()))?;
    if matches!(&count, Expr::Literal(value, _) if value.to_string().starts_with('-')) {
        return Err(from_sql(SqlError::new(SqlState::InvalidRowCountInLimit, "LIMIT must not be negative")));
    }
    let bigint = || Arc::new(SqlType::Int8.field("", true));
    let as_bigint = |expr: Expr| Expr::Cast(Cast::new_from_field(Box::new(expr), bigint()));
    let mut last = as_bigint(count.clone());
    if let Some(skip) = limit.skip.as_deref() {
        last = as_bigint(skip.clone()) + last;
    }
    let input = Arc::unwrap_or_clone(limit.input);
    // None of the first rows has no ties.
    let within = |rank: Expr| as_bigint(rank).lt_eq(last.clone()).and(as_bigint(count.clone()).gt(lit(0_i64)));
    limit.input = Arc::new(below(input, &within)?);
    limit.fetch = None;
    Ok(if limit.skip.is_none() { Arc::unwrap_or_clone(limit.input) } else { LogicalPlan::Limit(limit) })
}

/// Leaves out of the sorted rows those whose rank is not `within`.
fn below(plan: LogicalPlan, within: &dyn Fn(Expr) -> Expr) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let input = below(Arc::unwrap_or_clone(projection.input), within)?;
            Projection::try_new(projection.expr, Arc::new(input)).map(LogicalPlan::Projection)
        }
        LogicalPlan::Sort(Sort { expr, input, fetch }) => {
            let columns: Vec<Expr> = input.schema().iter().map(|(q, f)| Expr::Column(Column::from((q, f)))).collect();
            let rank = rank().order_by(expr.clone()).build()?.alias("__rank");
            let input = LogicalPlanBuilder::from(Arc::unwrap_or_clone(input))
                .window([rank])?
                .filter(within(Expr::Column(Column::new_unqualified("__rank"))))?
                .project(columns)?
                .build()?;
            Ok(LogicalPlan::Sort(Sort { expr, input: Arc::new(input), fetch }))
        }
        _ => Err(from_sql(SqlError::unsupported("WITH TIES here"))),
    }
}
