//! A disk or a state machine that fails: the node stops, and no answer claims what is not known.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use perigee_runtime::sim::{Fault, FaultKind, Operation, SimFiles};
use perigee_types::LogIndex;

use super::support::{Recorder, numbered, start, term};
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
            matches!(answer, Err(ProposeError::Unknown | ProposeError::Stopped | ProposeError::Storage(_))),
            "{answer:?}"
        );
    }
    let reason = is_stopped(&consensus).await;
    assert!(reason.contains("simulated"), "{reason}");
    assert_eq!(recorder.payloads(), [numbered(0)]);
    let later = consensus.propose(term, numbered(99)).await;
    assert!(matches!(later, Err(ProposeError::Storage(_))), "{later:?}");
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
