//! A number in groups of four digits, as PostgreSQL sends and counts it.

use num_bigint::{BigInt, Sign};

use super::{Int, Numeric, power_of_ten};

/// The parts of a number in base 10,000: `±0.g1 g2 … * 10000^(weight + 1)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireNumeric {
    /// Whether it is below zero.
    pub negative: bool,
    /// The power of 10,000 that the first group counts.
    pub weight: i32,
    /// Decimal places shown.
    pub scale: u32,
    /// The groups, none at either end zero.
    pub groups: Vec<i16>,
}

impl WireNumeric {
    /// The parts of a finite number; `None` of others.
    #[must_use]
    pub fn of(number: &Numeric) -> Option<Self> {
        let Numeric::Finite { unscaled, scale } = number else { return None };
        let padding = (4 - scale % 4) % 4;
        let behind = ((scale + padding) / 4) as i32;
        let padded = unscaled.big() * power_of_ten(padding);
        let mut groups = Vec::new();
        let digits = padded.magnitude().to_string();
        let first = match digits.len() % 4 {
            0 => 4,
            n => n,
        };
        if padded.sign() != Sign::NoSign {
            groups.push(digits[..first].parse().unwrap_or(0));
            let rest = digits.as_bytes()[first..].chunks(4);
            groups.extend(rest.map(|group| group.iter().fold(0i16, |v, d| v * 10 + i16::from(d - b'0'))));
        }
        let weight = groups.len() as i32 - 1 - behind;
        while groups.last() == Some(&0) {
            groups.pop();
        }
        let leading = groups.iter().take_while(|g| **g == 0).count();
        groups.drain(..leading);
        let weight = if groups.is_empty() { 0 } else { weight - leading as i32 };
        Some(Self { negative: padded.sign() == Sign::Minus, weight, scale: *scale, groups })
    }

    /// The number; digits behind its scale are cut off, as PostgreSQL does. Groups must be from 0 to 9999.
    #[must_use]
    pub fn number(&self) -> Numeric {
        let bytes: Vec<u8> = self
            .groups
            .iter()
            .flat_map(|group| {
                let group = group.unsigned_abs() % 10_000;
                [(group / 100) as u8, (group % 100) as u8]
            })
            .collect();
        let sign = if self.negative { Sign::Minus } else { Sign::Plus };
        let big = if bytes.is_empty() { None } else { BigInt::from_radix_be(sign, &bytes, 100) };
        let big = big.unwrap_or_default();
        let places = 4 * (self.groups.len() as i32 - 1 - self.weight);
        let shift = self.scale as i32 - places;
        let power = power_of_ten(shift.unsigned_abs());
        Numeric::Finite { unscaled: Int::of(if shift >= 0 { big * power } else { big / power }), scale: self.scale }
    }
}
