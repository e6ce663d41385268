//! Checkpoints for another member or a backup, and from one: all pairs of the LSM, in key order.
//!
//! ```text
//! sending:    one scan of the LSM -> pieces
//! receiving:  pieces -> one run into lsm.received -> synced, renamed to lsm.installed -> the next start takes it for lsm
//! ```
//!
//! All pieces together: for each pair length u32, key, length u32, value, little endian. A value that is larger than a piece may
//! be (an object of the keyspace is one value) goes on in the next.

use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use perigee_consensus::{Applied, SnapshotPosition, SnapshotReader, SnapshotWriter, Snapshots};
use perigee_storage::checkpoint::position;
use perigee_storage::kv::{FjallKv, KvEngine, KvIter, KvOptions, RunItem};
use perigee_storage::store::Recovered;

const PIECE_BYTES: usize = 1 << 20;
/// Pieces that wait for the disk.
const WAITING: usize = 2;

/// The LSM that is being received, and the one that is whole and waits for the next start.
const RECEIVED: &str = "lsm.received";
const INSTALLED: &str = "lsm.installed";

/// The checkpoints of a node with its folder at `root`.
pub struct LsmSnapshots {
    kv: Arc<dyn KvEngine>,
    root: PathBuf,
}

impl LsmSnapshots {
    /// Over the node's LSM.
    #[must_use]
    pub fn new(kv: Arc<dyn KvEngine>, root: &Path) -> Self {
        Self { kv, root: root.to_owned() }
    }
}

/// Where a checkpoint stands.
#[must_use]
pub fn position_of(recovered: Recovered) -> SnapshotPosition {
    SnapshotPosition {
        applied: Applied { index: recovered.index, term: recovered.term, membership: recovered.membership },
        chain_hash: recovered.chain_hash,
    }
}

/// The newest checkpoint, as it is now: what is read of it does not change. `None` where there is none.
///
/// # Errors
/// What the disk gives.
pub fn pin(kv: &dyn KvEngine) -> io::Result<Option<(Recovered, KvIter)>> {
    // A checkpoint may come between the question and the scan.
    loop {
        let Some(before) = position(kv).map_err(io::Error::other)? else { return Ok(None) };
        let pairs = kv.scan(Bound::Unbounded, Bound::Unbounded);
        if position(kv).map_err(io::Error::other)?.as_ref() == Some(&before) {
            return Ok(Some((before, pairs)));
        }
    }
}

/// Makes pieces of pairs.
pub struct PieceReader {
    pairs: KvIter,
    /// What did not fit the piece before.
    left: Bytes,
}

impl PieceReader {
    /// Of all of these pairs.
    #[must_use]
    pub fn new(pairs: KvIter) -> Self {
        Self { pairs, left: Bytes::new() }
    }

    /// The next piece, of at least `bytes` where there is so much, and at most four times as many; `look` sees each pair that is
    /// read for it. `None` at the end.
    ///
    /// # Errors
    /// What the disk gives, and `look`.
    pub fn next(
        &mut self,
        bytes: usize,
        look: impl FnMut(&[u8], &[u8]) -> io::Result<()>,
    ) -> io::Result<Option<Bytes>> {
        if self.left.is_empty() {
            let Some(piece) = next_pairs(&mut self.pairs, bytes, look)? else { return Ok(None) };
            self.left = piece;
        }
        let length = self.left.len().min(bytes.saturating_mul(4));
        Ok(Some(self.left.split_to(length)))
    }
}

/// The next pairs, of at least `bytes` where there are so many.
fn next_pairs(
    pairs: &mut KvIter,
    bytes: usize,
    mut look: impl FnMut(&[u8], &[u8]) -> io::Result<()>,
) -> io::Result<Option<Bytes>> {
    let mut piece = BytesMut::new();
    while piece.len() < bytes {
        let Some(pair) = pairs.next() else { break };
        let (key, value) = pair.map_err(io::Error::other)?;
        look(&key, &value)?;
        for part in [key, value] {
            let length = u32::try_from(part.len()).map_err(io::Error::other)?;
            piece.put_u32_le(length);
            piece.put_slice(&part);
        }
    }
    Ok((!piece.is_empty()).then(|| piece.freeze()))
}

