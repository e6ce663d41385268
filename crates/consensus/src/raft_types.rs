//! The types openraft is instantiated with, and how entries stand in the log.
//!
//! openraft counts entries from 0, the log and everything outside of this crate from 1: [`to_index`] and [`to_raft`] are the only places
//! where the two meet. There is one leader per term (`leader_id_std`), so a term names its leader's entries and a log id is (term, index).
//!
//! Payload of a record by kind: blank: nothing; normal: 8 bytes `proposed_in` (little endian), then what was proposed; named: the same with
//! 8 bytes of the origin and 8 of the number before what was proposed; membership: see [`crate::membership`].

use std::fmt;
use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::entry::RaftEntry;
use openraft::impls::leader_id_std;
use openraft::{EntryPayload, RaftTypeConfig};
use perigee_log::Record;
use perigee_types::{Hlc, LogIndex, Term};
use serde::{Deserialize, Serialize};

use crate::answer::Answer;
use crate::core_runtime::CoreRuntime;
use crate::fates::ProposalId;
use crate::machine::{CommittedEntry, EntryKind, Outcome};
use crate::membership;
use crate::options::Node;

/// The instance of Raft that this server runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TypeConfig;

impl RaftTypeConfig for TypeConfig {
    type D = Command;
    type R = Reply;
    type NodeId = u64;
    type Node = Node;
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = Payload;
    type Entry = Entry;
    type AsyncRuntime = CoreRuntime;
    type Responder<T>
        = Answer<T>
    where
        T: Send + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(crate) type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub(crate) type LeaderId = openraft::type_config::alias::CommittedLeaderIdOf<TypeConfig>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, Node>;
type Payload = EntryPayload<Command, u64, Node>;

/// Record kinds in the log. Numbers on disk: never reused.
pub(crate) mod kind {
    pub(crate) const BLANK: u8 = 0;
    pub(crate) const NORMAL: u8 = 1;
    pub(crate) const MEMBERSHIP: u8 = 2;
    pub(crate) const NAMED: u8 = 3;
}

/// Bytes in front of what was proposed.
pub(crate) const PREFIX: usize = 8;
/// The same of one that somebody waits for by name.
const PREFIX_NAMED: usize = 24;

/// A proposal as it stands in the log: the term it was evaluated in, its name where it has one, then the payload.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Command {
    bytes: Bytes,
    named: bool,
}

impl Command {
    /// `payload`, evaluated in `term`.
    pub(crate) fn new(term: Term, payload: &[u8]) -> Self {
        let mut bytes = BytesMut::with_capacity(PREFIX + payload.len());
        bytes.put_u64_le(term.0);
        bytes.put_slice(payload);
        Self { bytes: bytes.freeze(), named: false }
    }

    /// The same with a name.
    pub(crate) fn named(term: Term, id: ProposalId, payload: &[u8]) -> Self {
        let mut bytes = BytesMut::with_capacity(PREFIX_NAMED + payload.len());
        bytes.put_u64_le(term.0);
        bytes.put_u64_le(id.origin);
        bytes.put_u64_le(id.number);
        bytes.put_slice(payload);
        Self { bytes: bytes.freeze(), named: true }
    }

    /// Its name.
    pub(crate) fn id(&self) -> Option<ProposalId> {
        let mut bytes = self.bytes.get(PREFIX..PREFIX_NAMED).filter(|_| self.named)?;
        Some(ProposalId { origin: bytes.get_u64_le(), number: bytes.get_u64_le() })
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({} bytes)", self.bytes.len())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

/// What apply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) time: Hlc,
    pub(crate) outcome: Outcome,
}

/// One entry between openraft and the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: LogId,
    /// Zero until the leader's log store gives it one.
    pub(crate) time: Hlc,
    pub(crate) payload: Payload,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, self.payload)
    }
}

impl RaftEntry for Entry {
    type CommittedLeaderId = LeaderId;
    type Payload = Payload;

    fn new(id: LogId, payload: Payload) -> Self {
        Self { id, time: Hlc::default(), payload }
    }

    fn log_id_parts(&self) -> (&LeaderId, u64) {
        (&self.id.leader_id, self.id.index)
    }

    fn set_log_id(&mut self, id: LogId) {
        self.id = id;
    }

    fn get_membership(&self) -> Option<Membership> {
        match &self.payload {
            EntryPayload::Membership(membership) => Some(membership.clone()),
            EntryPayload::Blank | EntryPayload::Normal(_) => None,
        }
    }
}

