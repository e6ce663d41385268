//! What the node does by itself: checkpoints, eviction, the cut of the log behind them, and attestations.

use std::sync::Arc;
use std::time::Duration;

use perigee_storage::budget::Pressure;
use perigee_storage::entry::Entry;
use perigee_types::{LogIndex, SqlError, SqlResult, SqlState, Term};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

/// How long to sleep between two looks when nothing presses.
const TICK: Duration = Duration::from_millis(500);
/// How long to wait for space on the disk before the next look.
const DISK_FULL_WAIT: Duration = Duration::from_secs(15);
/// What a checkpoint writes beside what has changed, about.
const CHECKPOINT_BYTES: u64 = 16 << 20;

/// Runs until `stop`. Blocks its thread: checkpoints write to disk.
pub fn run(engine: &Arc<Engine>, stop: &CancellationToken) {
    let mut attestations = Attestations::default();
    while !stop.is_cancelled() {
        engine.budget.dirty.wait_at_least(Pressure::High, TICK);
        if engine.store.checkpoint_due() || engine.budget.dirty.pressure() >= Pressure::High {
            let started = std::time::Instant::now();
            match checkpoint(engine) {
                Ok(Some(index)) => {
                    metrics::histogram!(perigee_telemetry::names::CHECKPOINT_SECONDS)
                        .record(started.elapsed().as_secs_f64());
                    tracing::debug!(%index, ms = started.elapsed().as_millis() as u64, "checkpoint");
                }
                // Applied, not yet synced: the next look finds it synced.
                Ok(None) => std::thread::sleep(Duration::from_millis(2)),
                // Others have filled the disk. Who reads is served, and so is who frees space.
                Err(error) if error.state() == SqlState::DiskFull => {
                    tracing::warn!(%error, "no checkpoint");
                    stop_or(stop, DISK_FULL_WAIT);
                }
                // What the LSM holds is in doubt; the log has everything, so the next start makes it good.
                Err(error) => {
                    tracing::error!(%error, "checkpoint failed");
                    engine.fail(error.message().to_owned());
                    return;
                }
            }
        }
        if engine.consensus.leader_term().is_none() {
            // On the leader the session that makes an index fills it.
            if let Err(error) = finish_indexes(engine) {
                tracing::warn!(%error, "an index could not be filled");
            }
        }
        let _ = evict_keys(engine);
        engine.store.evict();
        attestations.look(engine);
    }
}

/// Sleeps, but not behind `stop`.
fn stop_or(stop: &CancellationToken, time: Duration) {
    let begun = std::time::Instant::now();
    while begun.elapsed() < time && !stop.is_cancelled() {
        std::thread::sleep(TICK / 10);
    }
}

