//! Strings.

use bytes::{Bytes, BytesMut};

use super::{Object, Value};
use crate::args;
use crate::small::{Short, allocated};

/// The longest string that OBJECT ENCODING calls `embstr`.
const EMBEDDED_BYTES_MAX: usize = 44;

/// Bytes up to which a string is copied rather than shared by those who read it.
const COPIED_BYTES_MAX: usize = 512;

/// A string: bytes, or an integer that is written as Redis would write it. Copied from the wire, so that no network buffer
/// is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Str {
    /// An integer of 64 bits.
    Int(i64),
    /// A few bytes.
    Short(Short),
    /// More.
    Raw(Box<[u8]>),
    /// So many that they are shared.
    Large(Box<Bytes>),
    /// Bytes after a change in place: Redis never calls them `embstr` or `int` again.
    Changed(Box<Bytes>),
}

impl Default for Str {
    fn default() -> Self {
        Str::raw(&[])
    }
}

impl Str {
    /// From what a client sent: copied, and an integer where it is written like one.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        match (bytes.len() <= 20).then(|| args::parse_integer(bytes)).flatten() {
            Some(value) => Str::Int(value),
            None => Str::raw(bytes),
        }
    }

    /// Bytes, copied, whatever is written there.
    #[must_use]
    pub fn raw(bytes: &[u8]) -> Self {
        match Short::new(bytes) {
            Some(short) => Str::Short(short),
            None if bytes.len() <= COPIED_BYTES_MAX => Str::Raw(bytes.into()),
            None => Str::Large(Box::new(Bytes::copy_from_slice(bytes))),
        }
    }

    /// Bytes that count as changed in place.
    #[must_use]
    pub fn changed(bytes: impl Into<Bytes>) -> Self {
        Str::Changed(Box::new(bytes.into()))
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Str::Int(value) => Bytes::copy_from_slice(itoa::Buffer::new().format(*value).as_bytes()),
            Str::Short(bytes) => Bytes::copy_from_slice(bytes),
            Str::Raw(bytes) => Bytes::copy_from_slice(bytes),
            Str::Large(bytes) | Str::Changed(bytes) => Bytes::clone(bytes),
        }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Str::Int(value) => itoa::Buffer::new().format(*value).len(),
            Str::Short(bytes) => bytes.len(),
            Str::Raw(bytes) => bytes.len(),
            Str::Large(bytes) | Str::Changed(bytes) => bytes.len(),
        }
    }

    /// Whether there is no byte in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes its bytes in place; they are copied only while a reply or a checkpoint still holds them.
    pub fn edit(&mut self, change: impl FnOnce(&mut BytesMut)) {
        let bytes = match std::mem::take(self) {
            Str::Large(bytes) | Str::Changed(bytes) => *bytes,
            other => other.to_bytes(),
        };
        let mut bytes = match bytes.try_into_mut() {
            Ok(bytes) => bytes,
            Err(shared) => BytesMut::from(&shared[..]),
        };
        change(&mut bytes);
        *self = Str::changed(bytes.freeze());
    }

    /// Its value, when it is an integer.
    #[must_use]
    pub fn to_integer(&self) -> Option<i64> {
        match self {
            Str::Int(value) => Some(*value),
            Str::Short(bytes) => args::parse_integer(bytes),
            Str::Raw(bytes) => args::parse_integer(bytes),
            Str::Large(bytes) | Str::Changed(bytes) => args::parse_integer(bytes),
        }
    }
}

impl Object for Str {
    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::String(object) => Some(object),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::String(object) => Some(object),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::String(self)
    }

    fn is_empty(&self) -> bool {
        false
    }

    fn memory(&self) -> usize {
        match self {
            Str::Int(_) | Str::Short(_) => 0,
            Str::Raw(bytes) => allocated(bytes.len()),
            // Who reads it makes a count of its holders.
            Str::Large(bytes) | Str::Changed(bytes) => size_of::<Bytes>() + 32 + allocated(bytes.len()),
        }
    }

    fn encoding(&self) -> &'static str {
        match self {
            Str::Int(_) => "int",
            Str::Short(_) => "embstr",
            Str::Raw(bytes) if bytes.len() <= EMBEDDED_BYTES_MAX => "embstr",
            Str::Raw(_) | Str::Large(_) | Str::Changed(_) => "raw",
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Str::Int(value) => {
                out.push(0);
                out.extend_from_slice(&value.to_le_bytes());
            }
            Str::Short(bytes) => {
                out.push(1);
                out.extend_from_slice(bytes);
            }
            Str::Raw(bytes) => {
                out.push(1);
                out.extend_from_slice(bytes);
            }
            Str::Large(bytes) => {
                out.push(1);
                out.extend_from_slice(bytes);
            }
            Str::Changed(bytes) => {
                out.push(2);
                out.extend_from_slice(bytes);
            }
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        match tag {
            0 => Some(Str::Int(i64::from_le_bytes(rest.try_into().ok()?))),
            1 => Some(Str::raw(rest)),
            2 => Some(Str::changed(Bytes::copy_from_slice(rest))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(string: &Str) -> Vec<u8> {
        let mut out = Vec::new();
        string.encode(&mut out);
        out
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes in prop::collection::vec(any::<u8>(), 0..800), number in any::<i64>()) {
            let mut changed = Str::new(&bytes);
            changed.edit(|bytes| bytes.extend_from_slice(b"more"));
            for string in [Str::new(&bytes), Str::new(number.to_string().as_bytes()), changed] {
                let again = Str::decode(&encoded(&string)).unwrap();
                prop_assert_eq!(again.encoding(), string.encoding());
                prop_assert_eq!(again, string);
            }
        }

        #[test]
        fn garbage_is_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(string) = Str::decode(&bytes) {
                prop_assert_eq!(encoded(&string), bytes);
            }
        }
    }

    #[test]
    fn a_change_leaves_what_others_hold() {
        let mut string = Str::new(b"abc");
        let held = string.to_bytes();
        string.edit(|bytes| bytes[0] = b'x');
        assert_eq!((&held[..], &string.to_bytes()[..]), (&b"abc"[..], &b"xbc"[..]));
        assert_eq!(string.encoding(), "raw");
    }
}
