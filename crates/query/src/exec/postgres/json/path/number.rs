//! Arithmetic on numbers of any length, with numeric's scales.

use bigdecimal::num_bigint::{BigInt, Sign};
use perigee_types::text::jsonpath::Binary;
use perigee_types::{SqlError, SqlResult, SqlState};

/// Digits before and behind the point that numeric has.
const WHOLE_MAX: usize = 131_072;
const SCALE_MAX: usize = 16_383;
/// Digits that a quotient has at least, and decimal places that it has at most.
const SIGNIFICANT_MIN: i64 = 16;
const QUOTIENT_SCALE_MAX: i64 = 1_000;

/// An unscaled number and its decimal places.
struct Decimal {
    unscaled: BigInt,
    scale: usize,
}

fn overflow() -> SqlError {
    SqlError::new(SqlState::NumericValueOutOfRange, "value overflows numeric format")
}

impl Decimal {
    fn parse(text: &str) -> SqlResult<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if whole.len() > WHOLE_MAX + 1 || fraction.len() > SCALE_MAX {
            return Err(overflow());
        }
        let digits = format!("{whole}{fraction}");
        let unscaled = BigInt::parse_bytes(digits.as_bytes(), 10).ok_or_else(|| {
            SqlError::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type numeric")
        })?;
        Ok(Self { unscaled, scale: fraction.len() })
    }

    fn text(&self) -> SqlResult<String> {
        let digits = self.unscaled.magnitude().to_string();
        let sign = if self.unscaled.sign() == Sign::Minus { "-" } else { "" };
        let padded = format!("{}{digits}", "0".repeat((self.scale + 1).saturating_sub(digits.len())));
        let (whole, fraction) = padded.split_at(padded.len() - self.scale);
        if whole.len() > WHOLE_MAX || fraction.len() > SCALE_MAX {
            return Err(overflow());
        }
        Ok(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
    }

    /// The unscaled number with this many decimal places, which are no fewer than it has.
    fn at(&self, scale: usize) -> BigInt {
        &self.unscaled * power_of_ten(scale - self.scale)
    }

    fn is_zero(&self) -> bool {
        self.unscaled.sign() == Sign::NoSign
    }

    /// Where the first digit stands and the group of four that it is in, as numeric keeps them.
    fn lead(&self) -> (i64, i64) {
        if self.is_zero() {
            return (0, 0);
        }
        let digits = self.unscaled.magnitude().to_string();
        let exponent = digits.len() as i64 - 1 - self.scale as i64;
        let count = usize::try_from(exponent.rem_euclid(4) + 1).unwrap_or(1);
        let group: String = digits.chars().chain(std::iter::repeat('0')).take(count).collect();
        (exponent.div_euclid(4), group.parse().unwrap_or(0))
    }
}

fn power_of_ten(exponent: usize) -> BigInt {
    BigInt::from(10).pow(u32::try_from(exponent).unwrap_or(u32::MAX))
}

/// `left op right`
///
/// # Errors
/// `22012` for a division by zero, `22003` beyond numeric's limits.
pub(super) fn calculate(op: Binary, left: &str, right: &str) -> SqlResult<String> {
    let (a, b) = (Decimal::parse(left)?, Decimal::parse(right)?);
    let scale = a.scale.max(b.scale);
    let by_zero = || SqlError::new(SqlState::DivisionByZero, "division by zero");
    let result = match op {
        Binary::Add => Decimal { unscaled: a.at(scale) + b.at(scale), scale },
        Binary::Subtract => Decimal { unscaled: a.at(scale) - b.at(scale), scale },
        Binary::Multiply => Decimal { unscaled: &a.unscaled * &b.unscaled, scale: a.scale + b.scale },
        Binary::Modulo if b.is_zero() => return Err(by_zero()),
        Binary::Modulo => Decimal { unscaled: a.at(scale) % b.at(scale), scale },
        _ if b.is_zero() => return Err(by_zero()),
        _ => quotient(&a, &b),
    };
    result.text()
}

