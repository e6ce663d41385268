//! to_char, to_date, to_timestamp: PostgreSQL's templates.
//!
//! - [`template`]: what a template says
//! - [`number`]: to_char of numbers

mod number;
mod template;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::text::TimeZone;
use perigee_types::text::calendar::{
    MONTHS, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY, WEEKDAYS, civil_from_days, days_from_civil, days_in_month,
    weekday,
};
use perigee_types::text::zone::offset_text;
use perigee_types::{Interval, SqlError, SqlResult, SqlState, SqlType, Value};

use super::parts::iso_week;
use super::{DAY, SECOND};
use crate::exec::postgres::cast::time_zone;
use crate::exec::postgres::function::{Call, Function, Parameter, Returns, overload, overload_of};
use template::{Case, Field, Item, parse};

use SqlType as T;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let any_numeric = vec![Parameter::AnyNumeric, Parameter::Of(T::Text)];
    vec![
        Function::new(
            "to_char",
            vec![
                overload(&[T::Timestamp(None), T::Text], T::Text, to_char),
                overload(&[T::Timestamptz(None), T::Text], T::Text, to_char).with_zone(),
                overload(&[T::Interval, T::Text], T::Text, to_char),
                overload(&[T::Time(None), T::Text], T::Text, to_char),
                overload_of(any_numeric, Returns::Type(T::Text), number::to_char),
                overload(&[T::Float8, T::Text], T::Text, number::to_char),
            ],
        )
        .udf(),
        Function::new(
            "to_date",
            vec![overload(&[T::Text, T::Text], T::Date, |a, _| {
                let local = read(a[0].as_str().unwrap_or_default(), a[1].as_str().unwrap_or_default())?;
                let days = i32::try_from(local.micros.div_euclid(DAY)).map_err(|_| super::out_of_range("date"))?;
                Ok(Value::Date(days))
            })],
        )
        .udf(),
    ]
}

/// to_timestamp(text, template): arguments are both, then the session's zone.
pub(super) fn to_timestamp(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let read = read(args[0].as_str().unwrap_or_default(), args[1].as_str().unwrap_or_default())?;
    let zone = match args.get(2) {
        Some(Value::Text(name)) => time_zone(name)?,
        _ => TimeZone::Utc,
    };
    let offset = read.offset.unwrap_or_else(|| zone.offset_of_local(read.micros));
    Ok(Value::Timestamptz(read.micros - i64::from(offset) * SECOND))
}

/// What a template shows: a point in time on some clock, or an interval.
struct Shown {
    year: i64,
    month: u32,
    day: u32,
    /// The day since 1970; `None` for intervals.
    days: Option<i64>,
    /// Microseconds since midnight, or an interval's time.
    time: i64,
    zone: Option<(String, i32)>,
}

impl Shown {
    fn local(at: i64, zone: Option<(String, i32)>) -> Self {
        let days = at.div_euclid(DAY);
        let (year, month, day) = civil_from_days(days);
        Self { year, month, day, days: Some(days), time: at.rem_euclid(DAY), zone }
    }

    fn interval(span: Interval) -> Self {
        Self {
            year: i64::from(span.months / 12),
            month: (span.months % 12).unsigned_abs(),
            day: span.days.unsigned_abs(),
            days: None,
            time: span.micros,
            zone: None,
        }
    }
}

fn to_char(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let template = args[1].as_str().unwrap_or_default();
    let shown = match &args[0] {
        // PostgreSQL has no words for infinity here.
        Value::Timestamp(TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY)
        | Value::Timestamptz(TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY) => return Ok(Value::Null),
        Value::Timestamp(at) => Shown::local(*at, None),
        Value::Timestamptz(at) => {
            let zone = match args.get(2) {
                Some(Value::Text(name)) => time_zone(name)?,
                _ => TimeZone::Utc,
            };
            let offset = zone.offset_at(*at);
            Shown::local(at.saturating_add(i64::from(offset) * SECOND), Some((zone.abbreviation_at(*at), offset)))
        }
        Value::Time(at) => Shown { days: None, ..Shown::local(*at, None) },
        Value::Interval(span) => Shown::interval(*span),
        _ => return Err(SqlError::internal("to_char of something without a time")),
    };
    let mut out = String::new();
    for item in parse(template) {
        match item {
            Item::Literal(text) => out.push_str(&text),
            Item::Field { field, fill, ordinal } => {
                let text = show(field, fill, &shown)?;
                out.push_str(&text);
                if let Some(upper) = ordinal {
                    let suffix = ordinal_suffix(&text);
                    out.push_str(&if upper { suffix.to_uppercase() } else { suffix.to_owned() });
                }
            }
        }
    }
    Ok(Value::Text(out))
}

