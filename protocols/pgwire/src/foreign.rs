//! The other end of [`crate::forward`]: sessions of clients of other nodes, at the leader.
//!
//! A frame is one byte that says what it is, then its bytes. The first of a session opens it; then messages of the client come as they are,
//! with some of the node's own between them, and cancel requests.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use perigee_engine::{ConnectRequest, Engine, Foreign, Session, SessionChanges};
use perigee_telemetry::trace::Told;
use perigee_types::row::{get_bytes, get_varint, put_bytes, put_varint};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::connection::Connection;
use crate::error::{Failure, Handled, violation, write_error};

/// Frames: messages, and a cancel request.
pub(crate) const DATA: u8 = 1;
pub(crate) const CANCEL: u8 = 2;

/// Messages between nodes. PostgreSQL's are letters.
pub(crate) const CHANGES: u8 = 1;
pub(crate) const COMMIT_NAME: u8 = 2;
pub(crate) const PROVISIONAL: u8 = 3;
pub(crate) const TRACE: u8 = 4;

/// The hint of a session that was ended by name, not with its node.
pub(crate) const TERMINATED: &str = "the session was terminated";

/// Bytes between a session and the stream.
const PIPE_BYTES: usize = 256 << 10;
/// How long the last twin of a session may take to end.
const TWIN_TRIES: u32 = 100;

/// What opens a session.
pub(crate) struct Opening {
    user: String,
    database: String,
    settings: Vec<(String, String)>,
    peer: Option<SocketAddr>,
    encrypted: bool,
    foreign: Foreign,
    changes: SessionChanges,
}

impl Opening {
    /// As a session of this node stands.
    pub(crate) fn of(session: &mut Session, peer: Option<SocketAddr>, encrypted: bool) -> Self {
        let (user, database, settings) = session.opening();
        let foreign = Foreign { process_id: session.process_id(), secret: session.secret() };
        Self { user, database, settings, peer, encrypted, foreign, changes: session.everything() }
    }

    /// As bytes: user, database, peer, encrypted, process id, secret, count and settings, changes. Numbers are varints, texts have their length
    /// before them.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        put_bytes(self.user.as_bytes(), &mut out);
        put_bytes(self.database.as_bytes(), &mut out);
        put_bytes(self.peer.map_or_else(String::new, |peer| peer.to_string()).as_bytes(), &mut out);
        put_varint(u64::from(self.encrypted), &mut out);
        put_varint(u64::from(self.foreign.process_id.cast_unsigned()), &mut out);
        put_varint(u64::from(self.foreign.secret.cast_unsigned()), &mut out);
        put_varint(self.settings.len() as u64, &mut out);
        for (name, value) in &self.settings {
            put_bytes(name.as_bytes(), &mut out);
            put_bytes(value.as_bytes(), &mut out);
        }
        put_bytes(&self.changes.encode(), &mut out);
        out
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let text = |bytes: &mut &[u8]| Some(std::str::from_utf8(get_bytes(bytes).ok()?).ok()?.to_owned());
        let number = |bytes: &mut &[u8]| Some(u32::try_from(get_varint(bytes).ok()?).ok()?.cast_signed());
        let (user, database, peer) = (text(bytes)?, text(bytes)?, text(bytes)?.parse().ok());
        let encrypted = get_varint(bytes).ok()? == 1;
        let foreign = Foreign { process_id: number(bytes)?, secret: number(bytes)? };
        let mut settings = Vec::new();
        for _ in 0..get_varint(bytes).ok()? {
            settings.push((text(bytes)?, text(bytes)?));
        }
        let changes = SessionChanges::decode(get_bytes(bytes).ok()?)?;
        bytes.is_empty().then_some(Self { user, database, settings, peer, encrypted, foreign, changes })
    }
}

/// Serves sessions of clients of other nodes. Cheap to clone.
#[derive(Clone)]
pub struct ForeignSessions {
    engine: Arc<Engine>,
    message_bytes_max: usize,
    shutdown: CancellationToken,
    /// Where sessions run.
    handle: tokio::runtime::Handle,
}

impl ForeignSessions {
    /// For an engine, on the runtime that this is called on, until `shutdown`.
    #[must_use]
    pub fn new(engine: Arc<Engine>, message_bytes_max: usize, shutdown: CancellationToken) -> Self {
        Self { engine, message_bytes_max, shutdown, handle: tokio::runtime::Handle::current() }
    }

