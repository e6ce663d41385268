//! The handle to this node's cluster.
//!
//! ```text
//!   serve: listens, answers hellos   ->  find: which cluster is it?  ->  attach: consensus answers calls  ->  keep: form, admit
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use parking_lot::Mutex;
use perigee_consensus::{Consensus, Lane, Link, Node, PeerService, Transport};
use perigee_security::tls::MemberTls;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::connect::{Connector, accept};
use crate::doors::Doors;
use crate::error::ClusterError;
use crate::header::Header;
use crate::hello::Hello;
use crate::link::GrpcLink;
use crate::server::ClusterService;

/// How long a hello may take.
const HELLO_PATIENCE: Duration = Duration::from_secs(1);
/// Bytes on their way on one stream, and on one of a client's session.
const WINDOW: u32 = 4 << 20;
const SESSION_WINDOW: u32 = 256 << 10;
/// And on one connection: streams bound themselves, and none waits for another.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// Between two rounds of hellos, and between two lines that say for whom this node waits.
const ROUND: Duration = Duration::from_millis(200);
const SAY_EVERY: u32 = 25;

/// Who a node is and who the others are.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// All members by name, this one included, with the addresses at which they reach each other.
    pub peers: BTreeMap<String, String>,
    /// Certificates; without them the members must be on loopback.
    pub tls: Option<MemberTls>,
    /// Lets members be anywhere without certificates.
    pub insecure: bool,
}

/// This node, as its data directory says.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its incarnation.
    pub incarnation: u128,
    /// Its cluster, once it has one.
    pub cluster_id: Option<u128>,
}

/// What both sides of the network know.
pub(crate) struct Known {
    pub(crate) node: Node,
    pub(crate) tls: Option<MemberTls>,
    peers: BTreeMap<String, String>,
    cluster_id: Mutex<u128>,
    consensus: Mutex<Option<Consensus>>,
    pub(crate) doors: Mutex<Option<Arc<dyn Doors>>>,
    /// What is known before consensus runs: a data directory without a cluster is empty.
    empty: AtomicBool,
}

impl Known {
    pub(crate) fn cluster_id(&self) -> u128 {
        *self.cluster_id.lock()
    }

    pub(crate) fn consensus(&self) -> Option<Consensus> {
        self.consensus.lock().clone()
    }

    pub(crate) fn service(&self) -> Option<PeerService> {
        self.consensus().map(|consensus| consensus.peer_service())
    }

    /// What this node says of itself.
    pub(crate) async fn hello(&self) -> Hello {
        let attested = self.consensus().map_or(0, |consensus| consensus.attested_index().0);
        let initialized = match self.consensus() {
            Some(consensus) => Some(consensus.is_initialized().await),
            None => self.empty.load(Ordering::Acquire).then_some(false),
        };
        Hello {
            node: self.node.clone(),
            cluster: format!("{:032x}", self.cluster_id()),
            initialized,
            peers: listed(&self.peers),
            attested,
        }
    }

    fn new(options: ClusterOptions, identity: Identity) -> Arc<Self> {
        let address = options.peers.get(&identity.name).cloned().unwrap_or_default();
        Arc::new(Self {
            node: Node { name: identity.name, incarnation: identity.incarnation, address },
            tls: options.tls,
            peers: options.peers,
            cluster_id: Mutex::new(identity.cluster_id.unwrap_or_default()),
            consensus: Mutex::default(),
            doors: Mutex::default(),
            empty: AtomicBool::new(identity.cluster_id.is_none()),
        })
    }
}

fn listed(peers: &BTreeMap<String, String>) -> String {
    peers.iter().map(|(name, address)| format!("{name}={address}")).collect::<Vec<_>>().join(",")
}

/// Links by the id of the member and the lane.
type Links = BTreeMap<(u64, LaneOrder), Arc<GrpcLink>>;

/// This node's cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) known: Arc<Known>,
    links: Arc<Mutex<Links>>,
    closing: CancellationToken,
}

/// Lanes in an order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LaneOrder(u8);

/// Sessions of clients: one that does not read must not hold up what else clients want.
pub(crate) const SESSIONS: LaneOrder = LaneOrder(4);

impl From<Lane> for LaneOrder {
    fn from(lane: Lane) -> Self {
        Self(match lane {
            Lane::Control => 0,
            Lane::Log => 1,
            Lane::Snapshot => 2,
            Lane::Client => 3,
        })
    }
}

/// Whether an address can only be reached from this machine.
fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

