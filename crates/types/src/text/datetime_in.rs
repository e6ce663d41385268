//! Reading date, time, timestamp and timestamptz in the forms that PostgreSQL takes.
//!
//! The common form, `YYYY-MM-DD[ HH:MM:SS[.ffffff]]`, has a path of its own without any searching; the rest goes
//! through a scanner that collects [`Parts`] and makes sense of them at the end.

use super::calendar::{
    DATE_INFINITY, DATE_MINUS_INFINITY, DAY_MICROS, MONTHS, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY, WEEKDAYS,
    days_from_civil, days_in_month,
};
use super::settings::{DateOrder, OutputSettings};
use super::zone::TimeZone;
use crate::{SqlError, SqlResult, SqlState};

/// Reads a date as days since 1970-01-01. A time of day behind it is ignored.
///
/// # Errors
/// `22007`, `22008`.
pub fn parse_date(text: &str, settings: &OutputSettings) -> SqlResult<i32> {
    if let (Some(days), []) = iso_date(text.as_bytes()) {
        return Ok(days);
    }
    let parts = Parts::scan(text, "date", settings)?;
    match parts.special {
        Some(Special::Infinity) => return Ok(DATE_INFINITY),
        Some(Special::MinusInfinity) => return Ok(DATE_MINUS_INFINITY),
        _ => {}
    }
    let days = parts.days(text, "date", settings)?;
    if !(-2_440_588..=2_145_031_948).contains(&days) {
        return Err(SqlError::new(SqlState::DatetimeFieldOverflow, format!("date out of range: \"{text}\"")));
    }
    i32::try_from(days).map_err(|_| field_overflow(text))
}

/// Reads a time as microseconds since midnight. A date before it is ignored.
///
/// # Errors
/// `22007`, `22008`.
pub fn parse_time(text: &str, settings: &OutputSettings) -> SqlResult<i64> {
    if let (Some(micros), []) = iso_time(text.as_bytes()) {
        return Ok(micros);
    }
    let parts = Parts::scan(text, "time", settings)?;
    match (parts.special, parts.time) {
        (Some(Special::Now), _) => {
            let now = now(text, settings)?;
            let local = now + i64::from(settings.time_zone.offset_at(now)) * 1_000_000;
            Ok(local.rem_euclid(DAY_MICROS))
        }
        (None, Some(time)) => Ok(time),
        _ => Err(invalid("time", text)),
    }
}

/// Reads a time with its zone as microseconds since midnight and seconds east of UTC. Without a zone the session's counts, on the
/// date that stands there or today.
///
/// # Errors
/// `22007`, `22008`; `0A000` where a zone's rules ask for a date and nobody has said what time it is.
pub fn parse_timetz(text: &str, settings: &OutputSettings) -> SqlResult<(i64, i32)> {
    let name = "time with time zone";
    let parts = Parts::scan(text, name, settings)?;
    let (time, now_is_meant) = match (parts.special, parts.time) {
        (Some(Special::Now), _) => {
            let now = now(text, settings)?;
            let local = now + i64::from(settings.time_zone.offset_at(now)) * 1_000_000;
            (local.rem_euclid(DAY_MICROS), true)
        }
        (None, Some(time)) => (time, false),
        _ => return Err(invalid(name, text)),
    };
    let dated = parts.date.is_some() || parts.month.is_some();
    let east = match parts.zone {
        // An abbreviation is one offset, the name of a zone is many.
        Some(TimeZone::Named(zone)) if !dated && !now_is_meant => {
            TimeZone::abbreviation(zone.name()).ok_or_else(|| invalid(name, text))?
        }
        zone => {
            let zone = zone.unwrap_or(settings.time_zone);
            match zone {
                TimeZone::Named(_) if dated => zone.offset_of_local(parts.local(text, name, settings)?),
                TimeZone::Named(_) => zone.offset_at(now(text, settings)?),
                fixed => fixed.offset_at(0),
            }
        }
    };
    Ok((time, east))
}

