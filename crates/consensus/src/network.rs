//! openraft's calls to other members, over the [`Transport`].

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use perigee_runtime::Clock;
use perigee_types::LogIndex;

use crate::apply::CheckpointMark;
use crate::core_runtime::unique;
use crate::log_store::Shared;
use crate::options::Node;
use crate::promises::Sent;
use crate::raft_types::{TypeConfig, Vote, to_index};
use crate::snapshot::{SendError, Sender, Sending, Snapshots};
use crate::transport::{Call, Lane, Link, LinkError, Transport};
use crate::wire;

/// How long an append may stay without an answer: a member with a slow disk is slow, not gone. Whether it is there at all
/// heartbeats tell, and the transport's own pings.
const APPEND_PATIENCE: Duration = Duration::from_secs(10);
/// How long a step of a snapshot may stay without an answer, beside its time on the way. The step goes on there, and who asks again waits
/// for its end: a message that was lost costs no more than that.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries to reach a member.
const BACKOFF: Duration = Duration::from_millis(50);

type Rpc<T> = Result<T, RPCError<TypeConfig>>;

/// Makes links for openraft.
pub(crate) struct Network {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) snapshots: Option<Arc<dyn Snapshots>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) snapshot_bytes_per_second: u64,
    pub(crate) blocking: bool,
}

/// A member, for one kind of traffic.
pub(crate) struct Peer {
    id: u64,
    name: String,
    link: Arc<dyn Link>,
    /// The last try to reach it has failed.
    is_lost: bool,
    lane: Lane,
    shared: Arc<Shared>,
    snapshots: Option<Arc<dyn Snapshots>>,
    sending: Option<Sending>,
    clock: Arc<dyn Clock>,
    snapshot_bytes_per_second: u64,
    blocking: bool,
}

