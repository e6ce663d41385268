//! Mathematical functions where PostgreSQL's types or errors differ from DataFusion's.
//!
//! Of a function that takes numeric and double precision, integers take the latter, as PostgreSQL prefers it; for that
//! stands the overload with bigint.

use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::ScalarUDF;
use perigee_types::numeric::Numeric;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use super::function::{Call, Eval, Function, Overload, Parameter, Returns, overload, overload_of};
use crate::exec::error::integer_out_of_range;

use SqlType as T;

/// `~x`
pub(crate) const BIT_NOT: &str = "__bit_not";

/// A signature of exact numbers that gives a numeric.
fn exact(count: usize, eval: Eval) -> Overload {
    overload_of(vec![Parameter::AnyNumeric; count], Returns::Type(T::Numeric(None)), eval)
}

/// Signatures of double precision and of bigint in its place.
fn floats(name: &str, mut overloads: Vec<Overload>, eval: Eval) -> Function {
    overloads.push(overload(&[T::Int8], T::Float8, eval));
    overloads.push(overload(&[T::Float8], T::Float8, eval));
    Function::new(name, overloads)
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let with_places = |eval: Eval| {
        overload_of(vec![Parameter::AnyNumeric, Parameter::Of(T::Int4)], Returns::Type(T::Numeric(None)), eval)
    };
    vec![
        power(),
        Function::new("trim_scale", vec![exact(1, |a, _| one(a, |n| Ok(n.trim_scale())))]).udf(),
        Function::new("min_scale", vec![scale_of(|a, _| places_of(a, Numeric::min_scale))]).udf(),
        Function::new("scale", vec![scale_of(|a, _| places_of(a, |n| n.scale().unwrap_or(0)))]).udf(),
        floats(
            "round",
            vec![exact(1, |a, _| one(a, |n| Ok(n.round(0)))), with_places(|a, _| one(a, |n| Ok(n.round(places(a)))))],
            |a, _| float(&a[0], f64::round_ties_even),
        )
        .udf(),
        floats(
            "trunc",
            vec![
                exact(1, |a, _| one(a, |n| Ok(n.truncate(0)))),
                with_places(|a, _| one(a, |n| Ok(n.truncate(places(a))))),
            ],
            |a, _| float(&a[0], f64::trunc),
        )
        .udf(),
        floats("ceil", vec![exact(1, |a, _| one(a, |n| Ok(n.toward(1))))], |a, _| float(&a[0], f64::ceil))
            .with_aliases(&["ceiling"])
            .udf(),
        floats("floor", vec![exact(1, |a, _| one(a, |n| Ok(n.toward(-1))))], |a, _| float(&a[0], f64::floor)).udf(),
        Function::new(
            "abs",
            vec![
                overload(&[T::Int2], T::Int2, absolute),
                overload(&[T::Int4], T::Int4, absolute),
                overload(&[T::Int8], T::Int8, absolute),
                exact(1, |a, _| one(a, |n| Ok(n.abs()))),
                overload(&[T::Float8], T::Float8, |a, _| float(&a[0], f64::abs)),
                overload(&[T::Float4], T::Float4, |a, _| match a[0] {
                    Value::Float4(v) => Ok(Value::Float4(v.abs())),
                    _ => Err(kind()),
                }),
            ],
        )
        .udf(),
        floats(
            "sign",
            vec![exact(1, |a, _| {
                one(a, |n| Ok(if n.is_nan() { Numeric::NaN } else { Numeric::integer(i64::from(n.signum())) }))
            })],
            |a, _| float(&a[0], |v| if v == 0.0 || v.is_nan() { v } else { v.signum() }),
        )
        .udf(),
        Function::new(
            "mod",
            vec![
                overload(&[T::Int2, T::Int2], T::Int2, remainder),
                overload(&[T::Int4, T::Int4], T::Int4, remainder),
                overload(&[T::Int8, T::Int8], T::Int8, remainder),
                exact(2, |a, _| two(a, Numeric::remainder)),
            ],
        )
        .udf(),
        Function::new(
            BIT_NOT,
            vec![
                overload(&[T::Int2], T::Int2, complement),
                overload(&[T::Int4], T::Int4, complement),
                overload(&[T::Int8], T::Int8, complement),
            ],
        )
        .operator("~")
        .udf(),
        Function::new("div", vec![exact(2, |a, _| two(a, Numeric::divide_whole))]).udf(),
        Function::new(
            "gcd",
            vec![
                overload(&[T::Int4, T::Int4], T::Int4, whole_gcd),
                overload(&[T::Int8, T::Int8], T::Int8, whole_gcd),
                exact(2, |a, _| two(a, |a, b| Ok(a.gcd(b)))),
            ],
        )
        .udf(),
        Function::new(
            "lcm",
            vec![
                overload(&[T::Int4, T::Int4], T::Int4, whole_lcm),
                overload(&[T::Int8, T::Int8], T::Int8, whole_lcm),
                exact(2, |a, _| two(a, Numeric::lcm)),
            ],
        )
        .udf(),
        floats("sqrt", vec![exact(1, |a, _| one(a, Numeric::sqrt))], |a, _| match a[0].as_f64() {
            Some(v) if v < 0.0 => Err(SqlError::new(
                SqlState::InvalidArgumentForPowerFunction,
                "cannot take square root of a negative number",
            )),
            v => Ok(Value::Float8(v.unwrap_or(f64::NAN).sqrt())),
        })
        .udf(),
        floats("ln", vec![exact(1, |a, _| one(a, Numeric::ln))], |a, _| logarithm(&a[0], f64::ln)).udf(),
        floats(
            "log",
            vec![
                exact(1, |a, _| one(a, |n| n.log(&Numeric::integer(10)))),
                exact(2, |a, _| two(a, |base, n| n.log(base))),
            ],
            |a, _| logarithm(&a[0], f64::log10),
        )
        .with_aliases(&["log10"])
        .udf(),
        floats("exp", vec![exact(1, |a, _| one(a, Numeric::exp))], |a, _| {
            let v = a[0].as_f64().unwrap_or(f64::NAN);
            if v.is_finite() && v.exp() == 0.0 {
                return Err(underflow());
            }
            finite(v.exp(), v.is_finite())
        })
        .udf(),
        Function::new(
            "factorial",
            vec![overload(&[T::Int8], T::Numeric(None), |a, _| {
                Numeric::factorial(a[0].as_i64().unwrap_or_default()).map(Numeric::into_value)
            })],
        )
        .udf(),
        Function::new(
            "width_bucket",
            vec![
                overload_of(
                    vec![Parameter::AnyNumeric, Parameter::AnyNumeric, Parameter::AnyNumeric, Parameter::Of(T::Int4)],
                    Returns::Type(T::Int4),
                    |a, _| {
                        let count = a[3].as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or_default();
                        number(&a[0])?.width_bucket(&number(&a[1])?, &number(&a[2])?, count).map(Value::Int4)
                    },
                ),
                overload(&[T::Float8, T::Float8, T::Float8, T::Int4], T::Int4, width_bucket),
            ],
        )
        .udf(),
    ]
}

