//! Apply: the only writer of the store.
//!
//! A pure function of the log: no clock, no randomness, no read that can fail. An error is a local failure or a broken
//! promise of the log and stops the node; it is never a result.

use std::sync::Arc;

use bytes::Bytes;
use perigee_types::{Hlc, LogIndex, Term, TransactionId};

use super::attest::{Attestation, Ending};
use super::{ApplyOutcome, Core, SequenceState, Store, StoreError};
use crate::entry::{Entry, EntryError, PieceEnd, TableChange, Transaction};
use crate::table::Begin;

/// Applies committed entries in order. There is one for each store.
pub struct Applier {
    store: Arc<Store>,
}

impl Applier {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// The store it writes.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Time of the last entry that the store holds, from a checkpoint or applied; zero when there was none.
    #[must_use]
    pub fn time(&self) -> Hlc {
        self.store.core.lock().time
    }

    /// Applies a normal entry. Readers see it after [`Applier::publish`].
    ///
    /// `proposed_in` is the term whose leader evaluated it: committed in another one, it changes nothing.
    ///
    /// # Errors
    /// Any error is fatal: the node stops.
    pub fn apply(
        &mut self,
        index: LogIndex,
        term: Term,
        time: Hlc,
        proposed_in: Term,
        payload: &[u8],
    ) -> Result<ApplyOutcome, StoreError> {
        let entry = if proposed_in == term { Some(self.decode(index, payload)?) } else { None };
        let store = Arc::clone(&self.store);
        let mut core = store.core.lock();
        store.advance(&mut core, index, term, time)?;
        let Some(entry) = entry else {
            core.outcomes.end(index, Ending::Fenced, false);
            return Ok(ApplyOutcome::Fenced);
        };
        let outcome = store.apply_entry(&mut core, entry)?;
        match outcome {
            ApplyOutcome::Rejected => {
                core.outcomes.end(index, Ending::Rejected, false);
                store.rejected.write().insert(index);
            }
            _ => core.outcomes.end(index, Ending::Applied, outcome != ApplyOutcome::Applied),
        }
        Ok(outcome)
    }

    /// Applies an entry without a payload: the first of a term drops what earlier terms staged.
    ///
    /// # Errors
    /// Any error is fatal: the node stops.
    pub fn apply_blank(&mut self, index: LogIndex, term: Term, time: Hlc) -> Result<(), StoreError> {
        self.apply_nothing(index, term, time, Ending::Blank)
    }

    /// Leaves out an entry that cannot be applied: what it wrote is lost, and this node differs from all others.
    ///
    /// # Errors
    /// Any error is fatal: the node stops.
    pub fn apply_skipped(&mut self, index: LogIndex, term: Term, time: Hlc) -> Result<(), StoreError> {
        self.apply_nothing(index, term, time, Ending::Skipped)
    }

    fn apply_nothing(&mut self, index: LogIndex, term: Term, time: Hlc, ending: Ending) -> Result<(), StoreError> {
        let mut core = self.store.core.lock();
        self.store.advance(&mut core, index, term, time)?;
        core.outcomes.end(index, ending, false);
        Ok(())
    }

    /// Applies a change of membership: the next checkpoint keeps its bytes.
    ///
    /// # Errors
    /// Any error is fatal: the node stops.
    pub fn apply_membership(
        &mut self,
        index: LogIndex,
        term: Term,
        time: Hlc,
        membership: Vec<u8>,
    ) -> Result<(), StoreError> {
        let mut core = self.store.core.lock();
        self.store.advance(&mut core, index, term, time)?;
        core.membership = Some(membership);
        core.outcomes.end(index, Ending::Membership, false);
        Ok(())
    }

    /// Shows readers everything applied so far; the end of a batch.
    pub fn publish(&mut self) {
        let (index, time) = {
            let core = self.store.core.lock();
            (core.index, core.time)
        };
        self.store.publish(index, time);
        if let Some(companion) = &self.store.companion {
            companion.publish();
        }
    }

    fn decode(&self, index: LogIndex, payload: &[u8]) -> Result<Entry, StoreError> {
        let types = |storage, columns: &[u16]| self.store.any_table(storage)?.column_types(columns);
        Entry::decode(payload, &types).map_err(|error| StoreError::Entry { index, error })
    }
}

fn no_companion() -> StoreError {
    StoreError::Companion("the log holds entries of a keyspace, and this store was opened without one".to_owned())
}

impl Store {
    /// Moves to the next entry, whatever is in it.
    fn advance(&self, core: &mut Core, index: LogIndex, term: Term, time: Hlc) -> Result<(), StoreError> {
        if index <= core.index {
            return Err(StoreError::Order { after: core.index, got: index });
        }
        if term > core.term {
            self.abort_older_terms(core, index, term)?;
            if let Some(companion) = &self.companion {
                companion.new_term();
            }
        }
        let time = time.max(core.time);
        let (passed, written) = (core.index, core.time);
        core.timeline.passed(passed, written, time);
        (core.index, core.term, core.time) = (index, term, time);
        Ok(())
    }

