//! What the node does by itself: checkpoints, eviction, and the cut of the log behind them.

use std::sync::Arc;
use std::time::Duration;

use perigee_storage::budget::Pressure;
use perigee_types::{LogIndex, SqlError, SqlResult, SqlState};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

/// How long to sleep between two looks when nothing presses.
const TICK: Duration = Duration::from_millis(500);

/// Runs until `stop`. Blocks its thread: checkpoints write to disk.
pub fn run(engine: &Arc<Engine>, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        engine.budget.dirty.wait_at_least(Pressure::High, TICK);
        if engine.store.checkpoint_due() || engine.budget.dirty.pressure() >= Pressure::High {
            let started = std::time::Instant::now();
            match checkpoint(engine) {
                Ok(Some(index)) => {
                    metrics::histogram!("perigee_checkpoint_seconds").record(started.elapsed().as_secs_f64());
                    tracing::debug!(%index, ms = started.elapsed().as_millis() as u64, "checkpoint");
                }
                // Applied, not yet synced: the next look finds it synced.
                Ok(None) => std::thread::sleep(Duration::from_millis(2)),
                // What the LSM holds is in doubt; the log has everything, so the next start makes it good.
                Err(error) => {
                    tracing::error!(%error, "checkpoint failed");
                    engine.fail(error.message().to_owned());
                    return;
                }
            }
        }
        engine.store.evict();
    }
}

/// Fills the indexes that a stop has left unfinished. Blocks; before the doors open.
///
/// # Errors
/// `XX001` where a row cannot be read.
pub fn finish_indexes(engine: &Arc<Engine>) -> SqlResult<()> {
    for index in engine.store.unfilled_indexes() {
        tracing::info!(%index, "filling an index that a stop has left unfinished");
        engine.store.backfill_index(index).map_err(crate::error::storage)?;
    }
    Ok(())
}

/// One checkpoint now. `None` when there is nothing that the log has synced and the LSM does not have.
///
/// # Errors
/// `58030` when it cannot be written.
pub fn checkpoint(engine: &Arc<Engine>) -> SqlResult<Option<LogIndex>> {
    // A checkpoint ahead of the log on this disk could not be verified after a power loss.
    let proof = |index: LogIndex| {
        if index > engine.consensus.synced_index() {
            return None;
        }
        engine.consensus.chain_hash(index).map_err(|error| tracing::error!(%error, %index, "no chain hash")).ok()
    };
    let index = engine
        .store
        .checkpoint_with(proof)
        .map_err(|error| SqlError::new(SqlState::IoError, format!("checkpoint failed: {error}")))?;
    if let Some(index) = index {
        engine.consensus.checkpointed(index);
    }
    Ok(index)
}
