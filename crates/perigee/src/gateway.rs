//! The doors of this node and those of the other members: what a client wants that only the leader does, and messages for all.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, ready};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use perigee_cluster::{Cluster, Doors};
use perigee_consensus::{Consensus, LinkError, Node};
use perigee_door::http::HttpServer;
use perigee_engine::compare::{Comparison, StateHolder};
use perigee_engine::{Answers, Elsewhere, Engine, SessionDoor};
use perigee_grpc::{ClusterChange, Members, PingedMember};
use perigee_pgwire::ForeignSessions;
use perigee_resp::{ForeignCall, ForeignMessage, RespServer};
use tokio::sync::mpsc;

/// How long a read may wait for the leader to say where the log is.
const READ_PATIENCE: Duration = Duration::from_secs(5);
/// How long a command may take at the leader.
const CALL_PATIENCE: Duration = Duration::from_secs(60);
/// How long a batch of messages may take, and for how long none is sent to a member that did not take one.
const MESSAGE_PATIENCE: Duration = Duration::from_secs(2);
/// Messages that wait for a member; more are lost, as publishing promises no more.
const MESSAGES_MAX: usize = 4_096;
/// Bytes of one batch of messages, about.
const BATCH_BYTES: usize = 1 << 20;

/// Questions between doors. Numbers on the wire: never reused.
pub(crate) mod kind {
    pub(crate) const REDIS_CALL: u8 = 1;
    pub(crate) const REDIS_MESSAGES: u8 = 2;
    pub(crate) const PG_CANCEL: u8 = 3;
    pub(crate) const CLUSTER_CHANGE: u8 = 4;
    // What follows is of `inquiry`.
    pub(crate) const MEMBER_HEALTH: u8 = 5;
    pub(crate) const STATE_ARM: u8 = 6;
    pub(crate) const STATE_SUMS: u8 = 7;
    pub(crate) const CLUSTER_COMPARE: u8 = 8;
}

/// What a session begins with.
const POSTGRES: u8 = SessionDoor::Postgres as u8;
const REST: u8 = SessionDoor::Rest as u8;
const GRPC: u8 = SessionDoor::Grpc as u8;

/// This node's way to the doors of the others. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) consensus: Consensus,
    /// `None` for a node that is alone.
    pub(crate) cluster: Option<Cluster>,
    messages: Option<mpsc::Sender<ForeignMessage>>,
    /// Weak: the engine has this gateway.
    pub(crate) engine: Weak<Engine>,
    /// Takes hold of what this node has at an entry of the log.
    pub(crate) holder: Arc<StateHolder>,
    /// One comparison of members at a time.
    pub(crate) comparing: Arc<tokio::sync::Mutex<()>>,
}

impl Gateway {
    /// Begins to carry messages on the runtime that this is called on.
    pub(crate) fn new(
        consensus: Consensus,
        cluster: Option<Cluster>,
        engine: &Arc<Engine>,
        holder: Arc<StateHolder>,
    ) -> Self {
        let messages = cluster.as_ref().map(|cluster| {
            let (messages, waiting) = mpsc::channel(MESSAGES_MAX);
            tokio::spawn(carry(consensus.clone(), cluster.clone(), waiting));
            messages
        });
        Self { consensus, cluster, messages, engine: Arc::downgrade(engine), holder, comparing: Arc::default() }
    }

