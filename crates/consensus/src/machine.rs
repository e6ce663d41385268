//! What the applying side implements, and what it is given.

use bytes::Bytes;
use perigee_types::{Hlc, LogIndex, Term};
use serde::{Deserialize, Serialize};

use crate::MachineError;

/// The state that is a pure function of the log.
///
/// Runs on one thread, in log order, without gaps: the first entry handed over is the one behind [`applied`](Self::applied).
pub trait StateMachine: Send + 'static {
    /// What the restored checkpoint holds. Asked once, before the first [`apply`](Self::apply).
    fn applied(&self) -> Applied;

    /// Time of the last entry that it holds, from a checkpoint or applied; zero when there was none. The log may be empty behind
    /// a checkpoint, and what this node writes as a leader must come behind all that was committed.
    fn time(&self) -> Hlc;

    /// Takes one committed entry.
    ///
    /// An entry that [`CommittedEntry::is_fenced`] must move the position and change nothing else, and be answered with
    /// [`Outcome::Fenced`].
    ///
    /// # Errors
    /// Only for local failures (damage, memory). The node stops and no proposal of the batch is answered.
    fn apply(&mut self, entry: CommittedEntry) -> Result<Outcome, MachineError>;

    /// End of a batch: publishes the position. Proposers are answered behind it, so that they read what they wrote.
    fn flush(&mut self);
}

/// Position of a state machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Last applied index; zero when nothing was applied.
    pub index: LogIndex,
    /// Term of that entry.
    pub term: Term,
    /// Payload of the last applied entry of kind [`EntryKind::Membership`], as it was given to `apply`.
    pub membership: Option<Vec<u8>>,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// First entry of a term; empty.
    Blank,
    /// A proposal.
    Normal,
    /// The members of the cluster; the state machine keeps the payload for [`Applied::membership`].
    Membership,
}

/// A committed entry.
#[derive(Clone, Debug)]
pub struct CommittedEntry {
    /// Its position.
    pub index: LogIndex,
    /// Term of the leader that wrote it.
    pub term: Term,
    /// Its time; never runs back along the log.
    pub time: Hlc,
    /// What it is.
    pub kind: EntryKind,
    /// What was proposed; empty for a blank.
    pub payload: Bytes,
    /// Term in which the proposer evaluated it; the entry's own term for what was not proposed.
    pub proposed_in: Term,
}

impl CommittedEntry {
    /// Whether the leader changed between evaluation and log: such an entry has no effect.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.term != self.proposed_in
    }
}

/// What an entry did, the same on every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It took effect.
    Applied,
    /// It had no effect: its term was over.
    Fenced,
    /// It had no effect: what it depended on had changed.
    Rejected,
}

/// The result of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Where the entry stands.
    pub index: LogIndex,
    /// Its time.
    pub time: Hlc,
    /// What it did.
    pub outcome: Outcome,
}
