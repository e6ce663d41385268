//! boolean, integers, floats and numeric.

use super::{invalid_syntax, out_of_range};
use crate::sql_type::{NUMERIC_DEFAULT, QUOTIENT_SCALE};
use crate::{SqlError, SqlResult, SqlState};

/// Decimal digits that a numeric holds.
pub const NUMERIC_DIGITS_MAX: u8 = 38;

const NUMERIC_MAX: i128 = 10i128.pow(NUMERIC_DIGITS_MAX as u32) - 1;

/// Reads a boolean: any unique beginning of true, false, yes, no, on, off, and 1, 0.
///
/// # Errors
/// `22P02`.
pub fn parse_bool(text: &str) -> SqlResult<bool> {
    match text {
        "t" | "true" => return Ok(true),
        "f" | "false" => return Ok(false),
        _ => {}
    }
    let word = text.trim_ascii().to_ascii_lowercase();
    let begins = |whole: &str, least: usize| word.len() >= least && whole.starts_with(&word);
    if word == "1" || begins("true", 1) || begins("yes", 1) || begins("on", 2) {
        Ok(true)
    } else if word == "0" || begins("false", 1) || begins("no", 1) || begins("off", 2) {
        Ok(false)
    } else {
        Err(invalid_syntax("boolean", text))
    }
}

/// Reads a smallint.
///
/// # Errors
/// `22P02`, `22003`.
pub fn parse_int2(text: &str) -> SqlResult<i16> {
    i16::try_from(parse_integer(text, "smallint")?).map_err(|_| out_of_range("smallint", text))
}

/// Reads an integer.
///
/// # Errors
/// `22P02`, `22003`.
pub fn parse_int4(text: &str) -> SqlResult<i32> {
    i32::try_from(parse_integer(text, "integer")?).map_err(|_| out_of_range("integer", text))
}

/// Reads a bigint.
///
/// # Errors
/// `22P02`, `22003`.
pub fn parse_int8(text: &str) -> SqlResult<i64> {
    i64::try_from(parse_integer(text, "bigint")?).map_err(|_| out_of_range("bigint", text))
}

/// Reads an oid; like PostgreSQL it takes a negative number as the unsigned one of the same bits.
///
/// # Errors
/// `22P02`, `22003`.
pub fn parse_oid(text: &str) -> SqlResult<u32> {
    let number = parse_integer(text, "oid")?;
    u32::try_from(number)
        .or_else(|_| i32::try_from(number).map(i32::cast_unsigned))
        .map_err(|_| out_of_range("oid", text))
}

/// Reads digits with a sign, PostgreSQL 16's `0x`, `0o`, `0b` and single underscores between digits.
fn parse_integer(text: &str, type_name: &'static str) -> SqlResult<i128> {
    let bytes = text.trim_ascii().as_bytes();
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    };
    let (radix, digits, mut after_digit) = match digits {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest, true),
        [b'0', b'o' | b'O', rest @ ..] => (8, rest, true),
        [b'0', b'b' | b'B', rest @ ..] => (2, rest, true),
        _ => (10, digits, false),
    };
    let mut number: i128 = 0;
    let mut last_is_digit = false;
    for &b in digits {
        if let Some(digit) = char::from(b).to_digit(radix) {
            number = (number * i128::from(radix) + i128::from(digit)).min(i128::from(u64::MAX));
            (after_digit, last_is_digit) = (true, true);
        } else if b == b'_' && after_digit {
            (after_digit, last_is_digit) = (false, false);
        } else {
            return Err(invalid_syntax(type_name, text));
        }
    }
    if !last_is_digit {
        return Err(invalid_syntax(type_name, text));
    }
    Ok(if negative { -number } else { number })
}

/// Appends an integer.
pub fn format_integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Reads a real.
///
/// # Errors
/// `22P02`, `22003` where it is too great or too near to zero.
pub fn parse_float4(text: &str) -> SqlResult<f32> {
    let trimmed = float_text(text, "real")?;
    let value: f32 = trimmed.parse().map_err(|_| invalid_syntax("real", text))?;
    if lost(f64::from(value), trimmed) { Err(float_range("real", text)) } else { Ok(value) }
}

