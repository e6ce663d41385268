//! Small facts of a node, in `DIR/meta`: who it is, what it voted, what was attested.
//!
//! Each fact is a file of its own with a checksum, replaced as a whole; anchors are appended to one file.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use perigee_runtime::{File, Files};

use crate::error::LogError;
use crate::record::Anchor;
use crate::sealed;

const MAGIC: [u8; 8] = *b"PERIMETA";
const ATTESTED: &str = "attested";
const ANCHOR_BYTES: usize = 44;
const IDENTITY_BYTES: usize = 40;

/// Who a node is. The incarnation is made with the data directory: an empty disk makes a new member, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Its number in the cluster.
    pub node_id: u64,
    /// Random, made with the data directory.
    pub incarnation: u128,
    /// The cluster that it belongs to.
    pub cluster_id: u128,
}

impl NodeIdentity {
    /// A new incarnation, from the system's randomness.
    #[must_use]
    pub fn new(node_id: u64, cluster_id: u128) -> Self {
        Self { node_id, incarnation: random_id(), cluster_id }
    }

    fn encode(&self) -> [u8; IDENTITY_BYTES] {
        let mut out = [0; IDENTITY_BYTES];
        out[0..8].copy_from_slice(&self.node_id.to_le_bytes());
        out[8..24].copy_from_slice(&self.incarnation.to_le_bytes());
        out[24..40].copy_from_slice(&self.cluster_id.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (node_id, rest) = bytes.split_first_chunk()?;
        let (incarnation, rest) = rest.split_first_chunk()?;
        let (cluster_id, rest) = rest.split_first_chunk()?;
        rest.is_empty().then_some(Self {
            node_id: u64::from_le_bytes(*node_id),
            incarnation: u128::from_le_bytes(*incarnation),
            cluster_id: u128::from_le_bytes(*cluster_id),
        })
    }
}

/// A new id that no one else has: for incarnations and clusters.
#[must_use]
pub fn random_id() -> u128 {
    uuid::Uuid::new_v4().as_u128()
}

/// The facts of one node. Safe to share; writes are durable on return.
pub struct Meta {
    files: Arc<dyn Files>,
    dir: PathBuf,
    known: Mutex<Known>,
}

struct Known {
    identity: Option<NodeIdentity>,
    vote: Option<Vec<u8>>,
    anchors: Arc<dyn File>,
    anchor_count: u64,
    last_anchor: Option<Anchor>,
    attested: Option<Anchor>,
    /// An append of an anchor failed: what the file holds at its end is in doubt.
    anchors_failed: bool,
}

impl Meta {
    /// Opens the facts in `dir`, made where there is none.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when a fact is not what was written: a vote is never guessed.
    pub fn open(files: Arc<dyn Files>, dir: &Path) -> Result<Meta, LogError> {
        files.create_dir_all(dir).map_err(|e| LogError::io("cannot make", dir, e))?;
        let identity = match sealed::read(&*files, &dir.join("identity"), MAGIC)? {
            None => None,
            Some(bytes) => Some(
                NodeIdentity::decode(&bytes)
                    .ok_or_else(|| LogError::damaged(&dir.join("identity"), 0, "its fields do not make sense"))?,
            ),
        };
        let vote = sealed::read(&*files, &dir.join("vote"), MAGIC)?;
        let attested = read_attested(&*files, dir)?;
        let path = dir.join("anchors");
        let anchors = files.open(&path, true).map_err(|e| LogError::io("cannot open", &path, e))?;
        files.sync_dir(dir).map_err(|e| LogError::io("cannot sync", dir, e))?;
        let known = read_anchors(&*files, &path)?;
        let (anchor_count, last_anchor) = (known.len() as u64, known.last().copied());
        // A torn last anchor would stand before the next one; anchors are made again every few seconds.
        let cut = || {
            let whole = anchor_count * ANCHOR_BYTES as u64;
            if anchors.len()? == whole {
                return Ok(());
            }
            anchors.set_len(whole)?;
            anchors.sync_data()
        };
        cut().map_err(|e| LogError::io("cannot cut", &path, e))?;
        let known = Known { identity, vote, anchors, anchor_count, last_anchor, attested, anchors_failed: false };
        Ok(Meta { files, dir: dir.to_owned(), known: Mutex::new(known) })
    }

    /// Who this node is; `None` before [`Meta::set_identity`].
    #[must_use]
    pub fn identity(&self) -> Option<NodeIdentity> {
        self.known.lock().identity
    }

