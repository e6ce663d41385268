//! Roots, exponentials, logarithms and powers, to the places that PostgreSQL gives them.
//!
//! They are computed on integers that stand for a number at a fixed count of places, with more places than the result
//! has.

use num_bigint::BigInt;

use super::arithmetic::divide_rounded;
use super::power_of_ten;
use super::{Int, Numeric, RESULT_SCALE_MAX, SIGNIFICANT_DIGITS_MIN, WHOLE_DIGITS_MAX, division_by_zero, overflow};
use crate::{SqlError, SqlResult, SqlState};

/// `log10(e)`
const LOG10_E: f64 = std::f64::consts::LOG10_E;
/// Places computed beyond those of the result.
const GUARD: u32 = 12;

fn power_error(text: &str) -> SqlError {
    SqlError::new(SqlState::InvalidArgumentForPowerFunction, text)
}

fn logarithm_error(text: &str) -> SqlError {
    SqlError::new(SqlState::InvalidArgumentForLogarithm, text)
}

fn one(places: u32) -> BigInt {
    power_of_ten(places)
}

/// The product of two numbers at a fixed count of places.
fn product(a: &BigInt, b: &BigInt, places: u32) -> BigInt {
    (a * b) / power_of_ten(places)
}

/// `e^x`, `x` and the result at a fixed count of places. `x` is small enough for the result to be kept whole.
fn exponential(x: &BigInt, places: u32) -> BigInt {
    // Halved until it is below 2^-16, squared as often afterwards: each squaring doubles the error.
    let size = x.bits() as i64 - one(places).bits() as i64;
    let halvings = u32::try_from(size + 17).unwrap_or(0);
    let more = halvings / 3 + 8;
    let inner = places + more;
    let reduced = (x * power_of_ten(more)) >> halvings;
    let unit = one(inner);
    let (mut sum, mut term, mut n) = (unit.clone(), unit, 0u32);
    loop {
        n += 1;
        term = product(&term, &reduced, inner) / n;
        if term.sign() == num_bigint::Sign::NoSign || term.magnitude().bits() <= 1 {
            break;
        }
        sum += &term;
    }
    for _ in 0..halvings {
        sum = product(&sum, &sum, inner);
    }
    sum / power_of_ten(more)
}

/// `ln(x)` of `x` from 0.3 to 11, both at a fixed count of places.
fn logarithm_near_one(x: &BigInt, places: u32) -> BigInt {
    let unit = one(places);
    // Halley's iteration triples the digits: from a double's fifteen, or from 2 (x - 1) / (x + 1) near one.
    let mut y = ((x - &unit) * 2u8 * &unit) / (x + &unit);
    if (x - &unit).magnitude() * 10u8 > *unit.magnitude() {
        let kept = places.min(17);
        let short: f64 = (x / power_of_ten(places - kept)).to_string().parse().unwrap_or(1.0);
        let guess = (short / 10f64.powi(kept as i32)).ln();
        y = BigInt::from((guess * 1e15) as i64) * power_of_ten(places.max(15) - 15) / power_of_ten(15 - places.min(15));
    }
    for _ in 0..64 {
        let power = exponential(&y, places);
        let step = ((x - &power) * 2u8 * &unit) / (x + &power);
        let done = step.bits() <= 4;
        y += step;
        if done {
            break;
        }
    }
    y
}

impl Numeric {
    /// The number at a fixed count of places.
    fn fixed(&self, places: u32) -> BigInt {
        match self.at_scale(places) {
            Numeric::Finite { unscaled, .. } => unscaled.big(),
            _ => BigInt::default(),
        }
    }

    fn of_fixed(v: &BigInt, from: u32, scale: u32) -> SqlResult<Self> {
        let shifted =
            if from >= scale { divide_rounded(v, &power_of_ten(from - scale)) } else { v * power_of_ten(scale - from) };
        Numeric::of_big(shifted, scale).checked()
    }

    fn result_scale(digits_before: i32, scales: &[&Self]) -> u32 {
        let least = scales.iter().filter_map(|n| n.scale()).max().unwrap_or(0) as i32;
        (SIGNIFICANT_DIGITS_MIN - digits_before).max(least).clamp(0, RESULT_SCALE_MAX) as u32
    }

    /// The square root.
    ///
    /// # Errors
    /// `2201F` below zero.
    pub fn sqrt(&self) -> SqlResult<Self> {
        if self.signum() < 0 {
            return Err(power_error("cannot take square root of a negative number"));
        }
        if !self.is_finite() {
            return Ok(self.clone());
        }
        let weight = self.weight() * 4;
        let digits = if weight >= 0 { weight / 2 + 1 } else { 1 - (1 - weight) / 2 };
        Ok(self.root_to(Self::result_scale(digits, &[self])))
    }

