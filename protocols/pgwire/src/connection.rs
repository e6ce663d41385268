//! The socket with its two buffers.
//!
//! Input is read in pieces as it comes: a length that a client claims allocates nothing. Output is collected and
//! written at flush points, or when it has grown to [`OUTPUT_BYTES`]; a client that does not read blocks only its own
//! task, with that much in memory.

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use perigee_types::SqlError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::error::{Failure, Handled, terminated, violation};
use crate::foreign::{CHANGES, COMMIT_NAME, TRACE};
use crate::frontend;

/// Output that is written even though no flush point has come.
pub(crate) const OUTPUT_BYTES: usize = 64 << 10;

/// Output buffers that have grown beyond this are given back after a flush.
const OUTPUT_KEPT_BYTES: usize = 1 << 20;

/// The most bytes of a message before the client has proved itself.
const STARTUP_MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Space for input that a read is given.
const READ_BYTES: usize = 16 << 10;

/// Reads that a closing connection still does.
const CLOSE_READS: usize = 256;

/// A socket, or TLS over it.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// A client's connection.
pub(crate) struct Connection {
    stream: Box<dyn Transport>,
    input: BytesMut,
    /// Messages that wait for the next flush point.
    pub(crate) output: Vec<u8>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) encrypted: bool,
    /// The server stops: ends waiting for input, but lets a statement that runs write its answer.
    ended: CancellationToken,
    /// The session is terminated: ends all waiting.
    terminated: CancellationToken,
    /// The most bytes of one message.
    message_bytes_max: usize,
    /// Of a client of another node: some messages are the node's.
    pub(crate) foreign: bool,
}

impl Connection {
    pub(crate) fn new(
        stream: Box<dyn Transport>,
        peer: Option<SocketAddr>,
        encrypted: bool,
        ended: CancellationToken,
    ) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: Vec::new(),
            peer,
            encrypted,
            ended,
            terminated: CancellationToken::new(),
            message_bytes_max: STARTUP_MESSAGE_BYTES_MAX,
            foreign: false,
        }
    }

    /// The client has proved itself: it may send long messages, and be terminated.
    pub(crate) fn session_started(&mut self, terminated: CancellationToken, message_bytes_max: usize) {
        self.terminated = terminated;
        self.message_bytes_max = message_bytes_max;
    }

    /// Takes the next message: its tag and body. Waits for as much of it as the client sends.
    ///
    /// # Errors
    /// A length that cannot be and a type that does not exist are fatal: what follows could not be read.
    pub(crate) async fn message(&mut self) -> Handled<(u8, BytesMut)> {
        loop {
            if let Some(message) = self.buffered_message()? {
                return Ok(message);
            }
            self.read_more().await?;
        }
    }

    /// The next message, if it is here already.
    pub(crate) fn buffered_message(&mut self) -> Handled<Option<(u8, BytesMut)>> {
        let &[tag, a, b, c, d, ..] = &self.input[..] else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let own = matches!(tag, CHANGES | COMMIT_NAME | TRACE) && self.foreign;
        let bytes_max = frontend::bytes_max(tag, self.message_bytes_max).or(own.then_some(self.message_bytes_max));
        let Some(bytes_max) = bytes_max else {
            return Err(Failure::Fatal(violation(format!("invalid frontend message type {tag}"))));
        };
        if length < 4 || length - 4 > bytes_max {
            return Err(Failure::Fatal(violation("invalid message length")));
        }
        if self.input.len() < length + 1 {
            return Ok(None);
        }
        let _header = self.input.split_to(5);
        Ok(Some((tag, self.input.split_to(length - 4))))
    }

    /// Takes a message of the start-up: no tag, a length and a body of at most `bytes_max`.
    pub(crate) async fn untagged_message(&mut self, bytes_max: usize) -> Handled<BytesMut> {
        loop {
            if let &[a, b, c, d, ..] = &self.input[..] {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                if length < 8 || length > bytes_max {
                    return Err(Failure::Fatal(violation("invalid length of startup packet")));
                }
                if self.input.len() >= length {
                    let _length = self.input.split_to(4);
                    return Ok(self.input.split_to(length - 4));
                }
            }
            self.read_more().await?;
        }
    }

    /// Messages come again, before those that have come since.
    pub(crate) fn unread(&mut self, bytes: &[u8]) {
        let rest = std::mem::take(&mut self.input);
        self.input.extend_from_slice(bytes);
        self.input.extend_from_slice(&rest);
    }

    /// Whether the server stops.
    pub(crate) fn is_ending(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Whether the client has sent more than was taken.
    pub(crate) fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Waits for more input.
    ///
    /// # Errors
    /// `57P01` when the connection is ended meanwhile; an end of the stream is [`io::ErrorKind::UnexpectedEof`].
    pub(crate) async fn read_more(&mut self) -> Handled<()> {
        self.input.reserve(READ_BYTES);
        let read = tokio::select! {
            biased;
            read = self.stream.read_buf(&mut self.input) => read?,
            () = self.ended.cancelled() => return Err(Failure::Fatal(terminated())),
            () = self.terminated.cancelled() => return Err(Failure::Fatal(terminated())),
        };
        if read == 0 { Err(Failure::Io(io::ErrorKind::UnexpectedEof.into())) } else { Ok(()) }
    }

    /// Writes what was collected.
    ///
    /// # Errors
    /// When the session is terminated while the client does not read.
    pub(crate) async fn flush(&mut self) -> Handled<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let writing = async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
        };
        tokio::select! {
            biased;
            written = writing => written?,
            () = self.terminated.cancelled() => {
                // Part of it may be written already: nothing more can be said.
                self.output.clear();
                return Err(Failure::Io(io::ErrorKind::TimedOut.into()));
            }
        }
        self.output.clear();
        if self.output.capacity() > OUTPUT_KEPT_BYTES {
            self.output = Vec::with_capacity(OUTPUT_BYTES);
        }
        Ok(())
    }

    /// Writes what was collected if it is much.
    pub(crate) async fn flush_if_full(&mut self) -> Handled<()> {
        if self.output.len() >= OUTPUT_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Tells the client why, and closes; gives up on a client that does not read.
    pub(crate) async fn close(mut self, error: Option<&SqlError>) {
        if let Some(error) = error {
            crate::error::write_error(&mut self.output, error, true);
        }
        let closing = async {
            self.stream.write_all(&self.output).await?;
            self.stream.shutdown().await?;
            // Input that was not read would make the system reset the connection, and the error would be lost.
            let mut rest = [0; 4096];
            for _ in 0..CLOSE_READS {
                if self.stream.read(&mut rest).await? == 0 {
                    break;
                }
            }
            io::Result::Ok(())
        };
        drop(tokio::time::timeout(std::time::Duration::from_secs(2), closing).await);
    }

    /// The stream, to be wrapped in TLS.
    pub(crate) fn into_stream(self) -> Box<dyn Transport> {
        self.stream
    }

    /// Writes bytes at once: the one-byte answers of the start-up.
    pub(crate) async fn write_now(&mut self, bytes: &[u8]) -> Handled<()> {
        self.output.extend_from_slice(bytes);
        self.flush().await
    }
}
