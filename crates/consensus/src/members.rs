//! The members of the cluster: who they are, who leads, how they come and go, and reads at the leader's index.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use openraft::ChangeMembers;
use openraft::ServerState;
use openraft::async_runtime::{Instant, WatchReceiver};
use perigee_types::{LogIndex, Term};

use crate::Consensus;
use crate::options::Node;
use crate::raft_types::to_index;
use crate::snapshot::Snapshots;
use crate::transport::{Call, Lane, LinkError, NoTransport, Transport};

/// How far behind the leader a learner may be when it becomes a voter.
const CAUGHT_UP: u64 = 1_000;
/// Between two tries to ask a leader.
const RETRY: Duration = Duration::from_millis(20);

/// What a member of a cluster has beside its log.
#[derive(Clone)]
pub struct ClusterParts {
    /// The way to the others.
    pub transport: Arc<dyn Transport>,
    /// Checkpoints to send and to take in; without them a member whose log ends before ours begins cannot catch up.
    pub snapshots: Option<Arc<dyn Snapshots>>,
}

impl ClusterParts {
    pub(crate) fn alone() -> Self {
        Self { transport: Arc::new(NoTransport), snapshots: None }
    }
}

/// A member as this node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number in votes.
    pub id: u64,
    /// Who it is.
    pub node: Node,
    /// Whether it votes; else it only learns.
    pub voter: bool,
    /// Whether it leads, as far as is known here.
    pub leads: bool,
    /// What it is known to hold of the log; only a leader knows that of others.
    pub matched: Option<LogIndex>,
    /// How long ago it has answered the leader's last heartbeat; only a leader knows that of others.
    pub answered: Option<Duration>,
}

/// Why the members were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Another member leads, or none.
    #[error("this node does not lead")]
    NotLeader,
    /// The change is not possible now.
    #[error("{0}")]
    Refused(String),
}

/// Why there is no index to read at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadIndexError {
    /// No leader was found, or it could not prove that it is one, in time.
    #[error("no leader answers: {0}")]
    NoLeader(String),
    /// This node did not come so far in time.
    #[error("this node has applied entry {applied} and not yet entry {wanted}")]
    Behind {
        /// Where it is.
        applied: LogIndex,
        /// Where it had to be.
        wanted: LogIndex,
    },
}

