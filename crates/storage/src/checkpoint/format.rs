//! Keys and values of a checkpoint, byte by byte.
//!
//! Keys begin as [`crate::kv::keys`] says; behind that prefix stands:
//!
//! | kind | rest of the key | value |
//! | --- | --- | --- |
//! | State | `meta`, `dropped`, `staged` | sealed JSON |
//! | State | `piece`, transaction u64, number u32 | sealed: what [`crate::entry::Pieces`] keeps of an entry |
//! | Catalog, Sequence | nothing; the oid is the object's | sealed JSON |
//! | Table | `0` | sealed JSON: next vid, columns, indexes |
//! | Table | `1` | sealed open rows |
//! | Chunk | first vid | sealed header: vids, begins, columns with statistics |
//! | Column | first vid, column number | [`crate::encoding`]; number 0: all columns of a small chunk, sealed |
//! | Mark | first vid | sealed end-marks |
//! | Unique | index oid, key | vids, newest first, 8 bytes each |
//! | Index | index oid, key, vid | nothing |
//!
//! *Sealed* is: version u8 = 1, the bytes, CRC32C of both. Numbers in keys are big endian. The header of a cold chunk has
//! version 2: its columns are in files of the table's manifests, and not here.

use perigee_types::row::{get_bytes, get_varint, put_bytes, put_varint};
use perigee_types::{IndexId, Oid, TransactionId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::kv::keys::{self, Kind, PREFIX_BYTES};
use crate::store::StoreError;
use crate::table::VidList;

/// The Raft group; one for now.
pub(crate) const GROUP: u32 = 0;

pub(crate) const VERSION: u8 = 1;
/// Of the header of a chunk whose columns are not in the LSM.
pub(crate) const VERSION_COLD: u8 = 2;
const CRC_BYTES: usize = 4;
/// How keys of pieces begin.
pub(crate) const PIECE: &str = "piece";

/// A key of a kind that belongs to the whole group.
pub(crate) fn state_key(name: &str) -> Vec<u8> {
    keys::key(Kind::State, GROUP, Oid(0), name.as_bytes())
}

/// A piece of an entry that is not whole.
pub(crate) fn piece_key(transaction: TransactionId, number: u32) -> Vec<u8> {
    [&state_key(PIECE)[..], &transaction.0.to_be_bytes(), &number.to_be_bytes()].concat()
}

/// Whose piece a key names, and its number.
pub(crate) fn piece_of(key: &[u8]) -> Result<(TransactionId, u32), StoreError> {
    let bad = || damaged(key, "the key has a wrong length");
    let rest = keys::rest(key).strip_prefix(PIECE.as_bytes()).ok_or_else(bad)?;
    let (transaction, number) = rest.split_first_chunk().ok_or_else(bad)?;
    let number = number.try_into().map_err(|_| bad())?;
    Ok((TransactionId(u64::from_be_bytes(*transaction)), u32::from_be_bytes(number)))
}

pub(crate) fn object_key(kind: Kind, oid: Oid) -> Vec<u8> {
    keys::key(kind, GROUP, oid, &[])
}

/// The facts of a table.
pub(crate) fn table_key(storage: Oid) -> Vec<u8> {
    keys::key(Kind::Table, GROUP, storage, &[0])
}

/// The open rows of a table.
pub(crate) fn open_rows_key(storage: Oid) -> Vec<u8> {
    keys::key(Kind::Table, GROUP, storage, &[1])
}

/// Header or end-marks of a chunk.
pub(crate) fn chunk_key(kind: Kind, storage: Oid, first: u64) -> Vec<u8> {
    keys::key(kind, GROUP, storage, &first.to_be_bytes())
}

/// A column of a chunk; number 0 is all of them in one value.
pub(crate) fn column_key(storage: Oid, first: u64, number: u16) -> Vec<u8> {
    let mut key = chunk_key(Kind::Column, storage, first);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The chunk that a key of kind Chunk or Mark belongs to.
pub(crate) fn chunk_of(key: &[u8]) -> Result<u64, StoreError> {
    let first = keys::rest(key).try_into().map_err(|_| damaged(key, "the key has a wrong length"))?;
    Ok(u64::from_be_bytes(first))
}

/// The oid in a key.
pub(crate) fn oid_of(key: &[u8]) -> Result<Oid, StoreError> {
    let bytes = key.get(5..PREFIX_BYTES).and_then(|b| b.try_into().ok());
    bytes.map(|b| Oid(u32::from_be_bytes(b))).ok_or_else(|| damaged(key, "the key is too short"))
}

/// A key in words, for errors.
pub(crate) fn describe(key: &[u8]) -> String {
    let oid = oid_of(key).map_or(0, |oid| oid.0);
    let rest = keys::rest(key);
    let kind = match key.first() {
        Some(k) if *k == Kind::State as u8 => return format!("state {}", String::from_utf8_lossy(rest)),
        Some(k) if *k == Kind::Catalog as u8 => "catalog object",
        Some(k) if *k == Kind::Sequence as u8 => "sequence",
        Some(k) if *k == Kind::Table as u8 => "table",
        Some(k) if *k == Kind::Chunk as u8 => "chunk header of table",
        Some(k) if *k == Kind::Column as u8 => "column of table",
        Some(k) if *k == Kind::Mark as u8 => "end-marks of table",
        Some(k) if *k == Kind::Unique as u8 || *k == Kind::Index as u8 => "index of table",
        _ => "key",
    };
    let rest: String = rest.iter().take(16).map(|b| format!("{b:02x}")).collect();
    format!("{kind} {oid} {rest}")
}

pub(crate) fn damaged(key: &[u8], what: &str) -> StoreError {
    StoreError::Damaged { at: describe(key), what: what.to_owned() }
}

/// Version, bytes, checksum.
pub(crate) fn seal(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    seal_as(VERSION, build)
}

/// The same of another version.
pub(crate) fn seal_as(version: u8, build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![version];
    build(&mut out);
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// The bytes that were sealed.
pub(crate) fn unseal<'a>(value: &'a [u8], key: &[u8]) -> Result<&'a [u8], StoreError> {
    match unseal_any(value, key)? {
        (VERSION, bytes) => Ok(bytes),
        _ => Err(damaged(key, "unknown format version")),
    }
}

/// The version of what was sealed, and its bytes.
pub(crate) fn unseal_any<'a>(value: &'a [u8], key: &[u8]) -> Result<(u8, &'a [u8]), StoreError> {
    let (body, crc) = value
        .len()
        .checked_sub(CRC_BYTES)
        .map(|at| value.split_at(at))
        .ok_or_else(|| damaged(key, "the value is too short"))?;
    if crc32c::crc32c(body).to_le_bytes() != crc {
        return Err(damaged(key, "the checksum does not match"));
    }
    let (version, bytes) = body.split_first().ok_or_else(|| damaged(key, "the value is empty"))?;
    Ok((*version, bytes))
}

