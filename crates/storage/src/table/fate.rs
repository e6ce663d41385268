//! Whether the rows of a staged transaction have become visible, for all of them at once.

use std::sync::atomic::{AtomicU64, Ordering};

use perigee_types::TransactionId;

/// No index: not ended, not committed. Greater than every snapshot.
pub(crate) const NEVER: u64 = u64::MAX;

/// What all hidden chunks and end-marks of one staged transaction share, so that its commit is one store.
#[derive(Debug)]
pub(crate) struct Fate {
    transaction: TransactionId,
    index: AtomicU64,
}

impl Fate {
    /// A transaction that is open, or whose commit at `index` is known.
    pub(crate) fn new(transaction: TransactionId) -> Self {
        Self { transaction, index: AtomicU64::new(NEVER) }
    }

    pub(crate) fn transaction(&self) -> TransactionId {
        self.transaction
    }

    /// The index that committed it, [`NEVER`] while it is open or after it was aborted.
    pub(crate) fn index(&self) -> u64 {
        self.index.load(Ordering::Acquire)
    }

    pub(crate) fn commit(&self, index: u64) {
        self.index.store(index, Ordering::Release);
    }
}
