//! Sums, products, quotients, rounding. Scales of results are PostgreSQL's.

use num_bigint::BigInt;

use super::{
    DISPLAY_SCALE_MAX, Int, Numeric, RESULT_SCALE_MAX, SIGNIFICANT_DIGITS_MIN, division_by_zero, overflow, power_of_ten,
};
use crate::{SqlError, SqlResult, SqlState};

/// Places that round and trunc go to at most, on both sides of the point.
const ROUND_PLACES_MAX: i32 = 2_000;
/// The factorial of more than this has more digits than numeric.
const FACTORIAL_MAX: i64 = 32_177;

/// `numerator / divisor`, rounded half away from zero.
pub(super) fn divide_rounded(numerator: &BigInt, divisor: &BigInt) -> BigInt {
    let quotient = numerator / divisor;
    let rest = numerator % divisor;
    if rest.magnitude() * 2u8 >= *divisor.magnitude() {
        if (numerator.sign() == num_bigint::Sign::Minus) == (divisor.sign() == num_bigint::Sign::Minus) {
            quotient + 1
        } else {
            quotient - 1
        }
    } else {
        quotient
    }
}

/// `v` at another count of places: cut off, or rounded half away from zero.
fn rescaled(v: &Int, from: u32, to: i64, cut: bool) -> Int {
    let shift = to - i64::from(from);
    if shift == 0 || v.sign() == 0 {
        return v.clone();
    }
    let steps = shift.unsigned_abs() as u32;
    if let (Int::Small(small), Some(power)) = (v, 10i128.checked_pow(steps)) {
        if shift > 0 {
            if let Some(raised) = small.checked_mul(power) {
                return Int::Small(raised);
            }
        } else {
            let (quotient, rest) = (small / power, (small % power).unsigned_abs());
            let up = !cut && rest >= power.unsigned_abs() - rest;
            return Int::Small(quotient + if up { small.signum() } else { 0 });
        }
    }
    if shift < 0 && steps > v.digits() {
        return Int::Small(0);
    }
    let (big, power) = (v.big(), power_of_ten(steps));
    Int::of(match (shift > 0, cut) {
        (true, _) => big * power,
        (false, true) => big / power,
        (false, false) => divide_rounded(&big, &power),
    })
}

impl Numeric {
    /// Both numbers' digits at the greater of their scales; `None` where one is not finite.
    fn aligned(&self, other: &Self) -> Option<(Int, Int, u32)> {
        let (Numeric::Finite { unscaled: a, scale: s }, Numeric::Finite { unscaled: b, scale: t }) = (self, other)
        else {
            return None;
        };
        let scale = *s.max(t);
        Some((rescaled(a, *s, i64::from(scale), false), rescaled(b, *t, i64::from(scale), false), scale))
    }

    /// `-self`
    #[must_use]
    pub fn negate(&self) -> Self {
        match self {
            Numeric::NaN => Numeric::NaN,
            Numeric::Infinity => Numeric::NegativeInfinity,
            Numeric::NegativeInfinity => Numeric::Infinity,
            Numeric::Finite { unscaled, scale } => Numeric::Finite {
                unscaled: match unscaled {
                    Int::Small(v) => v.checked_neg().map_or_else(|| Int::of(-BigInt::from(*v)), Int::Small),
                    Int::Big(v) => Int::of(-v),
                },
                scale: *scale,
            },
        }
    }

    /// `abs(self)`
    #[must_use]
    pub fn abs(&self) -> Self {
        if self.signum() < 0 { self.negate() } else { self.clone() }
    }

    /// `self + other`
    ///
    /// # Errors
    /// `22003`
    pub fn add(&self, other: &Self) -> SqlResult<Self> {
        let Some((a, b, scale)) = self.aligned(other) else {
            return Ok(match (self, other) {
                (Numeric::NaN, _)
                | (_, Numeric::NaN)
                | (Numeric::Infinity, Numeric::NegativeInfinity)
                | (Numeric::NegativeInfinity, Numeric::Infinity) => Numeric::NaN,
                (Numeric::Finite { .. }, special) | (special, _) => special.clone(),
            });
        };
        if let (Int::Small(a), Int::Small(b)) = (&a, &b)
            && let Some(sum) = a.checked_add(*b)
        {
            return Ok(Self::small(sum, scale));
        }
        Self::of_big(a.big() + b.big(), scale).checked()
    }