/// Reads a timestamp as microseconds since 1970. A zone is ignored, as PostgreSQL does.
///
/// # Errors
/// `22007`, `22008`.
pub fn parse_timestamp(text: &str, settings: &OutputSettings) -> SqlResult<i64> {
    if let Some(micros) = iso_timestamp(text) {
        return Ok(micros);
    }
    let parts = Parts::scan(text, "timestamp", settings)?;
    match parts.special {
        Some(Special::Infinity) => Ok(TIMESTAMP_INFINITY),
        Some(Special::MinusInfinity) => Ok(TIMESTAMP_MINUS_INFINITY),
        _ => parts.local(text, "timestamp", settings),
    }
}

/// Reads a timestamptz as microseconds since 1970 UTC. Without a zone the session's counts.
///
/// # Errors
/// `22007`, `22008`; `22023` for a zone that does not exist.
pub fn parse_timestamptz(text: &str, settings: &OutputSettings) -> SqlResult<i64> {
    let name = "timestamp with time zone";
    if settings.time_zone == TimeZone::Utc
        && let Some(micros) = iso_timestamp(text.strip_suffix("+00").unwrap_or(text))
    {
        return Ok(micros);
    }
    let parts = Parts::scan(text, name, settings)?;
    match parts.special {
        Some(Special::Infinity) => return Ok(TIMESTAMP_INFINITY),
        Some(Special::MinusInfinity) => return Ok(TIMESTAMP_MINUS_INFINITY),
        Some(Special::Now) => return now(text, settings),
        Some(Special::Epoch) => return Ok(0),
        _ => {}
    }
    let local = parts.local(text, name, settings)?;
    let offset = parts.zone.unwrap_or(settings.time_zone).offset_of_local(local);
    finite(i128::from(local) - i128::from(offset) * 1_000_000).ok_or_else(|| timestamp_range(text))
}

/// Reads `YYYY-MM-DD` at the start; `None` for anything else, also for a date that does not exist.
fn iso_date(bytes: &[u8]) -> (Option<i32>, &[u8]) {
    let [a, b, c, d, b'-', e, f, b'-', g, h, rest @ ..] = bytes else { return (None, bytes) };
    let (Some(century), Some(year), Some(month), Some(day)) = (pair(*a, *b), pair(*c, *d), pair(*e, *f), pair(*g, *h))
    else {
        return (None, bytes);
    };
    let year = i64::from(century * 100 + year);
    if year == 0 || !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
        return (None, bytes);
    }
    (Some(days_from_civil(year, month, day) as i32), rest)
}

/// Reads `HH:MM:SS[.ffffff]` at the start; `None` for anything else.
fn iso_time(bytes: &[u8]) -> (Option<i64>, &[u8]) {
    let [a, b, b':', c, d, b':', e, f, rest @ ..] = bytes else { return (None, bytes) };
    let (Some(hour), Some(minute), Some(second)) = (pair(*a, *b), pair(*c, *d), pair(*e, *f)) else {
        return (None, bytes);
    };
    if hour > 23 || minute > 59 || second > 59 {
        return (None, bytes);
    }
    let mut micros = i64::from(hour * 3600 + minute * 60 + second) * 1_000_000;
    let mut rest = rest;
    if let [b'.', digits @ ..] = rest {
        let mut unit = 100_000;
        rest = digits;
        while let [digit @ b'0'..=b'9', tail @ ..] = rest {
            if unit == 0 {
                return (None, bytes);
            }
            micros += i64::from(digit - b'0') * unit;
            unit /= 10;
            rest = tail;
        }
    }
    (Some(micros), rest)
}

fn iso_timestamp(text: &str) -> Option<i64> {
    let (days, rest) = iso_date(text.as_bytes());
    let midnight = i64::from(days?) * DAY_MICROS;
    match rest {
        [] => Some(midnight),
        [b' ' | b'T', rest @ ..] => match iso_time(rest) {
            (Some(time), []) => Some(midnight + time),
            _ => None,
        },
        _ => None,
    }
}

