//! Where numerics of any count of digits are combined: as one type.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::expr::{AggregateFunction, InSubquery, WindowFunction, WindowFunctionDefinition};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::COUNT_STAR_EXPANSION;
use datafusion::logical_expr::{
    AggregateUDF, Case, Expr, ExprSchemable, LogicalPlanBuilder, SortExpr, Subquery, WindowFrameBound, WindowFrameUnits,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use perigee_types::{SqlError, SqlState, SqlType};

use super::super::aggregate::is_widened_real;
use super::super::extremes;
use super::super::meeting::compared;
use super::super::numeric::{brought, canonical, chosen, comparable, is_exact, is_wide};
use super::super::reals;
use super::super::spread::NumericAggregate;
use super::frames;
use super::keys::keyed;
use crate::exec::error::from_sql;

/// `expr IN (SELECT …)`
pub(super) fn in_subquery(list: InSubquery, schema: &DFSchema) -> Result<InSubquery> {
    let InSubquery { expr, subquery, negated } = list;
    let inner = Arc::clone(subquery.subquery.schema());
    let Some((qualifier, field)) = inner.iter().next() else { return Ok(InSubquery { expr, subquery, negated }) };
    let ty = expr.get_type(schema)?;
    let column = Expr::Column(Column::from((qualifier, field)));
    let (left, right) = match compared([&ty, field.data_type()].into_iter()) {
        Some(to) => (brought(*expr, &to, schema)?, brought(column.clone(), &to, &inner)?),
        None => (*expr, column.clone()),
    };
    let (left, right) = (keyed(left, schema)?, keyed(right, &inner)?);
    if right == column {
        return Ok(InSubquery { expr: Box::new(left), subquery, negated });
    }
    let plan = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone())
        .project(vec![right.alias(field.name().clone())])?
        .build()?;
    let subquery = Subquery { subquery: Arc::new(plan), ..subquery };
    Ok(InSubquery { expr: Box::new(left), subquery, negated })
}

/// CASE: its operand compares as numbers, its results are of one type.
pub(super) fn case(case: Case, schema: &DFSchema) -> Result<Case> {
    let Case { mut expr, when_then_expr, else_expr } = case;
    let (mut whens, thens): (Vec<Expr>, Vec<Expr>) = when_then_expr.into_iter().map(|(w, t)| (*w, *t)).unzip();
    if let Some(operand) = &expr {
        let mut all = vec![operand.as_ref().clone()];
        all.extend(whens.iter().cloned());
        let mut all = comparable(all, schema)?;
        whens = all.split_off(1);
        expr = all.pop().map(Box::new);
    }
    let mut results = thens;
    let has_else = else_expr.is_some();
    results.extend(else_expr.map(|e| *e));
    let mut results = chosen(results, schema)?;
    let else_expr = if has_else { results.pop().map(Box::new) } else { None };
    let when_then_expr = whens.into_iter().zip(results).map(|(w, t)| (Box::new(w), Box::new(t))).collect();
    Ok(Case { expr, when_then_expr, else_expr })
}

/// An aggregate: DataFusion's where it is PostgreSQL's; its order and DISTINCT by keys.
pub(super) fn aggregate(mut call: AggregateFunction, schema: &DFSchema) -> Result<AggregateFunction> {
    let distinct_order = distinct_order(&call, schema)?;
    for by in &mut call.params.order_by {
        by.expr = keyed(std::mem::take(&mut by.expr), schema)?;
    }
    if let Some(numeric) = call.func.inner().downcast_ref::<NumericAggregate>()
        && let [arg] = call.params.args.as_slice()
        && let Some(inner) = numeric.replacement(&arg.get_type(schema)?)
    {
        call.func = inner;
    }
    if let [arg] = call.params.args.as_slice()
        && call.func.name() == "sum"
        && is_widened_real(arg, schema)?
    {
        call.func = reals::sum();
    }
    if let [arg] = call.params.args.as_slice()
        && let Some(extreme) = extremes::of_floats(call.func.name())
        && arg.get_type(schema)?.is_floating()
    {
        call.func = extreme;
    }
    if let Some(extreme) = extreme_of_type(call.func.name(), &call.params.args, schema)? {
        call.func = extreme;
    }
    if call.func.name() == "count"
        && !call.params.distinct
        && let [arg @ Expr::Column(_)] = call.params.args.as_mut_slice()
        && !arg.nullable(schema)?
    {
        // All rows count: what several averages count is one number.
        *arg = Expr::Literal(COUNT_STAR_EXPANSION, None);
    }
    if call.params.distinct {
        for arg in &mut call.params.args {
            if is_wide(&arg.get_type(schema)?) {
                *arg = canonical(std::mem::take(arg));
            } else if call.func.name() == "count" {
                *arg = keyed(std::mem::take(arg), schema)?;
            }
        }
    }
    if let (Some((asc, nulls_first)), Some(value)) = (distinct_order, call.params.args.first()) {
        call.params.order_by = vec![SortExpr { expr: value.clone(), asc, nulls_first }];
    }
    Ok(call)
}

