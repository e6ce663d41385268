//! The types of the columns of UNION, INTERSECT and EXCEPT, and of the rows they compare.
//!
//! DataFusion takes them from the left side as the planner saw it, before literals had their types, and makes text of
//! what does not fit.

use std::sync::Arc;

use datafusion::common::{Column, DFSchema, NullEquality, Result};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::Alias;
use datafusion::logical_expr::{
    Cast, Expr, ExprFunctionExt, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Projection, Union,
};
use perigee_types::{SqlError, SqlState, SqlType};

use super::super::cast;
use super::super::common_type::common_of;
use super::super::function::is_unknown;
use super::super::operators::adopt;
use super::keys::keyed;
use crate::exec::error::from_sql;

/// UNION with its columns in the types that they have in common.
pub(super) fn union(union: Union) -> Result<LogicalPlan> {
    let types = column_types(&union.inputs.iter().map(AsRef::as_ref).collect::<Vec<_>>(), "UNION")?;
    let inputs = union
        .inputs
        .into_iter()
        .map(|input| with_types(Arc::unwrap_or_clone(input), &types).map(Arc::new))
        .collect::<Result<Vec<_>>>()?;
    let Union { inputs, schema } = Union::try_new_with_loose_types(inputs)?;
    let inputs = inputs.into_iter().map(|input| with_names(input, &schema)).collect::<Result<Vec<_>>>()?;
    Union::try_new_with_loose_types(inputs).map(LogicalPlan::Union)
}

/// The plan with the columns' names of a schema: where all other sides are empty the optimizer puts this one in the
/// UNION's place, and looks for its names there.
fn with_names(plan: Arc<LogicalPlan>, schema: &DFSchema) -> Result<Arc<LogicalPlan>> {
    if plan
        .schema()
        .iter()
        .zip(schema.iter())
        .all(|((q, f), (qualifier, field))| q == qualifier && f.name() == field.name())
    {
        return Ok(plan);
    }
    let named = plan.schema().iter().zip(schema.iter()).map(|(from, (qualifier, field))| {
        Expr::Column(Column::from(from)).alias_qualified(qualifier.cloned(), field.name())
    });
    let named: Vec<Expr> = named.collect();
    LogicalPlanBuilder::from(plan).project(named)?.build().map(Arc::new)
}

/// INTERSECT and EXCEPT are joins here, by columns of the same place that are equal also where both are NULL.
pub(super) fn is_set_operation(join: &Join) -> bool {
    matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
        && join.on.len() == join.left.schema().fields().len()
        && join.on.len() == join.right.schema().fields().len()
}

pub(super) fn intersection(mut join: Join) -> Result<LogicalPlan> {
    let name = if join.join_type == JoinType::LeftSemi { "INTERSECT" } else { "EXCEPT" };
    let types = column_types(&[join.left.as_ref(), join.right.as_ref()], name)?;
    join.left = Arc::new(with_types(Arc::unwrap_or_clone(join.left), &types)?);
    join.right = Arc::new(with_types(Arc::unwrap_or_clone(join.right), &types)?);
    let pairs = std::mem::take(&mut join.on).into_iter();
    join.on = pairs
        .map(|(l, r)| Ok((keyed(l, join.left.schema())?, keyed(r, join.right.schema())?)))
        .collect::<Result<_>>()?;
    if matches!(join.left.as_ref(), LogicalPlan::Distinct(_)) {
        return LogicalPlan::Join(join).recompute_schema();
    }
    all(join)
}

/// INTERSECT ALL and EXCEPT ALL: of equal rows, the first is paired with the first of the other side, the second with the
/// second.
fn all(mut join: Join) -> Result<LogicalPlan> {
    let columns: Vec<Expr> = join.left.schema().columns().into_iter().map(Expr::Column).collect();
    let (left, left_number) = numbered(Arc::unwrap_or_clone(join.left))?;
    let (right, right_number) = numbered(Arc::unwrap_or_clone(join.right))?;
    join.on.push((left_number, right_number));
    let join = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        join.on,
        None,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    LogicalPlanBuilder::from(LogicalPlan::Join(join)).project(columns)?.build()
}