/// Reads a double precision.
///
/// # Errors
/// `22P02`, `22003` where it is too great or too near to zero.
pub fn parse_float8(text: &str) -> SqlResult<f64> {
    let trimmed = float_text(text, "double precision")?;
    let value: f64 = trimmed.parse().map_err(|_| invalid_syntax("double precision", text))?;
    if lost(value, trimmed) { Err(float_range("double precision", text)) } else { Ok(value) }
}

/// Keeps what both Rust and PostgreSQL take for a float.
fn float_text<'a>(text: &'a str, type_name: &str) -> SqlResult<&'a str> {
    let trimmed = text.trim_ascii();
    if trimmed.is_empty() { Err(invalid_syntax(type_name, text)) } else { Ok(trimmed) }
}

/// Whether a finite text became infinite, or one that is not zero became zero.
fn lost(value: f64, text: &str) -> bool {
    let mantissa = || text.bytes().take_while(|b| !matches!(b, b'e' | b'E'));
    if value.is_infinite() {
        mantissa().any(|b| b.is_ascii_digit())
    } else {
        value == 0.0 && mantissa().any(|b| matches!(b, b'1'..=b'9'))
    }
}

fn float_range(type_name: &str, text: &str) -> SqlError {
    SqlError::new(SqlState::NumericValueOutOfRange, format!("\"{text}\" is out of range for type {type_name}"))
}

/// Appends a real.
pub fn format_float4(out: &mut Vec<u8>, value: f32, extra_digits: i8) {
    if write_not_finite(out, f64::from(value)) {
        return;
    }
    if extra_digits > 0 {
        write_digits(out, ryu::Buffer::new().format_finite(value), 6);
    } else {
        write_rounded(out, f64::from(value), 6 + i32::from(extra_digits));
    }
}

/// Appends a double precision.
pub fn format_float8(out: &mut Vec<u8>, value: f64, extra_digits: i8) {
    if write_not_finite(out, value) {
        return;
    }
    if extra_digits > 0 {
        write_digits(out, ryu::Buffer::new().format_finite(value), 15);
    } else {
        write_rounded(out, value, 15 + i32::from(extra_digits));
    }
}

fn write_not_finite(out: &mut Vec<u8>, value: f64) -> bool {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    }
    !value.is_finite()
}

/// As C's `%.{digits}g`.
fn write_rounded(out: &mut Vec<u8>, value: f64, digits: i32) {
    let digits = digits.max(1);
    let text = format!("{value:.*e}", digits as usize - 1);
    write_digits(out, &text, digits);
}

/// Rewrites a float's text to PostgreSQL's layout: plain where the exponent is from -4 to below `plain_below`, else
/// `1.5e+20` with an exponent of at least two digits.
fn write_digits(out: &mut Vec<u8>, text: &str, plain_below: i32) {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let mut exponent: i32 = exponent.parse().unwrap_or(0);
    let mantissa = match mantissa.strip_prefix('-') {
        Some(rest) => {
            out.push(b'-');
            rest
        }
        None => mantissa,
    };
    let mut digits = [0u8; 40];
    let mut count = 0;
    let mut before_point = true;
    for b in mantissa.bytes() {
        if b == b'.' {
            before_point = false;
            continue;
        }
        // Leading zeros are no digits; behind the point they move the exponent.
        if count == 0 && b == b'0' {
            exponent -= i32::from(!before_point);
            continue;
        }
        exponent += i32::from(before_point);
        if count < digits.len() {
            digits[count] = b;
            count += 1;
        }
    }
    while count > 0 && digits[count - 1] == b'0' {
        count -= 1;
    }
    if count == 0 {
        out.push(b'0');
        return;
    }
    let digits = &digits[..count];
    let scientific = exponent - 1; // exponent counts the digits before the point
    if (-4..plain_below).contains(&scientific) {
        if exponent <= 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + exponent.unsigned_abs() as usize, b'0');
            out.extend_from_slice(digits);
        } else if exponent as usize >= count {
            out.extend_from_slice(digits);
            out.resize(out.len() + exponent as usize - count, b'0');
        } else {
            out.extend_from_slice(&digits[..exponent as usize]);
            out.push(b'.');
            out.extend_from_slice(&digits[exponent as usize..]);
        }
        return;
    }
    out.push(digits[0]);
    if count > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    out.push(b'e');
    out.push(if scientific < 0 { b'-' } else { b'+' });
    if scientific.abs() < 10 {
        out.push(b'0');
    }
    format_integer(out, scientific.unsigned_abs());
}

