//! Bit strings.
//!
//! A value is kept as the key of its bytes, each zero followed by `ff` and all by two zeros, and how many bits of the last byte
//! count: shorter strings come before longer ones that they begin, as in PostgreSQL.

use std::fmt;

use crate::error::{SqlError, SqlResult, SqlState};

/// A string of bits: bytes whose unused last bits are zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    /// Most bits of a value: PostgreSQL's limit.
    pub const COUNT_MAX: usize = 0x3fff_ffff;

    /// Reads zeros and ones, or hexadecimal digits behind an `x`.
    ///
    /// # Errors
    /// `22P02`, `54000` for more than [`Bits::COUNT_MAX`].
    pub fn parse(text: &str) -> SqlResult<Bits> {
        let invalid = |digit: char, what: &str| {
            let message = format!("\"{digit}\" is not a valid {what} digit");
            SqlError::new(SqlState::InvalidTextRepresentation, message)
        };
        let (digits, is_hex) = match text.as_bytes().first() {
            Some(b'x' | b'X') => (&text[1..], true),
            Some(b'b' | b'B') => (&text[1..], false),
            _ => (text, false),
        };
        if digits.len() > Bits::COUNT_MAX / if is_hex { 4 } else { 1 } {
            let message = format!("bit string length exceeds the maximum allowed ({})", Bits::COUNT_MAX);
            return Err(SqlError::new(SqlState::ProgramLimitExceeded, message));
        }
        let mut bits = Bits::default();
        for digit in digits.chars() {
            if is_hex {
                let value = digit.to_digit(16).ok_or_else(|| invalid(digit, "hexadecimal"))?;
                (0..4).rev().for_each(|at| bits.push(value >> at & 1 == 1));
            } else {
                bits.push(match digit {
                    '0' => false,
                    '1' => true,
                    _ => return Err(invalid(digit, "binary")),
                });
            }
        }
        Ok(bits)
    }

    /// The lowest `count` bits of a number, its sign in front of it where there are more.
    #[must_use]
    pub fn of_integer(value: i64, count: usize) -> Bits {
        let mut bits = Bits::default();
        (0..count).rev().for_each(|at| bits.push(value >> at.min(63) & 1 == 1));
        bits
    }

    /// The number that the bits are, within so many bits; `None` where it has more.
    #[must_use]
    pub fn to_integer(&self, width: usize) -> Option<i64> {
        if self.count > width {
            return None;
        }
        let value = (0..self.count).fold(0_u64, |value, at| value << 1 | u64::from(self.get(at)));
        Some(if width == 32 { i64::from((value as u32).cast_signed()) } else { value.cast_signed() })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The bytes, the first bit being the highest of the first.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// One bit; false behind the end.
    #[must_use]
    pub fn get(&self, at: usize) -> bool {
        self.bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
    }

    /// Appends one.
    pub fn push(&mut self, bit: bool) {
        if self.count.is_multiple_of(8) {
            self.bytes.push(0);
        }
        if let (true, Some(last)) = (bit, self.bytes.last_mut()) {
            *last |= 0x80 >> (self.count % 8);
        }
        self.count += 1;
    }

    /// Cuts the end off, or appends zeros.
    pub fn resize(&mut self, count: usize) {
        self.bytes.resize(count.div_ceil(8), 0);
        self.count = count;
        if let (Some(last), used @ 1..) = (self.bytes.last_mut(), count % 8) {
            *last &= 0xff << (8 - used);
        }
    }

    /// What is made of each bit.
    #[must_use]
    pub fn mapped(&self, map: impl Fn(usize, bool) -> bool) -> Bits {
        let mut mapped = Bits::default();
        (0..self.count).for_each(|at| mapped.push(map(at, self.get(at))));
        mapped
    }

    /// Both, one behind the other.
    #[must_use]
    pub fn joined(mut self, next: &Bits) -> Bits {
        (0..next.count).for_each(|at| self.push(next.get(at)));
        self
    }

    /// The bytes that are kept.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut kept = Vec::with_capacity(self.bytes.len() + 3);
        for &byte in &self.bytes {
            kept.push(byte);
            if byte == 0 {
                kept.push(0xff);
            }
        }
        let of_last = if self.count == 0 { 0 } else { (self.count - 1) % 8 + 1 };
        kept.extend([0, 0, of_last as u8]);
        kept
    }

    /// The bits that are kept so; none of what is not.
    #[must_use]
    pub fn decode(kept: &[u8]) -> Bits {
        let [body @ .., 0, 0, of_last] = kept else { return Bits::default() };
        let mut bytes = Vec::with_capacity(body.len());
        let mut rest = body.iter();
        while let Some(&byte) = rest.next() {
            bytes.push(byte);
            if byte == 0 {
                rest.next();
            }
        }
        let count = (bytes.len() * 8 + usize::from(*of_last)).saturating_sub(if bytes.is_empty() { 0 } else { 8 });
        Bits { count, bytes }
    }

    /// The binary format: the count as 32 bits, then the bytes.
    #[must_use]
    pub fn to_wire(&self) -> Vec<u8> {
        [&(self.count as u32).to_be_bytes(), self.bytes.as_slice()].concat()
    }

    /// Reads the binary format.
    #[must_use]
    pub fn from_wire(wire: &[u8]) -> Option<Bits> {
        let (count, bytes) = wire.split_first_chunk::<4>()?;
        let count = u32::from_be_bytes(*count) as usize;
        if bytes.len() != count.div_ceil(8) {
            return None;
        }
        let mut bits = Bits { bytes: bytes.to_vec(), count };
        bits.resize(count);
        Some(bits)
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..self.count).try_for_each(|at| f.write_str(if self.get(at) { "1" } else { "0" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(text: &str) -> Bits {
        Bits::parse(text).unwrap()
    }

    #[test]
    fn texts_and_numbers() {
        assert_eq!(bits("x1F").to_string(), "00011111");
        assert_eq!(bits("B101").to_string(), "101");
        assert_eq!(bits("").encode(), [0, 0, 0]);
        assert_eq!(Bits::of_integer(-1, 4).to_string(), "1111");
        assert_eq!(Bits::of_integer(5, 70).to_integer(64), None);
        assert_eq!(bits("101").to_integer(32), Some(5));
        assert_eq!(Bits::of_integer(-2, 32).to_integer(32), Some(-2));
        assert_eq!(Bits::parse("12").unwrap_err().state().code(), "22P02");
    }

    #[test]
    fn kept_bytes_order_as_postgresql_does() {
        let ascending =
            ["", "0", "00", "00000000", "000000000", "00000001", "0000000100", "1", "10", "100000001", "11"];
        for pair in ascending.windows(2) {
            assert!(bits(pair[0]).encode() < bits(pair[1]).encode(), "{pair:?}");
        }
        for text in ascending {
            assert_eq!(Bits::decode(&bits(text).encode()).to_string(), text);
        }
    }
}
