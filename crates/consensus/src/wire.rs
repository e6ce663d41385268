//! Messages between members as bytes, little endian. Their version is the transport's protocol version.
//!
//! ```text
//! vote        committed u8, term u64, node u64
//! log id      0, or 1 + term u64 + index u64           (openraft's index, from 0)
//! append      vote, previous log id, committed log id, count u32, entries; then nothing, or what is traced of them
//! entry       term u64, index u64, time u64, kind u8, length u32, payload: a record as it stands in the log
//! traced      count u32, then of each the name of the proposal (origin u64, number u64), trace u128, step u64
//! ```
//!
//! Entries travel as the records that the log holds, so that every member writes the same bytes and has the same chain.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use perigee_log::Record;
use perigee_telemetry::trace::{self, Parent};
use perigee_types::{Hlc, LogIndex, Term};

use crate::machine::Applied;
use crate::raft_types::{Entry, LeaderId, LogId, TypeConfig, Vote, damaged};
use crate::snapshot::SnapshotPosition;

/// Reads fields off the front of a message.
pub(crate) struct In(pub(crate) Bytes);

fn short() -> io::Error {
    damaged("a message of another member ends early".to_owned())
}

impl In {
    fn need(&self, bytes: usize) -> io::Result<()> {
        if self.0.len() < bytes { Err(short()) } else { Ok(()) }
    }

    pub(crate) fn u8(&mut self) -> io::Result<u8> {
        self.need(1)?;
        Ok(self.0.get_u8())
    }

    pub(crate) fn u32(&mut self) -> io::Result<u32> {
        self.need(4)?;
        Ok(self.0.get_u32_le())
    }

    pub(crate) fn u64(&mut self) -> io::Result<u64> {
        self.need(8)?;
        Ok(self.0.get_u64_le())
    }

    pub(crate) fn u128(&mut self) -> io::Result<u128> {
        self.need(16)?;
        Ok(self.0.get_u128_le())
    }

    fn flag(&mut self) -> io::Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(damaged(format!("a flag in a message of another member is {other}"))),
        }
    }

    /// Bytes behind their length.
    pub(crate) fn bytes(&mut self) -> io::Result<Bytes> {
        let length = self.u32()? as usize;
        self.need(length)?;
        Ok(self.0.split_to(length))
    }

    pub(crate) fn vote(&mut self) -> io::Result<Vote> {
        let (committed, term, node) = (self.flag()?, self.u64()?, self.u64()?);
        Ok(if committed { Vote::new_committed(term, node) } else { Vote::new(term, node) })
    }

    fn log_id(&mut self) -> io::Result<Option<LogId>> {
        if !self.flag()? {
            return Ok(None);
        }
        let (term, index) = (self.u64()?, self.u64()?);
        if index == u64::MAX {
            return Err(damaged("a position in a message of another member has none behind it".to_owned()));
        }
        Ok(Some(LogId::new(LeaderId::new(term), index)))
    }

    fn entry(&mut self) -> io::Result<Entry> {
        let (term, index, time, kind) = (self.u64()?, self.u64()?, self.u64()?, self.u8()?);
        Entry::from_record(Record { term, index, time: Hlc(time), kind, payload: self.bytes()? })
    }

    pub(crate) fn end<T>(&self, message: T) -> io::Result<T> {
        if self.0.is_empty() {
            return Ok(message);
        }
        Err(damaged("a message of another member is longer than what it says".to_owned()))
    }
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| damaged("a field is above 4 GiB".to_owned()))?;
    out.put_u32_le(length);
    out.put_slice(bytes);
    Ok(())
}

fn put_vote(out: &mut BytesMut, vote: &Vote) {
    out.put_u8(u8::from(vote.committed));
    out.put_u64_le(vote.leader_id.term);
    out.put_u64_le(vote.leader_id.voted_for);
}

fn put_log_id(out: &mut BytesMut, id: Option<LogId>) {
    match id {
        None => out.put_u8(0),
        Some(id) => {
            out.put_u8(1);
            out.put_u64_le(*id.leader_id);
            out.put_u64_le(id.index);
        }
    }
}