/// Takes a checkpoint in beside the LSM of the folder at `root`: see [`install`].
///
/// # Errors
/// What the disk gives.
pub fn receive(root: &Path, position: &SnapshotPosition) -> io::Result<Box<dyn SnapshotWriter>> {
    let dir = root.join(RECEIVED);
    if dir.try_exists()? {
        std::fs::remove_dir_all(&dir)?;
    }
    let (pieces, waiting) = sync_channel(WAITING);
    let writing = std::thread::Builder::new().name("snapshot".to_owned()).spawn(move || write(&dir, waiting))?;
    Ok(Box::new(Writer {
        root: root.to_owned(),
        position: position.clone(),
        pieces: Some(pieces),
        writing: Some(writing),
    }))
}

/// Puts a snapshot that was received whole in the place of the LSM in `root`. Before the LSM is opened; to be repeated after a
/// crash. `true` when there was one: the log is to be brought behind it.
///
/// # Errors
/// What the disk gives.
pub fn install(root: &Path) -> io::Result<bool> {
    let received = root.join(RECEIVED);
    if received.try_exists()? {
        std::fs::remove_dir_all(received)?;
    }
    let (installed, lsm) = (root.join(INSTALLED), root.join("lsm"));
    if !installed.try_exists()? {
        return Ok(false);
    }
    if lsm.try_exists()? {
        std::fs::remove_dir_all(&lsm)?;
    }
    std::fs::rename(installed, lsm)?;
    std::fs::File::open(root)?.sync_all()?;
    Ok(true)
}

/// Whether a snapshot waits to be installed.
///
/// # Errors
/// What the disk gives.
pub fn waits(root: &Path) -> io::Result<bool> {
    root.join(INSTALLED).try_exists()
}

impl Snapshots for LsmSnapshots {
    fn open(&self) -> io::Result<Option<Box<dyn SnapshotReader>>> {
        let pinned = pin(&*self.kv)?;
        Ok(pinned.map(|(recovered, pairs)| {
            Box::new(Reader { position: position_of(recovered), pieces: PieceReader::new(pairs) }) as _
        }))
    }

    fn receive(&self, position: &SnapshotPosition) -> io::Result<Box<dyn SnapshotWriter>> {
        receive(&self.root, position)
    }
}

struct Reader {
    position: SnapshotPosition,
    pieces: PieceReader,
}

impl SnapshotReader for Reader {
    fn position(&self) -> &SnapshotPosition {
        &self.position
    }

    fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.pieces.next(PIECE_BYTES, |_, _| Ok(()))
    }
}

struct Writer {
    root: PathBuf,
    position: SnapshotPosition,
    pieces: Option<SyncSender<Vec<u8>>>,
    writing: Option<JoinHandle<io::Result<FjallKv>>>,
}

impl Writer {
    /// Why the thread has ended before its time.
    fn ended(&mut self) -> io::Error {
        self.pieces = None;
        match self.writing.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => error,
            _ => io::Error::other("the snapshot cannot be written"),
        }
    }
}

impl SnapshotWriter for Writer {
    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let sent = self.pieces.as_ref().is_some_and(|pieces| pieces.send(piece.to_vec()).is_ok());
        if sent { Ok(()) } else { Err(self.ended()) }
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.pieces = None;
        let gone = || io::Error::other("the snapshot cannot be written");
        let kv = self.writing.take().ok_or_else(gone)?.join().map_err(|_| gone())??;
        let found = position(&kv).map_err(io::Error::other)?;
        let wanted = &self.position;
        let whole = found.is_some_and(|found| {
            (found.index, found.term, found.chain_hash)
                == (wanted.applied.index, wanted.applied.term, wanted.chain_hash)
        });
        if !whole {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the snapshot is not the one that was announced"));
        }
        drop(kv);
        let (received, installed) = (self.root.join(RECEIVED), self.root.join(INSTALLED));
        sync_all(&received)?;
        if installed.try_exists()? {
            std::fs::remove_dir_all(&installed)?;
        }
        std::fs::rename(received, installed)?;
        std::fs::File::open(&self.root)?.sync_all()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // So that nobody writes to the folder when the next one begins.
        self.pieces = None;
        if let Some(writing) = self.writing.take() {
            drop(writing.join());
        }
    }
}

/// Makes an LSM of all pieces that come.
fn write(dir: &Path, pieces: Receiver<Vec<u8>>) -> io::Result<FjallKv> {
    let kv = FjallKv::open(dir, &KvOptions::default()).map_err(io::Error::other)?;
    let mut pairs = Pairs { pieces, piece: Bytes::new() };
    kv.ingest(&mut pairs).map_err(io::Error::other)?;
    Ok(kv)
}

