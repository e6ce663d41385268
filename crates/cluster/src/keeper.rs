//! Who is a member: the first of the peers forms the cluster, once; the leader admits what comes back with an empty disk. Other
//! names come and go by an operator's word: see `perigee admin cluster`.
//!
//! ```text
//!   new incarnation --hello--> leader: learner --caught up--> voter in the place of the old incarnation, which goes
//! ```

use std::time::Duration;

use perigee_consensus::{Consensus, Member, MembershipError, Node};

use crate::cluster::Cluster;
use crate::hello::Hello;

/// Between two looks at the members.
const EVERY: Duration = Duration::from_millis(500);
/// Looks between two lines that say for whom this node waits.
const SAY_EVERY: u32 = 10;

/// Runs as long as the node does.
pub(crate) async fn run(cluster: &Cluster, consensus: &Consensus) {
    form(cluster, consensus).await;
    loop {
        tokio::time::sleep(EVERY).await;
        if consensus.leader_term().is_none() {
            continue;
        }
        if let Err(error) = keep(cluster, consensus).await {
            tracing::debug!(%error, "the members were not changed");
        }
    }
}

/// Makes the peers the voters of a new cluster, if this node is the first of them and all are empty.
async fn form(cluster: &Cluster, consensus: &Consensus) {
    let mut round = 0_u32;
    while !consensus.is_initialized().await && cluster.is_first() {
        let (said, missing) = cluster.hellos().await;
        if said.iter().any(|hello| hello.initialized == Some(true)) {
            tracing::info!("the peers have a cluster: waiting for its leader to admit this node");
            return;
        }
        let own = cluster.known.cluster_id();
        let empty = |hello: &Hello| hello.cluster() == Some(own) && hello.initialized == Some(false);
        let together = missing.is_empty() && said.iter().all(empty);
        if together && cluster.disagreement(&said).is_none() {
            let nodes: Vec<Node> = said.into_iter().map(|hello| hello.node).chain([cluster.node().clone()]).collect();
            let names = nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            match consensus.initialize(&nodes).await {
                Ok(()) => tracing::info!(members = names, "the cluster is formed"),
                Err(error) => tracing::warn!(%error, "the cluster was not formed"),
            }
            return;
        }
        if round.is_multiple_of(SAY_EVERY) {
            cluster.say(&said, &missing);
        }
        round += 1;
        tokio::time::sleep(EVERY).await;
    }
}

/// What a leader looks after.
async fn keep(cluster: &Cluster, consensus: &Consensus) -> Result<(), MembershipError> {
    consensus.settle().await?;
    let (said, _) = cluster.hellos().await;
    let own = cluster.known.cluster_id();
    for Hello { node, .. } in said.into_iter().filter(|hello| hello.cluster() == Some(own)) {
        let members = consensus.members();
        let id = node.id();
        let old: Vec<&Member> =
            members.iter().filter(|member| member.node.name == node.name && member.id != id).collect();
        let takes_the_place_of_a_voter = old.iter().any(|member| member.voter);
        match members.iter().find(|member| member.id == id) {
            Some(member) if !member.voter && takes_the_place_of_a_voter => {
                let instead: Vec<u64> = old.iter().map(|member| member.id).collect();
                consensus.promote(id, &instead).await?;
                tracing::info!(%node, "the node has caught up and votes now");
            }
            // A learner whose disk was replaced.
            Some(_) => {
                for gone in old.iter().filter(|member| !member.voter) {
                    consensus.remove(gone.id).await?;
                }
            }
            // Who was removed, or was never added, is let in by an operator only.
            None if old.is_empty() => {}
            None => {
                tracing::info!(%node, "a new incarnation: it learns before it votes");
                consensus.add_learner(node).await?;
            }
        }
    }
    Ok(())
}
