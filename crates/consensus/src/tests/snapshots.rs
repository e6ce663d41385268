//! A snapshot is taken in to its end, or not at all.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;
use perigee_log::LogError;
use perigee_runtime::Files;
use perigee_runtime::sim::SimFiles;
use perigee_types::{LogIndex, Term};

use super::support::{Recorder, machine, numbered, open, options, start, term};
use crate::raft_types::Vote;
use crate::{
    Applied, Call, ClusterParts, Consensus, PeerError, SnapshotPosition, SnapshotReader, SnapshotWriter, Snapshots,
    adopt, wire,
};

/// Says when it is about to end, and ends when it may.
struct Held {
    ends: Sender<()>,
    may_end: Arc<Mutex<Receiver<()>>>,
}

impl Snapshots for Held {
    fn open(&self) -> io::Result<Option<Box<dyn SnapshotReader>>> {
        Ok(None)
    }

    fn receive(&self, _position: &SnapshotPosition) -> io::Result<Box<dyn SnapshotWriter>> {
        Ok(Box::new(Self { ends: self.ends.clone(), may_end: Arc::clone(&self.may_end) }))
    }
}

impl SnapshotWriter for Held {
    fn write(&mut self, _piece: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.ends.send(()).map_err(io::Error::other)?;
        self.may_end.lock().recv().map_err(io::Error::other)
    }
}

fn position(index: u64) -> SnapshotPosition {
    let applied = Applied { index: LogIndex(index), term: Term(1), membership: None };
    SnapshotPosition { applied, chain_hash: [0; 32] }
}

#[tokio::test]
async fn its_end_is_carried_out_when_who_sends_it_goes_away() {
    let files: Arc<dyn Files> = SimFiles::new();
    let (log, _, meta) = open(&files, 1 << 20);
    let ((ends, ending), (end, may_end)) = (channel(), channel());
    let snapshots = Held { ends, may_end: Arc::new(Mutex::new(may_end)) };
    let cluster = ClusterParts { snapshots: Some(Arc::new(snapshots)), ..ClusterParts::alone() };
    let member = Consensus::start_member(options(), machine(files), log, meta, Recorder::default(), cluster);
    let consensus = member.await.unwrap();
    let service = consensus.peer_service();
    let vote = Vote::new_committed(1, 7);
    let begin = wire::encode_snapshot_begin(&vote, 9, &position(5)).unwrap();
    service.call(Call::SnapshotBegin, begin.clone()).await.unwrap();

    let last = wire::encode_snapshot_piece(&vote, 9, 0, &[]).unwrap();
    let asking = service.clone();
    let asked = tokio::spawn(async move { asking.call(Call::SnapshotEnd, last).await });
    tokio::task::spawn_blocking(move || ending.recv()).await.unwrap().unwrap();
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    assert!(!consensus.wants_restart(), "not before it is durable");
    end.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(10), consensus.stopped()).await.expect("it does not run on beside it");
    assert!(consensus.wants_restart());
    let again = service.call(Call::SnapshotBegin, begin).await;
    assert!(matches!(again, Err(PeerError::Stopped(_))), "{again:?}");
    consensus.shutdown().await;
}

#[tokio::test]
async fn an_older_one_does_not_take_the_place_of_a_log_that_was_cut_behind_it() {
    let files: Arc<dyn Files> = SimFiles::new();
    let recorder = Recorder::default();
    let consensus = start(Arc::clone(&files), &recorder).await;
    let term = term(&consensus);
    for number in 0..10 {
        consensus.propose(term, numbered(number)).await.unwrap();
    }
    consensus.shutdown().await;
    let (log, recovery, _) = open(&files, 1 << 20);
    log.purge_to(recovery.last).unwrap();
    let older = adopt(&log, &position(recovery.last - 1));
    assert!(matches!(older, Err(LogError::Purged { .. })), "{older:?}");
    assert_eq!(log.synced_index(), recovery.last, "nothing is lost");
    adopt(&log, &position(recovery.last + 1)).unwrap();
    assert_eq!(log.synced_index(), recovery.last + 1);
}
