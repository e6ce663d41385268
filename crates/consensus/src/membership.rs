//! How the members of the cluster stand in the log and in checkpoints.
//!
//! A version byte, then JSON: membership entries are rare, and one that a human can read has helped before. The entry's own log id is
//! inside, so that a checkpoint needs to keep the payload only.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use perigee_types::{LogIndex, Term};
use serde::{Deserialize, Serialize};

use crate::options::Node;
use crate::raft_types::{LogId, Membership, StoredMembership, damaged, log_id, term_of, to_index};

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    term: Term,
    index: LogIndex,
    /// One set of voters; two while the voters change.
    voters: Vec<BTreeSet<u64>>,
    /// Voters and learners.
    nodes: BTreeMap<u64, Node>,
}

/// The payload of the membership entry `id`.
pub(crate) fn encode(id: LogId, membership: &Membership) -> io::Result<Vec<u8>> {
    let stored = Stored {
        term: term_of(id),
        index: to_index(id.index),
        voters: membership.get_joint_config().clone(),
        nodes: membership.nodes().map(|(id, node)| (*id, node.clone())).collect(),
    };
    let mut bytes = vec![VERSION];
    serde_json::to_writer(&mut bytes, &stored)?;
    Ok(bytes)
}

/// The entry's id and the members.
pub(crate) fn decode(bytes: &[u8]) -> io::Result<(LogId, Membership)> {
    let Some((&VERSION, json)) = bytes.split_first() else {
        return Err(damaged("unknown version of a membership entry".to_owned()));
    };
    let stored: Stored = serde_json::from_slice(json)?;
    let membership =
        Membership::new(stored.voters, stored.nodes).map_err(|e| damaged(format!("impossible membership: {e}")))?;
    Ok((log_id(stored.term, stored.index)?, membership))
}

/// The membership of a checkpoint.
pub(crate) fn stored(bytes: Option<&[u8]>) -> io::Result<StoredMembership> {
    match bytes {
        None => Ok(StoredMembership::default()),
        Some(bytes) => {
            let (id, membership) = decode(bytes)?;
            Ok(StoredMembership::new(Some(id), membership))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_survive_a_round_trip() {
        let node = |name: &str| Node { name: name.into(), incarnation: u128::MAX, address: "10.0.0.1:7000".into() };
        let members = Membership::new(
            vec![BTreeSet::from([1, u64::MAX])],
            BTreeMap::from([(1, node("a")), (u64::MAX, node("b")), (3, node("learner"))]),
        )
        .unwrap();
        let id = log_id(Term(4), LogIndex(9)).unwrap();
        let bytes = encode(id, &members).unwrap();
        assert_eq!(decode(&bytes).unwrap(), (id, members));
    }

    #[test]
    fn damage_is_an_error() {
        for bytes in [&b""[..], b"\x01", b"\x02{}", b"\x01{\"term\":1}"] {
            assert!(decode(bytes).is_err());
        }
    }
}
