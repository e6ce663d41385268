//! Adding and subtracting dates, times and intervals.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::text::TimeZone;
use perigee_types::text::calendar::{
    DATE_INFINITY, DATE_MINUS_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY, civil_from_days, days_from_civil,
    days_in_month,
};
use perigee_types::{Interval, SqlError, SqlResult, SqlState, SqlType, Value};

use super::{DAY, SECOND, out_of_range};
use crate::exec::postgres::cast::time_zone;
use crate::exec::postgres::function::{Call, Function, overload};

use SqlType as T;

pub(super) fn operators() -> Vec<(&'static str, Arc<ScalarUDF>)> {
    let plus = vec![
        overload(&[T::Date, T::Int4], T::Date, add_days),
        overload(&[T::Int4, T::Date], T::Date, |a, c| add_days(&[a[1].clone(), a[0].clone()], c)),
        overload(&[T::Date, T::Interval], T::Timestamp(None), add),
        overload(&[T::Interval, T::Date], T::Timestamp(None), |a, c| add(&[a[1].clone(), a[0].clone()], c)),
        overload(&[T::Timestamp(None), T::Interval], T::Timestamp(None), add),
        overload(&[T::Interval, T::Timestamp(None)], T::Timestamp(None), |a, c| add(&[a[1].clone(), a[0].clone()], c)),
        overload(&[T::Timestamptz(None), T::Interval], T::Timestamptz(None), add).with_zone(),
        overload(&[T::Interval, T::Timestamptz(None)], T::Timestamptz(None), |a, c| {
            add(&[a[1].clone(), a[0].clone(), a.get(2).cloned().unwrap_or(Value::Null)], c)
        })
        .with_zone(),
        overload(&[T::Time(None), T::Interval], T::Time(None), add),
        overload(&[T::Interval, T::Time(None)], T::Time(None), |a, c| add(&[a[1].clone(), a[0].clone()], c)),
        overload(&[T::Date, T::Time(None)], T::Timestamp(None), date_and_time),
        overload(&[T::Time(None), T::Date], T::Timestamp(None), |a, c| date_and_time(&[a[1].clone(), a[0].clone()], c)),
        overload(&[T::Interval, T::Interval], T::Interval, |a, _| {
            interval_sum(interval(&a[0])?, interval(&a[1])?).map(Value::Interval)
        }),
    ];
    let minus = vec![
        overload(&[T::Date, T::Date], T::Int4, |a, _| match (&a[0], &a[1]) {
            (Value::Date(a), Value::Date(b)) if endless_date(*a).is_some() || endless_date(*b).is_some() => {
                Err(SqlError::new(SqlState::DatetimeFieldOverflow, "cannot subtract infinite dates"))
            }
            (Value::Date(a), Value::Date(b)) => a.checked_sub(*b).map(Value::Int4).ok_or_else(|| out_of_range("date")),
            _ => Err(kind()),
        }),
        overload(&[T::Date, T::Int4], T::Date, |a, c| match &a[1] {
            Value::Int4(days) => add_days(&[a[0].clone(), Value::Int4(negated(*days)?)], c),
            _ => Err(kind()),
        }),
        overload(&[T::Date, T::Interval], T::Timestamp(None), subtract),
        overload(&[T::Timestamp(None), T::Interval], T::Timestamp(None), subtract),
        overload(&[T::Timestamptz(None), T::Interval], T::Timestamptz(None), subtract).with_zone(),
        overload(&[T::Timestamp(None), T::Timestamp(None)], T::Interval, difference),
        overload(&[T::Timestamptz(None), T::Timestamptz(None)], T::Interval, difference),
        overload(&[T::Time(None), T::Interval], T::Time(None), subtract),
        overload(&[T::Time(None), T::Time(None)], T::Interval, |a, _| match (&a[0], &a[1]) {
            (Value::Time(a), Value::Time(b)) => Ok(Value::Interval(Interval { micros: a - b, ..Interval::default() })),
            _ => Err(kind()),
        }),
        overload(&[T::Interval, T::Interval], T::Interval, |a, _| {
            interval_sum(interval(&a[0])?, opposite(interval(&a[1])?)?).map(Value::Interval)
        }),
    ];
    let times = vec![
        overload(&[T::Interval, T::Float8], T::Interval, |a, _| scaled(&a[0], &a[1])),
        overload(&[T::Float8, T::Interval], T::Interval, |a, _| scaled(&a[1], &a[0])),
    ];
    let divided = vec![overload(&[T::Interval, T::Float8], T::Interval, |a, _| match &a[1] {
        Value::Float8(0.0) => Err(crate::exec::error::division_by_zero()),
        Value::Float8(by) => interval_times(interval(&a[0])?, 1.0 / by).map(Value::Interval),
        _ => Err(kind()),
    })];
    [
        ("+", "datetime_plus", plus),
        ("-", "datetime_minus", minus),
        ("*", "interval_times", times),
        ("/", "interval_divided", divided),
    ]
    .into_iter()
    .map(|(symbol, name, overloads)| (symbol, Function::new(name, overloads).operator(symbol).udf()))
    .collect()
}

