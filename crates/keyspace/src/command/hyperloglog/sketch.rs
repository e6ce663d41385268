//! The bytes of a HyperLogLog.
//!
//! ```text
//! header   "HYLL" | form: 0 dense, 1 sparse | 3 unused | last estimate: 8 bytes, little end first, top bit: out of date
//! dense    16,384 registers of 6 bits, each from the lowest bits on
//! sparse   runs of registers: 00llllll          l + 1 zeros
//!                             01llllll llllllll l + 1 zeros
//!                             1vvvvvll          l + 1 registers of value v + 1
//! ```

use bytes::{Bytes, BytesMut};

use crate::object::Str;
use crate::{Error, Result, State};

/// Registers of a sketch.
pub(super) const REGISTERS: usize = 1 << REGISTER_BITS;
const REGISTER_BITS: u32 = 14;
const HEADER_BYTES: usize = 16;
const DENSE_BYTES: usize = HEADER_BYTES + REGISTERS * 6 / 8;
const MAGIC: &[u8; 4] = b"HYLL";
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
/// The largest value of a register in a sparse sketch.
const SPARSE_VALUE_MAX: u8 = 32;
const SEED: u64 = 0xadc8_3b19;

const WRONG_TYPE: Error =
    Error::Reply(std::borrow::Cow::Borrowed("WRONGTYPE Key is not a valid HyperLogLog string value."));
pub(super) const CORRUPTED: Error =
    Error::Reply(std::borrow::Cow::Borrowed("INVALIDOBJ Corrupted HLL object detected"));

/// Registers with the same value, next to each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) count: usize,
    pub(super) value: u8,
}

/// Sparse sketches up to this are not made dense.
pub(super) fn sparse_bytes_max(state: &State) -> usize {
    usize::try_from(state.settings.number("hll-sparse-max-bytes", 3_000)).unwrap_or(0)
}

/// A sketch of nothing.
pub(super) fn empty() -> Bytes {
    let mut bytes = encode_sparse(&[Span { count: REGISTERS, value: 0 }]);
    outdate(&mut bytes);
    bytes.freeze()
}

/// The bytes of a string that is a sketch.
pub(super) fn bytes_of(string: &Str) -> Result<Bytes> {
    let bytes = string.to_bytes();
    let valid = bytes.len() >= HEADER_BYTES
        && bytes.starts_with(MAGIC)
        && match bytes[4] {
            DENSE => bytes.len() == DENSE_BYTES,
            form => form == SPARSE,
        };
    if valid { Ok(bytes) } else { Err(WRONG_TYPE) }
}

pub(super) fn is_sparse(sketch: &[u8]) -> bool {
    sketch.get(4) == Some(&SPARSE)
}

/// The last estimate, where it still holds.
pub(super) fn cached(sketch: &[u8]) -> Option<u64> {
    let cached = u64::from_le_bytes(*sketch.get(8..)?.first_chunk()?);
    (cached >> 63 == 0).then_some(cached)
}

fn outdate(sketch: &mut [u8]) {
    if let Some(byte) = sketch.get_mut(15) {
        *byte |= 0x80;
    }
}

/// The register of an element, and its value.
pub(super) fn register_of(element: &[u8]) -> (usize, u8) {
    let hash = murmur64a(element, SEED);
    let value = (hash >> REGISTER_BITS | 1 << (64 - REGISTER_BITS)).trailing_zeros() + 1;
    (hash as usize & (REGISTERS - 1), value as u8)
}

/// MurmurHash64A, by Austin Appleby.
pub(super) fn murmur64a(bytes: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(M);
    for word in words {
        let mut k = u64::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ k >> 47).wrapping_mul(M);
        hash = (hash ^ k).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u64::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ hash >> 47).wrapping_mul(M);
    hash ^ hash >> 47
}

/// The value of a register of a dense sketch.
fn dense_get(sketch: &[u8], register: usize) -> u8 {
    let (at, shift) = (HEADER_BYTES + register * 6 / 8, register * 6 % 8);
    let byte = |at: usize| u16::from(sketch.get(at).copied().unwrap_or(0));
    ((byte(at) | byte(at + 1) << 8) >> shift) as u8 & 63
}

fn dense_set(sketch: &mut [u8], register: usize, value: u8) {
    let (at, shift) = (HEADER_BYTES + register * 6 / 8, register * 6 % 8);
    let (mask, bits) = (63_u16 << shift, u16::from(value) << shift);
    if let Some(byte) = sketch.get_mut(at) {
        *byte = *byte & !(mask as u8) | bits as u8;
    }
    if let Some(byte) = sketch.get_mut(at + 1).filter(|_| mask > 0xff) {
        *byte = *byte & !((mask >> 8) as u8) | (bits >> 8) as u8;
    }
}

