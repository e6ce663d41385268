//! Aggregates with PostgreSQL's types: sums that do not overflow, averages that are exact.
//!
//! The argument's type is not known where the planner calls, so both are written with functions that find it out:
//! `sum(x)` is `sum(widen(x))`, `avg(x)` is `average(sum(widen(x)), count(x))`.

use std::sync::{Arc, LazyLock};

use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use perigee_types::{SqlError, SqlState, SqlType};

use super::function::{Function, overload, type_name};
use super::numeric::WIDE;
use crate::exec::error::from_sql;

/// What `sum` adds up, as a type that the sum fits.
pub(super) fn sum_argument(arg: Expr) -> Expr {
    static WIDEN: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Widen::new())));
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&WIDEN), vec![arg]))
}

/// As [`sum_argument`], of an average: reals are added up as what their average is.
pub(super) fn double_argument(arg: Expr) -> Expr {
    sum_argument(sum_argument(arg))
}

/// The arguments of an aggregate over pairs of numbers as doubles, which PostgreSQL has it of alone: DataFusion has no cast from
/// numerics of any count of digits.
pub(super) fn pair_arguments(name: &str, args: &mut [Expr]) {
    let is_of_pairs = matches!(name, "corr" | "covar" | "covar_pop" | "covar_samp") || name.starts_with("regr_");
    if !is_of_pairs || args.len() != 2 {
        return;
    }
    let as_it_is = overload(&[SqlType::Float8], SqlType::Float8, |args, _| Ok(args[0].clone()));
    let double = Function::new(name, vec![as_it_is]).udf();
    for arg in args {
        let of = std::mem::take(arg);
        *arg = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&double), vec![of]));
    }
}

/// Whether `arg` is what a sum of reals adds up.
pub(super) fn is_widened_real(arg: &Expr, schema: &DFSchema) -> Result<bool> {
    match arg {
        Expr::ScalarFunction(call) if call.func.inner().is::<Widen>() => match call.args.as_slice() {
            [of] => Ok(of.get_type(schema)? == DataType::Float32),
            _ => Ok(false),
        },
        _ => Ok(false),
    }
}

/// `sum / count`, NULL without rows.
pub(super) fn average(sum: Expr, count: Expr) -> Expr {
    static AVERAGE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Average::new())));
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&AVERAGE), vec![sum, count]))
}

/// Brings the argument of `sum` to the type to add in. Where that is its own type the call vanishes when simplified.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Widen {
    signature: Signature,
}

impl Widen {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// The type that values of a type are added up in.
fn sum_type(ty: &DataType) -> Option<DataType> {
    Some(match ty {
        DataType::Int8 | DataType::Int16 | DataType::Int32 => DataType::Int64,
        // DataFusion widens the result by ten digits: enough for any count of rows.
        DataType::Int64 => DataType::Decimal128(19, 0),
        DataType::UInt32 | DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Decimal128(..) | DataType::Interval(_) | DataType::LargeBinary => ty.clone(),
        DataType::Null | DataType::Utf8 => DataType::Float64,
        _ => return None,
    })
}

impl ScalarUDFImpl for Widen {
    fn name(&self) -> &'static str {
        "widen"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        // Unlike a schema's name, this one has casts in it: sums of one column as different types are different columns.
        Ok(args.iter().map(Expr::to_string).collect::<Vec<_>>().join(", "))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        // The call itself brings the argument to its type: coercing would do so twice.
        self.return_type(arg_types).map(|_| arg_types.to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [ty] => sum_type(ty).ok_or_else(|| {
                from_sql(SqlError::new(
                    SqlState::UndefinedFunction,
                    format!("function sum({}) does not exist", type_name(ty)),
                ))
            }),
            _ => Err(DataFusionError::Internal("sum over several values".to_owned())),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let arg = &args.arg_fields[0];
        let ty = self.return_type(&[arg.data_type().clone()])?;
        Ok(Arc::new(Field::new(self.name(), ty, arg.is_nullable())))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ty = args.return_field.data_type();
        match args.args.pop() {
            Some(ColumnarValue::Array(array)) if array.data_type() != ty => Ok(ColumnarValue::Array(cast(&array, ty)?)),
            Some(value) => value.cast_to(ty, None),
            None => Err(DataFusionError::Internal("sum over nothing".to_owned())),
        }
    }

    fn simplify(
        &self,
        args: Vec<Expr>,
        info: &datafusion::logical_expr::simplify::SimplifyContext,
    ) -> Result<datafusion::logical_expr::simplify::ExprSimplifyResult> {
        use datafusion::logical_expr::simplify::ExprSimplifyResult;
        let ty = info.get_data_type(&args[0])?;
        if sum_type(&ty).as_ref() != Some(&ty) {
            return Ok(ExprSimplifyResult::Original(args));
        }
        Ok(match args.into_iter().next() {
            Some(arg) => ExprSimplifyResult::Simplified(arg),
            None => ExprSimplifyResult::Original(Vec::new()),
        })
    }
}

/// Divides a sum by a count.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Average {
    signature: Signature,
}

impl Average {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Average {
    fn name(&self) -> &'static str {
        "average"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(match arg_types {
            [DataType::Float64, _] => vec![DataType::Float64, DataType::Float64],
            [DataType::Interval(unit), _] => vec![DataType::Interval(*unit), DataType::Float64],
            [_, _] => arg_types.to_vec(),
            _ => return Err(DataFusionError::Internal("an average without sum and count".to_owned())),
        })
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(match arg_types.first() {
            Some(DataType::Float64) => DataType::Float64,
            Some(DataType::Interval(unit)) => DataType::Interval(*unit),
            _ => WIDE,
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let types: Vec<SqlType> = args.arg_fields.iter().map(|f| SqlType::of_field(f)).collect();
        if args.return_field.data_type() != &DataType::Float64
            && !matches!(args.return_field.data_type(), DataType::Interval(_))
        {
            // A sum of no rows is NULL, so that nothing is divided by zero.
            return super::numeric::apply(&args, |sum, count| sum.divide(count));
        }
        super::function::each_row(&args, &types, true, |values| match values {
            [perigee_types::Value::Float8(sum), perigee_types::Value::Float8(count)] => {
                Ok(if *count == 0.0 { perigee_types::Value::Null } else { perigee_types::Value::Float8(sum / count) })
            }
            [perigee_types::Value::Interval(sum), perigee_types::Value::Float8(count)] if *count != 0.0 => {
                super::datetime::interval_times(*sum, 1.0 / count).map(perigee_types::Value::Interval)
            }
            _ => Ok(perigee_types::Value::Null),
        })
    }
}
