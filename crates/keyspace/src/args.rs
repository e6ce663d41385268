//! Reading arguments as Redis reads them.

use bytes::Bytes;

use crate::{Error, Result};

/// Whether an argument is a word, in any case. `word` is lower case.
#[must_use]
pub fn is(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

/// An integer of 64 bits, written as Redis wants it: no sign `+`, no space, no leading zero.
#[must_use]
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [] => return None,
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value: u64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    if negative { 0_i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

/// The same, with the error that most commands give.
pub fn integer(text: &[u8]) -> Result<i64> {
    parse_integer(text).ok_or(Error::NOT_AN_INTEGER)
}

/// A float as Redis reads it: also `inf`, never NaN, nothing around it.
#[must_use]
pub fn parse_float(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    if text.is_empty() || text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return None;
    }
    let value: f64 = match text.parse() {
        Ok(value) => value,
        Err(_) => parse_hex_float(text)?,
    };
    // What does not fit a double is refused; only the word makes an infinity.
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let too_large = value.is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit());
    let too_small = value == 0.0 && mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9')) && !is_hex(text);
    (!value.is_nan() && !too_large && !too_small).then_some(value)
}

fn is_hex(text: &str) -> bool {
    text.contains(['x', 'X'])
}

/// `0x1A` as C's `strtod` reads it; without a fraction or an exponent.
fn parse_hex_float(text: &str) -> Option<f64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"))?;
    u64::from_str_radix(digits, 16).ok().map(|value| sign * value as f64)
}

/// The same, with the error that most commands give.
pub fn float(text: &[u8]) -> Result<f64> {
    parse_float(text).ok_or(Error::NOT_A_FLOAT)
}

/// How long a command waits: seconds, as milliseconds.
pub fn timeout(text: &[u8]) -> Result<u64> {
    let seconds = parse_float(text).ok_or(Error::reply("ERR timeout is not a float or out of range"))?;
    let ms = (seconds * 1_000.0).ceil();
    if ms >= i64::MAX as f64 {
        return Err(Error::reply("ERR timeout is out of range"));
    }
    if seconds < 0.0 { Err(Error::reply("ERR timeout is negative")) } else { Ok(ms as u64) }
}

/// A float as Redis writes doubles: 17 significant digits at most, the shortest that reads back; `inf`, `-inf`, `nan`.
#[must_use]
pub fn format_float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".to_owned() } else { "-inf".to_owned() };
    }
    if value == value.trunc() && value.abs() < 1e17 {
        if value == 0.0 && value.is_sign_negative() {
            return "-0".to_owned();
        }
        return itoa::Buffer::new().format(value as i64).to_owned();
    }
    // `%.17g` of C: the exponent form below 1e-4 and from 1e17.
    let exponent = value.abs().log10().floor() as i32;
    if (-5..17).contains(&exponent) { format!("{value}") } else { exponent_form(value) }
}

fn exponent_form(value: f64) -> String {
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, digits_of) = match exponent.strip_prefix('-') {
                Some(rest) => ('-', rest),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{digits_of:0>2}")
        }
        None => text,
    }
}

/// Arguments read one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    args: &'a [Bytes],
}

impl<'a> Cursor<'a> {
    /// From `args` on.
    #[must_use]
    pub fn new(args: &'a [Bytes]) -> Self {
        Self { args }
    }

    /// The next argument.
    #[expect(clippy::should_implement_trait, reason = "a loop over arguments would hide who takes which")]
    pub fn next(&mut self) -> Option<&'a Bytes> {
        let (first, rest) = self.args.split_first()?;
        self.args = rest;
        Some(first)
    }

    /// The next argument, or a syntax error.
    pub fn must(&mut self) -> Result<&'a Bytes> {
        self.next().ok_or(Error::SYNTAX)
    }

    /// The next argument as an integer.
    pub fn integer(&mut self) -> Result<i64> {
        integer(self.must()?)
    }

    /// The next argument as a float.
    pub fn float(&mut self) -> Result<f64> {
        float(self.must()?)
    }

    /// Takes the next argument when it is `word` (lower case), in any case.
    pub fn take(&mut self, word: &str) -> bool {
        let found = self.args.first().is_some_and(|argument| is(argument, word));
        if found {
            self.args = &self.args[1..];
        }
        found
    }

    /// What is left.
    #[must_use]
    pub fn rest(&self) -> &'a [Bytes] {
        self.args
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.args.is_empty()
    }

    /// Nothing may be left.
    pub fn end(&self) -> Result<()> {
        if self.is_empty() { Ok(()) } else { Err(Error::SYNTAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_redis_reads_them() {
        let check = |text: &str, want| assert_eq!(parse_integer(text.as_bytes()), want, "{text}");
        check("0", Some(0));
        check("-9223372036854775808", Some(i64::MIN));
        check("9223372036854775807", Some(i64::MAX));
        for text in ["", "-", "+1", " 1", "1 ", "01", "-0", "9223372036854775808", "1.0", "0x1"] {
            check(text, None);
        }
    }

    #[test]
    fn floats_are_read_as_redis_reads_them() {
        let check = |text: &str, want| assert_eq!(parse_float(text.as_bytes()), want, "{text}");
        check("1e3", Some(1e3));
        check("-.5", Some(-0.5));
        check("0x10", Some(16.0));
        check("+inf", Some(f64::INFINITY));
        check("-Infinity", Some(f64::NEG_INFINITY));
        check("0e9", Some(0.0));
        for text in ["", " 1", "1 ", "nan", "1e400", "-1e400", "1e-400", "1_0", "x"] {
            check(text, None);
        }
    }

    #[test]
    fn floats_are_written_as_redis_writes_them() {
        let check = |value, want| assert_eq!(format_float(value), want);
        check(3.0, "3");
        check(-0.5, "-0.5");
        check(0.1, "0.1");
        check(1e20, "1e+20");
        check(f64::INFINITY, "inf");
        check(1e-7, "1e-07");
        check(1234567.125, "1234567.125");
    }
}
