//! Proposals from any member: a follower hands them to the leader, in order, and its own apply tells what became of them.
//!
//! ```text
//! submit --leads--> propose
//!        \-follows-> way to the leader: one stream, in order --> leader: propose
//! fate: see `fates`. Written never -> tried again, with the leader that is there then. Nobody knows in time -> Unknown.
//! ```
//!
//! A stream that breaks while its leader stays in its term: the leader is told to take nothing more from it and says where its log ends.
//! What was not applied up to there never will be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use perigee_telemetry::trace::{self, Parent};
use perigee_types::{LogIndex, Term};
use tokio::sync::mpsc;

use crate::fates::{Expected, Fate, ProposalId};
use crate::machine::{Committed, Outcome};
use crate::options::Node;
use crate::peer::{PeerError, PeerService};
use crate::raft_types::to_index;
use crate::transport::{Call, Lane, Link};
use crate::watch;
use crate::{Consensus, Proposal, ProposeError};

/// How long a proposal that was not written waits for a leader that takes it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long its fate may stay open once its leader is lost.
const FATE_PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks for a leader, and two tries to learn what became of a broken stream.
const RETRY: Duration = Duration::from_millis(10);
/// Between two looks whether a majority is there.
const LOOK: Duration = Duration::from_secs(1);
/// How long a stream may take to open, and a leader to answer for one that broke.
const OPEN: Duration = Duration::from_secs(2);
/// Proposals on their way to the stream. Each is an entry at most.
const QUEUE: usize = 32;
/// Proposals of one stream without an outcome at the leader; more are not read.
const TAKEN_MAX: usize = 256;
/// Origins whose closed streams a leader remembers.
const CLOSED_MAX: usize = 1_024;

/// What a follower keeps of its way to the leader.
#[derive(Default)]
pub(crate) struct Forwarder {
    way: Mutex<Option<Way>>,
    streams: AtomicU64,
    /// Streams that broke and whose leader has not said what became of them.
    unsettled: AtomicU64,
    /// As leader: of each origin the last stream from which nothing more is taken.
    closed: Mutex<BTreeMap<u64, u64>>,
}

struct Way {
    leader: u64,
    stream: u64,
    queue: mpsc::Sender<Bytes>,
}

/// A proposal that was made, or is about to be.
struct Attempt {
    term: Term,
    expected: Expected,
    /// Of the leader: its own answer comes first, and says more.
    own: Option<Proposal>,
    /// What found no place in the queue at once.
    rest: Option<(mpsc::Sender<Bytes>, Bytes)>,
}

