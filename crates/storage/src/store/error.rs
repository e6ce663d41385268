//! What can go wrong in storage.

use perigee_types::{IndexId, LogIndex, Oid};
use thiserror::Error;

use crate::arrow_value::ValueError;
use crate::cold::ColdError;
use crate::encoding::EncodingError;
use crate::entry::EntryError;
use crate::kv::KvError;

/// What can go wrong in storage. In apply each of these stops the node; in a read it is the statement's error.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// The LSM.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// A committed entry cannot be read.
    #[error("entry {index} cannot be read: {error}")]
    Entry {
        /// Its index.
        index: LogIndex,
        /// Why.
        error: EntryError,
    },
    /// A value of the checkpoint is not what was written.
    #[error("the checkpoint is damaged at {at}: {what}")]
    Damaged {
        /// Which key.
        at: String,
        /// What is wrong with it.
        what: String,
    },
    /// A column could not be encoded or decoded.
    #[error("column {column} of storage {storage}: {error}")]
    Column {
        /// The table's storage.
        storage: Oid,
        /// The column's number.
        column: u16,
        /// Why.
        error: EncodingError,
    },
    /// What is applied beside the tables.
    #[error("keyspace: {0}")]
    Companion(String),
    /// A value does not fit its column.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// Arrow refused.
    #[error("arrow: {0}")]
    Arrow(String),
    /// An entry names a table that the log has not made or has dropped.
    #[error("there is no table with storage {0}")]
    UnknownStorage(Oid),
    /// An index that does not exist.
    #[error("there is no index {0}")]
    UnknownIndex(IndexId),
    /// A column that the table does not have.
    #[error("storage {storage} has no column {column}")]
    UnknownColumn {
        /// The table's storage.
        storage: Oid,
        /// The column's number.
        column: u16,
    },
    /// An index that is not filled yet, or a point lookup in an index that is not unique.
    #[error("index {0} cannot be read yet")]
    IndexNotReady(IndexId),
    /// Entries that do not follow one another.
    #[error("entry {got} applied behind entry {after}")]
    Order {
        /// The last one applied.
        after: LogIndex,
        /// The one given.
        got: LogIndex,
    },
    /// This node has made something else of the log than the leader that attested it.
    #[error("what this node has made of the log up to entry {index} differs from what was attested")]
    NotAttested {
        /// The index that was attested.
        index: LogIndex,
    },
    /// Rows of the cold tier.
    #[error(transparent)]
    Cold(#[from] ColdError),
    /// An earlier checkpoint failed: nothing is written until the next start.
    #[error("storage stopped after a failed checkpoint")]
    Stopped,
}

impl From<arrow::error::ArrowError> for StoreError {
    fn from(error: arrow::error::ArrowError) -> Self {
        StoreError::Arrow(error.to_string())
    }
}