/// An interval's length in microseconds, by which intervals compare.
pub(super) fn length() -> Arc<ScalarUDF> {
    let eval = |a: &[Value], _: &Call<'_>| Ok(Value::Numeric(interval(&a[0])?.approximate_micros(), 0));
    Function::new("interval_length", vec![overload(&[T::Interval], T::Numeric(Some((38, 0))), eval)]).udf()
}

fn kind() -> SqlError {
    SqlError::internal("a value of another type than the operator's")
}

pub(super) fn interval(value: &Value) -> SqlResult<Interval> {
    match value {
        Value::Interval(interval) => Ok(*interval),
        _ => Err(kind()),
    }
}

pub(super) fn interval_overflow() -> SqlError {
    SqlError::new(SqlState::DatetimeFieldOverflow, "interval out of range")
}

fn negated(days: i32) -> SqlResult<i32> {
    days.checked_neg().ok_or_else(|| out_of_range("date"))
}

/// The interval backwards.
pub(super) fn opposite(v: Interval) -> SqlResult<Interval> {
    let parts = (v.months.checked_neg(), v.days.checked_neg(), v.micros.checked_neg());
    match parts {
        (Some(months), Some(days), Some(micros)) => Ok(Interval { months, days, micros }),
        _ => Err(interval_overflow()),
    }
}

pub(super) fn interval_sum(a: Interval, b: Interval) -> SqlResult<Interval> {
    let parts = (a.months.checked_add(b.months), a.days.checked_add(b.days), a.micros.checked_add(b.micros));
    match parts {
        (Some(months), Some(days), Some(micros)) => Ok(Interval { months, days, micros }),
        _ => Err(interval_overflow()),
    }
}

fn scaled(span: &Value, factor: &Value) -> SqlResult<Value> {
    match factor {
        Value::Float8(factor) => interval_times(interval(span)?, *factor).map(Value::Interval),
        _ => Err(kind()),
    }
}

/// An interval times a number; what is left of months goes to days of a 30-day month, what is left of days to time.
pub(in crate::exec::postgres) fn interval_times(span: Interval, factor: f64) -> SqlResult<Interval> {
    let round = |v: f64| (v * 1e6).round() / 1e6;
    let whole = |v: f64| -> SqlResult<i32> {
        if v.is_finite() && v.abs() < f64::from(i32::MAX) { Ok(v as i32) } else { Err(interval_overflow()) }
    };
    let (exact_months, exact_days) = (f64::from(span.months) * factor, f64::from(span.days) * factor);
    let (months, mut days) = (whole(exact_months)?, whole(exact_days)?);
    let days_of_months = round((exact_months - f64::from(months)) * 30.0);
    let mut seconds =
        round((exact_days - f64::from(days) + days_of_months - f64::from(whole(days_of_months)?)) * 86_400.0);
    if seconds.abs() >= 86_400.0 {
        days = days.checked_add(whole(seconds / 86_400.0)?).ok_or_else(interval_overflow)?;
        seconds -= f64::from(whole(seconds / 86_400.0)?) * 86_400.0;
    }
    days = days.checked_add(whole(days_of_months)?).ok_or_else(interval_overflow)?;
    let micros = (span.micros as f64 * factor + seconds * SECOND as f64).round_ties_even();
    if !micros.is_finite() || micros.abs() >= i64::MAX as f64 {
        return Err(interval_overflow());
    }
    Ok(Interval { months, days, micros: micros as i64 })
}

/// Whether a timestamp is one of the infinities.
pub(super) fn is_endless(at: i64) -> bool {
    matches!(at, TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY)
}