impl Consensus {
    /// Proposes `payload`, which depends on nothing that was evaluated, here or through the leader. Calls made one after the other stand
    /// in the log in that order while the leader stays. Where a leader is lost and it is certain that nothing was written, it is proposed
    /// to the next. `traced`: the step of a trace that the entry is a part of.
    ///
    /// # Errors
    /// See [`ProposeError`]; [`ProposeError::NotLeader`] when there was no leader for some time.
    pub fn submit(
        &self,
        payload: Bytes,
        traced: Option<Parent>,
    ) -> BoxFuture<'static, Result<Committed, ProposeError>> {
        let inner = &self.inner;
        if payload.len() > inner.entry_bytes_max {
            let error = ProposeError::TooLarge { bytes: payload.len(), max: inner.entry_bytes_max };
            return std::future::ready(Err(error)).boxed();
        }
        let first = self.attempt(&payload, traced);
        let consensus = self.clone();
        async move {
            let clock = Arc::clone(&consensus.inner.clock);
            let until = clock.monotonic() + PATIENCE;
            let mut attempt = first;
            loop {
                let ended = match attempt {
                    Some(attempt) => consensus.ended(attempt).await,
                    None => Err(ProposeError::NotLeader),
                };
                match ended {
                    Err(ProposeError::NotLeader) if clock.monotonic() < until => {}
                    ended => return ended,
                }
                clock.sleep(RETRY).await;
                attempt = consensus.attempt(&payload, traced);
            }
        }
        .boxed()
    }

    /// Names a proposal that the leader of `term` will make for somebody of this process, who learns here what became of it.
    #[must_use]
    pub fn expect(&self, term: Term) -> Expected {
        self.inner.state.fates.expect(term, 0)
    }

    /// The member that leads, when it is another one, and its term.
    #[must_use]
    pub fn remote_leader(&self) -> Option<(Node, Term)> {
        let metrics = self.inner.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let leader =
            metrics.current_leader.filter(|leader| metrics.vote.committed && *leader != self.inner.node.id())?;
        let node = metrics.membership_config.membership().get_node(&leader)?.clone();
        Some((node, Term(metrics.vote.leader_id.term)))
    }

    fn attempt(&self, payload: &Bytes, traced: Option<Parent>) -> Option<Attempt> {
        let fates = &self.inner.state.fates;
        if let Some(term) = self.leader_term() {
            // What nobody else takes would only wait.
            if !self.has_majority() {
                return None;
            }
            let expected = fates.expect(term, 0);
            note(expected.id(), traced);
            let own = self.propose_as(term, Some(expected.id()), payload);
            return Some(Attempt { term, expected, own: Some(own), rest: None });
        }
        let (leader, term) = self.remote_leader()?;
        let mut way = self.inner.forwarder.way.lock();
        let (stream, queue) = self.way(&mut way, &leader);
        // Still under the lock: what a stream was given is known before it is asked for.
        let expected = fates.expect(term, stream);
        note(expected.id(), traced);
        let frame = encode_proposal(expected.id().number, term, traced, payload);
        let rest = match queue.try_send(frame) {
            Ok(()) => None,
            Err(mpsc::error::TrySendError::Full(frame)) => Some((queue, frame)),
            Err(mpsc::error::TrySendError::Closed(_)) => return None,
        };
        Some(Attempt { term, expected, own: None, rest })
    }

    /// The way to this leader: the one that is there, or a new one.
    fn way(&self, way: &mut Option<Way>, leader: &Node) -> (u64, mpsc::Sender<Bytes>) {
        if let Some(way) = way.as_ref().filter(|way| way.leader == leader.id() && !way.queue.is_closed()) {
            return (way.stream, way.queue.clone());
        }
        let stream = self.inner.forwarder.streams.fetch_add(1, Ordering::Relaxed) + 1;
        let (queue, requests) = mpsc::channel(QUEUE);
        *way = Some(Way { leader: leader.id(), stream, queue: queue.clone() });
        let link = self.inner.cluster.transport.link(leader, Lane::Client);
        self.inner.handle.spawn(run_stream(self.clone(), link, stream, requests));
        (stream, queue)
    }

    async fn ended(&self, mut attempt: Attempt) -> Result<Committed, ProposeError> {
        if let Some((queue, frame)) = attempt.rest.take() {
            tokio::select! {
                biased;
                // Behind a refusal it is lost with its stream, which tells its fate.
                _ = queue.send(frame) => {}
                ended = self.fate(&mut attempt.expected, attempt.term) => return ended,
            }
        }
        if let Some(own) = attempt.own.take() {
            return match self.outcome(own, &mut attempt.expected, attempt.term).await {
                Ok(Committed { outcome: Outcome::Fenced, .. }) => Err(ProposeError::NotLeader),
                other => other,
            };
        }
        self.fate(&mut attempt.expected, attempt.term).await
    }

    /// Waits for a proposal of this node, made in `term` under the name that is expected. Where it is lost with its term, this node's log
    /// tells its fate; where a majority is lost, it is not waited for for ever.
    ///
    /// # Errors
    /// As [`fate`](Self::fate), and what the proposal gives.
    pub async fn outcome(&self, own: Proposal, expected: &mut Expected, term: Term) -> Result<Committed, ProposeError> {
        let clock = &self.inner.clock;
        let mut own = std::pin::pin!(own);
        let mut lost = None;
        loop {
            let ended = if self.inner.alone {
                Some(own.as_mut().await)
            } else {
                tokio::select! {
                    biased;
                    ended = own.as_mut() => Some(ended),
                    () = clock.sleep(LOOK) => None,
                }
            };
            match ended {
                // It may have been replaced by another leader's log.
                Some(Err(ProposeError::Unknown)) => return self.fate(expected, term).await,
                Some(ended) => return ended,
                None => {}
            }
            let now = clock.monotonic();
            match lost {
                _ if self.leader_term() != Some(term) || self.has_majority() => lost = None,
                None => lost = Some(now),
                Some(since) if now.saturating_sub(since) > FATE_PATIENCE => return Err(ProposeError::Unknown),
                Some(_) => {}
            }
        }
    }

    /// Waits for the fate of what was evaluated in `term`, as long as its leader may be there, and some time behind it.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`]: nothing was written. [`ProposeError::Unknown`]: nobody knows, yet.
    pub async fn fate(&self, expected: &mut Expected, term: Term) -> Result<Committed, ProposeError> {
        let clock = &self.inner.clock;
        let mut lost = None;
        loop {
            tokio::select! {
                biased;
                fate = expected.fate() => return match fate? {
                    Fate::Committed(committed) => Ok(committed),
                    Fate::Never => Err(ProposeError::NotLeader),
                },
                // Also how soon it is seen that the node stops: many that wait for one watch channel would wake in an order of chance,
                // which no simulation repeats.
                () = clock.sleep(Duration::from_millis(200)) => {}
            }
            if *self.inner.stopped.borrow() {
                return Err(ProposeError::Unknown);
            }
            let now = clock.monotonic();
            let there = self.leader_term() == Some(term) || self.remote_leader().is_some_and(|(_, of)| of == term);
            let reached = there && !self.inner.forwarder.is_broken();
            match lost {
                _ if reached => lost = None,
                None => lost = Some(now),
                Some(since) if now.saturating_sub(since) > FATE_PATIENCE => return Err(ProposeError::Unknown),
                Some(_) => {}
            }
        }
    }
}

