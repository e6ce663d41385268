//! A member over a disk in memory, with its lives; what its state machine applies is compared with what others have applied.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use perigee_runtime::sim::{SimFiles, runtime};
use perigee_runtime::{File, FileLock, Files};
use perigee_types::{Hlc, LogIndex, Term};

use super::net::Net;
use super::trace::Trace;
use crate::tests::support::{CLUSTER, open};
use crate::{
    Applied, ClusterParts, CommittedEntry, Consensus, ConsensusOptions, EntryKind, MachineError, Node, Outcome,
    SnapshotPosition, SnapshotReader, SnapshotWriter, Snapshots, StateMachine, adopt,
};

/// An applied entry: term, time, payload, whether it was a proposal that took effect.
pub(super) type Fact = (Term, Hlc, Bytes, bool);

/// What was applied anywhere, by index: every member must apply the same.
pub(super) type Oracle = Arc<Mutex<BTreeMap<LogIndex, Fact>>>;

/// A checkpoint, and whether it came from another member.
#[derive(Clone)]
struct Saved {
    position: SnapshotPosition,
    facts: BTreeMap<LogIndex, Fact>,
    received: bool,
}

/// What survives the lives of a member beside its log.
type Disk = Arc<Mutex<Option<Saved>>>;

pub(super) struct Member {
    pub(super) node: Node,
    files: Arc<SimFiles>,
    saved: Disk,
    oracle: Oracle,
    trace: Trace,
    pub(super) life: Option<Life>,
}

pub(super) struct Life {
    pub(super) consensus: Consensus,
    alive: Arc<AtomicBool>,
    pub(super) state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) applied: Applied,
    pub(super) facts: BTreeMap<LogIndex, Fact>,
}

impl Member {
    pub(super) fn new(name: &str, incarnation: u128, oracle: Oracle, trace: Trace) -> Self {
        let node = Node { name: name.into(), incarnation, address: format!("{name}:7000") };
        Self { node, files: SimFiles::new(), saved: Disk::default(), oracle, trace, life: None }
    }

    pub(super) async fn start(&mut self, net: &Net) {
        let alive = Arc::new(AtomicBool::new(true));
        let files: Arc<dyn Files> = Arc::new(Mortal { files: Arc::clone(&self.files), alive: Arc::clone(&alive) });
        let (log, recovery, meta) = open(&files, 64 << 10);
        let saved = self.saved.lock().clone();
        let mut state = State::default();
        if let Some(saved) = saved {
            self.compare(&saved);
            if saved.received {
                adopt(&log, &saved.position).unwrap();
            }
            state = State { applied: saved.position.applied, facts: saved.facts };
        }
        self.trace.note(format_args!(
            "{} starts at {} with a log to {:?}",
            self.node.name,
            state.applied.index,
            log.last()
        ));
        let state = Arc::new(Mutex::new(state));
        let machine = Replica {
            name: self.node.name.clone(),
            state: Arc::clone(&state),
            oracle: Arc::clone(&self.oracle),
            trace: self.trace.clone(),
        };
        let mut options = ConsensusOptions::new(self.node.clone(), CLUSTER);
        options.threads = 0;
        options.keep_entries = 20;
        options.recent_bytes_max = 4 << 10;
        options.snapshot_bytes_per_second = 1 << 20;
        options.committed = LogIndex(recovery.committed);
        let mut machine_runtime = runtime(SimFiles::new(), 1_000_000);
        machine_runtime.files = files;
        let cluster = ClusterParts {
            transport: net.transport(&self.node.name, Arc::clone(&alive)),
            snapshots: Some(Arc::new(Checkpoints(Arc::clone(&self.saved)))),
        };
        let consensus =
            Consensus::start_member(options, machine_runtime, log, meta, machine, cluster).await.expect("starts");
        net.up(self.node.id(), consensus.peer_service());
        self.life = Some(Life { consensus, alive, state });
    }