/// Reads a numeric as the unscaled number at its column's scale, rounded half away from zero where precision and scale
/// were declared.
///
/// # Errors
/// `22P02`; `22003` where it does not fit, also where a numeric without a declared scale has more decimal places than
/// Perigee keeps; `0A000` for NaN and infinity.
pub fn parse_numeric(text: &str, modifier: Option<(u8, i8)>) -> SqlResult<i128> {
    let (precision, scale) = modifier.unwrap_or(NUMERIC_DEFAULT);
    let decimal = Decimal::parse(text)?;
    let (number, exact) = decimal.at_scale(i32::from(scale)).ok_or_else(|| numeric_overflow(modifier))?;
    if modifier.is_none() && !exact {
        return Err(SqlError::new(
            SqlState::NumericValueOutOfRange,
            format!("value \"{text}\" has more than {scale} decimal places"),
        )
        .hint("Declare the column or the cast as numeric(precision, scale)."));
    }
    if number.unsigned_abs() >= 10u128.pow(u32::from(precision.min(NUMERIC_DIGITS_MAX))) {
        return Err(numeric_overflow(modifier));
    }
    Ok(number)
}

/// `22003` for a number that does not fit a numeric with this modifier.
#[must_use]
pub fn numeric_overflow(modifier: Option<(u8, i8)>) -> SqlError {
    match modifier {
        None => SqlError::new(SqlState::NumericValueOutOfRange, "value overflows numeric format"),
        Some((precision, scale)) => {
            let digits = i32::from(precision) - i32::from(scale);
            let bound = if digits == 0 { "1".to_owned() } else { format!("10^{digits}") };
            SqlError::new(SqlState::NumericValueOutOfRange, "numeric field overflow").detail(format!(
                "A field with precision {precision}, scale {scale} must round to an absolute value less than {bound}."
            ))
        }
    }
}

/// A decimal number as it was written: `digits * 10^exponent`, at most 38 digits kept, `rest` telling of those behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    digits: i128,
    exponent: i32,
    /// A digit other than zero was dropped behind the 38th.
    inexact: bool,
}

impl Decimal {
    /// Reads `12`, `-1.50`, `.5`, `1e-3`, `1_000`.
    ///
    /// # Errors
    /// `22P02`, `22003`; `0A000` for NaN and infinity.
    pub fn parse(text: &str) -> SqlResult<Decimal> {
        let bytes = text.trim_ascii().as_bytes();
        let invalid = || invalid_syntax("numeric", text);
        let (negative, mut rest) = match bytes {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, bytes),
        };
        let mut number = Decimal { negative, digits: 0, exponent: 0, inexact: false };
        let (mut any, mut point) = (false, false);
        while let [b, tail @ ..] = rest {
            match b {
                b'0'..=b'9' => {
                    number.push(*b - b'0', point);
                    any = true;
                }
                b'.' if !point => point = true,
                b'_' if any && tail.first().is_some_and(u8::is_ascii_digit) => {}
                b'e' | b'E' if any => {
                    number.exponent = number.exponent.saturating_add(exponent(tail).ok_or_else(invalid)?);
                    rest = &[];
                    break;
                }
                _ => break,
            }
            rest = tail;
        }
        if any && rest.is_empty() {
            return Ok(number);
        }
        let word = rest.to_ascii_lowercase();
        if !any && !point && matches!(&word[..], b"nan" | b"inf" | b"infinity") {
            return Err(SqlError::unsupported("numeric NaN and infinity").hint("Use double precision for them."));
        }
        Err(invalid())
    }

    fn push(&mut self, digit: u8, behind_point: bool) {
        match self.digits.checked_mul(10).and_then(|v| v.checked_add(i128::from(digit))) {
            Some(v) if v <= NUMERIC_MAX => {
                self.digits = v;
                self.exponent = self.exponent.saturating_sub(i32::from(behind_point));
            }
            _ => {
                self.inexact |= digit != 0;
                self.exponent = self.exponent.saturating_add(i32::from(!behind_point));
            }
        }
    }

    /// The unscaled number at a scale, rounded half away from zero, and whether nothing was lost; `None` where it needs
    /// more than 38 digits.
    #[must_use]
    pub fn at_scale(self, scale: i32) -> Option<(i128, bool)> {
        let shift = i64::from(self.exponent) + i64::from(scale);
        let (number, exact) = if self.digits == 0 {
            (0, !self.inexact)
        } else if shift >= 0 {
            if self.inexact && shift > 0 {
                return None;
            }
            let power = 10i128.checked_pow(u32::try_from(shift).ok()?)?;
            (self.digits.checked_mul(power)?, !self.inexact)
        } else if shift < -i64::from(NUMERIC_DIGITS_MAX) {
            (0, false)
        } else {
            let power = 10i128.pow(shift.unsigned_abs() as u32);
            let (quotient, remainder) = (self.digits / power, self.digits % power);
            (quotient + i128::from(remainder >= power - remainder), remainder == 0 && !self.inexact)
        };
        (number <= NUMERIC_MAX).then_some((if self.negative { -number } else { number }, exact))
    }

    /// Decimal places as written (never below zero).
    #[must_use]
    pub fn scale(self) -> i32 {
        (-self.exponent).max(0)
    }
}

