//! The running digest of all outcomes: two nodes that have applied the same log have the same one, or differ and must know.
//!
//! ```text
//! digest(i) = SHA-256(digest(i - 1) | i | what became of entry i | each table it changed: storage, next vid)
//! ```
//!
//! What is in an entry is covered by the log's own hash chain. The digest covers what was made of it, as far as nodes must
//! agree on it: not chunks, not what a node has dropped already.

use std::collections::VecDeque;

use perigee_types::{LogIndex, Oid};
use sha2::{Digest as _, Sha256};

use super::StoreError;

/// How many digests are kept for an attestation on its way: entries that may be in flight behind the one it is of.
const RECENT: usize = 8_192;

/// What became of an entry, as a byte of the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Blank = 0,
    Membership = 1,
    Applied = 2,
    Fenced = 3,
    Skipped = 4,
    Rejected = 5,
}

/// What a leader holds to be true of its log and its state at an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attestation {
    /// The index.
    pub index: LogIndex,
    /// Chain hash of the log there.
    pub chain_hash: [u8; 32],
    /// Running digest of all outcomes there.
    pub digest: [u8; 32],
}

/// See the module.
#[derive(Default)]
pub(crate) struct Outcomes {
    digest: [u8; 32],
    /// Effects of the entry that is being applied.
    effects: Vec<u8>,
    /// Digests of the last entries, ascending.
    recent: VecDeque<(LogIndex, [u8; 32])>,
    /// The last entry that has changed a table or the catalog.
    changed: LogIndex,
    last: Attestation,
    /// An entry was skipped: attestations that were made with it cannot fit any more.
    skipped: bool,
}

impl Outcomes {
    /// Goes on from a checkpoint.
    pub(crate) fn restored(index: LogIndex, digest: [u8; 32]) -> Self {
        Self { digest, recent: VecDeque::from([(index, digest)]), ..Self::default() }
    }

    /// The digest behind the last entry.
    pub(crate) fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Notes what an entry has made of a table.
    pub(super) fn changed_table(&mut self, storage: Oid, next_vid: u64) {
        self.effects.extend_from_slice(&storage.0.to_le_bytes());
        self.effects.extend_from_slice(&next_vid.to_le_bytes());
    }

    /// Notes what an entry has made of the keyspace.
    pub(super) fn changed_companion(&mut self, digest: u64) {
        self.effects.extend_from_slice(&digest.to_le_bytes());
    }

    /// The entry is applied. `attests`: it is itself an attestation, which needs none.
    pub(super) fn end(&mut self, index: LogIndex, ending: Ending, attests: bool) {
        let mut hash = Sha256::new();
        hash.update(self.digest);
        hash.update(index.0.to_le_bytes());
        hash.update([ending as u8]);
        hash.update(&self.effects);
        self.effects.clear();
        self.digest = hash.finalize().into();
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((index, self.digest));
        if !attests && matches!(ending, Ending::Applied | Ending::Skipped | Ending::Rejected) {
            self.changed = index;
        }
        self.skipped |= ending == Ending::Skipped;
    }

    /// What this node can attest now; `None` when nothing has changed since the last attestation.
    pub(super) fn to_attest(&self) -> Option<(LogIndex, [u8; 32])> {
        let newest = self.newest()?;
        (self.changed > self.last.index).then_some(newest)
    }

    /// The last entry, and the digest behind it.
    pub(super) fn newest(&self) -> Option<(LogIndex, [u8; 32])> {
        self.recent.back().copied()
    }

    pub(super) fn last(&self) -> Attestation {
        self.last
    }

    /// Compares this node with what the leader holds to be true. What lies too far back is taken on trust.
    pub(super) fn attested(&mut self, attestation: Attestation) -> Result<(), StoreError> {
        let Attestation { index, digest, .. } = attestation;
        let own = self.recent.binary_search_by_key(&index, |(index, _)| *index).ok().map(|place| self.recent[place].1);
        if own.is_some_and(|own| own != digest) {
            if !self.skipped {
                return Err(StoreError::NotAttested { index });
            }
            tracing::error!(%index, "this node differs from an attestation, as an entry was skipped");
        }
        self.last = attestation;
        Ok(())
    }
}
