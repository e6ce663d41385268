//! Functions of angles, and others of double precision alone: whatever number they are given is that.

use std::f64::consts::PI;
use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use super::function::{Eval, Function, overload};

use SqlType as T;

const RADIANS_PER_DEGREE: f64 = PI / 180.0;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let atan2 =
        overload(&[T::Float8, T::Float8], T::Float8, |a, _| Ok(Value::Float8(double(&a[0]).atan2(double(&a[1])))));
    vec![
        one("sin", |a, _| of_angle(&a[0], f64::sin)),
        one("cos", |a, _| of_angle(&a[0], f64::cos)),
        one("tan", |a, _| of_angle(&a[0], f64::tan)),
        one("cot", |a, _| of_angle(&a[0], |v| 1.0 / v.tan())),
        one("asin", |a, _| within(&a[0], |v| v.abs() <= 1.0, f64::asin)),
        one("acos", |a, _| within(&a[0], |v| v.abs() <= 1.0, f64::acos)),
        one("atan", |a, _| within(&a[0], |_| true, f64::atan)),
        one("sinh", |a, _| within(&a[0], |_| true, f64::sinh)),
        one("cosh", |a, _| within(&a[0], |_| true, f64::cosh)),
        one("tanh", |a, _| within(&a[0], |_| true, f64::tanh)),
        one("asinh", |a, _| within(&a[0], |_| true, f64::asinh)),
        one("acosh", |a, _| within(&a[0], |v| v >= 1.0, f64::acosh)),
        one("atanh", |a, _| within(&a[0], |v| v.abs() <= 1.0, f64::atanh)),
        one("cbrt", |a, _| within(&a[0], |_| true, f64::cbrt)),
        one("radians", |a, _| within(&a[0], |_| true, |v| v * RADIANS_PER_DEGREE)),
        one("degrees", |a, _| {
            let (angle, degrees) = (double(&a[0]), double(&a[0]) / RADIANS_PER_DEGREE);
            match degrees.is_infinite() && angle.is_finite() {
                true => Err(out_of_range("value out of range: overflow")),
                false => Ok(Value::Float8(degrees)),
            }
        }),
        Function::new("atan2", vec![atan2]).udf(),
    ]
}

fn one(name: &str, eval: Eval) -> Arc<ScalarUDF> {
    Function::new(name, vec![overload(&[T::Float8], T::Float8, eval)]).udf()
}

fn double(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// A function of an angle, of which infinity is none.
fn of_angle(angle: &Value, function: fn(f64) -> f64) -> SqlResult<Value> {
    within(angle, f64::is_finite, function)
}

/// A function of numbers for which `is_known` holds, and of NaN.
fn within(number: &Value, is_known: fn(f64) -> bool, function: fn(f64) -> f64) -> SqlResult<Value> {
    let number = double(number);
    if !number.is_nan() && !is_known(number) {
        return Err(out_of_range("input is out of range"));
    }
    Ok(Value::Float8(function(number)))
}

fn out_of_range(text: &str) -> SqlError {
    SqlError::new(SqlState::NumericValueOutOfRange, text)
}
