//! Bitmaps: strings bit by bit, the highest bit of the first byte first.

mod bit;
mod count;
mod field;
mod op;
mod position;

use crate::args::{Cursor, integer, parse_integer};
use crate::growth::longest;
use crate::spec::Spec;
use crate::{Error, Result, State};

/// The commands of this group.
pub(super) static COMMANDS: &[&Spec] = &[
    &bit::GETBIT,
    &bit::SETBIT,
    &count::BITCOUNT,
    &field::BITFIELD,
    &field::BITFIELD_RO,
    &op::BITOP,
    &position::BITPOS,
];

const BAD_OFFSET: Error = Error::Reply(std::borrow::Cow::Borrowed("ERR bit offset is not an integer or out of range"));

/// An offset in bits that a string may have; `#n` counts in steps of `step`.
fn bit_offset(state: &State, text: &[u8], step: Option<u32>) -> Result<u64> {
    let offset = match (text, step) {
        ([b'#', text @ ..], Some(step)) => parse_integer(text).and_then(|n| n.checked_mul(i64::from(step))),
        (text, _) => parse_integer(text),
    };
    let max = longest(state);
    offset.and_then(|offset| u64::try_from(offset).ok()).filter(|offset| offset >> 3 < max).ok_or(BAD_OFFSET)
}

/// A part of a string: `[start end [BYTE|BIT]]`.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: i64,
    end: i64,
    in_bits: bool,
}

impl Range {
    /// Whether both ends count from behind and stand the wrong way round: BITCOUNT takes that for empty, also where it begins before
    /// the string does.
    fn is_reversed(self) -> bool {
        self.start < 0 && self.end < 0 && self.start > self.end
    }

    /// Where its first and its last bit are; `None` when it is empty.
    fn bits(self, bytes: usize) -> Option<(usize, usize)> {
        let length = if self.in_bits { bytes as i64 * 8 } else { bytes as i64 };
        let from_begin = |at: i64| if at < 0 { at.saturating_add(length).max(0) } else { at };
        let (start, end) = (from_begin(self.start), from_begin(self.end).min(length - 1));
        if start > end {
            return None;
        }
        let (start, end) = if self.in_bits { (start, end) } else { (start * 8, end * 8 + 7) };
        Some((start as usize, end as usize))
    }
}

/// Which of them an argument names.
fn in_bits(rest: &mut Cursor<'_>) -> Result<bool> {
    let bits = rest.take("bit");
    if bits || rest.is_empty() || rest.take("byte") { Ok(bits) } else { Err(Error::SYNTAX) }
}

/// The bytes that hold the bits from `first` to `last`, with the bits of others cleared, but those at the ends filled with
/// `fill` where it is set.
fn part(bytes: &[u8], first: usize, last: usize, at: usize, fill: bool) -> u8 {
    let mut byte = bytes[at];
    let (head, tail) = (0xff_u8 >> (first % 8), 0xff_u8 << (7 - last % 8));
    let mut mask = 0xff;
    if at == first / 8 {
        mask &= head;
    }
    if at == last / 8 {
        mask &= tail;
    }
    byte &= mask;
    if fill { byte | !mask } else { byte }
}

/// Two integers that stand next to each other.
fn start_and_end(rest: &mut Cursor<'_>) -> Result<(i64, i64)> {
    let start = integer(rest.must()?)?;
    Ok((start, integer(rest.must()?)?))
}

#[cfg(test)]
mod tests;
