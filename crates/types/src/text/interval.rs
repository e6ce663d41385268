//! Reading and writing intervals: PostgreSQL's words, SQL's `1-2 3 4:05:06`, ISO 8601's `P1Y2M3DT4H5M6S`.

use super::calendar::DAY_MICROS;
use super::datetime_out::{fraction, two};
use super::number::format_integer;
use super::settings::IntervalStyle;
use crate::{Interval, SqlError, SqlResult, SqlState};

/// What a unit counts in.
#[derive(Clone, Copy)]
enum Unit {
    Months(i64),
    Days(i64),
    Micros(i64),
}

const UNITS: &[(&str, Unit)] = &[
    ("microsecond", Unit::Micros(1)),
    ("usec", Unit::Micros(1)),
    ("us", Unit::Micros(1)),
    ("usecond", Unit::Micros(1)),
    ("millisecond", Unit::Micros(1000)),
    ("msec", Unit::Micros(1000)),
    ("msecond", Unit::Micros(1000)),
    ("ms", Unit::Micros(1000)),
    ("second", Unit::Micros(1_000_000)),
    ("sec", Unit::Micros(1_000_000)),
    ("s", Unit::Micros(1_000_000)),
    ("minute", Unit::Micros(60_000_000)),
    ("min", Unit::Micros(60_000_000)),
    ("m", Unit::Micros(60_000_000)),
    ("hour", Unit::Micros(3_600_000_000)),
    ("hr", Unit::Micros(3_600_000_000)),
    ("h", Unit::Micros(3_600_000_000)),
    ("day", Unit::Days(1)),
    ("d", Unit::Days(1)),
    ("week", Unit::Days(7)),
    ("w", Unit::Days(7)),
    ("month", Unit::Months(1)),
    ("mon", Unit::Months(1)),
    ("quarter", Unit::Months(3)),
    ("qtr", Unit::Months(3)),
    ("year", Unit::Months(12)),
    ("yr", Unit::Months(12)),
    ("y", Unit::Months(12)),
    ("decade", Unit::Months(120)),
    ("dec", Unit::Months(120)),
    ("century", Unit::Months(1200)),
    ("centurie", Unit::Months(1200)),
    ("cent", Unit::Months(1200)),
    ("c", Unit::Months(1200)),
    ("millennium", Unit::Months(12_000)),
    ("millennia", Unit::Months(12_000)),
    ("mil", Unit::Months(12_000)),
];

/// Reads an interval.
///
/// # Errors
/// `22007`, `22015`.
pub fn parse_interval(text: &str) -> SqlResult<Interval> {
    let trimmed = text.trim_ascii();
    let sum = match trimmed.as_bytes() {
        [b'P' | b'p', rest @ ..] => iso(rest),
        [b'-', b'P' | b'p', rest @ ..] => iso(rest).map(|sum| sum.map(Sum::negated)),
        bytes => words(bytes),
    };
    match sum {
        None => Err(SqlError::new(
            SqlState::InvalidDatetimeFormat,
            format!("invalid input syntax for type interval: \"{text}\""),
        )),
        Some(sum) => sum.and_then(Sum::finish).ok_or_else(|| {
            SqlError::new(SqlState::IntervalFieldOverflow, format!("interval field value out of range: \"{text}\""))
        }),
    }
}

/// The three fields while they are added up; an inner `None` of the parsers stands for overflow, an outer for bad syntax.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    months: i64,
    days: i64,
    micros: i64,
}

impl Sum {
    fn negated(self) -> Sum {
        Sum { months: -self.months, days: -self.days, micros: -self.micros }
    }

    fn finish(self) -> Option<Interval> {
        Some(Interval {
            months: i32::try_from(self.months).ok()?,
            days: i32::try_from(self.days).ok()?,
            micros: self.micros,
        })
    }

    /// Adds a number of units; a fraction goes on to the smaller fields, a month having 30 days.
    fn add(&mut self, number: Number, unit: Unit) -> Option<()> {
        match unit {
            Unit::Months(n) => {
                self.months = self.months.checked_add(number.whole.checked_mul(n)?)?;
                let months = number.fraction * n as f64;
                if n == 1 {
                    self.add_days(months * 30.0)?;
                } else {
                    // Fractions of years are rounded to months.
                    self.months = self.months.checked_add(months.round() as i64)?;
                }
            }
            Unit::Days(n) => {
                self.days = self.days.checked_add(number.whole.checked_mul(n)?)?;
                self.add_days(number.fraction * n as f64)?;
            }
            Unit::Micros(n) => {
                self.micros = self.micros.checked_add(number.whole.checked_mul(n)?)?;
                self.micros = self.micros.checked_add((number.fraction * n as f64).round() as i64)?;
            }
        }
        Some(())
    }