fn pair(a: u8, b: u8) -> Option<u32> {
    (a.is_ascii_digit() && b.is_ascii_digit()).then(|| u32::from(a - b'0') * 10 + u32::from(b - b'0'))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Special {
    Infinity,
    MinusInfinity,
    Now,
    Epoch,
    /// Days from the session's today.
    Today(i64),
}

/// A number of the text with its count of digits, which tells years from days.
#[derive(Clone, Copy, Debug)]
struct Number {
    value: i64,
    digits: usize,
}

/// What the text says, before the pieces are put together.
#[derive(Debug, Default)]
struct Parts {
    special: Option<Special>,
    /// A whole date: year (astronomical unless `bc`), month, day.
    date: Option<(i64, u32, u32)>,
    month: Option<u32>,
    numbers: Vec<Number>,
    time: Option<i64>,
    zone: Option<TimeZone>,
    bc: bool,
    /// A lone T came: the next number is a time.
    time_next: bool,
}

impl Parts {
    fn scan(text: &str, type_name: &'static str, settings: &OutputSettings) -> SqlResult<Parts> {
        let bad = || invalid(type_name, text);
        let mut parts = Parts::default();
        let mut rest = text.as_bytes();
        let mut any = false;
        while let [first, tail @ ..] = rest {
            match first {
                b' ' | b'\t' | b'\n' | b'\r' | b',' => {
                    rest = tail;
                    continue;
                }
                b'0'..=b'9' => rest = parts.digits(rest, text, type_name, settings)?,
                b'+' | b'-' => {
                    let word = run(tail, u8::is_ascii_alphabetic);
                    if !word.is_empty() {
                        // +infinity, -infinity
                        let special = if *first == b'-' { Special::MinusInfinity } else { Special::Infinity };
                        if !matches!(&word.to_ascii_lowercase()[..], b"infinity" | b"inf") {
                            return Err(bad());
                        }
                        parts.set_special(special).ok_or_else(bad)?;
                        rest = &tail[word.len()..];
                    } else {
                        if parts.zone.is_some() || (parts.time.is_none() && parts.date.is_none()) {
                            return Err(bad());
                        }
                        let (offset, after) = parse_offset(rest, text).ok_or_else(bad)??;
                        parts.zone = Some(TimeZone::fixed(offset));
                        rest = after;
                    }
                }
                b'a'..=b'z' | b'A'..=b'Z' | b'<' => rest = parts.word(rest, text, type_name)?,
                _ => return Err(bad()),
            }
            any = true;
        }
        if any { Ok(parts) } else { Err(bad()) }
    }

    /// A token that begins with a digit: a time, a date, or a number.
    fn digits<'a>(
        &mut self,
        bytes: &'a [u8],
        text: &str,
        type_name: &'static str,
        settings: &OutputSettings,
    ) -> SqlResult<&'a [u8]> {
        let bad = || invalid(type_name, text);
        let digits = run(bytes, u8::is_ascii_digit);
        let rest = &bytes[digits.len()..];
        match rest {
            [b':', ..] if self.time.is_none() => {
                let (time, rest) = clock(bytes, text).ok_or_else(bad)??;
                self.time = Some(time);
                self.time_next = false;
                return Ok(rest);
            }
            [b'-' | b'/' | b'.', next, ..]
                if self.date.is_none()
                    && self.numbers.is_empty()
                    && next.is_ascii_alphanumeric()
                    && digits.len() < 8 =>
            {
                return self.date_group(bytes, rest[0], text, type_name, settings);
            }
            _ => {}
        }
        let value: i64 = std::str::from_utf8(digits).ok().and_then(|s| s.parse().ok()).ok_or_else(bad)?;
        if self.time_next || (self.date.is_some() && self.time.is_none() && matches!(digits.len(), 4 | 6)) {
            // HHMM[SS[.ffffff]] behind the date.
            let (hour, minute, second) = match digits.len() {
                6 => (value / 10_000, value / 100 % 100, value % 100),
                4 => (value / 100, value % 100, 0),
                2 => (value, 0, 0),
                _ => return Err(bad()),
            };
            let (micros, rest) = fraction(rest);
            self.time = Some(time_of(hour, minute, second, micros).ok_or_else(|| field_overflow(text))?);
            self.time_next = false;
            return Ok(rest);
        }
        if type_name == "time" && self.time.is_none() && matches!(digits.len(), 4 | 6) {
            self.time_next = true;
            return self.digits(bytes, text, type_name, settings);
        }
        if self.date.is_none() && self.month.is_none() && self.numbers.is_empty() && matches!(digits.len(), 6 | 8) {
            let year = if digits.len() == 8 { value / 10_000 } else { short_year(value / 10_000, 2) };
            self.date = Some((year, (value / 100 % 100) as u32, (value % 100) as u32));
            return Ok(rest);
        }
        self.numbers.push(Number { value, digits: digits.len() });
        if self.numbers.len() > 3 {
            return Err(bad());
        }
        // 8th, 1st
        let suffix = run(rest, u8::is_ascii_alphabetic);
        if matches!(&suffix.to_ascii_lowercase()[..], b"st" | b"nd" | b"rd" | b"th") {
            return Ok(&rest[2..]);
        }
        Ok(rest)
    }

    /// Three parts with one separator: `2024-01-31`, `1/31/2024`, `31.1.2024`, `31-Jan-2024`; or `2024-031`.
    fn date_group<'a>(
        &mut self,
        bytes: &'a [u8],
        separator: u8,
        text: &str,
        type_name: &'static str,
        settings: &OutputSettings,
    ) -> SqlResult<&'a [u8]> {
        let bad = || invalid(type_name, text);
        let mut rest = bytes;
        let mut numbers = Vec::new();
        let mut month_at = None;
        for place in 0..3 {
            let digits = run(rest, u8::is_ascii_digit);
            if digits.is_empty() {
                let word = run(rest, u8::is_ascii_alphabetic);
                self.month = Some(month_of(word).filter(|_| month_at.is_none()).ok_or_else(bad)?);
                month_at = Some(place);
                rest = &rest[word.len()..];
            } else {
                let value = std::str::from_utf8(digits).ok().and_then(|s| s.parse().ok()).ok_or_else(bad)?;
                numbers.push(Number { value, digits: digits.len() });
                rest = &rest[digits.len()..];
            }
            match rest {
                [b, next, ..] if *b == separator && place < 2 && next.is_ascii_alphanumeric() => rest = &rest[1..],
                _ => break,
            }
        }
        match (&numbers[..], self.month.take()) {
            ([a, b], Some(month)) => self.date = Some(with_month(*a, *b, month)),
            ([a, b, c], None) => {
                let (y, m, d) = if a.digits >= 3 {
                    (a, b, c)
                } else {
                    match settings.date_order {
                        _ if c.digits >= 3 && separator == b'.' => (c, b, a),
                        DateOrder::Mdy if separator != b'.' => (c, a, b),
                        DateOrder::Ymd => (a, b, c),
                        _ => (c, b, a),
                    }
                };
                let small = |n: &Number| u32::try_from(n.value).unwrap_or(u32::MAX);
                self.date = Some((short_year(y.value, y.digits), small(m), small(d)));
            }
            ([year, day], None) if year.digits >= 4 && day.digits == 3 && day.value >= 1 => {
                let days = days_from_civil(year.value, 1, 1) + day.value - 1;
                self.date = Some(super::calendar::civil_from_days(days));
            }
            _ => return Err(bad()),
        }
        Ok(rest)
    }

    /// A token that begins with a letter.
    fn word<'a>(&mut self, bytes: &'a [u8], text: &str, type_name: &'static str) -> SqlResult<&'a [u8]> {
        let bad = || invalid(type_name, text);
        let letters = run(bytes, u8::is_ascii_alphabetic);
        let rest = &bytes[letters.len()..];
        let lower = letters.to_ascii_lowercase();
        let known = match &lower[..] {
            b"t" if rest.first().is_some_and(u8::is_ascii_digit) => {
                self.time_next = true;
                Some(())
            }
            b"am" | b"pm" => {
                let time = self.time.ok_or_else(bad)?;
                let hour = time / 3_600_000_000;
                if hour > 12 {
                    return Err(field_overflow(text));
                }
                let noon = i64::from(&lower[..] == b"pm") * 12;
                self.time = Some(time - hour * 3_600_000_000 + (hour % 12 + noon) * 3_600_000_000);
                Some(())
            }
            b"bc" => {
                self.bc = true;
                Some(())
            }
            b"ad" | b"at" | b"on" => Some(()),
            b"infinity" | b"inf" => Some(self.set_special(Special::Infinity).ok_or_else(bad)?),
            b"epoch" => Some(self.set_special(Special::Epoch).ok_or_else(bad)?),
            b"now" => Some(self.set_special(Special::Now).ok_or_else(bad)?),
            b"today" => Some(self.set_special(Special::Today(0)).ok_or_else(bad)?),
            b"tomorrow" => Some(self.set_special(Special::Today(1)).ok_or_else(bad)?),
            b"yesterday" => Some(self.set_special(Special::Today(-1)).ok_or_else(bad)?),
            b"allballs" => {
                self.time = Some(0);
                Some(())
            }
            b"j" if rest.first().is_some_and(u8::is_ascii_digit) => {
                let digits = run(rest, u8::is_ascii_digit);
                let julian: i64 = std::str::from_utf8(digits).ok().and_then(|s| s.parse().ok()).ok_or_else(bad)?;
                let days = julian.checked_sub(2_440_588).filter(|d| *d < i64::from(i32::MAX)).ok_or_else(bad)?;
                self.date = Some(super::calendar::civil_from_days(days));
                return Ok(&rest[digits.len()..]);
            }
            _ => None,
        };
        if known.is_some() {
            return Ok(rest);
        }
        if self.month.is_none()
            && self.date.is_none()
            && let Some(month) = month_of(letters)
        {
            self.month = Some(month);
            // Jan-08-1999
            return Ok(match rest {
                [b'-' | b'/' | b'.', b'0'..=b'9', ..] => &rest[1..],
                _ => rest,
            });
        }
        if lower.len() >= 3
            && WEEKDAYS
                .iter()
                .any(|d| d.len() >= lower.len() && d.as_bytes()[..lower.len()].eq_ignore_ascii_case(&lower))
        {
            return Ok(rest);
        }
        self.zone_word(bytes, text, type_name)
    }

    fn zone_word<'a>(&mut self, bytes: &'a [u8], text: &str, type_name: &'static str) -> SqlResult<&'a [u8]> {
        let word =
            run(bytes, |b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'+' | b'-' | b'<' | b'>' | b':'));
        let name = std::str::from_utf8(word).unwrap_or_default();
        if self.zone.is_some() || (self.date.is_none() && self.time.is_none() && self.numbers.is_empty()) {
            return Err(invalid(type_name, text));
        }
        let zone = TimeZone::named(name).or_else(|| {
            // UTC+3 and the like; a plain word is no zone.
            name.contains(['+', '-']).then(|| TimeZone::parse(name)).flatten()
        });
        match zone {
            Some(zone) => self.zone = Some(zone),
            None if name.contains('/') => {
                return Err(SqlError::new(
                    SqlState::InvalidParameterValue,
                    format!("time zone \"{name}\" not recognized"),
                ));
            }
            None => return Err(invalid(type_name, text)),
        }
        Ok(&bytes[word.len()..])
    }

    fn set_special(&mut self, special: Special) -> Option<()> {
        self.special.replace(special).is_none().then_some(())
    }

    /// The day that the text names.
    fn days(&self, text: &str, type_name: &'static str, settings: &OutputSettings) -> SqlResult<i64> {
        let bad = || invalid(type_name, text);
        match self.special {
            Some(Special::Epoch) => return Ok(0),
            Some(Special::Today(offset)) => return Ok(today(text, settings)? + offset),
            Some(Special::Now) => return today(text, settings),
            Some(_) => return Err(bad()),
            None => {}
        }
        let (year, month, day) = match (self.date, self.month, &self.numbers[..]) {
            (Some(date), None, []) => date,
            (None, Some(month), [a, b]) => with_month(*a, *b, month),
            _ => return Err(bad()),
        };
        if year > 5_874_897 {
            return Err(field_overflow(text));
        }
        let year = match (self.bc, year) {
            (_, ..=0) => return Err(field_overflow(text)),
            (true, year) => 1 - year,
            (false, year) => year,
        };
        if !(1..=12).contains(&month) || day == 0 || day > 31 {
            return Err(field_overflow(text).hint("Perhaps you need a different \"datestyle\" setting."));
        }
        if day > days_in_month(year, month) {
            return Err(field_overflow(text));
        }
        Ok(days_from_civil(year, month, day))
    }

    /// What clocks show, in microseconds since 1970.
    fn local(&self, text: &str, type_name: &'static str, settings: &OutputSettings) -> SqlResult<i64> {
        if self.special == Some(Special::Now) {
            let now = now(text, settings)?;
            return Ok(now + i64::from(settings.time_zone.offset_at(now)) * 1_000_000);
        }
        let days = self.days(text, type_name, settings)?;
        let micros = i128::from(days) * i128::from(DAY_MICROS) + i128::from(self.time.unwrap_or(0));
        if days < -2_440_588 {
            return Err(timestamp_range(text));
        }
        finite(micros).ok_or_else(|| timestamp_range(text))
    }
}