fn exponent(text: &[u8]) -> Option<i32> {
    let text = std::str::from_utf8(text).ok()?;
    if !text.ends_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match text.parse::<i32>() {
        Ok(v) => Some(v.clamp(-100_000, 100_000)),
        Err(e) if *e.kind() == std::num::IntErrorKind::PosOverflow => Some(100_000),
        Err(e) if *e.kind() == std::num::IntErrorKind::NegOverflow => Some(-100_000),
        Err(_) => None,
    }
}

/// A quotient of [`QUOTIENT_SCALE`] places, rounded to those that PostgreSQL gives it: 16 significant digits at least,
/// counted in groups of four.
#[must_use]
pub fn quotient_shown(value: i128) -> (i128, i8) {
    let digits = value.unsigned_abs().checked_ilog10().map_or(0, |log| log as i32 + 1);
    let whole = digits - i32::from(QUOTIENT_SCALE);
    // The weight of the first group of four digits that is not zero.
    let weight = if whole > 0 { (whole - 1) / 4 } else { -1 - (-whole / 4) };
    let places = (16 - 4 * weight).clamp(0, i32::from(QUOTIENT_SCALE)) as i8;
    let unit = 10i128.pow(u32::from((QUOTIENT_SCALE - places).unsigned_abs()));
    let (quotient, rest) = (value / unit, value % unit);
    let up = rest.unsigned_abs() * 2 >= unit.unsigned_abs() && unit > 1;
    (quotient + if up { value.signum() } else { 0 }, places)
}

/// Appends a numeric with `scale` decimal places; `trim` leaves out zeros at the end, for a numeric without a declared
/// scale, whose places are padding.
pub fn format_numeric(out: &mut Vec<u8>, value: i128, scale: i8, trim: bool) {
    if trim && scale == QUOTIENT_SCALE {
        let (value, scale) = quotient_shown(value);
        return format_numeric(out, value, scale, false);
    }
    if value < 0 {
        out.push(b'-');
    }
    let mut buffer = itoa::Buffer::new();
    // Most numbers fit 64 bits, whose division is much faster.
    let digits = match u64::try_from(value.unsigned_abs()) {
        Ok(small) => buffer.format(small),
        Err(_) => buffer.format(value.unsigned_abs()),
    }
    .as_bytes();
    if scale <= 0 {
        out.extend_from_slice(digits);
        if value != 0 {
            out.resize(out.len() + usize::from(scale.unsigned_abs()), b'0');
        }
        return;
    }
    let scale = scale as usize;
    let point = digits.len().saturating_sub(scale);
    let (whole, fraction) = digits.split_at(point);
    out.extend_from_slice(if whole.is_empty() { b"0" } else { whole });
    let mut end = fraction.len();
    if trim {
        while end > 0 && fraction[end - 1] == b'0' {
            end -= 1;
        }
        if end == 0 {
            return;
        }
    }
    out.push(b'.');
    out.resize(out.len() + scale - fraction.len(), b'0');
    out.extend_from_slice(&fraction[..end]);
}