    fn add_days(&mut self, days: f64) -> Option<()> {
        let whole = days.trunc();
        self.days = self.days.checked_add(whole as i64)?;
        self.micros = self.micros.checked_add(((days - whole) * DAY_MICROS as f64).round() as i64)?;
        Some(())
    }
}

/// A number with its sign in both parts.
#[derive(Clone, Copy, Debug)]
struct Number {
    whole: i64,
    fraction: f64,
}

/// Reads `[±]digits[.digits]`: the number, whether it is negative, and what follows. An inner `None`: too large.
fn number(bytes: &[u8]) -> Option<(Option<Number>, bool, &[u8])> {
    let (negative, bytes) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    };
    let whole = digits(bytes);
    let mut rest = &bytes[whole.len()..];
    let mut decimals: &[u8] = &[];
    if let [b'.', tail @ ..] = rest {
        decimals = digits(tail);
        rest = &tail[decimals.len()..];
    }
    if whole.is_empty() && decimals.is_empty() {
        return None;
    }
    let sign = if negative { -1 } else { 1 };
    let text = |b: &[u8]| std::str::from_utf8(b).unwrap_or_default().to_owned();
    let value = if whole.is_empty() { Ok(0) } else { text(whole).parse::<i64>() };
    let fraction = if decimals.is_empty() { 0.0 } else { format!("0.{}", text(decimals)).parse().unwrap_or(0.0) };
    let number = value.ok().map(|v| Number { whole: sign * v, fraction: sign as f64 * fraction });
    Some((number, negative, rest))
}

fn digits(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|b| !b.is_ascii_digit()).unwrap_or(bytes.len())]
}

fn unit(word: &[u8]) -> Option<Unit> {
    let word = std::str::from_utf8(word).ok()?.to_ascii_lowercase();
    let find = |w: &str| UNITS.iter().find(|(name, _)| *name == w).map(|(_, unit)| *unit);
    find(&word).or_else(|| find(word.strip_suffix('s').filter(|w| w.len() > 1)?))
}

/// `1 year 2 mons -3 days 04:05:06.7 ago`, `1-2 3 4:05:06`, `90` (seconds)
fn words(bytes: &[u8]) -> Option<Option<Sum>> {
    let mut sum = Sum::default();
    let mut rest = bytes;
    let (mut any, mut ago) = (false, false);
    loop {
        match rest {
            [b' ' | b'\t' | b'\n' | b'\r' | b'@' | b',', tail @ ..] => {
                rest = tail;
                continue;
            }
            [] => break,
            _ if rest.eq_ignore_ascii_case(b"ago") && any => {
                ago = true;
                break;
            }
            _ => {}
        }
        let (value, negative, after) = number(rest)?;
        let Some(value) = value else { return Some(None) };
        any = true;
        rest = match after {
            [b':', ..] => {
                let (micros, after) = clock(value, after)?;
                let Some(micros) = micros.and_then(|m| sum.micros.checked_add(if negative { -m } else { m })) else {
                    return Some(None);
                };
                sum.micros = micros;
                after
            }
            // Years and months: 1-2
            [b'-', b'0'..=b'9', ..] if value.fraction == 0.0 => {
                let (Some(months), _, after) = number(&after[1..])? else { return Some(None) };
                if !(0..12).contains(&months.whole) || months.fraction != 0.0 {
                    return Some(None);
                }
                let months = if negative { -months.whole } else { months.whole };
                let Some(total) =
                    value.whole.checked_mul(12).and_then(|y| sum.months.checked_add(y)?.checked_add(months))
                else {
                    return Some(None);
                };
                sum.months = total;
                after
            }
            _ => {
                let start = after.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(after.len());
                let tail = &after[start..];
                let word = &tail[..tail.iter().position(|b| !b.is_ascii_alphabetic()).unwrap_or(tail.len())];
                let (unit, after) = match unit(word) {
                    Some(unit) => (unit, &tail[word.len()..]),
                    // A number before a time counts days: 3 4:05:06; one at the end counts seconds.
                    None if word.is_empty() && tail.is_empty() => (Unit::Micros(1_000_000), tail),
                    None if word.is_empty() && tail.contains(&b':') => (Unit::Days(1), tail),
                    None => return None,
                };
                if sum.add(value, unit).is_none() {
                    return Some(None);
                }
                after
            }
        };
    }
    if !any {
        return None;
    }
    Some(Some(if ago { sum.negated() } else { sum }))
}

