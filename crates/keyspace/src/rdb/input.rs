//! Reading the parts of a body.

use std::borrow::Cow;

use super::lzf;

/// Bytes that the packed strings of a body may have in all once they are unpacked: a short body may stand for very many.
const UNPACKED_BYTES_MAX: usize = 1 << 30;

/// What is left of a body, and bytes that were unpacked of it. Everything gives `None` behind its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a>(pub(super) &'a [u8], usize);

/// A length, or how a string is written instead.
enum Length {
    Plain(u64),
    Special(u8),
}

impl<'a> Input<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self(body, 0)
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    fn length_or_special(&mut self) -> Option<Length> {
        let first = self.byte()?;
        Some(Length::Plain(match first >> 6 {
            0 => u64::from(first & 63),
            1 => u64::from(first & 63) << 8 | u64::from(self.byte()?),
            2 if first == 0x80 => u64::from(u32::from_be_bytes(self.array()?)),
            2 if first == 0x81 => u64::from_be_bytes(self.array()?),
            2 => return None,
            _ => return Some(Length::Special(first & 63)),
        }))
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        match self.length_or_special()? {
            Length::Plain(number) => Some(number),
            Length::Special(_) => None,
        }
    }

    /// How many elements follow, each of which takes a byte at least.
    pub(super) fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.0.len()).then_some(count)
    }

    pub(super) fn string(&mut self) -> Option<Cow<'a, [u8]>> {
        let text = |value: i64| Cow::Owned(itoa::Buffer::new().format(value).as_bytes().to_vec());
        match self.length_or_special()? {
            Length::Plain(length) => self.take(usize::try_from(length).ok()?).map(Cow::Borrowed),
            Length::Special(0) => Some(text(i64::from(i8::from_le_bytes(self.array()?)))),
            Length::Special(1) => Some(text(i64::from(i16::from_le_bytes(self.array()?)))),
            Length::Special(2) => Some(text(i64::from(i32::from_le_bytes(self.array()?)))),
            Length::Special(3) => {
                let packed = usize::try_from(self.number()?).ok()?;
                let length = usize::try_from(self.number()?).ok()?;
                self.1 = self.1.checked_add(length).filter(|unpacked| *unpacked <= UNPACKED_BYTES_MAX)?;
                lzf::decompress(self.take(packed)?, length).map(Cow::Owned)
            }
            Length::Special(_) => None,
        }
    }

    /// Milliseconds since 1970, or a number like it.
    pub(super) fn time(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn double(&mut self) -> Option<f64> {
        self.array().map(f64::from_le_bytes)
    }

    /// A double in decimal digits, as the first sorted sets had it.
    pub(super) fn double_of_digits(&mut self) -> Option<f64> {
        match self.byte()? {
            253 => Some(f64::NAN),
            254 => Some(f64::INFINITY),
            255 => Some(f64::NEG_INFINITY),
            length => crate::args::parse_float(self.take(usize::from(length))?),
        }
    }
}