/// Objects go first: a chunk is read back at once for thousands of rows. Says whether that was enough.
fn evict_keys(engine: &Engine) -> bool {
    let hot = &engine.budget.hot;
    if let (Some(keyspace), excess @ 1..) = (&engine.keyspace, hot.excess()) {
        // A little more, so that this is not done again for the next few keys.
        let bytes = excess.saturating_add(hot.limit() / 64);
        keyspace.evict(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    hot.excess() == 0
}

/// Evicts objects while hot data is over its share, until `stop`. Blocks its thread: apart from [`run`], because a checkpoint
/// takes long, and clients write and load keys meanwhile.
pub fn run_eviction(engine: &Engine, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        if engine.budget.hot.wait_at_least(Pressure::High, TICK) && !evict_keys(engine) {
            // What is left has changed, and waits for its checkpoint.
            std::thread::sleep(TICK / 4);
        }
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

/// Does what is to be done first each time that this node begins to lead, until `stop`: temporary objects of the last leader's
/// sessions go, which ended with it.
pub async fn take_over(engine: Arc<Engine>, stop: CancellationToken) {
    let mut leading = engine.consensus.watch_leader();
    loop {
        let leads = leading.borrow_and_update().is_some();
        if leads && let Err(error) = drop_temporary(&engine).await {
            tracing::warn!(%error, "temporary objects of the last leader stay");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = leading.changed() => if changed.is_err() { return },
        }
    }
}

/// Drops the temporary objects of sessions that ended with the last process, or with the last leader. Before the doors
/// open: no session has any yet.
///
/// # Errors
/// What the log gives.
pub async fn drop_temporary(engine: &Arc<Engine>) -> SqlResult<()> {
    crate::temporary::drop_schemas(engine, None).await
}

/// What was attested and kept so far.
#[derive(Default)]
struct Attestations {
    last: Option<Duration>,
    kept: LogIndex,
    /// When the newest could not be kept.
    failed: Option<Duration>,
}

impl Attestations {
    /// The leader attests what was written since the last time; every node keeps what was attested last.
    fn look(&mut self, engine: &Engine) {
        let now = engine.runtime.clock.monotonic();
        if self.last.is_none_or(|last| now.saturating_sub(last) >= engine.options.attest_every) {
            self.last = Some(now);
            if let Err(error) = attest(engine) {
                tracing::warn!(%error, "the log was not attested");
            }
        }
        let newest = engine.store.attested();
        // On a full disk it fails for long: not a line in the log for each look.
        let waits = self.failed.is_some_and(|failed| now.saturating_sub(failed) < DISK_FULL_WAIT);
        if newest.index > self.kept && newest.index <= engine.consensus.synced_index() && !waits {
            // One that is not kept is replaced by the next.
            match engine.consensus.keep_attested(newest.index, newest.chain_hash) {
                Ok(()) => (self.kept, self.failed) = (newest.index, None),
                Err(error) => {
                    self.failed = Some(now);
                    tracing::warn!(%error, index = %newest.index, "an attestation was not kept");
                }
            }
        }
    }
}

/// Logs what this node has made of the log so far, if it leads and anything was written since the last time.
fn attest(engine: &Engine) -> SqlResult<()> {
    let (Some(term), Some(newest)) = (engine.consensus.leader_term(), engine.store.to_attest()) else {
        return Ok(());
    };
    if newest.0 > engine.consensus.synced_index() {
        return Ok(());
    }
    attest_to(engine, term, newest)
}

/// The same at once, also when nothing was written since the last time. Blocks.
///
/// # Errors
/// `57P03` where this node does not lead; what the log gives.
pub fn attest_now(engine: &Engine) -> SqlResult<()> {
    let refused = || SqlError::new(SqlState::CannotConnectNow, "this node does not lead");
    let (Some(term), Some(newest)) = (engine.consensus.leader_term(), engine.store.digest()) else {
        return Err(refused());
    };
    // A leader may apply what others have on disk and it does not yet.
    while newest.0 > engine.consensus.synced_index() {
        if engine.consensus.leader_term() != Some(term) {
            return Err(refused());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    attest_to(engine, term, newest)
}

fn attest_to(engine: &Engine, term: Term, (index, digest): (LogIndex, [u8; 32])) -> SqlResult<()> {
    let chain_hash = engine.consensus.chain_hash(index).map_err(SqlError::internal)?;
    engine.propose_blocking(term, &Entry::Attest { index, chain_hash, digest })
}

/// A checkpoint of all that is applied. Blocks until the log is synced so far.
///
/// # Errors
/// `58030` when it cannot be written.
pub fn checkpoint_all(engine: &Arc<Engine>) -> SqlResult<()> {
    let to = engine.consensus.applied_index();
    while engine.store.statistics().checkpoint < to && checkpoint(engine)?.is_none_or(|index| index < to) {
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// One checkpoint now. `None` when there is nothing that the log has synced and the LSM does not have.
///
/// # Errors
/// `53100` when the disk is so full that it would not fit, `58030` when it cannot be written.
pub fn checkpoint(engine: &Arc<Engine>) -> SqlResult<Option<LogIndex>> {
    // One that fails half way leaves the LSM stopped until the next start.
    if !engine.disk.fits(engine.budget.dirty.usage() + CHECKPOINT_BYTES) {
        return Err(SqlError::new(SqlState::DiskFull, "a checkpoint does not fit on the disk"));
    }
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
        engine.store.forget_rejected(engine.consensus.first_index());
    }
    Ok(index)
}
