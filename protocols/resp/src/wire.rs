//! The socket with its two buffers.
//!
//! Reading and writing go on at the same time: a client may send a long pipeline before it reads the first reply. A
//! client that never reads is not read from any more once [`OUTPUT_BYTES_READING`] wait for it, and closed by the limits
//! of `client-output-buffer-limit` or when it takes nothing for a while.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

use crate::client::Client;
use crate::session::{Ended, Killed};

/// While more than this waits for a client, nothing is read from it.
pub(crate) const OUTPUT_BYTES_READING: usize = 8 << 20;
/// Space for input that a read is given: more for those who fill it, so that ten thousand quiet clients hold little.
const READ_BYTES_MIN: usize = 1 << 10;
const READ_BYTES_MAX: usize = 64 << 10;
/// As much is left at least when a read goes into the space that there is.
const ROOM_BYTES_MIN: usize = READ_BYTES_MIN / 4;
/// Input that is still read while a command runs, to see the end of a connection.
const INPUT_BYTES_WAITING: usize = 1 << 20;
/// Buffers that have grown beyond this are given back.
const KEPT_BYTES: usize = 64 << 10;

/// A socket, or TLS over it.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There is more input, or none will come any more.
    Input,
    /// Less than half of [`OUTPUT_BYTES_READING`] waits.
    Written,
}

/// See the module.
pub(crate) struct Wire {
    stream: Box<dyn Transport>,
    /// What was read and not taken yet.
    pub(crate) input: BytesMut,
    /// What is to be written.
    pub(crate) output: Vec<u8>,
    /// What of it was written.
    written: usize,
    must_flush: bool,
    /// Space for the next read, where there must be more.
    ahead: usize,
    /// Bytes of the last read.
    last_read: usize,
    /// The most that `input` held since it was new.
    input_peak: usize,
    /// The client sends no more.
    pub(crate) is_over: bool,
}

