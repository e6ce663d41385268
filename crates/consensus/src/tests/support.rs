//! A node over a disk in memory, and a state machine that writes down what it is given.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{io, thread};

use bytes::Bytes;
use parking_lot::Mutex;
use perigee_log::{Log, LogOptions, Meta, Recovery};
use perigee_runtime::sim::SimFiles;
use perigee_runtime::{File, FileLock, Files, Runtime};
use perigee_types::{Hlc, LogIndex, Term};

use crate::{
    Applied, CommittedEntry, Consensus, ConsensusError, ConsensusOptions, EntryKind, MachineError, Node, Outcome,
    StateMachine,
};

pub(crate) const CLUSTER: u128 = 0x7e57;

/// Writes down what it is given. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Recorder(pub(crate) Arc<Mutex<Recorded>>);

#[derive(Default)]
pub(crate) struct Recorded {
    pub(crate) start: Applied,
    /// Time of the last entry of the checkpoint.
    pub(crate) start_time: Hlc,
    pub(crate) entries: Vec<CommittedEntry>,
    pub(crate) published: LogIndex,
    pub(crate) fail_at: Option<LogIndex>,
    pub(crate) panic_at: Option<LogIndex>,
}

impl Recorder {
    /// One whose checkpoint is at `start`.
    pub(crate) fn from(start: Applied) -> Self {
        let recorder = Self::default();
        recorder.0.lock().start = start;
        recorder
    }

    /// Payloads of the proposals that took effect.
    pub(crate) fn payloads(&self) -> Vec<Bytes> {
        let recorded = self.0.lock();
        let normal = recorded.entries.iter().filter(|entry| entry.kind == EntryKind::Normal && !entry.is_fenced());
        normal.map(|entry| entry.payload.clone()).collect()
    }

    /// What a checkpoint taken now would hold.
    pub(crate) fn checkpoint(&self) -> Applied {
        let recorded = self.0.lock();
        let last = recorded.entries.last();
        let membership = recorded.entries.iter().rev().find(|entry| entry.kind == EntryKind::Membership);
        Applied {
            index: last.map_or(recorded.start.index, |entry| entry.index),
            term: last.map_or(recorded.start.term, |entry| entry.term),
            membership: membership.map_or(recorded.start.membership.clone(), |entry| Some(entry.payload.to_vec())),
        }
    }
}

impl StateMachine for Recorder {
    fn applied(&self) -> Applied {
        self.0.lock().start.clone()
    }

    fn time(&self) -> Hlc {
        let recorded = self.0.lock();
        recorded.entries.last().map_or(recorded.start_time, |last| last.time)
    }

    fn apply(&mut self, entry: CommittedEntry) -> Result<Outcome, MachineError> {
        let mut recorded = self.0.lock();
        if recorded.fail_at == Some(entry.index) {
            return Err(MachineError("the test wants it".into()));
        }
        assert!(recorded.panic_at != Some(entry.index), "the test wants it");
        let before = recorded.entries.last().map_or(recorded.start.index, |last| last.index);
        assert_eq!(entry.index, before.next(), "no gap, nothing twice");
        let time = recorded.entries.last().map_or(recorded.start_time, |last| last.time);
        assert!(time < entry.time, "time never runs back");
        let outcome = if entry.is_fenced() { Outcome::Fenced } else { Outcome::Applied };
        recorded.entries.push(entry);
        Ok(outcome)
    }

    fn flush(&mut self) {
        let mut recorded = self.0.lock();
        recorded.published = recorded.entries.last().map_or(recorded.start.index, |last| last.index);
    }
}

/// Counts syncs of segments, and can hold them back.
pub(crate) struct Counting {
    files: Arc<SimFiles>,
    pub(crate) syncs: Arc<AtomicU64>,
    delay: std::time::Duration,
}

struct CountingFile {
    file: Arc<dyn File>,
    syncs: Arc<AtomicU64>,
    delay: std::time::Duration,
}

impl Counting {
    pub(crate) fn new(files: Arc<SimFiles>, delay: std::time::Duration) -> Arc<Self> {
        Arc::new(Self { files, syncs: Arc::default(), delay })
    }
}

impl Files for Counting {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>> {
        let file = self.files.open(path, create)?;
        Ok(Arc::new(CountingFile { file, syncs: Arc::clone(&self.syncs), delay: self.delay }))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.files.list(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.files.create_dir_all(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.sync_dir(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.files.exists(path)
    }
    fn available_bytes(&self, dir: &Path) -> io::Result<(u64, u64)> {
        self.files.available_bytes(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<FileLock> {
        self.files.lock(path)
    }
}

impl File for CountingFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buf)
    }
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(offset, bytes)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        if !self.delay.is_zero() {
            thread::sleep(self.delay);
        }
        self.file.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }
}

pub(crate) fn node(name: &str) -> Node {
    Node { name: name.into(), incarnation: 1, address: String::new() }
}

pub(crate) fn options() -> ConsensusOptions {
    ConsensusOptions::new(node("a"), CLUSTER)
}

/// Log and meta of a data directory on `files`.
pub(crate) fn open(files: &Arc<dyn Files>, segment_bytes: u64) -> (Arc<Log>, Recovery, Arc<Meta>) {
    let log = LogOptions { dir: PathBuf::from("data/log"), cluster_id: CLUSTER, segment_bytes };
    let (log, recovery) = Log::open(Arc::clone(files), log).unwrap();
    let meta = Meta::open(Arc::clone(files), Path::new("data/meta")).unwrap();
    (Arc::new(log), recovery, Arc::new(meta))
}

/// The real machine with its disk replaced.
pub(crate) fn machine(files: Arc<dyn Files>) -> Runtime {
    Runtime { files, ..Runtime::system() }
}

/// A node on real threads.
pub(crate) async fn start(files: Arc<dyn Files>, machine: &Recorder) -> Consensus {
    start_with(files, machine, options()).await.unwrap()
}

pub(crate) async fn start_with(
    files: Arc<dyn Files>,
    recorder: &Recorder,
    mut options: ConsensusOptions,
) -> Result<Consensus, ConsensusError> {
    let (log, recovery, meta) = open(&files, 1 << 20);
    options.committed = LogIndex(recovery.committed);
    Consensus::start(options, machine(files), log, meta, recorder.clone()).await
}

/// The term that a node serves in.
pub(crate) fn term(consensus: &Consensus) -> Term {
    consensus.leader_term().expect("leads")
}

pub(crate) fn numbered(i: u64) -> Bytes {
    Bytes::copy_from_slice(&i.to_le_bytes())
}