    /// A checkpoint holds what was applied, all of it, wherever it was made.
    fn compare(&self, saved: &Saved) {
        let oracle = self.oracle.lock();
        if !saved.facts.iter().eq(oracle.range(..=saved.position.applied.index)) {
            self.trace.wrong(format!("{}: the checkpoint at {:?} is another state", self.node.name, saved.position));
        }
    }

    /// The power goes.
    pub(super) fn crash(&mut self, net: &Net, seed: u64) {
        net.down(self.node.id());
        if let Some(life) = self.life.take() {
            self.trace.note(format_args!("{} loses power", self.node.name));
            life.alive.store(false, Ordering::SeqCst);
            self.files.crash(seed);
            // Its tasks find a disk that is gone, and end.
            tokio::spawn(async move { life.consensus.inner.raft.shutdown().await });
        }
    }

    /// The disk is replaced: another incarnation under the same name.
    pub(super) fn replace(&mut self, net: &Net, seed: u64) {
        self.crash(net, seed);
        self.files = SimFiles::new();
        self.saved = Disk::default();
        self.node.incarnation += 1_000;
    }

    /// Names what is applied and synced as checkpoint.
    pub(super) fn checkpoint(&self) {
        let Some(life) = &self.life else { return };
        let (applied, facts) = {
            let state = life.state.lock();
            (state.applied.clone(), state.facts.clone())
        };
        let newer = self.saved.lock().as_ref().is_none_or(|saved| saved.position.applied.index < applied.index);
        if !newer || applied.index > life.consensus.synced_index() {
            return;
        }
        let Ok(chain_hash) = life.consensus.chain_hash(applied.index) else { return };
        let index = applied.index;
        self.trace.note(format_args!("{} has a checkpoint at {index}", self.node.name));
        *self.saved.lock() = Some(Saved { position: SnapshotPosition { applied, chain_hash }, facts, received: false });
        life.consensus.checkpointed(index);
    }
}

struct Replica {
    name: String,
    state: Arc<Mutex<State>>,
    oracle: Oracle,
    trace: Trace,
}

impl Replica {
    /// What must not be about an entry that is about to be applied.
    fn wrong(&self, index: LogIndex, fact: &Fact) -> Option<String> {
        let oracle = self.oracle.lock();
        if let Some(known) = oracle.get(&index) {
            return (known != fact).then(|| format!("entry {index} differs: {known:?} and {fact:?}"));
        }
        let (last, before) = oracle.last_key_value()?;
        if last.next() != index {
            return Some(format!("entry {index} is applied behind {last}"));
        }
        (before.1 >= fact.1 || before.0 > fact.0).then(|| format!("entry {index} runs back: {before:?} and {fact:?}"))
    }
}

impl StateMachine for Replica {
    fn applied(&self) -> Applied {
        self.state.lock().applied.clone()
    }

    fn time(&self) -> Hlc {
        self.state.lock().facts.values().next_back().map_or(Hlc::default(), |fact| fact.1)
    }

    fn apply(&mut self, entry: CommittedEntry) -> Result<Outcome, MachineError> {
        let mut state = self.state.lock();
        let fenced = entry.is_fenced();
        let takes_effect = entry.kind == EntryKind::Normal && !fenced;
        let fact: Fact = (entry.term, entry.time, entry.payload.clone(), takes_effect);
        let gap = || format!("entry {} is applied behind {}", entry.index, state.applied.index);
        let gap = (entry.index != state.applied.index.next()).then(gap);
        if let Some(wrong) = gap.or_else(|| self.wrong(entry.index, &fact)) {
            self.trace.wrong(format!("{}: {wrong}", self.name));
            return Err(MachineError(wrong));
        }
        self.trace.note(format_args!("{} applies {} of {}", self.name, entry.index, entry.term));
        self.oracle.lock().insert(entry.index, fact.clone());
        state.facts.insert(entry.index, fact);
        state.applied.index = entry.index;
        state.applied.term = entry.term;
        if entry.kind == EntryKind::Membership {
            state.applied.membership = Some(entry.payload.to_vec());
        }
        Ok(if fenced { Outcome::Fenced } else { Outcome::Applied })
    }