pub(crate) fn encode_append(request: &AppendEntriesRequest<TypeConfig>) -> io::Result<Bytes> {
    let payloads: usize = request.entries.iter().map(Entry::bytes).sum();
    let mut out = BytesMut::with_capacity(64 + payloads);
    put_vote(&mut out, &request.vote);
    put_log_id(&mut out, request.prev_log_id);
    put_log_id(&mut out, request.leader_commit);
    out.put_u32_le(request.entries.len() as u32);
    for entry in &request.entries {
        let record = entry.to_record()?;
        out.put_u64_le(record.term);
        out.put_u64_le(record.index);
        out.put_u64_le(record.time.0);
        out.put_u8(record.kind);
        put_bytes(&mut out, &record.payload)?;
    }
    put_traced(&mut out, &request.entries);
    Ok(out.freeze())
}

/// Which of the entries belong to traces, where any does: the others tell the same traces of them.
fn put_traced(out: &mut BytesMut, entries: &[Entry]) {
    let named = entries.iter().filter_map(Entry::proposal);
    let traced: Vec<_> =
        named.filter_map(|name| Some((name, trace::entry((name.origin, name.number))?.parent))).collect();
    if traced.is_empty() {
        return;
    }
    out.put_u32_le(traced.len() as u32);
    for (name, parent) in traced {
        out.put_u64_le(name.origin);
        out.put_u64_le(name.number);
        out.put_u128_le(parent.trace);
        out.put_u64_le(parent.span);
    }
}

pub(crate) fn decode_append(bytes: Bytes) -> io::Result<AppendEntriesRequest<TypeConfig>> {
    let mut fields = In(bytes);
    let (vote, prev_log_id, leader_commit) = (fields.vote()?, fields.log_id()?, fields.log_id()?);
    let count = fields.u32()? as usize;
    let mut entries: Vec<Entry> = Vec::with_capacity(count.min(1024));
    // Behind nothing comes the very first: a leader whose log was cut meanwhile must not make a hole of what it has no more.
    let mut next = prev_log_id.map_or(0, |id| id.index + 1);
    for _ in 0..count {
        let entry = fields.entry()?;
        if entry.id.index != next {
            return Err(damaged("the entries of an append do not follow each other".to_owned()));
        }
        next += 1;
        entries.push(entry);
    }
    if !fields.0.is_empty() {
        let received_nanos = Some(trace::now());
        for _ in 0..fields.u32()? {
            let name = (fields.u64()?, fields.u64()?);
            let parent = Parent { trace: fields.u128()?, span: fields.u64()? };
            trace::note_entry(name, trace::Entry { parent, received_nanos });
        }
    }
    fields.end(AppendEntriesRequest { vote, prev_log_id, leader_commit, entries })
}

const SUCCESS: u8 = 0;
const CONFLICT: u8 = 1;
const HIGHER_VOTE: u8 = 2;
const PARTIAL: u8 = 3;

pub(crate) fn encode_stream_result(result: &StreamAppendResult<TypeConfig>) -> Bytes {
    let mut out = BytesMut::with_capacity(32);
    match result {
        Ok(id) => {
            out.put_u8(SUCCESS);
            put_log_id(&mut out, *id);
        }
        Err(StreamAppendError::Conflict(id)) => {
            out.put_u8(CONFLICT);
            put_log_id(&mut out, Some(*id));
        }
        Err(StreamAppendError::HigherVote(vote)) => {
            out.put_u8(HIGHER_VOTE);
            put_vote(&mut out, vote);
        }
    }
    out.freeze()
}

pub(crate) fn decode_stream_result(bytes: Bytes) -> io::Result<StreamAppendResult<TypeConfig>> {
    let mut fields = In(bytes);
    let result = match fields.u8()? {
        SUCCESS => Ok(fields.log_id()?),
        CONFLICT => Err(StreamAppendError::Conflict(fields.log_id()?.ok_or_else(short)?)),
        HIGHER_VOTE => Err(StreamAppendError::HigherVote(fields.vote()?)),
        other => return Err(damaged(format!("unknown result {other} of an append"))),
    };
    fields.end(result)
}

