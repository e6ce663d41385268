//! A member of a cluster whose data is damaged begins anew from the others.
//!
//! ```text
//! damage found at start, or an attestation differs (noted in meta, and the process starts again)
//!   -> nothing is served, no vote is given -> a majority of the peers is there without this node
//!   -> its data is set aside, its identity first -> the process starts again: an empty disk under an old name
//! ```
//!
//! From there on it is what a node with a replaced disk is: see `perigee_cluster`'s keeper. Nothing is ever deleted.

use std::time::Duration;

use perigee_cluster::Cluster;
use perigee_config::Config;
use perigee_engine::Divergence;
use perigee_log::Meta;
use perigee_runtime::{Files, SystemFiles};
use perigee_types::LogIndex;

use crate::assembly::{Overrides, cluster_options};
use crate::data_dir::DataDir;
use crate::failure::Failure;

/// The fact in `meta` that says that this node is not what the leader attests.
const DIVERGED: &str = "diverged";
/// Folders that are set aside at most: a disk that damages what it is given must not be filled with it.
const ASIDE_MAX: usize = 3;
/// Between two looks at the peers, and looks between two lines that say for whom this node waits.
const ROUND: Duration = Duration::from_millis(500);
const SAY_EVERY: u32 = 10;

/// Whether there may be others to begin anew from. What an operator forces goes before.
pub(crate) fn is_possible(config: &Config, overrides: &Overrides) -> bool {
    let is_forced = overrides.force_recover || !overrides.skip_entries.is_empty();
    config.node.peers.voters(&config.node.id) > 1 && !is_forced
}

/// Keeps in mind that this node is not what the leader attests: no later start may take part with what it holds.
pub(crate) fn note(meta: &Meta, divergence: &Divergence) -> Result<(), Failure> {
    Ok(meta.save_fact(DIVERGED, format!("{} {}", divergence.index, divergence.reason).as_bytes())?)
}

/// Refuses what an earlier process has found to be another state than the leader's.
pub(crate) fn check(meta: &Meta) -> Result<(), Failure> {
    match noted(meta)? {
        None => Ok(()),
        Some(Divergence { reason, .. }) => Err(Failure::Damaged(reason)),
    }
}

fn noted(meta: &Meta) -> Result<Option<Divergence>, Failure> {
    let Some(fact) = meta.fact(DIVERGED)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&fact).into_owned();
    let (index, reason) = text.split_once(' ').unwrap_or_default();
    Ok(Some(Divergence { index: LogIndex(index.parse().unwrap_or_default()), reason: reason.to_owned() }))
}

/// Sets damaged data aside, as soon as there are others to begin anew from; the process is to start again then.
///
/// # Errors
/// [`Failure::Damaged`] where that was done too often; what the disk gives.
pub(crate) async fn run(config: &Config, dir: &DataDir, damage: &str) -> Result<(), Failure> {
    let aside = dir.aside().map_err(Failure::fatal)?;
    if aside.len() >= ASIDE_MAX {
        return Err(Failure::Damaged(format!(
            "{damage}; not set aside once more: {} has {} folders of damaged data already. Look at the disk, and remove them",
            dir.root().display(),
            aside.len()
        )));
    }
    tracing::error!(
        damage,
        "this node's data is damaged: it takes no part in the cluster until it is made anew from the others"
    );
    let options = cluster_options(config)?;
    options.check(&config.node.id).await.map_err(|error| Failure::Refused(error.to_string()))?;
    // What of it cannot be read is not known: then any cluster of the peers is this one's.
    let meta = Meta::open(std::sync::Arc::new(SystemFiles), &dir.meta()).ok();
    let cluster = meta.as_ref().and_then(Meta::identity).map(|identity| identity.cluster_id).filter(|id| *id != 0);
    // Who differs from a leader alone may be right: as many as elect one have to agree with it.
    let divergence = meta.as_ref().and_then(|meta| noted(meta).ok().flatten());
    let attested = divergence.map_or(0, |divergence| divergence.index.0);
    drop(meta);
    let peers = options.peers.len();
    let others = Cluster::outside(options, &config.node.id);
    let mut round = 0_u32;
    let from = loop {
        let (there, missing) = others.whole_without_this(cluster, attested).await;
        if there.len() * 2 > peers {
            break there;
        }
        if round.is_multiple_of(SAY_EVERY) {
            let (there, missing) = (there.join(", "), missing.join(", "));
            tracing::warn!(damage, there, missing, "waiting for a majority of the peers before this node is made anew");
        }
        round += 1;
        tokio::time::sleep(ROUND).await;
    };
    let kept = dir.set_aside(&SystemFiles as &dyn Files).map_err(Failure::fatal)?;
    tracing::warn!(
        kept = %kept.display(),
        from = from.join(", "),
        "the damaged data is set aside; this node begins anew as another incarnation"
    );
    Ok(())
}
