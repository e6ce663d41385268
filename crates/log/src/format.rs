//! The bytes of segment headers, frame headers and records. All numbers are little endian.
//!
//! Source: docs/formats/log.md.

use bytes::Bytes;
use perigee_types::Hlc;
use sha2::{Digest, Sha256};

use crate::record::{ChainHash, Record};

/// Frames begin on multiples of this: what a disk writes whole or not at all.
pub(crate) const SECTOR_BYTES: u64 = 512;
pub(crate) const SEGMENT_HEADER_BYTES: u64 = SECTOR_BYTES;
pub(crate) const FRAME_HEADER_BYTES: usize = 64;
pub(crate) const RECORD_HEADER_BYTES: usize = 88;
/// An append that is longer becomes several frames, which bounds the write buffer.
pub(crate) const FRAME_BYTES_MAX: usize = 4 << 20;
/// The longest record, header included.
pub(crate) const RECORD_BYTES_MAX: u64 = 64 << 20;
pub(crate) const VERSION: u32 = 1;

const SEGMENT_MAGIC: [u8; 8] = *b"PERIGLOG";
const FRAME_MAGIC: [u8; 4] = *b"PFRM";

/// The next multiple of [`SECTOR_BYTES`].
pub(crate) fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(SECTOR_BYTES)
}

pub(crate) fn hash_of(stored: &[u8]) -> ChainHash {
    Sha256::digest(stored).into()
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// The first sector of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) cluster_id: u128,
    pub(crate) first: u64,
    pub(crate) before: ChainHash,
}

/// Why a segment header cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    Broken,
    Version(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES as usize] {
        let mut out = [0; SEGMENT_HEADER_BYTES as usize];
        out[0..8].copy_from_slice(&SEGMENT_MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..32].copy_from_slice(&self.cluster_id.to_le_bytes());
        out[32..40].copy_from_slice(&self.first.to_le_bytes());
        out[40..72].copy_from_slice(&self.before);
        let crc = crc32c::crc32c(&out[..508]);
        out[508..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header and the seed of its frames' checksums.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, u32), HeaderError> {
        let sector = bytes.get(..SEGMENT_HEADER_BYTES as usize).ok_or(HeaderError::Broken)?;
        if sector[0..8] != SEGMENT_MAGIC || u32_at(sector, 508) != Some(crc32c::crc32c(&sector[..508])) {
            return Err(HeaderError::Broken);
        }
        let fields = || {
            let version = u32_at(sector, 8)?;
            let header = Self {
                cluster_id: u128::from_le_bytes(array(sector, 16)?),
                first: u64_at(sector, 32)?,
                before: array(sector, 40)?,
            };
            Some((version, header))
        };
        match fields() {
            Some((VERSION, header)) => Ok((header, frame_seed(sector))),
            Some((version, _)) => Err(HeaderError::Version(version)),
            None => Err(HeaderError::Broken),
        }
    }

    /// Frames are bound to their segment: the checksum of a frame header goes on from that of the segment's header. So
    /// bytes in a payload that look like a frame are none, unless their author knows cluster id, hash and offset.
    pub(crate) fn seed(&self) -> u32 {
        frame_seed(&self.encode())
    }
}

fn frame_seed(sector: &[u8]) -> u32 {
    crc32c::crc32c(sector)
}

/// What stands before the records of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Bytes of its records.
    pub(crate) body_bytes: u32,
    /// How many records.
    pub(crate) count: u32,
    /// Index of its first record.
    pub(crate) first: u64,
    /// The last record known durable when it was written.
    pub(crate) synced_index: u64,
    /// The bytes of this segment known durable when it was written.
    pub(crate) synced_offset: u64,
    /// The last record known committed when it was written, at most `synced_index`.
    pub(crate) committed: u64,
    /// Where in its segment it stands.
    pub(crate) offset: u64,
}