    /// `self - other`
    ///
    /// # Errors
    /// `22003`
    pub fn subtract(&self, other: &Self) -> SqlResult<Self> {
        self.add(&other.negate())
    }

    /// `self * other`
    ///
    /// # Errors
    /// `22003`
    pub fn multiply(&self, other: &Self) -> SqlResult<Self> {
        let (Numeric::Finite { unscaled: a, scale: s }, Numeric::Finite { unscaled: b, scale: t }) = (self, other)
        else {
            return Ok(self.infinite_product(other));
        };
        let scale = s + t;
        if let (Int::Small(a), Int::Small(b)) = (a, b)
            && let Some(product) = a.checked_mul(*b)
            && scale <= DISPLAY_SCALE_MAX
        {
            return Ok(Self::small(product, scale));
        }
        let product = Self::of_big(a.big() * b.big(), scale);
        if scale > DISPLAY_SCALE_MAX { product.at_scale(DISPLAY_SCALE_MAX) } else { product }.checked()
    }

    /// The product where one side is not finite.
    fn infinite_product(&self, other: &Self) -> Self {
        match self.signum() * other.signum() {
            _ if self.is_nan() || other.is_nan() => Numeric::NaN,
            0 => Numeric::NaN,
            1 => Numeric::Infinity,
            _ => Numeric::NegativeInfinity,
        }
    }

    /// The weight and the value of the first group of four digits, counted from the point; zeros of zero.
    fn first_group(&self) -> (i32, i32) {
        let Numeric::Finite { unscaled, scale } = self else { return (0, 0) };
        let digits = unscaled.digits() as i32;
        if digits == 0 {
            return (0, 0);
        }
        let first = digits - 1 - *scale as i32;
        let kept = first.rem_euclid(4) + 1;
        let group = rescaled(unscaled, 0, i64::from(kept - digits), true);
        let value = match group {
            Int::Small(v) => v.unsigned_abs() as i32,
            Int::Big(_) => 0,
        };
        (first.div_euclid(4), value)
    }

    /// The power of 10,000 that the first group of four digits counts; 0 of zero.
    pub(super) fn weight(&self) -> i32 {
        self.first_group().0
    }

    /// Places of `self / other`: 16 significant digits, counted in groups of four.
    pub(super) fn quotient_scale(&self, other: &Self) -> u32 {
        let ((weight, first), (other_weight, other_first)) = (self.first_group(), other.first_group());
        let weight = weight - other_weight - i32::from(first <= other_first);
        let least = self.scale().unwrap_or(0).max(other.scale().unwrap_or(0)) as i32;
        (SIGNIFICANT_DIGITS_MIN - weight * 4).max(least).clamp(0, RESULT_SCALE_MAX) as u32
    }

    /// `self / other` with so many places, rounded half away from zero.
    pub(super) fn divide_to(&self, other: &Self, scale: u32) -> SqlResult<Self> {
        let (Numeric::Finite { unscaled: a, scale: s }, Numeric::Finite { unscaled: b, scale: t }) = (self, other)
        else {
            return Err(SqlError::internal("a quotient of what is not finite"));
        };
        if b.sign() == 0 {
            return Err(division_by_zero());
        }
        // (a / 10^s) / (b / 10^t) at scale r is a * 10^(r + t - s) / b.
        let shift = i64::from(scale) + i64::from(*t) - i64::from(*s);
        if let (Int::Small(a), Int::Small(b)) = (a, b)
            && let Some(power) = 10i128.checked_pow(shift.unsigned_abs() as u32)
            && let (Some(a), Some(b)) =
                if shift >= 0 { (a.checked_mul(power), Some(*b)) } else { (Some(*a), b.checked_mul(power)) }
            && let (Some(quotient), Some(rest)) = (a.checked_div(b), a.checked_rem(b))
        {
            let up = rest.unsigned_abs() >= b.unsigned_abs() - rest.unsigned_abs();
            let away = if (a < 0) == (b < 0) { 1 } else { -1 };
            return Ok(Self::small(quotient + if up { away } else { 0 }, scale));
        }
        let power = power_of_ten(shift.unsigned_abs() as u32);
        let quotient = if shift >= 0 {
            divide_rounded(&(a.big() * power), &b.big())
        } else {
            divide_rounded(&a.big(), &(b.big() * power))
        };
        Self::of_big(quotient, scale).checked()
    }