impl Entry {
    /// Bytes this entry holds in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        let payload = match &self.payload {
            EntryPayload::Normal(command) => command.bytes.len(),
            EntryPayload::Blank => 0,
            EntryPayload::Membership(_) => 1024,
        };
        size_of::<Self>() + payload
    }

    /// The name of what was proposed, where it has one.
    pub(crate) fn proposal(&self) -> Option<ProposalId> {
        match &self.payload {
            EntryPayload::Normal(command) => command.id(),
            EntryPayload::Blank | EntryPayload::Membership(_) => None,
        }
    }

    /// Whether it changes the members.
    pub(crate) fn is_membership(&self) -> bool {
        matches!(self.payload, EntryPayload::Membership(_))
    }

    /// The record that is written; shares the payload.
    pub(crate) fn to_record(&self) -> io::Result<Record> {
        let (kind, payload) = match &self.payload {
            EntryPayload::Blank => (kind::BLANK, Bytes::new()),
            EntryPayload::Normal(command) => {
                (if command.named { kind::NAMED } else { kind::NORMAL }, command.bytes.clone())
            }
            EntryPayload::Membership(members) => (kind::MEMBERSHIP, membership::encode(self.id, members)?.into()),
        };
        Ok(Record { term: term_of(self.id).0, index: to_index(self.id.index).0, time: self.time, kind, payload })
    }

    /// The entry of a stored record.
    pub(crate) fn from_record(record: Record) -> io::Result<Self> {
        let id = log_id(Term(record.term), LogIndex(record.index))?;
        let payload = match record.kind {
            kind::BLANK => EntryPayload::Blank,
            kind::NORMAL => EntryPayload::Normal(Command { bytes: record.payload, named: false }),
            kind::NAMED => EntryPayload::Normal(Command { bytes: record.payload, named: true }),
            kind::MEMBERSHIP => EntryPayload::Membership(membership::decode(&record.payload)?.1),
            other => return Err(damaged(format!("entry {} has the unknown kind {other}", record.index))),
        };
        Ok(Self { id, time: record.time, payload })
    }

    /// What the state machine is given.
    pub(crate) fn into_committed(self) -> io::Result<CommittedEntry> {
        let term = term_of(self.id);
        let index = to_index(self.id.index);
        let (kind, payload, proposed_in) = match self.payload {
            EntryPayload::Blank => (EntryKind::Blank, Bytes::new(), term),
            EntryPayload::Membership(members) => {
                (EntryKind::Membership, membership::encode(self.id, &members)?.into(), term)
            }
            EntryPayload::Normal(Command { bytes, named }) => {
                let length = if named { PREFIX_NAMED } else { PREFIX };
                let Some(prefix) = bytes.first_chunk::<PREFIX>().filter(|_| bytes.len() >= length) else {
                    return Err(damaged(format!("entry {index} is shorter than its prefix")));
                };
                let proposed_in = Term(u64::from_le_bytes(*prefix));
                (EntryKind::Normal, bytes.slice(length..), proposed_in)
            }
        };
        Ok(CommittedEntry { index, term, time: self.time, kind, payload, proposed_in })
    }
}

/// The name of what was proposed, of a stored record, where it has one.
pub(crate) fn name_of(record: &Record) -> Option<ProposalId> {
    let mut name = record.payload.get(PREFIX..PREFIX_NAMED).filter(|_| record.kind == kind::NAMED)?;
    Some(ProposalId { origin: name.get_u64_le(), number: name.get_u64_le() })
}

/// What was proposed, of a stored record; `None` for a record of consensus itself.
///
/// # Errors
/// When the record makes no sense.
pub fn proposed(record: &Record) -> io::Result<Option<Bytes>> {
    let committed = Entry::from_record(record.clone())?.into_committed()?;
    Ok((committed.kind == EntryKind::Normal).then_some(committed.payload))
}

/// openraft's index as ours.
pub(crate) fn to_index(raft: u64) -> LogIndex {
    LogIndex(raft + 1)
}

/// Our index as openraft's; `None` for the place before the first entry.
pub(crate) fn to_raft(index: LogIndex) -> Option<u64> {
    index.0.checked_sub(1)
}

/// The log id of an entry.
pub(crate) fn log_id(term: Term, index: LogIndex) -> io::Result<LogId> {
    let raft = to_raft(index).ok_or_else(|| damaged("an entry has index 0".to_owned()))?;
    Ok(LogId::new(LeaderId::new(term.0), raft))
}

/// The term of a log id.
pub(crate) fn term_of(id: LogId) -> Term {
    Term(*id.leader_id)
}

/// An error for stored bytes that make no sense.
pub(crate) fn damaged(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