impl Forwarder {
    /// Whether a way to the leader has broken and it has not answered since.
    fn is_broken(&self) -> bool {
        self.unsettled.load(Ordering::Relaxed) > 0
    }
}

/// Carries the proposals of one stream, and finds out what became of them when it breaks.
async fn run_stream(consensus: Consensus, link: Arc<dyn Link>, stream: u64, requests: mpsc::Receiver<Bytes>) {
    let fates = Arc::clone(&consensus.inner.state.fates);
    let mut begin = BytesMut::with_capacity(16);
    begin.put_u64_le(fates.origin);
    begin.put_u64_le(stream);
    // Nothing is taken out of the queue before the stream is open, and nothing once it is over.
    let (gate, gated) = watch::channel(Gate::Closed);
    let sent = futures::stream::unfold((requests, gated), |(mut requests, mut gated)| async move {
        if gated.wait_for(|gate| *gate != Gate::Closed).await.is_err() {
            return None;
        }
        let frame = tokio::select! {
            biased;
            _ = gated.wait_for(|gate| *gate == Gate::Over) => None,
            frame = requests.recv() => frame,
        };
        Some((frame?, (requests, gated)))
    });
    let sent = futures::stream::once(std::future::ready(begin.freeze())).chain(sent);
    let opened = link.propose(sent.boxed(), OPEN).await;
    let was_open = opened.is_ok();
    match opened {
        Ok(mut answers) => {
            let _ = gate.send(Gate::Open);
            while let Some(Ok(answer)) = answers.next().await {
                if let Some((number, error)) = decode_refusal(answer) {
                    fates.refuse(number, error);
                }
            }
        }
        Err(error) => tracing::debug!(%error, "proposals cannot be handed to the leader"),
    }
    let _ = gate.send(Gate::Over);
    // Whoever comes from here on finds another way.
    let forwarder = &consensus.inner.forwarder;
    {
        let mut way = forwarder.way.lock();
        if way.as_ref().is_some_and(|way| way.stream == stream) {
            *way = None;
        }
    }
    if !was_open {
        // Nothing was sent.
        fates.never(stream, Term(u64::MAX));
        return;
    }
    forwarder.unsettled.fetch_add(1, Ordering::Relaxed);
    settle(&consensus, &link, stream).await;
    forwarder.unsettled.fetch_sub(1, Ordering::Relaxed);
}

/// Whether a stream takes what is in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Closed,
    Open,
    Over,
}

