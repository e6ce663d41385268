//! Parts of dates and times: EXTRACT, date_part, date_trunc, age.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::ScalarUDF;
use perigee_types::numeric::Numeric;
use perigee_types::text::TimeZone;
use perigee_types::text::calendar::{
    DATE_INFINITY, DATE_MINUS_INFINITY, civil_from_days, days_from_civil, days_in_month, weekday,
};
use perigee_types::{Interval, SqlError, SqlResult, SqlState, SqlType, Value};

use super::calculate::{interval, is_endless};
use super::{DAY, SECOND};
use crate::exec::postgres::cast::time_zone;
use crate::exec::postgres::function::{Call, Function, Overload, Parameter, Returns, overload, overload_of};

use SqlType as T;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let as_double = |args: &[Value], call: &Call<'_>| {
        let mut args = args.to_vec();
        // Of a date it is the timestamp's at midnight, unlike EXTRACT.
        args[1] = match &args[1] {
            Value::Date(DATE_INFINITY) => Value::Timestamp(i64::MAX),
            Value::Date(DATE_MINUS_INFINITY) => Value::Timestamp(i64::MIN),
            Value::Date(days) => Value::Timestamp(i64::from(*days).saturating_mul(DAY)),
            other => other.clone(),
        };
        Ok(match part(&args, call)? {
            Value::Null => Value::Null,
            number => Value::Float8(number.as_f64().unwrap_or(f64::NAN)),
        })
    };
    let date_part = sources()
        .into_iter()
        .map(|source| {
            let zoned = source == T::Timestamptz(None);
            let overload = overload(&[T::Text, source], T::Float8, as_double);
            if zoned { overload.with_zone() } else { overload }
        })
        .collect();
    let trunc = vec![
        overload(&[T::Text, T::Timestamp(None)], T::Timestamp(None), truncate),
        overload(&[T::Text, T::Timestamptz(None)], T::Timestamptz(None), truncate).with_zone(),
        overload(&[T::Text, T::Timestamptz(None), T::Text], T::Timestamptz(None), truncate),
        overload(&[T::Text, T::Interval], T::Interval, truncate),
    ];
    let age = vec![
        overload(&[T::Timestamp(None), T::Timestamp(None)], T::Interval, age),
        // Analysis puts today's midnight before the argument.
        overload(&[T::Timestamp(None)], T::Interval, |_, _| Err(SqlError::internal("age without today"))),
        overload(&[T::Timestamptz(None), T::Timestamptz(None)], T::Interval, age).with_zone(),
        overload(&[T::Xid], T::Int4, transactions_since),
    ];
    vec![
        extract(),
        Function::new("date_part", date_part).udf(),
        Function::new("date_trunc", trunc).with_aliases(&["datetrunc"]).udf(),
        Function::new("age", age).udf(),
    ]
}

fn sources() -> [SqlType; 5] {
    [T::Date, T::Timestamp(None), T::Timestamptz(None), T::Interval, T::Time(None)]
}

/// EXTRACT: a numeric.
pub(super) fn extract() -> Arc<ScalarUDF> {
    // Parts of a date are whole; a point in time may be infinite, of which a decimal has none. So may a date be: where it is
    // a constant that is known, and costs columns nothing.
    fn returns(types: &[SqlType], constants: &[Option<Value>]) -> SqlType {
        let endless = matches!(constants.get(1), Some(Some(Value::Date(DATE_INFINITY | DATE_MINUS_INFINITY))));
        let is_whole = types.get(1) == Some(&T::Date) && !endless;
        if is_whole { T::Numeric(Some((38, 0))) } else { T::Numeric(None) }
    }
    let overloads: Vec<Overload> = sources()
        .into_iter()
        .map(|source| {
            let zoned = source == T::Timestamptz(None);
            let parameters = vec![Parameter::Of(T::Text), Parameter::Of(source)];
            let overload = overload_of(parameters, Returns::Derived(returns), part);
            if zoned { overload.with_zone() } else { overload }
        })
        .collect();
    Function::new("extract", overloads).udf()
}

fn unknown_field(field: &str, what: &str) -> SqlError {
    SqlError::new(SqlState::InvalidParameterValue, format!("unit \"{field}\" not recognized for type {what}"))
}

fn unsupported_field(field: &str, what: &str) -> SqlError {
    SqlError::new(SqlState::FeatureNotSupported, format!("unit \"{field}\" not supported for type {what}"))
}

