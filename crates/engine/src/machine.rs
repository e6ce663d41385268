//! The state machine that consensus drives: storage, applied in log order.

use perigee_consensus::{Applied, CommittedEntry, EntryKind, MachineError, Outcome, StateMachine};
use perigee_storage::store::{Applier, ApplyOutcome};
use perigee_types::LogIndex;

/// Hands committed entries to storage.
pub struct Machine {
    applier: Applier,
    restored: Applied,
    skip: Option<LogIndex>,
}

impl Machine {
    /// A machine that goes on behind `restored`, what the checkpoint holds.
    #[must_use]
    pub fn new(applier: Applier, restored: Applied) -> Self {
        Self { applier, restored, skip: None }
    }

    /// Leaves out one entry: the last resort for one that cannot be applied. What it wrote is lost.
    #[must_use]
    pub fn skipping(mut self, index: Option<LogIndex>) -> Self {
        self.skip = index;
        self
    }
}

impl StateMachine for Machine {
    fn applied(&self) -> Applied {
        self.restored.clone()
    }

    fn apply(&mut self, entry: CommittedEntry) -> Result<Outcome, MachineError> {
        if self.skip == Some(entry.index) {
            tracing::error!(index = %entry.index, "entry skipped as told by --skip-entry: what it wrote is lost");
            return match self.applier.apply_blank(entry.index, entry.term, entry.time) {
                Ok(()) => Ok(Outcome::Applied),
                Err(error) => Err(MachineError(format!("entry {}: {error}", entry.index))),
            };
        }
        let result = match entry.kind {
            EntryKind::Normal => {
                self.applier.apply(entry.index, entry.term, entry.time, entry.proposed_in, &entry.payload)
            }
            EntryKind::Blank => {
                self.applier.apply_blank(entry.index, entry.term, entry.time).map(|()| ApplyOutcome::Applied)
            }
            EntryKind::Membership => {
                let members = entry.payload.to_vec();
                self.applier
                    .apply_membership(entry.index, entry.term, entry.time, members)
                    .map(|()| ApplyOutcome::Applied)
            }
        };
        match result {
            Ok(ApplyOutcome::Applied) => Ok(Outcome::Applied),
            Ok(ApplyOutcome::Fenced) => Ok(Outcome::Fenced),
            Err(error) => Err(MachineError(format!("entry {}: {error}", entry.index))),
        }
    }

    fn flush(&mut self) {
        self.applier.publish();
    }
}