fn ordinal_suffix(number: &str) -> &'static str {
    let digits = number.trim();
    if digits.ends_with("11") || digits.ends_with("12") || digits.ends_with("13") {
        return "th";
    }
    match digits.as_bytes().last() {
        Some(b'1') => "st",
        Some(b'2') => "nd",
        Some(b'3') => "rd",
        _ => "th",
    }
}

fn cased(word: &str, case: Case) -> String {
    match case {
        Case::Upper => word.to_uppercase(),
        Case::Title => word.to_owned(),
        Case::Lower => word.to_lowercase(),
    }
}

fn show(field: Field, fill: bool, at: &Shown) -> SqlResult<String> {
    let number = |value: i64, width: usize| if fill { format!("{value:0width$}") } else { value.to_string() };
    let hours = at.time / (3600 * SECOND);
    let minute = at.time / (60 * SECOND) % 60;
    let second = at.time / SECOND % 60;
    let needs_day = || {
        at.days.ok_or_else(|| {
            SqlError::new(SqlState::InvalidDatetimeFormat, "invalid format specification for an interval value")
                .hint("Intervals are not tied to specific calendar dates.")
        })
    };
    let word = |word: &str, case: Case, width: usize| {
        let text = cased(word, case);
        if fill { format!("{text:<width$}") } else { text }
    };
    // Years before Christ are shown as positive numbers.
    let shown_year = if at.days.is_some() && at.year <= 0 { 1 - at.year } else { at.year };
    let month_name = || MONTHS.get(at.month.saturating_sub(1) as usize).copied().unwrap_or_default();
    Ok(match field {
        Field::Year(digits) => {
            let year = if digits >= 4 { shown_year } else { shown_year.rem_euclid(10i64.pow(digits)) };
            number(year, digits as usize)
        }
        Field::YearWithComma => {
            format!("{},{:03}", shown_year / 1000, shown_year % 1000)
        }
        Field::IsoYear(digits) => number(iso_week(needs_day()?).0.rem_euclid(10i64.pow(digits)), digits as usize),
        Field::Month => number(i64::from(at.month), 2),
        Field::MonthName(case) => {
            needs_day()?;
            word(month_name(), case, 9)
        }
        Field::MonthShort(case) => {
            needs_day()?;
            cased(&month_name()[..3], case)
        }
        Field::MonthRoman(upper) => {
            const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];
            let roman = ROMAN.get(at.month.saturating_sub(1) as usize).copied().unwrap_or_default();
            let case = if upper { Case::Upper } else { Case::Lower };
            word(roman, case, 4)
        }
        Field::Day => number(i64::from(at.day), 2),
        Field::DayOfYear => number(needs_day()? - days_from_civil(at.year, 1, 1) + 1, 3),
        Field::DayName(case) => word(WEEKDAYS[weekday(needs_day()?)], case, 9),
        Field::DayShort(case) => cased(&WEEKDAYS[weekday(needs_day()?)][..3], case),
        Field::Weekday => (weekday(needs_day()?) + 1).to_string(),
        Field::IsoWeekday => match weekday(needs_day()?) {
            0 => "7".to_owned(),
            day => day.to_string(),
        },
        Field::WeekOfMonth => ((at.day.max(1) - 1) / 7 + 1).to_string(),
        Field::WeekOfYear => number((needs_day()? - days_from_civil(at.year, 1, 1)) / 7 + 1, 2),
        Field::IsoWeek => number(iso_week(needs_day()?).1, 2),
        Field::Quarter => ((at.month.max(1) - 1) / 3 + 1).to_string(),
        Field::Century => number((shown_year + 99) / 100, 2),
        Field::Julian => (needs_day()? + 2_440_588).to_string(),
        Field::Hour24 => number(hours, 2),
        Field::Hour12 => number(if hours % 12 == 0 { 12 } else { hours % 12 }, 2),
        Field::Minute => number(minute, 2),
        Field::Second => number(second, 2),
        Field::Millisecond => number(at.time / 1_000 % 1_000, 3),
        Field::Microsecond => number(at.time % SECOND, 6),
        Field::Fraction(digits) => {
            let micros = format!("{:06}", at.time % SECOND);
            micros[..(digits as usize).min(6)].to_owned()
        }
        Field::SecondOfDay => number(at.time / SECOND, 1),
        Field::Meridiem { upper, dots } => {
            let half = match (hours % 24 >= 12, dots) {
                (true, true) => "p.m.",
                (true, false) => "pm",
                (false, true) => "a.m.",
                (false, false) => "am",
            };
            if upper { half.to_uppercase() } else { half.to_owned() }
        }
        Field::Era { upper, dots } => {
            let era = match (at.year <= 0, dots) {
                (true, true) => "b.c.",
                (true, false) => "bc",
                (false, true) => "a.d.",
                (false, false) => "ad",
            };
            if upper { era.to_uppercase() } else { era.to_owned() }
        }
        Field::ZoneName(upper) => match &at.zone {
            Some((name, _)) if upper => name.to_uppercase(),
            Some((name, _)) => name.to_lowercase(),
            None => String::new(),
        },
        Field::ZoneHour => {
            let offset = at.zone.as_ref().map_or(0, |(_, offset)| *offset);
            format!("{}{:02}", if offset < 0 { '-' } else { '+' }, offset.abs() / 3600)
        }
        Field::ZoneMinute => {
            let offset = at.zone.as_ref().map_or(0, |(_, offset)| *offset);
            format!("{:02}", offset.abs() % 3600 / 60)
        }
        Field::ZoneOffset => match &at.zone {
            Some((_, offset)) => offset_text(*offset),
            None => "+00".to_owned(),
        },
    })
}