/// One field of a value: arguments are the field's name, the value, perhaps the zone.
fn part(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let field = args[0].as_str().unwrap_or_default().to_lowercase();
    let field = canonical(&field);
    match &args[1] {
        Value::Date(days @ (DATE_INFINITY | DATE_MINUS_INFINITY)) => {
            // What a date has not is refused as it is of any date.
            of_date(field, 0)?;
            match infinite(field, *days > 0, "date")? {
                Value::Wide(_) if matches!(call.returned, DataType::Decimal128(..)) => {
                    Err(SqlError::unsupported("parts of an infinite date").hint("Cast it to timestamp."))
                }
                value => Ok(value),
            }
        }
        Value::Date(days) => of_date(field, i64::from(*days)),
        Value::Timestamp(at @ (i64::MAX | i64::MIN)) => infinite(field, *at > 0, "timestamp without time zone"),
        Value::Timestamptz(at @ (i64::MAX | i64::MIN)) => infinite(field, *at > 0, "timestamp with time zone"),
        Value::Timestamp(at) => of_local(field, *at, None, "timestamp without time zone"),
        Value::Timestamptz(at) => {
            let offset = zone_of(args.get(2))?.offset_at(*at);
            of_local(field, at.saturating_add(i64::from(offset) * SECOND), Some(offset), "timestamp with time zone")
        }
        Value::Time(at) => match field {
            "hour" | "minute" | "second" | "milliseconds" | "microseconds" | "epoch" => {
                of_local(field, *at, None, "time without time zone")
            }
            _ => Err(unsupported_field(field, "time without time zone")),
        },
        Value::Interval(span) => of_interval(field, *span),
        _ => Err(SqlError::internal("a part of something without parts")),
    }
}

fn zone_of(value: Option<&Value>) -> SqlResult<TimeZone> {
    match value {
        Some(Value::Text(name)) => time_zone(name),
        _ => Ok(TimeZone::Utc),
    }
}

/// One name for each field.
fn canonical(field: &str) -> &str {
    match field {
        "years" | "y" | "yr" | "yrs" => "year",
        "months" | "mon" | "mons" => "month",
        "days" | "d" => "day",
        "hours" | "h" | "hr" | "hrs" => "hour",
        "minutes" | "m" | "min" | "mins" => "minute",
        "seconds" | "s" | "sec" | "secs" => "second",
        "millisecond" | "msec" | "msecs" | "ms" => "milliseconds",
        "microsecond" | "usec" | "usecs" | "us" => "microseconds",
        "quarters" | "qtr" => "quarter",
        "weeks" | "w" => "week",
        "decades" | "dec" | "decs" => "decade",
        "centuries" | "c" | "cent" => "century",
        "millennia" | "mil" | "mils" => "millennium",
        other => other,
    }
}

fn whole(value: i64) -> SqlResult<Value> {
    Ok(Value::Numeric(i128::from(value), 0))
}

/// A field of infinity: what only grows is infinite, what comes again is not known.
fn infinite(field: &str, positive: bool, what: &str) -> SqlResult<Value> {
    match field {
        "year" | "decade" | "century" | "millennium" | "julian" | "isoyear" | "epoch" => {
            let number = if positive { Numeric::Infinity } else { Numeric::NegativeInfinity };
            Ok(number.into_value())
        }
        // Other names are refused as they are of any value.
        _ => {
            of_local(field, 0, Some(0), what)?;
            Ok(Value::Null)
        }
    }
}

/// A field of a date, which has no time of day; all are whole.
fn of_date(field: &str, days: i64) -> SqlResult<Value> {
    match field {
        "hour" | "minute" | "second" | "milliseconds" | "microseconds" | "timezone" | "timezone_hour"
        | "timezone_minute" => Err(unsupported_field(field, "date")),
        "epoch" => whole(days * (DAY / SECOND)),
        "julian" => whole(days + 2_440_588),
        _ => of_local(field, days.saturating_mul(DAY), None, "date"),
    }
}