fn run(bytes: &[u8], belongs: impl Fn(&u8) -> bool) -> &[u8] {
    &bytes[..bytes.iter().position(|b| !belongs(b)).unwrap_or(bytes.len())]
}

fn month_of(word: &[u8]) -> Option<u32> {
    if word.eq_ignore_ascii_case(b"sept") {
        return Some(9);
    }
    if word.len() < 3 {
        return None;
    }
    let found = MONTHS
        .iter()
        .position(|m| word.eq_ignore_ascii_case(m.as_bytes()) || word.eq_ignore_ascii_case(&m.as_bytes()[..3]))?;
    Some(found as u32 + 1)
}

/// Day and year beside a month's name: what cannot be a day is the year.
fn with_month(a: Number, b: Number, month: u32) -> (i64, u32, u32) {
    let (year, day) = if a.digits >= 3 || a.value > 31 { (a, b) } else { (b, a) };
    (short_year(year.value, year.digits), month, u32::try_from(day.value).unwrap_or(u32::MAX))
}

/// A year of two digits lies from 1970 to 2069.
fn short_year(value: i64, digits: usize) -> i64 {
    match value {
        _ if digits > 2 => value,
        0..70 => value + 2000,
        70..100 => value + 1900,
        _ => value,
    }
}

/// Reads `HH:MM[:SS[.ffffff]]`. `None`: not in that form.
fn clock<'a>(bytes: &'a [u8], text: &str) -> Option<SqlResult<(i64, &'a [u8])>> {
    let mut fields = [0i64; 3];
    let mut rest = bytes;
    let mut count = 0;
    loop {
        let digits = run(rest, u8::is_ascii_digit);
        if digits.is_empty() || digits.len() > 9 {
            return None;
        }
        fields[count] = std::str::from_utf8(digits).ok()?.parse().ok()?;
        rest = &rest[digits.len()..];
        count += 1;
        match rest {
            [b':', b'0'..=b'9', ..] if count < 3 => rest = &rest[1..],
            [b':', ..] => return None,
            _ => break,
        }
    }
    if count < 2 {
        return None;
    }
    let (micros, rest) = fraction(rest);
    let time = time_of(fields[0], fields[1], fields[2], micros).ok_or_else(|| field_overflow(text));
    Some(time.map(|time| (time, rest)))
}

