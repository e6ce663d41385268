//! Mathematical functions where PostgreSQL's types or errors differ from DataFusion's.

use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::ScalarUDF;
use perigee_plan::evaluate::numeric::Decimal;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use super::function::{Call, Function, Parameter, Returns, overload, overload_of};
use crate::exec::error::integer_out_of_range;

use SqlType as T;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        power(),
        Function::new(
            "trim_scale",
            vec![overload_of(vec![Parameter::AnyNumeric], Returns::Scale(same_scale), |a, _| Ok(a[0].clone()))],
        )
        .udf(),
        Function::new(
            "min_scale",
            vec![overload_of(vec![Parameter::AnyNumeric], Returns::Type(T::Int4), |a, _| match a[0] {
                Value::Numeric(mut value, mut scale) => {
                    while scale > 0 && value % 10 == 0 {
                        (value, scale) = (value / 10, scale - 1);
                    }
                    Ok(Value::Int4(i32::from(scale.max(0))))
                }
                _ => Ok(Value::Null),
            })],
        )
        .udf(),
        Function::new(
            "round",
            vec![
                overload_of(vec![Parameter::AnyNumeric], Returns::Type(T::Numeric(Some((38, 0)))), |a, _| {
                    rescaled(&a[0], 0)
                }),
                overload_of(
                    vec![Parameter::AnyNumeric, Parameter::Of(T::Int4)],
                    Returns::Derived(places_of_result),
                    |a, c| places(a, c, |d, n| d.rescale(n)),
                ),
                overload(&[T::Float8], T::Float8, |a, _| float(&a[0], f64::round_ties_even)),
            ],
        )
        .udf(),
        Function::new(
            "trunc",
            vec![
                overload_of(vec![Parameter::AnyNumeric], Returns::Type(T::Numeric(Some((38, 0)))), |a, _| {
                    decimal(&a[0]).and_then(|d| cut(d, 0))?.value()
                }),
                overload_of(
                    vec![Parameter::AnyNumeric, Parameter::Of(T::Int4)],
                    Returns::Derived(places_of_result),
                    |a, c| places(a, c, cut),
                ),
                overload(&[T::Float8], T::Float8, |a, _| float(&a[0], f64::trunc)),
            ],
        )
        .udf(),
        Function::new(
            "ceil",
            vec![
                overload_of(vec![Parameter::AnyNumeric], Returns::Type(T::Numeric(Some((38, 0)))), |a, _| {
                    toward(&a[0], 1)
                }),
                overload(&[T::Float8], T::Float8, |a, _| float(&a[0], f64::ceil)),
            ],
        )
        .with_aliases(&["ceiling"])
        .udf(),
        Function::new(
            "floor",
            vec![
                overload_of(vec![Parameter::AnyNumeric], Returns::Type(T::Numeric(Some((38, 0)))), |a, _| {
                    toward(&a[0], -1)
                }),
                overload(&[T::Float8], T::Float8, |a, _| float(&a[0], f64::floor)),
            ],
        )
        .udf(),
        Function::new(
            "abs",
            vec![
                overload(&[T::Int2], T::Int2, absolute),
                overload(&[T::Int4], T::Int4, absolute),
                overload(&[T::Int8], T::Int8, absolute),
                overload_of(vec![Parameter::AnyNumeric], Returns::Scale(scale_of_first), absolute),
                overload(&[T::Float8], T::Float8, |a, _| float(&a[0], f64::abs)),
                overload(&[T::Float4], T::Float4, |a, _| match a[0] {
                    Value::Float4(v) => Ok(Value::Float4(v.abs())),
                    _ => Err(kind()),
                }),
            ],
        )
        .udf(),
        Function::new(
            "sign",
            vec![
                overload_of(vec![Parameter::AnyNumeric], Returns::Type(T::Numeric(Some((38, 0)))), |a, _| {
                    Ok(Value::Numeric(decimal(&a[0])?.unscaled.signum(), 0))
                }),
                overload(&[T::Float8], T::Float8, |a, _| {
                    float(&a[0], |v| if v == 0.0 || v.is_nan() { v } else { v.signum() })
                }),
            ],
        )
        .udf(),
        Function::new(
            "mod",
            vec![
                overload(&[T::Int4, T::Int4], T::Int4, remainder),
                overload(&[T::Int8, T::Int8], T::Int8, remainder),
                overload_of(
                    vec![Parameter::AnyNumeric, Parameter::AnyNumeric],
                    Returns::Scale(|types| types.iter().map(scale_of).max().unwrap_or(0)),
                    |a, _| decimal(&a[0])?.remainder(decimal(&a[1])?)?.value(),
                ),
            ],
        )
        .udf(),
        Function::new(
            "div",
            vec![overload_of(
                vec![Parameter::AnyNumeric, Parameter::AnyNumeric],
                Returns::Type(T::Numeric(Some((38, 0)))),
                |a, _| {
                    let (a, b) = (decimal(&a[0])?, decimal(&a[1])?);
                    cut(a.divide(b)?, 0)?.value()
                },
            )],
        )
        .udf(),
        Function::new(
            "sqrt",
            vec![overload(&[T::Float8], T::Float8, |a, _| match a[0].as_f64() {
                Some(v) if v < 0.0 => Err(SqlError::new(
                    SqlState::InvalidArgumentForPowerFunction,
                    "cannot take square root of a negative number",
                )),
                v => Ok(Value::Float8(v.unwrap_or(f64::NAN).sqrt())),
            })],
        )
        .udf(),
        Function::new("ln", vec![overload(&[T::Float8], T::Float8, |a, _| logarithm(&a[0], f64::ln))]).udf(),
        Function::new(
            "log",
            vec![
                overload(&[T::Float8], T::Float8, |a, _| logarithm(&a[0], f64::log10)),
                overload(&[T::Float8, T::Float8], T::Float8, |a, _| {
                    let base = a[0].as_f64().unwrap_or(f64::NAN);
                    logarithm(&Value::Float8(base), |v| v)?;
                    logarithm(&a[1], |v| v)?;
                    Ok(Value::Float8(a[1].as_f64().unwrap_or(f64::NAN).log(base)))
                }),
            ],
        )
        .with_aliases(&["log10"])
        .udf(),
        Function::new(
            "exp",
            vec![overload(&[T::Float8], T::Float8, |a, _| {
                let v = a[0].as_f64().unwrap_or(f64::NAN);
                finite(v.exp(), v.is_finite())
            })],
        )
        .udf(),
        Function::new(
            "factorial",
            vec![overload(&[T::Int8], T::Numeric(Some((38, 0))), |a, _| {
                let n = a[0].as_i64().unwrap_or_default();
                if n < 0 {
                    return Err(SqlError::new(
                        SqlState::NumericValueOutOfRange,
                        "factorial of a negative number is undefined",
                    ));
                }
                let product = (1..=i128::from(n)).try_fold(1i128, i128::checked_mul);
                product.map(|p| Value::Numeric(p, 0)).ok_or_else(overflow)
            })],
        )
        .udf(),
        Function::new(
            "width_bucket",
            vec![overload(&[T::Float8, T::Float8, T::Float8, T::Int4], T::Int4, width_bucket)],
        )
        .udf(),
    ]
}

