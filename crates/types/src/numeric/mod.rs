//! numeric as PostgreSQL has it: any count of digits up to its limits, a display scale of its own for each value, NaN
//! and the infinities.
//!
//! - this file: the number, its limits, comparison, conversion from and to machine numbers
//! - [`arithmetic`]: `+ - * / %`, rounding, roots of integers
//! - [`functions`](mod@functions): exp, ln, log, power, …
//! - [`form`]: how a number stands in a column and in a key
//! - [`text`]: reading and writing
//!
//! A number of 38 digits or less is kept in 128 bits, longer ones by `num-bigint`.

mod arithmetic;
mod form;
mod functions;
mod sum;
mod text;
mod wire;

#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use num_bigint::{BigInt, Sign};

pub use form::{decode, decode_key, encode, encode_finite, key_of};
pub use sum::{NumericSum, Spread};
pub use wire::WireNumeric;

use crate::{SqlError, SqlResult, SqlState, Value};

/// Decimal places that a value may show at most.
pub const DISPLAY_SCALE_MAX: u32 = 16_383;
/// Digits before the point that a value may have at most.
pub const WHOLE_DIGITS_MAX: u32 = 131_072;
/// Digits that `numeric(p, s)` may declare at most.
pub const PRECISION_MAX: u16 = 1_000;
/// Places that a computed result is given at most, where it has no end.
const RESULT_SCALE_MAX: i32 = 1_000;
/// Significant digits that a computed result has at least.
const SIGNIFICANT_DIGITS_MIN: i32 = 16;

/// A number.
#[derive(Clone, Debug)]
pub enum Numeric {
    /// `unscaled / 10^scale`; `scale` is also how many places are shown.
    Finite {
        /// The digits.
        unscaled: Int,
        /// How many of them stand behind the point.
        scale: u32,
    },
    /// Not a number: equal to itself and greater than all numbers.
    NaN,
    /// Greater than every finite number.
    Infinity,
    /// Less than every finite number.
    NegativeInfinity,
}

/// An integer of any size.
#[derive(Clone, Debug)]
pub enum Int {
    /// What fits 128 bits.
    Small(i128),
    /// What does not.
    Big(BigInt),
}

impl Int {
    fn of(big: BigInt) -> Self {
        i128::try_from(&big).map_or_else(|_| Int::Big(big), Int::Small)
    }

    fn big(&self) -> BigInt {
        match self {
            Int::Small(v) => BigInt::from(*v),
            Int::Big(v) => v.clone(),
        }
    }

    fn sign(&self) -> i8 {
        match self {
            Int::Small(v) => v.signum() as i8,
            Int::Big(v) => match v.sign() {
                Sign::Minus => -1,
                Sign::NoSign => 0,
                Sign::Plus => 1,
            },
        }
    }

    /// Count of decimal digits, 0 of zero.
    fn digits(&self) -> u32 {
        match self {
            Int::Small(v) => v.unsigned_abs().checked_ilog10().map_or(0, |log| log + 1),
            Int::Big(v) => digits_of(v),
        }
    }
}

/// Count of decimal digits, 0 of zero.
fn digits_of(v: &BigInt) -> u32 {
    if v.sign() == Sign::NoSign {
        return 0;
    }
    let least = ((v.bits() - 1) as f64 * std::f64::consts::LOG10_2) as u32;
    // The estimate is at most one off.
    if v.magnitude() >= power_of_ten(least + 1).magnitude() {
        least + 2
    } else if v.magnitude() >= power_of_ten(least).magnitude() {
        least + 1
    } else {
        least
    }
}

/// `10^n`
fn power_of_ten(n: u32) -> BigInt {
    match 10i128.checked_pow(n) {
        Some(small) => BigInt::from(small),
        None => BigInt::from(10u8).pow(n),
    }
}

/// `22003`
#[must_use]
pub fn overflow() -> SqlError {
    SqlError::new(SqlState::NumericValueOutOfRange, "value overflows numeric format")
}

fn division_by_zero() -> SqlError {
    SqlError::new(SqlState::DivisionByZero, "division by zero")
}

impl Numeric {
    /// Zero without places.
    pub const ZERO: Numeric = Numeric::Finite { unscaled: Int::Small(0), scale: 0 };