impl Consensus {
    /// This member.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.inner.node
    }

    /// Whether this node's data directory has ever been a member's.
    pub async fn is_initialized(&self) -> bool {
        self.inner.raft.is_initialized().await.unwrap_or(true)
    }

    /// Makes `members` the voters of a new cluster. Only where [`is_initialized`](Self::is_initialized) is false, and on one
    /// of them only, when all are known to be empty.
    ///
    /// # Errors
    /// [`MembershipError::Refused`] when this node is no longer empty.
    pub async fn initialize(&self, members: &[Node]) -> Result<(), MembershipError> {
        let members: BTreeMap<u64, Node> = members.iter().map(|node| (node.id(), node.clone())).collect();
        self.inner.raft.initialize(members).await.map_err(|error| MembershipError::Refused(error.to_string()))
    }

    /// All members, by name.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let mut members: Vec<Member> = membership
            .nodes()
            .map(|(id, node)| Member {
                id: *id,
                node: node.clone(),
                voter: voters.contains(id),
                leads: metrics.current_leader == Some(*id),
                matched: metrics
                    .replication
                    .as_ref()
                    .and_then(|replication| replication.get(id).copied().flatten())
                    .map(|id| to_index(id.index)),
                answered: metrics
                    .heartbeat
                    .as_ref()
                    .and_then(|heartbeat| heartbeat.get(id).copied().flatten())
                    .map(|answered| answered.into_inner().elapsed()),
            })
            .collect();
        members.sort_by(|a, b| a.node.name.cmp(&b.node.name));
        members
    }

    /// Who leads, as far as is known here.
    #[must_use]
    pub fn leader(&self) -> Option<Node> {
        let metrics = self.inner.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader?;
        metrics.membership_config.membership().get_node(&leader).cloned()
    }

    /// Whether this node is a follower or learner that has heard from a leader of late: one that is cut off goes on naming the
    /// leader that it last knew.
    #[must_use]
    pub fn follows(&self) -> bool {
        let metrics = self.inner.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.current_leader.is_some() && metrics.state != ServerState::Leader && self.hears()
    }

    pub(crate) fn heard_from_the_leader(&self) {
        let now = self.inner.clock.monotonic().as_millis();
        self.inner.heard.store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Release);
    }

    fn hears(&self) -> bool {
        let heard = Duration::from_millis(self.inner.heard.load(Ordering::Acquire));
        !heard.is_zero() && self.inner.clock.monotonic().saturating_sub(heard) < self.inner.election_max * 5
    }

    /// The current term.
    #[must_use]
    pub fn term(&self) -> Term {
        Term(self.inner.raft.server_metrics().borrow_watched().vote.leader_id.term)
    }

    /// A snapshot was taken in: the node has stopped, and its next start begins from it.
    #[must_use]
    pub fn wants_restart(&self) -> bool {
        self.inner.restart.load(Ordering::Acquire)
    }

    /// Adds a member that learns and does not vote. Adding one that is there changes nothing.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn add_learner(&self, node: Node) -> Result<(), MembershipError> {
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(node.id(), node)])), true).await
    }

    /// Lets the learner `id` vote, in the place of `instead` where given. Not before it has caught up.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn promote(&self, id: u64, instead: &[u64]) -> Result<(), MembershipError> {
        let members = self.members();
        let learner = members.iter().find(|member| member.id == id && !member.voter);
        let Some(learner) = learner else {
            return Err(MembershipError::Refused("no such learner".to_owned()));
        };
        let last = LogIndex(self.inner.shared.recent.lock().next());
        let matched = learner.matched.unwrap_or_default();
        if matched.0 + CAUGHT_UP < last.0 || matched == LogIndex(0) {
            return Err(MembershipError::Refused(format!("it holds the log up to entry {matched}, of {last}")));
        }
        let voters = members.iter().filter(|member| member.voter && !instead.contains(&member.id));
        let voters: BTreeSet<u64> = voters.map(|member| member.id).chain([id]).collect();
        // What is no voter any more goes for good.
        self.change(ChangeMembers::ReplaceAllVoters(voters), false).await
    }

    /// Ends a change of voters that another leader has left half done: until then both the old and the new voters must agree.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn settle(&self) -> Result<(), MembershipError> {
        let wanted = {
            let metrics = self.inner.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            match &metrics.membership_config.membership().get_joint_config()[..] {
                [_, .., wanted] => wanted.clone(),
                _ => return Ok(()),
            }
        };
        self.change(ChangeMembers::ReplaceAllVoters(wanted), false).await
    }

    /// Removes a member.
    ///
    /// # Errors
    /// [`MembershipError`]; the last voter stays.
    pub async fn remove(&self, id: u64) -> Result<(), MembershipError> {
        let members = self.members();
        match members.iter().find(|member| member.id == id) {
            None => Ok(()),
            Some(member) if member.voter => self.change(ChangeMembers::RemoveVoters(BTreeSet::from([id])), false).await,
            Some(_) => self.change(ChangeMembers::RemoveNodes(BTreeSet::from([id])), true).await,
        }
    }

    /// Takes a voter's vote; it goes on learning.
    ///
    /// # Errors
    /// [`MembershipError`]; the last voter keeps its vote.
    pub async fn demote(&self, id: u64) -> Result<(), MembershipError> {
        self.change(ChangeMembers::RemoveVoters(BTreeSet::from([id])), true).await
    }

    /// Asks a voter to lead; returns at once.
    ///
    /// # Errors
    /// [`MembershipError`]; a member that does not vote cannot lead.
    pub async fn transfer(&self, id: u64) -> Result<(), MembershipError> {
        let term = self.leader_term().ok_or(MembershipError::NotLeader)?;
        if !self.members().iter().any(|member| member.voter && member.id == id) {
            return Err(MembershipError::Refused("no such voter".to_owned()));
        }
        if id == self.inner.node.id() {
            return Ok(());
        }
        // It does not wait for our lease to end.
        self.inner.handing_over.store(term.0, Ordering::Release);
        let asked = self.inner.raft.trigger().transfer_leader(id).await;
        asked.map_err(|error| MembershipError::Refused(error.to_string()))
    }

    async fn change(&self, change: ChangeMembers<u64, Node>, retain: bool) -> Result<(), MembershipError> {
        if self.leader_term().is_none() {
            return Err(MembershipError::NotLeader);
        }
        match self.inner.raft.change_membership(change, retain).await {
            Ok(_) => Ok(()),
            Err(error) => Err(MembershipError::Refused(error.to_string())),
        }
    }

    /// Asks another voter to lead, the one that is nearest; returns at once. Before a stop, so that nobody waits for an election.
    pub async fn step_down(&self) {
        let members = self.members();
        let others = members.iter().filter(|member| member.voter && member.id != self.inner.node.id());
        if let Some(nearest) = others.max_by_key(|member| member.matched) {
            // Who does not lead any more has nothing to hand over.
            let _ = self.transfer(nearest.id).await;
        }
    }

    /// Waits until this node has applied what was committed anywhere when the call was made, `patience` at most: a read of the
    /// state behind it is linearizable. On the leader that is a question to its followers, on a follower one to the leader.
    ///
    /// # Errors
    /// [`ReadIndexError`]: the state may then be old.
    pub async fn read_index(&self, patience: Duration) -> Result<LogIndex, ReadIndexError> {
        let clock = &self.inner.clock;
        let until = clock.monotonic() + patience;
        let mut reason = "none is known".to_owned();
        let wanted = loop {
            match self.ask_index(patience.min(self.inner.election_max)).await {
                Ok(index) => break index,
                Err(why) => reason = why.unwrap_or(reason),
            }
            if clock.monotonic() >= until {
                return Err(ReadIndexError::NoLeader(reason));
            }
            clock.sleep(RETRY).await;
        };
        self.wait_applied(wanted, until.saturating_sub(clock.monotonic())).await
    }

    /// Waits until this node has applied an entry, `patience` at most.
    ///
    /// # Errors
    /// [`ReadIndexError::Behind`]
    pub async fn wait_applied(&self, wanted: LogIndex, patience: Duration) -> Result<LogIndex, ReadIndexError> {
        let clock = &self.inner.clock;
        let until = clock.monotonic() + patience;
        let mut progress = self.inner.state.watch_applied();
        loop {
            let applied = self.applied_index();
            if applied >= wanted {
                return Ok(wanted);
            }
            let left = until.saturating_sub(clock.monotonic());
            if left.is_zero() {
                return Err(ReadIndexError::Behind { applied, wanted });
            }
            tokio::select! {
                biased;
                _ = progress.changed() => {}
                () = clock.sleep(left) => {}
            }
        }
    }

    /// Whether a read of what is applied here is linearizable without asking anybody: this node surely leads, and has applied what is
    /// committed. Another member may have applied that already, and told its clients.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.surely_leads() && self.applied_index() >= self.committed_index()
    }

    /// Whether no other member can lead: this is the only voter, or a leader whom a majority has heard of so recently that no
    /// other can have been elected.
    pub(crate) fn surely_leads(&self) -> bool {
        let Some(term) = self.leader_term() else { return false };
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        if membership.voter_ids().take(2).count() == 1 {
            // A voter that is alone leads at once, whatever it has promised to a leader that only learns.
            return membership.voter_ids().eq([self.inner.node.id()]);
        }
        if self.inner.handing_over.load(Ordering::Acquire) == term.0 {
            return false;
        }
        // Clocks of members may run at different speeds: a quarter of the lease is left unused.
        let lease = self.inner.election_max * 3 / 4;
        // Before the lease could have run out once after the start nothing is long ago.
        let since = self.inner.clock.monotonic().saturating_sub(lease);
        drop(metrics);
        self.is_followed_since(term, since)
    }

    /// Whether a majority has taken what this leader of `term` has sent since then, of the monotonic clock.
    pub(crate) fn is_followed_since(&self, term: Term, since: Duration) -> bool {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let voters = metrics.membership_config.membership().get_joint_config();
        self.inner.shared.promises.are_of_majorities(voters, self.inner.node.id(), term.0, since)
    }

    /// Whether a majority of the voters has answered this leader of late.
    #[must_use]
    pub fn has_majority(&self) -> bool {
        if self.inner.alone {
            return true;
        }
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().voter_ids().eq([self.inner.node.id()])
            || metrics.last_quorum_acked.is_some_and(|acked| acked.into_inner().elapsed() < self.inner.election_max * 3)
    }

    async fn ask_index(&self, patience: Duration) -> Result<LogIndex, Option<String>> {
        if self.leader_term().is_some() {
            let index = self.peer_service().read_index().await;
            return index.map(LogIndex).map_err(|error| Some(error.to_string()));
        }
        let leader = self.leader().filter(|leader| leader.id() != self.inner.node.id()).ok_or(None)?;
        let link = self.inner.cluster.transport.link(&leader, Lane::Control);
        let answer = link.call(Call::ReadIndex, Bytes::new(), patience).await;
        let answer = answer.map_err(|error: LinkError| Some(error.to_string()))?;
        let index: [u8; 8] =
            answer[..].try_into().map_err(|_| Some("the leader's answer does not decode".to_owned()))?;
        Ok(LogIndex(u64::from_le_bytes(index)))
    }
}