/// The infinite timestamp that an infinite date is.
fn endless_date(date: i32) -> Option<i64> {
    match date {
        DATE_INFINITY => Some(TIMESTAMP_INFINITY),
        DATE_MINUS_INFINITY => Some(TIMESTAMP_MINUS_INFINITY),
        _ => None,
    }
}

fn add_days(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    match (&args[0], &args[1]) {
        (Value::Date(date), Value::Int4(_)) if endless_date(*date).is_some() => Ok(Value::Date(*date)),
        (Value::Date(date), Value::Int4(days)) => date
            .checked_add(*days)
            .filter(|date| endless_date(*date).is_none())
            .map(Value::Date)
            .ok_or_else(|| out_of_range("date")),
        _ => Err(kind()),
    }
}

fn date_and_time(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    match (&args[0], &args[1]) {
        (Value::Date(date), Value::Time(time)) => {
            Ok(Value::Timestamp(endless_date(*date).unwrap_or_else(|| i64::from(*date) * DAY + time)))
        }
        _ => Err(kind()),
    }
}

fn subtract(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let mut turned = args.to_vec();
    turned[1] = Value::Interval(opposite(interval(&args[1])?)?);
    add(&turned, call)
}

/// A point in time and an interval; a third argument is the session's zone.
pub(super) fn add(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let span = interval(&args[1])?;
    match &args[0] {
        Value::Date(date) if endless_date(*date).is_some() => {
            Ok(endless_date(*date).map_or(Value::Null, Value::Timestamp))
        }
        Value::Timestamp(at) | Value::Timestamptz(at) if is_endless(*at) => Ok(args[0].clone()),
        Value::Date(date) => local_plus(i64::from(*date).checked_mul(DAY).ok_or_else(|| out_of_range("date"))?, span)
            .map(Value::Timestamp),
        Value::Timestamp(at) => local_plus(*at, span).map(Value::Timestamp),
        Value::Timestamptz(at) => {
            let zone = match args.get(2) {
                Some(Value::Text(name)) => time_zone(name)?,
                _ => TimeZone::Utc,
            };
            instant_plus(*at, span, zone).map(Value::Timestamptz)
        }
        Value::Time(time) => Ok(Value::Time(time.wrapping_add(span.micros).rem_euclid(DAY))),
        _ => Err(kind()),
    }
}

/// Months and days count on the calendar, the rest as time.
pub(super) fn local_plus(at: i64, span: Interval) -> SqlResult<i64> {
    let error = || out_of_range("timestamp");
    let (mut days, time) = (at.div_euclid(DAY), at.rem_euclid(DAY));
    if span.months != 0 {
        let (year, month, day) = civil_from_days(days);
        let months = year * 12 + i64::from(month) - 1 + i64::from(span.months);
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) as u32 + 1);
        days = days_from_civil(year, month, day.min(days_in_month(year, month)));
    }
    days.checked_add(i64::from(span.days))
        .and_then(|days| days.checked_mul(DAY))
        .and_then(|at| at.checked_add(time))
        .and_then(|at| at.checked_add(span.micros))
        .ok_or_else(error)
}

/// Months and days count on the zone's clocks, the rest as time that passes.
pub(in crate::exec::postgres) fn instant_plus(at: i64, span: Interval, zone: TimeZone) -> SqlResult<i64> {
    let mut at = at;
    if span.months != 0 || span.days != 0 {
        let local = at.saturating_add(i64::from(zone.offset_at(at)) * SECOND);
        let moved = local_plus(local, Interval { micros: 0, ..span })?;
        at = moved.saturating_sub(i64::from(zone.offset_of_local(moved)) * SECOND);
    }
    at.checked_add(span.micros).ok_or_else(|| out_of_range("timestamp"))
}

/// Between two points in time: whole days and the rest.
fn difference(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let (a, b) = match (&args[0], &args[1]) {
        (Value::Timestamp(a), Value::Timestamp(b)) | (Value::Timestamptz(a), Value::Timestamptz(b)) => (*a, *b),
        _ => return Err(kind()),
    };
    if is_endless(a) || is_endless(b) {
        return Err(SqlError::new(SqlState::DatetimeFieldOverflow, "cannot subtract infinite timestamps"));
    }
    let span = a.checked_sub(b).ok_or_else(interval_overflow)?;
    let days = i32::try_from(span / DAY).map_err(|_| interval_overflow())?;
    Ok(Value::Interval(Interval { months: 0, days, micros: span % DAY }))
}
