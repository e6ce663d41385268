//! Coming back: what was committed is applied again, checkpoints cut the log, what does not fit together is refused.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use perigee_log::Meta;
use perigee_runtime::Files;
use perigee_runtime::sim::SimFiles;
use perigee_types::{Hlc, LogIndex, Term};

use super::support::{Counting, Recorder, node, numbered, open, options, start, start_with, term};
use crate::{Applied, Consensus, ConsensusError, Durability, SnapshotPosition, adopt};

async fn fill(consensus: &Consensus, numbers: std::ops::Range<u64>) {
    let term = term(consensus);
    let answers = numbers.map(|i| consensus.propose(term, numbered(i))).collect::<Vec<_>>();
    for answer in futures::future::join_all(answers).await {
        answer.unwrap();
    }
}

#[tokio::test]
async fn committed_entries_come_back() {
    let files = SimFiles::new();
    let mut terms = Vec::new();
    for round in 0..4 {
        let recorder = Recorder::default();
        let consensus = start(Arc::clone(&files) as _, &recorder).await;
        terms.push(term(&consensus));
        assert_eq!(recorder.payloads(), (0..round * 100).map(numbered).collect::<Vec<_>>());
        fill(&consensus, round * 100..(round + 1) * 100).await;
        if round % 2 == 0 {
            consensus.shutdown().await;
        } else {
            // Nothing is lost without an orderly end either: it was synced. The writer may still be at it, so the disk
            // is cut off from it first.
            drop(consensus);
            files.crash(round);
        }
    }
    assert!(terms.is_sorted_by(|a, b| a < b), "each start is a term of its own: {terms:?}");
}

#[tokio::test]
async fn replay_begins_behind_the_checkpoint() {
    let files = SimFiles::new();
    let first = Recorder::default();
    let consensus = start(Arc::clone(&files) as _, &first).await;
    fill(&consensus, 0..50).await;
    let checkpoint = first.checkpoint();
    fill(&consensus, 50..80).await;
    consensus.shutdown().await;

    let second = Recorder::from(checkpoint.clone());
    let consensus = start(Arc::clone(&files) as _, &second).await;
    assert_eq!(second.payloads(), (50..80).map(numbered).collect::<Vec<_>>());
    assert_eq!(consensus.metrics().voters, 1, "the membership came from the checkpoint");
    consensus.shutdown().await;
}

