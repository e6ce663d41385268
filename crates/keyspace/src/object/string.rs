//! Strings.

use bytes::{Bytes, BytesMut};

use super::{Object, Value};
use crate::args;

/// The longest string that OBJECT ENCODING calls `embstr`.
const EMBEDDED_BYTES_MAX: usize = 44;

/// A string: bytes, or an integer that is written as Redis would write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Str {
    /// An integer of 64 bits.
    Int(i64),
    /// Bytes. Copied from the wire, so that no network buffer is held.
    Raw(Bytes),
    /// The same after a change in place: Redis never calls it `embstr` or `int` again.
    Changed(Bytes),
}

impl Default for Str {
    fn default() -> Self {
        Str::Raw(Bytes::new())
    }
}

impl Str {
    /// From what a client sent: copied, and an integer where it is written like one.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        match (bytes.len() <= 20).then(|| args::parse_integer(bytes)).flatten() {
            Some(value) => Str::Int(value),
            None => Str::Raw(Bytes::copy_from_slice(bytes)),
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Str::Int(value) => Bytes::copy_from_slice(itoa::Buffer::new().format(*value).as_bytes()),
            Str::Raw(bytes) | Str::Changed(bytes) => bytes.clone(),
        }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Str::Int(value) => itoa::Buffer::new().format(*value).len(),
            Str::Raw(bytes) | Str::Changed(bytes) => bytes.len(),
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
            Str::Int(value) => Bytes::copy_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            Str::Raw(bytes) | Str::Changed(bytes) => bytes,
        };
        let mut bytes = match bytes.try_into_mut() {
            Ok(bytes) => bytes,
            Err(shared) => BytesMut::from(&shared[..]),
        };
        change(&mut bytes);
        *self = Str::Changed(bytes.freeze());
    }

    /// Its value, when it is an integer.
    #[must_use]
    pub fn to_integer(&self) -> Option<i64> {
        match self {
            Str::Int(value) => Some(*value),
            Str::Raw(bytes) | Str::Changed(bytes) => args::parse_integer(bytes),
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
            Str::Int(_) => 0,
            Str::Raw(bytes) | Str::Changed(bytes) => bytes.len() + 16,
        }
    }

    fn encoding(&self) -> &'static str {
        match self {
            Str::Int(_) => "int",
            Str::Raw(bytes) if bytes.len() <= EMBEDDED_BYTES_MAX => "embstr",
            Str::Raw(_) | Str::Changed(_) => "raw",
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Str::Int(value) => {
                out.push(0);
                out.extend_from_slice(&value.to_le_bytes());
            }
            Str::Raw(bytes) => {
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
            1 => Some(Str::Raw(Bytes::copy_from_slice(rest))),
            2 => Some(Str::Changed(Bytes::copy_from_slice(rest))),
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
        fn what_is_written_is_read_back(bytes in prop::collection::vec(any::<u8>(), 0..80), number in any::<i64>()) {
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
