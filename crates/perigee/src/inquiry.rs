//! What members ask each other for their operators: how they are, and what they hold at one entry of the log.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use perigee_consensus::Member;
use perigee_engine::compare::{Comparison, MemberState, StateSums, compare};
use perigee_engine::maintenance;
use perigee_grpc::{MemberHealth, PingedMember};
use perigee_storage::store::ContentSum;
use perigee_types::LogIndex;
use serde_json::{Value, json};

use crate::gateway::{Gateway, kind};

/// How long a member may take to say how it is.
const PING_PATIENCE: Duration = Duration::from_secs(2);
/// How long a member may read all that it holds.
const READ_PATIENCE: Duration = Duration::from_secs(3_600);
/// How often members are asked anew because one has met another attestation than the others.
const TRIES: usize = 5;

impl Gateway {
    /// Answers one of the questions of this module.
    pub(crate) async fn answer(&self, kind: u8, body: Bytes) -> Result<Bytes, String> {
        match kind {
            kind::CLUSTER_COMPARE => Ok(encode_comparison(&self.compare_here().await?).to_string().into()),
            kind => self.answer_alone(kind, body).await,
        }
    }

    /// Answers what asks nobody else.
    async fn answer_alone(&self, kind: u8, body: Bytes) -> Result<Bytes, String> {
        let text = match kind {
            kind::MEMBER_HEALTH => encode_health(&self.health()),
            kind::STATE_ARM => {
                let behind: [u8; 8] = body[..].try_into().map_err(|_| "the entry does not decode".to_owned())?;
                self.holder.arm(LogIndex(u64::from_le_bytes(behind)));
                return Ok(Bytes::new());
            }
            kind::STATE_SUMS => encode_sums(&self.holder.sums().await?),
            other => return Err(format!("this node does not answer questions of kind {other}")),
        };
        Ok(text.to_string().into())
    }

    fn health(&self) -> MemberHealth {
        let raft = self.consensus.metrics();
        MemberHealth {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            leads: raft.serving,
            term: raft.term.0,
            committed: raft.committed.0,
            applied: raft.applied.0,
        }
    }

    /// Asks a member, which may be this one.
    async fn inquire(&self, member: &Member, kind: u8, body: Bytes, patience: Duration) -> Result<Bytes, String> {
        match &self.cluster {
            Some(cluster) if member.node.id() != self.consensus.node().id() => {
                cluster.ask(&member.node, kind, body, patience).await.map_err(|error| error.to_string())
            }
            _ => self.answer_alone(kind, body).await,
        }
    }

    /// Asks all members how they are.
    pub(crate) async fn ping_all(&self) -> Vec<PingedMember> {
        let asked = self.consensus.members().into_iter().map(|member| async move {
            let started = Instant::now();
            let answer = self.inquire(&member, kind::MEMBER_HEALTH, Bytes::new(), PING_PATIENCE).await;
            let answer = answer.and_then(|body| decode_health(&body).ok_or("its answer does not decode".to_owned()));
            let answer = answer.map(|health| (health, started.elapsed()));
            PingedMember { name: member.node.name, address: member.node.address, voter: member.voter, answer }
        });
        join_all(asked).await
    }

    /// Compares what all members hold, as their leader.
    async fn compare_here(&self) -> Result<Comparison, String> {
        let engine = self.engine.upgrade().ok_or("this node is stopping")?;
        let Ok(_alone) = self.comparing.try_lock() else { return Err("a comparison is running".to_owned()) };
        for _ in 0..TRIES {
            let mut members = self.consensus.members();
            // What the leader has is what one other is compared with.
            members.sort_by_key(|member| member.node.id() != self.consensus.node().id());
            let behind = Bytes::copy_from_slice(&self.consensus.metrics().last.0.to_le_bytes());
            let armed = members.iter().map(|one| self.inquire(one, kind::STATE_ARM, behind.clone(), PING_PATIENCE));
            let armed = join_all(armed).await;
            let attesting = std::sync::Arc::clone(&engine);
            let attested = tokio::task::spawn_blocking(move || maintenance::attest_now(&attesting));
            attested.await.map_err(|error| error.to_string())?.map_err(|error| error.message().to_owned())?;
            let asked = members.into_iter().zip(armed).map(|(member, armed)| async move {
                let sums = match armed {
                    Ok(_) => self.inquire(&member, kind::STATE_SUMS, Bytes::new(), READ_PATIENCE).await,
                    Err(error) => Err(error),
                };
                let sums = sums.and_then(|body| decode_sums(&body).ok_or("its answer does not decode".to_owned()));
                (member.node.name, sums)
            });
            let asked = join_all(asked).await;
            let indexes: BTreeSet<LogIndex> =
                asked.iter().filter_map(|(_, sums)| Some(sums.as_ref().ok()?.index)).collect();
            if indexes.len() <= 1 {
                return Ok(compare(asked));
            }
        }
        Err("the members have met different attestations each time: try again".to_owned())
    }