    /// `e^self`
    ///
    /// # Errors
    /// `22003`
    pub fn exp(&self) -> SqlResult<Self> {
        match self {
            Numeric::NegativeInfinity => return Ok(Numeric::ZERO),
            Numeric::Finite { .. } => {}
            other => return Ok(other.clone()),
        }
        let value = self.to_f64();
        let scale = Self::result_scale((value * LOG10_E).clamp(-2000.0, 2000.0) as i32, &[self]);
        self.exp_to(scale)
    }

    fn exp_to(&self, scale: u32) -> SqlResult<Self> {
        let value = self.to_f64();
        if value.abs() >= 6_000.0 {
            return if value > 0.0 { Err(overflow()) } else { Ok(Numeric::small(0, scale)) };
        }
        let whole = (value * LOG10_E).max(0.0) as u32;
        let places = scale + whole + GUARD;
        Self::of_fixed(&exponential(&self.fixed(places), places), places, scale)
    }

    /// About the power of ten of `ln(self)`.
    fn logarithm_weight(&self) -> i32 {
        if self.signum() <= 0 {
            return 0;
        }
        let (low, high) = (Numeric::small(9, 1), Numeric::small(11, 1));
        if self.compare(&low).is_ge() && self.compare(&high).is_le() {
            // ln(1 + x) is about x.
            let Ok(rest) = self.subtract(&Numeric::integer(1)) else { return 0 };
            return match &rest {
                Numeric::Finite { unscaled, scale } if unscaled.sign() != 0 => {
                    unscaled.digits() as i32 - 1 - *scale as i32
                }
                _ => 0,
            };
        }
        let (digits, exponent) = self.leading();
        ((digits.ln() + f64::from(exponent) * std::f64::consts::LN_10).abs().log10()) as i32
    }

    /// The number as `digits * 10^exponent`, with as many digits as a double holds.
    fn leading(&self) -> (f64, i32) {
        let Numeric::Finite { unscaled, scale } = self else { return (0.0, 0) };
        let count = unscaled.digits();
        let dropped = count.saturating_sub(17);
        let kept = match unscaled {
            Int::Small(v) => v.unsigned_abs() / 10u128.pow(dropped),
            Int::Big(v) => u128::try_from(v.magnitude() / power_of_ten(dropped).magnitude()).unwrap_or(0),
        };
        (kept as f64, dropped as i32 - *scale as i32)
    }

    /// The natural logarithm.
    ///
    /// # Errors
    /// `2201E` of zero and below.
    pub fn ln(&self) -> SqlResult<Self> {
        if self.is_nan() {
            return Ok(Numeric::NaN);
        }
        match self.signum() {
            0 => return Err(logarithm_error("cannot take logarithm of zero")),
            ..0 => return Err(logarithm_error("cannot take logarithm of a negative number")),
            _ => {}
        }
        if !self.is_finite() {
            return Ok(self.clone());
        }
        let scale = Self::result_scale(self.logarithm_weight(), &[self]);
        Ok(self.ln_to(scale))
    }

    /// The logarithm of a number above zero, to so many places.
    fn ln_to(&self, scale: u32) -> Self {
        let places = scale + GUARD;
        let fixed = self.ln_fixed(places);
        Self::of_fixed(&fixed, places, scale).unwrap_or(Numeric::NaN)
    }

    fn ln_fixed(&self, places: u32) -> BigInt {
        let Numeric::Finite { unscaled, scale } = self else { return BigInt::default() };
        // f * 10^p with f from 0.316 to 3.17 or, near one, the number itself.
        let digits = unscaled.digits() as i32;
        let (lead, exponent) = self.leading();
        let tens = lead.log10() + f64::from(exponent);
        let p = tens.round() as i32;
        let more = 8;
        let inner = places + more;
        let shift = i64::from(inner) - i64::from(*scale) - i64::from(p);
        let power = power_of_ten(shift.unsigned_abs() as u32);
        let factor = if shift >= 0 { unscaled.big() * power } else { unscaled.big() / power };
        let mut result = logarithm_near_one(&factor, inner);
        if p != 0 && digits > 0 {
            let ten = logarithm_near_one(&(one(inner + 6) * 10u8), inner + 6);
            result += ten * p / power_of_ten(6);
        }
        result / power_of_ten(more)
    }

