//! One object: a header, a compressed content, and a checksum over all of it.
//!
//! ```text
//! magic "PERIGBAK" | version u32 | kind u32 | header bytes u32 | unpacked bytes u32 | header (JSON) | content (zstd) | SHA-256
//! ```
//!
//! Numbers are little endian; the checksum is over everything before it.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::BackupError;

const MAGIC: [u8; 8] = *b"PERIGBAK";
const VERSION: u32 = 1;
const PREFIX_BYTES: usize = 24;
const HASH_BYTES: usize = 32;
/// What an object may hold, unpacked; far above what is written.
const CONTENT_BYTES_MAX: u32 = 512 << 20;
/// Bytes that an object may have.
pub(crate) const OBJECT_BYTES_MAX: u64 = 768 << 20;
const COMPRESSION: i32 = 1;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// What a base backup consists of; its last object.
    Manifest = 1,
    /// Pairs of a checkpoint.
    Piece = 2,
    /// Entries of the log.
    Log = 3,
}

/// The bytes of an object.
///
/// # Errors
/// [`BackupError::Refused`] for more than an object can hold.
pub fn seal(kind: Kind, header: &impl Serialize, content: &[u8]) -> Result<Bytes, BackupError> {
    let refused =
        |what: &dyn std::fmt::Display| BackupError::Refused(format!("a backup object cannot be made: {what}"));
    let header = serde_json::to_vec(header).map_err(|error| refused(&error))?;
    let packed = zstd::bulk::compress(content, COMPRESSION).map_err(|error| refused(&error))?;
    let header_bytes = u32::try_from(header.len()).map_err(|error| refused(&error))?;
    let content_bytes = u32::try_from(content.len()).map_err(|error| refused(&error))?;
    if content_bytes > CONTENT_BYTES_MAX {
        return Err(refused(&"it is too large"));
    }
    let mut out = Vec::with_capacity(PREFIX_BYTES + header.len() + packed.len() + HASH_BYTES);
    out.extend_from_slice(&MAGIC);
    for number in [VERSION, kind as u32, header_bytes, content_bytes] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&header);
    out.extend_from_slice(&packed);
    let hash = Sha256::digest(&out);
    out.extend_from_slice(&hash);
    Ok(out.into())
}

/// Header and content of the object at `path`, if it is whole.
///
/// # Errors
/// [`BackupError::Damaged`]
pub fn open<H: DeserializeOwned>(path: &str, kind: Kind, bytes: &[u8]) -> Result<(H, Bytes), BackupError> {
    let damaged = |what: &str| BackupError::damaged(path, what);
    let body = bytes.len().checked_sub(HASH_BYTES).filter(|length| *length >= PREFIX_BYTES);
    let (body, hash) = bytes.split_at(body.ok_or_else(|| damaged("it is too short"))?);
    if Sha256::digest(body).as_slice() != hash {
        return Err(damaged("its checksum is wrong"));
    }
    let (prefix, rest) = body.split_at(PREFIX_BYTES);
    let number = |at: usize| prefix.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
    if prefix[..8] != MAGIC {
        return Err(damaged("it is no object of a backup"));
    }
    if number(8) != VERSION {
        return Err(damaged(&format!("it has format version {}, this build reads {VERSION}", number(8))));
    }
    if number(12) != kind as u32 {
        return Err(damaged("it is an object of another kind"));
    }
    let header_bytes = number(16) as usize;
    if header_bytes > rest.len() || number(20) > CONTENT_BYTES_MAX {
        return Err(damaged("its lengths make no sense"));
    }
    let (header, packed) = rest.split_at(header_bytes);
    let header = serde_json::from_slice(header).map_err(|error| damaged(&error.to_string()))?;
    let content = zstd::bulk::decompress(packed, number(20) as usize).map_err(|error| damaged(&error.to_string()))?;
    if content.len() != number(20) as usize {
        return Err(damaged("its content has another length"));
    }
    Ok((header, content.into()))
}

/// The checksum at the end of an object, in hexadecimal: two objects with the same one are the same.
#[must_use]
pub fn checksum(bytes: &[u8]) -> String {
    hex::encode(bytes.get(bytes.len().saturating_sub(HASH_BYTES)..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_found() {
        let sealed = seal(Kind::Log, &vec![1, 2, 3], b"some content, some content").unwrap();
        let (header, content): (Vec<u32>, _) = open("p", Kind::Log, &sealed).unwrap();
        assert_eq!((header, &content[..]), (vec![1, 2, 3], &b"some content, some content"[..]));
        assert!(open::<Vec<u32>>("p", Kind::Piece, &sealed).is_err());
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open::<Vec<u32>>("p", Kind::Log, &flipped).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(open::<Vec<u32>>("p", Kind::Log, &sealed[..length]).is_err(), "cut at {length}");
        }
    }
}