impl Network {
    fn peer(&self, node: &Node, lane: Lane) -> Peer {
        Peer {
            id: node.id(),
            name: node.name.clone(),
            link: self.transport.link(node, lane),
            is_lost: false,
            lane,
            shared: Arc::clone(&self.shared),
            snapshots: self.snapshots.clone(),
            sending: None,
            clock: Arc::clone(&self.clock),
            snapshot_bytes_per_second: self.snapshot_bytes_per_second,
            blocking: self.blocking,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, _target: u64, node: &Node) -> Peer {
        self.peer(node, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, _target: u64, node: &Node) -> Peer {
        self.peer(node, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, _target: u64, node: &Node) -> Peer {
        self.peer(node, Lane::Snapshot)
    }
}

/// What another member is about to learn to be committed, this node knows first: who was answered there may ask here next.
fn tell(shared: &Shared, request: &AppendEntriesRequest<TypeConfig>) {
    if let Some(committed) = &request.leader_commit {
        shared.committed.fetch_max(to_index(committed.index).0, Ordering::AcqRel);
    }
}

fn rpc(error: LinkError) -> RPCError<TypeConfig> {
    match error {
        LinkError::Unreachable { .. } | LinkError::Refused { .. } => Unreachable::new(&error).into(),
        LinkError::Broken { .. } => NetworkError::new(&error).into(),
    }
}

fn unusable(error: &std::io::Error) -> RPCError<TypeConfig> {
    NetworkError::new(error).into()
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = CheckpointMark;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<TypeConfig>> {
        tell(&self.shared, &request);
        let (term, sent) = (request.vote.leader_id.term, self.clock.monotonic());
        let body = wire::encode_append(&request).map_err(|error| unusable(&error))?;
        let answer = self.link.call(Call::Append, body, option.hard_ttl()).await.map_err(rpc)?;
        let answer = wire::decode_append_response(answer).map_err(|error| unusable(&error))?;
        if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
            self.shared.promises.given(self.id, term, sent);
        }
        Ok(answer)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> openraft::base::BoxFuture<'s, Rpc<openraft::base::BoxStream<'s, Rpc<StreamAppendResult<TypeConfig>>>>>
    where
        S: futures::Stream<Item = AppendEntriesRequest<TypeConfig>> + openraft::OptionalSend + Unpin + 'static,
    {
        if self.lane == Lane::Control {
            // A heartbeat is one request: a stream for each would be waste.
            return stream_append_sequential(self, input, option);
        }
        async move {
            // An entry that cannot be encoded ends the stream; openraft tries again, and the log says why.
            let shared = Arc::clone(&self.shared);
            let (sent, clock) = (Sent::default(), Arc::clone(&self.clock));
            let waiting = sent.clone();
            let encoded = input.map(move |request| {
                tell(&shared, &request);
                let encoded = wire::encode_append(&request)?;
                sent.push(request.vote.leader_id.term, clock.monotonic());
                Ok(encoded)
            });
            let requests = encoded.take_while(|encoded: &std::io::Result<_>| {
                if let Err(error) = encoded {
                    tracing::error!(%error, "an append cannot be encoded");
                }
                std::future::ready(encoded.is_ok())
            });
            let requests = requests.filter_map(|encoded| std::future::ready(encoded.ok())).boxed();
            let answers = match self.link.append(requests, APPEND_PATIENCE).await {
                Ok(answers) => answers,
                Err(error) => {
                    if !std::mem::replace(&mut self.is_lost, true) {
                        tracing::warn!(%error, member = self.name, "a member gets no entries until it can be reached");
                    }
                    // openraft waits between two tries where it is asked for entries, and nobody asks on a way that is not there: it would
                    // try again at once, for ever.
                    self.clock.sleep(BACKOFF).await;
                    return Err(rpc(error));
                }
            };
            if std::mem::take(&mut self.is_lost) {
                tracing::info!(member = self.name, "a member gets entries again");
            }
            let (shared, member) = (Arc::clone(&self.shared), self.id);
            let decoded = answers.map(move |answer| {
                let bytes = answer.map_err(rpc)?;
                let answer = wire::decode_stream_result(bytes).map_err(|error| unusable(&error))?;
                if let Some((term, sent)) = waiting.pop()
                    && !matches!(answer, Err(StreamAppendError::HigherVote(_)))
                {
                    shared.promises.given(member, term, sent);
                }
                Ok(answer)
            });
            let stream: openraft::base::BoxStream<'s, _> = Box::pin(decoded);
            Ok(stream)
        }
        .boxed()
    }

    async fn vote(&mut self, request: VoteRequest<TypeConfig>, option: RPCOption) -> Rpc<VoteResponse<TypeConfig>> {
        self.ask_vote(Call::Vote, request, option).await
    }

    async fn pre_vote(&mut self, request: VoteRequest<TypeConfig>, option: RPCOption) -> Rpc<VoteResponse<TypeConfig>> {
        self.ask_vote(Call::PreVote, request, option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, CheckpointMark>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        // What openraft takes the member to hold when this succeeds.
        let named = snapshot.meta.last_log_id.map_or(LogIndex(0), |id| to_index(id.index));
        tokio::select! {
            biased;
            closed = cancel => Err(closed.into()),
            sent = self.send_snapshot(vote, named) => sent,
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<TypeConfig>> {
        self.link
            .call(Call::TransferLeader, wire::encode_transfer(&request), option.hard_ttl())
            .await
            .map(|_| Ok(()))
            .map_err(rpc)
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(BACKOFF)))
    }
}

impl Peer {
    async fn ask_vote(
        &mut self,
        call: Call,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<TypeConfig>> {
        let answer = self.link.call(call, wire::encode_vote_request(&request), option.hard_ttl()).await.map_err(rpc)?;
        wire::decode_vote_response(answer).map_err(|error| unusable(&error))
    }

    async fn send_snapshot(
        &mut self,
        vote: Vote,
        named: LogIndex,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        // A transfer that was interrupted may be of an older checkpoint: to go on with it would claim too much.
        self.sending = self.sending.take().filter(|sending| sending.holds(named));
        if self.sending.is_none() {
            let opened = self.open_snapshot().await.map_err(|error| {
                tracing::warn!(%error, "a snapshot cannot be sent");
                Unreachable::new(&error)
            })?;
            let sending = Sending::new(unique(), opened);
            if !sending.holds(named) {
                return Err(Unreachable::from_string("the checkpoint is older than its announcement").into());
            }
            self.sending = Some(sending);
        }
        let sender = Sender {
            link: &*self.link,
            vote,
            clock: &self.clock,
            patience: SNAPSHOT_PATIENCE,
            bytes_per_second: self.snapshot_bytes_per_second,
            blocking: self.blocking,
        };
        let Some(sending) = &mut self.sending else {
            return Err(Unreachable::from_string("there is no snapshot").into());
        };
        let sent = sending.run(&sender).await;
        if !matches!(sent, Err(SendError::Link(_))) {
            // Done, or to be begun again; only a broken connection goes on where it was.
            self.sending = None;
        }
        match sent {
            Ok(vote) | Err(SendError::Higher(vote)) => Ok(SnapshotResponse::new(vote)),
            Err(SendError::Link(error)) => Err(rpc(error).into()),
            Err(SendError::Read(error)) => {
                tracing::warn!(%error, "a snapshot was not sent");
                Err(Unreachable::new(&error).into())
            }
        }
    }

    async fn open_snapshot(&self) -> std::io::Result<Box<dyn crate::SnapshotReader>> {
        let none = || std::io::Error::other("this node has no checkpoint to send");
        let snapshots = self.snapshots.clone().ok_or_else(none)?;
        let open = move || snapshots.open();
        let opened = if self.blocking {
            tokio::task::spawn_blocking(open).await.map_err(std::io::Error::other)?
        } else {
            open()
        };
        opened?.ok_or_else(none)
    }
}
