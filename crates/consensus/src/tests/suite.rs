//! openraft's own tests of log storage and state machine, over our log.
//!
//! The suite takes liberties that a node does not: it appends behind gaps, purges behind the end of the log, and installs
//! snapshots. What it needs for that is here and nowhere else.

use std::io;
use std::sync::Arc;

use futures::Stream;
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, IOFlushed, LogState, RaftLogStorage, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::{OptionalSend, RaftLogReader, RaftSnapshotBuilder, StorageError};
use perigee_log::CHAIN_START;
use perigee_runtime::sim::SimFiles;
use perigee_runtime::{Clock, Files, SystemClock};
use perigee_types::{Hlc, LogIndex, Term};

use crate::Durability;
use crate::apply::{Apply, ApplyState, Builder, CheckpointMark};
use crate::log_store::{LogReader, LogStore, Shared};
use crate::membership;
use crate::pace::Pace;
use crate::raft_types::{Entry, LogId, StoredMembership, TypeConfig, Vote, log_id};
use crate::tests::support::{Recorder, open};
use crate::writer::{Frame, Writer, WriterQueue};

struct Build;

/// Fills the gaps that the suite leaves.
struct Store(LogStore);

/// Takes checkpoints and installs snapshots.
struct Machine(Apply, Arc<ApplyState>);

impl StoreBuilder<TypeConfig, Store, Machine> for Build {
    async fn build(&self) -> Result<((), Store, Machine), StorageError<TypeConfig>> {
        let files: Arc<dyn Files> = SimFiles::new();
        let (log, _, meta) = open(&files, 1 << 20);
        let mut shared = Shared::new(log, None, LogIndex(0), 1 << 20).unwrap();
        shared.reset_hash = Some(CHAIN_START);
        let shared = Arc::new(shared);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let (queue, requests) = WriterQueue::new();
        let writer = Writer {
            shared: Arc::clone(&shared),
            meta,
            clock: Arc::clone(&clock),
            queue: requests,
            yields: false,
            frame: Frame::default(),
            pace: Pace::default(),
        };
        std::thread::spawn(|| futures::executor::block_on(writer.run()));
        let (apply, state) =
            Apply::new(Box::new(Lenient(Recorder::default())), Arc::clone(&shared), Arc::clone(&clock)).unwrap();
        // Nothing is on its way: behind the first fast sync, appends are synced in place.
        let store = LogStore::new(shared, queue, clock, Hlc::default(), Durability::Fsync, Some(Arc::default()));
        Ok(((), Store(store), Machine(apply, state)))
    }
}

/// A recorder that does not mind gaps.
struct Lenient(Recorder);

impl crate::StateMachine for Lenient {
    fn applied(&self) -> crate::Applied {
        self.0.applied()
    }
    fn time(&self) -> Hlc {
        self.0.time()
    }
    fn apply(&mut self, _entry: crate::CommittedEntry) -> Result<crate::Outcome, crate::MachineError> {
        Ok(crate::Outcome::Applied)
    }
    fn flush(&mut self) {}
}

impl RaftLogStorage<TypeConfig> for Store {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        self.0.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.0.get_log_reader().await
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.0.save_vote(vote).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.0.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.0.read_committed().await
    }

    async fn append<I>(&mut self, entries: I, done: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let next = self.0.get_log_state().await?.last_log_id.map_or(0, |id| id.index + 1);
        let first = entries.first().map_or(next, |entry| entry.id.index);
        let filler = (next..first).map(|i| Entry::new_blank(log_id(Term(0), LogIndex(i + 1)).unwrap()));
        self.0.append(filler.chain(entries).collect::<Vec<_>>(), done).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.0.truncate_after(last).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.0.purge(upto).await
    }
}

/// Builds a snapshot of nothing, too.
struct AnyBuilder(Option<Builder>);

impl RaftSnapshotBuilder<TypeConfig> for AnyBuilder {
    type SnapshotData = CheckpointMark;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, CheckpointMark>> {
        match &mut self.0 {
            Some(builder) => builder.build_snapshot().await,
            None => Ok(SnapshotOf::<TypeConfig, _> {
                meta: SnapshotMetaOf::<TypeConfig>::default(),
                snapshot: CheckpointMark,
            }),
        }
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = CheckpointMark;
    type SnapshotBuilder = AnyBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        self.0.applied_state().await
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        self.0.apply(entries).await
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<AnyBuilder> {
        let Some(last) = self.0.last() else { return Some(AnyBuilder(None)) };
        self.1.set_checkpoint(last);
        Some(AnyBuilder(self.0.try_create_snapshot_builder(force).await))
    }

    async fn get_snapshot_builder(&mut self) -> AnyBuilder {
        AnyBuilder(Some(self.0.get_snapshot_builder().await))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<TypeConfig>,
        snapshot: CheckpointMark,
    ) -> io::Result<()> {
        assert!(self.0.install_snapshot(meta, snapshot).await.is_err(), "refused until there is a cluster");
        let id = meta.last_log_id.unwrap();
        let (members_id, members) = (meta.last_membership.log_id().unwrap(), meta.last_membership.membership());
        let applied = crate::Applied {
            index: LogIndex(id.index + 1),
            term: Term(id.leader_id.term),
            membership: Some(membership::encode(members_id, members)?),
        };
        let files: Arc<dyn Files> = SimFiles::new();
        let shared = Arc::new(Shared::new(open(&files, 1 << 20).0, None, LogIndex(0), 1).unwrap());
        let machine = Box::new(Lenient(Recorder::from(applied)));
        (self.0, self.1) = Apply::new(machine, shared, Arc::new(SystemClock::new()))?;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, CheckpointMark>>> {
        self.0.get_current_snapshot().await
    }
}

#[test]
fn openrafts_suite_passes() {
    TypeConfig::run(Suite::test_all(Build)).unwrap();
}

#[test]
fn reads_are_bounded_by_bytes() {
    TypeConfig::run(async {
        let ((), mut store, _) = Build.build().await.unwrap();
        let (tx, rx) = TypeConfig::oneshot();
        let big = bytes::Bytes::from(vec![7; 1 << 20]);
        let entries = (0..12).map(|i| {
            let id = log_id(Term(1), LogIndex(i + 1)).unwrap();
            Entry::new_normal(id, crate::raft_types::Command::new(Term(1), &big))
        });
        store.append(entries.collect::<Vec<_>>(), IOFlushed::signal(tx)).await.unwrap();
        rx.await.unwrap().unwrap();
        let mut reader = store.get_log_reader().await;
        assert_eq!(reader.limited_get_log_entries(0, 12).await.unwrap().len(), 3, "from the files, up to 4 MiB");
        assert_eq!(reader.try_get_log_entries(0..12).await.unwrap().len(), 12, "all that was asked for");
        let stream = reader.entries_stream(2..9).await;
        let indexes: Vec<u64> = futures::TryStreamExt::try_collect::<Vec<Entry>>(stream)
            .await
            .unwrap()
            .iter()
            .map(|e| e.id.index)
            .collect();
        assert_eq!(indexes, [2, 3, 4, 5, 6, 7, 8]);
    });
}
