//! How `.datetime()` reads a string: by a template in the standard's strict mode, or by one of ISO's.

use perigee_types::text::calendar::{DAY_MICROS, MONTHS, days_from_civil, days_in_month};
use perigee_types::{SqlError, SqlResult, SqlState};

use super::moment::{Kind, Moment};

/// What is tried without a template.
const ISO: &[&str] = &[
    "YYYY-MM-DD",
    "HH24:MI:SS.USTZH:TZM",
    "HH24:MI:SS.USTZH",
    "HH24:MI:SS.US",
    "HH24:MI:SSTZH:TZM",
    "HH24:MI:SSTZH",
    "HH24:MI:SS",
    "YYYY-MM-DD HH24:MI:SS.USTZH:TZM",
    "YYYY-MM-DD HH24:MI:SS.USTZH",
    "YYYY-MM-DD HH24:MI:SS.US",
    "YYYY-MM-DD HH24:MI:SSTZH:TZM",
    "YYYY-MM-DD HH24:MI:SSTZH",
    "YYYY-MM-DD HH24:MI:SS",
    "YYYY-MM-DD\"T\"HH24:MI:SS.USTZH:TZM",
    "YYYY-MM-DD\"T\"HH24:MI:SS.USTZH",
    "YYYY-MM-DD\"T\"HH24:MI:SS.US",
    "YYYY-MM-DD\"T\"HH24:MI:SSTZH:TZM",
    "YYYY-MM-DD\"T\"HH24:MI:SSTZH",
    "YYYY-MM-DD\"T\"HH24:MI:SS",
];

/// What a keyword reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Year(usize),
    Month,
    MonthName(bool),
    Day,
    DayOfYear,
    Hour24,
    Hour12,
    Minute,
    Second,
    SecondOfDay,
    Millisecond,
    Fraction(usize),
    Meridiem(bool),
    ZoneHour,
    ZoneMinute,
}

/// Keywords, longer ones before those that they start with: name, what it reads, how many digits.
const KEYWORDS: &[(&str, Field, usize)] = &[
    ("A.M.", Field::Meridiem(true), 0),
    ("P.M.", Field::Meridiem(true), 0),
    ("AM", Field::Meridiem(false), 0),
    ("PM", Field::Meridiem(false), 0),
    ("YYYY", Field::Year(4), 4),
    ("YYY", Field::Year(3), 3),
    ("YY", Field::Year(2), 2),
    ("Y", Field::Year(1), 1),
    ("RRRR", Field::Year(4), 4),
    ("RR", Field::Year(2), 2),
    ("MONTH", Field::MonthName(true), 0),
    ("MON", Field::MonthName(false), 0),
    ("MM", Field::Month, 2),
    ("MI", Field::Minute, 2),
    ("MS", Field::Millisecond, 3),
    ("DDD", Field::DayOfYear, 3),
    ("DD", Field::Day, 2),
    ("HH24", Field::Hour24, 2),
    ("HH12", Field::Hour12, 2),
    ("HH", Field::Hour12, 2),
    ("SSSSS", Field::SecondOfDay, 5),
    ("SSSS", Field::SecondOfDay, 5),
    ("SS", Field::Second, 2),
    ("US", Field::Fraction(6), 6),
    ("FF1", Field::Fraction(1), 1),
    ("FF2", Field::Fraction(2), 2),
    ("FF3", Field::Fraction(3), 3),
    ("FF4", Field::Fraction(4), 4),
    ("FF5", Field::Fraction(5), 5),
    ("FF6", Field::Fraction(6), 6),
    ("TZH", Field::ZoneHour, 2),
    ("TZM", Field::ZoneMinute, 2),
];

/// The day behind the last one of a timestamp, since 1970-01-01.
const TIMESTAMP_DAYS_MAX: i64 = 106_751_983;

/// Keywords of `to_char` that have no place here.
const OTHERS: &[&str] = &[
    "IYYY", "IYY", "IY", "IW", "IDDD", "ID", "I", "DAY", "DY", "D", "WW", "W", "CC", "J", "Q", "RM", "TZ", "OF", "BC",
    "AD", "B.C.", "A.D.", "Y,YYY",
];

/// A piece of a template.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Piece {
    Separator(char),
    /// Within quotes.
    Character(char),
    Field(Field, &'static str, usize),
}

