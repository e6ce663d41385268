//! The keyspace's way to the log.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use perigee_consensus::{Committed, Consensus, Outcome, ProposeError};
use perigee_keyspace::{Proposer, SubmitError};
use perigee_storage::budget::{MemoryBudget, Pressure};
use perigee_storage::disk::{DiskReserve, Room};
use perigee_storage::entry::Entry;
use perigee_telemetry::trace::{Parent, Step};

/// Takes entries of the keyspace to consensus.
pub struct KeyspaceLog {
    consensus: Consensus,
    disk: Arc<DiskReserve>,
    budget: Arc<MemoryBudget>,
}

impl KeyspaceLog {
    /// A way to a node's log.
    #[must_use]
    pub fn new(consensus: Consensus, disk: Arc<DiskReserve>, budget: Arc<MemoryBudget>) -> Self {
        Self { consensus, disk, budget }
    }
}

impl Proposer for KeyspaceLog {
    fn propose(&self, payload: Bytes, traced: &[Parent]) -> BoxFuture<'static, Result<(), SubmitError>> {
        let payload = Entry::Companion(payload).encode();
        let mut steps = proposals(traced, payload.len());
        let outcome_of = self.consensus.submit(payload, steps.first().map(Step::parent));
        async move {
            let ended = outcome_of.await;
            for step in &mut steps {
                match &ended {
                    Ok(committed) => step.tell("perigee.entry.index", committed.index.to_string()),
                    Err(error) => step.fail("proposal", &error.to_string()),
                }
            }
            drop(steps);
            outcome(ended)
        }
        .boxed()
    }

    /// Two where an entry goes to other nodes: the way there is long, and they write one while the next comes.
    fn on_their_way_max(&self) -> usize {
        if self.consensus.is_alone() { 1 } else { 2 }
    }

    fn leads(&self) -> bool {
        self.consensus.leader_term().is_some()
    }

    fn check_room(&self, bytes: usize) -> Result<(), String> {
        if self.disk.room(bytes as u64) < Room::Enough {
            return Err("MISCONF the disk is nearly full: writes are refused".to_owned());
        }
        Ok(())
    }

    fn relieved(&self) -> BoxFuture<'static, ()> {
        let budget = Arc::clone(&self.budget);
        async move {
            if budget.dirty.pressure() >= Pressure::Critical {
                metrics::counter!(perigee_telemetry::names::WRITE_STALLS_TOTAL).increment(1);
                budget.dirty.relieved(Pressure::High).await;
            }
        }
        .boxed()
    }
}

/// A step of each trace that has a part in an entry. The entry itself is told of in the first one; the others name that.
fn proposals(traced: &[Parent], bytes: usize) -> Vec<Step> {
    let proposal = |parent: &Parent| {
        let mut step = Step::of(*parent, "propose");
        step.tell("perigee.entry.bytes", bytes.to_string());
        if let Some(first) = traced.first().filter(|first| first.trace != parent.trace) {
            step.tell("perigee.entry.trace", format!("{:032x}", first.trace));
        }
        step
    };
    traced.iter().map(proposal).collect()
}

fn refused(text: &str) -> SubmitError {
    SubmitError::Refused(format!("ERR {text}"))
}

fn outcome(result: Result<Committed, ProposeError>) -> Result<(), SubmitError> {
    match result {
        Ok(Committed { outcome: Outcome::Applied, .. }) => Ok(()),
        // Only a transaction of SQL is rejected.
        Ok(Committed { outcome: Outcome::Rejected, .. }) => Err(refused("the entry was rejected")),
        Ok(Committed { outcome: Outcome::Fenced, .. }) | Err(ProposeError::NotLeader) => {
            Err(SubmitError::Refused("CLUSTERDOWN no leader is known; nothing was written".to_owned()))
        }
        Err(ProposeError::Busy) => Err(SubmitError::Refused(
            "TRYAGAIN too many writes are waiting for the log; nothing was written".to_owned(),
        )),
        Err(ProposeError::Stopped) => Err(refused("the node is stopping; nothing was written")),
        Err(ProposeError::TooLarge { bytes, max }) => {
            Err(refused(&format!("an entry of {bytes} bytes is above the limit of {max}")))
        }
        // Perhaps it took effect, perhaps not: never an error that makes a client write twice.
        Err(ProposeError::Unknown | ProposeError::Storage(_)) => Err(SubmitError::Unknown),
    }
}
