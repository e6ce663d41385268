//! How every key of the LSM begins.
//!
//! ```text
//! kind | group          | oid            | rest
//! u8   | u32 big endian | u32 big endian | as the kind says
//! ```
//!
//! *Group* is the Raft group (one for now). *Oid* is the storage oid of a table or the oid of an index; both are never
//! reused, so compaction may drop the keys of a dropped one whenever it meets them, and zero for kinds that belong to
//! the whole group. Keys of one kind, and within it of one oid, lie together.

use std::ops::Bound;

use perigee_types::Oid;

use super::DroppedSet;

/// What a key belongs to. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Facts of the checkpoint: applied index, chain hash, time, membership.
    State = 0x01,
    /// Objects of the catalog.
    Catalog = 0x02,
    /// States of sequences.
    Sequence = 0x03,
    /// What the keyspace is beside its objects: databases, settings, scripts, waiters.
    Keyspace = 0x10,
    /// Per table: its own facts (next vid, row counts).
    Table = 0x40,
    /// Per table: the chunk directory.
    Chunk = 0x41,
    /// Per table: columns of chunks.
    Column = 0x42,
    /// Per table: end-marks.
    Mark = 0x43,
    /// Per table: hidden rows of staged transactions.
    Staged = 0x44,
    /// Per unique index: key -> vids, newest first.
    Unique = 0x50,
    /// Per other index: (key, vid).
    Index = 0x51,
    /// Per database of the keyspace: objects, by the hash of their key.
    Object = 0x60,
    /// Per database of the keyspace: keys that have an end, by it.
    ObjectEnd = 0x61,
}

/// Length of what every key begins with.
pub const PREFIX_BYTES: usize = 9;

/// Kinds from here on belong to one oid, and go when it is dropped.
const OWNED_FIRST: u8 = 0x40;

impl Kind {
    /// Whether keys of this kind go with their oid.
    #[must_use]
    pub fn is_owned(self) -> bool {
        self as u8 >= OWNED_FIRST
    }
}

/// The first nine bytes of a key.
#[must_use]
pub fn prefix(kind: Kind, group: u32, oid: Oid) -> [u8; PREFIX_BYTES] {
    let mut out = [0; PREFIX_BYTES];
    out[0] = kind as u8;
    out[1..5].copy_from_slice(&group.to_be_bytes());
    out[5..9].copy_from_slice(&oid.0.to_be_bytes());
    out
}

/// A key: the prefix and what follows it.
#[must_use]
pub fn key(kind: Kind, group: u32, oid: Oid, rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX_BYTES + rest.len());
    out.extend_from_slice(&prefix(kind, group, oid));
    out.extend_from_slice(rest);
    out
}

/// What stands behind the prefix; empty for a key that is shorter.
#[must_use]
pub fn rest(key: &[u8]) -> &[u8] {
    key.get(PREFIX_BYTES..).unwrap_or_default()
}

/// The bounds of all keys that begin with `prefix`.
#[must_use]
pub fn range_of(prefix: &[u8]) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let end = match prefix.iter().rposition(|byte| *byte != 0xff) {
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            Bound::Excluded(end)
        }
        None => Bound::Unbounded,
    };
    (Bound::Included(prefix.to_vec()), end)
}

/// Whether a key belongs to one of the dropped oids.
#[must_use]
pub fn is_dropped(key: &[u8], dropped: &DroppedSet) -> bool {
    let Some(prefix) = key.first_chunk::<PREFIX_BYTES>() else { return false };
    let [kind, g0, g1, g2, g3, o0, o1, o2, o3] = *prefix;
    kind >= OWNED_FIRST
        && dropped.contains(&(u32::from_be_bytes([g0, g1, g2, g3]), Oid(u32::from_be_bytes([o0, o1, o2, o3]))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_an_oid_lie_together() {
        let mut keys = [
            key(Kind::Chunk, 0, Oid(2), &[0]),
            key(Kind::Chunk, 0, Oid(1), &[0xff; 40]),
            key(Kind::Column, 0, Oid(1), &[]),
            key(Kind::Chunk, 1, Oid(1), &[]),
            key(Kind::State, 9, Oid(0), &[]),
        ];
        keys.sort();
        let oids: Vec<_> = keys.iter().map(|k| (k[0], k[4], k[8])).collect();
        assert_eq!(oids, [(1, 9, 0), (0x41, 0, 1), (0x41, 0, 2), (0x41, 1, 1), (0x42, 0, 1)]);
    }

    #[test]
    fn a_range_ends_behind_its_prefix() {
        let check = |prefix: &[u8], end| assert_eq!(range_of(prefix).1, end);
        check(&[1, 2], Bound::Excluded(vec![1, 3]));
        check(&[1, 0xff], Bound::Excluded(vec![2]));
        check(&[0xff, 0xff], Bound::Unbounded);
        check(&[], Bound::Unbounded);
    }

    #[test]
    fn only_owned_keys_are_dropped() {
        let dropped = DroppedSet::from_iter([(0, Oid(7))]);
        let check = |kind, group, oid, want| {
            assert_eq!(is_dropped(&key(kind, group, Oid(oid), b"x"), &dropped), want, "{kind:?} {group} {oid}");
        };
        check(Kind::Column, 0, 7, true);
        check(Kind::Unique, 0, 7, true);
        check(Kind::Column, 0, 8, false);
        check(Kind::Column, 1, 7, false);
        check(Kind::Catalog, 0, 7, false);
        assert!(!is_dropped(&[0x40, 0, 0], &dropped));
    }
}
