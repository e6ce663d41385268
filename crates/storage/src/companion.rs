//! What is applied and checkpointed beside the tables: the keyspace.
//!
//! Storage knows nothing of it but that it is a pure function of the same log, and that its part of a checkpoint stands in
//! the same run. So one index holds for both.

use bytes::Bytes;
use perigee_types::{Hlc, LogIndex, Oid};

use crate::kv::keys::{self, Kind};
use crate::store::StoreError;

/// A key of the LSM with its value, `None` for a tombstone.
pub type Pair = Result<(Vec<u8>, Option<Bytes>), CompanionError>;

/// A local failure of the companion: the node stops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CompanionError(pub String);

/// See the module.
pub trait Companion: Send + Sync + 'static {
    /// Applies an entry that is its own and gives a digest of what it did, the same on every node.
    ///
    /// # Errors
    /// Only local failures; the node stops.
    fn apply(&self, index: LogIndex, time: Hlc, payload: &[u8]) -> Result<u64, CompanionError>;

    /// Applies what a transaction does beside the tables, whole or not at all, and gives a digest of it. `None`: what it
    /// depends on has changed, so nothing was done and nothing of the transaction is.
    ///
    /// # Errors
    /// Only local failures; the node stops.
    fn apply_in_transaction(&self, index: LogIndex, time: Hlc, payload: &[u8]) -> Result<Option<u64>, CompanionError>;

    /// The first entry of a term comes: what earlier leaders left unfinished goes.
    fn new_term(&self);

    /// End of a batch: its clients may see what was applied.
    fn publish(&self);

    /// Takes hold of what has changed since the last call, between two entries. Apply waits for it.
    fn freeze(&self) -> Box<dyn FrozenCompanion>;

    /// Oids whose keys of the kinds [`Kind::Object`] and [`Kind::ObjectEnd`] nobody reads any more, as of the last checkpoint.
    fn dropped(&self) -> Vec<Oid>;
}

/// What a companion writes in one checkpoint.
pub trait FrozenCompanion: Send {
    /// Pairs of the kind [`Kind::Keyspace`], ascending.
    fn facts(&self) -> Vec<(Vec<u8>, Option<Bytes>)>;

    /// Pairs of the kinds [`Kind::Object`] and then [`Kind::ObjectEnd`], ascending.
    fn pairs(&self) -> Box<dyn Iterator<Item = Pair> + '_>;

    /// The run is durable.
    fn finish(&self);
}

impl From<CompanionError> for StoreError {
    fn from(error: CompanionError) -> Self {
        StoreError::Companion(error.0)
    }
}

/// A key of the companion: of one of its kinds, in this group.
#[must_use]
pub fn key(kind: Kind, oid: Oid, rest: &[u8]) -> Vec<u8> {
    keys::key(kind, crate::checkpoint::format::GROUP, oid, rest)
}

/// Bytes with a version and a checksum.
#[must_use]
pub fn seal(bytes: &[u8]) -> Bytes {
    crate::checkpoint::format::seal(|out| out.extend_from_slice(bytes)).into()
}

/// The bytes that were sealed.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn unseal<'a>(value: &'a [u8], key: &[u8]) -> Result<&'a [u8], StoreError> {
    crate::checkpoint::format::unseal(value, key)
}
