//! What other nodes have to do with a connection of this one: a node with a door is a way to all of them.
//!
//! Commands of the keyspace need nothing of it: they go through the log, and this node's own apply answers them. Reads wait until this
//! node has what anybody was told before. What changes users, and SQL, runs where the leader is. Messages go to the subscribers of all nodes.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use perigee_keyspace::Reply;
use perigee_types::Oid;
use perigee_types::row::{get_bytes, get_varint, put_bytes, put_varint};

use crate::acl::User;
use crate::command::Entry;
use crate::server::{Gone, RespServer};
use crate::session::{Ended, Replies, Session};
use crate::wire::Wire;

/// A command that another node runs for a client of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignCall {
    /// The role that the client has proved to be.
    pub role: Oid,
    /// Where the client is.
    pub peer: Option<SocketAddr>,
    /// Its protocol.
    pub resp3: bool,
    /// The command, its name first.
    pub args: Vec<Bytes>,
}

/// A message for the subscribers of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignMessage {
    /// Whose subscribers.
    pub tenant: Oid,
    /// Whether the channel is sharded.
    pub sharded: bool,
    /// The channel.
    pub channel: Bytes,
    /// What was published.
    pub message: Bytes,
}

fn oid(bytes: &mut &[u8]) -> Option<Oid> {
    Some(Oid(u32::try_from(get_varint(bytes).ok()?).ok()?))
}

fn bytes_of(bytes: &mut &[u8]) -> Option<Bytes> {
    get_bytes(bytes).ok().map(Bytes::copy_from_slice)
}

impl ForeignCall {
    /// As bytes: role, protocol and peer, count, then each argument. Numbers are varints.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        put_varint(u64::from(self.role.0), &mut out);
        put_varint(u64::from(self.resp3), &mut out);
        put_bytes(self.peer.map_or_else(String::new, |peer| peer.to_string()).as_bytes(), &mut out);
        put_varint(self.args.len() as u64, &mut out);
        self.args.iter().for_each(|arg| put_bytes(arg, &mut out));
        out
    }

    /// Reads what [`ForeignCall::encode`] wrote.
    #[must_use]
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let (role, resp3) = (oid(bytes)?, get_varint(bytes).ok()? == 1);
        let peer = std::str::from_utf8(get_bytes(bytes).ok()?).ok()?.parse().ok();
        let count = get_varint(bytes).ok()?;
        let args: Option<Vec<Bytes>> = (0..count).map(|_| bytes_of(bytes)).collect();
        let args = args.filter(|args| !args.is_empty() && bytes.is_empty())?;
        Some(Self { role, peer, resp3, args })
    }
}

impl ForeignMessage {
    /// As bytes: tenant, whether it is sharded, channel, message. Numbers are varints.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(u64::from(self.tenant.0), out);
        put_varint(u64::from(self.sharded), out);
        put_bytes(&self.channel, out);
        put_bytes(&self.message, out);
    }

    /// Reads one that [`ForeignMessage::encode`] wrote off the front.
    #[must_use]
    pub fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let (tenant, sharded) = (oid(bytes)?, get_varint(bytes).ok()? == 1);
        Some(Self { tenant, sharded, channel: bytes_of(bytes)?, message: bytes_of(bytes)? })
    }
}

/// Whether a command changes what only the leader changes, and not through the line of the keyspace.
fn is_the_leaders(entry: &Entry) -> bool {
    matches!(entry.spec.name, "acl|setuser" | "acl|deluser" | "sql")
}

impl Session {
    /// Waits until a read here sees what anybody was told before. An error where nobody can say that.
    ///
    /// # Errors
    /// [`Ended`]
    pub(crate) async fn catch_up(&mut self) -> Result<Option<Reply>, Ended> {
        match self.shared.host.current() {
            None => Ok(None),
            Some(current) => Ok(self.wait(false, current).await?.err().map(Reply::error)),
        }
    }

    /// Lets the leader run a command that is its; `false` where this node does.
    ///
    /// # Errors
    /// [`Ended`] also where nobody knows whether it has run.
    pub(crate) async fn run_elsewhere(&mut self, entry: &Entry, args: &[Bytes]) -> Result<bool, Ended> {
        if !is_the_leaders(entry) {
            return Ok(false);
        }
        let call =
            ForeignCall { role: self.user.role(), peer: self.client.peer, resp3: self.resp3, args: args.to_vec() };
        let Some(running) = self.shared.host.elsewhere(call) else { return Ok(false) };
        match self.wait(false, running).await? {
            Ok(reply) if self.replies == Replies::On => self.wire.output.extend_from_slice(&reply),
            Ok(_) => {}
            Err(Some(refused)) => self.write(&Reply::error(refused)),
            Err(None) => return Err(Ended),
        }
        Ok(true)
    }
}

impl RespServer {
    /// Runs a command for a client of another node, which has proved there who it is; gives the reply as bytes.
    pub async fn run_for(&self, call: ForeignCall) -> Vec<u8> {
        let shared = &self.shared;
        let client = shared.clients.add(call.peer, None);
        let gone = Gone { shared: Arc::clone(shared), id: client.id };
        let mut session = Session::new(Arc::clone(shared), client, Wire::new(Box::new(Nowhere)));
        session.resp3 = call.resp3;
        let account = shared.host.account_of(call.role).filter(|account| account.login);
        let user = account.as_ref().map(User::of);
        session.become_user(user.is_some(), Arc::new(user.unwrap_or_else(|| User::new(""))));
        // A session without a client does not end before its command.
        let (Ok(()) | Err(Ended)) = session.run_whole(call.args).await;
        session.forget();
        drop(gone);
        std::mem::take(&mut session.wire.output)
    }

    /// Sends a message of another node to the subscribers of this one.
    pub fn deliver(&self, message: &ForeignMessage) {
        let ForeignMessage { tenant, sharded, channel, message } = message;
        self.shared.hub.publish(&self.shared, *tenant, channel, message, *sharded);
    }
}

/// A client that neither says nor takes anything: what is written for it stays where it is.
struct Nowhere;

impl tokio::io::AsyncRead for Nowhere {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
        _buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Pending
    }
}

impl tokio::io::AsyncWrite for Nowhere {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
        _bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::task::Poll::Pending
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Pending
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_messages_survive_a_round_trip() {
        let args = vec![Bytes::from_static(b"ACL"), Bytes::new()];
        let call = ForeignCall { role: Oid(10), peer: "127.0.0.1:7".parse().ok(), resp3: true, args };
        let bytes = call.encode();
        assert_eq!(ForeignCall::decode(&bytes), Some(call));
        assert!((0..bytes.len()).all(|end| ForeignCall::decode(&bytes[..end]).is_none()));
        let message = |text| ForeignMessage {
            tenant: Oid(5),
            sharded: false,
            channel: Bytes::from_static(b"news"),
            message: Bytes::from_static(text),
        };
        let mut bytes = Vec::new();
        message(b"a").encode(&mut bytes);
        message(b"").encode(&mut bytes);
        let mut rest = &bytes[..];
        assert_eq!(ForeignMessage::decode(&mut rest), Some(message(b"a")));
        assert_eq!(ForeignMessage::decode(&mut rest), Some(message(b"")));
        assert_eq!(ForeignMessage::decode(&mut rest), None);
    }
}