pub(crate) fn encode_append_response(response: &AppendEntriesResponse<TypeConfig>) -> Bytes {
    let mut out = BytesMut::with_capacity(32);
    match response {
        AppendEntriesResponse::Success => out.put_u8(SUCCESS),
        AppendEntriesResponse::PartialSuccess(id) => {
            out.put_u8(PARTIAL);
            put_log_id(&mut out, *id);
        }
        AppendEntriesResponse::Conflict => out.put_u8(CONFLICT),
        AppendEntriesResponse::HigherVote(vote) => {
            out.put_u8(HIGHER_VOTE);
            put_vote(&mut out, vote);
        }
    }
    out.freeze()
}

pub(crate) fn decode_append_response(bytes: Bytes) -> io::Result<AppendEntriesResponse<TypeConfig>> {
    let mut fields = In(bytes);
    let response = match fields.u8()? {
        SUCCESS => AppendEntriesResponse::Success,
        PARTIAL => AppendEntriesResponse::PartialSuccess(fields.log_id()?),
        CONFLICT => AppendEntriesResponse::Conflict,
        HIGHER_VOTE => AppendEntriesResponse::HigherVote(fields.vote()?),
        other => return Err(damaged(format!("unknown result {other} of an append"))),
    };
    fields.end(response)
}

pub(crate) fn encode_vote_request(request: &VoteRequest<TypeConfig>) -> Bytes {
    let mut out = BytesMut::with_capacity(40);
    put_vote(&mut out, &request.vote);
    put_log_id(&mut out, request.last_log_id);
    out.put_u8(u8::from(request.leadership_transfer));
    out.freeze()
}

pub(crate) fn decode_vote_request(bytes: Bytes) -> io::Result<VoteRequest<TypeConfig>> {
    let mut fields = In(bytes);
    let request =
        VoteRequest { vote: fields.vote()?, last_log_id: fields.log_id()?, leadership_transfer: fields.flag()? };
    fields.end(request)
}

pub(crate) fn encode_vote_response(response: &VoteResponse<TypeConfig>) -> Bytes {
    let mut out = BytesMut::with_capacity(40);
    put_vote(&mut out, &response.vote);
    put_log_id(&mut out, response.last_log_id);
    out.put_u8(u8::from(response.vote_granted));
    out.freeze()
}

pub(crate) fn decode_vote_response(bytes: Bytes) -> io::Result<VoteResponse<TypeConfig>> {
    let mut fields = In(bytes);
    let (vote, last_log_id, vote_granted) = (fields.vote()?, fields.log_id()?, fields.flag()?);
    fields.end(VoteResponse { vote, vote_granted, last_log_id })
}

pub(crate) fn encode_transfer(request: &TransferLeaderRequest<TypeConfig>) -> Bytes {
    let mut out = BytesMut::with_capacity(48);
    put_vote(&mut out, request.from_leader());
    out.put_u64_le(*request.to_node_id());
    put_log_id(&mut out, request.last_log_id().copied());
    out.freeze()
}

pub(crate) fn decode_transfer(bytes: Bytes) -> io::Result<TransferLeaderRequest<TypeConfig>> {
    let mut fields = In(bytes);
    let (vote, to, last) = (fields.vote()?, fields.u64()?, fields.log_id()?);
    fields.end(TransferLeaderRequest::new(vote, to, last))
}

/// The beginning of a snapshot: who sends it, its number, and what it holds.
pub(crate) fn encode_snapshot_begin(vote: &Vote, id: u128, position: &SnapshotPosition) -> io::Result<Bytes> {
    let mut out = BytesMut::with_capacity(256);
    put_vote(&mut out, vote);
    out.put_u128_le(id);
    out.put_u64_le(position.applied.term.0);
    out.put_u64_le(position.applied.index.0);
    out.put_slice(&position.chain_hash);
    put_bytes(&mut out, position.applied.membership.as_deref().unwrap_or_default())?;
    Ok(out.freeze())
}

