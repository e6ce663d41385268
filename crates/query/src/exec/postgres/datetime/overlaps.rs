//! OVERLAPS: whether two periods have a point in common.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::{SqlError, SqlResult, SqlType, Value};

use super::calculate::add;
use crate::exec::postgres::function::{Call, Function, overload};

use SqlType as T;

/// `overlaps(start, end, start, end)`; an interval in place of an end is a length.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let mut overloads = Vec::new();
    for point in [T::Timestamptz(None), T::Timestamp(None), T::Time(None)] {
        for ends in [[false, false], [true, true], [false, true], [true, false]] {
            let end = |length: bool| if length { T::Interval } else { point.clone() };
            let parameters = [point.clone(), end(ends[0]), point.clone(), end(ends[1])];
            let overload = overload(&parameters, T::Bool, overlaps).called_on_null();
            overloads.push(if point == T::Timestamptz(None) { overload.with_zone() } else { overload });
        }
    }
    vec![Function::new("overlaps", overloads).udf()]
}

fn overlaps(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let zone = args.get(4).cloned().unwrap_or(Value::Null);
    let (Some((a, a_end)), Some((b, b_end))) =
        (period(&args[0], &args[1], &zone, call)?, period(&args[2], &args[3], &zone, call)?)
    else {
        return Ok(Value::Null);
    };
    // Where an end is not known the answer may still be.
    let (first_end, second, second_end) = match a.cmp(&b) {
        std::cmp::Ordering::Equal => {
            return Ok(if a_end.is_none() || b_end.is_none() { Value::Null } else { Value::Bool(true) });
        }
        std::cmp::Ordering::Less => (a_end, b, b_end),
        std::cmp::Ordering::Greater => (b_end, a, a_end),
    };
    Ok(match (first_end, second_end) {
        (None, _) => Value::Null,
        (Some(end), _) if second < end => Value::Bool(true),
        (_, None) => Value::Null,
        _ => Value::Bool(false),
    })
}

/// The earlier point of a period and the later one, where both are known; `None` where neither is.
fn period(start: &Value, end: &Value, zone: &Value, call: &Call<'_>) -> SqlResult<Option<(i64, Option<i64>)>> {
    let end = match end {
        Value::Interval(_) if start.is_null() => Value::Null,
        Value::Interval(_) => add(&[start.clone(), end.clone(), zone.clone()], call)?,
        end => end.clone(),
    };
    Ok(match (point(start)?, point(&end)?) {
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => Some((one, None)),
        (Some(start), Some(end)) => Some((start.min(end), Some(start.max(end)))),
    })
}

fn point(value: &Value) -> SqlResult<Option<i64>> {
    match value {
        Value::Null => Ok(None),
        Value::Timestamp(at) | Value::Timestamptz(at) | Value::Time(at) => Ok(Some(*at)),
        _ => Err(SqlError::internal("a period of something without time")),
    }
}
