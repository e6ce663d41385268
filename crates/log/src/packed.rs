//! Records outside of segment files, for archives: their stored bytes one behind the other, which carry the chain.

use bytes::Bytes;

use crate::format::{decode_record, encode_record, hash_of, record_place, stored_record};
use crate::record::{ChainHash, Record};

/// Why packed records cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackedError {
    /// A record is cut off, or its checksum is wrong.
    #[error("the record behind {after} is not the one that was written")]
    Broken {
        /// The last record that is whole.
        after: u64,
    },
    /// A record does not follow the one before it.
    #[error("the record behind {after} does not chain to it")]
    NotChained {
        /// The last record that follows.
        after: u64,
    },
}

/// The stored bytes of records, the first of which follows one with the chain hash `before`. Gives the hash of the last.
#[must_use]
pub fn pack(records: &[Record], before: &ChainHash) -> (Vec<u8>, ChainHash) {
    let mut out = Vec::new();
    let head = records.iter().fold(*before, |head, record| encode_record(record, &head, &mut out));
    (out, head)
}

/// The records of stored bytes that follow record `after` with the chain hash `before`, and the hash of the last.
///
/// # Errors
/// [`PackedError`]: nothing of what is broken is given out.
pub fn unpack(bytes: &Bytes, after: u64, before: &ChainHash) -> Result<(Vec<Record>, ChainHash), PackedError> {
    let (mut records, mut head, mut last, mut at) = (Vec::new(), *before, after, 0);
    while at < bytes.len() {
        let stored = stored_record(&bytes[at..]).ok_or(PackedError::Broken { after: last })?;
        let stored = bytes.slice(at..at + stored.len());
        let (index, _, previous) = record_place(&stored).ok_or(PackedError::Broken { after: last })?;
        if previous != head || last.checked_add(1) != Some(index) {
            return Err(PackedError::NotChained { after: last });
        }
        records.push(decode_record(&stored).ok_or(PackedError::Broken { after: last })?);
        head = hash_of(&stored);
        last = index;
        at += stored.len();
    }
    Ok((records, head))
}

#[cfg(test)]
mod tests {
    use perigee_types::Hlc;

    use super::*;

    #[test]
    fn records_come_back_or_not_at_all() {
        let record = |index: u64| Record {
            term: 2,
            index,
            time: Hlc(index * 7),
            kind: 1,
            payload: Bytes::from(vec![index as u8; 30]),
        };
        let records: Vec<Record> = (5..9).map(record).collect();
        let (bytes, head) = pack(&records, &[3; 32]);
        assert_eq!(unpack(&bytes.clone().into(), 4, &[3; 32]), Ok((records, head)));
        assert_eq!(unpack(&bytes.clone().into(), 3, &[3; 32]), Err(PackedError::NotChained { after: 3 }));
        assert_eq!(unpack(&bytes.clone().into(), 4, &[4; 32]), Err(PackedError::NotChained { after: 4 }));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unpack(&flipped.into(), 4, &[3; 32]).is_err(), "bit {bit}");
        }
    }
}
