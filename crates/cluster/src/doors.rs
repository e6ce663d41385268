//! What doors of one member want of those of another: questions, and sessions that live at the leader.
//!
//! Bytes both: what they mean is the doors'. They have a connection of their own, so that clients never hold up the log.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use perigee_consensus::{Lane, LinkError, Node};

use crate::cluster::{Cluster, SESSIONS};

/// What answers the doors of other members.
pub trait Doors: Send + Sync + 'static {
    /// Answers a question; the error is for who asks.
    fn ask(&self, kind: u8, body: Bytes) -> BoxFuture<'static, Result<Bytes, String>>;

    /// Serves a session of a client of another member: bytes of the client in, bytes for it out. Ends with either.
    fn session(&self, requests: BoxStream<'static, Bytes>) -> BoxStream<'static, Bytes>;
}

impl Cluster {
    /// Answers other members' doors from now on.
    pub fn open_doors(&self, doors: Arc<dyn Doors>) {
        *self.known.doors.lock() = Some(doors);
    }

    /// Asks the doors of a member.
    ///
    /// # Errors
    /// [`LinkError`]; behind [`LinkError::Broken`] nobody knows whether it was heard.
    pub async fn ask(&self, member: &Node, kind: u8, body: Bytes, patience: Duration) -> Result<Bytes, LinkError> {
        self.grpc_link(member, Lane::Client).ask(kind, body, patience).await
    }

    /// Opens a session at a member, within `patience`.
    ///
    /// # Errors
    /// [`LinkError`]
    pub async fn open_session(
        &self,
        member: &Node,
        requests: BoxStream<'static, Bytes>,
        patience: Duration,
    ) -> Result<BoxStream<'static, Result<Bytes, LinkError>>, LinkError> {
        self.grpc_link(member, SESSIONS).session(requests, patience).await
    }
}
