//! Proposals on real threads: order, sharing of syncs, limits, terms.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use perigee_runtime::sim::SimFiles;
use perigee_types::{LogIndex, Term};

use super::support::{Counting, Recorder, numbered, options, start, start_with, term};
use crate::{EntryKind, Outcome, ProposeError};

#[tokio::test]
async fn proposals_stand_in_the_order_of_the_calls() {
    let recorder = Recorder::default();
    let consensus = start(SimFiles::new(), &recorder).await;
    let term = term(&consensus);
    let futures: Vec<_> = (0..5_000).map(|i| consensus.propose(term, numbered(i))).collect();
    let answers = join_all(futures).await;
    let mut before = LogIndex(0);
    for answer in answers {
        let committed = answer.unwrap();
        assert_eq!(committed.outcome, Outcome::Applied);
        assert!(committed.index > before);
        before = committed.index;
    }
    assert_eq!(recorder.payloads(), (0..5_000).map(numbered).collect::<Vec<_>>());
    assert!(recorder.0.lock().published >= before, "answered behind the flush");
    assert_eq!(consensus.applied_index(), before);
    assert_eq!(consensus.metrics().in_flight, 0);
    assert_eq!(consensus.metrics().in_flight_bytes, 0);
    consensus.shutdown().await;
}

#[tokio::test]
async fn a_fresh_node_leads_behind_its_first_entry() {
    let recorder = Recorder::default();
    let consensus = start(SimFiles::new(), &recorder).await;
    let kinds: Vec<EntryKind> = recorder.0.lock().entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [EntryKind::Membership, EntryKind::Blank]);
    let metrics = consensus.metrics();
    assert!(metrics.serving);
    assert_eq!((metrics.voters, metrics.last, metrics.applied), (1, LogIndex(2), LogIndex(2)));
    assert_eq!(metrics.leader, Some(super::support::node("a").id()));
    assert_eq!(*consensus.watch_leader().borrow(), consensus.leader_term());
    consensus.shutdown().await;
    assert_eq!(consensus.leader_term(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_share_syncs() {
    let files = Counting::new(SimFiles::new(), Duration::from_millis(2));
    let consensus = start(Arc::clone(&files) as _, &Recorder::default()).await;
    let term = term(&consensus);
    let before = files.syncs.load(Ordering::SeqCst);
    let proposers = (0..64).map(|_| {
        let consensus = consensus.clone();
        tokio::spawn(async move {
            for i in 0..20 {
                consensus.propose(term, numbered(i)).await.unwrap();
            }
        })
    });
    for proposer in proposers.collect::<Vec<_>>() {
        proposer.await.unwrap();
    }
    let syncs = files.syncs.load(Ordering::SeqCst) - before;
    assert!(syncs >= 20, "each proposer waited for its own: {syncs}");
    assert!(syncs <= 1280 / 4, "1280 proposals, {syncs} syncs");
    assert_eq!(consensus.synced_index(), consensus.metrics().last);
    consensus.shutdown().await;
}

#[tokio::test]
async fn what_is_answered_is_durable_on_fast_and_on_slow_disks() {
    for delay in [Duration::ZERO, Duration::from_millis(1)] {
        let files = Counting::new(SimFiles::new(), delay);
        let consensus = start(Arc::clone(&files) as _, &Recorder::default()).await;
        let term = term(&consensus);
        for i in 0..50 {
            let before = files.syncs.load(Ordering::SeqCst);
            let committed = consensus.propose(term, numbered(i)).await.unwrap();
            assert!(consensus.synced_index() >= committed.index);
            assert!(files.syncs.load(Ordering::SeqCst) > before);
        }
        consensus.shutdown().await;
    }
}

#[tokio::test]
async fn another_term_is_refused() {
    let recorder = Recorder::default();
    let consensus = start(SimFiles::new(), &recorder).await;
    let Term(now) = term(&consensus);
    for other in [now - 1, now + 1] {
        let answer = consensus.propose(Term(other), numbered(0)).await;
        assert_eq!(answer, Err(ProposeError::NotLeader));
    }
    assert!(recorder.payloads().is_empty());
    consensus.shutdown().await;
}

#[tokio::test]
async fn limits_are_errors() {
    let mut small = options();
    small.entry_bytes_max = 100;
    small.in_flight_bytes_max = 300;
    let consensus = start_with(SimFiles::new(), &Recorder::default(), small).await.unwrap();
    let term = term(&consensus);
    let answer = consensus.propose(term, Bytes::from(vec![0; 101])).await;
    assert_eq!(answer, Err(ProposeError::TooLarge { bytes: 101, max: 100 }));
    let held: Vec<_> = (0..100).map(|_| consensus.propose(term, Bytes::from(vec![0; 100]))).collect();
    let answers = join_all(held).await;
    assert!(answers.contains(&Err(ProposeError::Busy)));
    assert!(answers.iter().any(Result::is_ok));
    assert!(consensus.propose(term, numbered(1)).await.is_ok(), "room again");
    consensus.shutdown().await;
    assert_eq!(consensus.propose(term, numbered(1)).await, Err(ProposeError::Stopped));
}

#[tokio::test]
async fn a_dropped_proposal_takes_effect_all_the_same() {
    let recorder = Recorder::default();
    let consensus = start(SimFiles::new(), &recorder).await;
    let term = term(&consensus);
    drop(consensus.propose(term, numbered(1)));
    consensus.propose(term, numbered(2)).await.unwrap();
    assert_eq!(recorder.payloads(), [numbered(1), numbered(2)]);
    assert_eq!(consensus.metrics().in_flight, 0);
    consensus.shutdown().await;
}