fn of_local(field: &str, at: i64, offset: Option<i32>, what: &str) -> SqlResult<Value> {
    let (days, time) = (at.div_euclid(DAY), at.rem_euclid(DAY));
    let (year, month, day) = civil_from_days(days);
    // There is no year 0: 1 BC is -1 in what people see.
    let shown_year = if year <= 0 { year - 1 } else { year };
    match field {
        "year" => whole(shown_year),
        "month" => whole(i64::from(month)),
        "day" => whole(i64::from(day)),
        "hour" => whole(time / (3600 * SECOND)),
        "minute" => whole(time / (60 * SECOND) % 60),
        "second" => Ok(Value::Numeric(i128::from(time % (60 * SECOND)), 6)),
        "milliseconds" => Ok(Value::Numeric(i128::from(time % (60 * SECOND)), 3)),
        "microseconds" => whole(time % (60 * SECOND)),
        "quarter" => whole(i64::from((month - 1) / 3 + 1)),
        "dow" => whole(weekday(days) as i64),
        "isodow" => whole(match weekday(days) {
            0 => 7,
            day => day as i64,
        }),
        "doy" => whole(days - days_from_civil(year, 1, 1) + 1),
        "week" => whole(iso_week(days).1),
        "isoyear" => whole(match iso_week(days).0 {
            year if year <= 0 => year - 1,
            year => year,
        }),
        "decade" => whole(year.div_euclid(10)),
        "century" => whole(if year > 0 { (year + 99) / 100 } else { -((99 - (year - 1)) / 100) }),
        "millennium" => whole(if year > 0 { (year + 999) / 1000 } else { -((999 - (year - 1)) / 1000) }),
        "epoch" => {
            let instant = i128::from(at) - i128::from(offset.unwrap_or(0)) * i128::from(SECOND);
            Ok(Value::Numeric(instant, 6))
        }
        "julian" => {
            let day = (i128::from(days) + 2_440_588) * 10i128.pow(20);
            Ok(Value::Numeric(day + i128::from(time) * 10i128.pow(20) / i128::from(DAY), 20))
        }
        "timezone" | "timezone_hour" | "timezone_minute" => match (field, offset) {
            ("timezone", Some(offset)) => whole(i64::from(offset)),
            ("timezone_hour", Some(offset)) => whole(i64::from(offset / 3600)),
            (_, Some(offset)) => whole(i64::from(offset / 60 % 60)),
            (_, None) => Err(unsupported_field(field, what)),
        },
        other => Err(unknown_field(other, what)),
    }
}

