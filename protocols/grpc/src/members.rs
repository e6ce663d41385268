//! What the Admin service wants of the cluster, which is not the engine's: given by whoever puts the node together.

use std::pin::Pin;
use std::time::Duration;

use perigee_engine::compare::Comparison;

/// A change of who is a member, or of who leads. Names are those of `--peers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterChange {
    /// Lets the node that waits at an address learn.
    Add {
        /// Its name.
        name: String,
        /// Where other members reach it, `HOST:PORT`.
        address: String,
    },
    /// Removes a member.
    Remove(String),
    /// Lets a learner vote.
    Promote(String),
    /// Takes a voter's vote.
    Demote(String),
    /// Lets a voter lead.
    Transfer(String),
}

/// How a member was when it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberHealth {
    /// The version of its program.
    pub version: String,
    /// Whether it leads.
    pub leads: bool,
    /// Its term.
    pub term: u64,
    /// The last entry that it knows to be committed.
    pub committed: u64,
    /// The last entry that it has applied.
    pub applied: u64,
}

/// A member that was asked how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PingedMember {
    /// Its name.
    pub name: String,
    /// Where members reach it.
    pub address: String,
    /// Whether it votes.
    pub voter: bool,
    /// How it is and how long its answer took, or why there is none.
    pub answer: Result<(MemberHealth, Duration), String>,
}

/// What takes a while; an error is in words.
pub type Asking<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The cluster, to be changed.
pub trait Members: Send + Sync + 'static {
    /// Makes the change, at the leader wherever it is.
    fn change(&self, change: ClusterChange) -> Asking<Result<(), String>>;

    /// Asks all members how they are, this one too.
    fn ping(&self) -> Asking<Vec<PingedMember>>;

    /// Compares what all members hold at one entry, by the leader wherever it is.
    fn compare(&self) -> Asking<Result<Comparison, String>>;
}
