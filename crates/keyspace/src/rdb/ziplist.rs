//! Ziplists, which older versions of Redis had, and intsets.
//!
//! ```text
//! ziplist   bytes in all: 4 | offset of the last element: 4 | elements: 2 | elements | 0xff
//! element   length of the one before: 1, or 0xfe and 4 | head, by which it is an integer or a string | data
//! intset    bytes of an integer: 4 | how many: 4 | integers
//! ```

use super::input::Input;
use super::listpack::Element;

const END: u8 = 0xff;

/// Elements, each `None` where the bytes are none.
pub(super) struct Ziplist<'a> {
    input: Input<'a>,
    is_over: bool,
}

impl<'a> Ziplist<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut input = Input::new(bytes);
        let total = u32::from_le_bytes(input.array()?);
        input.take(6)?;
        (total as usize == bytes.len()).then_some(Self { input, is_over: false })
    }

    fn element(&mut self) -> Option<Element<'a>> {
        let input = &mut self.input;
        if input.byte()? == 0xfe {
            input.take(4)?;
        }
        let head = input.byte()?;
        Some(match head {
            0x00..=0x3f => Element::String(input.take(usize::from(head))?),
            0x40..=0x7f => {
                let length = usize::from(head & 0x3f) << 8 | usize::from(input.byte()?);
                Element::String(input.take(length)?)
            }
            0x80..=0xbf => {
                let length = u32::from_be_bytes(input.array()?);
                Element::String(input.take(length as usize)?)
            }
            0xc0 => Element::Integer(i64::from(i16::from_le_bytes(input.array()?))),
            0xd0 => Element::Integer(i64::from(i32::from_le_bytes(input.array()?))),
            0xe0 => Element::Integer(i64::from_le_bytes(input.array()?)),
            0xf0 => {
                let [a, b, c] = input.array()?;
                Element::Integer(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8))
            }
            0xfe => Element::Integer(i64::from(i8::from_le_bytes(input.array()?))),
            0xf1..=0xfd => Element::Integer(i64::from(head & 0x0f) - 1),
            _ => return None,
        })
    }
}

impl<'a> Iterator for Ziplist<'a> {
    type Item = Option<Element<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over || self.input.0 == [END] {
            return None;
        }
        let element = self.element();
        self.is_over = element.is_none();
        Some(element)
    }
}

/// The integers of an intset.
pub(super) fn intset(bytes: &[u8]) -> Option<impl Iterator<Item = i64>> {
    let mut input = Input::new(bytes);
    let width = u32::from_le_bytes(input.array()?) as usize;
    let count = u32::from_le_bytes(input.array()?) as usize;
    if !matches!(width, 2 | 4 | 8) || count.checked_mul(width) != Some(input.0.len()) {
        return None;
    }
    Some(input.0.chunks_exact(width).map(|chunk| {
        let negative = chunk.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..chunk.len()].copy_from_slice(chunk);
        i64::from_le_bytes(wide)
    }))
}
