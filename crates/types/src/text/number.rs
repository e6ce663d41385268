//! boolean, integers, floats and numeric.

use super::{invalid_syntax, out_of_range};
use crate::numeric::Numeric;
use crate::sql_type::short_numeric;
use crate::{SqlError, SqlResult, SqlState, Value};

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

/// Reads a numeric, rounded half away from zero where precision and scale were declared.
///
/// # Errors
/// `22P02`; `22003` where it does not fit.
pub fn parse_numeric(text: &str, modifier: Option<(u16, i16)>) -> SqlResult<Value> {
    let number = Numeric::parse(text)?;
    fit_numeric(number, modifier)
}

/// A numeric as a column with this precision and scale keeps it.
///
/// # Errors
/// `22003` where it does not fit; also NaN where the column keeps 128 bits for each number.
pub fn fit_numeric(number: Numeric, modifier: Option<(u16, i16)>) -> SqlResult<Value> {
    let Some((precision, scale)) = modifier else { return Ok(number.into_value()) };
    let fitted = number.fit(precision, scale)?.into_value();
    if matches!(fitted, Value::Wide(_)) && short_numeric(modifier).is_some() {
        return Err(SqlError::new(
            SqlState::NumericValueOutOfRange,
            format!("numeric({precision},{scale}) has no NaN in this database"),
        )
        .hint("Use numeric without precision and scale."));
    }
    Ok(fitted)
}

/// Appends a numeric with `scale` decimal places.
pub fn format_numeric(out: &mut Vec<u8>, value: i128, scale: i8) {
    match u32::try_from(scale) {
        Ok(scale) => Numeric::small(value, scale).write(out),
        Err(_) => {
            Numeric::small(value, 0).write(out);
            if value != 0 {
                out.resize(out.len() + usize::from(scale.unsigned_abs()), b'0');
            }
        }
    }
}
