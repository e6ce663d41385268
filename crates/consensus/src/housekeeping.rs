//! Cutting the log behind checkpoints.
//!
//! A checkpoint becomes openraft's "snapshot" (it names it, see [`crate::apply`]), then the log is purged up to a margin
//! before it. openraft purges nothing that no snapshot holds, so nothing is ever cut that the state machine still needs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::Raft;
use perigee_types::LogIndex;

use crate::apply::{Apply, ApplyState};
use crate::log_store::Shared;
use crate::raft_types::{TypeConfig, to_raft};
use crate::watch;
use crate::writer::{Work, WriterQueue};

/// How long core may take to note a checkpoint.
const NOTE: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) struct Housekeeping {
    pub(crate) raft: Raft<TypeConfig, Apply>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) state: Arc<ApplyState>,
    pub(crate) queue: WriterQueue,
    pub(crate) keep_entries: u64,
    pub(crate) keep_bytes: u64,
    pub(crate) unarchived_bytes: u64,
}

impl Housekeeping {
    /// Follows the checkpoints until the handle is gone or core stops.
    pub(crate) async fn run(self, mut checkpoints: watch::Receiver<LogIndex>) {
        while checkpoints.changed().await.is_ok() {
            let index = *checkpoints.borrow_and_update();
            if let Err(error) = self.checkpointed(index).await {
                if self.shared.closed.load(Ordering::Acquire) {
                    return;
                }
                // The log stays longer than it must; the next checkpoint tries again.
                tracing::warn!(%index, error, "the log was not cut behind a checkpoint");
            }
        }
    }

    async fn checkpointed(&self, index: LogIndex) -> Result<(), String> {
        let applied = self.state.applied();
        if index > applied {
            return Err(format!("the checkpoint is above the applied index {applied}"));
        }
        let id = self.shared.id_at(index).ok_or("the entry is not in the log")?;
        self.queue.send(Work::Anchor { index }).map_err(|e| e.to_string())?;
        self.state.set_checkpoint(id);
        self.raft.trigger().snapshot().await.map_err(|e| e.to_string())?;
        self.raft
            .wait(Some(NOTE))
            .metrics(|metrics| metrics.snapshot >= Some(id), "checkpoint noted")
            .await
            .map_err(|e| e.to_string())?;
        let kept = match self.keep_bytes {
            0 => index.0,
            bytes => index.0.min(self.shared.log.first_of_last(bytes).saturating_sub(1)),
        };
        let upto = index.0.saturating_sub(self.keep_entries).min(kept).min(self.not_needed_by_archive());
        let Some(upto) = to_raft(LogIndex(upto)) else {
            return Ok(());
        };
        if upto < self.shared.recent.lock().first() {
            return Ok(());
        }
        self.raft.trigger().purge_log(upto).await.map_err(|e| e.to_string())
    }

    /// The last entry that the archive has, or will never have: a store that stays away must not fill the disk.
    fn not_needed_by_archive(&self) -> u64 {
        let archived = self.shared.archived.load(Ordering::Acquire);
        let bound = self.shared.log.first_of_last(self.unarchived_bytes).saturating_sub(1);
        archived.max(bound)
    }
}