    /// `self / other`
    ///
    /// # Errors
    /// `22012`, `22003`
    pub fn divide(&self, other: &Self) -> SqlResult<Self> {
        if !self.is_finite() || !other.is_finite() {
            return self.infinite_quotient(other);
        }
        self.divide_to(other, self.quotient_scale(other))
    }

    /// The quotient where one side is not finite.
    fn infinite_quotient(&self, other: &Self) -> SqlResult<Self> {
        if self.is_nan() || other.is_nan() || (!self.is_finite() && !other.is_finite()) {
            return Ok(Numeric::NaN);
        }
        if self.is_finite() {
            return Ok(Numeric::ZERO);
        }
        if other.is_zero() {
            return Err(division_by_zero());
        }
        Ok(self.infinite_product(other))
    }

    /// The whole part of `self / other`.
    ///
    /// # Errors
    /// `22012`, `22003`
    pub fn divide_whole(&self, other: &Self) -> SqlResult<Self> {
        let Some((a, b, _)) = self.aligned(other) else { return self.infinite_quotient(other) };
        if b.sign() == 0 {
            return Err(division_by_zero());
        }
        if let (Int::Small(a), Int::Small(b)) = (&a, &b)
            && let Some(quotient) = a.checked_div(*b)
        {
            return Ok(Self::small(quotient, 0));
        }
        Self::of_big(a.big() / b.big(), 0).checked()
    }

    /// The remainder with the sign of `self`.
    ///
    /// # Errors
    /// `22012`, `22003`
    pub fn remainder(&self, other: &Self) -> SqlResult<Self> {
        let Some((a, b, scale)) = self.aligned(other) else {
            if self.is_nan() || other.is_nan() {
                return Ok(Numeric::NaN);
            }
            if other.is_zero() {
                return Err(division_by_zero());
            }
            return Ok(if self.is_finite() { self.clone() } else { Numeric::NaN });
        };
        if b.sign() == 0 {
            return Err(division_by_zero());
        }
        if let (Int::Small(a), Int::Small(b)) = (&a, &b) {
            return Ok(Self::small(a.checked_rem(*b).unwrap_or(0), scale));
        }
        Ok(Self::of_big(a.big() % b.big(), scale))
    }

    /// With so many places, rounded half away from zero; before the point where `places` is below zero.
    #[must_use]
    pub fn round(&self, places: i32) -> Self {
        self.to_places(places, false)
    }

    /// Without the digits behind so many places.
    #[must_use]
    pub fn truncate(&self, places: i32) -> Self {
        self.to_places(places, true)
    }

    fn to_places(&self, places: i32, cut: bool) -> Self {
        let Numeric::Finite { unscaled, scale } = self else { return self.clone() };
        let places = places.clamp(-ROUND_PLACES_MAX, DISPLAY_SCALE_MAX as i32);
        let kept = rescaled(unscaled, *scale, i64::from(places), cut);
        match u32::try_from(places) {
            Ok(scale) => Numeric::Finite { unscaled: kept, scale },
            Err(_) => Numeric::Finite { unscaled: Int::of(kept.big() * power_of_ten(places.unsigned_abs())), scale: 0 },
        }
    }

    /// Rounded to a scale that may be beyond those of `round`.
    pub(super) fn at_scale(&self, scale: u32) -> Self {
        match self {
            Numeric::Finite { unscaled, scale: from } => {
                Numeric::Finite { unscaled: rescaled(unscaled, *from, i64::from(scale), false), scale }
            }
            other => other.clone(),
        }
    }