/// `power(a, b)`, also `a ^ b`.
pub(super) fn power() -> Arc<ScalarUDF> {
    static POWER: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let eval = |a: &[Value], _: &Call<'_>| {
            let (base, exponent) = (a[0].as_f64().unwrap_or(f64::NAN), a[1].as_f64().unwrap_or(f64::NAN));
            let error = |text| Err(SqlError::new(SqlState::InvalidArgumentForPowerFunction, text));
            if base == 0.0 && exponent < 0.0 {
                return error("zero raised to a negative power is undefined");
            }
            if base < 0.0 && exponent.fract() != 0.0 {
                return error("a negative number raised to a non-integer power yields a complex result");
            }
            finite(base.powf(exponent), base.is_finite() && exponent.is_finite())
        };
        Function::new("power", vec![overload(&[T::Float8, T::Float8], T::Float8, eval)])
            .with_aliases(&["pow"])
            .operator("^")
            .udf()
    });
    Arc::clone(&POWER)
}

fn kind() -> SqlError {
    SqlError::internal("a value of another type than the function's")
}

fn overflow() -> SqlError {
    SqlError::new(SqlState::NumericValueOutOfRange, "value overflows numeric format")
}

fn finite(value: f64, expected: bool) -> SqlResult<Value> {
    if value.is_infinite() && expected {
        return Err(SqlError::new(SqlState::NumericValueOutOfRange, "value out of range: overflow"));
    }
    Ok(Value::Float8(value))
}

fn float(value: &Value, f: impl Fn(f64) -> f64) -> SqlResult<Value> {
    value.as_f64().map(|v| Value::Float8(f(v))).ok_or_else(kind)
}

fn decimal(value: &Value) -> SqlResult<Decimal> {
    Decimal::of(value).ok_or_else(kind)
}

fn rescaled(value: &Value, places: u32) -> SqlResult<Value> {
    decimal(value)?.rescale(places)?.value()
}

/// Without the digits behind so many places.
fn cut(value: Decimal, places: u32) -> SqlResult<Decimal> {
    if places >= value.scale {
        return value.rescale(places);
    }
    let divisor = 10i128.checked_pow(value.scale - places).ok_or_else(overflow)?;
    Ok(Decimal { unscaled: value.unscaled / divisor, scale: places })
}