pub(crate) fn decode_snapshot_begin(bytes: Bytes) -> io::Result<(Vote, u128, SnapshotPosition)> {
    let mut fields = In(bytes);
    let (vote, id, term, index) = (fields.vote()?, fields.u128()?, fields.u64()?, fields.u64()?);
    fields.need(32)?;
    let mut chain_hash = [0; 32];
    fields.0.copy_to_slice(&mut chain_hash);
    let membership = fields.bytes()?;
    let membership = (!membership.is_empty()).then(|| membership.to_vec());
    let applied = Applied { index: LogIndex(index), term: Term(term), membership };
    fields.end((vote, id, SnapshotPosition { applied, chain_hash }))
}

/// A piece of a snapshot, or with no bytes its end.
pub(crate) fn encode_snapshot_piece(vote: &Vote, id: u128, number: u64, bytes: &[u8]) -> io::Result<Bytes> {
    let mut out = BytesMut::with_capacity(64 + bytes.len());
    put_vote(&mut out, vote);
    out.put_u128_le(id);
    out.put_u64_le(number);
    put_bytes(&mut out, bytes)?;
    Ok(out.freeze())
}

pub(crate) fn decode_snapshot_piece(bytes: Bytes) -> io::Result<(Vote, u128, u64, Bytes)> {
    let mut fields = In(bytes);
    let piece = (fields.vote()?, fields.u128()?, fields.u64()?, fields.bytes()?);
    fields.end(piece)
}

/// What the receiver of a snapshot says: its vote, and the piece that it wants next.
pub(crate) fn encode_snapshot_answer(vote: &Vote, next: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(32);
    put_vote(&mut out, vote);
    out.put_u64_le(next);
    out.freeze()
}

