//! Why bytes are not an entry.

use perigee_types::Oid;
use perigee_types::row::RowError;
use thiserror::Error;

/// Why bytes are not an entry. Decoding is bounded: a hostile length gives an error and no allocation.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EntryError {
    /// The bytes end inside the entry, or a length or text in it is wrong.
    #[error("entry is damaged: {0}")]
    Row(#[from] RowError),
    /// Written by a newer version.
    #[error("entry has unknown format version {0}")]
    UnknownVersion(u8),
    /// A kind that no entry has.
    #[error("entry has unknown kind {0}")]
    UnknownKind(u8),
    /// Pieces that are together another entry than their last one says.
    #[error("pieces are together another entry than their last one says")]
    Pieces,
    /// Bytes behind the end of the entry.
    #[error("entry has {0} bytes too many")]
    Trailing(usize),
    /// A number out of its range.
    #[error("entry holds a number out of range: {0}")]
    OutOfRange(&'static str),
    /// Catalog objects that cannot be read.
    #[error("entry holds a catalog object that cannot be read: {0}")]
    Catalog(String),
    /// Columns that the catalog does not know.
    #[error("entry names columns of storage {0} that do not exist")]
    UnknownColumns(Oid),
    /// Arrow bytes that are not a record batch of the table's types.
    #[error("entry holds an invalid record batch: {0}")]
    Batch(String),
}