/// The pairs of pieces as they come.
struct Pairs {
    pieces: Receiver<Vec<u8>>,
    piece: Bytes,
}

impl Pairs {
    /// So many bytes more, of as many pieces as have them.
    fn take(&mut self, count: usize) -> io::Result<Bytes> {
        if self.piece.len() >= count {
            return Ok(self.piece.split_to(count));
        }
        let mut taken = BytesMut::from(&std::mem::take(&mut self.piece)[..]);
        while taken.len() < count {
            let cut = |_| io::Error::new(io::ErrorKind::InvalidData, "a piece of the snapshot is cut off");
            self.piece = self.pieces.recv().map_err(cut)?.into();
            let more = self.piece.len().min(count - taken.len());
            taken.extend_from_slice(&self.piece.split_to(more));
        }
        Ok(taken.freeze())
    }

    fn part(&mut self) -> io::Result<Bytes> {
        let mut length = self.take(4)?;
        self.take(length.get_u32_le() as usize)
    }
}

impl Iterator for Pairs {
    type Item = RunItem;

    fn next(&mut self) -> Option<RunItem> {
        while self.piece.is_empty() {
            self.piece = self.pieces.recv().ok()?.into();
        }
        let pair = self.part().and_then(|key| Ok((key.to_vec(), Some(self.part()?))));
        Some(pair.map_err(Into::into))
    }
}

fn sync_all(dir: &Path) -> io::Result<()> {
    for entry in dir.read_dir()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all(&entry.path())?
        } else {
            std::fs::File::open(entry.path())?.sync_all()?
        }
    }
    std::fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_any_size_go_through_pieces() {
        let sizes = [0, 1, PIECE_BYTES, 9 * PIECE_BYTES + 5, 3, 4 * PIECE_BYTES - 13, 4 * PIECE_BYTES];
        let sent: Vec<(Bytes, Bytes)> = (0u8..)
            .zip(sizes)
            .map(|(n, size)| (Bytes::from(vec![n]), (0..size).map(|at| (at % 251) as u8).collect()))
            .collect();
        let mut reader = PieceReader::new(Box::new(sent.clone().into_iter().map(Ok)));
        let (pieces, waiting) = sync_channel(100);
        let mut seen = 0;
        let mut look = |_: &[u8], _: &[u8]| {
            seen += 1;
            Ok(())
        };
        while let Some(piece) = reader.next(PIECE_BYTES, &mut look).unwrap() {
            assert!(!piece.is_empty() && piece.len() <= 4 * PIECE_BYTES);
            pieces.send(piece.to_vec()).unwrap();
        }
        assert_eq!(seen, sent.len());
        drop(pieces);
        let received: Vec<_> = Pairs { pieces: waiting, piece: Bytes::new() }.map(Result::unwrap).collect();
        assert!(received.into_iter().map(|(key, value)| (Bytes::from(key), value.unwrap())).eq(sent));

        let (pieces, waiting) = sync_channel(100);
        pieces.send(vec![1, 0, 0, 0, 7, 9, 0, 0, 0, 1]).unwrap();
        drop(pieces);
        assert!(Pairs { pieces: waiting, piece: Bytes::new() }.next().unwrap().is_err(), "the rest is missing");
    }

    #[test]
    fn what_was_received_takes_the_place_of_the_lsm() {
        let root = tempfile::tempdir().unwrap();
        let (lsm, installed) = (root.path().join("lsm"), root.path().join(INSTALLED));
        std::fs::create_dir_all(root.path().join(RECEIVED)).unwrap();
        std::fs::create_dir_all(&lsm).unwrap();
        std::fs::write(lsm.join("old"), "").unwrap();
        assert!(!install(root.path()).unwrap(), "half of one is none");
        assert!(lsm.join("old").exists() && !root.path().join(RECEIVED).exists());
        std::fs::create_dir_all(&installed).unwrap();
        std::fs::write(installed.join("new"), "").unwrap();
        assert!(waits(root.path()).unwrap());
        assert!(install(root.path()).unwrap());
        assert!(lsm.join("new").exists() && !lsm.join("old").exists());
        assert!(!waits(root.path()).unwrap());
    }
}
