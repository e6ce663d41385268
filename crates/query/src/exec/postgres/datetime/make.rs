//! Making dates and times from numbers, and moving them between zones.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::bucket::{BucketWidth, micros};
use perigee_types::text::calendar::{TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY, days_from_civil, days_in_month};
use perigee_types::{Interval, SqlError, SqlResult, SqlState, SqlType, Value};

use super::calculate::{interval, interval_overflow, is_endless};
use super::{DAY, SECOND, out_of_range};
use crate::exec::postgres::cast::time_zone;
use crate::exec::postgres::function::{Call, Function, overload};

use SqlType as T;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let i = T::Int4;
    vec![
        Function::new(
            "make_date",
            vec![overload(&[i.clone(), i.clone(), i.clone()], T::Date, |a, _| Ok(Value::Date(day(a)?)))],
        )
        .udf(),
        Function::new(
            "make_interval",
            (0..=7)
                .map(|count| {
                    let mut types = vec![i.clone(); count.min(6)];
                    types.extend((count == 7).then_some(T::Float8));
                    overload(&types, T::Interval, |a, _| made_interval(a).map(Value::Interval))
                })
                .collect(),
        )
        .udf(),
        Function::new(
            "make_time",
            vec![overload(&[i.clone(), i.clone(), T::Float8], T::Time(None), |a, _| Ok(Value::Time(time(a)?)))],
        )
        .udf(),
        Function::new(
            "make_timestamp",
            vec![overload(
                &[i.clone(), i.clone(), i.clone(), i.clone(), i.clone(), T::Float8],
                T::Timestamp(None),
                |a, _| local(a).map(Value::Timestamp),
            )],
        )
        .udf(),
        Function::new(
            "make_timestamptz",
            vec![
                overload(
                    &[i.clone(), i.clone(), i.clone(), i.clone(), i.clone(), T::Float8],
                    T::Timestamptz(None),
                    local_in_zone,
                )
                .with_zone(),
                overload(
                    &[i.clone(), i.clone(), i.clone(), i.clone(), i.clone(), T::Float8, T::Text],
                    T::Timestamptz(None),
                    local_in_zone,
                ),
            ],
        )
        .udf(),
        Function::new(
            "to_timestamp",
            vec![
                overload(&[T::Float8], T::Timestamptz(None), |a, _| seconds(&a[0])),
                overload(&[T::Text, T::Text], T::Timestamptz(None), super::pattern::to_timestamp).with_zone(),
            ],
        )
        .udf(),
        Function::new(
            "timezone",
            vec![
                overload(&[T::Text, T::Timestamptz(None)], T::Timestamp(None), in_zone),
                overload(&[T::Text, T::Timestamp(None)], T::Timestamptz(None), in_zone),
                overload(&[T::Interval, T::Timestamptz(None)], T::Timestamp(None), in_zone),
                overload(&[T::Interval, T::Timestamp(None)], T::Timestamptz(None), in_zone),
            ],
        )
        .udf(),
        Function::new(
            "justify_days",
            vec![overload(&[T::Interval], T::Interval, |a, _| justify_days(interval(&a[0])?).map(Value::Interval))],
        )
        .udf(),
        Function::new(
            "justify_hours",
            vec![overload(&[T::Interval], T::Interval, |a, _| justify_hours(interval(&a[0])?).map(Value::Interval))],
        )
        .udf(),
        Function::new(
            "justify_interval",
            vec![overload(&[T::Interval], T::Interval, |a, _| justify_interval(interval(&a[0])?).map(Value::Interval))],
        )
        .udf(),
        Function::new(
            "isfinite",
            vec![
                overload(&[T::Date], T::Bool, |a, _| {
                    Ok(Value::Bool(!matches!(a[0], Value::Date(i32::MAX | i32::MIN))))
                }),
                overload(&[T::Timestamp(None)], T::Bool, finite),
                overload(&[T::Timestamptz(None)], T::Bool, finite),
                overload(&[T::Interval], T::Bool, |_, _| Ok(Value::Bool(true))),
            ],
        )
        .udf(),
        Function::new(
            "time_bucket",
            vec![
                overload(&[T::Interval, T::Timestamp(None)], T::Timestamp(None), bucket),
                overload(&[T::Interval, T::Timestamptz(None)], T::Timestamptz(None), bucket),
                overload(&[T::Interval, T::Date], T::Date, bucket),
                overload(&[T::Interval, T::Timestamp(None), T::Timestamp(None)], T::Timestamp(None), bucket_from),
                overload(&[T::Interval, T::Timestamptz(None), T::Timestamptz(None)], T::Timestamptz(None), bucket_from),
                overload(&[T::Interval, T::Timestamp(None), T::Interval], T::Timestamp(None), bucket_shifted),
                overload(&[T::Interval, T::Timestamptz(None), T::Interval], T::Timestamptz(None), bucket_shifted),
            ],
        )
        .udf(),
        Function::new(
            "date_bin",
            vec![
                overload(&[T::Interval, T::Timestamp(None), T::Timestamp(None)], T::Timestamp(None), bin),
                overload(&[T::Interval, T::Timestamptz(None), T::Timestamptz(None)], T::Timestamptz(None), bin),
            ],
        )
        .udf(),
    ]
}

fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

fn day(args: &[Value]) -> SqlResult<i32> {
    let (year, month, day) = (int(&args[0]), int(&args[1]), int(&args[2]));
    // Year -1 is 1 BC, which the calendar counts as 0.
    let counted = if year < 0 { year + 1 } else { year };
    let month_number = u32::try_from(month).ok().filter(|m| (1..=12).contains(m));
    let valid = month_number
        .filter(|m| year != 0 && (1..=i64::from(days_in_month(counted, *m))).contains(&day))
        .and_then(|m| i32::try_from(days_from_civil(counted, m, day as u32)).ok());
    valid.ok_or_else(|| {
        SqlError::new(
            SqlState::DatetimeFieldOverflow,
            format!("date field value out of range: {year}-{month:02}-{day:02}"),
        )
    })
}

/// Year, month, day, hour, minute and second as a timestamp.
fn local(args: &[Value]) -> SqlResult<i64> {
    let (day, time) = (day(&args[..3])?, time(&args[3..6])?);
    i64::from(day).checked_mul(DAY).and_then(|at| at.checked_add(time)).ok_or_else(|| out_of_range("timestamp"))
}

/// As [`local`], in the zone that the last argument names.
fn local_in_zone(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let at = local(args)?;
    let zone = time_zone(args[6].as_str().unwrap_or_default())?;
    let shift = i64::from(zone.offset_of_local(at)) * SECOND;
    at.checked_sub(shift).map(Value::Timestamptz).ok_or_else(|| out_of_range("timestamp"))
}

fn time(args: &[Value]) -> SqlResult<i64> {
    let (hour, minute) = (int(&args[0]), int(&args[1]));
    let second = args[2].as_f64().unwrap_or(f64::NAN);
    if !(0..=24).contains(&hour) || !(0..60).contains(&minute) || !(0.0..=60.0).contains(&second) {
        return Err(SqlError::new(
            SqlState::DatetimeFieldOverflow,
            format!("time field value out of range: {hour}:{minute:02}:{second:02}"),
        ));
    }
    Ok((hour * 3600 + minute * 60) * SECOND + (second * SECOND as f64).round() as i64)
}

fn seconds(value: &Value) -> SqlResult<Value> {
    let seconds = value.as_f64().unwrap_or(f64::NAN);
    if seconds.is_nan() {
        return Err(SqlError::new(SqlState::DatetimeFieldOverflow, "timestamp cannot be NaN"));
    }
    if seconds.is_infinite() {
        let end = if seconds > 0.0 { TIMESTAMP_INFINITY } else { TIMESTAMP_MINUS_INFINITY };
        return Ok(Value::Timestamptz(end));
    }
    let micros = (seconds * SECOND as f64).round();
    if !micros.is_finite() || micros.abs() >= i64::MAX as f64 {
        return Err(out_of_range("timestamp"));
    }
    Ok(Value::Timestamptz(micros as i64))
}

fn in_zone(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let zone = match &args[0] {
        Value::Interval(span) => perigee_types::text::TimeZone::fixed((span.micros / SECOND) as i32),
        name => time_zone(name.as_str().unwrap_or_default())?,
    };
    let shift =
        |at: i64, seconds: i32| at.checked_add(i64::from(seconds) * SECOND).ok_or_else(|| out_of_range("timestamp"));
    match &args[1] {
        Value::Timestamptz(at) if is_endless(*at) => Ok(Value::Timestamp(*at)),
        Value::Timestamp(at) if is_endless(*at) => Ok(Value::Timestamptz(*at)),
        Value::Timestamptz(at) => shift(*at, zone.offset_at(*at)).map(Value::Timestamp),
        Value::Timestamp(at) => shift(*at, -zone.offset_of_local(*at)).map(Value::Timestamptz),
        _ => Err(SqlError::internal("a zone for something without a time")),
    }
}

/// Years, months, weeks, days, hours, minutes, seconds: as many as are given.
fn made_interval(args: &[Value]) -> SqlResult<Interval> {
    let part = |at: usize| args.get(at).and_then(Value::as_i64).unwrap_or_default();
    let seconds = args.get(6).and_then(Value::as_f64).unwrap_or_default() * 1e6;
    let months = part(0) * 12 + part(1);
    let days = part(2) * 7 + part(3);
    // 2^63 as a double: every smaller one fits.
    if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&seconds) {
        return Err(interval_overflow());
    }
    let time = i128::from(part(4)) * 3_600_000_000 + i128::from(part(5)) * 60_000_000;
    match (i32::try_from(months), i32::try_from(days), i64::try_from(time + seconds.round_ties_even() as i128)) {
        (Ok(months), Ok(days), Ok(micros)) => Ok(Interval { months, days, micros }),
        _ => Err(interval_overflow()),
    }
}

fn justify_days(span: Interval) -> SqlResult<Interval> {
    thirties(i64::from(span.days), span)
}