    fn apply_entry(&self, core: &mut Core, entry: Entry) -> Result<ApplyOutcome, StoreError> {
        match entry {
            Entry::Transaction(transaction) => return self.apply_transaction(core, transaction),
            Entry::Stage { transaction, changes, .. } => self.stage(core, transaction, changes)?,
            Entry::StageTable { transaction, table, indexes } => {
                self.stage_table(core, transaction, table, indexes);
            }
            Entry::Piece { transaction, number, end, bytes } => {
                return self.apply_piece(core, transaction, number, end, bytes);
            }
            Entry::Abort { transaction } => self.abort(core, transaction)?,
            Entry::Companion(payload) => {
                let companion = self.companion.as_ref().ok_or_else(no_companion)?;
                let digest = companion.apply(core.index, core.time, &payload)?;
                core.outcomes.changed_companion(digest);
            }
            Entry::Manifest { storage, manifest } => self.apply_manifest(core, storage, manifest)?,
            Entry::Attest { index, chain_hash, digest } => {
                let attestation = Attestation { index, chain_hash, digest };
                core.outcomes.attested(attestation)?;
                return Ok(ApplyOutcome::Attested(attestation));
            }
        }
        Ok(ApplyOutcome::Applied)
    }

    /// Keeps a piece of an entry; with its last piece the entry is applied.
    fn apply_piece(
        &self,
        core: &mut Core,
        transaction: TransactionId,
        number: u32,
        end: PieceEnd,
        bytes: Bytes,
    ) -> Result<ApplyOutcome, StoreError> {
        let Some(whole) = self.keep_piece(core, transaction, number, end, bytes) else {
            // The leader that proposes the end of a transaction knows that all before it is in the log.
            let ends = matches!(end, PieceEnd::Transaction { .. });
            return Ok(if ends { ApplyOutcome::Rejected } else { ApplyOutcome::Applied });
        };
        let index = core.index;
        let types = |storage, columns: &[u16]| self.any_table(storage)?.column_types(columns);
        let entry = Entry::decode(&whole, &types).map_err(|error| StoreError::Entry { index, error })?;
        drop(whole);
        match (&entry, end) {
            (Entry::Stage { .. } | Entry::StageTable { .. }, PieceEnd::Stage)
            | (Entry::Transaction(_), PieceEnd::Transaction { .. }) => self.apply_entry(core, entry),
            _ => Err(StoreError::Entry { index, error: EntryError::Pieces }),
        }
    }

    fn apply_transaction(&self, core: &mut Core, transaction: Transaction) -> Result<ApplyOutcome, StoreError> {
        // Without its parts a transaction is not whole. Every node finds the same, so it is an outcome, not a failure.
        if transaction.staged.is_some_and(|staged| !core.staged.contains_key(&staged)) {
            return Ok(ApplyOutcome::Rejected);
        }
        // First: it alone can refuse what is whole.
        if !transaction.companion.is_empty() {
            let companion = self.companion.as_ref().ok_or_else(no_companion)?;
            let digest = companion.apply_in_transaction(core.index, core.time, &transaction.companion)?;
            let Some(digest) = digest else {
                if let Some(staged) = transaction.staged {
                    self.abort(core, staged)?;
                }
                return Ok(ApplyOutcome::Rejected);
            };
            core.outcomes.changed_companion(digest);
        }
        if !transaction.catalog.is_empty() {
            self.change_catalog(core, &transaction.catalog);
        }
        if let Some(staged) = transaction.staged {
            self.commit_staged(core, staged);
        }
        let begin = Begin::At(core.index.0);
        for change in transaction.changes {
            self.apply_change(core, change, &begin)?;
        }
        if !transaction.sequences.is_empty() {
            let mut sequences = self.sequences.write();
            for change in transaction.sequences {
                sequences.insert(change.sequence, SequenceState { next: change.next, called: change.called });
                core.changed_sequences.insert(change.sequence);
            }
        }
        Ok(ApplyOutcome::Applied)
    }

    /// Ends and appends rows of one table.
    pub(super) fn apply_change(&self, core: &mut Core, change: TableChange, begin: &Begin) -> Result<(), StoreError> {
        let table = self.must_get_table(change.storage)?;
        let ended: Vec<u64> = change.ended.iter().map(|ended| ended.vid.0).collect();
        table.end(&ended, begin)?;
        table.append(&change.columns, change.rows, begin)?;
        core.outcomes.changed_table(change.storage, table.next_vid());
        Ok(())
    }
}
