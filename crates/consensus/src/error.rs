//! What goes wrong, split by what a caller can do about it.

use std::io;

use perigee_log::LogError;
use perigee_types::LogIndex;

/// Why a node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusError {
    /// The options contradict each other or the stored state.
    #[error("{0}")]
    Options(String),
    /// The log ends before what the state machine holds: the log was cut or belongs to another data directory.
    #[error("the log ends at {last}, before the checkpoint at {applied}")]
    LogBehind {
        /// Last index of the log.
        last: LogIndex,
        /// What the state machine holds.
        applied: LogIndex,
    },
    /// The log begins behind what the state machine needs next.
    #[error("the log begins at {first}, but the checkpoint at {applied} needs the entry behind it")]
    LogGap {
        /// First index the log still has.
        first: LogIndex,
        /// What the state machine holds.
        applied: LogIndex,
    },
    /// The state machine and the log hold different entries at the same index.
    #[error("checkpoint and log disagree at index {index}: term {checkpoint} against {log}")]
    Diverged {
        /// The index.
        index: LogIndex,
        /// Term according to the checkpoint.
        checkpoint: u64,
        /// Term according to the log.
        log: u64,
    },
    /// The log could not be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// An entry or fact on disk does not decode.
    #[error("stored {what} is damaged: {reason}")]
    Damaged {
        /// What was read.
        what: &'static str,
        /// Why it does not decode.
        reason: String,
    },
    /// The state machine failed while the log was replayed.
    #[error("apply failed at {index}: {error}")]
    Apply {
        /// The entry that failed.
        index: LogIndex,
        /// What the state machine said.
        error: MachineError,
    },
    /// The runtime of the consensus threads could not be made.
    #[error("cannot start the consensus threads: {0}")]
    Threads(#[source] io::Error),
    /// Raft stopped while it started.
    #[error("consensus stopped while starting: {0}")]
    Stopped(String),
}

/// Why a proposal has no result.
///
/// Only [`Unknown`](Self::Unknown) leaves open whether the entry takes effect; every other variant means that it never will.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This node does not lead, or not in the term of the proposal. Nothing was written.
    #[error("not the leader of this term")]
    NotLeader,
    /// The node has stopped. Nothing was written.
    #[error("consensus has stopped")]
    Stopped,
    /// The entry was handed to the log and its fate is not known here (SQLSTATE 08007). Never to be retried blindly.
    #[error("the outcome of the proposal is not known")]
    Unknown,
    /// The payload is above the limit of an entry. Nothing was written.
    #[error("an entry of {bytes} bytes is above the limit of {max}")]
    TooLarge {
        /// Size of the payload.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Too much is in flight. Nothing was written; the caller may try again.
    #[error("too many proposals are in flight")]
    Busy,
    /// The log cannot be written. Nothing was written for this proposal.
    #[error("the log cannot be written: {0}")]
    Storage(String),
}

/// A failure of the state machine. It is never a result: the node stops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MachineError(pub String);