/// ISO year and week of a day.
pub(super) fn iso_week(days: i64) -> (i64, i64) {
    // The week belongs to the year of its Thursday.
    let monday_based = (weekday(days) as i64 + 6) % 7;
    let thursday = days - monday_based + 3;
    let year = civil_from_days(thursday).0;
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

fn of_interval(field: &str, span: Interval) -> SqlResult<Value> {
    let (months, time) = (i64::from(span.months), span.micros);
    match field {
        "year" => whole(months / 12),
        "month" => whole(months % 12),
        "day" => whole(i64::from(span.days)),
        "week" => whole(i64::from(span.days) / 7),
        "hour" => whole(time / (3600 * SECOND)),
        "minute" => whole(time / (60 * SECOND) % 60),
        "second" => Ok(Value::Numeric(i128::from(time % (60 * SECOND)), 6)),
        "milliseconds" => Ok(Value::Numeric(i128::from(time % (60 * SECOND)), 3)),
        "microseconds" => whole(time % (60 * SECOND)),
        "quarter" => whole(months % 12 / 3 + 1),
        "decade" => whole(months / 120),
        "century" => whole(months / 1200),
        "millennium" => whole(months / 12_000),
        "epoch" => {
            // A year counts 365.25 days here, a month 30.
            let quarter_days = i128::from(months / 12) * 1_461 + i128::from(months % 12) * 120;
            let micros =
                quarter_days * i128::from(DAY) / 4 + i128::from(span.days) * i128::from(DAY) + i128::from(time);
            Ok(Value::Numeric(micros, 6))
        }
        other => Err(unknown_field(other, "interval")),
    }
}

/// date_trunc: the field, the value, perhaps the zone.
fn truncate(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let field = args[0].as_str().unwrap_or_default().to_lowercase();
    let field = canonical(&field);
    match &args[1] {
        Value::Timestamp(at) | Value::Timestamptz(at) if is_endless(*at) => Ok(args[1].clone()),
        Value::Timestamp(at) => truncate_local(field, *at, "timestamp without time zone").map(Value::Timestamp),
        Value::Timestamptz(at) => {
            let zone = zone_of(args.get(2))?;
            let local = at.saturating_add(i64::from(zone.offset_at(*at)) * SECOND);
            let cut = truncate_local(field, local, "timestamp with time zone")?;
            // Below a day the offset stays the one of the instant, so that hours that clocks show twice stay apart.
            let offset = match field {
                "hour" | "minute" | "second" | "milliseconds" | "microseconds" => zone.offset_at(*at),
                _ => zone.offset_of_local(cut),
            };
            Ok(Value::Timestamptz(cut.saturating_sub(i64::from(offset) * SECOND)))
        }
        span => truncate_interval(field, interval(span)?).map(Value::Interval),
    }
}

fn truncate_local(field: &str, at: i64, what: &str) -> SqlResult<i64> {
    let (days, time) = (at.div_euclid(DAY), at.rem_euclid(DAY));
    let (year, month, _) = civil_from_days(days);
    let day = |days: i64| Ok(days.saturating_mul(DAY));
    let down = |unit: i64| Ok(days.saturating_mul(DAY) + time / unit * unit);
    match field {
        "microseconds" => Ok(at),
        "milliseconds" => down(1_000),
        "second" => down(SECOND),
        "minute" => down(60 * SECOND),
        "hour" => down(3600 * SECOND),
        "day" => day(days),
        "week" => day(days - (weekday(days) as i64 + 6) % 7),
        "month" => day(days_from_civil(year, month, 1)),
        "quarter" => day(days_from_civil(year, (month - 1) / 3 * 3 + 1, 1)),
        "year" => day(days_from_civil(year, 1, 1)),
        "decade" => day(days_from_civil(year.div_euclid(10) * 10, 1, 1)),
        "century" => day(days_from_civil((year - 1).div_euclid(100) * 100 + 1, 1, 1)),
        "millennium" => day(days_from_civil((year - 1).div_euclid(1000) * 1000 + 1, 1, 1)),
        other => Err(unknown_field(other, what)),
    }
}

fn truncate_interval(field: &str, span: Interval) -> SqlResult<Interval> {
    let months = |unit: i32| Ok(Interval { months: span.months / unit * unit, days: 0, micros: 0 });
    let time = |unit: i64| Ok(Interval { micros: span.micros / unit * unit, ..span });
    match field {
        "microseconds" => Ok(span),
        "milliseconds" => time(1_000),
        "second" => time(SECOND),
        "minute" => time(60 * SECOND),
        "hour" => time(3600 * SECOND),
        "day" => Ok(Interval { micros: 0, ..span }),
        "month" => months(1),
        "quarter" => months(3),
        "year" => months(12),
        "decade" => months(120),
        "century" => months(1200),
        "millennium" => months(12_000),
        other => Err(unknown_field(other, "interval")),
    }
}

/// The time between two points in years, months and days of the calendar.
/// `age(xid)`: how many transactions ago it was. The first three numbers stand for no transaction and are past for ever.
fn transactions_since(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let latest = call.view()?.transaction_number();
    Ok(Value::Int4(match &args[0] {
        Value::Oid(number @ 3..) => latest.wrapping_sub(*number).cast_signed(),
        _ => i32::MAX,
    }))
}

fn age(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let local = |value: &Value| -> SqlResult<i64> {
        match value {
            Value::Timestamp(at) => Ok(*at),
            Value::Timestamptz(at) => Ok(at + i64::from(zone_of(args.get(2))?.offset_at(*at)) * SECOND),
            _ => Err(SqlError::internal("age of something without a time")),
        }
    };
    let (a, b) = (local(&args[0])?, local(&args[1])?);
    let (later, earlier, sign) = if a >= b { (a, b, 1) } else { (b, a, -1) };
    let (later_days, earlier_days) = (later.div_euclid(DAY), earlier.div_euclid(DAY));
    let (y1, m1, d1) = civil_from_days(later_days);
    let (y0, m0, d0) = civil_from_days(earlier_days);
    let mut micros = later.rem_euclid(DAY) - earlier.rem_euclid(DAY);
    let mut days = i64::from(d1) - i64::from(d0);
    let mut months = (y1 - y0) * 12 + i64::from(m1) - i64::from(m0);
    if micros < 0 {
        micros += DAY;
        days -= 1;
    }
    if days < 0 {
        // The borrowed month is the earlier date's.
        days += i64::from(days_in_month(y0, m0));
        months -= 1;
    }
    let span = Interval { months: (months * sign) as i32, days: (days * sign) as i32, micros: micros * sign };
    Ok(Value::Interval(span))
}