    /// The same, by whoever leads.
    pub(crate) async fn compare_all(&self) -> Result<Comparison, String> {
        if self.consensus.leader_term().is_some() {
            return self.compare_here().await;
        }
        let (Some(cluster), Some((leader, _))) = (&self.cluster, self.consensus.remote_leader()) else {
            return Err("no leader is known".to_owned());
        };
        let asked = cluster.ask(&leader, kind::CLUSTER_COMPARE, Bytes::new(), READ_PATIENCE).await;
        let body = asked.map_err(|error| error.to_string())?;
        decode_comparison(&body).ok_or_else(|| "the leader's answer does not decode".to_owned())
    }
}

fn encode_health(health: &MemberHealth) -> Value {
    let MemberHealth { version, leads, term, committed, applied } = health;
    json!({"version": version, "leads": leads, "term": term, "committed": committed, "applied": applied})
}

fn decode_health(body: &[u8]) -> Option<MemberHealth> {
    let said: Value = serde_json::from_slice(body).ok()?;
    Some(MemberHealth {
        version: said["version"].as_str()?.to_owned(),
        leads: said["leads"].as_bool()?,
        term: said["term"].as_u64()?,
        committed: said["committed"].as_u64()?,
        applied: said["applied"].as_u64()?,
    })
}

fn encode_sums(sums: &StateSums) -> Value {
    let part = |(name, part): &(String, ContentSum)| json!([name, part.count, format!("{:032x}", part.sum)]);
    json!({"index": sums.index.0, "parts": sums.parts.iter().map(part).collect::<Vec<_>>()})
}

fn decode_sums(body: &[u8]) -> Option<StateSums> {
    let said: Value = serde_json::from_slice(body).ok()?;
    let part = |part: &Value| {
        let sum = u128::from_str_radix(part[2].as_str()?, 16).ok()?;
        Some((part[0].as_str()?.to_owned(), ContentSum { count: part[1].as_u64()?, sum }))
    };
    let parts = said["parts"].as_array()?.iter().map(part).collect::<Option<_>>()?;
    Some(StateSums { index: LogIndex(said["index"].as_u64()?), parts })
}

fn encode_comparison(comparison: &Comparison) -> Value {
    let member = |MemberState { name, error, differs }: &MemberState| json!([name, error, differs]);
    json!({
        "index": comparison.index.0,
        "parts": comparison.parts,
        "majority": comparison.majority,
        "members": comparison.members.iter().map(member).collect::<Vec<_>>(),
    })
}

fn decode_comparison(body: &[u8]) -> Option<Comparison> {
    let said: Value = serde_json::from_slice(body).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let member = |member: &Value| {
        let differs = member[2].as_array()?.iter().map(text).collect::<Option<_>>()?;
        Some(MemberState { name: text(&member[0])?, error: text(&member[1])?, differs })
    };
    Some(Comparison {
        index: LogIndex(said["index"].as_u64()?),
        parts: said["parts"].as_u64()?,
        majority: said["majority"].as_bool()?,
        members: said["members"].as_array()?.iter().map(member).collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_back_as_they_went() {
        let health = MemberHealth { version: "1".to_owned(), leads: true, term: 2, committed: u64::MAX, applied: 4 };
        assert_eq!(decode_health(encode_health(&health).to_string().as_bytes()), Some(health));
        let part = |name: &str, sum| (name.to_owned(), ContentSum { count: 3, sum });
        let sums = StateSums { index: LogIndex(9), parts: vec![part("table a.\"b", u128::MAX), part("", 0)] };
        assert_eq!(decode_sums(encode_sums(&sums).to_string().as_bytes()), Some(sums));
        let members = vec![MemberState { name: "n1".to_owned(), error: String::new(), differs: vec!["x".to_owned()] }];
        let comparison = Comparison { index: LogIndex(9), parts: 2, majority: true, members };
        assert_eq!(decode_comparison(encode_comparison(&comparison).to_string().as_bytes()), Some(comparison));
        assert_eq!((decode_health(b"{}"), decode_sums(b""), decode_comparison(b"[1]")), (None, None, None));
    }
}