/// A point in time as text said it.
struct Read {
    micros: i64,
    /// Seconds east, where the text said a zone.
    offset: Option<i32>,
}

/// Reads text by a template.
fn read(text: &str, template: &str) -> SqlResult<Read> {
    let mut rest = text.trim_start();
    let (mut year, mut month, mut day) = (None::<i64>, 1i64, 1i64);
    let (mut hour, mut minute, mut second, mut micros) = (0i64, 0i64, 0i64, 0i64);
    let (mut day_of_year, mut afternoon, mut twelve, mut before_christ) = (None, None, false, false);
    let (mut julian, mut offset, mut of_day) = (None, None, None);
    for item in parse(template) {
        let field = match item {
            Item::Literal(literal) => {
                for wanted in literal.chars() {
                    // Separators match separators, whatever they are.
                    rest = match rest.chars().next() {
                        Some(found) if found == wanted || !found.is_alphanumeric() => &rest[found.len_utf8()..],
                        _ => rest,
                    };
                }
                continue;
            }
            Item::Field { field, .. } => field,
        };
        rest = rest.trim_start();
        match field {
            Field::Year(digits) => {
                let negative = rest.strip_prefix('-').inspect(|r| rest = r).is_some();
                let (value, width) =
                    take_number(&mut rest, if digits >= 4 { 9 } else { digits as usize }, "YYYY", text)?;
                let value = match (digits, width) {
                    (4.., _) => value,
                    // Short years lie nearest to 2020.
                    (_, ..=2) => {
                        if value < 70 {
                            2000 + value
                        } else {
                            1900 + value
                        }
                    }
                    _ => {
                        if value < 520 {
                            2000 + value
                        } else {
                            1000 + value
                        }
                    }
                };
                year = Some(if negative { -value } else { value });
            }
            Field::YearWithComma => {
                let (thousands, _) = take_number(&mut rest, 6, "Y,YYY", text)?;
                rest = rest.strip_prefix(',').unwrap_or(rest);
                year = Some(thousands * 1000 + take_number(&mut rest, 3, "Y,YYY", text)?.0);
            }
            Field::Month => month = take_number(&mut rest, 2, "MM", text)?.0,
            Field::MonthName(_) | Field::MonthShort(_) => {
                month = take_name(&mut rest, &MONTHS, field_is_short(field)).ok_or_else(|| invalid(text, "Month"))?;
            }
            Field::Day => day = take_number(&mut rest, 2, "DD", text)?.0,
            Field::DayOfYear => day_of_year = Some(take_number(&mut rest, 3, "DDD", text)?.0),
            Field::DayName(_) | Field::DayShort(_) => {
                take_name(&mut rest, &WEEKDAYS, field_is_short(field)).ok_or_else(|| invalid(text, "Day"))?;
            }
            Field::Julian => julian = Some(take_number(&mut rest, 9, "J", text)?.0),
            Field::Hour24 => hour = take_number(&mut rest, 2, "HH24", text)?.0,
            Field::Hour12 => {
                hour = take_number(&mut rest, 2, "HH12", text)?.0;
                twelve = true;
            }
            Field::Minute => minute = take_number(&mut rest, 2, "MI", text)?.0,
            Field::Second => second = take_number(&mut rest, 2, "SS", text)?.0,
            Field::SecondOfDay => of_day = Some(take_number(&mut rest, 5, "SSSS", text)?.0),
            Field::Millisecond => micros = take_fraction(&mut rest, 3, "MS", text)?,
            Field::Microsecond => micros = take_fraction(&mut rest, 6, "US", text)?,
            Field::Fraction(digits) => micros = take_fraction(&mut rest, digits as usize, "FF", text)?,
            Field::Meridiem { .. } => {
                let lower = rest.to_lowercase();
                let (half, length) = match lower.as_str() {
                    l if l.starts_with("a.m.") => (false, 4),
                    l if l.starts_with("p.m.") => (true, 4),
                    l if l.starts_with("am") => (false, 2),
                    l if l.starts_with("pm") => (true, 2),
                    _ => return Err(invalid(text, "AM")),
                };
                afternoon = Some(half);
                rest = &rest[length..];
            }
            Field::Era { .. } => {
                let lower = rest.to_lowercase();
                before_christ = lower.starts_with('b');
                rest = &rest[rest.len().min(if lower.contains('.') { 4 } else { 2 })..];
            }
            Field::ZoneName(_) | Field::ZoneOffset => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && !"+-:/_".contains(c)).unwrap_or(rest.len());
                let zone = time_zone(&rest[..end])?;
                offset = Some(zone.offset_at(0));
                rest = &rest[end..];
            }
            _ => return Err(SqlError::unsupported(format_args!("this template for reading: \"{template}\""))),
        }
    }
    if twelve || afternoon.is_some() {
        if !(1..=12).contains(&hour) {
            return Err(SqlError::new(
                SqlState::InvalidDatetimeFormat,
                format!("hour \"{hour}\" is invalid for the 12-hour clock"),
            ));
        }
        hour = hour % 12 + if afternoon == Some(true) { 12 } else { 0 };
    }
    let year = year.unwrap_or(0);
    let year = if before_christ { 1 - year } else { year };
    let out =
        || SqlError::new(SqlState::DatetimeFieldOverflow, format!("date/time field value out of range: \"{text}\""));
    let month = u32::try_from(month).ok().filter(|m| (1..=12).contains(m)).ok_or_else(out)?;
    let day = u32::try_from(day).ok().filter(|d| (1..=days_in_month(year, month)).contains(d)).ok_or_else(out)?;
    if hour > 23 || minute > 59 || second > 59 {
        return Err(out());
    }
    let days = match (julian, day_of_year) {
        (Some(julian), _) => julian - 2_440_588,
        (None, Some(day)) => days_from_civil(year, 1, 1) + day - 1,
        (None, None) => days_from_civil(year, month, day),
    };
    let seconds = of_day.unwrap_or(hour * 3600 + minute * 60 + second);
    let micros = days.checked_mul(DAY).and_then(|d| d.checked_add(seconds * SECOND + micros)).ok_or_else(out)?;
    Ok(Read { micros, offset })
}