/// Reads the rest of `hh:mm[:ss[.ffffff]]` as microseconds without a sign; an inner `None`: out of range.
fn clock(hours: Number, bytes: &[u8]) -> Option<(Option<i64>, &[u8])> {
    let [b':', b'0'..=b'9', ..] = bytes else { return None };
    let (mut minutes, _, mut rest) = number(&bytes[1..])?;
    let mut seconds = Some(Number { whole: 0, fraction: 0.0 });
    if let [b':', b'0'..=b'9', ..] = rest {
        (seconds, _, rest) = number(&rest[1..])?;
    } else if minutes.is_some_and(|m| m.fraction != 0.0) {
        // 04:05.6 is minutes and seconds.
        let (Some(m), h) = (minutes, hours) else { return None };
        let micros = (h.whole.unsigned_abs() as i64).checked_mul(60).and_then(|s| s.checked_add(m.whole));
        let micros = micros.and_then(|s| s.checked_mul(1_000_000));
        return Some((micros.map(|v| v + (m.fraction * 1e6).round() as i64), rest));
    }
    if matches!(rest, [b':', ..]) || hours.fraction != 0.0 {
        return None;
    }
    let total = (|| {
        let (m, s) = (minutes.take()?, seconds?);
        if m.whole > 59 || s.whole > 60 {
            return None;
        }
        let whole = (hours.whole.unsigned_abs() as i64).checked_mul(3600)?.checked_add(m.whole * 60 + s.whole)?;
        whole.checked_mul(1_000_000)?.checked_add((s.fraction * 1e6).round() as i64)
    })();
    Some((total, rest))
}

/// Behind the P: `1Y2M3W4DT5H6M7.8S`, or `0001-02-03T04:05:06`.
fn iso(bytes: &[u8]) -> Option<Option<Sum>> {
    let mut sum = Sum::default();
    let (mut rest, mut in_time, mut any) = (bytes, false, false);
    while !rest.is_empty() {
        if let [b'T' | b't', tail @ ..] = rest {
            if in_time {
                return None;
            }
            in_time = true;
            rest = tail;
            continue;
        }
        let (value, negative, after) = number(rest)?;
        let Some(value) = value else { return Some(None) };
        if let ([b'-', tail @ ..], false, false) = (after, any, in_time) {
            // The alternative form.
            let (Some(months), _, after) = number(tail)? else { return Some(None) };
            let days = match after {
                [b'-', tail @ ..] => {
                    let (days, _, after) = number(tail)?;
                    rest = after;
                    days
                }
                _ => {
                    rest = after;
                    Some(Number { whole: 0, fraction: 0.0 })
                }
            };
            let Some(days) = days else { return Some(None) };
            let added = [(value, Unit::Months(12)), (months, Unit::Months(1)), (days, Unit::Days(1))];
            if added.into_iter().any(|(n, u)| sum.add(n, u).is_none()) {
                return Some(None);
            }
            any = true;
            continue;
        }
        if let ([b':', ..], true) = (after, in_time) {
            let (micros, after) = clock(value, after)?;
            let Some(micros) = micros else { return Some(None) };
            sum.micros = if negative { -micros } else { micros };
            (rest, any) = (after, true);
            continue;
        }
        let [designator, tail @ ..] = after else { return None };
        let unit = match (designator.to_ascii_uppercase(), in_time) {
            (b'Y', false) => Unit::Months(12),
            (b'M', false) => Unit::Months(1),
            (b'W', false) => Unit::Days(7),
            (b'D', false) => Unit::Days(1),
            (b'H', true) => Unit::Micros(3_600_000_000),
            (b'M', true) => Unit::Micros(60_000_000),
            (b'S', true) => Unit::Micros(1_000_000),
            _ => return None,
        };
        if sum.add(value, unit).is_none() {
            return Some(None);
        }
        (rest, any) = (tail, true);
    }
    any.then_some(Some(sum))
}

/// Appends an interval.
pub fn format_interval(out: &mut Vec<u8>, interval: Interval, style: IntervalStyle) {
    match style {
        IntervalStyle::Postgres => postgres(out, interval),
        IntervalStyle::PostgresVerbose => verbose(out, interval),
        IntervalStyle::SqlStandard => sql_standard(out, interval),
        IntervalStyle::Iso8601 => iso_8601(out, interval),
    }
}

fn postgres(out: &mut Vec<u8>, interval: Interval) {
    let fields = [(interval.months / 12, "year"), (interval.months % 12, "mon"), (interval.days, "day")];
    let (mut first, mut negative_before) = (true, false);
    for (value, name) in fields {
        if value == 0 {
            continue;
        }
        if !first {
            out.push(b' ');
        }
        if negative_before && value > 0 {
            out.push(b'+');
        }
        format_integer(out, value);
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
        if value != 1 {
            out.push(b's');
        }
        (first, negative_before) = (false, value < 0);
    }
    if interval.micros != 0 || first {
        if !first {
            out.push(b' ');
        }
        if interval.micros < 0 {
            out.push(b'-');
        } else if negative_before {
            out.push(b'+');
        }
        write_clock(out, interval.micros.unsigned_abs(), true);
    }
}

