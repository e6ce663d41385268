//! Sending the state machine's last checkpoint to a member whose log ends before ours begins.
//!
//! ```text
//!   leader                              follower
//!   begin(number, position)  ---->      what is there of it?  <- an interrupted one goes on where it stopped
//!   piece 0, 1, 2 ...        ---->      written beside the live state
//!   end                      ---->      made durable; the node stops and starts again over it
//! ```
//!
//! What the pieces hold is the state machine's affair: see [`Snapshots`]. They are compressed here, and sent no faster than the
//! options say. A snapshot holds committed entries only, so it may take the place of any older state at any time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use perigee_log::{Log, LogError};
use perigee_runtime::Clock;
use perigee_types::LogIndex;

use crate::machine::Applied;
use crate::raft_types::{Vote, damaged};
use crate::transport::{Call, Link, LinkError};
use crate::wire;

/// The receiver needs nothing of it: its own state is as new.
pub(crate) const NOT_NEEDED: u64 = u64::MAX;
/// The largest piece, unpacked.
const PIECE_BYTES_MAX: usize = 64 << 20;
const COMPRESSION: i32 = 1;
/// Bytes of a piece that any way carries in a second.
const SLOWEST: u64 = 64 << 10;

/// Where in the log a snapshot stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPosition {
    /// What it holds.
    pub applied: Applied,
    /// Chain hash of the log there.
    pub chain_hash: [u8; 32],
}

/// Checkpoints as something that can be sent and taken in. All of it blocks on the disk.
pub trait Snapshots: Send + Sync + 'static {
    /// The newest checkpoint, as it is now: what is read of it does not change. `None` when there is none.
    ///
    /// # Errors
    /// What the disk gives.
    fn open(&self) -> io::Result<Option<Box<dyn SnapshotReader>>>;

    /// Makes room for a snapshot beside the live state; what an interrupted one has left is dropped.
    ///
    /// # Errors
    /// What the disk gives.
    fn receive(&self, position: &SnapshotPosition) -> io::Result<Box<dyn SnapshotWriter>>;
}

/// A snapshot that is read from its beginning to its end.
pub trait SnapshotReader: Send + 'static {
    /// What it holds.
    fn position(&self) -> &SnapshotPosition;

    /// The next piece, of about a megabyte; `None` at the end.
    ///
    /// # Errors
    /// What the disk gives, damage included.
    fn next(&mut self) -> io::Result<Option<Bytes>>;
}

/// A snapshot that is written from its beginning to its end.
pub trait SnapshotWriter: Send + 'static {
    /// Takes the next piece.
    ///
    /// # Errors
    /// What the disk gives; a piece that makes no sense.
    fn write(&mut self, piece: &[u8]) -> io::Result<()>;

    /// All pieces have come: durable on return, and what the next start begins from.
    ///
    /// # Errors
    /// What the disk gives.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Brings the log behind an installed snapshot, when it is not: called with the log open and before consensus starts.
///
/// # Errors
/// [`LogError::Purged`] when the log was cut behind the snapshot: this node knew more once. Else what the log gives; it is poisoned
/// then.
pub fn adopt(log: &Log, position: &SnapshotPosition) -> Result<(), LogError> {
    let (index, term) = (position.applied.index.0, position.applied.term.0);
    if log.last_purged().is_some_and(|(_, purged)| purged > index) {
        return Err(LogError::Purged { index, first: log.first_index() });
    }
    // Entries behind a snapshot of the same history stay: they were acknowledged.
    if log.term_at(index) == Some(term) {
        return Ok(());
    }
    log.reset_to(term, index, position.chain_hash)
}

/// A snapshot on its way out; kept over broken connections, so that it goes on where it stopped.
pub(crate) struct Sending {
    id: u128,
    position: SnapshotPosition,
    /// In a mutex because openraft wants `Sync`; never locked.
    reader: Option<Mutex<Box<dyn SnapshotReader>>>,
    /// The piece that was read last, packed, with its number.
    piece: Option<(u64, Bytes)>,
    next: u64,
}

/// Why a snapshot was not sent.
pub(crate) enum SendError {
    /// The receiver has seen another leader.
    Higher(Vote),
    Link(LinkError),
    Read(io::Error),
}

