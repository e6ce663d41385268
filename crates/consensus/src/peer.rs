//! What other members ask of this one.
//!
//! Bytes that make no sense, or come from who is no member, are errors for the asker and touch nothing here.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use openraft::ReadPolicy;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::AppendEntriesResponse;

use crate::Consensus;
use crate::raft_types::{Vote, to_index};
use crate::snapshot::{NOT_NEEDED, Receiving, unpack};
use crate::transport::Call;
use crate::wire;

/// Why a call of another member has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// What it sent does not decode.
    #[error("{0}")]
    Malformed(String),
    /// It cannot be answered now, or not by this member.
    #[error("{0}")]
    Refused(String),
    /// This node has stopped, or is about to.
    #[error("this node has stopped: {0}")]
    Stopped(String),
}

fn malformed(error: io::Error) -> PeerError {
    PeerError::Malformed(error.to_string())
}

fn stopped(error: impl std::fmt::Display) -> PeerError {
    PeerError::Stopped(error.to_string())
}

/// The side of consensus that the transport calls. Cheap to clone.
#[derive(Clone)]
pub struct PeerService {
    consensus: Consensus,
}

impl Consensus {
    /// What the transport hands calls of other members to.
    #[must_use]
    pub fn peer_service(&self) -> PeerService {
        PeerService { consensus: self.clone() }
    }
}

impl PeerService {
    pub(crate) fn consensus(&self) -> &Consensus {
        &self.consensus
    }