fn verbose(out: &mut Vec<u8>, interval: Interval) {
    out.push(b'@');
    let seconds = interval.micros / 1_000_000;
    let micros = interval.micros % 1_000_000;
    let mut negative = None;
    let fields = [
        (i64::from(interval.months / 12), "year"),
        (i64::from(interval.months % 12), "mon"),
        (i64::from(interval.days), "day"),
        (seconds / 3600, "hour"),
        (seconds / 60 % 60, "min"),
    ];
    for (value, name) in fields {
        if value == 0 {
            continue;
        }
        let negative = *negative.get_or_insert(value < 0);
        out.push(b' ');
        let shown = if negative { -value } else { value };
        format_integer(out, shown);
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
        if shown != 1 {
            out.push(b's');
        }
    }
    if seconds % 60 != 0 || micros != 0 {
        let below_zero = interval.micros < 0;
        let negative = *negative.get_or_insert(below_zero);
        out.push(b' ');
        if below_zero != negative {
            out.push(b'-');
        }
        format_integer(out, (seconds % 60).unsigned_abs());
        fraction(out, micros.abs());
        out.extend_from_slice(if (seconds % 60).abs() == 1 && micros == 0 { b" sec" } else { b" secs" });
    }
    match negative {
        None => out.extend_from_slice(b" 0"),
        Some(true) => out.extend_from_slice(b" ago"),
        Some(false) => {}
    }
}

fn sql_standard(out: &mut Vec<u8>, interval: Interval) {
    let Interval { months, days, micros } = interval;
    let any_negative = months < 0 || days < 0 || micros < 0;
    let any_positive = months > 0 || days > 0 || micros > 0;
    let groups = [months != 0, days != 0 || micros != 0];
    if !any_negative && !any_positive {
        out.push(b'0');
        return;
    }
    if (any_negative && any_positive) || groups == [true, true] {
        // Mixed: every field with its sign.
        let sign = |negative: bool| if negative { b'-' } else { b'+' };
        out.push(sign(months < 0));
        format_integer(out, (months / 12).unsigned_abs());
        out.push(b'-');
        format_integer(out, (months % 12).unsigned_abs());
        out.extend_from_slice(&[b' ', sign(days < 0)]);
        format_integer(out, days.unsigned_abs());
        out.extend_from_slice(&[b' ', sign(micros < 0)]);
        write_clock(out, micros.unsigned_abs(), false);
        return;
    }
    if any_negative {
        out.push(b'-');
    }
    if months != 0 {
        format_integer(out, (months / 12).unsigned_abs());
        out.push(b'-');
        format_integer(out, (months % 12).unsigned_abs());
    } else {
        if days != 0 {
            format_integer(out, days.unsigned_abs());
            out.push(b' ');
        }
        write_clock(out, micros.unsigned_abs(), false);
    }
}

fn iso_8601(out: &mut Vec<u8>, interval: Interval) {
    if interval == Interval::default() {
        out.extend_from_slice(b"PT0S");
        return;
    }
    let field = |out: &mut Vec<u8>, value: i64, designator: u8| {
        if value != 0 {
            format_integer(out, value);
            out.push(designator);
        }
    };
    out.push(b'P');
    field(out, i64::from(interval.months / 12), b'Y');
    field(out, i64::from(interval.months % 12), b'M');
    field(out, i64::from(interval.days), b'D');
    if interval.micros != 0 {
        out.push(b'T');
        let seconds = interval.micros / 1_000_000;
        field(out, seconds / 3600, b'H');
        field(out, seconds / 60 % 60, b'M');
        let micros = interval.micros % 1_000_000;
        if seconds % 60 != 0 || micros != 0 {
            if interval.micros < 0 {
                out.push(b'-');
            }
            format_integer(out, (seconds % 60).unsigned_abs());
            fraction(out, micros.abs());
            out.push(b'S');
        }
    }
}

fn write_clock(out: &mut Vec<u8>, micros: u64, two_digit_hours: bool) {
    let seconds = micros / 1_000_000;
    if two_digit_hours {
        two(out, (seconds / 3600) as i64);
    } else {
        format_integer(out, seconds / 3600);
    }
    out.push(b':');
    two(out, (seconds / 60 % 60) as i64);
    out.push(b':');
    two(out, (seconds % 60) as i64);
    fraction(out, (micros % 1_000_000) as i64);
}
