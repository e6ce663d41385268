//! The hot operators on numbers, as kernels: checked integers, and the decimals that DataFusion would round or overflow.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Decimal128Type, FieldRef, Float32Type, Float64Type, i256};
use arrow::error::ArrowError;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;
use datafusion::scalar::ScalarValue;
use perigee_types::{SqlError, SqlState, SqlType};

use super::cast::numeric_field;
use crate::exec::error::{arrow_error, division_by_zero, from_sql, integer_out_of_range};

/// Digits of a decimal.
const DIGITS_MAX: i16 = 38;
/// Digits by type up to which decimals stay decimals.
const DIGITS_LIKELY_MAX: i16 = 48;
/// Places up to which they do.
const SCALE_MAX: i16 = 30;

/// Both sides' common type and what to do, for numbers; `None` where DataFusion's own operator does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kernel {
    /// Both sides are this integer type.
    Integer,
    /// Both sides are floats; division by zero, overflow and underflow are errors.
    Float,
    /// Remainder of decimals; the result has this scale.
    Remainder(i8),
    /// Both sides are exact numbers of any type, the result is a numeric of any count of digits.
    Wide,
}

fn integer_rank(ty: &DataType) -> Option<u8> {
    match ty {
        DataType::Int16 => Some(0),
        DataType::Int32 => Some(1),
        DataType::Int64 => Some(2),
        _ => None,
    }
}

/// Precision and scale of an exact number.
fn exact(ty: &DataType) -> Option<(u8, i8)> {
    match ty {
        DataType::Int16 => Some((5, 0)),
        DataType::Int32 => Some((10, 0)),
        DataType::Int64 => Some((19, 0)),
        DataType::UInt64 | DataType::UInt32 => Some((20, 0)),
        DataType::Decimal128(precision, scale) => Some((*precision, *scale)),
        _ => None,
    }
}

fn is_float(ty: &DataType) -> bool {
    matches!(ty, DataType::Float32 | DataType::Float64)
}

fn plan(op: Operator, left: &DataType, right: &DataType) -> Option<(Kernel, DataType, DataType)> {
    if let (Some(l), Some(r)) = (integer_rank(left), integer_rank(right)) {
        let wider = if l >= r { left } else { right };
        return Some((Kernel::Integer, wider.clone(), wider.clone()));
    }
    if let (Some((p, s)), Some((q, t))) = (exact(left), exact(right)) {
        // How many digits the result may have. Types say more than values have: prices of 15 digits multiplied with two
        // factors of 16 are 47 by type and a dozen in fact, and DataFusion's kernels, which are the fast ones, refuse what
        // does not fit. So results become wide only where they are likely not to fit.
        let whole = i16::from(p).saturating_sub(i16::from(s)).max(i16::from(q) - i16::from(t));
        let (digits, scale) = match op {
            Operator::Multiply => (i16::from(p) + i16::from(q), i16::from(s) + i16::from(t)),
            _ => (whole + i16::from(s.max(t)), i16::from(s.max(t))),
        };
        // A bigint is likely to be large where it is used at all.
        let likely = if left.is_integer() || right.is_integer() { DIGITS_MAX } else { DIGITS_LIKELY_MAX };
        let short = digits <= likely && scale <= SCALE_MAX && s >= 0 && t >= 0;
        return match op {
            Operator::Modulo if short => {
                Some((Kernel::Remainder(s.max(t)), DataType::Decimal128(p, s), DataType::Decimal128(q, t)))
            }
            Operator::Plus | Operator::Minus | Operator::Multiply if short => None,
            _ => Some((Kernel::Wide, left.clone(), right.clone())),
        };
    }
    if super::numeric::common([left, right].into_iter()) == Some(SqlType::Numeric(None)) {
        return Some((Kernel::Wide, left.clone(), right.clone()));
    }
    if op != Operator::Modulo && (is_float(left) || is_float(right)) {
        let both_single = *left == DataType::Float32 && *right == DataType::Float32;
        let ty = if both_single { DataType::Float32 } else { DataType::Float64 };
        return Some((Kernel::Float, ty.clone(), ty));
    }
    None
}

/// `left op right` on numbers as a call of ours; `None` where DataFusion's own operator does it.
pub(super) fn operation(op: Operator, left: Expr, right: Expr, types: (&DataType, &DataType)) -> Option<Expr> {
    plan(op, types.0, types.1)?;
    let udf = ScalarUDF::new_from_impl(Arithmetic { label: label(op, &left, &right), ..Arithmetic::new(op) });
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(udf), vec![left, right])))
}

/// `left op right` on exact numbers, one of them a decimal, whatever digits the result has; `None` for others.
pub(super) fn exact_operation(op: Operator, left: &Expr, right: &Expr, types: (&DataType, &DataType)) -> Option<Expr> {
    let decimal = |ty: &DataType| matches!(ty, DataType::Decimal128(..));
    if (!decimal(types.0) && !decimal(types.1)) || exact(types.0).is_none() || exact(types.1).is_none() {
        return None;
    }
    let label = label(op, left, right);
    let udf = ScalarUDF::new_from_impl(Arithmetic { exact: true, label, ..Arithmetic::new(op) });
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(udf), vec![left.clone(), right.clone()])))
}

