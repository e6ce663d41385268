//! What of a running node the operations door shows.

use serde_json::{Value, json};

use super::Assembly;
use crate::checks::{self, Check, State};

impl Assembly {
    /// What there is to look at, looked at now. Asks the file system.
    pub(crate) fn checks(&self) -> Vec<Check> {
        let quorum = || match self.ready() {
            Ok(()) => {
                (State::Ok, self.consensus.leader().map_or_else(String::new, |leader| format!("{} leads", leader.name)))
            }
            Err(reason) => (State::Unhealthy, reason),
        };
        vec![
            Check::of("disk", || checks::disk(&self.disk)),
            Check::of("memory", || checks::memory(&self.budget)),
            Check::of("data_directory", || checks::folder(&self.root)),
            Check::of("log", || checks::log(&self.consensus.metrics())),
            Check::of("quorum", quorum),
        ]
    }

    /// For `/cluster/status`.
    pub(crate) fn status(&self) -> Value {
        let raft = self.consensus.metrics();
        let members = self.consensus.members().into_iter().map(|member| {
            json!({
                "id": member.node.name,
                "address": member.node.address,
                "voter": member.voter,
                "leads": member.leads,
                "matched": member.matched.map(|index| index.0),
            })
        });
        json!({
            "leader": self.consensus.leader().map(|leader| leader.name),
            "members": members.collect::<Vec<_>>(),
            "id": self.id,
            "role": if raft.serving { "leader" } else { "follower" },
            "term": raft.term.0,
            "voters": raft.voters,
            "log": {
                "first": raft.first.0,
                "last": raft.last.0,
                "synced": raft.synced.0,
                "committed": raft.committed.0,
                "bytes": raft.disk_bytes,
            },
            "applied": raft.applied.0,
            "checkpoint": self.engine.store().statistics().checkpoint.0,
            "sessions": self.engine.sessions().all().len(),
        })
    }

    /// For `/cluster/replication`: how far each member is behind, as far as this node knows; a leader knows of all.
    pub(crate) fn replication(&self) -> Value {
        let raft = self.consensus.metrics();
        let leads = raft.serving;
        let members = self.consensus.members().into_iter().map(|member| {
            // A leader holds its own log.
            let matched = if member.leads && leads { Some(raft.last) } else { member.matched };
            json!({
                "id": member.node.name,
                "voter": member.voter,
                "leads": member.leads,
                "matched": matched.map(|index| index.0),
                "behind": matched.map(|index| raft.last.0.saturating_sub(index.0)),
            })
        });
        json!({
            "id": self.id,
            "leader": self.consensus.leader().map(|leader| leader.name),
            "term": raft.term.0,
            "last": raft.last.0,
            "synced": raft.synced.0,
            "committed": raft.committed.0,
            "applied": raft.applied.0,
            "members": members.collect::<Vec<_>>(),
        })
    }
}