    /// A session for what a node sends, and what it is answered.
    #[must_use]
    pub fn serve(&self, requests: BoxStream<'static, Bytes>) -> BoxStream<'static, Bytes> {
        let (answers, waiting) = mpsc::channel(8);
        self.handle.spawn(self.clone().run(requests, answers));
        futures::stream::unfold(waiting, |mut waiting: mpsc::Receiver<Bytes>| async move {
            waiting.recv().await.map(|bytes| (bytes, waiting))
        })
        .boxed()
    }

    async fn run(self, mut requests: BoxStream<'static, Bytes>, answers: mpsc::Sender<Bytes>) {
        let Some(opening) = requests.next().await.and_then(|frame| Opening::decode(&frame)) else {
            return tracing::warn!("another node opened a session in a way that is not understood");
        };
        let (peer, encrypted, foreign) = (opening.peer, opening.encrypted, opening.foreign);
        let session = match self.open(opening).await {
            Ok(session) => session,
            Err(error) => {
                let mut out = Vec::new();
                write_error(&mut out, &error, true);
                return drop(answers.send(out.into()).await);
            }
        };
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let mut connection = Connection::new(Box::new(near), peer, encrypted, self.shutdown.clone());
        let terminated = session.terminated();
        connection.session_started(terminated.clone(), self.message_bytes_max);
        connection.foreign = true;
        let (mut out, mut inward) = tokio::io::split(far);
        let engine = Arc::clone(&self.engine);
        let ends = terminated.clone();
        let receiving = tokio::spawn(async move {
            while let Some(mut frame) = requests.next().await {
                let kind = if frame.is_empty() { 0 } else { frame.get_u8() };
                match kind {
                    DATA => {
                        if inward.write_all(&frame).await.is_err() {
                            break;
                        }
                    }
                    CANCEL => engine.cancel_here(foreign.process_id, foreign.secret),
                    _ => break,
                }
            }
            // The client is gone, or its node.
            ends.cancel();
        });
        let sending = tokio::spawn(async move {
            let mut buffer = BytesMut::with_capacity(64 << 10);
            while let Ok(1..) = out.read_buf(&mut buffer).await {
                if answers.send(buffer.split().freeze()).await.is_err() {
                    terminated.cancel();
                    break;
                }
                buffer.reserve(16 << 10);
            }
        });
        Client::new(connection, session).run().await;
        receiving.abort();
        drop(sending.await);
    }

    async fn open(&self, opening: Opening) -> perigee_types::SqlResult<Session> {
        let mut tries = 0;
        loop {
            let request = ConnectRequest {
                user: opening.user.clone(),
                database: opening.database.clone(),
                settings: opening.settings.clone(),
                peer: opening.peer,
                encrypted: opening.encrypted,
                read_only: false,
            };
            match self.engine.connect_foreign(request, opening.foreign).await {
                Ok(mut session) => {
                    session.adopt(opening.changes);
                    return Ok(session);
                }
                Err(error) if tries == TWIN_TRIES => return Err(error),
                Err(error) if error.state() != perigee_types::SqlState::CannotConnectNow => return Err(error),
                Err(_) => {}
            }
            tries += 1;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

impl Client {
    /// Handles a message of the client's node; `false` for those of the client.
    pub(crate) fn foreign_message(&mut self, tag: u8, body: &[u8]) -> Handled<bool> {
        let broken = || Failure::Fatal(violation("a message of another node does not decode"));
        match tag {
            CHANGES => self.session.adopt(SessionChanges::decode(body).ok_or_else(broken)?),
            COMMIT_NAME => {
                let (origin, number) = body.split_first_chunk::<8>().ok_or_else(broken)?;
                let number = number.first_chunk::<8>().ok_or_else(broken)?;
                self.session.name_next_commit(u64::from_be_bytes(*origin), u64::from_be_bytes(*number));
                self.session.trace_within(None);
            }
            TRACE => match std::str::from_utf8(body).ok().and_then(Told::read) {
                Some(Told::Recorded(step)) => self.session.trace_within(Some(step)),
                Some(Told::NotRecorded) | None => return Err(broken()),
            },
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Gives the client's node what the client is to be told once the commit is known: what waits to be written, and `end`. It keeps that for
    /// the case that this node is lost; nothing goes to the client before the commit.
    pub(crate) async fn tell_before_commit(&mut self, end: &[u8]) -> Handled<()> {
        let held = std::mem::take(&mut self.connection.output);
        crate::backend::message(&mut self.connection.output, PROVISIONAL, |out| {
            out.extend_from_slice(&held);
            out.extend_from_slice(end);
        });
        self.connection.flush().await?;
        self.connection.output = held;
        Ok(())
    }

    /// Tells the client's node what has changed in the session, between transactions.
    pub(crate) fn tell_changes(&mut self) {
        let changes = self.session.take_changes();
        if !changes.is_empty() {
            crate::backend::message(&mut self.connection.output, CHANGES, |out| {
                out.extend_from_slice(&changes.encode())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_survives_a_round_trip() {
        let opening = Opening {
            user: "u".to_owned(),
            database: "d".to_owned(),
            settings: vec![("TimeZone".to_owned(), "UTC".to_owned())],
            peer: "127.0.0.1:5".parse().ok(),
            encrypted: true,
            foreign: Foreign { process_id: 7, secret: -3 },
            changes: SessionChanges::default(),
        };
        let bytes = opening.encode();
        let read = Opening::decode(&bytes).unwrap();
        assert_eq!((read.user, read.peer, read.foreign), (opening.user, opening.peer, opening.foreign));
        assert!((0..bytes.len()).all(|end| Opening::decode(&bytes[..end]).is_none()));
    }
}
