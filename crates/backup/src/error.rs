//! What can go wrong with backups, by what can be done about it.

use std::io;

use perigee_consensus::ConsensusError;
use perigee_log::LogError;
use perigee_storage::cold::ColdError;
use perigee_storage::objects::ObjectError;
use perigee_storage::store::StoreError;

/// An error of a backup or of a restore.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The object store does not answer, or an object is not there.
    #[error(transparent)]
    Store(ObjectError),
    /// A file of the cold tier cannot be read or written.
    #[error(transparent)]
    Cold(#[from] ColdError),
    /// An object is not what was written.
    #[error("backup object {path} is damaged: {what}")]
    Damaged {
        /// Which object.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// What is asked for is not there: no backup, no such time.
    #[error("{0}")]
    Refused(String),
    /// The archive continues another history than this node's log.
    #[error("the archive at {location} is not of this node's log: {what}")]
    OtherHistory {
        /// Where the archive is.
        location: String,
        /// What differs.
        what: String,
    },
    /// The node's own disk.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The node's log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The node's tables.
    #[error(transparent)]
    Tables(#[from] StoreError),
    /// The node's consensus.
    #[error(transparent)]
    Consensus(#[from] ConsensusError),
}

impl From<ObjectError> for BackupError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::TooLong { path, bytes } => {
                Self::Damaged { path, what: format!("it has {bytes} bytes, more than were written") }
            }
            error => Self::Store(error),
        }
    }
}

impl BackupError {
    pub(crate) fn damaged(path: &str, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }

    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }
}