    /// See [`perigee_resp::Host::current`].
    pub(crate) fn current(&self) -> Option<BoxFuture<'static, Result<(), String>>> {
        // A node that is alone has all there is.
        self.cluster.as_ref()?;
        if self.consensus.is_current() {
            return None;
        }
        let consensus = self.consensus.clone();
        let wait = async move {
            let read = consensus.read_index(READ_PATIENCE).await;
            read.map(drop).map_err(|error| format!("CLUSTERDOWN {error}"))
        };
        Some(wait.boxed())
    }

    /// See [`perigee_resp::Host::elsewhere`].
    pub(crate) fn elsewhere(&self, call: &ForeignCall) -> Option<BoxFuture<'static, Result<Bytes, Option<String>>>> {
        if self.consensus.leader_term().is_some() {
            return None;
        }
        let (cluster, consensus, body) = (self.cluster.clone()?, self.consensus.clone(), Bytes::from(call.encode()));
        let wait = async move {
            let started = tokio::time::Instant::now();
            loop {
                let refused = match consensus.remote_leader() {
                    Some((leader, _)) => {
                        match cluster.ask(&leader, kind::REDIS_CALL, body.clone(), CALL_PATIENCE).await {
                            Ok(reply) => {
                                // What it has changed is to be seen here by whoever is told of it.
                                let _ = consensus.read_index(READ_PATIENCE).await;
                                return Ok(reply);
                            }
                            Err(LinkError::Broken { .. }) => return Err(None),
                            Err(error) => error.to_string(),
                        }
                    }
                    None => "no leader is known".to_owned(),
                };
                if started.elapsed() > READ_PATIENCE {
                    return Err(Some(format!("CLUSTERDOWN {refused}; nothing was written")));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        Some(wait.boxed())
    }

    /// See [`perigee_resp::Host::tell_others`].
    pub(crate) fn tell_others(&self, message: ForeignMessage) {
        if let Some(messages) = &self.messages {
            // A member that does not take them loses them.
            let _ = messages.try_send(message);
        }
    }

    /// Changes the cluster, as its leader.
    async fn change_here(&self, change: ClusterChange) -> Result<(), String> {
        let (consensus, cluster) = (&self.consensus, self.cluster.as_ref());
        let cluster = cluster.ok_or("this node is alone: it was started without --peers")?;
        if matches!(change, ClusterChange::Add { .. } | ClusterChange::Promote(_))
            && let Some(engine) = self.engine.upgrade()
        {
            engine.check_more_members()?;
        }
        let members = consensus.members();
        let named = |name: &str, voter: bool| {
            let kind = if voter { "voter" } else { "learner" };
            let found = members.iter().find(|member| member.node.name == name && member.voter == voter);
            found.map(|member| member.node.id()).ok_or(format!("no {kind} has the name {name:?}"))
        };
        let done = match change {
            ClusterChange::Add { name, address } => {
                if members.iter().any(|member| member.node.name == name) {
                    return Err(format!("{name:?} is a member already"));
                }
                consensus.add_learner(cluster.candidate(&name, &address).await?).await
            }
            ClusterChange::Remove(name) => {
                let ids: Vec<u64> = members.iter().filter(|one| one.node.name == name).map(|one| one.id).collect();
                if ids.is_empty() {
                    return Err(format!("no member has the name {name:?}"));
                }
                let mut done = Ok(());
                for id in ids {
                    done = done.and(consensus.remove(id).await);
                }
                done
            }
            ClusterChange::Promote(name) => consensus.promote(named(&name, false)?, &[]).await,
            ClusterChange::Demote(name) => consensus.demote(named(&name, true)?).await,
            ClusterChange::Transfer(name) => {
                let id = named(&name, true)?;
                consensus.transfer(id).await.map_err(|error| error.to_string())?;
                return self.led_by(id).await;
            }
        };
        done.map_err(|error| error.to_string())
    }

    /// Waits until this node knows that `id` leads.
    async fn led_by(&self, id: u64) -> Result<(), String> {
        let started = tokio::time::Instant::now();
        while self.consensus.leader().is_none_or(|leader| leader.id() != id) {
            if started.elapsed() > READ_PATIENCE {
                return Err("it was asked to lead and has not taken over yet".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Answers the doors of other members from now on.
    pub(crate) fn open(&self, doors: Arc<OpenDoors>) {
        if let Some(cluster) = &self.cluster {
            cluster.open_doors(doors);
        }
    }
}

impl Members for Gateway {
    fn change(&self, change: ClusterChange) -> BoxFuture<'static, Result<(), String>> {
        let gateway = self.clone();
        async move {
            if gateway.consensus.leader_term().is_some() {
                return gateway.change_here(change).await;
            }
            let (Some(cluster), Some((leader, _))) = (&gateway.cluster, gateway.consensus.remote_leader()) else {
                return Err("no leader is known".to_owned());
            };
            let asked = cluster.ask(&leader, kind::CLUSTER_CHANGE, encode_change(&change), CALL_PATIENCE).await;
            asked.map(drop).map_err(|error| error.to_string())
        }
        .boxed()
    }

    fn ping(&self) -> BoxFuture<'static, Vec<PingedMember>> {
        let gateway = self.clone();
        async move { gateway.ping_all().await }.boxed()
    }

    fn compare(&self) -> BoxFuture<'static, Result<Comparison, String>> {
        let gateway = self.clone();
        async move { gateway.compare_all().await }.boxed()
    }
}

/// A verb and its words; names and addresses have no spaces.
fn encode_change(change: &ClusterChange) -> Bytes {
    let text = match change {
        ClusterChange::Add { name, address } => format!("add {name} {address}"),
        ClusterChange::Remove(name) => format!("remove {name}"),
        ClusterChange::Promote(name) => format!("promote {name}"),
        ClusterChange::Demote(name) => format!("demote {name}"),
        ClusterChange::Transfer(name) => format!("transfer {name}"),
    };
    text.into()
}

fn decode_change(body: &[u8]) -> Option<ClusterChange> {
    let words: Vec<&str> = std::str::from_utf8(body).ok()?.split(' ').collect();
    Some(match words[..] {
        ["add", name, address] => ClusterChange::Add { name: name.to_owned(), address: address.to_owned() },
        ["remove", name] => ClusterChange::Remove(name.to_owned()),
        ["promote", name] => ClusterChange::Promote(name.to_owned()),
        ["demote", name] => ClusterChange::Demote(name.to_owned()),
        ["transfer", name] => ClusterChange::Transfer(name.to_owned()),
        _ => return None,
    })
}

impl Elsewhere for Gateway {
    fn open(
        &self,
        door: SessionDoor,
        requests: BoxStream<'static, Bytes>,
    ) -> BoxFuture<'static, Result<Answers, String>> {
        let requests = stream::once(ready(Bytes::copy_from_slice(&[door as u8]))).chain(requests).boxed();
        let (cluster, leader) = (self.cluster.clone(), self.consensus.remote_leader());
        async move {
            let (Some(cluster), Some((leader, _))) = (cluster, leader) else {
                return Err("no other node leads".to_owned());
            };
            let answers = cluster.open_session(&leader, requests, MESSAGE_PATIENCE).await;
            let answers = answers.map_err(|error| error.to_string())?;
            Ok(answers.map(|answer| answer.map_err(|error| error.to_string())).boxed() as Answers)
        }
        .boxed()
    }

    fn cancel(&self, process_id: i32, secret: i32) {
        let Some(cluster) = self.cluster.clone() else { return };
        let own = self.consensus.node().id();
        let body = Bytes::from([process_id.to_be_bytes(), secret.to_be_bytes()].concat());
        for member in self.consensus.members().into_iter().filter(|member| member.id != own) {
            let (cluster, body) = (cluster.clone(), body.clone());
            tokio::spawn(async move {
                if let Err(error) = cluster.ask(&member.node, kind::PG_CANCEL, body, MESSAGE_PATIENCE).await {
                    tracing::debug!(node = member.node.name, %error, "a cancel request was not passed on");
                }
            });
        }
    }
}

/// Takes messages to all other members, each in order.
async fn carry(consensus: Consensus, cluster: Cluster, mut messages: mpsc::Receiver<ForeignMessage>) {
    let mut ways: Vec<(u64, mpsc::Sender<Bytes>)> = Vec::new();
    let mut gathered = Vec::new();
    while messages.recv_many(&mut gathered, 256).await > 0 {
        let mut batch = Vec::new();
        let mut batches = Vec::new();
        for message in gathered.drain(..) {
            message.encode(&mut batch);
            if batch.len() > BATCH_BYTES {
                batches.push(Bytes::from(std::mem::take(&mut batch)));
            }
        }
        batches.push(Bytes::from(batch));
        let own = consensus.node().id();
        let others: Vec<Node> = consensus.members().into_iter().map(|member| member.node).collect();
        let others: Vec<Node> = others.into_iter().filter(|node| node.id() != own).collect();
        ways.retain(|(id, _)| others.iter().any(|node| node.id() == *id));
        for node in others {
            if !ways.iter().any(|(id, _)| *id == node.id()) {
                let (way, waiting) = mpsc::channel(64);
                ways.push((node.id(), way));
                tokio::spawn(carry_to(cluster.clone(), node.clone(), waiting));
            }
            if let Some((_, way)) = ways.iter().find(|(id, _)| *id == node.id()) {
                batches.iter().for_each(|batch| drop(way.try_send(batch.clone())));
            }
        }
    }
}

async fn carry_to(cluster: Cluster, node: Node, mut batches: mpsc::Receiver<Bytes>) {
    while let Some(batch) = batches.recv().await {
        if batch.is_empty() {
            continue;
        }
        if let Err(error) = cluster.ask(&node, kind::REDIS_MESSAGES, batch, MESSAGE_PATIENCE).await {
            tracing::debug!(node = node.name, %error, "messages were not published there");
        }
    }
}

/// The doors of this node that answer other members.
pub(crate) struct OpenDoors {
    /// Where clients are served: not on the threads that heartbeats are answered on.
    handle: tokio::runtime::Handle,
    pub(crate) redis: OnceLock<Arc<RespServer>>,
    pub(crate) pg: OnceLock<ForeignSessions>,
    pub(crate) rest: OnceLock<Arc<HttpServer>>,
    pub(crate) grpc: OnceLock<Arc<HttpServer>>,
    pub(crate) engine: OnceLock<Arc<Engine>>,
    pub(crate) gateway: OnceLock<Gateway>,
}

impl OpenDoors {
    /// None yet; on the runtime that this is called on.
    pub(crate) fn new() -> Self {
        let handle = tokio::runtime::Handle::current();
        let (redis, pg, rest, grpc) = (OnceLock::new(), OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { handle, redis, pg, rest, grpc, engine: OnceLock::new(), gateway: OnceLock::new() }
    }
}

impl Doors for OpenDoors {
    fn ask(&self, kind: u8, body: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let (redis, engine) = (self.redis.get().cloned(), self.engine.get().cloned());
        let gateway = self.gateway.get().cloned();
        let answering = self.handle.spawn(async move {
            if kind == kind::CLUSTER_CHANGE {
                let change = decode_change(&body).ok_or_else(|| "the change does not decode".to_owned())?;
                let gateway = gateway.ok_or_else(|| "this node is still starting".to_owned())?;
                return gateway.change_here(change).await.map(|()| Bytes::new());
            }
            if (kind::MEMBER_HEALTH..=kind::CLUSTER_COMPARE).contains(&kind) {
                let gateway = gateway.ok_or_else(|| "this node is still starting".to_owned())?;
                return gateway.answer(kind, body).await;
            }
            if kind == kind::PG_CANCEL {
                let numbers: Result<[u8; 8], _> = body[..].try_into();
                let (Ok([a, b, c, d, e, f, g, h]), Some(engine)) = (numbers, engine) else {
                    return Err("the cancel request does not decode".to_owned());
                };
                engine.cancel_here(i32::from_be_bytes([a, b, c, d]), i32::from_be_bytes([e, f, g, h]));
                return Ok(Bytes::new());
            }
            let redis = redis.ok_or_else(|| "this node has no Redis door".to_owned())?;
            match kind {
                kind::REDIS_CALL => {
                    let call = ForeignCall::decode(&body).ok_or_else(|| "the command does not decode".to_owned())?;
                    Ok(redis.run_for(call).await.into())
                }
                kind::REDIS_MESSAGES => {
                    let mut rest = &body[..];
                    while !rest.is_empty() {
                        let message = ForeignMessage::decode(&mut rest);
                        redis.deliver(&message.ok_or_else(|| "a message does not decode".to_owned())?);
                    }
                    Ok(Bytes::new())
                }
                other => Err(format!("this node does not answer questions of kind {other}")),
            }
        });
        async move { answering.await.unwrap_or_else(|error| Err(error.to_string())) }.boxed()
    }

    fn session(&self, mut requests: BoxStream<'static, Bytes>) -> BoxStream<'static, Bytes> {
        let (pg, handle) = (self.pg.get().cloned(), self.handle.clone());
        let (rest, grpc) = (self.rest.get().cloned(), self.grpc.get().cloned());
        async move {
            let door = requests.next().await.unwrap_or_default();
            let _on_its_threads = handle.enter();
            let http = match &door[..] {
                [REST] => rest,
                [GRPC] => grpc,
                _ => None,
            };
            match (&door[..], pg, http) {
                ([POSTGRES], Some(sessions), _) => sessions.serve(requests),
                (_, _, Some(server)) => server.serve_foreign(requests),
                _ => stream::empty().boxed(),
            }
        }
        .flatten_stream()
        .boxed()
    }
}