/// Reads a string. The outer error is the template's and reaches every caller; the inner one is the string's.
///
/// # Errors
/// `22007`, `22008`, `22031`
pub(super) fn read(text: &str, template: Option<&str>) -> SqlResult<SqlResult<Moment>> {
    if let Some(template) = template {
        return Ok(parse(text, &pieces(template)?));
    }
    for template in ISO {
        if let Ok(moment) = parse(text, &pieces(template)?) {
            return Ok(Ok(moment));
        }
    }
    Ok(Err(SqlError::new(
        SqlState::InvalidJsonDatetimeArgument,
        format!("datetime format is not recognized: \"{text}\""),
    )
    .hint("Use a datetime template argument to specify the input data format.")))
}

fn wrong(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::InvalidDatetimeFormat, message)
}

fn pieces(template: &str) -> SqlResult<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let starts = |rest: &str, word: &str| rest.get(..word.len()).is_some_and(|s| s.eq_ignore_ascii_case(word));
    while let Some(c) = rest.chars().next() {
        if let Some(tail) = rest.strip_prefix('"') {
            let end = tail.find('"').unwrap_or(tail.len());
            pieces.extend(tail[..end].chars().map(Piece::Character));
            rest = tail.get(end + 1..).unwrap_or_default();
            continue;
        }
        if starts(rest, "FX") || starts(rest, "FM") {
            rest = &rest[2..];
            continue;
        }
        let other = OTHERS.iter().find(|word| starts(rest, word));
        let known = KEYWORDS.iter().find(|(word, ..)| starts(rest, word));
        match (known, other) {
            (Some((word, field, digits)), other) if other.is_none_or(|o| o.len() <= word.len()) => {
                pieces.push(Piece::Field(*field, word, *digits));
                rest = &rest[word.len()..];
            }
            (_, Some(word)) => {
                return Err(SqlError::unsupported(format_args!("\"{word}\" in a datetime template of jsonpath")));
            }
            _ if "-./,':; ".contains(c) => {
                pieces.push(Piece::Separator(c));
                rest = &rest[c.len_utf8()..];
            }
            _ => return Err(wrong(format!("invalid datetime format separator: \"{c}\""))),
        }
    }
    Ok(pieces)
}

/// What has been read.
#[derive(Default)]
struct Parts {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: Option<i64>,
    twelve: bool,
    afternoon: Option<bool>,
    minute: Option<i64>,
    second: Option<i64>,
    second_of_day: Option<i64>,
    micros: i64,
    zone_sign: i64,
    zone_hour: i64,
    zone_minute: i64,
}

fn parse(text: &str, pieces: &[Piece]) -> SqlResult<Moment> {
    let mut parts = Parts::default();
    let mut rest = text;
    let mut pieces_left = pieces;
    while let Some((piece, after)) = pieces_left.split_first() {
        let Some(first) = rest.chars().next() else { break };
        pieces_left = after;
        match piece {
            Piece::Separator(wanted) if *wanted == first => rest = &rest[first.len_utf8()..],
            Piece::Separator(wanted) => return Err(wrong(format!("unmatched format separator \"{wanted}\""))),
            Piece::Character(wanted) if *wanted == first => rest = &rest[first.len_utf8()..],
            Piece::Character(wanted) => return Err(wrong(format!("unmatched format character \"{wanted}\""))),
            Piece::Field(field, name, digits) => {
                // Digits right behind are the next field's; anything else ends a number by itself.
                let slurp = match after.first() {
                    Some(Piece::Field(next, ..)) => {
                        matches!(next, Field::Meridiem(_) | Field::MonthName(_) | Field::ZoneHour)
                    }
                    _ => true,
                };
                rest = self::field(&mut parts, *field, name, *digits, slurp, rest)?;
            }
        }
    }
    if !pieces_left.is_empty() {
        return Err(wrong("input string is too short for datetime format"));
    }
    if !rest.trim_start().is_empty() {
        return Err(wrong("trailing characters remain in input string after datetime format"));
    }
    moment(&parts, pieces)
}