pub(crate) fn decode_snapshot_answer(bytes: Bytes) -> io::Result<(Vote, u64)> {
    let mut fields = In(bytes);
    let answer = (fields.vote()?, fields.u64()?);
    fields.end(answer)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use openraft::entry::RaftEntry;

    use super::*;
    use crate::fates::ProposalId;
    use crate::options::Node;
    use crate::raft_types::{Command, Membership, log_id};

    fn id(term: u64, index: u64) -> LogId {
        log_id(Term(term), LogIndex(index)).unwrap()
    }

    fn append() -> AppendEntriesRequest<TypeConfig> {
        let node = Node { name: "a".into(), incarnation: 7, address: "127.0.0.1:7000".into() };
        let members = Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, node)])).unwrap();
        let mut entries = vec![
            Entry::new_blank(id(3, 8)),
            Entry::new_normal(id(3, 9), Command::new(Term(3), b"payload")),
            Entry::new_membership(id(3, 10), members),
        ];
        for (entry, time) in entries.iter_mut().zip(1..) {
            entry.time = Hlc(time);
        }
        AppendEntriesRequest {
            vote: Vote::new_committed(3, u64::MAX),
            prev_log_id: Some(id(2, 7)),
            leader_commit: None,
            entries,
        }
    }

    #[test]
    fn an_append_survives_a_round_trip() {
        let request = append();
        let decoded = decode_append(encode_append(&request).unwrap()).unwrap();
        assert_eq!(decoded.vote, request.vote);
        assert_eq!(decoded.prev_log_id, request.prev_log_id);
        assert_eq!(decoded.leader_commit, request.leader_commit);
        assert_eq!(decoded.entries, request.entries);
    }

    #[test]
    fn an_append_says_which_entries_are_traced() {
        let plain = encode_append(&append()).unwrap();
        trace::enable(1);
        let name = ProposalId { origin: 1 << 60, number: 3 };
        let mut request = append();
        request.entries.push(Entry::new_normal(id(3, 11), Command::named(Term(3), name, b"payload")));
        let untraced = encode_append(&request).unwrap();
        let parent = Parent { trace: 5, span: 6 };
        trace::note_entry((name.origin, name.number), trace::Entry { parent, received_nanos: None });
        assert_eq!(encode_append(&append()).unwrap(), plain);
        let traced = encode_append(&request).unwrap();
        assert_eq!((&traced[..untraced.len()], traced.len()), (&untraced[..], untraced.len() + 44));
        // As the member that gets it.
        let decoded = decode_append(traced.clone()).unwrap();
        assert_eq!(decoded.entries, request.entries);
        let known = trace::entry((name.origin, name.number)).unwrap();
        assert!(known.parent == parent && known.received_nanos.is_some(), "{known:?}");
        for end in untraced.len() + 1..traced.len() {
            assert!(decode_append(traced.slice(..end)).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn no_cut_or_flipped_message_panics() {
        let good = encode_append(&append()).unwrap();
        for end in 0..good.len() {
            assert!(decode_append(good.slice(..end)).is_err(), "cut at {end}");
        }
        for place in 0..good.len() {
            let mut bytes = good.to_vec();
            bytes[place] ^= 0x81;
            // Some flips are another valid message; the transport's checksums are what finds those.
            let _ = decode_append(bytes.into());
        }
        let mut longer = good.to_vec();
        longer.push(0);
        assert!(decode_append(longer.into()).is_err());
    }

    #[test]
    fn a_gap_between_entries_is_refused() {
        let mut request = append();
        request.entries.remove(1);
        assert!(decode_append(encode_append(&request).unwrap()).is_err());
        let mut request = append();
        request.prev_log_id = None;
        assert!(decode_append(encode_append(&request).unwrap()).is_err(), "behind nothing");
        request.entries = vec![Entry::new_blank(id(3, 1))];
        assert!(decode_append(encode_append(&request).unwrap()).is_ok(), "the first of all");
    }

    #[test]
    fn a_position_that_has_none_behind_it_is_refused() {
        let mut request = append();
        request.entries.clear();
        request.prev_log_id = Some(LogId::new(LeaderId::new(2), u64::MAX));
        assert!(decode_append(encode_append(&request).unwrap()).is_err());
    }

    #[test]
    fn answers_survive_a_round_trip() {
        let results: [StreamAppendResult<TypeConfig>; 4] = [
            Ok(None),
            Ok(Some(id(1, 2))),
            Err(StreamAppendError::Conflict(id(4, 4))),
            Err(StreamAppendError::HigherVote(Vote::new(9, 9))),
        ];
        for result in results {
            assert_eq!(decode_stream_result(encode_stream_result(&result)).unwrap(), result);
        }
        let responses = [
            AppendEntriesResponse::Success,
            AppendEntriesResponse::PartialSuccess(Some(id(1, 1))),
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(Vote::new_committed(1, 2)),
        ];
        for response in responses {
            assert_eq!(decode_append_response(encode_append_response(&response)).unwrap(), response);
        }
        let request = VoteRequest { vote: Vote::new(4, 5), last_log_id: Some(id(3, 3)), leadership_transfer: true };
        assert_eq!(decode_vote_request(encode_vote_request(&request)).unwrap(), request);
        let response = VoteResponse { vote: Vote::new(4, 5), vote_granted: true, last_log_id: None };
        assert_eq!(decode_vote_response(encode_vote_response(&response)).unwrap(), response);
        let transfer = TransferLeaderRequest::new(Vote::new_committed(1, 2), 3, Some(id(1, 9)));
        assert_eq!(decode_transfer(encode_transfer(&transfer)).unwrap(), transfer);
        assert!(decode_stream_result(Bytes::from_static(&[9])).is_err());
    }

    #[test]
    fn snapshot_messages_survive_a_round_trip() {
        let vote = Vote::new_committed(5, 6);
        let applied = Applied { index: LogIndex(9), term: Term(4), membership: Some(vec![1, 2]) };
        let position = SnapshotPosition { applied, chain_hash: [3; 32] };
        let begin = encode_snapshot_begin(&vote, u128::MAX, &position).unwrap();
        assert_eq!(decode_snapshot_begin(begin).unwrap(), (vote, u128::MAX, position));
        let piece = encode_snapshot_piece(&vote, 1, 2, b"bytes").unwrap();
        assert_eq!(decode_snapshot_piece(piece).unwrap(), (vote, 1, 2, Bytes::from_static(b"bytes")));
        assert_eq!(decode_snapshot_answer(encode_snapshot_answer(&vote, 7)).unwrap(), (vote, 7));
    }
}