/// Reads `.ffffff`, rounded to microseconds (which may be a whole second).
fn fraction(bytes: &[u8]) -> (i64, &[u8]) {
    let [b'.', tail @ ..] = bytes else { return (0, bytes) };
    let digits = run(tail, u8::is_ascii_digit);
    let mut micros = 0;
    for place in 0..6 {
        micros = micros * 10 + digits.get(place).map_or(0, |d| i64::from(d - b'0'));
    }
    if digits.get(6).is_some_and(|d| *d >= b'5') {
        micros += 1;
    }
    (micros, &tail[digits.len()..])
}

fn time_of(hour: i64, minute: i64, second: i64, micros: i64) -> Option<i64> {
    let time = hour.checked_mul(3600)?.checked_add(minute * 60 + second)?.checked_mul(1_000_000)? + micros;
    (hour <= 24 && minute <= 59 && second <= 60 && time <= DAY_MICROS).then_some(time)
}

/// Reads `±hh[[:]mm[[:]ss]]`.
fn parse_offset<'a>(bytes: &'a [u8], text: &str) -> Option<SqlResult<(i32, &'a [u8])>> {
    let negative = bytes[0] == b'-';
    let digits = run(&bytes[1..], u8::is_ascii_digit);
    let mut rest = &bytes[1 + digits.len()..];
    let number: i32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let (hour, mut minute, mut second) = match digits.len() {
        1 | 2 => (number, 0, 0),
        3 | 4 => (number / 100, number % 100, 0),
        5 | 6 => (number / 10_000, number / 100 % 100, number % 100),
        _ => return None,
    };
    if digits.len() <= 2 {
        for field in [&mut minute, &mut second] {
            let [b':', a, b, tail @ ..] = rest else { break };
            *field = pair(*a, *b)? as i32;
            rest = tail;
        }
    }
    if hour > 15 || minute > 59 || second > 59 {
        return Some(Err(SqlError::new(
            SqlState::DatetimeFieldOverflow,
            format!("time zone displacement out of range: \"{text}\""),
        )));
    }
    let seconds = hour * 3600 + minute * 60 + second;
    Some(Ok((if negative { -seconds } else { seconds }, rest)))
}

