//! The state machine that consensus drives: storage, applied in log order.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};

use perigee_consensus::{Applied, CommittedEntry, EntryKind, MachineError, Outcome, StateMachine};
use perigee_log::{Anchor, Log, LogError};
use perigee_storage::store::{Applier, ApplyOutcome, Attestation, StoreError};
use perigee_types::{Hlc, LogIndex};

use crate::compare::StateHolder;

/// This node is not what the leader attests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The entry that was attested.
    pub index: LogIndex,
    /// What differs, in words.
    pub reason: String,
}

/// Hands committed entries to storage.
pub struct Machine {
    applier: Applier,
    restored: Applied,
    log: Arc<Log>,
    skip: BTreeSet<LogIndex>,
    /// What the leader attests of entries that this node's log does not hold yet.
    unchecked: VecDeque<Attestation>,
    holder: Arc<StateHolder>,
    diverged: Arc<OnceLock<Divergence>>,
}

impl Machine {
    /// A machine that goes on behind `restored`, what the checkpoint holds. `log` is this node's own, to compare with what
    /// the leader attests.
    #[must_use]
    pub fn new(applier: Applier, restored: Applied, log: Arc<Log>) -> Self {
        let (skip, unchecked, holder, diverged) = Default::default();
        Self { applier, restored, log, skip, unchecked, holder, diverged }
    }

    /// Tells others of what it alone knows: `holder` when there is an attestation, `diverged` when this node is not what it says.
    #[must_use]
    pub fn telling(mut self, holder: Arc<StateHolder>, diverged: Arc<OnceLock<Divergence>>) -> Self {
        (self.holder, self.diverged) = (holder, diverged);
        self
    }

    /// Leaves out some entries: the last resort for one that cannot be applied. What they wrote is lost.
    #[must_use]
    pub fn skipping(mut self, entries: BTreeSet<LogIndex>) -> Self {
        self.skip = entries;
        self
    }
}

impl Machine {
    /// Looks at an attestation, now or when the log has come so far: a follower may apply what others have on disk before it
    /// has it itself.
    fn attested(&mut self, attestation: Attestation) -> Result<(), MachineError> {
        self.unchecked.push_back(attestation);
        self.check_attested()
    }

    fn check_attested(&mut self) -> Result<(), MachineError> {
        let written = self.log.last().map_or(0, |(_, last)| last);
        while self.unchecked.front().is_some_and(|next| next.index.0 <= written) {
            if let Some(next) = self.unchecked.pop_front() {
                self.check_chain(next)?;
            }
        }
        Ok(())
    }

    /// Compares the chain of this node's log with the leader's.
    fn check_chain(&self, Attestation { index, chain_hash, .. }: Attestation) -> Result<(), MachineError> {
        self.log.check_anchor(Anchor { index: index.0, hash: chain_hash }).map_err(|error| match error {
            LogError::NotAttested { .. } => {
                self.diverges(index, format!("this node's log differs from the leader's: {error}"))
            }
            error => MachineError(error.to_string()),
        })
    }

    fn diverges(&self, index: LogIndex, reason: String) -> MachineError {
        // The first reason is the one.
        drop(self.diverged.set(Divergence { index, reason: reason.clone() }));
        MachineError(reason)
    }
}

impl Machine {
    fn skip(&mut self, entry: &CommittedEntry) -> Result<Outcome, MachineError> {
        let CommittedEntry { index, term, time, .. } = *entry;
        if entry.kind != EntryKind::Normal {
            return Err(MachineError(format!("entry {index} belongs to consensus: it cannot be skipped")));
        }
        tracing::error!(%index, bytes = entry.payload.len(), "entry skipped, as --skip-entry says: what it wrote is lost");
        self.applier.apply_skipped(index, term, time).map_err(|error| MachineError(error.to_string()))?;
        Ok(Outcome::Applied)
    }
}

impl StateMachine for Machine {
    fn applied(&self) -> Applied {
        self.restored.clone()
    }

    fn time(&self) -> Hlc {
        self.applier.time()
    }

    fn apply(&mut self, entry: CommittedEntry) -> Result<Outcome, MachineError> {
        if self.skip.contains(&entry.index) {
            return self.skip(&entry);
        }
        if !self.unchecked.is_empty() {
            self.check_attested()?;
        }
        let started = std::time::Instant::now();
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
        perigee_telemetry::measured::APPLIES.record(started.elapsed());
        match result {
            Ok(ApplyOutcome::Applied) => Ok(Outcome::Applied),
            Ok(ApplyOutcome::Fenced) => Ok(Outcome::Fenced),
            Ok(ApplyOutcome::Rejected) => Ok(Outcome::Rejected),
            Ok(ApplyOutcome::Attested(attestation)) => {
                self.attested(attestation)?;
                self.holder.attested(entry.index, &mut self.applier);
                Ok(Outcome::Applied)
            }
            Err(StoreError::NotAttested { index }) => {
                Err(self.diverges(index, StoreError::NotAttested { index }.to_string()))
            }
            Err(error) => Err(MachineError(format!("entry {}: {error}", entry.index))),
        }
    }

    fn flush(&mut self) {
        self.applier.publish();
    }
}
