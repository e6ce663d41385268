//! Operators on numbers and text.

use perigee_types::numeric::Numeric;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use crate::expr::Operator;

/// `left operator right` over values that are not NULL, in the type `ty`.
pub(super) fn apply(left: &Value, operator: Operator, right: &Value, ty: &SqlType) -> SqlResult<Value> {
    match ty {
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 => integers(left, operator, right, ty),
        SqlType::Numeric(_) => decimals(left, operator, right),
        SqlType::Float4 => {
            let value = floats(left, operator, right)?;
            let narrow = value as f32;
            if narrow.is_infinite() && !value.is_infinite() {
                return Err(float_overflow());
            }
            Ok(Value::Float4(narrow))
        }
        SqlType::Float8 => floats(left, operator, right).map(Value::Float8),
        _ if operator == Operator::Concat => concat(left, right),
        _ => Err(undefined(operator, ty)),
    }
}

/// `-value`
pub(super) fn negate(value: Value) -> SqlResult<Value> {
    Ok(match value {
        Value::Null => Value::Null,
        Value::Int2(v) => Value::Int2(v.checked_neg().ok_or_else(|| out_of_range(&SqlType::Int2))?),
        Value::Int4(v) => Value::Int4(v.checked_neg().ok_or_else(|| out_of_range(&SqlType::Int4))?),
        Value::Int8(v) => Value::Int8(v.checked_neg().ok_or_else(|| out_of_range(&SqlType::Int8))?),
        Value::Float4(v) => Value::Float4(-v),
        Value::Float8(v) => Value::Float8(-v),
        Value::Numeric(v, scale) => Value::Numeric(-v, scale),
        Value::Wide(number) => number.negate().into_value(),
        _ => return Err(SqlError::new(SqlState::UndefinedFunction, "operator does not exist: - of this type")),
    })
}

fn integers(left: &Value, operator: Operator, right: &Value, ty: &SqlType) -> SqlResult<Value> {
    let (Some(a), Some(b)) = (left.as_i64(), right.as_i64()) else { return Err(undefined(operator, ty)) };
    let result = match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide | Operator::Modulo if b == 0 => return Err(division_by_zero()),
        Operator::Divide => a.checked_div(b),
        // PostgreSQL gives 0 for the one remainder that overflows.
        Operator::Modulo => Some(a.checked_rem(b).unwrap_or(0)),
        _ => return Err(undefined(operator, ty)),
    };
    integer(result.ok_or_else(|| out_of_range(ty))?, ty)
}

/// An integer of a type.
pub(super) fn integer(value: i64, ty: &SqlType) -> SqlResult<Value> {
    match ty {
        SqlType::Int2 => i16::try_from(value).map(Value::Int2),
        SqlType::Int4 => i32::try_from(value).map(Value::Int4),
        _ => Ok(Value::Int8(value)),
    }
    .map_err(|_| out_of_range(ty))
}

fn decimals(left: &Value, operator: Operator, right: &Value) -> SqlResult<Value> {
    let (Some(a), Some(b)) = (Numeric::of(left), Numeric::of(right)) else {
        return Err(undefined(operator, &SqlType::Numeric(None)));
    };
    Ok(match operator {
        Operator::Add => a.add(&b)?,
        Operator::Subtract => a.subtract(&b)?,
        Operator::Multiply => a.multiply(&b)?,
        Operator::Divide => a.divide(&b)?,
        Operator::Modulo => a.remainder(&b)?,
        _ => return Err(undefined(operator, &SqlType::Numeric(None))),
    }
    .into_value())
}

fn floats(left: &Value, operator: Operator, right: &Value) -> SqlResult<f64> {
    let (Some(a), Some(b)) = (left.as_f64(), right.as_f64()) else {
        return Err(undefined(operator, &SqlType::Float8));
    };
    let result = match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide if b == 0.0 => return Err(division_by_zero()),
        Operator::Divide => a / b,
        _ => return Err(undefined(operator, &SqlType::Float8)),
    };
    if result.is_infinite() && a.is_finite() && b.is_finite() {
        return Err(float_overflow());
    }
    if result == 0.0
        && a != 0.0
        && b.is_finite()
        && b != 0.0
        && matches!(operator, Operator::Multiply | Operator::Divide)
    {
        return Err(SqlError::new(SqlState::NumericValueOutOfRange, "value out of range: underflow"));
    }
    Ok(result)
}

fn division_by_zero() -> SqlError {
    SqlError::new(SqlState::DivisionByZero, "division by zero")
}

fn concat(left: &Value, right: &Value) -> SqlResult<Value> {
    match (left, right) {
        (Value::Text(a), Value::Text(b)) => Ok(Value::Text(format!("{a}{b}"))),
        (Value::Bytea(a), Value::Bytea(b)) => Ok(Value::Bytea([a.as_slice(), b].concat())),
        _ => Err(undefined(Operator::Concat, &SqlType::Text)),
    }
}

/// `22003`, as PostgreSQL words it for a type.
pub(super) fn out_of_range(ty: &SqlType) -> SqlError {
    SqlError::new(SqlState::NumericValueOutOfRange, format!("{ty} out of range"))
}

fn float_overflow() -> SqlError {
    SqlError::new(SqlState::NumericValueOutOfRange, "value out of range: overflow")
}

fn undefined(operator: Operator, ty: &SqlType) -> SqlError {
    SqlError::new(SqlState::UndefinedFunction, format!("operator does not exist: {ty} {operator} {ty}"))
}