/// `power(a, b)`, also `a ^ b`.
pub(super) fn power() -> Arc<ScalarUDF> {
    static POWER: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let eval: Eval = |a, _| {
            let (base, exponent) = (a[0].as_f64().unwrap_or(f64::NAN), a[1].as_f64().unwrap_or(f64::NAN));
            let error = |text| Err(SqlError::new(SqlState::InvalidArgumentForPowerFunction, text));
            if base == 0.0 && exponent < 0.0 {
                return error("zero raised to a negative power is undefined");
            }
            if base < 0.0 && exponent.is_finite() && exponent.fract() != 0.0 {
                return error("a negative number raised to a non-integer power yields a complex result");
            }
            let result = base.powf(exponent);
            if result == 0.0 && base != 0.0 && base.is_finite() && exponent.is_finite() {
                return Err(underflow());
            }
            finite(result, base.is_finite() && exponent.is_finite())
        };
        let overloads = vec![
            exact(2, |a, _| two(a, Numeric::power)),
            overload(&[T::Int8, T::Int8], T::Float8, eval),
            overload(&[T::Float8, T::Float8], T::Float8, eval),
        ];
        Function::new("power", overloads).with_aliases(&["pow"]).operator("^").udf()
    });
    Arc::clone(&POWER)
}

fn scale_of(eval: Eval) -> Overload {
    overload_of(vec![Parameter::AnyNumeric], Returns::Type(T::Int4), eval)
}

fn places_of(args: &[Value], of: impl Fn(&Numeric) -> u32) -> SqlResult<Value> {
    let n = number(&args[0])?;
    Ok(if n.is_finite() { Value::Int4(of(&n) as i32) } else { Value::Null })
}

fn number(value: &Value) -> SqlResult<Numeric> {
    Numeric::of(value).ok_or_else(kind)
}