fn field<'t>(
    parts: &mut Parts,
    field: Field,
    name: &str,
    digits: usize,
    slurp: bool,
    text: &'t str,
) -> SqlResult<&'t str> {
    let word = |choices: &[&str]| {
        let at = choices.iter().position(|c| text.get(..c.len()).is_some_and(|s| s.eq_ignore_ascii_case(c)));
        at.ok_or_else(|| {
            wrong(format!("invalid value \"{}\" for \"{name}\"", text.split_whitespace().next().unwrap_or_default()))
                .detail("The given value did not match any of the allowed values for this field.")
        })
    };
    match field {
        Field::Meridiem(dots) => {
            let choices: &[&str] = if dots { &["a.m.", "p.m."] } else { &["am", "pm"] };
            let at = word(choices)?;
            set_flag(&mut parts.afternoon, at == 1);
            return Ok(&text[choices[at].len()..]);
        }
        Field::MonthName(full) => {
            let names: Vec<&str> = MONTHS.iter().map(|name| if full { *name } else { &name[..3] }).collect();
            let at = word(&names)?;
            set(&mut parts.month, at as i64 + 1, name)?;
            return Ok(&text[names[at].len()..]);
        }
        Field::ZoneHour => {
            let (sign, tail) = match text.chars().next() {
                Some('-') => (-1, &text[1..]),
                Some('+' | ' ') => (1, &text[1..]),
                _ => (1, text),
            };
            parts.zone_sign = sign;
            let (value, _, tail) = integer(tail, name, digits, slurp)?;
            parts.zone_hour = value;
            return Ok(tail);
        }
        _ => {}
    }
    let (value, count, rest) = integer(text, name, digits, slurp)?;
    match field {
        Field::Year(width) => {
            let century = match (width, count) {
                (4, _) | (_, 4..) => 0,
                (3, _) => {
                    if value < 520 {
                        2000
                    } else {
                        1000
                    }
                }
                (2, _) if count <= 2 => {
                    if value < 70 {
                        2000
                    } else {
                        1900
                    }
                }
                (1, _) if count <= 1 => 2000,
                _ => 0,
            };
            set(&mut parts.year, value + century, name)?;
        }
        Field::Month => set(&mut parts.month, value, name)?,
        Field::Day => set(&mut parts.day, value, name)?,
        Field::DayOfYear => set(&mut parts.day_of_year, value, name)?,
        Field::Hour24 => set(&mut parts.hour, value, name)?,
        Field::Hour12 => {
            parts.twelve = true;
            set(&mut parts.hour, value, name)?;
        }
        Field::Minute => set(&mut parts.minute, value, name)?,
        Field::Second => set(&mut parts.second, value, name)?,
        Field::SecondOfDay => set(&mut parts.second_of_day, value, name)?,
        Field::Millisecond => parts.micros += scaled(value, count) / 1000 * 1000,
        Field::Fraction(_) => parts.micros += scaled(value, count),
        Field::ZoneMinute => {
            parts.zone_minute = value;
            if parts.zone_sign == 0 {
                parts.zone_sign = 1;
            }
        }
        Field::Meridiem(_) | Field::MonthName(_) | Field::ZoneHour => {}
    }
    Ok(rest)
}

/// A fraction of so many digits in microseconds.
fn scaled(value: i64, digits: usize) -> i64 {
    (digits..6).fold(value, |value, _| value * 10)
}

fn set(part: &mut Option<i64>, value: i64, name: &str) -> SqlResult<()> {
    match part.replace(value) {
        Some(before) if before != value => {
            Err(wrong(format!("conflicting values for \"{name}\" field in formatting string"))
                .detail("This value contradicts a previous setting for the same field type."))
        }
        _ => Ok(()),
    }
}

fn set_flag(part: &mut Option<bool>, value: bool) {
    *part = Some(value);
}

/// A number, how many digits it has, and what is left.
fn integer<'t>(text: &'t str, name: &str, digits: usize, slurp: bool) -> SqlResult<(i64, usize, &'t str)> {
    let text = text.trim_start();
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let sign = text.len() - unsigned.len();
    let length = sign + unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let length = if slurp { length } else { length.min(digits) };
    let shown = text.get(..digits.min(text.len())).unwrap_or(text);
    if !slurp && text.len() < digits {
        return Err(wrong(format!("source string too short for \"{name}\" formatting field"))
            .detail(format!("Field requires {digits} characters, but only {} remain.", text.len())));
    }
    if length == sign {
        return Err(wrong(format!("invalid value \"{shown}\" for \"{name}\"")).detail("Value must be an integer."));
    }
    if !slurp && length < digits {
        return Err(wrong(format!("invalid value \"{shown}\" for \"{name}\""))
            .detail(format!("Field requires {digits} characters, but only {length} could be parsed.")));
    }
    let value = text[..length].parse::<i32>().map_err(|_| {
        SqlError::new(SqlState::DatetimeFieldOverflow, format!("value for \"{name}\" in source string is out of range"))
    })?;
    Ok((i64::from(value), length, &text[length..]))
}