pub(crate) fn seal_json(value: &impl Serialize) -> Vec<u8> {
    // Plain data with string keys: serializing it into memory has no failing case, and what is empty does not unseal.
    seal(|out| out.extend_from_slice(&serde_json::to_vec(value).unwrap_or_default()))
}

pub(crate) fn unseal_json<T: DeserializeOwned>(value: &[u8], key: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(unseal(value, key)?).map_err(|error| damaged(key, &error.to_string()))
}

/// All columns of a small chunk as one value.
pub(crate) fn pack(columns: &[(u16, bytes::Bytes)]) -> Vec<u8> {
    seal(|out| {
        put_varint(columns.len() as u64, out);
        for (number, bytes) in columns {
            put_varint(u64::from(*number), out);
            put_bytes(bytes, out);
        }
    })
}

/// One column of a packed value.
pub(crate) fn unpack<'a>(value: &'a [u8], number: u16, key: &[u8]) -> Result<&'a [u8], StoreError> {
    let mut rest = unseal(value, key)?;
    let bad = |_| damaged(key, "packed columns are cut");
    for _ in 0..get_varint(&mut rest).map_err(bad)? {
        let this = get_varint(&mut rest).map_err(bad)?;
        let bytes = get_bytes(&mut rest).map_err(bad)?;
        if this == u64::from(number) {
            return Ok(bytes);
        }
    }
    Err(damaged(key, "a packed column is missing"))
}

/// Vids of a unique key, newest first.
pub(crate) fn encode_vids(vids: &[u64]) -> Vec<u8> {
    vids.iter().flat_map(|vid| vid.to_be_bytes()).collect()
}

pub(crate) fn decode_vids(value: &[u8], key: &[u8]) -> Result<VidList, StoreError> {
    let (vids, rest) = value.as_chunks::<8>();
    if vids.is_empty() || !rest.is_empty() {
        return Err(damaged(key, "a list of vids has a wrong length"));
    }
    Ok(vids.iter().map(|vid| u64::from_be_bytes(*vid)).collect())
}

/// The vid at the end of an entry of an index that is not unique.
pub(crate) fn decode_key_vid(key: &[u8]) -> Result<VidList, StoreError> {
    let vid = key.last_chunk::<8>().ok_or_else(|| damaged(key, "the key has no vid"))?;
    Ok(VidList::from_slice(&[u64::from_be_bytes(*vid)]))
}

/// Where the entries of an index begin.
pub(crate) fn index_prefix(kind: Kind, storage: Oid, index: IndexId) -> Vec<u8> {
    keys::key(kind, GROUP, storage, &index.0.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_is_found_anywhere() {
        let key = table_key(Oid(5));
        let sealed = seal(|out| out.extend_from_slice(b"facts"));
        assert_eq!(unseal(&sealed, &key).unwrap(), b"facts");
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(&flipped, &key).is_err(), "bit {bit}");
        }
        assert!(unseal(&sealed[..3], &key).unwrap_err().to_string().contains("table 5"));
    }

    #[test]
    fn a_key_names_its_piece() {
        let key = piece_key(TransactionId(1 << 40), 7);
        assert_eq!(piece_of(&key).unwrap(), (TransactionId(1 << 40), 7));
        assert!(piece_of(&key[..key.len() - 1]).is_err() && piece_of(&state_key("meta")).is_err());
        // In the order in which a run writes them.
        assert!(state_key("meta") < key && key < piece_key(TransactionId(1 << 40), 8) && key < state_key("staged"));
    }

    #[test]
    fn packed_columns_come_back_by_number() {
        let key = column_key(Oid(5), 9, 0);
        let packed = pack(&[(1, bytes::Bytes::from_static(b"one")), (7, bytes::Bytes::from_static(b"seven"))]);
        assert_eq!(unpack(&packed, 7, &key).unwrap(), b"seven");
        assert!(unpack(&packed, 2, &key).is_err());
    }
}
