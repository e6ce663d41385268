//! Ordered-set aggregates over what `array_agg(x ORDER BY x)` collects: the AST's rewrite makes them calls of these.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::{Interval, SqlError, SqlResult, SqlState, SqlType, Value};

use super::function::{Call, Function, Parameter, Returns, overload_of};

use SqlType as T;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let two = || vec![Parameter::Any, Parameter::Any];
    vec![
        Function::new(
            "__percentile_disc",
            vec![overload_of(two(), Returns::Derived(|types, _| for_fractions(types, element(types))), discrete)],
        )
        .udf(),
        Function::new(
            "__percentile_cont",
            vec![overload_of(two(), Returns::Derived(|types, _| for_fractions(types, between(types))), continuous)],
        )
        .udf(),
        Function::new(
            "__mode",
            vec![overload_of(vec![Parameter::Any], Returns::Derived(|types, _| element(types)), mode)],
        )
        .udf(),
    ]
}

/// The type of what was collected.
fn element(types: &[T]) -> T {
    match types.first() {
        Some(T::Array(of)) => of.as_ref().clone(),
        _ => T::Text,
    }
}

/// The type of a value between two.
fn between(types: &[T]) -> T {
    if element(types) == T::Interval { T::Interval } else { T::Float8 }
}

/// One value, or one for each fraction of an array.
fn for_fractions(types: &[T], of: T) -> T {
    match types.get(1) {
        Some(T::Array(_)) => T::Array(Box::new(of)),
        _ => of,
    }
}

fn collected(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(elements) => elements.iter().filter(|e| !e.is_null()).cloned().collect(),
        _ => Vec::new(),
    }
}

/// Applies `pick` to a fraction, or to each of an array.
fn each_fraction(
    fractions: &Value,
    values: &[Value],
    pick: impl Fn(f64, &[Value]) -> SqlResult<Value>,
) -> SqlResult<Value> {
    let one = |fraction: &Value| match fraction.as_f64() {
        _ if values.is_empty() => Ok(Value::Null),
        None => Ok(Value::Null),
        Some(p) if (0.0..=1.0).contains(&p) => pick(p, values),
        Some(p) => {
            Err(SqlError::new(SqlState::NumericValueOutOfRange, format!("percentile value {p} is not between 0 and 1")))
        }
    };
    match fractions {
        Value::Array(_) if values.is_empty() => Ok(Value::Null),
        Value::Array(fractions) => fractions.iter().map(one).collect::<SqlResult<_>>().map(Value::Array),
        fraction => one(fraction),
    }
}

/// The first value that at least this part of all is not behind.
fn discrete(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    each_fraction(&args[1], &collected(&args[0]), |p, values| {
        let place = (p * values.len() as f64).ceil() as usize;
        Ok(values[place.saturating_sub(1).min(values.len() - 1)].clone())
    })
}

/// The value at this part of all, between two neighbours where it is none of them.
fn continuous(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    each_fraction(&args[1], &collected(&args[0]), |p, values| {
        let place = p * (values.len() - 1) as f64;
        let (below, above) = (&values[place.floor() as usize], &values[place.ceil() as usize]);
        let part = place - place.floor();
        match (below, above) {
            (Value::Interval(a), Value::Interval(b)) => Ok(Value::Interval(interval_between(*a, *b, part))),
            (a, b) => match (a.as_f64(), b.as_f64()) {
                (Some(a), Some(_)) if part == 0.0 => Ok(Value::Float8(a)),
                (Some(a), Some(b)) => Ok(Value::Float8(a + part * (b - a))),
                _ => Err(SqlError::new(
                    SqlState::UndefinedFunction,
                    "function percentile_cont does not exist for this type",
                )),
            },
        }
    })
}

fn interval_between(a: Interval, b: Interval, part: f64) -> Interval {
    let day = 86_400_000_000_f64;
    let months = f64::from(b.months - a.months) * part;
    let days = f64::from(b.days - a.days) * part + months.fract() * 30.0;
    let micros = (b.micros - a.micros) as f64 * part + days.fract() * day;
    Interval {
        months: a.months + months.trunc() as i32,
        days: a.days + days.trunc() as i32,
        micros: a.micros + micros.round() as i64,
    }
}

/// The most frequent value, the first of equally frequent ones. Equal values stand together.
fn mode(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let values = collected(&args[0]);
    let (mut best, mut best_count) = (Value::Null, 0_usize);
    for run in values.chunk_by(|a, b| a == b) {
        if run.len() > best_count {
            (best, best_count) = (run[0].clone(), run.len());
        }
    }
    Ok(best)
}
