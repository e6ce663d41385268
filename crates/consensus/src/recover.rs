//! Going on without a majority: the last resort when most voters are gone for good.
//!
//! A new incarnation of this node becomes the only voter, by an entry behind the end of its log. So whatever of the old members
//! comes back finds nobody that it knows here, and what they had acknowledged behind that end is lost.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use perigee_log::{Log, Meta, Record};
use perigee_types::{Hlc, LogIndex, Term};

use crate::ConsensusError;
use crate::log_store::{decode_vote, encode_vote};
use crate::machine::Applied;
use crate::membership;
use crate::options::Node;
use crate::raft_types::{Membership, Vote, kind, log_id};

/// What was left behind.
#[derive(Clone, Debug)]
pub struct ForceRecovered {
    /// Where this node's log ended: what others had acknowledged behind it is lost.
    pub last: LogIndex,
    /// The term of that entry.
    pub term: Term,
    /// The entry that makes this node the only voter.
    pub marked: LogIndex,
    /// The members that were, this node's old incarnation among them.
    pub members: Vec<Node>,
}

/// Makes `node`, a new incarnation, the only voter over what this log holds, behind a checkpoint (`restored`, and the time of
/// its last entry). Before consensus starts, on a log that nobody uses.
/// May be repeated when a crash came in between.
///
/// # Errors
/// When this log was never a cluster's, or cannot be read or written.
pub fn force_recover(
    log: &Log,
    meta: &Meta,
    restored: &Applied,
    restored_time: Hlc,
    node: &Node,
) -> Result<ForceRecovered, ConsensusError> {
    let damaged = |what| move |error: std::io::Error| ConsensusError::Damaged { what, reason: error.to_string() };
    let (term, index) = log.last().or(log.last_purged()).unwrap_or_default();
    let mut time = restored_time;
    let mut members = restored.membership.clone();
    // The last entry also where a checkpoint has it: its time must not run back.
    let mut next = log.first_index().max(index.min(restored.index.0 + 1));
    while next <= index {
        let records = log.read(next, index + 1, READ_BYTES)?;
        let Some(last) = records.last() else {
            return Err(ConsensusError::Damaged { what: "log", reason: format!("entry {next} is missing") });
        };
        next = last.index + 1;
        time = last.time.max(time);
        for record in records {
            if record.kind == kind::MEMBERSHIP {
                members = Some(record.payload.to_vec());
            }
        }
    }
    let members = membership::stored(members.as_deref()).map_err(damaged("members"))?;
    let members: Vec<Node> = members.membership().nodes().map(|(_, node)| node.clone()).collect();
    if members.is_empty() {
        return Err(ConsensusError::Options("this node has never been a member of a cluster".to_owned()));
    }
    let voted = meta.vote().map(|bytes| decode_vote(&bytes)).transpose().map_err(damaged("vote"))?;
    let new_term = Term(voted.map_or(0, |vote| vote.leader_id.term).max(term) + 1);
    let marked = LogIndex(index + 1);
    let id = log_id(new_term, marked).map_err(damaged("position of the log"))?;
    let alone = Membership::new(vec![BTreeSet::from([node.id()])], BTreeMap::from([(node.id(), node.clone())]));
    let alone = alone.map_err(|error| ConsensusError::Options(error.to_string()))?;
    let payload = Bytes::from(membership::encode(id, &alone).map_err(damaged("members"))?);
    // The vote first: it is never below what stands in the log.
    meta.save_vote(&encode_vote(&Vote::new(new_term.0, node.id())))?;
    let record = Record { term: new_term.0, index: marked.0, time, kind: kind::MEMBERSHIP, payload };
    log.append(&[record], 0)?;
    log.sync()?;
    Ok(ForceRecovered { last: LogIndex(index), term: Term(term), marked, members })
}

/// Bytes of the log that are looked through at once.
const READ_BYTES: usize = 4 << 20;
