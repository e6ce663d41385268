//! What can go wrong with the log, by what a caller can do about it.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the log or of the node's meta files.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The system failed; for a write or sync the log takes no more.
    #[error("{what} {}: {source}", file.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes that were durable have changed or are gone. Never skipped, never served: rebuild the node from its peers or a
    /// backup.
    #[error("{} is damaged at byte {offset}: {reason}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where it is broken, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// An earlier write or sync failed: what is on disk is in doubt and the process has to end.
    #[error("the log takes no more writes since one failed: {0}")]
    Poisoned(String),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// The record was purged.
    #[error("the log begins at index {first}, index {index} was purged")]
    Purged {
        /// What was asked for.
        index: u64,
        /// The first record that is there.
        first: u64,
    },
    /// The record is not there yet.
    #[error("the log ends at index {last}, index {index} is behind it")]
    BehindEnd {
        /// What was asked for.
        index: u64,
        /// The last record that is there.
        last: u64,
    },
    /// Records must follow the last one without a gap.
    #[error("expected the record of index {expected}, got {found}")]
    OutOfOrder {
        /// The index that comes next.
        expected: u64,
        /// The index that came.
        found: u64,
    },
    /// A record is longer than the format can say.
    #[error("a record of {bytes} bytes does not fit a frame")]
    TooLarge {
        /// Its length.
        bytes: u64,
    },
    /// The files belong to another cluster.
    #[error("{} belongs to cluster {found:032x}, not to {expected:032x}", file.display())]
    WrongCluster {
        /// The file.
        file: PathBuf,
        /// Our cluster.
        expected: u128,
        /// Its cluster.
        found: u128,
    },
    /// The files are of a format that this build does not know.
    #[error("{} has format version {found}, this build reads {supported}", file.display())]
    UnknownVersion {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        supported: u32,
    },
    /// The log is not the one that was attested: someone changed it, or it lost its end.
    #[error("record {index} is not the one that was attested: expected {expected}, found {found}")]
    NotAttested {
        /// The record of the anchor.
        index: u64,
        /// The hash of the anchor, in hexadecimal.
        expected: String,
        /// The hash in the log, in hexadecimal, or what is there instead.
        found: String,
    },
}

impl LogError {
    pub(crate) fn io(what: &'static str, file: &Path, source: io::Error) -> Self {
        Self::Io { what, file: file.to_owned(), source }
    }

    pub(crate) fn damaged(file: &Path, offset: u64, reason: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), offset, reason: reason.into() }
    }
}
