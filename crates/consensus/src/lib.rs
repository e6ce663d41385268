//! Consensus: entries go into one replicated log and come out committed, in the same order everywhere.
//!
//! This crate knows entries, not what they mean: what an entry does is behind [`StateMachine`], the bytes on disk are behind `perigee-log`.
//! Raft itself is openraft; nothing of openraft is visible outside of this crate.
//!
//! ```text
//!   propose() --> core (openraft) --> log writer: one frame, one fdatasync for all that waits
//!       ^            |     ^              |
//!       |            |     +-- flushed ---+
//!       |            v committed
//!       +---------- apply (StateMachine)
//! ```
//!
//! - [`Consensus`]: the handle; propose, who leads, what is synced, checkpoints, shutdown
//! - [`StateMachine`]: what the applying side implements
//! - [`ConsensusOptions`]: times, durability, limits
//! - [`Transport`]: how other members are reached; [`PeerService`]: what they ask of this one
//! - [`Snapshots`]: the state machine's checkpoints, for a member whose log ends before the leader's begins
//!
//! A single node runs the same path with one voter. Positions: openraft counts entries from 0, everything outside of this crate from 1
//! (zero stands before the first entry), see `raft_types`.

mod answer;
mod apply;
mod consensus;
mod core_runtime;
mod error;
mod fates;
mod forward;
mod housekeeping;
mod leadership;
mod log_store;
mod machine;
mod members;
mod membership;
mod metrics;
mod network;
mod options;
mod pace;
mod peer;
mod promises;
mod raft_types;
mod recent;
mod recover;
mod snapshot;
mod start;
mod transport;
mod wire;
mod writer;

#[cfg(test)]
mod tests;

// A simulation repeats from its seed.
#[cfg(test)]
use tests::watch;
#[cfg(not(test))]
use tokio::sync::watch;

pub use answer::Proposal;
pub use consensus::Consensus;
pub use error::{ConsensusError, MachineError, ProposeError};
pub use fates::{Expected, Fate, ProposalId};
pub use machine::{Applied, Committed, CommittedEntry, EntryKind, Outcome, StateMachine};
pub use members::{ClusterParts, Member, MembershipError, ReadIndexError};
pub use metrics::ConsensusMetrics;
pub use options::{ConsensusOptions, Durability, Node};
pub use peer::{PeerError, PeerService};
pub use raft_types::proposed;
pub use recover::{ForceRecovered, force_recover};
pub use snapshot::{SnapshotPosition, SnapshotReader, SnapshotWriter, Snapshots, adopt};
pub use transport::{Call, Lane, Link, LinkError, Transport};