    /// The logarithm of `self` to `base`.
    ///
    /// # Errors
    /// `2201E` of zero and below, `22012` to base 1.
    pub fn log(&self, base: &Self) -> SqlResult<Self> {
        if self.is_nan() || base.is_nan() {
            return Ok(Numeric::NaN);
        }
        for number in [base, self] {
            match number.signum() {
                0 => return Err(logarithm_error("cannot take logarithm of zero")),
                ..0 => return Err(logarithm_error("cannot take logarithm of a negative number")),
                _ => {}
            }
        }
        match (base.is_finite(), self.is_finite()) {
            (true, true) => {}
            (false, false) => return Ok(Numeric::NaN),
            (false, true) => return Ok(Numeric::ZERO),
            (true, false) => return Ok(Numeric::Infinity),
        }
        let (of_base, of_self) = (base.logarithm_weight(), self.logarithm_weight());
        let scale = Self::result_scale(of_self - of_base, &[base, self]);
        let extra = u32::try_from((-of_base).max(0) + (-of_self).max(0)).unwrap_or(0);
        let places = scale + GUARD + 4 + extra + of_self.unsigned_abs();
        let (numerator, divisor) = (self.ln_fixed(places), base.ln_fixed(places));
        if divisor.sign() == num_bigint::Sign::NoSign || base.compare(&Numeric::integer(1)).is_eq() {
            return Err(division_by_zero());
        }
        Numeric::of_big(divide_rounded(&(numerator * power_of_ten(scale)), &divisor), scale).checked()
    }

    /// `self ^ exponent`
    ///
    /// # Errors
    /// `2201F` where there is no such power, `22003`.
    pub fn power(&self, exponent: &Self) -> SqlResult<Self> {
        let unity = Numeric::integer(1);
        if self.is_nan() || exponent.is_nan() {
            let is_one = exponent.is_zero() || self.compare(&unity).is_eq();
            return Ok(if is_one { unity } else { Numeric::NaN });
        }
        let whole = !exponent.is_finite() || exponent.min_scale() == 0;
        if self.is_zero() && exponent.signum() < 0 {
            return Err(power_error("zero raised to a negative power is undefined"));
        }
        if self.signum() < 0 && !whole {
            return Err(power_error("a negative number raised to a non-integer power yields a complex result"));
        }
        if !self.is_finite() || !exponent.is_finite() {
            return Ok(self.infinite_power(exponent));
        }
        if whole
            && let Numeric::Finite { unscaled: Int::Small(v), .. } = exponent.truncate(0)
            && let Ok(n) = i32::try_from(v)
        {
            return self.power_whole(n);
        }
        if self.is_zero() {
            return Ok(Numeric::small(0, SIGNIFICANT_DIGITS_MIN as u32));
        }
        let odd = self.signum() < 0 && exponent.remainder(&Numeric::integer(2))?.signum() != 0;
        let base = self.abs();
        let weight = base.logarithm_weight();
        let estimate = base.ln_to((18 - weight).clamp(0, RESULT_SCALE_MAX) as u32).multiply(exponent)?.to_f64();
        if estimate.abs() > 6_020.0 {
            return if estimate > 0.0 { Err(overflow()) } else { Ok(Numeric::small(0, RESULT_SCALE_MAX as u32)) };
        }
        let digits = (estimate * LOG10_E) as i32;
        let scale = Self::result_scale(digits, &[self, exponent]);
        // The exponent's digits before the point move the error of the logarithm to the left.
        let grown = exponent.weight().max(0) as u32 * 4 + 4 + digits.max(0).unsigned_abs();
        let logarithm = base.ln_to(scale + GUARD + grown);
        let result =
            logarithm.multiply(exponent)?.at_scale(scale + GUARD + digits.max(0).unsigned_abs()).exp_to(scale)?;
        Ok(if odd { result.negate() } else { result })
    }

    fn infinite_power(&self, exponent: &Self) -> Self {
        let unity = Numeric::integer(1);
        if exponent.is_zero() || self.compare(&unity).is_eq() {
            return unity;
        }
        if self.is_zero() {
            return Numeric::ZERO;
        }
        if !exponent.is_finite() {
            return match self.abs().compare(&unity) {
                std::cmp::Ordering::Equal => unity,
                order if order.is_gt() == (exponent.signum() > 0) => Numeric::Infinity,
                _ => Numeric::ZERO,
            };
        }
        if exponent.signum() < 0 {
            return Numeric::ZERO;
        }
        let odd = exponent.remainder(&Numeric::integer(2)).is_ok_and(|rest| rest.signum() != 0);
        if self.signum() < 0 && odd { Numeric::NegativeInfinity } else { Numeric::Infinity }
    }

