//! Exact decimal arithmetic on 128 bits: PostgreSQL's numeric as far as that carries.

use std::cmp::Ordering;

use perigee_types::{SqlError, SqlResult, SqlState, Value};

/// Digits behind the point that PostgreSQL keeps at least in a quotient.
const QUOTIENT_DIGITS: u32 = 16;
/// The greatest power of ten that an `i128` holds.
const POWER_MAX: u32 = 38;

/// `unscaled / 10^scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// The digits.
    pub unscaled: i128,
    /// How many of them stand behind the point.
    pub scale: u32,
}

impl Decimal {
    /// The exact value of an integer or numeric; `None` for other values.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Numeric(unscaled, scale) => match u32::try_from(*scale) {
                Ok(scale) => Some(Self { unscaled: *unscaled, scale }),
                Err(_) => {
                    let factor = power(u32::from(scale.unsigned_abs()))?;
                    Some(Self { unscaled: unscaled.checked_mul(factor)?, scale: 0 })
                }
            },
            other => other.as_i64().map(|v| Self { unscaled: i128::from(v), scale: 0 }),
        }
    }

    /// Reads digits with a point and an exponent, as SQL writes numbers. `None` where it is none or has too many digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut unscaled: i128 = 0;
        for digit in whole.chars().chain(fraction.chars()).filter(|c| *c != '_') {
            unscaled = unscaled.checked_mul(10)?.checked_add(i128::from(digit.to_digit(10)?))?;
        }
        let places = i32::try_from(fraction.chars().filter(|c| *c != '_').count()).ok()?.checked_sub(exponent)?;
        match u32::try_from(places) {
            Ok(scale) if scale <= POWER_MAX => Some(Self { unscaled, scale }),
            Ok(_) => None,
            Err(_) => Some(Self { unscaled: unscaled.checked_mul(power(places.unsigned_abs())?)?, scale: 0 }),
        }
    }

    /// As a value.
    ///
    /// # Errors
    /// `22003` where the scale does not fit.
    pub fn value(self) -> SqlResult<Value> {
        i8::try_from(self.scale).map(|scale| Value::Numeric(self.unscaled, scale)).map_err(|_| overflow())
    }

    /// How many digits it has, at least those behind the point.
    #[must_use]
    pub fn precision(self) -> u32 {
        self.unscaled.unsigned_abs().checked_ilog10().map_or(1, |digits| digits + 1).max(self.scale)
    }

    /// The same value with another scale, rounded half away from zero.
    ///
    /// # Errors
    /// `22003`
    pub fn rescale(self, scale: u32) -> SqlResult<Self> {
        if scale >= self.scale {
            let factor = power(scale - self.scale).ok_or_else(overflow)?;
            let unscaled = self.unscaled.checked_mul(factor).ok_or_else(overflow)?;
            return Ok(Self { unscaled, scale });
        }
        let unscaled = match power(self.scale - scale) {
            Some(divisor) => divide_rounded(self.unscaled, divisor),
            None => 0,
        };
        Ok(Self { unscaled, scale })
    }

    /// The order of two decimals.
    #[must_use]
    pub fn compare(self, other: Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        if let (Ok(a), Ok(b)) = (self.rescale(scale), other.rescale(scale)) {
            return a.unscaled.cmp(&b.unscaled);
        }
        // One is too great for the common scale: their whole parts differ.
        self.whole().cmp(&other.whole())
    }

    fn whole(self) -> i128 {
        power(self.scale).map_or(0, |divisor| self.unscaled / divisor)
    }

    /// `self + other`
    ///
    /// # Errors
    /// `22003`
    pub fn plus(self, other: Self) -> SqlResult<Self> {
        let scale = self.scale.max(other.scale);
        let (a, b) = (self.rescale(scale)?, other.rescale(scale)?);
        Ok(Self { unscaled: a.unscaled.checked_add(b.unscaled).ok_or_else(overflow)?, scale })
    }

    /// `self * other`
    ///
    /// # Errors
    /// `22003`
    pub fn multiply(self, other: Self) -> SqlResult<Self> {
        let unscaled = self.unscaled.checked_mul(other.unscaled).ok_or_else(overflow)?;
        Ok(Self { unscaled, scale: self.scale + other.scale })
    }

    /// `self / other`, to as many digits as PostgreSQL would keep and 128 bits hold.
    ///
    /// # Errors
    /// `22012`, `22003`
    pub fn divide(self, other: Self) -> SqlResult<Self> {
        if other.unscaled == 0 {
            return Err(division_by_zero());
        }
        let mut scale = self.scale.max(other.scale).max(QUOTIENT_DIGITS + 4);
        loop {
            // (a / 10^s) / (b / 10^t) at scale r is a * 10^(r + t - s) / b.
            let numerator =
                power(scale + other.scale - self.scale).and_then(|factor| self.unscaled.checked_mul(factor));
            match numerator {
                Some(numerator) => {
                    return Ok(Self { unscaled: divide_rounded(numerator, other.unscaled), scale });
                }
                None if scale > self.scale => scale -= 1,
                None => return Err(overflow()),
            }
        }
    }

    /// The remainder with the sign of `self`.
    ///
    /// # Errors
    /// `22012`, `22003`
    pub fn remainder(self, other: Self) -> SqlResult<Self> {
        if other.unscaled == 0 {
            return Err(division_by_zero());
        }
        let scale = self.scale.max(other.scale);
        let (a, b) = (self.rescale(scale)?, other.rescale(scale)?);
        Ok(Self { unscaled: a.unscaled.checked_rem(b.unscaled).unwrap_or(0), scale })
    }
}

fn power(exponent: u32) -> Option<i128> {
    10_i128.checked_pow(exponent)
}

/// Rounds half away from zero. `i128::MIN / -1` saturates, which no decimal of 38 digits comes near.
fn divide_rounded(numerator: i128, divisor: i128) -> i128 {
    let quotient = numerator.checked_div(divisor).unwrap_or(i128::MAX);
    let remainder = numerator.checked_rem(divisor).unwrap_or(0).unsigned_abs();
    if remainder >= divisor.unsigned_abs() - remainder {
        quotient.saturating_add(if (numerator < 0) == (divisor < 0) { 1 } else { -1 })
    } else {
        quotient
    }
}

pub(super) fn overflow() -> SqlError {
    SqlError::new(SqlState::NumericValueOutOfRange, "value overflows numeric format")
}

pub(super) fn division_by_zero() -> SqlError {
    SqlError::new(SqlState::DivisionByZero, "division by zero")
}