impl ClusterOptions {
    /// Checks that this node is named, and that nobody else can listen in.
    ///
    /// # Errors
    /// [`ClusterError`]; the node must not start.
    pub async fn check(&self, name: &str) -> Result<(), ClusterError> {
        if !self.peers.contains_key(name) {
            return Err(ClusterError::NotAmongPeers { name: name.to_owned(), peers: listed(&self.peers) });
        }
        if self.tls.is_some() || self.insecure {
            return Ok(());
        }
        for (name, address) in &self.peers {
            let resolved = tokio::net::lookup_host(address.as_str()).await.map_err(|error| {
                ClusterError::Unresolved { name: name.clone(), address: address.clone(), reason: error.to_string() }
            })?;
            for address in resolved {
                if !is_loopback(&address) {
                    return Err(ClusterError::Unprotected { name: name.clone(), address });
                }
            }
        }
        Ok(())
    }
}

impl Cluster {
    /// Listens for the other members on the tokio runtime that this is called on. Until [`attach`](Self::attach) only hellos are
    /// answered. Checks nothing: see [`ClusterOptions::check`].
    #[must_use]
    pub fn serve(listener: TcpListener, options: ClusterOptions, identity: Identity) -> Self {
        let known = Known::new(options, identity);
        let closing = CancellationToken::new();
        let (accepted, incoming) = mpsc::channel(16);
        tokio::spawn(accept(listener, known.tls.clone(), accepted, closing.clone()));
        let serving = Server::builder()
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(16_384)
            .http2_keepalive_interval(Some(Duration::from_secs(2)))
            .http2_keepalive_timeout(Some(Duration::from_secs(5)))
            .add_service(ClusterService(Arc::clone(&known)))
            .serve_with_incoming_shutdown(ReceiverStream::new(incoming), closing.clone().cancelled_owned());
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the cluster address is closed");
            }
        });
        Self { known, links: Arc::default(), closing }
    }

    /// The peers of a node of this name that takes no part itself: it listens to nobody and answers nobody.
    #[must_use]
    pub fn outside(options: ClusterOptions, name: &str) -> Self {
        let known = Known::new(options, Identity { name: name.to_owned(), incarnation: 0, cluster_id: None });
        Self { known, links: Arc::default(), closing: CancellationToken::new() }
    }

    /// Which of the peers take part in a cluster, this one where it is known, and agree with their leader up to an attested entry;
    /// and which do not. By their names.
    pub async fn whole_without_this(&self, cluster: Option<u128>, attested: u64) -> (Vec<String>, Vec<String>) {
        let (said, mut missing) = self.hellos().await;
        let is_whole = |hello: &Hello| {
            let own = hello.cluster().is_some_and(|found| cluster.is_none_or(|cluster| cluster == found));
            own && hello.initialized == Some(true) && hello.attested >= attested
        };
        let (there, others): (Vec<Hello>, Vec<Hello>) = said.into_iter().partition(is_whole);
        missing.extend(others.into_iter().map(|hello| hello.node.name));
        (there.into_iter().map(|hello| hello.node.name).collect(), missing)
    }

    /// This member, with the address at which others reach it.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.known.node
    }

    /// Finds the cluster of a node that has none yet: that of its peers, or a new one, whose number the first of them draws when
    /// all have been seen to be empty. Waits for that as long as it takes, and says for whom.
    ///
    /// # Errors
    /// [`ClusterError::Divided`].
    pub async fn find(&self, draw: impl Fn() -> u128) -> Result<u128, ClusterError> {
        let mut round = 0_u32;
        loop {
            let (said, missing) = self.hellos().await;
            let settled = said.iter().filter(|hello| hello.initialized == Some(true)).find_map(Hello::cluster);
            let named: Vec<&Hello> = said.iter().filter(|hello| hello.cluster().is_some()).collect();
            let mut clusters: Vec<u128> = named.iter().filter_map(|hello| hello.cluster()).collect();
            clusters.sort_unstable();
            clusters.dedup();
            if clusters.len() > 1 {
                let text = named.iter().map(|hello| format!("{} of {}", hello.node.name, hello.cluster));
                return Err(ClusterError::Divided(text.collect::<Vec<_>>().join(", ")));
            }
            let found = match (settled, clusters.first()) {
                (Some(cluster), _) => Some(cluster),
                (None, Some(cluster)) => Some(*cluster),
                (None, None) if missing.is_empty() && self.is_first() && self.disagreement(&said).is_none() => {
                    Some(draw())
                }
                (None, None) => None,
            };
            if let Some(cluster) = found {
                *self.known.cluster_id.lock() = cluster;
                return Ok(cluster);
            }
            if round.is_multiple_of(SAY_EVERY) {
                self.say(&said, &missing);
            }
            round += 1;
            tokio::time::sleep(ROUND).await;
        }
    }

    /// Tells the operator what this node waits for.
    pub(crate) fn say(&self, said: &[Hello], missing: &[String]) {
        if let Some(text) = self.disagreement(said) {
            tracing::error!("the nodes were told different peers: {text}");
        } else if missing.is_empty() {
            let first = self.known.peers.keys().next().map_or("", String::as_str);
            tracing::info!(first, "waiting for the first of the peers to form the cluster");
        } else {
            tracing::info!(missing = missing.join(", "), "waiting for peers before the cluster is formed");
        }
    }

    /// Whether this node is the one that forms the cluster.
    pub(crate) fn is_first(&self) -> bool {
        self.known.peers.keys().next() == Some(&self.known.node.name)
    }

    /// Who was told other peers than this node.
    pub(crate) fn disagreement(&self, said: &[Hello]) -> Option<String> {
        let own = listed(&self.known.peers);
        let other = said.iter().find(|hello| hello.peers != own)?;
        Some(format!("{} has {}, {} has {own}", other.node.name, other.peers, self.known.node.name))
    }

    /// What the others say of themselves, and who does not answer.
    pub(crate) async fn hellos(&self) -> (Vec<Hello>, Vec<String>) {
        let mut others = self.known.peers.clone();
        // Who was added while this node ran is not among the peers that it was told.
        for member in self.known.consensus().iter().flat_map(Consensus::members) {
            others.entry(member.node.name).or_insert(member.node.address);
        }
        others.remove(&self.known.node.name);
        let asked = others.into_iter().map(|(name, address)| async move {
            self.hello(&name, &address).await.map_err(|reason| {
                tracing::debug!(name, reason, "a peer does not answer");
                name
            })
        });
        let (mut said, mut missing) = (Vec::new(), Vec::new());
        for answer in join_all(asked).await {
            match answer {
                Ok(hello) => said.push(hello),
                Err(name) => missing.push(name),
            }
        }
        (said, missing)
    }

    /// What the node `name` says of itself.
    async fn hello(&self, name: &str, address: &str) -> Result<Hello, String> {
        let own = serde_json::to_vec(&self.known.hello().await).unwrap_or_default();
        let node = Node { name: name.to_owned(), incarnation: 0, address: address.to_owned() };
        let link = self.grpc_link(&node, Lane::Control);
        let answer = link.hello(Bytes::from(own), HELLO_PATIENCE).await.map_err(|error| error.to_string())?;
        let hello: Hello = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
        if hello.node.name == name { Ok(hello) } else { Err(format!("it says that it is {:?}", hello.node.name)) }
    }

    /// Which incarnation of `name` there is at an address, when it waits to become a member of this cluster.
    ///
    /// # Errors
    /// Why it cannot become one.
    pub async fn candidate(&self, name: &str, address: &str) -> Result<Node, String> {
        let hello = self.hello(name, address).await?;
        match hello.cluster() {
            Some(cluster) if cluster == self.known.cluster_id() => {
                Ok(Node { address: address.to_owned(), ..hello.node })
            }
            Some(_) => Err(format!("{name} is of another cluster, {}", hello.cluster)),
            None => Err(format!("{name} has not found this cluster yet: its --peers have to name a member of it")),
        }
    }

    /// From here on calls of other members are answered.
    pub fn attach(&self, consensus: Consensus) {
        *self.known.consensus.lock() = Some(consensus);
    }

    /// Forms the cluster when that is this node's part, then keeps its members, until the node closes. Behind
    /// [`attach`](Self::attach).
    pub async fn keep(&self) {
        let Some(consensus) = self.known.consensus() else { return };
        tokio::select! {
            () = self.closing.cancelled() => {}
            () = crate::keeper::run(self, &consensus) => {}
        }
    }

    /// Answers nobody any more.
    pub fn close(&self) {
        self.closing.cancel();
        *self.known.consensus.lock() = None;
        *self.known.doors.lock() = None;
    }

    pub(crate) fn grpc_link(&self, peer: &Node, lane: impl Into<LaneOrder>) -> Arc<GrpcLink> {
        let lane = lane.into();
        let mut links = self.links.lock();
        let link = links.entry((peer.id(), lane)).or_insert_with(|| {
            let known = Arc::clone(&self.known);
            let to = (peer.name.clone(), peer.incarnation);
            let header = move || Header {
                cluster: known.cluster_id(),
                from: (known.node.name.clone(), known.node.incarnation),
                to: to.clone(),
            };
            // Where the operator says that it is goes before where it was.
            let address = self.known.peers.get(&peer.name).unwrap_or(&peer.address).clone();
            let connector =
                Connector { name: peer.name.clone(), address, tls: self.known.tls.clone(), failed: Mutex::default() };
            let window = if lane == SESSIONS { SESSION_WINDOW } else { WINDOW };
            Arc::new(GrpcLink::new(connector, Arc::new(header), (window, CONNECTION_WINDOW)))
        });
        Arc::clone(link)
    }
}

impl Transport for Cluster {
    fn link(&self, peer: &Node, lane: Lane) -> Arc<dyn Link> {
        self.grpc_link(peer, lane)
    }
}