    /// Says who this node is, once for its data directory.
    ///
    /// # Errors
    /// When it cannot be written; the old identity stays.
    pub fn set_identity(&self, identity: NodeIdentity) -> Result<(), LogError> {
        let mut known = self.known.lock();
        sealed::write(&*self.files, &self.dir.join("identity"), MAGIC, &identity.encode())?;
        known.identity = Some(identity);
        Ok(())
    }

    /// The vote that was saved last, as its owner encoded it.
    #[must_use]
    pub fn vote(&self) -> Option<Vec<u8>> {
        self.known.lock().vote.clone()
    }

    /// Saves a vote.
    ///
    /// # Errors
    /// When it cannot be written: which of the two votes is on disk is then not known, and the process has to end.
    pub fn save_vote(&self, vote: &[u8]) -> Result<(), LogError> {
        let mut known = self.known.lock();
        sealed::write(&*self.files, &self.dir.join("vote"), MAGIC, vote)?;
        known.vote = Some(vote.to_owned());
        Ok(())
    }

    /// Another small fact, by a name of `a-z` and `_`.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when it is not what was written.
    pub fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, LogError> {
        sealed::read(&*self.files, &self.fact_path(name)?, MAGIC)
    }

    /// Saves a small fact.
    ///
    /// # Errors
    /// When the name is none, or it cannot be written.
    pub fn save_fact(&self, name: &str, bytes: &[u8]) -> Result<(), LogError> {
        let path = self.fact_path(name)?;
        // Two writers of one fact would share a temporary file.
        let _alone = self.known.lock();
        sealed::write(&*self.files, &path, MAGIC, bytes)
    }

    fn fact_path(&self, name: &str) -> Result<PathBuf, LogError> {
        let path = self.dir.join(format!("{name}.fact"));
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            let reason = io::Error::new(io::ErrorKind::InvalidInput, "names of facts are of a-z and _");
            return Err(LogError::io("cannot name", &path, reason));
        }
        Ok(path)
    }

    /// Keeps an anchor for ever. Only what is committed is ever attested.
    ///
    /// # Errors
    /// When it cannot be written; no anchor is taken afterwards.
    pub fn push_anchor(&self, anchor: Anchor) -> Result<(), LogError> {
        let mut known = self.known.lock();
        let path = self.dir.join("anchors");
        if known.anchors_failed {
            return Err(LogError::Poisoned(format!("an anchor could not be written to {}", path.display())));
        }
        let offset = known.anchor_count * ANCHOR_BYTES as u64;
        let written =
            known.anchors.write_all_at(offset, &encode_anchor(&anchor)).and_then(|()| known.anchors.sync_data());
        if let Err(e) = written {
            known.anchors_failed = true;
            return Err(LogError::io("cannot write", &path, e));
        }
        known.anchor_count += 1;
        known.last_anchor = Some(anchor);
        Ok(())
    }

    /// Keeps what was attested last, in the place of the attestation before it: there is one every few seconds.
    ///
    /// # Errors
    /// When it cannot be written; one of the two stays.
    pub fn save_attested(&self, anchor: Anchor) -> Result<(), LogError> {
        let mut known = self.known.lock();
        sealed::write(&*self.files, &self.dir.join(ATTESTED), MAGIC, &encode_anchor(&anchor))?;
        known.attested = Some(anchor);
        Ok(())
    }

    /// The last attestation.
    #[must_use]
    pub fn attested(&self) -> Option<Anchor> {
        self.known.lock().attested
    }

    /// The newest of the last anchor and the last attestation.
    #[must_use]
    pub fn last_anchor(&self) -> Option<Anchor> {
        let known = self.known.lock();
        known.last_anchor.into_iter().chain(known.attested).max_by_key(|anchor| anchor.index)
    }

    /// All anchors, oldest first.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when one that is not the last is broken.
    pub fn anchors(&self) -> Result<Vec<Anchor>, LogError> {
        read_anchors(&*self.files, &self.dir.join("anchors"))
    }
}

impl fmt::Debug for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meta").field("dir", &self.dir).finish_non_exhaustive()
    }
}

fn encode_anchor(anchor: &Anchor) -> [u8; ANCHOR_BYTES] {
    let mut out = [0; ANCHOR_BYTES];
    out[0..8].copy_from_slice(&anchor.index.to_le_bytes());
    out[8..40].copy_from_slice(&anchor.hash);
    let crc = crc32c::crc32c(&out[..40]);
    out[40..44].copy_from_slice(&crc.to_le_bytes());
    out
}

fn decode_anchor(bytes: &[u8]) -> Option<Anchor> {
    let (index, rest) = bytes.split_first_chunk()?;
    let (hash, rest) = rest.split_first_chunk()?;
    let crc = u32::from_le_bytes(*rest.first_chunk()?);
    (crc == crc32c::crc32c(&bytes[..40])).then_some(Anchor { index: u64::from_le_bytes(*index), hash: *hash })
}

