//! Assignment to elements and slices: `UPDATE t SET a[1] = x, j['k'] = y, a[2:3] = z`.
//!
//! The parser writes `a = __assign_element(a, x, 1)` and `a = __assign_slice(a, z, 2, 3)`.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_plan::evaluate::cast as cast_value;
use perigee_types::text::OutputSettings;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

use super::function::{Call, Function, Parameter, Returns, overload_of};

use SqlType as T;

/// How far behind an array's end a place may lie.
const PLACES_MAX: i64 = 1 << 20;
/// A slice of an array: its arguments are the array and two bounds for each dimension.
pub(crate) const SLICE: &str = "__array_slice";
/// What stands in it has all its subscripts: analysis makes NULL of it where they give an array.
pub(crate) const SUBSCRIPTED: &str = "__subscripted";
/// A bound of a slice that is left out.
pub(crate) const LEFT_OUT: &str = "missing";

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let container: fn(&[T], &[Option<Value>]) -> T = |types, _| types.first().cloned().unwrap_or(T::Text);
    let of = |name: &str, eval| {
        let overload = overload_of(vec![Parameter::Any; 3], Returns::Derived(container), eval);
        Function::new(name, vec![overload.variadic().called_on_null()]).udf()
    };
    let marked = overload_of(vec![Parameter::Any], Returns::Derived(container), |args, _| Ok(args[0].clone()));
    vec![
        of("__assign_element", element),
        of("__assign_slice", slice),
        Function::new(
            SLICE,
            vec![overload_of(vec![Parameter::Any; 3], Returns::Derived(container), sliced).variadic()],
        )
        .udf(),
        Function::new(SUBSCRIPTED, vec![marked]).udf(),
    ]
}

/// `array[lower:upper][…]`: of dimensions without bounds all.
fn sliced(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let (Value::Array(elements), Some((T::Array(_), _))) = (&args[0], call.types.split_first()) else {
        return Err(not_subscriptable(&call.types[0]));
    };
    let mut bounds = Vec::with_capacity(args.len() / 2);
    for pair in args[1..].chunks(2) {
        let number = |value: &Value| match value {
            Value::Text(text) if text == LEFT_OUT => Ok(None),
            Value::Text(text) => perigee_types::text::number::parse_int4(text).map(|number| Some(i64::from(number))),
            other => {
                let wrong = || SqlError::new(SqlState::DatatypeMismatch, "array subscript must have type integer");
                other.as_i64().map(Some).ok_or_else(wrong)
            }
        };
        let [lower, upper] = pair else { return Err(SqlError::internal("a slice without a bound")) };
        bounds.push((number(lower)?, number(upper)?));
    }
    Ok(Value::Array(within(elements, &bounds).unwrap_or_default()))
}

/// The part of an array between bounds, dimension by dimension; `None` where there is nothing.
fn within(elements: &[Value], bounds: &[(Option<i64>, Option<i64>)]) -> Option<Vec<Value>> {
    let Some(((lower, upper), inner)) = bounds.split_first() else { return Some(elements.to_vec()) };
    let length = i64::try_from(elements.len()).unwrap_or(i64::MAX);
    let (from, to) = (lower.unwrap_or(1).max(1), upper.unwrap_or(length).min(length));
    if from > to {
        return None;
    }
    let part = elements.get(usize::try_from(from - 1).ok()?..usize::try_from(to).ok()?)?;
    if inner.is_empty() {
        return Some(part.to_vec());
    }
    let inner = part.iter().map(|element| match element {
        Value::Array(elements) => within(elements, inner).map(Value::Array),
        _ => None,
    });
    inner.collect()
}

/// `container[subscripts] = value`
fn element(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let (container, value, subscripts) = (&args[0], &args[1], &args[2..]);
    match (&call.types[0], subscripts) {
        (T::Jsonb, path) => super::json::assigned(container, value, path),
        (T::Array(of), [place]) => {
            let value = converted(value, &call.types[1], of)?;
            let mut elements = elements(container);
            let at = bound(place, elements.len())?;
            if at >= elements.len() {
                elements.resize(at, Value::Null);
                elements.push(value);
            } else {
                elements[at] = value;
            }
            Ok(Value::Array(elements))
        }
        (T::Array(_), _) => Err(SqlError::unsupported("an array of several dimensions")),
        (other, _) => Err(not_subscriptable(other)),
    }
}

/// `array[lower:upper] = value`
fn slice(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let array = &call.types[0];
    if !matches!(array, T::Array(_)) {
        return Err(not_subscriptable(array));
    }
    let mut elements = elements(&args[0]);
    let Value::Array(values) = converted(&args[1], &call.types[1], array)? else {
        // As in PostgreSQL, NULL leaves the array as it is.
        return Ok(args[0].clone());
    };
    let left_out = |at: usize| args.get(at).and_then(Value::as_str) == Some(LEFT_OUT);
    if args[0].is_null() && (left_out(2) || left_out(3)) {
        return Err(SqlError::new(SqlState::ArraySubscriptError, "array slice subscript must provide both boundaries")
            .detail("When assigning to a slice of an empty array value, slice boundaries must be fully specified."));
    }
    let from = if left_out(2) { 0 } else { bound(&args[2], elements.len())? };
    let behind = if left_out(3) { elements.len() } else { bound(&args[3], elements.len())? + 1 };
    if behind <= from {
        return Err(SqlError::new(SqlState::ArraySubscriptError, "upper bound cannot be less than lower bound"));
    }
    if values.len() < behind - from {
        return Err(SqlError::new(SqlState::ArraySubscriptError, "source array too small"));
    }
    if elements.len() < behind {
        elements.resize(behind, Value::Null);
    }
    for (place, value) in elements[from..behind].iter_mut().zip(values) {
        *place = value;
    }
    Ok(Value::Array(elements))
}

fn elements(container: &Value) -> Vec<Value> {
    match container {
        Value::Array(elements) => elements.clone(),
        _ => Vec::new(),
    }
}

/// A subscript as a place from zero.
fn bound(subscript: &Value, length: usize) -> SqlResult<usize> {
    let place = match subscript {
        Value::Null => {
            return Err(SqlError::new(SqlState::NullValueNotAllowed, "array subscript in assignment must not be null"));
        }
        Value::Text(text) => i64::from(perigee_types::text::number::parse_int4(text)?),
        other => other
            .as_i64()
            .ok_or_else(|| SqlError::new(SqlState::DatatypeMismatch, "array subscript must have type integer"))?,
    };
    if place < 1 {
        return Err(SqlError::unsupported("an array with a lower bound other than 1"));
    }
    if place > length as i64 + PLACES_MAX {
        return Err(SqlError::new(SqlState::ProgramLimitExceeded, "array size exceeds the maximum allowed"));
    }
    Ok(usize::try_from(place - 1).unwrap_or(0))
}

/// A value as an assignment takes it.
fn converted(value: &Value, from: &T, to: &T) -> SqlResult<Value> {
    let from = if matches!(value, Value::Text(_)) && from.is_string() { &T::Unknown } else { from };
    cast_value(value.clone(), from, to, false, OutputSettings::DEFAULT).map_err(|error| match error.state() {
        SqlState::CannotCoerce => SqlError::new(
            SqlState::DatatypeMismatch,
            format!("subscripted assignment requires type {to} but expression is of type {from}"),
        )
        .hint("You will need to rewrite or cast the expression."),
        _ => error,
    })
}

fn not_subscriptable(ty: &T) -> SqlError {
    SqlError::new(
        SqlState::DatatypeMismatch,
        format!("cannot subscript type {ty} because it does not support subscripting"),
    )
}