/// A broken stream: asks its leader until the fate of all that was handed to it is known.
async fn settle(consensus: &Consensus, link: &Arc<dyn Link>, stream: u64) {
    let fates = &consensus.inner.state.fates;
    let clock = &consensus.inner.clock;
    let mut question = BytesMut::with_capacity(16);
    question.put_u64_le(fates.origin);
    question.put_u64_le(stream);
    let question = question.freeze();
    let mut barrier = None;
    while fates.awaits(stream) {
        if barrier.is_none()
            && let Ok(mut answer) = link.call(Call::Barrier, question.clone(), OPEN).await
            && answer.len() == 16
        {
            barrier = Some((Term(answer.get_u64_le()), LogIndex(answer.get_u64_le())));
        }
        if let Some((term, index)) = barrier
            && consensus.applied_index() >= index
        {
            fates.never(stream, term);
            return;
        }
        clock.sleep(RETRY).await;
        if *consensus.inner.stopped.borrow() {
            return;
        }
    }
}

impl PeerService {
    /// Takes proposals of a follower as they come. Answers those that are refused; of the others the follower's own log tells.
    pub fn propose(&self, requests: BoxStream<'static, Bytes>) -> BoxStream<'static, Result<Bytes, PeerError>> {
        let taking =
            Taking { service: self.clone(), requests, stream: None, taken: FuturesUnordered::new(), over: false };
        futures::stream::unfold(taking, Taking::next).boxed()
    }

    /// Takes nothing more from a stream, and says up to where the log holds what it has brought.
    pub(crate) async fn barrier(&self, mut body: Bytes) -> Result<Bytes, PeerError> {
        if body.len() != 16 {
            return Err(PeerError::Malformed("a question for a stream has another length".to_owned()));
        }
        let (origin, stream) = (body.get_u64_le(), body.get_u64_le());
        let inner = &self.consensus().inner;
        {
            let mut closed = inner.forwarder.closed.lock();
            let last = closed.entry(origin).or_default();
            *last = stream.max(*last);
            // Never this one: it is told that nothing more is taken.
            while closed.len() > CLOSED_MAX
                && let Some(other) = closed.keys().copied().find(|other| *other != origin)
            {
                closed.remove(&other);
            }
        }
        // Core takes this behind all that was proposed before.
        let last = inner.raft.with_raft_state(|state| state.log_ids.last().copied()).await;
        let last = last.map_err(|error| PeerError::Stopped(error.to_string()))?;
        let Some(term) = self.consensus().leader_term() else {
            return Err(PeerError::Refused("this node does not lead".to_owned()));
        };
        let mut answer = BytesMut::with_capacity(16);
        answer.put_u64_le(term.0);
        answer.put_u64_le(last.map_or(0, |last| to_index(last.index).0));
        Ok(answer.freeze())
    }
}

type Taken = BoxFuture<'static, (u64, Result<Committed, ProposeError>)>;

/// A stream of proposals at the leader.
struct Taking {
    service: PeerService,
    requests: BoxStream<'static, Bytes>,
    /// Origin and number, when they have come.
    stream: Option<(u64, u64)>,
    taken: FuturesUnordered<Taken>,
    over: bool,
}

impl Taking {
    async fn next(mut self) -> Option<(Result<Bytes, PeerError>, Self)> {
        loop {
            tokio::select! {
                biased;
                Some((number, result)) = self.taken.next() => {
                    if let Some(refusal) = result.err().and_then(|error| encode_refusal(number, &error)) {
                        return Some((Ok(refusal), self));
                    }
                }
                request = self.requests.next(), if !self.over && self.taken.len() < TAKEN_MAX => {
                    let taken = request.map_or(Ok(false), |frame| self.take(frame).map(|()| true));
                    match taken {
                        Ok(goes_on) => self.over = !goes_on,
                        Err(error) => {
                            self.over = true;
                            return Some((Err(error), self));
                        }
                    }
                }
                else => return None,
            }
        }
    }