fn moment(parts: &Parts, pieces: &[Piece]) -> SqlResult<Moment> {
    let has =
        |which: fn(Field) -> bool| pieces.iter().any(|piece| matches!(piece, Piece::Field(field, ..) if which(*field)));
    let zoned = has(|f| matches!(f, Field::ZoneHour | Field::ZoneMinute));
    let dated =
        has(|f| matches!(f, Field::Year(_) | Field::Month | Field::MonthName(_) | Field::Day | Field::DayOfYear));
    let timed = has(|f| {
        matches!(
            f,
            Field::Hour24
                | Field::Hour12
                | Field::Minute
                | Field::Second
                | Field::SecondOfDay
                | Field::Millisecond
                | Field::Fraction(_)
                | Field::Meridiem(_)
        )
    });
    let kind = match (dated, timed, zoned) {
        (true, true, true) => Kind::TimestampTz,
        (true, true, false) => Kind::Timestamp,
        (true, false, true) => return Err(wrong("datetime format is zoned but not timed")),
        (true, false, false) => Kind::Date,
        (false, true, true) => Kind::TimeTz,
        (false, true, false) => Kind::Time,
        (false, false, _) => return Err(wrong("datetime format is not dated and not timed")),
    };
    let out_of_range = || SqlError::new(SqlState::DatetimeFieldOverflow, "date/time field value out of range");
    let days = if dated { date(parts).ok_or_else(out_of_range)? } else { 0 };
    let time = time_of_day(parts)?.ok_or_else(out_of_range)?;
    if !(0..16).contains(&parts.zone_hour) || !(0..60).contains(&parts.zone_minute) {
        return Err(SqlError::new(SqlState::InvalidTimeZoneDisplacement, "time zone displacement out of range"));
    }
    let east = parts.zone_sign * (parts.zone_hour * 3600 + parts.zone_minute * 60);
    let in_range = kind == Kind::Date || days < TIMESTAMP_DAYS_MAX;
    if !in_range {
        return Err(out_of_range());
    }
    let local = i128::from(days) * i128::from(DAY_MICROS) + i128::from(time);
    Ok(Moment { kind, local, east: i32::try_from(east).unwrap_or(0) })
}

/// Days since 1970-01-01.
fn date(parts: &Parts) -> Option<i64> {
    let year = parts.year.unwrap_or(0);
    // Year 0 is 1 BC, as it is where none is given.
    if !(-4712..=5_874_897).contains(&year) {
        return None;
    }
    if let Some(day) = parts.day_of_year {
        let first = days_from_civil(year, 1, 1);
        return (1..=366).contains(&day).then_some(first + day - 1);
    }
    let month = u32::try_from(parts.month.unwrap_or(1)).ok().filter(|m| (1..=12).contains(m))?;
    let day = u32::try_from(parts.day.unwrap_or(1)).ok()?;
    (1..=days_in_month(year, month)).contains(&day).then(|| days_from_civil(year, month, day))
}

/// Microseconds since midnight; `None` where a part is out of range.
fn time_of_day(parts: &Parts) -> SqlResult<Option<i64>> {
    let mut hour = parts.hour.unwrap_or(0);
    let (mut minute, mut second) = (parts.minute.unwrap_or(0), parts.second.unwrap_or(0));
    if let Some(of_day) = parts.second_of_day {
        (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    } else if parts.twelve || parts.afternoon.is_some() {
        if parts.hour.is_some() && !(1..=12).contains(&hour) {
            return Err(wrong(format!("hour \"{hour}\" is invalid for the 12-hour clock"))
                .hint("Use the 24-hour clock, or give an hour between 1 and 12."));
        }
        match parts.afternoon {
            Some(true) if hour < 12 => hour += 12,
            Some(false) if hour == 12 => hour = 0,
            _ => {}
        }
    }
    let fits = (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second)
        && (0..1_000_000).contains(&parts.micros);
    Ok(fits.then(|| ((hour * 60 + minute) * 60 + second) * 1_000_000 + parts.micros))
}
