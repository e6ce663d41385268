//! Numbers as x87 has them, with 64 bits of mantissa: INCRBYFLOAT and HINCRBYFLOAT count with these.
//!
//! Done with integers alone, so that every node comes to the same digits whatever its processor.

use std::cmp::Ordering;

/// Largest power of two of a leading bit.
const EXPONENT_MAX: i64 = 16_383;
/// Smallest, that of the least subnormal.
const EXPONENT_MIN: i64 = -16_445;
/// Digits behind the point that Redis prints.
const PLACES: u32 = 17;
/// Longer texts are no numbers to Redis.
const TEXT_BYTES_MAX: usize = 5 * 1_024;

/// `mantissa * 2^exponent`; the mantissa has its top bit set, or the number is zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LongDouble {
    negative: bool,
    infinite: bool,
    mantissa: u64,
    exponent: i64,
}

impl LongDouble {
    const ZERO: LongDouble = LongDouble { negative: false, infinite: false, mantissa: 0, exponent: 0 };

    /// Reads a number as `strtold` does; `None` for what Redis takes for no float: also NaN and what is out of range.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() >= TEXT_BYTES_MAX {
            return None;
        }
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
            return Some(LongDouble { negative, infinite: true, ..Self::ZERO });
        }
        let number = match text {
            [b'0', b'x' | b'X', digits @ ..] => parse_hex(digits)?,
            _ => parse_decimal(text)?,
        };
        Some(LongDouble { negative, ..number })
    }

    /// The nearest to an integer: itself.
    #[must_use]
    pub fn from_integer(value: i64) -> LongDouble {
        let number = rounded(u128::from(value.unsigned_abs()), 0, false);
        LongDouble { negative: value < 0, ..number }
    }

    /// The sum, rounded to the nearest; `None` where it would be infinite or no number.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "a sum may be no number")]
    pub fn add(self, other: LongDouble) -> Option<LongDouble> {
        if self.infinite || other.infinite {
            return None;
        }
        let sum = match (self.mantissa, other.mantissa) {
            (0, 0) => LongDouble { negative: self.negative && other.negative, ..Self::ZERO },
            (0, _) => other,
            (_, 0) => self,
            _ => self.add_finite(other),
        };
        (!sum.infinite).then_some(sum)
    }

    fn add_finite(self, other: LongDouble) -> LongDouble {
        let (large, small) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        // 62 bits below the larger one's last are enough to round by, with one that says that more was there.
        let shift = large.exponent - small.exponent;
        let top = u128::from(large.mantissa) << 62;
        let whole = u128::from(small.mantissa) << 62;
        let (low, lost) = match u32::try_from(shift) {
            Ok(shift @ 0..=126) => (whole >> shift, whole & ((1 << shift) - 1) != 0),
            _ => (0, true),
        };
        let low = low | u128::from(lost);
        let exponent = large.exponent - 62;
        if large.negative == small.negative {
            return LongDouble { negative: large.negative, ..rounded(top + low, exponent, false) };
        }
        match top.cmp(&low) {
            Ordering::Equal => Self::ZERO,
            Ordering::Greater => LongDouble { negative: large.negative, ..rounded(top - low, exponent, false) },
            Ordering::Less => LongDouble { negative: small.negative, ..rounded(low - top, exponent, false) },
        }
    }

    /// In decimal with 17 places behind the point, without the zeros at their end.
    #[must_use]
    pub fn format(self) -> String {
        let mut text = if self.infinite {
            "inf".to_owned()
        } else if self.exponent >= 0 {
            Big::from(self.mantissa).shifted(self.exponent as usize).decimal()
        } else {
            self.format_fraction()
        };
        if self.negative && text != "0" {
            text.insert(0, '-');
        }
        text
    }

    fn format_fraction(self) -> String {
        let scale = 10_u128.pow(PLACES);
        let scaled = u128::from(self.mantissa) * scale;
        let rounded = match u32::try_from(-self.exponent) {
            Ok(shift @ 1..=127) => {
                let (whole, rest, half) = (scaled >> shift, scaled & ((1 << shift) - 1), 1 << (shift - 1));
                whole + u128::from(rest > half || (rest == half && whole & 1 == 1))
            }
            _ => 0,
        };
        let text = format!("{}.{:017}", rounded / scale, rounded % scale);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// The nearest number to `value * 2^exponent`, a tie to the even one; `sticky` says that a little more was there.
fn rounded(value: u128, exponent: i64, sticky: bool) -> LongDouble {
    if value == 0 {
        return LongDouble::ZERO;
    }
    let bits = 128 - value.leading_zeros();
    let (mut mantissa, mut exponent) = if bits <= 64 {
        ((value as u64) << (64 - bits), exponent - i64::from(64 - bits))
    } else {
        let shift = bits - 64;
        let (whole, rest, half) = ((value >> shift) as u64, value & ((1 << shift) - 1), 1_u128 << (shift - 1));
        let up = rest > half || (rest == half && (sticky || whole & 1 == 1));
        let exponent = exponent + i64::from(shift);
        match whole.checked_add(u64::from(up)) {
            Some(mantissa) => (mantissa, exponent),
            None => (1 << 63, exponent + 1),
        }
    };
    let infinite = exponent + 63 > EXPONENT_MAX;
    if infinite || exponent + 63 < EXPONENT_MIN {
        (mantissa, exponent) = (0, 0);
    }
    LongDouble { negative: false, infinite, mantissa, exponent }
}

fn parse_hex(digits: &[u8]) -> Option<LongDouble> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    Some(rounded(u128::from_str_radix(digits, 16).ok()?, 0, false))
}

