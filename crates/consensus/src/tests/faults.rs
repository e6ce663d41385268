//! A disk or a state machine that fails: the node stops, and no answer claims what is not known.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use openraft::entry::RaftEntry;
use openraft::storage::RaftStateMachine;
use perigee_runtime::sim::{Fault, FaultKind, Operation, SimFiles};
use perigee_types::{LogIndex, Term};

use super::support::{Recorder, numbered, open, start, term};
use crate::apply::Apply;
use crate::log_store::Shared;
use crate::raft_types::{Command, Entry, log_id};
use crate::{Consensus, Outcome, ProposeError};

async fn is_stopped(consensus: &Consensus) -> String {
    let reason = tokio::time::timeout(Duration::from_secs(10), consensus.stopped()).await.expect("stops");
    assert_eq!(consensus.leader_term(), None);
    reason.expect("says why")
}

async fn fails(operation: Operation) {
    let files = SimFiles::new();
    let recorder = Recorder::default();
    let consensus = start(Arc::clone(&files) as _, &recorder).await;
    let term = term(&consensus);
    consensus.propose(term, numbered(0)).await.unwrap();
    files.inject(Fault { operation, path_contains: "segment".into(), after: 0, kind: FaultKind::Io });
    let answers = join_all((1..50).map(|i| consensus.propose(term, numbered(i)))).await;
    for answer in answers {
        assert!(
            // Busy: refused before it reached core, which waits for the sync that fails.
            matches!(
                answer,
                Err(ProposeError::Unknown | ProposeError::Stopped | ProposeError::Storage(_) | ProposeError::Busy)
            ),
            "{answer:?}"
        );
    }
    let reason = is_stopped(&consensus).await;
    assert!(reason.contains("simulated"), "{reason}");
    assert_eq!(recorder.payloads(), [numbered(0)]);
    let later = async {
        loop {
            match consensus.propose(term, numbered(99)).await {
                // Those before it are still being given up.
                Err(ProposeError::Busy) => tokio::time::sleep(Duration::from_millis(1)).await,
                answer => break answer,
            }
        }
    };
    let later = tokio::time::timeout(Duration::from_secs(10), later).await.expect("is answered");
    assert!(matches!(later, Err(ProposeError::Storage(_))), "{later:?}");
    // Also those who do not wait for the answer.
    let many: Vec<_> = (0..20).map(|i| consensus.propose(term, numbered(i))).collect();
    for answer in join_all(many).await {
        assert!(matches!(answer, Err(ProposeError::Storage(_))), "{answer:?}");
    }
    consensus.shutdown().await;
}

#[tokio::test]
async fn a_failed_sync_stops_the_node() {
    fails(Operation::Sync).await;
}

#[tokio::test]
async fn a_failed_write_stops_the_node() {
    fails(Operation::Write).await;
}

#[tokio::test]
async fn a_state_machine_that_fails_stops_the_node() {
    for panics in [false, true] {
        let recorder = Recorder::default();
        let consensus = start(SimFiles::new(), &recorder).await;
        let term = term(&consensus);
        let first = consensus.propose(term, numbered(0)).await.unwrap();
        assert_eq!(first.outcome, Outcome::Applied);
        let at = Some(LogIndex(first.index.0 + 3));
        if panics {
            recorder.0.lock().panic_at = at;
        } else {
            recorder.0.lock().fail_at = at;
        }
        let answers = join_all((1..10).map(|i| consensus.propose(term, numbered(i)))).await;
        assert!(answers[2..].iter().all(Result::is_err));
        let reason = is_stopped(&consensus).await;
        assert!(reason.contains("apply"), "{reason}");
        consensus.shutdown().await;
    }
}

#[tokio::test]
async fn an_entry_of_another_term_has_no_effect() {
    let files: Arc<dyn perigee_runtime::Files> = SimFiles::new();
    let shared = Arc::new(Shared::new(open(&files, 1 << 20).0, None, LogIndex(0), 1 << 20).unwrap());
    let recorder = Recorder::default();
    let clock = Arc::new(perigee_runtime::SystemClock::new());
    let (mut apply, state) = Apply::new(Box::new(recorder.clone()), shared, clock).unwrap();
    let entries = [(1, 1), (1, 2), (2, 2), (2, 3)].into_iter().zip(1..).map(|((proposed_in, term), index)| {
        let id = log_id(Term(term), LogIndex(index)).unwrap();
        let mut entry = Entry::new_normal(id, Command::new(Term(proposed_in), &numbered(index)));
        entry.time = perigee_types::Hlc(index);
        Ok((entry, None))
    });
    apply.apply(futures::stream::iter(entries.collect::<Vec<_>>())).await.unwrap();
    assert_eq!(recorder.payloads(), [numbered(1), numbered(3)]);
    assert_eq!(state.applied(), LogIndex(4), "the position moves all the same");
}

#[tokio::test]
async fn shutdown_drops_the_state_machine() {
    let recorder = Recorder::default();
    let consensus = start(SimFiles::new(), &recorder).await;
    consensus.shutdown().await;
    assert_eq!(Arc::strong_count(&recorder.0), 1, "so that its files can be opened again");
}