#[tokio::test]
async fn checkpoints_cut_the_log() {
    let files: Arc<SimFiles> = SimFiles::new();
    let mut small = options();
    small.keep_entries = 100;
    small.recent_bytes_max = 1;
    let recorder = Recorder::default();
    let consensus = start_with(Arc::clone(&files) as _, &recorder, small.clone()).await.unwrap();
    let term = term(&consensus);
    let payload = Bytes::from(vec![1; 20 << 10]);
    for _ in 0..300 {
        consensus.propose(term, payload.clone()).await.unwrap();
    }
    let checkpoint = recorder.checkpoint();
    let hash = consensus.chain_hash(checkpoint.index).unwrap();
    let before = consensus.metrics().disk_bytes;
    consensus.checkpointed(checkpoint.index);
    for _ in 0..1_000 {
        if consensus.metrics().first > LogIndex(1) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(consensus.metrics().first, LogIndex(checkpoint.index.0 - 100 + 1), "the margin stays");
    for _ in 0..50 {
        consensus.propose(term, payload.clone()).await.unwrap();
    }
    assert!(consensus.metrics().disk_bytes < before, "segments are gone");
    consensus.shutdown().await;
    let meta = Meta::open(Arc::clone(&files) as Arc<dyn Files>, std::path::Path::new("data/meta")).unwrap();
    let anchor = meta.last_anchor().unwrap();
    assert_eq!((anchor.index, anchor.hash), (checkpoint.index.0, hash));

    // What was cut is needed by an empty state machine, and not by the checkpoint.
    let refused = start_with(Arc::clone(&files) as _, &Recorder::default(), small.clone()).await;
    assert!(matches!(refused, Err(ConsensusError::LogGap { .. })));
    let recorder = Recorder::from(checkpoint);
    let consensus = start_with(Arc::clone(&files) as _, &recorder, small).await.unwrap();
    assert_eq!(recorder.payloads().len(), 50);
    consensus.shutdown().await;
}

#[tokio::test]
async fn time_goes_on_behind_a_snapshot_whose_log_is_empty() {
    let files = SimFiles::new();
    let first = Recorder::default();
    let consensus = start(Arc::clone(&files) as _, &first).await;
    fill(&consensus, 0..10).await;
    let here = first.checkpoint();
    let ahead = Hlc::from_micros(first.0.lock().entries.last().unwrap().time.micros() + 3_600_000_000);
    consensus.shutdown().await;

    // What a leader sent whose clock is an hour ahead.
    let snapshot = Applied { index: LogIndex(here.index.0 + 5), ..here };
    let (log, _, _) = open(&(Arc::clone(&files) as Arc<dyn Files>), 1 << 20);
    adopt(&log, &SnapshotPosition { applied: snapshot.clone(), chain_hash: [7; 32] }).unwrap();
    assert_eq!(log.last(), None);
    drop(log);

    let second = Recorder::from(snapshot);
    second.0.lock().start_time = ahead;
    // It asserts that no entry has an earlier time than the snapshot.
    let consensus = start(files, &second).await;
    fill(&consensus, 10..20).await;
    assert_eq!(second.payloads(), (10..20).map(numbered).collect::<Vec<_>>());
    consensus.shutdown().await;
}

#[tokio::test]
async fn a_checkpoint_above_the_applied_index_is_ignored() {
    let consensus = start(SimFiles::new(), &Recorder::default()).await;
    fill(&consensus, 0..10).await;
    consensus.checkpointed(LogIndex(1_000));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(consensus.metrics().first, LogIndex(1));
    fill(&consensus, 10..20).await;
    consensus.shutdown().await;
}

#[tokio::test]
async fn what_does_not_fit_together_is_refused() {
    let files = SimFiles::new();
    let consensus = start(Arc::clone(&files) as _, &Recorder::default()).await;
    let at = term(&consensus);
    fill(&consensus, 0..10).await;
    consensus.shutdown().await;

    let ahead = Applied { index: LogIndex(1_000), term: at, membership: None };
    let refused = start_with(Arc::clone(&files) as _, &Recorder::from(ahead), options()).await;
    assert!(matches!(refused, Err(ConsensusError::LogBehind { .. })), "a checkpoint ahead of the log");

    let other = Applied { index: LogIndex(5), term: Term(at.0 + 9), membership: None };
    let refused = start_with(Arc::clone(&files) as _, &Recorder::from(other), options()).await;
    assert!(matches!(refused, Err(ConsensusError::Diverged { .. })), "a checkpoint of another history");

    let mut stranger = options();
    stranger.node = node("b");
    let refused = start_with(Arc::clone(&files) as _, &Recorder::default(), stranger).await;
    assert!(matches!(refused, Err(ConsensusError::Options(_))), "another member's directory");

    start(files, &Recorder::default()).await.shutdown().await;
}

#[tokio::test]
async fn interval_answers_before_the_sync() {
    let files = Counting::new(SimFiles::new(), Duration::ZERO);
    let mut relaxed = options();
    relaxed.durability = Durability::Interval(Duration::from_millis(50));
    let recorder = Recorder::default();
    let consensus = start_with(Arc::clone(&files) as _, &recorder, relaxed).await.unwrap();
    let term = term(&consensus);
    tokio::time::sleep(Duration::from_millis(60)).await;
    let before = files.syncs.load(Ordering::SeqCst);
    for i in 0..200 {
        consensus.propose(term, numbered(i)).await.unwrap();
    }
    let syncs = files.syncs.load(Ordering::SeqCst) - before;
    assert!(syncs < 50, "200 answers in a row, {syncs} syncs");
    consensus.sync().await.unwrap();
    assert_eq!(consensus.synced_index(), consensus.metrics().last, "who asks for it gets it");
    consensus.propose(term, numbered(200)).await.unwrap();
    for _ in 0..1_000 {
        if consensus.synced_index() == consensus.metrics().last {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(consensus.synced_index(), consensus.metrics().last, "and the timer does it by itself");
    consensus.shutdown().await;
}
