//! The cast that INSERT and UPDATE do by themselves, as a function over Arrow columns.
//!
//! DataFusion's own cast neither checks the length of varchar(n) nor rounds and refuses numbers as PostgreSQL does.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr as DfExpr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, cast,
};
use perigee_plan::evaluate;
use perigee_storage::arrow_value::{ColumnBuilder, value_at};
use perigee_types::catalog::Column;
use perigee_types::text::OutputSettings;
use perigee_types::{SqlError, SqlResult, SqlType};

use super::scalar::{assignable, type_mismatch};

/// `expr`, the plan's column at `at` of type `from`, as the table's column takes it.
///
/// # Errors
/// `42804` where it does not.
pub(super) fn assign(expr: DfExpr, from: &SqlType, into: &Column, at: usize, plan: &LogicalPlan) -> SqlResult<DfExpr> {
    // A constant's text has no type of its own yet.
    made(expr, from, into, from.is_string() && is_constant(plan, at))
}

/// [`assign`] of a column that has the type `from` only when the plan has been analyzed. A cast to the type that it has
/// until then would be taken away.
///
/// # Errors
/// `42804` where it does not fit.
pub(super) fn assign_analyzed(expr: DfExpr, from: &SqlType, into: &Column) -> SqlResult<DfExpr> {
    // A time with a zone becomes one without by the session's, which a cast knows.
    if matches!(from, SqlType::Timestamptz(_)) || into.ty.second_digits().is_some() {
        return made(expr, from, into, false);
    }
    if !from.is_string() && !assignable(from, &into.ty) {
        return Err(type_mismatch(&into.name, &into.ty, from));
    }
    Ok(assigned(expr, from, &into.ty))
}

/// A column's default as the column takes it.
///
/// # Errors
/// `42804` where it does not.
pub(super) fn assign_default(expr: DfExpr, from: &SqlType, into: &Column) -> SqlResult<DfExpr> {
    let untyped = from.is_string() && matches!(expr, DfExpr::Literal(..));
    made(expr, from, into, untyped)
}

fn made(expr: DfExpr, from: &SqlType, into: &Column, untyped: bool) -> SqlResult<DfExpr> {
    let to = &into.ty;
    if matches!((from, to), (SqlType::Array(_), SqlType::Array(_))) && from.dimensions() != to.dimensions() {
        return Err(SqlError::unsupported("an array of several dimensions in a column"));
    }
    if !untyped && !assignable(from, to) {
        return Err(type_mismatch(&into.name, to, from));
    }
    if to.without_second_digits() != *to && from != to && !from.is_string() {
        // What they become without digits may depend on the session; the digits do not.
        let plain = to.without_second_digits();
        let whole = Column { ty: plain.clone(), ..into.clone() };
        return Ok(assigned(made(expr, from, &whole, untyped)?, &plain, to));
    }
    if needs_no_check(from, to) {
        return Ok(if from.arrow() == to.arrow() { expr } else { cast(expr, to.arrow()) });
    }
    Ok(assigned(expr, from, to))
}

fn assigned(expr: DfExpr, from: &SqlType, to: &SqlType) -> DfExpr {
    let function = ScalarUDF::new_from_impl(Assign {
        from: from.clone(),
        to: to.clone(),
        signature: Signature::any(1, Volatility::Immutable),
    });
    DfExpr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), vec![expr]))
}

/// Whether the plan's column is a constant or a parameter in each of its rows.
fn is_constant(plan: &LogicalPlan, at: usize) -> bool {
    let constant = |expr: &DfExpr| matches!(expr.clone().unalias(), DfExpr::Literal(..) | DfExpr::Placeholder(_));
    match plan {
        LogicalPlan::Projection(projection) => match projection.expr.get(at).map(|e| of_clause(e).unalias()) {
            Some(DfExpr::Column(column)) => projection
                .input
                .schema()
                .maybe_index_of_column(&column)
                .is_some_and(|at| is_constant(&projection.input, at)),
            Some(expr) => constant(&expr),
            None => false,
        },
        LogicalPlan::Values(values) => values.values.iter().all(|row| row.get(at).is_some_and(constant)),
        LogicalPlan::SubqueryAlias(alias) => is_constant(&alias.input, at),
        LogicalPlan::Filter(filter) => is_constant(&filter.input, at),
        LogicalPlan::Limit(limit) => is_constant(&limit.input, at),
        LogicalPlan::Sort(sort) => is_constant(&sort.input, at),
        _ => false,
    }
}

/// What a clause of MERGE writes, without the condition under which it does.
fn of_clause(expr: &DfExpr) -> DfExpr {
    if let DfExpr::Alias(alias) = expr
        && alias.name.starts_with(super::merge::VALUE)
        && let DfExpr::Case(case) = alias.expr.as_ref()
        && let [(_, value)] = case.when_then_expr.as_slice()
    {
        return value.as_ref().clone();
    }
    expr.clone()
}

/// Whether every value of `from` is one of `to`, or the change is one among dates and times, which knows the session.
fn needs_no_check(from: &SqlType, to: &SqlType) -> bool {
    use SqlType::{Date, Float4, Float8, Int2, Int4, Int8, Name, Text, Time, Timestamp, Timestamptz, Varchar};
    if from == to {
        // A computed numeric is one of a fixed scale or of any.
        return *from != SqlType::Numeric(None);
    }
    match (from, to) {
        (Int2, Int4 | Int8 | Float8) | (Int4, Int8 | Float8) | (Float4, Float8) => true,
        (Text | Varchar(_) | Name, Text | Varchar(None)) => true,
        (Varchar(Some(a)), Varchar(Some(b))) => a <= b,
        (Date | Timestamp(_) | Timestamptz(_), Date | Time(None) | Timestamp(None) | Timestamptz(None)) => true,
        (Time(_), Time(None)) => true,
        _ => false,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Assign {
    from: SqlType,
    to: SqlType,
    signature: Signature,
}

impl ScalarUDFImpl for Assign {
    fn name(&self) -> &str {
        "assign"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.to.arrow())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(self.to.field(self.name(), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = matches!(args.args.first(), Some(ColumnarValue::Scalar(_)));
        let Some(input) = args.args.first() else {
            return Err(DataFusionError::Internal("assign without an argument".to_owned()));
        };
        let input = input.to_array(if scalar { 1 } else { args.number_rows })?;
        let output = self.column(&input).map_err(|error| DataFusionError::External(Box::new(error)))?;
        if scalar {
            let value = datafusion::scalar::ScalarValue::try_from_array(&output, 0)?;
            return Ok(ColumnarValue::Scalar(value));
        }
        Ok(ColumnarValue::Array(output))
    }
}

impl Assign {
    fn column(&self, input: &ArrayRef) -> SqlResult<ArrayRef> {
        // A bare NULL has a type of its own, whose arrays have no null bits.
        if *input.data_type() == DataType::Null {
            return Ok(arrow::array::new_null_array(&self.to.arrow(), input.len()));
        }
        let mut output = ColumnBuilder::new(&self.to, input.len());
        for row in 0..input.len() {
            let value = value_at(input, row, &self.from);
            let value = evaluate::cast(value, &self.from, &self.to, false, OutputSettings::DEFAULT)?;
            output.push(&value).map_err(SqlError::internal)?;
        }
        Ok(output.finish())
    }
}