fn one(args: &[Value], f: impl Fn(&Numeric) -> SqlResult<Numeric>) -> SqlResult<Value> {
    f(&number(&args[0])?)?.checked().map(Numeric::into_value)
}

fn two(args: &[Value], f: impl Fn(&Numeric, &Numeric) -> SqlResult<Numeric>) -> SqlResult<Value> {
    f(&number(&args[0])?, &number(&args[1])?).map(Numeric::into_value)
}

/// The count of places that a call names.
fn places(args: &[Value]) -> i32 {
    // Beyond this the function itself stops.
    args[1].as_i64().unwrap_or(0).clamp(-2_000, 2_000) as i32
}

fn kind() -> SqlError {
    SqlError::internal("a value of another type than the function's")
}

fn underflow() -> SqlError {
    SqlError::new(SqlState::NumericValueOutOfRange, "value out of range: underflow")
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

fn absolute(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    match &args[0] {
        Value::Int2(v) => v.checked_abs().map(Value::Int2).ok_or_else(|| integer_out_of_range("smallint")),
        Value::Int4(v) => v.checked_abs().map(Value::Int4).ok_or_else(|| integer_out_of_range("integer")),
        Value::Int8(v) => v.checked_abs().map(Value::Int8).ok_or_else(|| integer_out_of_range("bigint")),
        _ => Err(kind()),
    }
}

fn complement(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    match &args[0] {
        Value::Int2(v) => Ok(Value::Int2(!v)),
        Value::Int4(v) => Ok(Value::Int4(!v)),
        Value::Int8(v) => Ok(Value::Int8(!v)),
        _ => Err(kind()),
    }
}

fn remainder(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    match (&args[0], &args[1]) {
        (_, Value::Int2(0) | Value::Int4(0) | Value::Int8(0)) => Err(crate::exec::error::division_by_zero()),
        (Value::Int2(a), Value::Int2(b)) => Ok(Value::Int2(a.wrapping_rem(*b))),
        (Value::Int4(a), Value::Int4(b)) => Ok(Value::Int4(a.wrapping_rem(*b))),
        (Value::Int8(a), Value::Int8(b)) => Ok(Value::Int8(a.wrapping_rem(*b))),
        _ => Err(kind()),
    }
}

fn gcd_of(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// An integer of the arguments' type.
fn like(args: &[Value], v: Option<u64>) -> SqlResult<Value> {
    let small = matches!(args[0], Value::Int4(_));
    let range = || integer_out_of_range(if small { "integer" } else { "bigint" });
    let v = v.and_then(|v| i64::try_from(v).ok()).ok_or_else(range)?;
    if small { i32::try_from(v).map(Value::Int4).map_err(|_| range()) } else { Ok(Value::Int8(v)) }
}

fn whole(args: &[Value]) -> (u64, u64) {
    let at = |n: usize| args[n].as_i64().unwrap_or_default().unsigned_abs();
    (at(0), at(1))
}

fn whole_gcd(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let (a, b) = whole(args);
    like(args, Some(gcd_of(a, b)))
}

fn whole_lcm(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let (a, b) = whole(args);
    like(args, if a == 0 || b == 0 { Some(0) } else { (a / gcd_of(a, b)).checked_mul(b) })
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

fn width_bucket(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let (value, low, high) = (
        args[0].as_f64().unwrap_or(f64::NAN),
        args[1].as_f64().unwrap_or(f64::NAN),
        args[2].as_f64().unwrap_or(f64::NAN),
    );
    let count = args[3].as_i64().unwrap_or_default();
    let invalid = |text: &str| SqlError::new(SqlState::InvalidArgumentForWidthBucket, text);
    if count <= 0 {
        return Err(invalid("count must be greater than zero"));
    }
    if low == high {
        return Err(invalid("lower bound cannot equal upper bound"));
    }
    if [value, low, high].iter().any(|v| v.is_nan()) {
        return Err(invalid("operand, lower bound, and upper bound cannot be NaN"));
    }
    if !low.is_finite() || !high.is_finite() {
        return Err(invalid("lower and upper bounds must be finite"));
    }
    let share = (value - low) / (high - low);
    let bucket = match share {
        s if s < 0.0 => 0,
        s if s >= 1.0 => count + 1,
        s => (s * count as f64) as i64 + 1,
    };
    i32::try_from(bucket).map(Value::Int4).map_err(|_| integer_out_of_range("integer"))
}
