//! How a number stands in a column: bytes that compare as numbers do, and behind them the places it shows.
//!
//! ```text
//! class  exponent  digits in base 100    end   | places shown
//! u8     u24       u8 each, most first   u8    | u16, not of NaN and the infinities
//! ```
//!
//! The class is 0 of -Infinity, 1 below zero, 2 of zero (which has no exponent, digits or end), 3 above zero, 4 of Infinity, 5 of NaN. The number is
//! `0.d1 d2 … * 100^exponent`; digits are kept plus one and without zeros at the end, so that the end, 0, is less than any
//! of them. Below zero all bytes from the exponent to the end are inverted. What stands before the places is the number's
//! *key*: equal numbers have equal keys, 2.0 and 2.00 too.

use num_bigint::{BigInt, Sign};

use super::{Int, Numeric, WHOLE_DIGITS_MAX};

const NEGATIVE_INFINITY: u8 = 0;
const NEGATIVE: u8 = 1;
const ZERO: u8 = 2;
const POSITIVE: u8 = 3;
const INFINITY: u8 = 4;
const NAN: u8 = 5;

/// Exponents are kept plus this.
const BIAS: i32 = 1 << 20;

/// Exponents that numbers have: those of the whole digits there may be, and behind the point as many as a number can show.
const EXPONENTS: std::ops::RangeInclusive<i32> = -(u16::MAX as i32 / 2 + 1)..=WHOLE_DIGITS_MAX as i32 / 2;

/// Appends a number's form.
pub fn encode(number: &Numeric, out: &mut Vec<u8>) {
    match number {
        Numeric::NegativeInfinity => out.push(NEGATIVE_INFINITY),
        Numeric::Infinity => out.push(INFINITY),
        Numeric::NaN => out.push(NAN),
        Numeric::Finite { unscaled: Int::Small(v), scale } => encode_finite(*v, *scale, out),
        Numeric::Finite { unscaled: Int::Big(v), scale } => {
            let mut digits = v.magnitude().to_radix_be(100);
            if scale % 2 == 1 {
                // The point stands between two digits of base 100.
                digits = (v.magnitude() * 10u8).to_radix_be(100);
            }
            write(v.sign() == Sign::Minus, &digits, scale.div_ceil(2), out);
            out.extend_from_slice(&(*scale as u16).to_be_bytes());
        }
    }
}

/// Appends the form of `unscaled / 10^scale`.
pub fn encode_finite(unscaled: i128, scale: u32, out: &mut Vec<u8>) {
    let mut digits = [0u8; 21];
    let mut at = digits.len();
    let mut rest = unscaled.unsigned_abs();
    if scale % 2 == 1 {
        at -= 1;
        digits[at] = (rest % 10) as u8 * 10;
        rest /= 10;
    }
    // 64 bits divide much faster.
    while rest > u128::from(u64::MAX) {
        at -= 1;
        digits[at] = (rest % 100) as u8;
        rest /= 100;
    }
    let mut rest = rest as u64;
    while rest > 0 {
        at -= 1;
        digits[at] = (rest % 100) as u8;
        rest /= 100;
    }
    write(unscaled < 0, &digits[at..], scale.div_ceil(2), out);
    out.extend_from_slice(&(scale as u16).to_be_bytes());
}

/// Appends the key of digits of which `behind` stand behind the point.
fn write(negative: bool, digits: &[u8], behind: u32, out: &mut Vec<u8>) {
    let Some(first) = digits.iter().position(|d| *d != 0) else {
        out.push(ZERO);
        return;
    };
    let last = digits.iter().rposition(|d| *d != 0).unwrap_or(first);
    out.push(if negative { NEGATIVE } else { POSITIVE });
    let start = out.len();
    let exponent = digits.len() as i32 - first as i32 - behind as i32 + BIAS;
    out.extend_from_slice(&exponent.to_be_bytes()[1..]);
    out.extend(digits[first..=last].iter().map(|d| d + 1));
    out.push(0);
    if negative {
        for byte in &mut out[start..] {
            *byte = !*byte;
        }
    }
}

/// The key within a number's form.
#[must_use]
pub fn key_of(form: &[u8]) -> &[u8] {
    match form.first() {
        Some(&(NEGATIVE | ZERO | POSITIVE)) => &form[..form.len().saturating_sub(2)],
        _ => form,
    }
}

/// The number of a form; `None` where the bytes are none.
#[must_use]
pub fn decode(form: &[u8]) -> Option<Numeric> {
    match *form.first()? {
        NEGATIVE_INFINITY => return Some(Numeric::NegativeInfinity),
        INFINITY => return Some(Numeric::Infinity),
        NAN => return Some(Numeric::NaN),
        _ => {}
    }
    let (key, places) = form.split_last_chunk::<2>()?;
    let scale = u32::from(u16::from_be_bytes(*places));
    read(key, Some(scale))
}

/// The number of a key, with as few places as show it.
#[must_use]
pub fn decode_key(key: &[u8]) -> Option<Numeric> {
    match *key.first()? {
        NEGATIVE_INFINITY | INFINITY | NAN => decode(key),
        _ => read(key, None).map(|number| number.trim_scale()),
    }
}

fn read(key: &[u8], places: Option<u32>) -> Option<Numeric> {
    let (class, rest) = key.split_first()?;
    let invert = match *class {
        ZERO => return Some(Numeric::small(0, places.unwrap_or(0))),
        NEGATIVE => 0xff,
        POSITIVE => 0,
        _ => return None,
    };
    let (exponent, rest) = rest.split_first_chunk::<3>()?;
    let [a, b, c] = exponent.map(|byte| byte ^ invert);
    let exponent = i32::from_be_bytes([0, a, b, c]) - BIAS;
    let (_, digits) = rest.split_last()?;
    let digit = |byte: &u8| (byte ^ invert).wrapping_sub(1);
    // Changed bytes could ask for a number of a million digits, or for digits that are none.
    if !EXPONENTS.contains(&exponent) || digits.iter().any(|d| digit(d) > 99) {
        return None;
    }
    // As an integer the digits have so many places behind the point.
    let places_read = 2 * (digits.len() as i32 - exponent);
    let scale = places.unwrap_or_else(|| u32::try_from(places_read).unwrap_or(0));
    let shift = scale as i32 - places_read;
    if digits.len() <= 19 {
        let small = digits.iter().fold(0i128, |v, d| v * 100 + i128::from(digit(d)));
        let shifted = if shift >= 0 {
            10i128.checked_pow(shift as u32).and_then(|p| small.checked_mul(p))
        } else {
            10i128.checked_pow(shift.unsigned_abs()).map(|p| small / p)
        };
        if let Some(v) = shifted {
            return Some(Numeric::small(if invert != 0 { -v } else { v }, scale));
        }
    }
    let digits: Vec<u8> = digits.iter().map(digit).collect();
    let sign = if invert != 0 { Sign::Minus } else { Sign::Plus };
    let big = BigInt::from_radix_be(sign, &digits, 100)?;
    let power = super::power_of_ten(shift.unsigned_abs());
    Some(Numeric::Finite { unscaled: Int::of(if shift >= 0 { big * power } else { big / power }), scale })
}