    fn take(&mut self, mut frame: Bytes) -> Result<(), PeerError> {
        let early = || PeerError::Malformed("a proposal ends early".to_owned());
        let Some((origin, stream)) = self.stream else {
            if frame.len() < 16 {
                return Err(early());
            }
            self.stream = Some((frame.get_u64_le(), frame.get_u64_le()));
            return Ok(());
        };
        let (first, second, traced) = decode_proposal(&mut frame).ok_or_else(early)?;
        let consensus = self.service.consensus();
        // Under the lock: behind a barrier nothing more comes into the log.
        let closed = consensus.inner.forwarder.closed.lock();
        if closed.get(&origin).is_some_and(|last| stream <= *last) {
            return Err(PeerError::Refused("the stream was closed".to_owned()));
        }
        let id = ProposalId { origin, number: first };
        note(id, traced);
        let proposal = consensus.propose_as(second, Some(id), &frame);
        drop(closed);
        self.taken.push(async move { (first, proposal.await) }.boxed());
        Ok(())
    }
}

/// Whoever writes and applies the entry of a proposal knows by its name which trace it belongs to.
fn note(id: ProposalId, traced: Option<Parent>) {
    if let Some(parent) = traced {
        trace::note_entry((id.origin, id.number), trace::Entry { parent, received_nanos: None });
    }
}

/// A bit of a proposal's number: behind its term stands the step that it is a part of.
const TRACED: u64 = 1 << 63;

/// As bytes: number | term | trace and step, if flagged | payload.
fn encode_proposal(number: u64, term: Term, traced: Option<Parent>, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(40 + payload.len());
    out.put_u64_le(number | if traced.is_some() { TRACED } else { 0 });
    out.put_u64_le(term.0);
    if let Some(parent) = traced {
        out.put_u128_le(parent.trace);
        out.put_u64_le(parent.span);
    }
    out.put_slice(payload);
    out.freeze()
}

/// Reads what stands before the payload; `None` where that ends early.
fn decode_proposal(frame: &mut Bytes) -> Option<(u64, Term, Option<Parent>)> {
    if frame.len() < 16 {
        return None;
    }
    let (number, term) = (frame.get_u64_le(), Term(frame.get_u64_le()));
    if number & TRACED == 0 {
        return Some((number, term, None));
    }
    if frame.len() < 24 {
        return None;
    }
    let parent = Parent { trace: frame.get_u128_le(), span: frame.get_u64_le() };
    Some((number & !TRACED, term, Some(parent)))
}

/// Refusals that a follower is told: nothing was written. An outcome that is not known here is known in its log.
fn encode_refusal(number: u64, error: &ProposeError) -> Option<Bytes> {
    let mut out = BytesMut::with_capacity(32);
    out.put_u64_le(number);
    match error {
        ProposeError::NotLeader => out.put_u8(1),
        ProposeError::Stopped => out.put_u8(2),
        ProposeError::Busy => out.put_u8(3),
        ProposeError::TooLarge { bytes, max } => {
            out.put_u8(4);
            out.put_u64_le(*bytes as u64);
            out.put_u64_le(*max as u64);
        }
        ProposeError::Unknown | ProposeError::Storage(_) => return None,
    }
    Some(out.freeze())
}

fn decode_refusal(mut bytes: Bytes) -> Option<(u64, ProposeError)> {
    if bytes.len() < 9 {
        return None;
    }
    let number = bytes.get_u64_le();
    let error = match bytes.get_u8() {
        // The leader that stops is the leader no more.
        1 | 2 => ProposeError::NotLeader,
        3 => ProposeError::Busy,
        4 if bytes.len() == 16 => {
            let number = |bytes: &mut Bytes| usize::try_from(bytes.get_u64_le()).unwrap_or(usize::MAX);
            ProposeError::TooLarge { bytes: number(&mut bytes), max: number(&mut bytes) }
        }
        _ => return None,
    };
    Some((number, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proposal_survives_a_round_trip() {
        for traced in [None, Some(Parent { trace: u128::MAX, span: 7 })] {
            let mut frame = encode_proposal(3, Term(5), traced, b"payload");
            let head = frame.len() - 7;
            assert!((0..head).all(|end| decode_proposal(&mut frame.slice(..end)).is_none()));
            assert_eq!(decode_proposal(&mut frame), Some((3, Term(5), traced)));
            assert_eq!(frame, b"payload"[..]);
        }
    }

    #[test]
    fn a_refusal_survives_a_round_trip() {
        for error in [ProposeError::NotLeader, ProposeError::Busy, ProposeError::TooLarge { bytes: 7, max: 5 }] {
            let bytes = encode_refusal(3, &error).unwrap();
            assert_eq!(decode_refusal(bytes.clone()), Some((3, error)));
            assert!((0..bytes.len()).all(|end| decode_refusal(bytes.slice(..end)).is_none()));
        }
        assert_eq!(encode_refusal(3, &ProposeError::Unknown), None);
    }
}
