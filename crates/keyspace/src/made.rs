//! When keys were made, for who watches one that is absent.
//!
//! An absent key has no version of its own. What it has is the last time that a key of its slot was made: a slot is a part
//! of the hashes. So a key that was absent, was made and is absent again differs for WATCH; now and then one differs
//! because of another key, which makes its transaction run again. A key that goes moves nothing: one whose time was over
//! already when it was watched goes later without harm.

use perigee_types::row::{get_varint, put_varint};

use crate::db::{Position, hash_of};

/// Bits of the hash that say the slot.
const BITS: u32 = 12;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// Empty until the first key.
    slots: Vec<Position>,
}

fn slot(key: &[u8]) -> usize {
    (hash_of(key) >> (64 - BITS)) as usize
}

impl Made {
    /// A key was made.
    pub(crate) fn note(&mut self, key: &[u8], at: Position) {
        if self.slots.is_empty() {
            self.slots = vec![Position::default(); 1 << BITS];
        }
        if let Some(slot) = self.slots.get_mut(slot(key)) {
            *slot = at;
        }
    }

    /// When a key of the slot of this one was made last.
    pub(crate) fn version(&self, key: &[u8]) -> Position {
        self.slots.get(slot(key)).copied().unwrap_or_default()
    }

    /// count, then of each slot that has one: its distance from the slot before, index, n
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let used = || self.slots.iter().enumerate().filter(|(_, at)| **at != Position::default());
        put_varint(used().count() as u64, out);
        let mut before = 0;
        for (slot, at) in used() {
            put_varint((slot - before) as u64, out);
            put_varint(at.index, out);
            put_varint(u64::from(at.n), out);
            before = slot;
        }
    }

    pub(crate) fn decode(rest: &mut &[u8]) -> Option<Self> {
        let mut made = Self::default();
        let mut slot = 0_usize;
        for _ in 0..get_varint(rest).ok()? {
            if made.slots.is_empty() {
                made.slots = vec![Position::default(); 1 << BITS];
            }
            slot = slot.checked_add(usize::try_from(get_varint(rest).ok()?).ok()?)?;
            let index = get_varint(rest).ok()?;
            *made.slots.get_mut(slot)? = Position { index, n: u32::try_from(get_varint(rest).ok()?).ok()? };
        }
        Some(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_read_as_written_and_garbage_is_refused() {
        let mut made = Made::default();
        assert_eq!(made.version(b"a"), Position::default());
        for n in 0..1_000_u32 {
            made.note(n.to_string().as_bytes(), Position { index: u64::from(n) + 7, n });
        }
        let mut out = Vec::new();
        made.encode(&mut out);
        let read = Made::decode(&mut &out[..]).expect("what was written");
        assert_eq!(read.slots, made.slots);
        assert_eq!(read.version(b"999"), Position { index: 1_006, n: 999 });
        for end in 0..out.len() {
            assert!(Made::decode(&mut &out[..end]).is_none(), "{end}");
        }
        assert!(Made::decode(&mut &[1, 0x80, 0x80, 1, 1, 1][..]).is_none(), "a slot behind the last");
    }
}