fn quotient(a: &Decimal, b: &Decimal) -> Decimal {
    let ((weight_a, first_a), (weight_b, first_b)) = (a.lead(), b.lead());
    let weight = weight_a - weight_b - i64::from(first_a <= first_b);
    let scale = (SIGNIFICANT_MIN - weight * 4).max(a.scale as i64).max(b.scale as i64).clamp(0, QUOTIENT_SCALE_MAX);
    let scale = usize::try_from(scale).unwrap_or(0);
    // One digit more says which way to round.
    let shifted = &a.unscaled * power_of_ten(scale + 1 + b.scale) / (&b.unscaled * power_of_ten(a.scale));
    let half = BigInt::from(if shifted.sign() == Sign::Minus { -5 } else { 5 });
    Decimal { unscaled: (shifted + half) / 10, scale }
}

/// `-number`
pub(super) fn negated(number: &str) -> String {
    match number.strip_prefix('-') {
        Some(positive) => positive.to_owned(),
        None if is_zero(number) => number.to_owned(),
        None => format!("-{number}"),
    }
}

fn is_zero(number: &str) -> bool {
    number.bytes().all(|b| matches!(b, b'0' | b'.'))
}

/// The whole number towards zero, and whether it is the number itself.
fn whole(number: &str) -> (&str, bool) {
    match number.split_once('.') {
        Some((whole, fraction)) => (whole, fraction.bytes().all(|b| b == b'0')),
        None => (number, true),
    }
}

/// The whole number towards zero, as an int4.
pub(super) fn truncated(number: &str) -> Option<i32> {
    match whole(number).0 {
        "-0" => Some(0),
        whole => whole.parse().ok(),
    }
}

/// The greatest whole number that is not above, or for `up` the least that is not below.
///
/// # Errors
/// As [`calculate`].
pub(super) fn rounded(number: &str, up: bool) -> SqlResult<String> {
    let (whole, exact) = whole(number);
    let negative = number.starts_with('-');
    let whole = if whole == "-0" { "0" } else { whole };
    match (exact, negative, up) {
        (true, ..) | (_, true, true) | (_, false, false) => Ok(whole.to_owned()),
        (false, true, false) => calculate(Binary::Subtract, whole, "1"),
        (false, false, true) => calculate(Binary::Add, whole, "1"),
    }
}

/// A double as numeric keeps it: fifteen digits.
///
/// # Errors
/// None for a finite number.
pub(super) fn of_double(value: f64) -> SqlResult<String> {
    let text = format!("{value:.14e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
    perigee_types::text::json::normal_number(&format!("{mantissa}e{exponent}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_numeric() {
        let check = |op, a, b, want: &str| assert_eq!(calculate(op, a, b).unwrap_or_default(), want, "{a} {op:?} {b}");
        check(Binary::Divide, "1", "3", "0.33333333333333333333");
        check(Binary::Divide, "-7", "2", "-3.5000000000000000");
        check(Binary::Divide, "100000", "3", "33333.333333333333");
        check(Binary::Multiply, "1.50", "2.0", "3.000");
        check(
            Binary::Add,
            "99999999999999999999999999999999999999999",
            "1",
            "100000000000000000000000000000000000000000",
        );
        check(Binary::Modulo, "-7.5", "2", "-1.5");
        check(Binary::Subtract, "0.1", "0.10", "0.00");
        assert_eq!(calculate(Binary::Divide, "1", "0.0").map_err(|e| e.state()), Err(SqlState::DivisionByZero));
        assert_eq!(rounded("-0.5", false).unwrap_or_default(), "-1");
        assert_eq!(rounded("-0.5", true).unwrap_or_default(), "0");
        assert_eq!(rounded("1.5", true).unwrap_or_default(), "2");
        assert_eq!(truncated("-1.9"), Some(-1));
        assert_eq!(of_double(1.5e20).unwrap_or_default(), "150000000000000000000");
    }
}