    fn flush(&mut self) {}
}

/// Sends facts, a few to a piece.
struct Checkpoints(Disk);

struct Reader {
    position: SnapshotPosition,
    facts: std::vec::IntoIter<(LogIndex, Fact)>,
}

struct Writer {
    disk: Disk,
    saved: Saved,
}

impl Snapshots for Checkpoints {
    fn open(&self) -> io::Result<Option<Box<dyn SnapshotReader>>> {
        let saved = self.0.lock().clone();
        Ok(saved.map(|saved| {
            let facts = saved.facts.into_iter().collect::<Vec<_>>().into_iter();
            Box::new(Reader { position: saved.position, facts }) as Box<dyn SnapshotReader>
        }))
    }

    fn receive(&self, position: &SnapshotPosition) -> io::Result<Box<dyn SnapshotWriter>> {
        let saved = Saved { position: position.clone(), facts: BTreeMap::new(), received: true };
        Ok(Box::new(Writer { disk: Arc::clone(&self.0), saved }))
    }
}

impl SnapshotReader for Reader {
    fn position(&self) -> &SnapshotPosition {
        &self.position
    }

    fn next(&mut self) -> io::Result<Option<Bytes>> {
        let part: Vec<(u64, u64, u64, Vec<u8>, bool)> = (&mut self.facts)
            .take(20)
            .map(|(index, (term, time, payload, effect))| (index.0, term.0, time.0, payload.to_vec(), effect))
            .collect();
        if part.is_empty() { Ok(None) } else { Ok(Some(serde_json::to_vec(&part)?.into())) }
    }
}

impl SnapshotWriter for Writer {
    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let part: Vec<(u64, u64, u64, Vec<u8>, bool)> = serde_json::from_slice(piece)?;
        for (index, term, time, payload, effect) in part {
            self.saved.facts.insert(LogIndex(index), (Term(term), Hlc(time), payload.into(), effect));
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        let last = self.saved.facts.keys().next_back().copied();
        assert_eq!(last, Some(self.saved.position.applied.index), "all of it came");
        *self.disk.lock() = Some(self.saved);
        Ok(())
    }
}

/// Files that are gone for a process that is.
struct Mortal {
    files: Arc<SimFiles>,
    alive: Arc<AtomicBool>,
}

struct MortalFile {
    file: Arc<dyn File>,
    alive: Arc<AtomicBool>,
}

fn living(alive: &AtomicBool) -> io::Result<()> {
    if alive.load(Ordering::SeqCst) { Ok(()) } else { Err(io::Error::other("simulated: the machine is off")) }
}

impl Files for Mortal {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>> {
        living(&self.alive)?;
        let file = self.files.open(path, create)?;
        Ok(Arc::new(MortalFile { file, alive: Arc::clone(&self.alive) }))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        living(&self.alive)?;
        self.files.list(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        living(&self.alive)?;
        self.files.create_dir_all(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        living(&self.alive)?;
        self.files.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        living(&self.alive)?;
        self.files.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        living(&self.alive)?;
        self.files.sync_dir(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        living(&self.alive)?;
        self.files.exists(path)
    }
    fn available_bytes(&self, dir: &Path) -> io::Result<(u64, u64)> {
        living(&self.alive)?;
        self.files.available_bytes(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<FileLock> {
        living(&self.alive)?;
        self.files.lock(path)
    }
}

impl File for MortalFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        living(&self.alive)?;
        self.file.read_at(offset, buf)
    }
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        living(&self.alive)?;
        self.file.write_all_at(offset, bytes)
    }
    fn sync_data(&self) -> io::Result<()> {
        living(&self.alive)?;
        self.file.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        living(&self.alive)?;
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        living(&self.alive)?;
        self.file.set_len(len)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        living(&self.alive)?;
        self.file.allocate(len)
    }
}
