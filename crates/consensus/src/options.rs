//! Settings of a node.

use std::fmt;
use std::time::Duration;

use perigee_types::LogIndex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ConsensusError;

/// When a proposal is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After fdatasync. The only one with more than one voter.
    Fsync,
    /// After the write; the log is synced at this interval. What was answered within the last interval may be lost with the power.
    Interval(Duration),
}

/// A member: a name and the incarnation of its data directory.
///
/// An empty or replaced disk is a new incarnation and so another member, which has no vote until it is added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Name given by the operator.
    pub name: String,
    /// Random number made with the data directory.
    #[serde(with = "incarnation")]
    pub incarnation: u128,
    /// Where other members reach it; empty when it listens to nobody.
    pub address: String,
}

impl Node {
    /// The id of this member in votes: the first eight bytes of SHA-256 over incarnation and name.
    #[must_use]
    pub fn id(&self) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.incarnation.to_le_bytes());
        hash.update(self.name.as_bytes());
        let digest = hash.finalize();
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        u64::from_le_bytes(id)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{:x}", self.name, self.incarnation)
    }
}

/// As hexadecimal text: JSON numbers end at 64 bits.
mod incarnation {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(incarnation: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{incarnation:032x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}

/// Settings of a node's consensus.
#[derive(Clone, Debug)]
pub struct ConsensusOptions {
    /// This member.
    pub node: Node,
    /// The cluster; in log segments and handshakes.
    pub cluster_id: u128,
    /// When proposals are answered.
    pub durability: Durability,
    /// `Recovery::committed` of the log: up to here the log is replayed before the node takes part. Zero is always safe.
    pub committed: LogIndex,
    /// How often a leader speaks.
    pub heartbeat: Duration,
    /// Shortest wait for a leader before an election.
    pub election_min: Duration,
    /// Longest random wait; also the leader's lease.
    pub election_max: Duration,
    /// Limit of one payload.
    pub entry_bytes_max: usize,
    /// Payload bytes proposed and not yet answered, above which proposals are refused with `Busy`.
    pub in_flight_bytes_max: usize,
    /// Bytes of recent entries kept in memory for apply and replication.
    pub recent_bytes_max: usize,
    /// Entries kept in the log behind the last checkpoint.
    pub keep_entries: u64,
    /// Bytes of the log, about, kept for who follows it, also behind checkpoints.
    pub keep_bytes: u64,
    /// Bytes of the log, about, that are kept at most until they are archived: see [`crate::Consensus::archived`]. 0 where
    /// there is no archive.
    pub unarchived_bytes: u64,
    /// Worker threads of core and apply; 0 runs them on the caller's tokio runtime (simulation).
    pub threads: usize,
    /// Bytes of a snapshot sent to one member in a second, packed; 0 sends as fast as it goes.
    pub snapshot_bytes_per_second: u64,
}

impl ConsensusOptions {
    /// The defaults for `node`.
    #[must_use]
    pub fn new(node: Node, cluster_id: u128) -> Self {
        Self {
            node,
            cluster_id,
            durability: Durability::Fsync,
            committed: LogIndex(0),
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(150),
            election_max: Duration::from_millis(300),
            entry_bytes_max: (1 << 20) + (64 << 10),
            in_flight_bytes_max: 256 << 20,
            recent_bytes_max: 16 << 20,
            keep_entries: 10_000,
            keep_bytes: 0,
            unarchived_bytes: 0,
            threads: 2,
            snapshot_bytes_per_second: 64 << 20,
        }
    }

    /// Checks what can be checked without the stored state.
    pub(crate) fn check(&self) -> Result<(), ConsensusError> {
        let wrong = |text: &str| Err(ConsensusError::Options(text.to_owned()));
        if self.node.name.is_empty() {
            return wrong("the node has no name");
        }
        if let Durability::Interval(interval) = self.durability
            && interval.is_zero()
        {
            return wrong("the durability interval is zero");
        }
        if self.heartbeat.is_zero() || self.heartbeat >= self.election_min {
            return wrong("the heartbeat must be shorter than the shortest election time-out");
        }
        if self.election_min >= self.election_max {
            return wrong("the shortest election time-out must be below the longest");
        }
        if self.entry_bytes_max == 0 || self.in_flight_bytes_max < self.entry_bytes_max {
            return wrong("the bytes in flight must hold at least one entry");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, incarnation: u128) -> Node {
        Node { name: name.into(), incarnation, address: String::new() }
    }

    #[test]
    fn another_disk_is_another_member() {
        assert_eq!(node("a", 1).id(), node("a", 1).id());
        assert_ne!(node("a", 1).id(), node("a", 2).id());
        assert_ne!(node("a", 1).id(), node("b", 1).id());
    }

    #[test]
    fn contradictions_are_refused() {
        let good = ConsensusOptions::new(node("a", 1), 7);
        assert!(good.check().is_ok());
        let refused: [fn(&mut ConsensusOptions); 4] = [
            |o| o.node.name.clear(),
            |o| o.durability = Durability::Interval(Duration::ZERO),
            |o| o.heartbeat = o.election_min,
            |o| o.in_flight_bytes_max = 1,
        ];
        for change in refused {
            let mut options = good.clone();
            change(&mut options);
            assert!(matches!(options.check(), Err(ConsensusError::Options(_))));
        }
    }
}