/// What a transfer needs beside the snapshot.
pub(crate) struct Sender<'a> {
    pub(crate) link: &'a dyn Link,
    pub(crate) vote: Vote,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) patience: Duration,
    pub(crate) bytes_per_second: u64,
    /// Reads on a thread that may block; not in a simulation.
    pub(crate) blocking: bool,
}

impl Sending {
    pub(crate) fn new(id: u128, reader: Box<dyn SnapshotReader>) -> Self {
        Self { id, position: reader.position().clone(), reader: Some(Mutex::new(reader)), piece: None, next: 0 }
    }

    /// Whether who has it holds the log up to `index`.
    pub(crate) fn holds(&self, index: LogIndex) -> bool {
        self.position.applied.index >= index
    }

    /// Sends what the receiver does not have yet.
    pub(crate) async fn run(&mut self, sender: &Sender<'_>) -> Result<Vote, SendError> {
        let begin = wire::encode_snapshot_begin(&sender.vote, self.id, &self.position).map_err(SendError::Read)?;
        let (vote, wanted) = sender.ask(Call::SnapshotBegin, begin).await?;
        if wanted == NOT_NEEDED {
            return Ok(vote);
        }
        let kept = self.piece.as_ref().map_or(self.next, |(number, _)| *number);
        if wanted != kept && wanted != self.next {
            let reason = format!("the receiver wants piece {wanted} of a snapshot that stands at {kept}");
            return Err(SendError::Read(damaged(reason)));
        }
        if wanted == self.next {
            self.piece = None;
        }
        loop {
            if self.piece.is_none() {
                match self.read(sender.blocking).await.map_err(SendError::Read)? {
                    Some(bytes) => {
                        self.piece = Some((self.next, bytes));
                        self.next += 1;
                    }
                    None => break,
                }
            }
            let Some((number, bytes)) = &self.piece else { break };
            let packed = bytes.len() as u64;
            let message =
                wire::encode_snapshot_piece(&sender.vote, self.id, *number, bytes).map_err(SendError::Read)?;
            sender.ask(Call::SnapshotPiece, message).await?;
            self.piece = None;
            if let Some(micros) = (packed * 1_000_000).checked_div(sender.bytes_per_second) {
                sender.clock.sleep(Duration::from_micros(micros)).await;
            }
        }
        let end = wire::encode_snapshot_piece(&sender.vote, self.id, self.next, &[]).map_err(SendError::Read)?;
        sender.ask(Call::SnapshotEnd, end).await.map(|(vote, _)| vote)
    }

    /// The next piece, packed.
    async fn read(&mut self, blocking: bool) -> io::Result<Option<Bytes>> {
        let Some(mut reader) = self.reader.take().map(Mutex::into_inner) else {
            return Err(io::Error::other("the snapshot could not be read on"));
        };
        let read = move || {
            let piece = reader.next().and_then(|piece| piece.map(|piece| pack(&piece)).transpose());
            (reader, piece)
        };
        let (reader, piece) =
            if blocking { tokio::task::spawn_blocking(read).await.map_err(io::Error::other)? } else { read() };
        self.reader = Some(Mutex::new(reader));
        piece
    }
}

impl Sender<'_> {
    async fn ask(&self, call: Call, body: Bytes) -> Result<(Vote, u64), SendError> {
        let patience = self.patience + Duration::from_secs(body.len() as u64 / SLOWEST);
        let answer = self.link.call(call, body, patience).await.map_err(SendError::Link)?;
        let (vote, next) = wire::decode_snapshot_answer(answer).map_err(SendError::Read)?;
        if vote > self.vote { Err(SendError::Higher(vote)) } else { Ok((vote, next)) }
    }
}

fn pack(piece: &[u8]) -> io::Result<Bytes> {
    Ok(zstd::bulk::compress(piece, COMPRESSION)?.into())
}

pub(crate) fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::decompress(packed, PIECE_BYTES_MAX)
}

/// A snapshot on its way in.
pub(crate) struct Receiving {
    pub(crate) id: u128,
    pub(crate) writer: Option<Box<dyn SnapshotWriter>>,
    /// The piece that comes next.
    pub(crate) next: u64,
}