/// A timestamp that is neither out of range nor one of the infinities.
fn finite(micros: i128) -> Option<i64> {
    i64::try_from(micros).ok().filter(|m| *m != TIMESTAMP_INFINITY && *m != TIMESTAMP_MINUS_INFINITY)
}

fn now(text: &str, settings: &OutputSettings) -> SqlResult<i64> {
    settings
        .now
        .ok_or_else(|| SqlError::new(SqlState::FeatureNotSupported, format!("\"{text}\" is not supported here")))
}

fn today(text: &str, settings: &OutputSettings) -> SqlResult<i64> {
    let now = now(text, settings)?;
    Ok((now + i64::from(settings.time_zone.offset_at(now)) * 1_000_000).div_euclid(DAY_MICROS))
}

fn invalid(type_name: &str, text: &str) -> SqlError {
    SqlError::new(SqlState::InvalidDatetimeFormat, format!("invalid input syntax for type {type_name}: \"{text}\""))
}

fn field_overflow(text: &str) -> SqlError {
    SqlError::new(SqlState::DatetimeFieldOverflow, format!("date/time field value out of range: \"{text}\""))
}

fn timestamp_range(text: &str) -> SqlError {
    SqlError::new(SqlState::DatetimeFieldOverflow, format!("timestamp out of range: \"{text}\""))
}