fn read_attested(files: &dyn Files, dir: &Path) -> Result<Option<Anchor>, LogError> {
    let path = dir.join(ATTESTED);
    let Some(bytes) = sealed::read(files, &path, MAGIC)? else { return Ok(None) };
    let whole = (bytes.len() == ANCHOR_BYTES).then(|| decode_anchor(&bytes)).flatten();
    whole.map(Some).ok_or_else(|| LogError::damaged(&path, 0, "its fields do not make sense"))
}

/// The anchors of a file. Broken bytes at the end, as long as one anchor at most, are one that a crash has torn.
fn read_anchors(files: &dyn Files, path: &Path) -> Result<Vec<Anchor>, LogError> {
    let bytes = files.read(path).map_err(|e| LogError::io("cannot read", path, e))?;
    let mut anchors = Vec::with_capacity(bytes.len() / ANCHOR_BYTES);
    for (i, chunk) in bytes.chunks(ANCHOR_BYTES).enumerate() {
        match decode_anchor(chunk) {
            Some(anchor) => anchors.push(anchor),
            None if (i + 1) * ANCHOR_BYTES >= bytes.len() => break,
            None => return Err(LogError::damaged(path, (i * ANCHOR_BYTES) as u64, "an anchor's checksum is wrong")),
        }
    }
    Ok(anchors)
}

#[cfg(test)]
mod tests {
    use perigee_runtime::sim::SimFiles;

    use super::*;

    fn open(files: &Arc<SimFiles>) -> Result<Meta, LogError> {
        Meta::open(Arc::clone(files) as Arc<dyn Files>, Path::new("meta"))
    }

    fn anchor(index: u64) -> Anchor {
        Anchor { index, hash: [index as u8; 32] }
    }

    #[test]
    fn facts_survive_a_crash() {
        for seed in 0..50 {
            let files = SimFiles::new();
            let meta = open(&files).unwrap();
            assert_eq!((meta.identity(), meta.vote(), meta.last_anchor()), (None, None, None));
            let identity = NodeIdentity::new(1, random_id());
            meta.set_identity(identity).unwrap();
            meta.save_vote(b"a").unwrap();
            meta.save_vote(b"vote").unwrap();
            meta.save_fact("purged", b"7").unwrap();
            meta.push_anchor(anchor(1)).unwrap();
            meta.push_anchor(anchor(2)).unwrap();
            assert_eq!(meta.last_anchor(), Some(anchor(2)));
            meta.save_attested(anchor(8)).unwrap();
            meta.save_attested(anchor(9)).unwrap();
            files.crash(seed);
            let meta = open(&files).unwrap();
            assert_eq!(meta.identity(), Some(identity));
            assert_eq!(meta.vote().as_deref(), Some(b"vote".as_slice()));
            assert_eq!(meta.fact("purged").unwrap().as_deref(), Some(b"7".as_slice()));
            assert_eq!(meta.fact("nothing").unwrap(), None);
            assert!(meta.save_fact("../vote", b"").is_err());
            meta.push_anchor(anchor(3)).unwrap();
            assert_eq!(meta.anchors().unwrap(), [anchor(1), anchor(2), anchor(3)]);
            assert_eq!(meta.last_anchor(), Some(anchor(9)), "the newest of both");
        }
    }

    #[test]
    fn a_flipped_bit_is_never_served() {
        let files = SimFiles::new();
        let meta = open(&files).unwrap();
        meta.set_identity(NodeIdentity::new(1, 2)).unwrap();
        meta.save_vote(b"vote").unwrap();
        meta.save_attested(anchor(1)).unwrap();
        (1..=2).for_each(|index| meta.push_anchor(anchor(index)).unwrap());
        drop(meta);
        let whole = ["identity", "vote", ATTESTED].map(|name| (name, u64::MAX));
        for (name, damage_until) in whole.into_iter().chain([("anchors", ANCHOR_BYTES as u64 * 8)]) {
            let path = Path::new("meta").join(name);
            let bits = files.read(&path).unwrap().len() as u64 * 8;
            for bit in 0..bits {
                let rotten = files.fork();
                rotten.flip_bit(&path, bit).unwrap();
                match open(&rotten) {
                    Err(LogError::Damaged { .. } | LogError::UnknownVersion { .. }) => {}
                    Ok(meta) => {
                        assert!(bit >= damage_until, "{name} bit {bit}");
                        assert_eq!(meta.anchors().unwrap(), [anchor(1)], "the last one may be a torn write");
                    }
                    Err(e) => panic!("{name} bit {bit}: {e}"),
                }
            }
        }
    }
}
