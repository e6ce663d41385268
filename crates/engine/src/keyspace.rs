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
    fn propose(&self, payload: Bytes) -> BoxFuture<'static, Result<(), SubmitError>> {
        let outcome_of = self.consensus.submit(Entry::Companion(payload).encode());
        async move { outcome(outcome_of.await) }.boxed()
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