impl FrameHeader {
    pub(crate) fn encode(&self, seed: u32) -> [u8; FRAME_HEADER_BYTES] {
        let mut out = [0; FRAME_HEADER_BYTES];
        out[0..4].copy_from_slice(&FRAME_MAGIC);
        out[8..12].copy_from_slice(&self.body_bytes.to_le_bytes());
        out[12..16].copy_from_slice(&self.count.to_le_bytes());
        out[16..24].copy_from_slice(&self.first.to_le_bytes());
        out[24..32].copy_from_slice(&self.synced_index.to_le_bytes());
        out[32..40].copy_from_slice(&self.synced_offset.to_le_bytes());
        out[40..48].copy_from_slice(&self.committed.to_le_bytes());
        out[48..56].copy_from_slice(&self.offset.to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header at `offset` of a segment, `None` where there is none.
    pub(crate) fn decode(bytes: &[u8], seed: u32, offset: u64) -> Option<Self> {
        let header = bytes.get(..FRAME_HEADER_BYTES)?;
        if header[0..4] != FRAME_MAGIC || u32_at(header, 4)? != crc32c::crc32c_append(seed, &header[8..]) {
            return None;
        }
        let decoded = Self {
            body_bytes: u32_at(header, 8)?,
            count: u32_at(header, 12)?,
            first: u64_at(header, 16)?,
            synced_index: u64_at(header, 24)?,
            synced_offset: u64_at(header, 32)?,
            committed: u64_at(header, 40)?,
            offset: u64_at(header, 48)?,
        };
        (decoded.offset == offset).then_some(decoded)
    }

    /// Where its records end, in its segment.
    pub(crate) fn body_end(&self) -> u64 {
        self.offset + FRAME_HEADER_BYTES as u64 + u64::from(self.body_bytes)
    }

    /// Where the next frame begins.
    pub(crate) fn end(&self) -> u64 {
        padded(self.body_end())
    }
}

/// Appends the stored bytes of a record to `out`; gives its hash.
pub(crate) fn encode_record(record: &Record, previous: &ChainHash, out: &mut Vec<u8>) -> ChainHash {
    let start = out.len();
    let length = (RECORD_HEADER_BYTES + record.payload.len()) as u32;
    let mut header = [0; RECORD_HEADER_BYTES];
    header[0..4].copy_from_slice(&length.to_le_bytes());
    // 8..10 flags, 11 reserved, 12..16 key id, 16..28 nonce, 28..32 group: zero until there is encryption, compression
    // or a second group.
    header[10] = record.kind;
    header[32..40].copy_from_slice(&record.term.to_le_bytes());
    header[40..48].copy_from_slice(&record.index.to_le_bytes());
    header[48..56].copy_from_slice(&record.time.0.to_le_bytes());
    header[56..88].copy_from_slice(previous);
    let crc = crc32c::crc32c_append(record_crc_of_header(&header), &record.payload);
    header[4..8].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(&record.payload);
    hash_of(&out[start..])
}

fn record_crc_of_header(header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[0..4]), &header[8..RECORD_HEADER_BYTES])
}

/// The stored bytes of the record at the start of `bytes`, `None` where its length or checksum is wrong or it needs a
/// feature that this build does not know.
pub(crate) fn stored_record(bytes: &[u8]) -> Option<&[u8]> {
    let length = u32_at(bytes, 0)? as usize;
    if length < RECORD_HEADER_BYTES {
        return None;
    }
    let stored = bytes.get(..length)?;
    let crc = crc32c::crc32c_append(record_crc_of_header(stored), &stored[RECORD_HEADER_BYTES..]);
    let known = stored[8..10] == [0; 2] && stored[11..32] == [0; 21];
    (u32_at(stored, 4)? == crc && known).then_some(stored)
}

/// What scanning needs of a record: index, term, hash of the one before.
pub(crate) fn record_place(stored: &[u8]) -> Option<(u64, u64, ChainHash)> {
    Some((u64_at(stored, 40)?, u64_at(stored, 32)?, array(stored, 56)?))
}

/// The record in `stored`, as checked by [`stored_record`]; shares the bytes.
pub(crate) fn decode_record(stored: &Bytes) -> Option<Record> {
    let (index, term, _) = record_place(stored)?;
    Some(Record {
        term,
        index,
        time: Hlc(u64_at(stored, 48)?),
        kind: stored[10],
        payload: stored.slice(RECORD_HEADER_BYTES..),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back() {
        let header = SegmentHeader { cluster_id: 7, first: 42, before: [3; 32] };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok((header, header.seed())));
        let frame = FrameHeader {
            body_bytes: 100,
            count: 1,
            first: 42,
            synced_index: 41,
            synced_offset: 512,
            committed: 40,
            offset: 1024,
        };
        let encoded = frame.encode(header.seed());
        assert_eq!(FrameHeader::decode(&encoded, header.seed(), 1024), Some(frame));
        assert_eq!(FrameHeader::decode(&encoded, header.seed(), 512), None, "bound to its offset");
        assert_eq!(FrameHeader::decode(&encoded, 0, 1024), None, "bound to its segment");
        assert_eq!(frame.end(), 1536);
    }

    #[test]
    fn a_newer_format_is_named() {
        let mut bytes = SegmentHeader { cluster_id: 7, first: 1, before: [0; 32] }.encode();
        bytes[8] = 9;
        let crc = crc32c::crc32c(&bytes[..508]);
        bytes[508..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderError::Version(9)));
    }

    #[test]
    fn every_flipped_bit_of_a_record_is_seen() {
        let record = Record { term: 1, index: 2, time: Hlc(3), kind: 4, payload: Bytes::from_static(b"payload") };
        let mut out = Vec::new();
        encode_record(&record, &[9; 32], &mut out);
        assert_eq!(decode_record(&Bytes::copy_from_slice(stored_record(&out).unwrap())), Some(record));
        for bit in 0..out.len() * 8 {
            out[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(stored_record(&out), None, "bit {bit}");
            out[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
