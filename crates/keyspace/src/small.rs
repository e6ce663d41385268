//! Bytes that mostly are few: names of keys, short strings.

use std::ops::Deref;

/// Bytes that fit beside the length into 23.
const SHORT_MAX: usize = 22;

/// At most 22 bytes, without an allocation.
#[derive(Clone, Copy)]
pub struct Short {
    len: u8,
    bytes: [u8; SHORT_MAX],
}

impl Short {
    /// A copy; `None` for more than fit.
    #[must_use]
    pub fn new(from: &[u8]) -> Option<Self> {
        let mut bytes = [0; SHORT_MAX];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Self { len: from.len() as u8, bytes })
    }
}

impl Deref for Short {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl std::fmt::Debug for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

impl PartialEq for Short {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Short {}

/// The name of a key.
#[derive(Clone)]
pub enum Name {
    /// A short one.
    Short(Short),
    /// Any other.
    Long(Box<[u8]>),
}

impl Name {
    /// Bytes of memory beside itself.
    pub(crate) fn memory(&self) -> usize {
        match self {
            Name::Short(_) => 0,
            Name::Long(bytes) => allocated(bytes.len()),
        }
    }
}

impl From<&[u8]> for Name {
    fn from(bytes: &[u8]) -> Self {
        Short::new(bytes).map_or_else(|| Name::Long(bytes.into()), Name::Short)
    }
}

impl Deref for Name {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Name::Short(bytes) => bytes,
            Name::Long(bytes) => bytes,
        }
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl std::hash::Hash for Name {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

/// Bytes that the allocator takes for so many: eight sizes to each doubling, about.
pub(crate) fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=128 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of((bytes.next_power_of_two() / 8).max(16)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_their_bytes_whatever_holds_them() {
        for len in [0, 1, 22, 23, 400] {
            let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let name = Name::from(&bytes[..]);
            assert_eq!(*name, *bytes);
            assert_eq!(matches!(name, Name::Short(_)), len <= SHORT_MAX);
            assert!(name.memory() >= if len > SHORT_MAX { len } else { 0 });
        }
        assert!(Name::from(&b"ab"[..]) < Name::from(&[b'b'; 40][..]));
        assert_eq!(size_of::<Name>(), 24);
    }

    #[test]
    fn allocations_are_no_smaller_than_asked_for() {
        for bytes in 1..5_000 {
            assert!(allocated(bytes) >= bytes && allocated(bytes) <= bytes + bytes / 4 + 16, "{bytes}");
        }
    }
}
