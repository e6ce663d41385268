//! Reading and writing numbers.

use std::fmt;

use num_bigint::BigInt;

use super::{DISPLAY_SCALE_MAX, Int, Numeric, WHOLE_DIGITS_MAX, overflow, power_of_ten};
use crate::SqlResult;
use crate::text::invalid_syntax;

/// Exponents beyond this are out of range whatever they stand behind.
const EXPONENT_MAX: i64 = 1 << 30;

impl Numeric {
    /// Reads `12`, `-1.50`, `.5`, `1e-3`, `1_000`, `NaN`, `Infinity`, `-inf`.
    ///
    /// # Errors
    /// `22P02`; `22003` for more digits than numeric has.
    pub fn parse(text: &str) -> SqlResult<Self> {
        let trimmed = text.trim_ascii();
        let invalid = || invalid_syntax("numeric", text);
        let (negative, signed, rest) = match trimmed.as_bytes() {
            [b'-', ..] => (true, true, &trimmed[1..]),
            [b'+', ..] => (false, true, &trimmed[1..]),
            _ => (false, false, trimmed),
        };
        if !rest.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return match rest.to_ascii_lowercase().as_str() {
                "nan" if !signed => Ok(Numeric::NaN),
                "inf" | "infinity" => Ok(if negative { Numeric::NegativeInfinity } else { Numeric::Infinity }),
                _ => Err(invalid()),
            };
        }
        let bytes = rest.as_bytes();
        let (mut at, mut places, mut point) = (0, 0i64, false);
        let mut digits = Vec::with_capacity(bytes.len().min(64));
        while let Some(&b) = bytes.get(at) {
            match b {
                b'0'..=b'9' => {
                    digits.push(b);
                    places += i64::from(point);
                }
                b'.' if !point => point = true,
                b'_' if at > 0
                    && bytes[at - 1].is_ascii_digit()
                    && bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => {}
                _ => break,
            }
            at += 1;
        }
        if digits.is_empty() {
            return Err(invalid());
        }
        let exponent = match bytes.get(at) {
            None => 0,
            Some(b'e' | b'E') => exponent(&rest[at + 1..]).ok_or_else(invalid)?,
            Some(_) => return Err(invalid()),
        };
        if exponent.abs() > EXPONENT_MAX {
            return Err(overflow());
        }
        let first = digits.iter().position(|d| *d != b'0').unwrap_or(digits.len());
        let digits = &digits[first..];
        let scale = places - exponent;
        let shown = scale.max(0);
        if shown > i64::from(DISPLAY_SCALE_MAX)
            || (!digits.is_empty() && digits.len() as i64 - scale > i64::from(WHOLE_DIGITS_MAX))
        {
            return Err(overflow());
        }
        let zeros = u32::try_from((-scale).max(0)).map_err(|_| overflow())?;
        let unscaled = if digits.len() <= 38 {
            let small = digits.iter().fold(0i128, |v, d| v * 10 + i128::from(d - b'0'));
            let small = if negative { -small } else { small };
            match 10i128.checked_pow(zeros).and_then(|p| small.checked_mul(p)) {
                Some(small) => Int::Small(small),
                None if small == 0 => Int::Small(0),
                None => Int::of(BigInt::from(small) * power_of_ten(zeros)),
            }
        } else {
            let mut big = BigInt::parse_bytes(digits, 10).ok_or_else(invalid)?;
            if negative {
                big = -big;
            }
            Int::of(if zeros > 0 { big * power_of_ten(zeros) } else { big })
        };
        Ok(Numeric::Finite { unscaled, scale: shown as u32 })
    }

    /// Appends the number's text.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (unscaled, scale) = match self {
            Numeric::NaN => return out.extend_from_slice(b"NaN"),
            Numeric::Infinity => return out.extend_from_slice(b"Infinity"),
            Numeric::NegativeInfinity => return out.extend_from_slice(b"-Infinity"),
            Numeric::Finite { unscaled, scale } => (unscaled, *scale as usize),
        };
        if unscaled.sign() < 0 {
            out.push(b'-');
        }
        let mut buffer = itoa::Buffer::new();
        let long;
        let digits = match unscaled {
            Int::Small(v) => match u64::try_from(v.unsigned_abs()) {
                Ok(small) => buffer.format(small),
                Err(_) => buffer.format(v.unsigned_abs()),
            },
            Int::Big(v) => {
                long = v.magnitude().to_string();
                long.as_str()
            }
        }
        .as_bytes();
        let (whole, fraction) = digits.split_at(digits.len().saturating_sub(scale));
        out.extend_from_slice(if whole.is_empty() { b"0" } else { whole });
        if scale > 0 {
            out.push(b'.');
            out.resize(out.len() + scale - fraction.len(), b'0');
            out.extend_from_slice(fraction);
        }
    }
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        self.write(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

fn exponent(text: &str) -> Option<i64> {
    if !text.ends_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match text.parse::<i64>() {
        Ok(v) => Some(v.clamp(-EXPONENT_MAX - 1, EXPONENT_MAX + 1)),
        Err(e) if *e.kind() == std::num::IntErrorKind::PosOverflow => Some(EXPONENT_MAX + 1),
        Err(e) if *e.kind() == std::num::IntErrorKind::NegOverflow => Some(-EXPONENT_MAX - 1),
        Err(_) => None,
    }
}
