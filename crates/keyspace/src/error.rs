//! Why a command gives no reply of its own.

use std::borrow::Cow;

use perigee_storage::kv::KvError;

use crate::state::DbId;

/// What commands return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client made a mistake: prefix and text as it is told.
    #[error("{0}")]
    Reply(Cow<'static, str>),
    /// A key that nobody named beforehand is not in memory: load it and run the command again. Only before its first change.
    #[error("a key is not in memory")]
    Miss(DbId, Box<[u8]>),
    /// The command waits until a key changes: it is run again behind each write to one of its keys.
    ///
    /// Its keys are those of its key specifications. Only before its first change.
    #[error("the command waits")]
    Block(Block),
    /// The node cannot go on.
    #[error(transparent)]
    Storage(#[from] StorageFault),
}

/// How long a command waits, and what it says then.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Milliseconds; zero waits for ever.
    pub timeout_ms: u64,
    /// The reply when the time is over.
    pub otherwise: crate::Reply,
    /// What the command runs as when it is served, where that differs from what was sent (XREAD with `$`).
    pub again: Option<Vec<bytes::Bytes>>,
}

/// A local failure. Never a reply: the node stops.
#[derive(Debug, thiserror::Error)]
pub enum StorageFault {
    /// The LSM's.
    #[error("cannot read an object: {0}")]
    Kv(#[from] KvError),
    /// What was read is not what was written.
    #[error("object {key} is damaged: {why}")]
    Damaged {
        /// The key, as text.
        key: String,
        /// What does not fit.
        why: &'static str,
    },
    /// A promise of the log is broken.
    #[error("entry cannot be applied: {0}")]
    Entry(&'static str),
}

impl Error {
    /// An error for the client: prefix and text.
    #[must_use]
    pub fn reply(text: impl Into<Cow<'static, str>>) -> Self {
        Error::Reply(text.into())
    }

    /// The key holds another type.
    pub const WRONG_TYPE: Error =
        Error::Reply(Cow::Borrowed("WRONGTYPE Operation against a key holding the wrong kind of value"));
    /// The arguments do not fit together.
    pub const SYNTAX: Error = Error::Reply(Cow::Borrowed("ERR syntax error"));
    /// An argument or a value is no integer of 64 bits.
    pub const NOT_AN_INTEGER: Error = Error::Reply(Cow::Borrowed("ERR value is not an integer or out of range"));
    /// An argument or a value is no float.
    pub const NOT_A_FLOAT: Error = Error::Reply(Cow::Borrowed("ERR value is not a valid float"));
    /// The key is needed and absent.
    pub const NO_SUCH_KEY: Error = Error::Reply(Cow::Borrowed("ERR no such key"));
    /// An index outside of a list.
    pub const OUT_OF_RANGE: Error = Error::Reply(Cow::Borrowed("ERR index out of range"));
    /// A string would become larger than 512 MiB.
    pub const STRING_TOO_LONG: Error =
        Error::Reply(Cow::Borrowed("ERR string exceeds maximum allowed size (proto-max-bulk-len)"));
}

/// The command has the wrong number of arguments.
#[must_use]
pub(crate) fn wrong_arity(name: &str) -> Error {
    Error::reply(format!("ERR wrong number of arguments for '{name}' command"))
}