fn field_is_short(field: Field) -> bool {
    matches!(field, Field::MonthShort(_) | Field::DayShort(_))
}

fn invalid(text: &str, field: &str) -> SqlError {
    SqlError::new(SqlState::InvalidDatetimeFormat, format!("invalid value \"{text}\" for \"{field}\""))
}

/// A number of at most so many digits, and how many there were.
fn take_number(rest: &mut &str, digits_max: usize, field: &str, text: &str) -> SqlResult<(i64, usize)> {
    let width = rest.bytes().take(digits_max).take_while(u8::is_ascii_digit).count();
    let value = rest[..width].parse().map_err(|_| invalid(text, field))?;
    *rest = &rest[width..];
    Ok((value, width))
}

/// Digits behind a point, as microseconds.
fn take_fraction(rest: &mut &str, digits_max: usize, field: &str, text: &str) -> SqlResult<i64> {
    let (value, width) = take_number(rest, digits_max, field, text)?;
    Ok(value * 10i64.pow(6u32.saturating_sub(width as u32)))
}

/// The number, from 1, of the name that stands next.
fn take_name(rest: &mut &str, names: &[&str], short: bool) -> Option<i64> {
    let lower = rest.to_lowercase();
    let at = names.iter().position(|name| {
        let name = name.to_lowercase();
        lower.starts_with(if short { &name[..3] } else { &name }) || lower.starts_with(&name[..3])
    })?;
    let full = names[at].len();
    let length = if lower.starts_with(&names[at].to_lowercase()) { full } else { 3 };
    *rest = rest.get(length..)?;
    Some(at as i64 + 1)
}
