//! Listpacks: elements one behind the other.
//!
//! ```text
//! listpack  bytes in all: 4 | elements: 2 | elements | 0xff
//! element   head, by which it is an integer or a string | data | length of head and data, to be read backwards
//! ```

use std::borrow::Cow;

use super::input::Input;

const HEADER_BYTES: usize = 6;
const END: u8 = 0xff;

/// An element of a listpack or a ziplist.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Element<'a> {
    Integer(i64),
    String(&'a [u8]),
}

impl<'a> Element<'a> {
    pub(super) fn text(self) -> Cow<'a, [u8]> {
        match self {
            Element::Integer(value) => Cow::Owned(itoa::Buffer::new().format(value).as_bytes().to_vec()),
            Element::String(bytes) => Cow::Borrowed(bytes),
        }
    }

    pub(super) fn integer(self) -> Option<i64> {
        match self {
            Element::Integer(value) => Some(value),
            Element::String(bytes) => crate::args::parse_integer(bytes),
        }
    }
}

/// Elements, each `None` where the bytes are none.
pub(super) struct Listpack<'a> {
    input: Input<'a>,
    is_over: bool,
}

impl<'a> Listpack<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut input = Input::new(bytes);
        let total = u32::from_le_bytes(input.array()?);
        input.take(2)?;
        (total as usize == bytes.len()).then_some(Self { input, is_over: false })
    }

    /// The next element, which must be there.
    pub(super) fn must(&mut self) -> Option<Element<'a>> {
        self.next().flatten()
    }

    pub(super) fn integer(&mut self) -> Option<i64> {
        self.must()?.integer()
    }

    fn element(&mut self) -> Option<Element<'a>> {
        let input = &mut self.input;
        let before = input.0.len();
        let head = input.byte()?;
        let low = usize::from(head & 0x0f);
        let element = match head {
            0x00..=0x7f => Element::Integer(i64::from(head)),
            0x80..=0xbf => Element::String(input.take(usize::from(head & 0x3f))?),
            0xc0..=0xdf => {
                let value = i64::from(head & 0x1f) << 8 | i64::from(input.byte()?);
                Element::Integer(if value >= 1 << 12 { value - (1 << 13) } else { value })
            }
            0xe0..=0xef => {
                let length = low << 8 | usize::from(input.byte()?);
                Element::String(input.take(length)?)
            }
            0xf0 => {
                let length = u32::from_le_bytes(input.array()?);
                Element::String(input.take(length as usize)?)
            }
            0xf1 => Element::Integer(i64::from(i16::from_le_bytes(input.array()?))),
            0xf2 => {
                let [a, b, c] = input.array()?;
                Element::Integer(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8))
            }
            0xf3 => Element::Integer(i64::from(i32::from_le_bytes(input.array()?))),
            0xf4 => Element::Integer(i64::from_le_bytes(input.array()?)),
            _ => return None,
        };
        let size = before - input.0.len();
        input.take(back_bytes(size))?;
        Some(element)
    }
}

impl<'a> Iterator for Listpack<'a> {
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

/// Bytes of the length behind an element of `size`.
fn back_bytes(size: usize) -> usize {
    match size {
        0..128 => 1,
        128..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5,
    }
}

/// A listpack that is being written.
pub(super) struct Builder {
    bytes: Vec<u8>,
    count: usize,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; HEADER_BYTES], count: 0 }
    }

    pub(super) fn integer(&mut self, value: i64) {
        let from = self.bytes.len();
        match value {
            0..=127 => self.bytes.push(value as u8),
            -4096..=4095 => {
                let bits = value & 0x1fff;
                self.bytes.extend_from_slice(&[0xc0 | (bits >> 8) as u8, bits as u8]);
            }
            _ => {
                self.bytes.push(0xf4);
                self.bytes.extend_from_slice(&value.to_le_bytes());
            }
        }
        self.close(from);
    }

    pub(super) fn string(&mut self, data: &[u8]) {
        let from = self.bytes.len();
        match data.len() {
            length @ 0..64 => self.bytes.push(0x80 | length as u8),
            length @ 64..4096 => self.bytes.extend_from_slice(&[0xe0 | (length >> 8) as u8, length as u8]),
            length => {
                self.bytes.push(0xf0);
                self.bytes.extend_from_slice(&(length as u32).to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(data);
        self.close(from);
    }

    /// The length of the element from `from` on: 7 bits in each byte, the lowest last; all but the first have a mark.
    fn close(&mut self, from: usize) {
        let size = self.bytes.len() - from;
        for n in (0..back_bytes(size)).rev() {
            let mark = if n + 1 == back_bytes(size) { 0 } else { 0x80 };
            self.bytes.push((size >> (7 * n)) as u8 & 0x7f | mark);
        }
        self.count += 1;
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(END);
        let total = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&total.to_le_bytes());
        // All ones say that nobody counted.
        let count = u16::try_from(self.count).unwrap_or(u16::MAX);
        self.bytes[4..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
        self.bytes
    }
}