    /// The least whole number that is not less, or (`direction` -1) the greatest that is not greater.
    #[must_use]
    pub fn toward(&self, direction: i8) -> Self {
        let whole = self.truncate(0);
        let beyond = self.compare(&whole);
        let step = if direction > 0 { beyond.is_gt() } else { beyond.is_lt() };
        if step { whole.add(&Self::integer(i64::from(direction))).unwrap_or(whole) } else { whole }
    }

    /// Places that the number needs.
    #[must_use]
    pub fn min_scale(&self) -> u32 {
        let Numeric::Finite { unscaled, scale } = self else { return 0 };
        if unscaled.sign() == 0 {
            return 0;
        }
        match unscaled {
            Int::Small(v) => {
                let (mut v, mut scale) = (*v, *scale);
                while scale > 0 && v % 10 == 0 {
                    (v, scale) = (v / 10, scale - 1);
                }
                scale
            }
            Int::Big(v) => {
                let digits = v.magnitude().to_string();
                let zeros = digits.bytes().rev().take_while(|d| *d == b'0').count();
                scale.saturating_sub(zeros as u32)
            }
        }
    }

    /// Without zeros at the end of its places.
    #[must_use]
    pub fn trim_scale(&self) -> Self {
        if self.is_finite() { self.at_scale(self.min_scale()) } else { self.clone() }
    }

    /// The greatest common divisor.
    #[must_use]
    pub fn gcd(&self, other: &Self) -> Self {
        let Some((a, b, scale)) = self.aligned(other) else { return Numeric::NaN };
        let (mut a, mut b) = (a.big(), b.big());
        while b.sign() != num_bigint::Sign::NoSign {
            (a, b) = (b.clone(), a % b);
        }
        Self::of_big(a, scale).abs()
    }

    /// The least common multiple.
    ///
    /// # Errors
    /// `22003`
    pub fn lcm(&self, other: &Self) -> SqlResult<Self> {
        let Some((a, _, scale)) = self.aligned(other) else { return Ok(Numeric::NaN) };
        if self.is_zero() || other.is_zero() {
            return Ok(Self::small(0, scale));
        }
        let Numeric::Finite { unscaled: gcd, .. } = self.gcd(other) else { return Ok(Numeric::NaN) };
        let part = Self::of_big(a.big() / gcd.big(), 0);
        Ok(part.multiply(&other.at_scale(scale))?.abs())
    }

    /// `n!`
    ///
    /// # Errors
    /// `22003` below zero and beyond the limits of numeric.
    pub fn factorial(n: i64) -> SqlResult<Self> {
        if n < 0 {
            return Err(SqlError::new(SqlState::NumericValueOutOfRange, "factorial of a negative number is undefined"));
        }
        if n > FACTORIAL_MAX {
            return Err(overflow());
        }
        // Halves of about the same size multiply fastest.
        fn product(from: u64, to: u64) -> BigInt {
            match to - from {
                0..=8 => (from..=to).fold(BigInt::from(1u8), |p, k| p * k),
                n => product(from, from + n / 2) * product(from + n / 2 + 1, to),
            }
        }
        Ok(Self::of_big(if n < 2 { BigInt::from(1u8) } else { product(2, n.unsigned_abs()) }, 0))
    }

    /// The root of a number that is not below zero, to so many places, rounded half away from zero.
    pub(super) fn root_to(&self, scale: u32) -> Self {
        let Numeric::Finite { unscaled, scale: from } = self else { return self.clone() };
        // One place more decides how the last is rounded: a root that ends in 5 exactly there is a root of few digits.
        let wanted = 2 * (i64::from(scale) + 1);
        let shift = wanted - i64::from(*from);
        let power = power_of_ten(shift.unsigned_abs() as u32);
        let radicand = if shift >= 0 { unscaled.big() * power } else { unscaled.big() / power };
        let root = BigInt::from(radicand.magnitude().sqrt());
        Self::of_big(divide_rounded(&root, &BigInt::from(10u8)), scale)
    }
}