    /// `unscaled / 10^scale`
    #[must_use]
    pub fn small(unscaled: i128, scale: u32) -> Self {
        Numeric::Finite { unscaled: Int::Small(unscaled), scale }
    }

    /// An integer.
    #[must_use]
    pub fn integer(v: i64) -> Self {
        Self::small(i128::from(v), 0)
    }

    fn of_big(unscaled: BigInt, scale: u32) -> Self {
        Numeric::Finite { unscaled: Int::of(unscaled), scale }
    }

    /// The number of an integer or numeric value, exactly; `None` for other values.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Numeric(unscaled, scale) => Some(match u32::try_from(*scale) {
                Ok(scale) => Self::small(*unscaled, scale),
                Err(_) => Self::of_big(BigInt::from(*unscaled) * power_of_ten(u32::from(scale.unsigned_abs())), 0),
            }),
            Value::Wide(number) => Some(number.as_ref().clone()),
            other => other.as_i64().map(Self::integer),
        }
    }

    /// As a value: the short form where it fits 38 digits.
    #[must_use]
    pub fn into_value(self) -> Value {
        match self {
            Numeric::Finite { unscaled: Int::Small(v), scale } if v.unsigned_abs() < SHORT_BOUND && scale <= 38 => {
                Value::Numeric(v, scale as i8)
            }
            other => Value::Wide(Box::new(other)),
        }
    }

    /// Refuses what has more digits than PostgreSQL's format holds.
    ///
    /// # Errors
    /// `22003`
    pub fn checked(self) -> SqlResult<Self> {
        if let Numeric::Finite { unscaled, scale } = &self
            && (*scale > DISPLAY_SCALE_MAX
                || matches!(unscaled, Int::Big(_)) && unscaled.digits() > WHOLE_DIGITS_MAX + scale)
        {
            return Err(overflow());
        }
        Ok(self)
    }

    /// Decimal places shown; `None` of NaN and the infinities.
    #[must_use]
    pub fn scale(&self) -> Option<u32> {
        match self {
            Numeric::Finite { scale, .. } => Some(*scale),
            _ => None,
        }
    }

    /// Whether it is NaN.
    #[must_use]
    pub fn is_nan(&self) -> bool {
        matches!(self, Numeric::NaN)
    }

    /// Whether it is a number with an end.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        matches!(self, Numeric::Finite { .. })
    }

    /// -1, 0 or 1; 0 of NaN.
    #[must_use]
    pub fn signum(&self) -> i8 {
        match self {
            Numeric::Finite { unscaled, .. } => unscaled.sign(),
            Numeric::NaN => 0,
            Numeric::Infinity => 1,
            Numeric::NegativeInfinity => -1,
        }
    }

    /// Whether it is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.is_finite() && self.signum() == 0
    }

    /// The order of two numbers: places that are shown do not count, NaN is the greatest.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        let rank = |n: &Self| match n {
            Numeric::NegativeInfinity => 0,
            Numeric::Finite { .. } => 1,
            Numeric::Infinity => 2,
            Numeric::NaN => 3,
        };
        let (Numeric::Finite { unscaled: a, scale: s }, Numeric::Finite { unscaled: b, scale: t }) = (self, other)
        else {
            return rank(self).cmp(&rank(other));
        };
        if let (Int::Small(a), Int::Small(b)) = (a, b) {
            if s == t {
                return a.cmp(b);
            }
            let up = |v: i128, n: u32| 10i128.checked_pow(n).and_then(|p| v.checked_mul(p));
            let (a, b) = if s < t { (up(*a, t - s), Some(*b)) } else { (Some(*a), up(*b, s - t)) };
            if let (Some(a), Some(b)) = (a, b) {
                return a.cmp(&b);
            }
        }
        if a.sign() != b.sign() {
            return a.sign().cmp(&b.sign());
        }
        // Numbers of another size need no common scale.
        let size = |v: &Int, scale: u32| i64::from(v.digits()) - i64::from(scale);
        let by_size = size(a, *s).cmp(&size(b, *t));
        if by_size.is_ne() {
            return if a.sign() < 0 { by_size.reverse() } else { by_size };
        }
        match s.cmp(t) {
            Ordering::Less => (a.big() * power_of_ten(t - s)).cmp(&b.big()),
            Ordering::Equal => a.big().cmp(&b.big()),
            Ordering::Greater => a.big().cmp(&(b.big() * power_of_ten(s - t))),
        }
    }

    /// The nearest double.
    #[must_use]
    pub fn to_f64(&self) -> f64 {
        match self {
            Numeric::NaN => f64::NAN,
            Numeric::Infinity => f64::INFINITY,
            Numeric::NegativeInfinity => f64::NEG_INFINITY,
            Numeric::Finite { unscaled: Int::Small(v), scale: 0 } => *v as f64,
            finite => finite.to_string().parse().unwrap_or(f64::NAN),
        }
    }

    /// A double's digits as PostgreSQL takes them over: `places + 1` significant ones.
    #[must_use]
    pub fn from_f64(value: f64, places: usize) -> Self {
        if value.is_nan() {
            return Numeric::NaN;
        }
        if value.is_infinite() {
            return if value > 0.0 { Numeric::Infinity } else { Numeric::NegativeInfinity };
        }
        let written = format!("{value:.places$e}");
        let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
        let mantissa =
            if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
        Self::parse(&format!("{mantissa}e{exponent}")).unwrap_or(Numeric::ZERO)
    }

    /// The nearest integer, half away from zero.
    ///
    /// # Errors
    /// `22003` where it does not fit `ty`'s name, `0A000` of NaN and the infinities.
    pub fn to_i64(&self, ty: &str) -> SqlResult<i64> {
        let what = match self {
            Numeric::NaN => "NaN",
            Numeric::Infinity | Numeric::NegativeInfinity => "infinity",
            Numeric::Finite { .. } => "",
        };
        if !what.is_empty() {
            return Err(SqlError::new(SqlState::FeatureNotSupported, format!("cannot convert {what} to {ty}")));
        }
        match self.round(0) {
            Numeric::Finite { unscaled: Int::Small(v), .. } => i64::try_from(v).ok(),
            _ => None,
        }
        .ok_or_else(|| SqlError::new(SqlState::NumericValueOutOfRange, format!("{ty} out of range")))
    }

    /// The unscaled number at a count of places, where it is exact there and has at most 38 digits.
    #[must_use]
    pub fn exactly_at(&self, scale: u32) -> Option<i128> {
        let rounded = self.round(i32::try_from(scale).ok()?);
        match &rounded {
            Numeric::Finite { unscaled: Int::Small(v), .. }
                if v.unsigned_abs() < SHORT_BOUND && rounded.compare(self).is_eq() =>
            {
                Some(*v)
            }
            _ => None,
        }
    }

    /// As a column `numeric(precision, scale)` keeps it, rounded half away from zero.
    ///
    /// # Errors
    /// `22003` where it does not fit.
    pub fn fit(&self, precision: u16, scale: i16) -> SqlResult<Self> {
        let error =
            |detail: String| SqlError::new(SqlState::NumericValueOutOfRange, "numeric field overflow").detail(detail);
        if matches!(self, Numeric::Infinity | Numeric::NegativeInfinity) {
            return Err(error(format!(
                "A field with precision {precision}, scale {scale} cannot hold an infinite value."
            )));
        }
        let rounded = self.round(i32::from(scale));
        if let Numeric::Finite { unscaled, scale: places } = &rounded {
            let whole = i32::from(precision) - i32::from(scale);
            let digits = unscaled.digits() as i32 - *places as i32;
            if unscaled.sign() != 0 && digits > whole {
                let bound = if whole == 0 { "1".to_owned() } else { format!("10^{whole}") };
                return Err(error(format!(
                    "A field with precision {precision}, scale {scale} must round to an absolute value less than {bound}."
                )));
            }
        }
        Ok(rounded)
    }

    /// Bytes that the number takes besides its own, about.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Numeric::Finite { unscaled: Int::Big(v), .. } => (v.bits() / 8) as usize + 8,
            _ => 0,
        }
    }
}

/// The least number of 39 digits.
const SHORT_BOUND: u128 = 10u128.pow(38);

/// Numbers are equal as SQL compares them: 2.0 and 2.00 are.
impl PartialEq for Numeric {
    fn eq(&self, other: &Self) -> bool {
        self.compare(other).is_eq()
    }
}

impl Eq for Numeric {}

/// As its text.
impl serde::Serialize for Numeric {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl<'de> serde::Deserialize<'de> for Numeric {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}