fn parse_decimal(text: &[u8]) -> Option<LongDouble> {
    let digits_of = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (whole, rest) = text.split_at(digits_of(text));
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => rest.split_at(digits_of(rest)),
        rest => (&[][..], rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let power = match rest {
        [] => 0,
        [b'e' | b'E', rest @ ..] => {
            let (negative, digits) = match rest {
                [b'-', digits @ ..] => (true, digits),
                [b'+', digits @ ..] => (false, digits),
                digits => (false, digits),
            };
            if digits.is_empty() || digits_of(digits) != digits.len() {
                return None;
            }
            let power = digits.iter().fold(0_i64, |sum, digit| (sum * 10 + i64::from(digit - b'0')).min(1 << 40));
            if negative { -power } else { power }
        }
        _ => return None,
    };
    let mut number = Big::default();
    for digit in whole.iter().chain(fraction) {
        number.multiply_add(10, u32::from(digit - b'0'));
    }
    if number.is_zero() {
        return Some(LongDouble::ZERO);
    }
    let power = power - fraction.len() as i64;
    let magnitude = power + (whole.len() + fraction.len()) as i64;
    // What is out of range anyway is not worth its digits.
    if magnitude < -5_000 || power > 5_000 {
        return None;
    }
    let found = if power >= 0 { number.times_power(power).round(0, false) } else { number.divide(-power) };
    (!found.infinite && found.mantissa != 0).then_some(found)
}

/// A large natural number, its lowest 32 bits first, without zeros at its end.
#[derive(Clone, Debug, Default, PartialEq)]
struct Big(Vec<u32>);

impl Big {
    fn from(value: u64) -> Big {
        Big(vec![value as u32, (value >> 32) as u32]).trimmed()
    }

    fn trimmed(mut self) -> Big {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        self
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn bits(&self) -> usize {
        self.0.last().map_or(0, |top| self.0.len() * 32 - top.leading_zeros() as usize)
    }

    fn multiply_add(&mut self, factor: u32, more: u32) {
        let mut carry = u64::from(more);
        for word in &mut self.0 {
            let product = u64::from(*word) * u64::from(factor) + carry;
            *word = product as u32;
            carry = product >> 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    fn times_power(mut self, power: i64) -> Big {
        for _ in 0..power / 9 {
            self.multiply_add(1_000_000_000, 0);
        }
        for _ in 0..power % 9 {
            self.multiply_add(10, 0);
        }
        self
    }

    fn shifted(&self, bits: usize) -> Big {
        let (words, bits) = (bits / 32, bits % 32);
        let mut shifted = vec![0; words];
        let mut carry = 0;
        for word in &self.0 {
            let wide = u64::from(*word) << bits | carry;
            shifted.push(wide as u32);
            carry = wide >> 32;
        }
        shifted.push(carry as u32);
        Big(shifted).trimmed()
    }

    fn is_below(&self, other: &Big) -> bool {
        let by_length = self.0.len().cmp(&other.0.len());
        by_length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev())).is_lt()
    }

    /// Less `other`, which is not larger.
    fn subtract(&mut self, other: &Big) {
        let mut borrow = false;
        for (at, word) in self.0.iter_mut().enumerate() {
            let less = other.0.get(at).copied().unwrap_or(0);
            let (difference, first) = word.overflowing_sub(less);
            let (difference, second) = difference.overflowing_sub(u32::from(borrow));
            (*word, borrow) = (difference, first || second);
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    /// Times `2^exponent`, rounded.
    fn round(&self, exponent: i64, sticky: bool) -> LongDouble {
        let skipped = self.0.len().saturating_sub(4);
        let top = self.0[skipped..].iter().rev().fold(0_u128, |sum, word| sum << 32 | u128::from(*word));
        // The top word is not zero, so at least 97 bits are kept when something is skipped.
        let sticky = sticky || self.0[..skipped].iter().any(|word| *word != 0);
        rounded(top, exponent + 32 * skipped as i64, sticky)
    }

    /// Divided by a power of ten, rounded.
    fn divide(self, power: i64) -> LongDouble {
        let divisor = Big(vec![1]).times_power(power);
        let shift = (68 + divisor.bits()).saturating_sub(self.bits());
        let mut rest = self.shifted(shift);
        let mut quotient = Big::default();
        for bit in (0..=rest.bits().saturating_sub(divisor.bits())).rev() {
            let part = divisor.shifted(bit);
            quotient = quotient.shifted(1);
            if !rest.is_below(&part) {
                rest.subtract(&part);
                match quotient.0.first_mut() {
                    Some(word) => *word |= 1,
                    None => quotient.0.push(1),
                }
            }
        }
        quotient.round(-(shift as i64), !rest.is_zero())
    }

    fn decimal(mut self) -> String {
        let mut parts = Vec::new();
        while !self.is_zero() {
            let mut rest = 0_u64;
            for word in self.0.iter_mut().rev() {
                let wide = rest << 32 | u64::from(*word);
                *word = (wide / 1_000_000_000) as u32;
                rest = wide % 1_000_000_000;
            }
            parts.push(rest);
            self = self.trimmed();
        }
        let Some(first) = parts.pop() else { return "0".to_owned() };
        parts.iter().rev().fold(first.to_string(), |text, part| format!("{text}{part:09}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        Some(LongDouble::parse(a.as_bytes())?.add(LongDouble::parse(b.as_bytes())?)?.format())
    }

    #[test]
    fn sums_have_the_digits_that_redis_prints() {
        let check = |a, b, want: &str| assert_eq!(sum(a, b).as_deref(), Some(want), "{a} + {b}");
        check("1", "1.5", "2.5");
        check("3", "1.1", "4.1");
        check("0.1", "0.2", "0.3");
        check("10.50", "0.1", "10.6");
        check("5.0e3", "2.0e2", "5200");
        check("17179869184", "1.5", "17179869185.5");
        check("1", "-1.00000000000000000000001", "0");
        check("-1.1", "-0", "-1.1");
        check("1e30", "1", "1000000000000000000024696061952");
        check("0", "-0.00000000000000000001", "0");
        check("0x10", "1", "17");
        check("9223372036854775807", "0.5", "9223372036854775807.5");
        check("9223372036854775807", "0.25", "9223372036854775807");
    }

    #[test]
    fn what_is_no_float_is_refused() {
        for text in ["", "x", "1x", " 1", "1 ", "nan", "1e5000", "1e-6000", ".", "e1", "1e", "--1"] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("1e4932", "1e4932"), None);
    }
}
