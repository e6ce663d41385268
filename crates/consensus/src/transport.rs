//! How members reach each other, seen from consensus: calls and one stream of appends, as bytes.
//!
//! What the bytes mean is [`crate::wire`]'s; how they travel, who may connect and how connections come back is the
//! transport's. Tests put a simulated network here.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::options::Node;

/// What a call asks for. Numbers on the wire: never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Call {
    /// A vote.
    Vote = 1,
    /// Whether a vote would be given.
    PreVote = 2,
    /// One append, or a heartbeat.
    Append = 3,
    /// The leader wants this member to take its place.
    TransferLeader = 4,
    /// A snapshot is about to come.
    SnapshotBegin = 5,
    /// A piece of it.
    SnapshotPiece = 6,
    /// All its pieces were sent.
    SnapshotEnd = 7,
    /// The index at which a read is linearizable.
    ReadIndex = 8,
    /// Nothing more is to be taken from a stream of proposals; the answer is where the log ends.
    Barrier = 9,
}

impl Call {
    /// The call with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Vote,
            2 => Self::PreVote,
            3 => Self::Append,
            4 => Self::TransferLeader,
            5 => Self::SnapshotBegin,
            6 => Self::SnapshotPiece,
            7 => Self::SnapshotEnd,
            8 => Self::ReadIndex,
            9 => Self::Barrier,
            _ => return None,
        })
    }
}

/// What travels over a link. Lanes do not wait for each other: a heartbeat is never behind a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Heartbeats, votes, questions: small and urgent.
    Control,
    /// The log.
    Log,
    /// Snapshots.
    Snapshot,
    /// What clients of one member want of another.
    Client,
}

/// Why a member gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// There is no connection to it.
    #[error("cannot reach node {name}: {reason}")]
    Unreachable {
        /// The member.
        name: String,
        /// Why.
        reason: String,
    },
    /// It was reached, and the connection broke or the answer did not come.
    #[error("node {name} did not answer: {reason}")]
    Broken {
        /// The member.
        name: String,
        /// Why.
        reason: String,
    },
    /// It has answered that it does not want this.
    #[error("node {name} refuses: {reason}")]
    Refused {
        /// The member.
        name: String,
        /// Why.
        reason: String,
    },
}

/// A way to one member. Connections are made when they are needed, and made again when they break.
pub trait Link: Send + Sync + 'static {
    /// Asks and waits for the answer, `patience` at most.
    fn call(&self, call: Call, body: Bytes, patience: Duration) -> BoxFuture<'_, Result<Bytes, LinkError>>;

    /// Sends requests as they come; answers come back in their order. Gives up when an answer is late by `patience`.
    fn append(
        &self,
        requests: BoxStream<'static, Bytes>,
        patience: Duration,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Bytes, LinkError>>, LinkError>>;

    /// Opens a stream of proposals within `patience`: nothing is sent before the member has answered. Answers come as they come.
    fn propose(
        &self,
        requests: BoxStream<'static, Bytes>,
        patience: Duration,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Bytes, LinkError>>, LinkError>>;
}

/// Makes links.
pub trait Transport: Send + Sync + 'static {
    /// A link to `peer`, for one kind of traffic. Never fails: the calls do.
    fn link(&self, peer: &Node, lane: Lane) -> Arc<dyn Link>;
}

/// The transport of a node that is alone.
pub(crate) struct NoTransport;

struct NoLink(String);

impl NoLink {
    fn error(&self) -> LinkError {
        LinkError::Unreachable { name: self.0.clone(), reason: "this node was started without a cluster".to_owned() }
    }
}

impl Transport for NoTransport {
    fn link(&self, peer: &Node, _lane: Lane) -> Arc<dyn Link> {
        Arc::new(NoLink(peer.name.clone()))
    }
}

impl Link for NoLink {
    fn call(&self, _call: Call, _body: Bytes, _patience: Duration) -> BoxFuture<'_, Result<Bytes, LinkError>> {
        ready(Err(self.error())).boxed()
    }

    fn append(
        &self,
        _requests: BoxStream<'static, Bytes>,
        _patience: Duration,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Bytes, LinkError>>, LinkError>> {
        ready(Err(self.error())).boxed()
    }

    fn propose(
        &self,
        _requests: BoxStream<'static, Bytes>,
        _patience: Duration,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Bytes, LinkError>>, LinkError>> {
        ready(Err(self.error())).boxed()
    }
}