fn toward(value: &Value, direction: i128) -> SqlResult<Value> {
    let exact = decimal(value)?;
    let whole = cut(exact, 0)?;
    let rest = exact.compare(whole);
    let beyond = if direction > 0 { rest.is_gt() } else { rest.is_lt() };
    Ok(Value::Numeric(whole.unscaled + if beyond { direction } else { 0 }, 0))
}

fn absolute(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    match &args[0] {
        Value::Int2(v) => v.checked_abs().map(Value::Int2).ok_or_else(|| integer_out_of_range("smallint")),
        Value::Int4(v) => v.checked_abs().map(Value::Int4).ok_or_else(|| integer_out_of_range("integer")),
        Value::Int8(v) => v.checked_abs().map(Value::Int8).ok_or_else(|| integer_out_of_range("bigint")),
        Value::Numeric(v, scale) => Ok(Value::Numeric(v.abs(), *scale)),
        _ => Err(kind()),
    }
}

fn remainder(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    match (&args[0], &args[1]) {
        (_, Value::Int4(0) | Value::Int8(0)) => Err(crate::exec::error::division_by_zero()),
        (Value::Int4(a), Value::Int4(b)) => Ok(Value::Int4(a.wrapping_rem(*b))),
        (Value::Int8(a), Value::Int8(b)) => Ok(Value::Int8(a.wrapping_rem(*b))),
        _ => Err(kind()),
    }
}

fn logarithm(value: &Value, f: impl Fn(f64) -> f64) -> SqlResult<Value> {
    let error = |text| Err(SqlError::new(SqlState::InvalidArgumentForLogarithm, text));
    match value.as_f64() {
        Some(0.0) => error("cannot take logarithm of zero"),
        Some(v) if v < 0.0 => error("cannot take logarithm of a negative number"),
        Some(v) => Ok(Value::Float8(f(v))),
        None => Err(kind()),
    }
}

fn scale_of(ty: &arrow::datatypes::DataType) -> i8 {
    match ty {
        arrow::datatypes::DataType::Decimal128(_, scale) => *scale,
        _ => 0,
    }
}

fn scale_of_first(types: &[arrow::datatypes::DataType]) -> i8 {
    types.first().map_or(0, scale_of)
}

/// The type of a number rounded to so many places: as many where they are a constant.
fn places_of_result(_: &[SqlType], constants: &[Option<Value>]) -> SqlType {
    match constants.get(1) {
        Some(Some(value)) => {
            let places = value.as_i64().unwrap_or(0).clamp(0, 30);
            T::Numeric(Some((38, places as i8)))
        }
        _ => T::Numeric(None),
    }
}

/// Rounds to a count of places that may be negative.
fn places(args: &[Value], _: &Call<'_>, round: fn(Decimal, u32) -> SqlResult<Decimal>) -> SqlResult<Value> {
    let value = decimal(&args[0])?;
    let places = args[1].as_i64().unwrap_or(0).clamp(-38, 30);
    if let Ok(places) = u32::try_from(places) {
        return round(value, places)?.value();
    }
    // Before the point: as if the point stood further left, and then back.
    let shift = places.unsigned_abs() as u32;
    let moved = Decimal { scale: value.scale + shift, ..value };
    let rounded = round(moved, 0)?;
    let factor = 10i128.checked_pow(shift).ok_or_else(overflow)?;
    Ok(Value::Numeric(rounded.unscaled.checked_mul(factor).ok_or_else(overflow)?, 0))
}

fn width_bucket(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let (value, low, high) = (
        args[0].as_f64().unwrap_or(f64::NAN),
        args[1].as_f64().unwrap_or(f64::NAN),
        args[2].as_f64().unwrap_or(f64::NAN),
    );
    let count = args[3].as_i64().unwrap_or_default();
    let invalid = |text: &str| SqlError::new(SqlState::InvalidParameterValue, text);
    if count <= 0 {
        return Err(invalid("count must be greater than zero"));
    }
    if low == high {
        return Err(invalid("lower bound cannot equal upper bound"));
    }
    if [value, low, high].iter().any(|v| v.is_nan()) {
        return Err(invalid("operand, lower bound, and upper bound cannot be NaN"));
    }
    let share = (value - low) / (high - low);
    let bucket = match share {
        s if s < 0.0 => 0,
        s if s >= 1.0 => count + 1,
        s => (s * count as f64) as i64 + 1,
    };
    i32::try_from(bucket).map(Value::Int4).map_err(|_| integer_out_of_range("integer"))
}

/// As many places as the argument has.
fn same_scale(types: &[arrow::datatypes::DataType]) -> i8 {
    match types.first() {
        Some(arrow::datatypes::DataType::Decimal128(_, scale)) => *scale,
        _ => 0,
    }
}