/// A plan with one more column: the number of each row among those that are equal.
fn numbered(plan: LogicalPlan) -> Result<(LogicalPlan, Expr)> {
    let columns = plan.schema().columns().into_iter().map(|column| keyed(Expr::Column(column), plan.schema()));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let number = row_number().partition_by(columns).build()?;
    let plan = LogicalPlanBuilder::from(plan).window([number])?.build()?;
    let last = plan.schema().fields().len().saturating_sub(1);
    let number = Expr::Column(Column::from(plan.schema().qualified_field(last)));
    Ok((plan, number))
}

/// The type of each column; `None` where all sides agree, or are numbers that DataFusion brings together.
fn column_types(inputs: &[&LogicalPlan], operation: &str) -> Result<Vec<Option<SqlType>>> {
    let count = inputs.first().map_or(0, |input| input.schema().fields().len());
    (0..count)
        .map(|at| {
            let fields = inputs.iter().filter_map(|input| input.schema().fields().get(at));
            let types: Vec<SqlType> = fields
                .map(|field| if is_unknown(field.data_type()) { SqlType::Unknown } else { SqlType::of_field(field) })
                .collect();
            let known = types.iter().filter(|ty| **ty != SqlType::Unknown);
            let common = common_of(known).map_err(|(left, right)| {
                if let (SqlType::Range(_), SqlType::Range(_)) = (&left, &right) {
                    let message = format!("{operation} could not convert type {right} to {left}");
                    return from_sql(SqlError::new(SqlState::CannotCoerce, message));
                }
                let message = format!("{operation} types {left} and {right} cannot be matched");
                from_sql(SqlError::new(SqlState::DatatypeMismatch, message))
            })?;
            let Some(common) = common else { return Ok(types.first().map(|_| SqlType::Text)) };
            let agree = types.iter().all(|ty| *ty == common);
            Ok((!agree).then_some(common))
        })
        .collect()
}

/// The plan with its columns in these types.
fn with_types(plan: LogicalPlan, types: &[Option<SqlType>]) -> Result<LogicalPlan> {
    let plan = with_literals(plan, types)?;
    let schema = Arc::clone(plan.schema());
    let differs = |at: usize, field: &arrow::datatypes::Field| {
        types
            .get(at)
            .and_then(Option::as_ref)
            .filter(|ty| **ty != SqlType::of_field(field) || is_unknown(field.data_type()))
    };
    if !schema.fields().iter().enumerate().any(|(at, field)| differs(at, field).is_some()) {
        return Ok(plan);
    }
    let columns = schema.iter().enumerate().map(|(at, (qualifier, field))| {
        let column = Expr::Column(Column::from((qualifier, field)));
        let Some(ty) = differs(at, field) else { return Ok(column) };
        let target = Arc::new(ty.field(field.name(), true));
        let cast = cast::rewrite(Cast::new_from_field(Box::new(column), target), schema.as_ref())?;
        Ok(cast.alias_qualified(qualifier.cloned(), field.name()))
    });
    let columns: Vec<Expr> = columns.collect::<Result<_>>()?;
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// A select list whose literals without a type have become values of these types.
fn with_literals(plan: LogicalPlan, types: &[Option<SqlType>]) -> Result<LogicalPlan> {
    let LogicalPlan::Projection(Projection { expr, input, .. }) = plan else { return Ok(plan) };
    let typed = expr.into_iter().enumerate().map(|(at, expr)| {
        let Some(ty) = types.get(at).and_then(Option::as_ref) else { return Ok(expr) };
        let name = expr.schema_name().to_string();
        match expr {
            Expr::Literal(..) => adopt(expr, ty).map(|literal| literal.alias(name)),
            Expr::Alias(alias) if matches!(alias.expr.as_ref(), Expr::Literal(..)) => {
                let literal = adopt(*alias.expr, ty)?;
                Ok(Expr::Alias(Alias { expr: Box::new(literal), ..alias }))
            }
            other => Ok(other),
        }
    });
    let typed = typed.collect::<Result<Vec<_>>>()?;
    Projection::try_new(typed, input).map(LogicalPlan::Projection)
}
