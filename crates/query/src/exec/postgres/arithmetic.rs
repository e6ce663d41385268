//! The hot operators on numbers, as kernels: checked integers, and the decimals that DataFusion would round or overflow.

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

use super::cast::{literal, numeric_field};
use crate::exec::error::{arrow_error, division_by_zero, from_sql, integer_out_of_range};

pub(super) use perigee_types::sql_type::QUOTIENT_SCALE;

/// Decimal places that a product keeps; its operands may bring more.
const PRODUCT_SCALE_MAX: i8 = 20;

/// Both sides' common type and what to do, for numbers; `None` where DataFusion's own operator does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kernel {
    /// Both sides are this integer type.
    Integer,
    /// Both sides are floats; division by zero, overflow and underflow are errors.
    Float,
    /// Both sides are decimals; the result has this scale.
    Quotient(i8),
    /// Both sides are decimals; the result has this scale.
    Product(i8),
    /// Remainder of decimals.
    Remainder(i8),
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
        let sides = (DataType::Decimal128(p, s), DataType::Decimal128(q, t));
        let kernel = match op {
            Operator::Divide => Kernel::Quotient(s.max(t).max(QUOTIENT_SCALE)),
            Operator::Modulo => Kernel::Remainder(s.max(t)),
            // i128 holds the product of what fits 38 digits together; DataFusion's kernel is the fast one.
            Operator::Multiply if s + t > PRODUCT_SCALE_MAX => Kernel::Product(PRODUCT_SCALE_MAX.max(s).max(t)),
            _ => return None,
        };
        return Some((kernel, sides.0, sides.1));
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
    let udf = ScalarUDF::new_from_impl(Arithmetic::new(op));
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(udf), vec![left, right])))
}

/// The quotient of two literals, one of them with a point, to the places that PostgreSQL shows: they depend on the
/// values, so only constants can have them.
pub(super) fn constant_quotient(left: &ScalarValue, right: &ScalarValue) -> Result<Option<Expr>> {
    let decimal = |value: &ScalarValue| match value {
        ScalarValue::Int32(Some(v)) => Some((i128::from(*v), 0, false)),
        ScalarValue::Int64(Some(v)) => Some((i128::from(*v), 0, false)),
        ScalarValue::Decimal128(Some(v), _, scale) => Some((*v, *scale, true)),
        _ => None,
    };
    let (Some((a, s, a_exact)), Some((b, t, b_exact))) = (decimal(left), decimal(right)) else { return Ok(None) };
    if !a_exact && !b_exact {
        return Ok(None);
    }
    if b == 0 {
        return Err(from_sql(division_by_zero()));
    }
    let scale = quotient_scale((a, s), (b, t));
    let numerator = shifted(i256::from_i128(a), i32::from(scale) + i32::from(t) - i32::from(s));
    let quotient = numerator.ok().and_then(|n| rounded(n, i256::from_i128(b))).and_then(i256::to_i128);
    Ok(quotient.filter(|q| q.unsigned_abs() < 10u128.pow(38)).map(|quotient| {
        let field = SqlType::Numeric(Some((38, scale))).field("numeric", false);
        literal(ScalarValue::Decimal128(Some(quotient), 38, scale), &field)
    }))
}

/// Places of a quotient in PostgreSQL: 16 significant digits, counted in groups of four.
fn quotient_scale(left: (i128, i8), right: (i128, i8)) -> i8 {
    // The weight and the value of a number's first group of four digits.
    let first_group = |(value, scale): (i128, i8)| {
        let mut groups = Vec::new();
        let scale = u32::from(scale.unsigned_abs());
        let padding = (4 - scale % 4) % 4;
        let mut rest = value.unsigned_abs().saturating_mul(10u128.pow(padding));
        while rest > 0 {
            groups.push((rest % 10_000) as i32);
            rest /= 10_000;
        }
        let behind = ((scale + padding) / 4) as i32;
        (groups.len() as i32 - 1 - behind, groups.last().copied().unwrap_or(0))
    };
    let ((weight, first), (other_weight, other_first)) = (first_group(left), first_group(right));
    let weight = weight - other_weight - i32::from(first <= other_first);
    let scale = (16 - 4 * weight).clamp(0, 30) as i8;
    scale.max(left.1).max(right.1)
}

/// One operator on numbers.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Arithmetic {
    op: Operator,
    signature: Signature,
}

impl Arithmetic {
    fn new(op: Operator) -> Self {
        Self { op, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn plan(&self, types: &[DataType]) -> Result<(Kernel, DataType, DataType)> {
        match types {
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
            (Kernel::Quotient(scale) | Kernel::Product(scale) | Kernel::Remainder(scale), ..) => {
                DataType::Decimal128(38, scale)
            }
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
            Kernel::Quotient(scale) => decimals(left, right, args.number_rows, scale, |a, b, s, t| {
                if b == i256::ZERO {
                    return Err(division_by_zero());
                }
                rounded(shifted(a, i32::from(scale) + i32::from(t) - i32::from(s))?, b).ok_or_else(overflow)
            }),
            Kernel::Product(scale) => decimals(left, right, args.number_rows, scale, |a, b, s, t| {
                let product = a.checked_mul(b).ok_or_else(overflow)?;
                shifted(product, i32::from(scale) - i32::from(s) - i32::from(t))
            }),
            Kernel::Remainder(scale) => decimals(left, right, args.number_rows, scale, |a, b, s, t| {
                if b == i256::ZERO {
                    return Err(division_by_zero());
                }
                let (a, b) = (shifted(a, i32::from(scale - s))?, shifted(b, i32::from(scale - t))?);
                a.checked_rem(b).ok_or_else(overflow)
            }),
        }
    }
}

/// The quotient of a sum and a count, both decimals; NULL where the count is zero or the sum NULL.
pub(super) fn quotient(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let [sum, count] = args.args.as_slice() else {
        return Err(DataFusionError::Internal("a quotient without two sides".to_owned()));
    };
    let DataType::Decimal128(_, scale) = args.return_field.data_type() else {
        return Err(DataFusionError::Internal("a quotient that is no decimal".to_owned()));
    };
    decimals(sum, count, args.number_rows, *scale, |a, b, s, t| {
        if b == i256::ZERO {
            // A sum of no rows is NULL, so this is not reached for averages.
            return Err(division_by_zero());
        }
        rounded(shifted(a, i32::from(*scale) + i32::from(t) - i32::from(s))?, b).ok_or_else(overflow)
    })
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