/// So many days as months of thirty days, added to the months of `span`.
fn thirties(days: i64, span: Interval) -> SqlResult<Interval> {
    let mut months = i64::from(span.months) + days / 30;
    let mut days = days % 30;
    if months > 0 && days < 0 {
        (months, days) = (months - 1, days + 30);
    } else if months < 0 && days > 0 {
        (months, days) = (months + 1, days - 30);
    }
    match (i32::try_from(months), i32::try_from(days)) {
        (Ok(months), Ok(days)) => Ok(Interval { months, days, ..span }),
        _ => Err(interval_overflow()),
    }
}

/// The days of an interval with those that its hours make, and the microseconds that are left.
fn whole_days(span: Interval) -> (i64, i64) {
    let mut days = i64::from(span.days) + span.micros / DAY;
    let mut micros = span.micros % DAY;
    if days > 0 && micros < 0 {
        (days, micros) = (days - 1, micros + DAY);
    } else if days < 0 && micros > 0 {
        (days, micros) = (days + 1, micros - DAY);
    }
    (days, micros)
}

fn justify_hours(span: Interval) -> SqlResult<Interval> {
    let (days, micros) = whole_days(span);
    let days = i32::try_from(days).map_err(|_| interval_overflow())?;
    Ok(Interval { days, micros, ..span })
}

fn justify_interval(span: Interval) -> SqlResult<Interval> {
    let (days, mut micros) = whole_days(span);
    let (mut months, mut days) = (i64::from(span.months) + days / 30, days % 30);
    // All parts have one sign: that of the first.
    if months > 0 && (days < 0 || days == 0 && micros < 0) {
        (months, days) = (months - 1, days + 30);
    } else if months < 0 && (days > 0 || days == 0 && micros > 0) {
        (months, days) = (months + 1, days - 30);
    }
    if days > 0 && micros < 0 {
        (days, micros) = (days - 1, micros + DAY);
    } else if days < 0 && micros > 0 {
        (days, micros) = (days + 1, micros - DAY);
    }
    match (i32::try_from(months), i32::try_from(days)) {
        (Ok(months), Ok(days)) => Ok(Interval { months, days, micros }),
        _ => Err(interval_overflow()),
    }
}

fn finite(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    Ok(Value::Bool(!matches!(args[0], Value::Timestamp(i64::MAX | i64::MIN) | Value::Timestamptz(i64::MAX | i64::MIN))))
}

fn bucket(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    BucketWidth::new(interval(&args[0])?)?.start_of(&args[1])
}

/// Ranges that count from the third argument.
fn bucket_from(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let origin = micros(&args[2]).unwrap_or_default();
    let width = BucketWidth::new(interval(&args[0])?)?;
    // How far the origin is into its own range.
    shifted(width, &args[1], origin.saturating_sub(width.start(origin)))
}

/// Ranges that begin so much later.
fn bucket_shifted(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let by = interval(&args[2])?;
    if by.months != 0 {
        return Err(SqlError::unsupported("time_bucket with an offset of months"));
    }
    let by = i64::from(by.days).saturating_mul(DAY).saturating_add(by.micros);
    shifted(BucketWidth::new(interval(&args[0])?)?, &args[1], by)
}

fn shifted(width: BucketWidth, time: &Value, by: i64) -> SqlResult<Value> {
    let at = micros(time).unwrap_or_default();
    if at == i64::MAX || at == i64::MIN {
        return Ok(time.clone());
    }
    if matches!(width, BucketWidth::Months(_)) && by != 0 {
        return Err(SqlError::unsupported("time_bucket of months with an origin or an offset"));
    }
    let start = at.checked_sub(by).and_then(|at| width.start(at).checked_add(by));
    let start = start.ok_or_else(|| out_of_range("timestamp"))?;
    Ok(match time {
        Value::Timestamp(_) => Value::Timestamp(start),
        _ => Value::Timestamptz(start),
    })
}

fn bin(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let stride = interval(&args[0])?;
    if stride.months != 0 {
        return Err(SqlError::new(
            SqlState::FeatureNotSupported,
            "timestamps cannot be binned into intervals containing months or years",
        ));
    }
    let stride = i64::from(stride.days).saturating_mul(DAY).saturating_add(stride.micros);
    if stride <= 0 {
        return Err(SqlError::new(SqlState::DatetimeFieldOverflow, "stride must be greater than zero"));
    }
    let down = |at: i64, origin: i64| {
        at.checked_sub(origin).map(|d| origin + d.div_euclid(stride) * stride).ok_or_else(|| out_of_range("timestamp"))
    };
    match (&args[1], &args[2]) {
        (Value::Timestamp(at) | Value::Timestamptz(at), _) if is_endless(*at) => Ok(args[1].clone()),
        (_, Value::Timestamp(origin) | Value::Timestamptz(origin)) if is_endless(*origin) => {
            Err(out_of_range("origin"))
        }
        (Value::Timestamp(at), Value::Timestamp(origin)) => down(*at, *origin).map(Value::Timestamp),
        (Value::Timestamptz(at), Value::Timestamptz(origin)) => down(*at, *origin).map(Value::Timestamptz),
        _ => Err(SqlError::internal("a bin for something without a time")),
    }
}
