//! What can go wrong between a key and its bytes on disk.

use std::io;
use std::sync::Arc;

use thiserror::Error;

/// Why the LSM did not answer.
#[derive(Clone, Debug, Error)]
pub enum KvError {
    /// Bytes on disk are not what was written. Never repaired by a retry: rebuild from peers, or refuse.
    #[error("the LSM is damaged: {what}")]
    Damaged {
        /// What did not match, with the key or file where it is known.
        what: String,
    },
    /// The disk or the operating system refused.
    #[error("the LSM could not be read or written")]
    Io(#[source] Arc<io::Error>),
    /// A background thread met an error, so nothing may be written until the next start.
    #[error("the LSM stopped after an earlier failure")]
    Stopped,
    /// Another process has the folder open.
    #[error("the LSM is open in another process")]
    Locked,
    /// A key beyond [`super::KEY_BYTES_MAX`].
    #[error("key of {0} bytes is too long")]
    KeyTooLong(usize),
    /// A key without a byte.
    #[error("key is empty")]
    KeyEmpty,
    /// A value of 4 GiB or more.
    #[error("value of {0} bytes is too long")]
    ValueTooLong(usize),
    /// A run whose keys do not ascend.
    #[error("keys of a run do not ascend")]
    KeyOrder,
    /// The caller's own run failed while it was being written.
    #[error("the run could not be built: {0}")]
    Run(String),
}

impl KvError {
    /// Whether bytes on disk are wrong, as opposed to unreadable now.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, KvError::Damaged { .. })
    }
}

impl From<io::Error> for KvError {
    fn from(error: io::Error) -> Self {
        KvError::Io(Arc::new(error))
    }
}
