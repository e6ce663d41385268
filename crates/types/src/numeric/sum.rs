//! Sums of many numbers.

use num_bigint::BigInt;

use super::{Int, Numeric, power_of_ten};
use crate::SqlResult;

/// A sum that grows: exact whatever its size.
#[derive(Clone, Debug, Default)]
pub struct NumericSum {
    /// The sum at `scale` of what fits so far.
    small: i128,
    scale: u32,
    /// What did not fit, at a scale of its own.
    big: Option<(BigInt, u32)>,
    special: Special,
}

/// How many of each have been added.
#[derive(Clone, Copy, Debug, Default)]
struct Special {
    nan: i64,
    infinity: i64,
    negative_infinity: i64,
}

impl NumericSum {
    /// Adds `unscaled / 10^scale`.
    pub fn add_small(&mut self, unscaled: i128, scale: u32) {
        if scale > self.scale {
            let raised = 10i128.checked_pow(scale - self.scale).and_then(|p| self.small.checked_mul(p));
            match raised {
                Some(raised) => self.small = raised,
                None => self.flush(),
            }
            self.scale = scale;
        }
        let raised = if scale == self.scale {
            Some(unscaled)
        } else {
            10i128.checked_pow(self.scale - scale).and_then(|p| unscaled.checked_mul(p))
        };
        match raised.and_then(|v| self.small.checked_add(v)) {
            Some(sum) => self.small = sum,
            None => self.add_big(&BigInt::from(unscaled), scale),
        }
    }

    /// Adds a number.
    pub fn add(&mut self, number: &Numeric) {
        match number {
            Numeric::NaN | Numeric::Infinity | Numeric::NegativeInfinity => self.count_special(number, 1),
            Numeric::Finite { unscaled: Int::Small(v), scale } => self.add_small(*v, *scale),
            Numeric::Finite { unscaled: Int::Big(v), scale } => {
                self.add_big(v, *scale);
                if *scale > self.scale {
                    self.flush();
                    self.scale = *scale;
                }
            }
        }
    }

    /// Takes back what was added. The sum goes on showing as many places.
    pub fn subtract(&mut self, number: &Numeric) {
        if number.is_finite() { self.add(&number.negate()) } else { self.count_special(number, -1) }
    }

    fn count_special(&mut self, number: &Numeric, by: i64) {
        match number {
            Numeric::NaN => self.special.nan += by,
            Numeric::Infinity => self.special.infinity += by,
            Numeric::NegativeInfinity => self.special.negative_infinity += by,
            Numeric::Finite { .. } => {}
        }
    }

    fn add_big(&mut self, v: &BigInt, scale: u32) {
        self.big = Some(match self.big.take() {
            None => (v.clone(), scale),
            Some((sum, s)) if s >= scale => (sum + v * power_of_ten(s - scale), s),
            Some((sum, s)) => (sum * power_of_ten(scale - s) + v, scale),
        });
    }

    fn flush(&mut self) {
        let small = std::mem::take(&mut self.small);
        self.add_big(&BigInt::from(small), self.scale);
    }

    /// The sum, with as many places as the number with the most.
    ///
    /// # Errors
    /// `22003` beyond the limits of numeric.
    pub fn total(&self) -> SqlResult<Numeric> {
        let Special { nan, infinity, negative_infinity } = self.special;
        if nan > 0 || (infinity > 0 && negative_infinity > 0) {
            return Ok(Numeric::NaN);
        }
        if infinity > 0 {
            return Ok(Numeric::Infinity);
        }
        if negative_infinity > 0 {
            return Ok(Numeric::NegativeInfinity);
        }
        match &self.big {
            None => Ok(Numeric::small(self.small, self.scale)),
            Some((big, scale)) => Numeric::of_big(big.clone(), *scale).add(&Numeric::small(self.small, self.scale)),
        }
    }

    /// Bytes that the sum takes besides its own, about.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.big.as_ref().map_or(0, |(v, _)| (v.bits() / 8) as usize + 8)
    }
}

/// What variance and standard deviation come from: count, sum and sum of squares.
#[derive(Clone, Debug)]
pub struct Spread<'a> {
    /// Count of numbers.
    pub count: i64,
    /// Their sum.
    pub sum: &'a Numeric,
    /// The sum of their squares.
    pub squares: &'a Numeric,
}

impl Spread<'_> {
    /// The variance, or its root; of a sample, or of all. `None` where there are too few numbers.
    ///
    /// # Errors
    /// `22003` beyond the limits of numeric.
    pub fn result(&self, sample: bool, root: bool) -> SqlResult<Option<Numeric>> {
        if self.count <= i64::from(sample) {
            return Ok(None);
        }
        if !self.sum.is_finite() || !self.squares.is_finite() {
            return Ok(Some(Numeric::NaN));
        }
        let count = Numeric::integer(self.count);
        let difference = count.multiply(self.squares)?.subtract(&self.sum.multiply(self.sum)?)?;
        if difference.signum() <= 0 {
            return Ok(Some(Numeric::ZERO));
        }
        let divisor =
            if sample { count.multiply(&Numeric::integer(self.count - 1))? } else { count.multiply(&count)? };
        let scale = difference.quotient_scale(&divisor);
        let variance = difference.divide_to(&divisor, scale)?;
        Ok(Some(if root { variance.root_to(scale) } else { variance }))
    }
}