/// A short name for what `op` gives where its left side has several operators in a row already: what plans an expression asks for
/// the name of each part of it, and names in names take a time that grows with the third power of their count.
fn label(op: Operator, left: &Expr, right: &Expr) -> Option<String> {
    const IN_A_ROW: usize = 8;
    let mut at = left;
    for _ in 0..IN_A_ROW {
        let Expr::ScalarFunction(call) = at else { return None };
        match call.func.inner().downcast_ref::<Arithmetic>() {
            Some(Arithmetic { label: Some(_), .. }) => break,
            Some(_) => at = call.args.first()?,
            None => return None,
        }
    }
    let mut hasher = DefaultHasher::new();
    (left.schema_name().to_string(), right.schema_name().to_string()).hash(&mut hasher);
    Some(format!("… {op} {:016x}", hasher.finish()))
}

/// One operator on numbers.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Arithmetic {
    op: Operator,
    /// Whether the result has any count of digits whatever the types say.
    exact: bool,
    /// The name of a call that stands at the end of many; see [`label`].
    label: Option<String>,
    signature: Signature,
}

impl Arithmetic {
    fn new(op: Operator) -> Self {
        Self { op, exact: false, label: None, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn plan(&self, types: &[DataType]) -> Result<(Kernel, DataType, DataType)> {
        match types {
            [left, right] if self.exact => Some((Kernel::Wide, left.clone(), right.clone())),
            [left, right] => plan(self.op, left, right),
            _ => None,
        }
        .ok_or_else(|| DataFusionError::Internal(format!("{} over {types:?}", self.op)))
    }
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        match self.op {
            Operator::Plus => "+",
            Operator::Minus => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            _ => "%",
        }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        if let Some(label) = &self.label {
            return Ok(label.clone());
        }
        let args: Vec<String> = args.iter().map(|a| a.schema_name().to_string()).collect();
        Ok(args.join(&format!(" {} ", self.name())))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let (_, left, right) = self.plan(arg_types)?;
        Ok(vec![left, right])
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(match self.plan(arg_types)? {
            (Kernel::Integer | Kernel::Float, ty, _) => ty,
            (Kernel::Remainder(scale), ..) => DataType::Decimal128(38, scale),
            (Kernel::Wide, ..) => super::numeric::WIDE,
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|f| f.is_nullable());
        Ok(Arc::new(match self.return_type(&types)? {
            DataType::Decimal128(_, scale) => numeric_field(self.name(), scale).with_nullable(nullable),
            ty => arrow::datatypes::Field::new(self.name(), ty, nullable),
        }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let (kernel, ty, _) = self.plan(&types)?;
        let [left, right] = args.args.as_slice() else {
            return Err(DataFusionError::Internal("an operator without two sides".to_owned()));
        };
        match kernel {
            Kernel::Integer => integers(self.op, left, right, &ty),
            Kernel::Float => floats(self.op, left, right),
            Kernel::Remainder(scale) => decimals(left, right, args.number_rows, scale, |a, b, s, t| {
                if b == i256::ZERO {
                    return Err(division_by_zero());
                }
                let (a, b) = (shifted(a, i32::from(scale - s))?, shifted(b, i32::from(scale - t))?);
                a.checked_rem(b).ok_or_else(overflow)
            }),
            Kernel::Wide => super::numeric::apply(&args, |a, b| match self.op {
                Operator::Plus => a.add(b),
                Operator::Minus => a.subtract(b),
                Operator::Multiply => a.multiply(b),
                Operator::Divide => a.divide(b),
                _ => a.remainder(b),
            }),
        }
    }
}

fn integers(op: Operator, left: &ColumnarValue, right: &ColumnarValue, ty: &DataType) -> Result<ColumnarValue> {
    let kernel = match op {
        Operator::Plus => numeric::add,
        Operator::Minus => numeric::sub,
        Operator::Multiply => numeric::mul,
        Operator::Divide => numeric::div,
        _ => numeric::rem,
    };
    let name = SqlType::of_arrow(ty).unwrap_or(SqlType::Int8).to_string();
    apply(left, right, kernel).map_err(|error| match error.find_root() {
        DataFusionError::ArrowError(arrow, _) => from_sql(match arrow.as_ref() {
            ArrowError::ArithmeticOverflow(_) => integer_out_of_range(&name),
            other => arrow_error(other),
        }),
        _ => error,
    })
}

fn floats(op: Operator, left: &ColumnarValue, right: &ColumnarValue) -> Result<ColumnarValue> {
    if op == Operator::Divide {
        reject_zero(right)?;
    }
    let kernel = match op {
        Operator::Plus => numeric::add,
        Operator::Minus => numeric::sub,
        Operator::Multiply => numeric::mul,
        _ => numeric::div,
    };
    let result = apply(left, right, kernel)?;
    let scales = matches!(op, Operator::Multiply | Operator::Divide);
    // What is not finite, or zero, is looked at again: there are few of them.
    let rows = match &result {
        ColumnarValue::Array(array) => array.len(),
        ColumnarValue::Scalar(_) => 1,
    };
    let doubles = |value: &ColumnarValue| -> Result<ArrayRef> {
        Ok(arrow::compute::cast(&value.to_array(rows)?, &DataType::Float64)?)
    };
    let computed = result.to_array(rows)?;
    let suspect = match computed.data_type() {
        DataType::Float32 => {
            computed.as_primitive::<Float32Type>().iter().flatten().any(|v| v.is_infinite() || scales && v == 0.0)
        }
        _ => computed.as_primitive::<Float64Type>().iter().flatten().any(|v| v.is_infinite() || scales && v == 0.0),
    };
    if !suspect {
        return Ok(result);
    }
    let (left, right, computed) = (doubles(left)?, doubles(right)?, doubles(&result)?);
    let [left, right, computed] = [&left, &right, &computed].map(|array| array.as_primitive::<Float64Type>());
    for ((l, r), v) in left.iter().zip(right.iter()).zip(computed.iter()) {
        let (Some(l), Some(r), Some(v)) = (l, r, v) else { continue };
        let wrong = if v.is_infinite() && l.is_finite() && r.is_finite() {
            "value out of range: overflow"
        } else if scales && v == 0.0 && l != 0.0 && if op == Operator::Multiply { r != 0.0 } else { r.is_finite() } {
            "value out of range: underflow"
        } else {
            continue;
        };
        return Err(from_sql(SqlError::new(SqlState::NumericValueOutOfRange, wrong)));
    }
    Ok(result)
}

fn reject_zero(divisor: &ColumnarValue) -> Result<()> {
    fn any_zero<T: ArrowPrimitiveType>(array: &ArrayRef) -> bool
    where
        T::Native: Default + PartialEq,
    {
        array.as_primitive_opt::<T>().is_some_and(|a| a.iter().flatten().any(|v| v == T::Native::default()))
    }
    let array = match divisor {
        ColumnarValue::Array(array) => Arc::clone(array),
        ColumnarValue::Scalar(value) => value.to_array()?,
    };
    if any_zero::<Float64Type>(&array) || any_zero::<Float32Type>(&array) {
        return Err(from_sql(division_by_zero()));
    }
    Ok(())
}

fn overflow() -> SqlError {
    SqlError::new(SqlState::NumericValueOutOfRange, "value overflows numeric format")
}

/// `value * 10^places`, rounded half away from zero where places are lost.
fn shifted(value: i256, places: i32) -> std::result::Result<i256, SqlError> {
    let power = |n: u32| i256::from_i128(10).checked_pow(n).ok_or_else(overflow);
    if places >= 0 {
        value.checked_mul(power(places.unsigned_abs())?).ok_or_else(overflow)
    } else {
        rounded(value, power(places.unsigned_abs())?).ok_or_else(overflow)
    }
}

/// `value / divisor`, rounded half away from zero.
fn rounded(value: i256, divisor: i256) -> Option<i256> {
    let quotient = value.checked_div(divisor)?;
    let rest = value.checked_rem(divisor)?.wrapping_abs();
    let divisor_size = divisor.wrapping_abs();
    if rest >= divisor_size.checked_sub(rest)? {
        let away = if value.is_negative() == divisor.is_negative() { i256::ONE } else { i256::MINUS_ONE };
        quotient.checked_add(away)
    } else {
        Some(quotient)
    }
}

/// Applies an operation to two columns of decimals. It is given both numbers and their scales.
fn decimals(
    left: &ColumnarValue,
    right: &ColumnarValue,
    rows: usize,
    scale: i8,
    operation: impl Fn(i256, i256, i8, i8) -> std::result::Result<i256, SqlError>,
) -> Result<ColumnarValue> {
    let scalar = matches!((left, right), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
    let rows = if scalar { 1 } else { rows };
    let (left, right) = (left.to_array(rows)?, right.to_array(rows)?);
    let (a, s) = decimal(&left)?;
    let (b, t) = decimal(&right)?;
    let limit = i256::from_i128(10i128.pow(38));
    let mut result = Decimal128Array::builder(rows);
    for (a, b) in a.iter().zip(b.iter()) {
        let (Some(a), Some(b)) = (a, b) else {
            result.append_null();
            continue;
        };
        let value = operation(i256::from_i128(a), i256::from_i128(b), s, t).map_err(from_sql)?;
        match value.to_i128() {
            Some(small) if value.wrapping_abs() < limit => result.append_value(small),
            _ => return Err(from_sql(overflow())),
        }
    }
    let result: ArrayRef = Arc::new(result.finish().with_precision_and_scale(38, scale)?);
    if scalar {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
    }
    Ok(ColumnarValue::Array(result))
}

fn decimal(array: &ArrayRef) -> Result<(&Decimal128Array, i8)> {
    match array.data_type() {
        DataType::Decimal128(_, scale) => Ok((array.as_primitive::<Decimal128Type>(), *scale)),
        other => Err(DataFusionError::Internal(format!("decimal arithmetic over {other}"))),
    }
}