/// The runs of a sparse sketch; together they are all registers.
pub(super) fn spans(sketch: &[u8]) -> Result<Vec<Span>> {
    let (mut spans, mut total) = (Vec::new(), 0);
    let mut rest = sketch.get(HEADER_BYTES..).ok_or(CORRUPTED)?;
    while let [first, behind @ ..] = rest {
        let (count, value) = match (first >> 6, behind) {
            (0, _) => (usize::from(first & 63) + 1, 0),
            (1, [second, behind @ ..]) => {
                rest = behind;
                let count = (usize::from(first & 63) << 8 | usize::from(*second)) + 1;
                total += count;
                spans.push(Span { count, value: 0 });
                continue;
            }
            (1, []) => return Err(CORRUPTED),
            _ => (usize::from(first & 3) + 1, (first >> 2 & 31) + 1),
        };
        total += count;
        spans.push(Span { count, value });
        rest = behind;
    }
    if total == REGISTERS { Ok(spans) } else { Err(CORRUPTED) }
}

fn encode_sparse(spans: &[Span]) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + spans.len() * 2);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[SPARSE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for span in merged(spans) {
        let mut count = span.count;
        while count > 0 {
            let step = match span.value {
                0 if count > 64 => {
                    bytes.extend_from_slice(&[0x40 | ((count - 1) >> 8) as u8, (count - 1) as u8]);
                    count
                }
                0 => {
                    bytes.extend_from_slice(&[(count - 1) as u8]);
                    count
                }
                value => {
                    let step = count.min(4);
                    bytes.extend_from_slice(&[0x80 | (value - 1) << 2 | (step - 1) as u8]);
                    step
                }
            };
            count -= step;
        }
    }
    bytes
}

/// Without two neighbours of one value.
fn merged(spans: &[Span]) -> Vec<Span> {
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if last.value == span.value => last.count += span.count,
            _ => merged.push(*span),
        }
    }
    merged
}

/// All registers.
pub(super) fn registers(sketch: &[u8]) -> Result<Vec<u8>> {
    if !is_sparse(sketch) {
        return Ok((0..REGISTERS).map(|register| dense_get(sketch, register)).collect());
    }
    let mut registers = Vec::with_capacity(REGISTERS);
    for span in spans(sketch)? {
        registers.resize(registers.len() + span.count, span.value);
    }
    Ok(registers)
}

/// A sketch of registers: sparse when it may be, else dense. The estimate is out of date.
pub(super) fn encode(registers: &[u8], may_be_sparse: bool, sparse_bytes_max: usize) -> Bytes {
    let most = registers.iter().max().copied().unwrap_or(0);
    if may_be_sparse && most <= SPARSE_VALUE_MAX {
        let spans: Vec<Span> = registers.iter().map(|value| Span { count: 1, value: *value }).collect();
        let mut bytes = encode_sparse(&spans);
        if bytes.len() <= sparse_bytes_max + HEADER_BYTES {
            outdate(&mut bytes);
            return bytes.freeze();
        }
    }
    let mut bytes = BytesMut::zeroed(DENSE_BYTES);
    bytes[..4].copy_from_slice(MAGIC);
    bytes[4] = DENSE;
    for (register, value) in registers.iter().enumerate() {
        dense_set(&mut bytes, register, *value);
    }
    outdate(&mut bytes);
    bytes.freeze()
}

/// The same sketch, dense; with its last estimate.
pub(super) fn to_dense(sketch: &[u8]) -> Result<Bytes> {
    let mut dense = BytesMut::from(&encode(&registers(sketch)?, false, 0)[..]);
    dense[8..HEADER_BYTES].copy_from_slice(sketch.get(8..HEADER_BYTES).ok_or(CORRUPTED)?);
    Ok(dense.freeze())
}

/// Those of the registers that a sketch must raise, each with its new value.
pub(super) fn raised(sketch: &[u8], wanted: &[(usize, u8)]) -> Result<Vec<(usize, u8)>> {
    if !is_sparse(sketch) {
        let is_higher = |(register, value): &&(usize, u8)| dense_get(sketch, *register) < *value;
        return Ok(wanted.iter().filter(is_higher).copied().collect());
    }
    let spans = spans(sketch)?;
    let is_higher = |(register, value): &&(usize, u8)| {
        let mut end = 0;
        let holds = spans.iter().find(|span| {
            end += span.count;
            *register < end
        });
        holds.is_none_or(|span| span.value < *value)
    };
    Ok(wanted.iter().filter(is_higher).copied().collect())
}

/// Raises registers of a dense sketch in place.
pub(super) fn raise_dense(sketch: &mut [u8], raised: &[(usize, u8)]) {
    for (register, value) in raised {
        if dense_get(sketch, *register) < *value {
            dense_set(sketch, *register, *value);
        }
    }
    outdate(sketch);
}