impl Wire {
    pub(crate) fn new(stream: Box<dyn Transport>) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: Vec::new(),
            written: 0,
            must_flush: false,
            ahead: READ_BYTES_MIN,
            last_read: 0,
            input_peak: 0,
            is_over: false,
        }
    }

    /// Bytes that wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.output.len() - self.written
    }

    /// Whether the client reads slower than it asks.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting() > OUTPUT_BYTES_READING
    }

    /// Writes what there is, takes what others sent, and waits for input.
    ///
    /// # Errors
    /// [`Ended`] when nothing more can be done.
    pub(crate) async fn turn(&mut self, client: &Client) -> Result<Turn, Ended> {
        std::future::poll_fn(|cx| self.poll_turn(cx, client)).await
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, client: &Client) -> Poll<Result<Turn, Ended>> {
        client.waker.register(cx.waker());
        if let Some(Killed::Now) = client.killed() {
            return Poll::Ready(Err(Ended));
        }
        client.take_outbox(&mut self.output);
        let was_full = self.is_full();
        self.poll_write(cx, client)?;
        if client.killed().is_some() && self.waiting() == 0 {
            return Poll::Ready(Err(Ended));
        }
        if self.is_over {
            return if self.waiting() == 0 { Poll::Ready(Ok(Turn::Input)) } else { Poll::Pending };
        }
        if self.is_full() {
            return Poll::Pending;
        }
        if was_full {
            return Poll::Ready(Ok(Turn::Written));
        }
        match self.poll_read(cx, client)? {
            Poll::Ready(()) => Poll::Ready(Ok(Turn::Input)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Waits for a command, while the client may read, write and leave. `takes` says that what others send goes out
    /// meanwhile: not before the replies of a command that does not wait.
    ///
    /// # Errors
    /// [`Ended`] when the client has left a command that waits, or was ended.
    pub(crate) async fn wait<T>(
        &mut self,
        client: &Client,
        takes: bool,
        future: impl Future<Output = T>,
    ) -> Result<T, Ended> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            client.waker.register(cx.waker());
            if client.killed().is_some() && takes {
                return Poll::Ready(Err(Ended));
            }
            if takes {
                client.take_outbox(&mut self.output);
            }
            self.poll_write(cx, client)?;
            while !self.is_over && self.input.len() < INPUT_BYTES_WAITING {
                match self.poll_read(cx, client)? {
                    Poll::Ready(()) => {}
                    Poll::Pending => return Poll::Pending,
                }
            }
            if self.is_over && takes { Poll::Ready(Err(Ended)) } else { Poll::Pending }
        })
        .await
    }

    /// Writes until the client has taken most of what waits.
    ///
    /// # Errors
    /// [`Ended`] when it was ended.
    pub(crate) async fn drain(&mut self, client: &Client) -> Result<(), Ended> {
        std::future::poll_fn(|cx| {
            client.waker.register(cx.waker());
            if client.killed() == Some(Killed::Now) {
                return Poll::Ready(Err(Ended));
            }
            self.poll_write(cx, client)?;
            if self.is_full() { Poll::Pending } else { Poll::Ready(Ok(())) }
        })
        .await
    }

    /// Reads once.
    fn poll_read(&mut self, cx: &mut Context<'_>, client: &Client) -> Result<Poll<()>, Ended> {
        if self.input.is_empty() && self.input_peak > KEPT_BYTES {
            // It would go on holding all of the memory of what was taken out of it.
            self.input = BytesMut::new();
            self.input_peak = 0;
        }
        // Commands that are small come into the space behind those before them: new memory for each would cost more than its parse.
        let wanted = (self.last_read * 2).clamp(ROOM_BYTES_MIN, self.ahead);
        if self.input.capacity() - self.input.len() < wanted {
            self.input.reserve(self.ahead);
        }
        let room = self.input.capacity() - self.input.len();
        match poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input) {
            Poll::Ready(Ok(read)) => {
                self.is_over |= read == 0;
                self.last_read = read;
                self.input_peak = self.input_peak.max(self.input.len());
                if read == room {
                    self.ahead = (self.ahead * 2).min(READ_BYTES_MAX);
                } else if read < self.ahead / 4 {
                    self.ahead = (self.ahead / 2).max(READ_BYTES_MIN);
                }
                client.input_bytes.store(self.input.len(), Ordering::Relaxed);
                client.active_ms.store(client.age_ms(), Ordering::Relaxed);
                client.read_bytes.fetch_add(read as u64, Ordering::Relaxed);
                Ok(Poll::Ready(()))
            }
            Poll::Ready(Err(_)) => Err(Ended),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, client: &Client) -> Result<(), Ended> {
        let progress = self.poll_write_all(cx, client);
        client.output_bytes.store(self.waiting(), Ordering::Relaxed);
        match progress {
            Poll::Ready(Err(_)) => Err(Ended),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>, client: &Client) -> Poll<io::Result<()>> {
        while self.written < self.output.len() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output[self.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
            client.sent_bytes.fetch_add(count as u64, Ordering::Relaxed);
            self.must_flush = true;
            if self.written < self.output.len() {
                // Only who does not take all of it may be one that does not read; of others the look at all clients knows.
                client.written_ms.store(client.age_ms(), Ordering::Relaxed);
            }
        }
        self.written = 0;
        self.output.clear();
        self.output.shrink_to(KEPT_BYTES);
        if self.must_flush {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.must_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what there is and closes; gives up on a client that does not read.
    pub(crate) async fn close(mut self, client: &Client) {
        let closing = async {
            std::future::poll_fn(|cx| self.poll_write_all(cx, client)).await?;
            std::future::poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await?;
            // Input that was not read would make the system reset the connection, and the last reply would be lost.
            for _ in 0..256 {
                self.input.clear();
                match std::future::poll_fn(|cx| match self.poll_read(cx, client) {
                    Ok(Poll::Pending) => Poll::Pending,
                    Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
                    Err(ended) => Poll::Ready(Err(ended)),
                })
                .await
                {
                    Ok(()) if !self.is_over => {}
                    _ => break,
                }
            }
            io::Result::Ok(())
        };
        drop(tokio::time::timeout(std::time::Duration::from_secs(1), closing).await);
    }
}
