//! Checkpoints: what changed since the last one, as one sorted run into the LSM, and back.
//!
//! ```text
//! core lock:  index C, catalog objects, sequences, staged transactions     microseconds to milliseconds
//!             each changed table: pin chunks and open rows, swap deltas
//! ------------------------------------------------------------------------------------------------------
//! unlocked:   State, Catalog, Sequence, Table, Chunk, Column, Mark, Unique, Index ---> KvEngine::ingest
//!             apply goes on meanwhile: chunks do not change, a mark behind C is left out
//! ------------------------------------------------------------------------------------------------------
//! durable:    chunks are clean (may be evicted), frozen deltas go, C is the index that a restart begins at
//! ```
//!
//! Registering the run is the commit: before it, a restart finds the checkpoint before this one, whole.

mod chunk_format;
mod contents;
pub(crate) mod format;
mod freeze;
mod load;
mod records;
mod run;

use std::sync::atomic::Ordering;
use std::time::Duration;

use perigee_types::LogIndex;

use crate::kv::RUNS_WAITING_MAX;
use crate::store::{Store, StoreError};

pub use contents::ColdFilesOf;
pub(crate) use load::load;
pub use load::position;

/// How long a checkpoint waits for compaction to catch up before it adds another run all the same.
const BACKLOG_PATIENCE: Duration = Duration::from_secs(10);

/// Guarded by the lock that lets one checkpoint run at a time.
#[derive(Default)]
pub(crate) struct CheckpointState {
    /// A run failed: what was frozen for it is in no delta that a later run would write.
    failed: bool,
}

impl Store {
    /// Makes a checkpoint of the state as of the applied index, when the log is synced through `synced`, which must not
    /// be less. `chain_hash` is that of the log at the applied index.
    ///
    /// For a log that moves on meanwhile use [`Store::checkpoint_with`]. Blocking.
    ///
    /// # Errors
    /// Any error is fatal: no checkpoint follows it until the next start.
    pub fn checkpoint(&self, synced: LogIndex, chain_hash: [u8; 32]) -> Result<Option<LogIndex>, StoreError> {
        self.checkpoint_with(|index| (index <= synced).then_some(chain_hash))
    }

    /// Makes a checkpoint and gives its index; `None` when nothing was applied since the last one, or `proof` refuses.
    ///
    /// `proof` is called between two entries with the index of the checkpoint. It gives the chain hash of the log at that
    /// index, once the local log is synced through it: a checkpoint ahead of its own log could not be verified after a
    /// power loss. Apply waits for it, so it should not wait for anything. Blocking.
    ///
    /// # Errors
    /// Any error is fatal: no checkpoint follows it until the next start.
    pub fn checkpoint_with(
        &self,
        proof: impl FnOnce(LogIndex) -> Option<[u8; 32]>,
    ) -> Result<Option<LogIndex>, StoreError> {
        let mut state = self.checkpoints.lock();
        if state.failed {
            return Err(StoreError::Stopped);
        }
        self.wait_for_compaction();
        for table in self.all_tables() {
            // While their columns can be read: this run removes them.
            table.forget_aborted()?;
        }
        let Some(frozen) = self.freeze(proof) else { return Ok(None) };
        let written = frozen.purge_caches().write(self.shared.kv.as_ref());
        state.failed = written.is_err();
        let bytes = written?;
        tracing::debug!(index = frozen.index.0, bytes, "checkpoint written");
        frozen.finish();
        self.checkpoint_time.store(frozen.time.0, Ordering::Release);
        self.checkpoint_index.store(frozen.index.0, Ordering::Release);
        self.forget_cleared(&frozen);
        drop(state);
        let index = frozen.index;
        drop(frozen);
        self.release_dropped();
        Ok(Some(index))
    }

    /// Ingestion has no back-pressure of its own: reads slow down with every run that waits.
    fn wait_for_compaction(&self) {
        let step = Duration::from_millis(20);
        let mut waited = Duration::ZERO;
        while self.shared.kv.runs_waiting() > RUNS_WAITING_MAX && waited < BACKLOG_PATIENCE {
            std::thread::sleep(step);
            waited += step;
        }
    }
}