    /// Powers with a whole exponent have 16 places, or those of the base where it has more.
    fn power_whole(&self, n: i32) -> SqlResult<Self> {
        let least = SIGNIFICANT_DIGITS_MIN as u32;
        let scale = self.scale().unwrap_or(0).clamp(least, RESULT_SCALE_MAX as u32);
        match n {
            0 => return Ok(Numeric::integer(1).at_scale(scale)),
            1 => return Ok(self.at_scale(scale)),
            2 => return Ok(self.multiply(self)?.at_scale(scale)),
            -1 => return Numeric::integer(1).divide_to(self, scale),
            _ => {}
        }
        let (lead, tens) = self.leading();
        let size = if lead == 0.0 { 0.0 } else { f64::from(n) * (lead.log10() + f64::from(tens)) };
        if size > f64::from(WHOLE_DIGITS_MAX) {
            return Err(overflow());
        }
        if size + 1.0 < -f64::from(scale) {
            return Ok(Numeric::small(0, scale));
        }
        let Numeric::Finite { unscaled, scale: from } = self else { return Ok(Numeric::NaN) };
        if unscaled.sign() == 0 {
            return if n < 0 { Err(division_by_zero()) } else { Ok(Numeric::small(0, scale)) };
        }
        // Squared and multiplied with as many digits as the result needs, and those that the errors take.
        let needed = (i64::from(scale) + size as i64).max(0) as u32 + GUARD + n.unsigned_abs().ilog10() + 8;
        let keep = |mantissa: BigInt, tens: i64| {
            let excess = super::digits_of(&mantissa).saturating_sub(needed);
            if excess == 0 { (mantissa, tens) } else { (mantissa / power_of_ten(excess), tens + i64::from(excess)) }
        };
        let (mut factor, mut factor_tens) = keep(unscaled.big(), -i64::from(*from));
        let (mut result, mut result_tens) = (BigInt::from(1u8), 0i64);
        let mut rest = n.unsigned_abs();
        loop {
            if rest & 1 == 1 {
                (result, result_tens) = keep(result * &factor, result_tens + factor_tens);
            }
            rest >>= 1;
            if rest == 0 {
                break;
            }
            (factor, factor_tens) = keep(&factor * &factor, factor_tens * 2);
        }
        let whole = |v: i64| u32::try_from(v).map_err(|_| overflow());
        if n > 0 {
            let shift = result_tens + i64::from(scale);
            let value = if shift >= 0 {
                result * power_of_ten(whole(shift)?)
            } else {
                divide_rounded(&result, &power_of_ten(whole(-shift)?))
            };
            return Numeric::of_big(value, scale).checked();
        }
        let shift = i64::from(scale) - result_tens;
        let value = if shift >= 0 {
            divide_rounded(&power_of_ten(whole(shift)?), &result)
        } else {
            divide_rounded(&BigInt::from(1u8), &(result * power_of_ten(whole(-shift)?)))
        };
        Numeric::of_big(value, scale).checked()
    }

    /// The bucket of `self` among `count` of the same width from `low` to `high`.
    ///
    /// # Errors
    /// `2201G` for bounds and counts that make no buckets, `22003`.
    pub fn width_bucket(&self, low: &Self, high: &Self, count: i32) -> SqlResult<i32> {
        let invalid = |text: &str| Err(SqlError::new(SqlState::InvalidArgumentForWidthBucket, text));
        if count <= 0 {
            return invalid("count must be greater than zero");
        }
        if [self, low, high].iter().any(|n| n.is_nan()) {
            return invalid("operand, lower bound, and upper bound cannot be NaN");
        }
        if !low.is_finite() || !high.is_finite() {
            return invalid("lower and upper bounds must be finite");
        }
        let rising = match low.compare(high) {
            std::cmp::Ordering::Equal => return invalid("lower bound cannot equal upper bound"),
            order => order.is_lt(),
        };
        let behind = || {
            count.checked_add(1).ok_or_else(|| SqlError::new(SqlState::NumericValueOutOfRange, "integer out of range"))
        };
        let (below, above) = (self.compare(low), self.compare(high));
        if if rising { below.is_lt() } else { below.is_gt() } {
            return Ok(0);
        }
        if if rising { above.is_ge() } else { above.is_le() } {
            return behind();
        }
        let share = self.subtract(low)?.multiply(&Numeric::integer(i64::from(count)))?;
        let bucket = share.divide_whole(&high.subtract(low)?)?.to_i64("integer")?;
        Ok(i32::try_from(bucket).unwrap_or(count - 1).min(count - 1) + 1)
    }
}
