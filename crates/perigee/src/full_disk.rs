//! A leader whose disk is nearly full lets another member lead: it refuses the writes of the whole cluster, and others may have
//! room.

use std::sync::Arc;
use std::time::{Duration, Instant};

use perigee_consensus::Consensus;
use perigee_storage::disk::{DiskReserve, Room};
use tokio_util::sync::CancellationToken;

/// How often to look.
const LOOK: Duration = Duration::from_secs(2);
/// How long a node leads that leads again, because the others are full too or away, before it asks them once more.
const AGAIN: Duration = Duration::from_secs(300);

/// Runs until `stop`, on a member of a cluster.
pub(crate) async fn run(consensus: Consensus, disk: Arc<DiskReserve>, stop: CancellationToken) {
    let mut asked: Option<Instant> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let leads = consensus.leader_term().is_some();
        if !leads || disk.room(0) == Room::Enough || asked.is_some_and(|asked| asked.elapsed() < AGAIN) {
            continue;
        }
        tracing::warn!("the disk of this leader is nearly full: another member is asked to lead");
        asked = Some(Instant::now());
        consensus.step_down().await;
    }
}