/// How an aggregate that collects distinct values sorts them: ascending or not, NULLs first or not. PostgreSQL finds what is distinct by
/// sorting, so they come sorted where nothing is said. `None` for other aggregates, and for values that are not sorted by themselves.
///
/// # Errors
/// `42P10` where it sorts by something else.
fn distinct_order(call: &AggregateFunction, schema: &DFSchema) -> Result<Option<(bool, bool)>> {
    let Some(value) = call.params.args.first() else { return Ok(None) };
    if !call.params.distinct || !matches!(call.func.name(), "array_agg" | "string_agg") {
        return Ok(None);
    }
    let order = match call.params.order_by.as_slice() {
        [] => (true, false),
        [by] if by.expr == *value => (by.asc, by.nulls_first),
        _ => {
            let text = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
            return Err(from_sql(SqlError::new(SqlState::InvalidColumnReference, text)));
        }
    };
    let field = value.to_field(schema)?.1;
    let ty = SqlType::of_field(&field);
    let by_form = !matches!(field.data_type(), DataType::Interval(_) | DataType::List(_) | DataType::Struct(_));
    Ok((by_form && ty != SqlType::Jsonb && !ty.is_kept_as_bytes()).then_some(order))
}

/// Whether `min` or `max` of that name is one that keeps the type of its argument.
pub(super) fn has_extreme(name: &str, ty: &SqlType) -> bool {
    extremes::of_type(name, ty).is_ok_and(|extreme| extreme.is_some())
}

/// `min` or `max` with the type of its argument, where DataFusion's would forget it.
fn extreme_of_type(name: &str, args: &[Expr], schema: &DFSchema) -> Result<Option<Arc<AggregateUDF>>> {
    let ([arg], "min" | "max") = (args, name) else { return Ok(None) };
    let ty = SqlType::of_field(&arg.to_field(schema)?.1);
    extremes::of_type(name, &ty).map_err(from_sql)
}

/// A constant as a literal.
fn folded(expr: Expr) -> Result<Expr> {
    let context = SimplifyContext::builder().build();
    ExprSimplifier::new(context).simplify(expr)
}

/// The type that numerics have where a frame is so and so far away: 38 digits, and 15 places.
const RANGE: SqlType = SqlType::Numeric(Some((38, 15)));

/// As [`aggregate`], of a window function.
pub(super) fn window(mut call: WindowFunction, schema: &DFSchema) -> Result<WindowFunction> {
    for expr in &mut call.params.partition_by {
        *expr = keyed(std::mem::take(expr), schema)?;
    }
    let frame = &mut call.params.window_frame;
    let offset = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::Preceding(by) | WindowFrameBound::Following(by) => !by.is_null(),
        WindowFrameBound::CurrentRow => false,
    };
    let by_range = frame.units == WindowFrameUnits::Range && !call.params.order_by.is_empty();
    let by_distance = by_range && (offset(&frame.start_bound) || offset(&frame.end_bound));
    if by_distance {
        frames::by_distance(frame, &mut call.params.order_by, schema)?;
    }
    for by in &mut call.params.order_by {
        let expr = std::mem::take(&mut by.expr);
        let wide = is_wide(&expr.get_type(schema)?);
        by.expr = if wide && by_distance { brought(expr, &RANGE, schema)? } else { keyed(expr, schema)? };
    }
    if by_range
        && !by_distance
        && call.params.order_by.first().map(|by| has_no_range(&by.expr, schema)).transpose()? == Some(true)
    {
        // The same rows: a frame that begins and ends at rows that are equal needs no distances between them.
        frame.units = WindowFrameUnits::Groups;
    }
    if let WindowFunctionDefinition::AggregateUDF(udaf) = &call.fun
        && let Some(numeric) = udaf.inner().downcast_ref::<NumericAggregate>()
        && let [arg] = call.params.args.as_slice()
        && let Some(inner) = numeric.replacement(&arg.get_type(schema)?)
    {
        call.fun = WindowFunctionDefinition::AggregateUDF(inner);
    }
    if let [arg] = call.params.args.as_slice()
        && call.fun.name() == "sum"
        && is_widened_real(arg, schema)?
    {
        call.fun = WindowFunctionDefinition::AggregateUDF(reals::sum());
    }
    if let Some(extreme) = extreme_of_type(call.fun.name(), &call.params.args, schema)? {
        call.fun = WindowFunctionDefinition::AggregateUDF(extreme);
    }
    if let [value, _, default] = call.params.args.as_mut_slice()
        && matches!(call.fun.name(), "lag" | "lead")
    {
        let (ty, of_default) = (value.get_type(schema)?, default.get_type(schema)?);
        if is_wide(&ty) || (is_wide(&of_default) && is_exact(&ty)) {
            *value = brought(std::mem::take(value), &SqlType::Numeric(None), schema)?;
            // It is a constant when the plan is made: as the form that numerics have.
            *default = folded(brought(std::mem::take(default), &SqlType::Numeric(None), schema)?)?;
        }
    }
    Ok(call)
}

/// Whether DataFusion has no RANGE over values of this type.
fn has_no_range(expr: &Expr, schema: &DFSchema) -> Result<bool> {
    use DataType::{Binary, BinaryView, FixedSizeBinary, Interval, LargeBinary};
    Ok(matches!(expr.get_type(schema)?, Binary | BinaryView | FixedSizeBinary(_) | Interval(_) | LargeBinary))
}
