//! What callers put into the log and get back.

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;
use perigee_types::Hlc;

/// One entry of the log. The log knows its place and its bytes, not what they mean.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The Raft term that wrote it.
    pub term: u64,
    /// Its position, from 1, without gaps.
    pub index: u64,
    /// Its time; the caller keeps it from running back.
    pub time: Hlc,
    /// What the payload is, by the caller's own numbering.
    pub kind: u8,
    /// The bytes.
    pub payload: Bytes,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("term", &self.term)
            .field("index", &self.index)
            .field("time", &self.time)
            .field("kind", &self.kind)
            .field("payload_bytes", &self.payload.len())
            .finish()
    }
}

/// Where and how a log is kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The directory of the segments, `DIR/log`. Made where there is none.
    pub dir: PathBuf,
    /// The cluster that the log belongs to; a log of another cluster is refused.
    pub cluster_id: u128,
    /// Size of a segment file, [`SEGMENT_BYTES`] outside of tests.
    pub segment_bytes: u64,
}

/// The usual size of a segment file.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// SHA-256 over all stored bytes of a record, the hash of the one before it among them.
pub type ChainHash = [u8; 32];

/// The hash that stands before the first record of a cluster.
pub const CHAIN_START: ChainHash = [0; 32];

/// A record's place in the chain, as attested: with it anyone can check the log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// The record.
    pub index: u64,
    /// Its chain hash.
    pub hash: ChainHash,
}

impl fmt::Debug for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Anchor({}, {})", self.index, hex::encode(self.hash))
    }
}

/// What [`crate::Log::open`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The first record that can be read; `last + 1` where there is none.
    pub first: u64,
    /// The last record; 0, or what was purged last, where there is none.
    pub last: u64,
    /// The largest index known to be committed.
    pub committed: u64,
    /// The last durable record: all of them, as opening syncs what it keeps.
    pub synced: u64,
    /// What a crash left behind the last whole frame and was cut.
    pub cut: Option<TornTail>,
}

/// The remains of writes that were never synced, found behind the last whole frame and cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment file.
    pub file: PathBuf,
    /// Where the tail begins, in bytes.
    pub offset: u64,
    /// How far it reaches, in bytes, to its last byte that is not zero.
    pub bytes: u64,
    /// The last record that was kept.
    pub after: u64,
}