    /// Answers one call.
    ///
    /// # Errors
    /// [`PeerError`]; nothing was changed then.
    pub async fn call(&self, call: Call, body: Bytes) -> Result<Bytes, PeerError> {
        let raft = &self.consensus.inner.raft;
        match call {
            Call::Vote => {
                let request = wire::decode_vote_request(body).map_err(malformed)?;
                // The old leader itself has asked for this one: it counts on nobody any more.
                if !request.leadership_transfer {
                    self.check_unbound()?;
                }
                raft.vote(request).await.map(|response| wire::encode_vote_response(&response)).map_err(stopped)
            }
            Call::PreVote => {
                let request = wire::decode_vote_request(body).map_err(malformed)?;
                self.check_unbound()?;
                raft.pre_vote(request).await.map(|response| wire::encode_vote_response(&response)).map_err(stopped)
            }
            Call::Append => {
                let request = wire::decode_append(body).map_err(malformed)?;
                let response = raft.append_entries(request).await.map_err(stopped)?;
                if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
                    self.consensus.heard_from_the_leader();
                }
                Ok(wire::encode_append_response(&response))
            }
            Call::TransferLeader => {
                let request = wire::decode_transfer(body).map_err(malformed)?;
                match raft.handle_transfer_leader(request).await.map_err(stopped)? {
                    Ok(()) => Ok(Bytes::new()),
                    Err(error) => Err(PeerError::Refused(error.to_string())),
                }
            }
            Call::SnapshotBegin | Call::SnapshotPiece | Call::SnapshotEnd => self.snapshot(call, body).await,
            Call::Barrier => self.barrier(body).await,
            Call::ReadIndex => {
                let index = self.read_index().await?;
                Ok(Bytes::copy_from_slice(&index.to_le_bytes()))
            }
        }
    }

    /// Whether it may help another leader than the one that it may have followed before it was started.
    fn check_unbound(&self) -> Result<(), PeerError> {
        let inner = &self.consensus.inner;
        if inner.clock.monotonic() >= inner.bound_until {
            return Ok(());
        }
        Err(PeerError::Refused("this member has just started: its leader may still count on it".to_owned()))
    }

    /// Takes appends as they come; answers in their order. Ends behind the first that fails.
    pub fn append(&self, requests: BoxStream<'static, Bytes>) -> BoxStream<'static, Result<Bytes, PeerError>> {
        let wrong = Arc::new(parking_lot::Mutex::new(None));
        let found = Arc::clone(&wrong);
        let decoded = requests.map(wire::decode_append).take_while(move |request| {
            if let Err(error) = request {
                *found.lock() = Some(error.to_string());
            }
            std::future::ready(request.is_ok())
        });
        let decoded = decoded.filter_map(|request| std::future::ready(request.ok()));
        let answers = self.consensus.inner.raft.stream_append(decoded.boxed()).map(|answer| match answer {
            Ok(result) => Ok(wire::encode_stream_result(&result)),
            Err(fatal) => Err(stopped(fatal)),
        });
        let last = futures::stream::once(async move { wrong.lock().take() });
        let last = last.filter_map(|wrong| std::future::ready(wrong.map(|text| Err(PeerError::Malformed(text)))));
        answers.chain(last).boxed()
    }

    /// The index, behind a check that this node still leads: its lease, or a majority that says so now.
    pub(crate) async fn read_index(&self) -> Result<u64, PeerError> {
        let inner = &self.consensus.inner;
        if self.consensus.surely_leads() {
            return Ok(self.consensus.committed_index().0);
        }
        let refused = |reason: &str| Err(PeerError::Refused(reason.to_owned()));
        let asked = inner.clock.monotonic();
        // Before its first entry is applied a leader does not know what its predecessor has answered.
        let Some(term) = self.consensus.leader_term() else {
            return refused("this node does not lead");
        };
        let index = match inner.raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => to_index(linearizer.read_log_id().index()).0,
            Err(error) => return refused(&format!("this node cannot tell whether it still leads: {error}")),
        };
        // openraft has asked them all, and may take an answer to what was sent before for one to that: see `promises`.
        if !self.consensus.is_followed_since(term, asked) {
            return refused("this node cannot tell whether it still leads: what it was answered is old");
        }
        Ok(index)
    }

    fn vote(&self) -> Vote {
        self.consensus.inner.raft.server_metrics().borrow_watched().vote
    }

    /// Whether who has this vote may send a snapshot; else the newer vote is the answer.
    fn outdated(&self, vote: Vote) -> Option<Bytes> {
        let own = self.vote();
        let newer = own > vote || !vote.committed;
        newer.then(|| wire::encode_snapshot_answer(&own, 0))
    }

    /// A step of taking in a snapshot. It goes on when who asks goes away: one that was put in its place by a node that then ran on would
    /// take the place of all that this node has learned, and acknowledged, by its next start.
    async fn snapshot(&self, call: Call, body: Bytes) -> Result<Bytes, PeerError> {
        let service = self.clone();
        let step = async move {
            match call {
                Call::SnapshotBegin => service.begin(body).await,
                Call::SnapshotPiece => service.piece(body).await,
                _ => service.end(body).await,
            }
        };
        tokio::spawn(step).await.map_err(stopped)?
    }

    async fn begin(&self, body: Bytes) -> Result<Bytes, PeerError> {
        let (vote, id, position) = wire::decode_snapshot_begin(body).map_err(malformed)?;
        let inner = &self.consensus.inner;
        if let Some(answer) = self.outdated(vote) {
            return Ok(answer);
        }
        if self.consensus.applied_index() >= position.applied.index {
            // The leader is about to count on it, and entries are applied when others have them on disk.
            if self.consensus.synced_index() < position.applied.index {
                return Err(PeerError::Refused("what the snapshot holds is not durable here yet".to_owned()));
            }
            return Ok(wire::encode_snapshot_answer(&vote, NOT_NEEDED));
        }
        let mut receiving = inner.receiving.lock().await;
        if self.consensus.wants_restart() {
            return Err(stopped("it starts again over a snapshot"));
        }
        match &*receiving {
            Some(known) if known.id == id && known.writer.is_some() => {
                return Ok(wire::encode_snapshot_answer(&vote, known.next));
            }
            _ => {}
        }
        let Some(snapshots) = inner.cluster.snapshots.clone() else {
            return Err(PeerError::Refused("this node takes no snapshots".to_owned()));
        };
        tracing::info!(index = %position.applied.index, "the log of the leader begins behind ours: taking in a snapshot");
        *receiving = None;
        let writer = self.blocking(move || snapshots.receive(&position)).await?;
        *receiving = Some(Receiving { id, writer: Some(writer), next: 0 });
        Ok(wire::encode_snapshot_answer(&vote, 0))
    }

    async fn piece(&self, body: Bytes) -> Result<Bytes, PeerError> {
        let (vote, id, number, packed) = wire::decode_snapshot_piece(body).map_err(malformed)?;
        if let Some(answer) = self.outdated(vote) {
            return Ok(answer);
        }
        let mut receiving = self.consensus.inner.receiving.lock().await;
        let known = expected(&mut receiving, id)?;
        // Sent again, because its answer was lost.
        if number.checked_add(1) == Some(known.next) {
            return Ok(wire::encode_snapshot_answer(&vote, known.next));
        }
        let Some(mut writer) = known.writer.take().filter(|_| number == known.next) else {
            *receiving = None;
            return Err(PeerError::Refused(format!("piece {number} of the snapshot is out of order")));
        };
        let writer = self.blocking(move || {
            writer.write(&unpack(&packed)?)?;
            Ok(writer)
        });
        match writer.await {
            Ok(writer) => {
                known.writer = Some(writer);
                known.next += 1;
                Ok(wire::encode_snapshot_answer(&vote, known.next))
            }
            Err(error) => {
                *receiving = None;
                Err(error)
            }
        }
    }

    /// The snapshot is whole: what runs here is older than what is on disk, so the node ends and starts again.
    async fn end(&self, body: Bytes) -> Result<Bytes, PeerError> {
        let (vote, id, number, _) = wire::decode_snapshot_piece(body).map_err(malformed)?;
        if let Some(answer) = self.outdated(vote) {
            return Ok(answer);
        }
        let inner = &self.consensus.inner;
        let mut receiving = inner.receiving.lock().await;
        let known = expected(&mut receiving, id)?;
        let writer = known.writer.take().filter(|_| number == known.next);
        *receiving = None;
        let Some(writer) = writer else {
            return Err(PeerError::Refused(format!("the snapshot ends before piece {number}")));
        };
        self.blocking(move || writer.finish()).await?;
        tracing::info!("a snapshot was taken in; this node starts again over it");
        inner.restart.store(true, Ordering::Release);
        inner.shared.failure.set("a snapshot of the leader takes the place of this node's state".to_owned());
        // Before the answer: behind it the leader counts on the snapshot, of which this core knows nothing.
        let _ = inner.raft.shutdown().await;
        Ok(wire::encode_snapshot_answer(&vote, number))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, PeerError> {
        let done = if self.consensus.inner.blocking {
            tokio::task::spawn_blocking(work).map(|done| done.map_err(io::Error::other)?).await
        } else {
            work()
        };
        done.map_err(|error| {
            tracing::warn!(%error, "a snapshot was not taken in");
            PeerError::Refused(format!("the snapshot cannot be taken in: {error}"))
        })
    }
}

fn expected(receiving: &mut Option<Receiving>, id: u128) -> Result<&mut Receiving, PeerError> {
    receiving
        .as_mut()
        .filter(|known| known.id == id)
        .ok_or_else(|| PeerError::Refused("this snapshot has not begun here".to_owned()))
}
