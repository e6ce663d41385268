//! An entry of the log that is about the keyspace, as bytes.
//!
//! ```text
//! origin: 8 bytes, little endian | number: varint | kind: 1 byte | fields
//!
//! units     seed: 8 bytes | count: varint, then each item
//! part      where it begins in the whole: varint | bytes of a `units` entry that is larger than an entry may be; `number` is that of the whole
//! whole     length of all parts: varint; they are, one after the other, the fields of a `units` entry
//! gone      the parts so far are given up: there will be no `whole`
//! sweep     milliseconds since 1970 UTC, hash: what is over before then goes, and what is so then up to the hash
//! transaction  as `units`, within an entry of the tables: all of its watches first, then its commands
//!
//! item      0 and a unit | 1 and the index and n of a waiter that goes
//! ```
//!
//! *Origin* is the process that proposed it, *number* counts its entries: it finds its waiting clients by them.

use bytes::Bytes;
use perigee_types::row::{get_varint, put_varint};

use crate::db::{Due, Position};
use crate::unit::Unit;

pub(crate) const UNITS: u8 = 0;
pub(crate) const PART: u8 = 1;
pub(crate) const WHOLE: u8 = 2;
pub(crate) const SWEEP: u8 = 3;
pub(crate) const GONE: u8 = 4;
pub(crate) const TRANSACTION: u8 = 5;

/// What every payload begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) origin: u64,
    pub(crate) number: u64,
    pub(crate) kind: u8,
}

impl Header {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.origin.to_le_bytes());
        put_varint(self.number, out);
        out.push(self.kind);
    }

    pub(crate) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let origin = take_u64(bytes)?;
        let number = get_varint(bytes).ok()?;
        let (kind, rest) = bytes.split_first()?;
        *bytes = rest;
        Some(Self { origin, number, kind: *kind })
    }
}

pub(crate) fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*first))
}

/// The fields of a `sweep` entry.
pub(crate) fn sweep(due: Due) -> Vec<u8> {
    [due.until.to_le_bytes(), due.hash.to_le_bytes()].concat()
}

/// The same, read. Without a hash it goes to the last.
pub(crate) fn take_due(bytes: &mut &[u8]) -> Option<Due> {
    let until = i64::try_from(take_u64(bytes)?).unwrap_or(i64::MAX);
    Some(Due { until, hash: take_u64(bytes).unwrap_or(u64::MAX) })
}

/// The fields of a `part` entry, and of a `whole`, which has no bytes.
pub(crate) fn part(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 5);
    put_varint(at as u64, &mut out);
    out.extend_from_slice(bytes);
    out
}

/// Where a `part` begins; its bytes are what is left.
pub(crate) fn take_at(bytes: &mut &[u8]) -> Option<usize> {
    usize::try_from(get_varint(bytes).ok()?).ok()
}

/// One thing in a `units` entry.
#[derive(Debug)]
pub(crate) enum Item {
    Unit(Unit),
    Unblock(Position),
}

impl Item {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Item::Unit(unit) => {
                out.push(0);
                unit.encode(out);
            }
            Item::Unblock(at) => {
                out.push(1);
                put_varint(at.index, out);
                put_varint(u64::from(at.n), out);
            }
        }
    }

    pub(crate) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        *bytes = rest;
        match kind {
            0 => Unit::decode(bytes).map(Item::Unit),
            1 => {
                let index = get_varint(bytes).ok()?;
                Some(Item::Unblock(Position { index, n: u32::try_from(get_varint(bytes).ok()?).ok()? }))
            }
            _ => None,
        }
    }
}

/// The fields of a `units` entry: seed and items.
pub(crate) fn decode_units(mut bytes: &[u8]) -> Option<(u64, Vec<Item>)> {
    let bytes = &mut bytes;
    let seed = take_u64(bytes)?;
    let count = usize::try_from(get_varint(bytes).ok()?).ok()?;
    let mut items = Vec::with_capacity(count.min(1_024));
    for _ in 0..count {
        items.push(Item::decode(bytes)?);
    }
    bytes.is_empty().then_some((seed, items))
}

/// The fields of a `units` entry.
pub(crate) fn encode_units<'a>(seed: u64, items: impl ExactSizeIterator<Item = &'a Item>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(&seed.to_le_bytes());
    put_varint(items.len() as u64, &mut out);
    items.for_each(|item| item.encode(&mut out));
    out
}

/// An entry: header and fields.
pub(crate) fn entry(header: Header, fields: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(fields.len() + 20);
    header.encode(&mut out);
    out.extend_from_slice(fields);
    Bytes::from(out)
}
