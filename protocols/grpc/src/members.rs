//! What the Admin service wants of the cluster, which is not the engine's: given by whoever puts the node together.

use std::pin::Pin;

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

/// A change that is being made; the error says why it was not.
pub type Changing = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// The cluster, to be changed.
pub trait Members: Send + Sync + 'static {
    /// Makes the change, at the leader wherever it is.
    fn change(&self, change: ClusterChange) -> Changing;
}
