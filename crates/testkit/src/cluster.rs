//! Nodes that know each other.

use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::network::Network;
use crate::server::free_addresses;
use crate::{Server, ServerOptions, TestkitError, http};

/// How long a cluster may take to find a leader. Generous: machines of tests are slow and busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// Clusters of a process at a time: more tests than that may run at once, but heartbeats want processors.
const CLUSTERS_MAX: usize = 2;

/// Nodes of one cluster on loopback, `n1` and so on. A test that holds one waits for no other.
pub struct Cluster {
    servers: Vec<Server>,
    /// Where nodes find each other.
    addresses: Vec<SocketAddr>,
    network: Option<Network>,
    /// Nodes that are stopped by a signal: they answer nobody.
    paused: Vec<bool>,
    /// Dropped last.
    _turn: Turn,
}

impl Cluster {
    /// Three nodes on empty data directories, started with `options` each; returns when all are ready.
    ///
    /// # Errors
    /// [`TestkitError`], with a server's log.
    pub fn start(options: &ServerOptions) -> Result<Self, TestkitError> {
        Self::of(3, options)
    }

    /// The same of any size.
    ///
    /// # Errors
    /// [`TestkitError`], with a server's log.
    pub fn of(size: usize, options: &ServerOptions) -> Result<Self, TestkitError> {
        Self::each(size, |_| options.clone())
    }

    /// The same with options of its own for each node, by its name.
    ///
    /// # Errors
    /// [`TestkitError`], with a server's log.
    pub fn each(size: usize, options: impl Fn(&str) -> ServerOptions) -> Result<Self, TestkitError> {
        let turn = Turn::take();
        let addresses = free_addresses(size)?;
        let mut servers = Vec::new();
        for number in 1..=size {
            let name = format!("n{number}");
            servers.push(Server::prepare(options(&name).flag(&["--id", &name, "--peers", &peers(&addresses)]))?);
        }
        Self { servers, addresses, network: None, paused: vec![false; size], _turn: turn }.started()
    }

    /// A node that is to take the place of another, started and not waited for: it is no member until an operator adds it. Gives its
    /// name and where members reach it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn another(&mut self, options: &ServerOptions, instead: usize) -> Result<(String, SocketAddr), TestkitError> {
        let address = free_addresses(1)?[0];
        self.addresses.push(address);
        let name = format!("n{}", self.addresses.len());
        let peers = peers(&self.addresses);
        let peers: Vec<&str> =
            peers.split(',').enumerate().filter(|(at, _)| *at != instead).map(|(_, one)| one).collect();
        let options = options.clone().flag(&["--id", &name, "--peers", &peers.join(",")]);
        self.servers.push(Server::prepare(options)?);
        self.paused.push(false);
        self.spawn(self.servers.len() - 1)?;
        Ok((name, address))
    }

    /// Where members reach a node.
    #[must_use]
    pub fn address(&self, number: usize) -> SocketAddr {
        self.addresses[number]
    }

    /// The same over a network that can be cut: see [`Cluster::network`].
    ///
    /// # Errors
    /// [`TestkitError`], with a server's log.
    pub fn with_network(size: usize, options: &ServerOptions) -> Result<Self, TestkitError> {
        let turn = Turn::take();
        let nodes = free_addresses(size)?;
        let network = Network::new(&nodes)?;
        let peers = peers(network.addresses());
        let mut servers = Vec::new();
        for (own, number) in nodes.iter().zip(1..) {
            let flags = ["--id", &format!("n{number}"), "--peers", &peers, "--cluster-address", &own.to_string()];
            servers.push(Server::prepare(options.clone().flag(&flags))?);
        }
        let addresses = network.addresses().to_vec();
        Self { servers, addresses, network: Some(network), paused: vec![false; size], _turn: turn }.started()
    }

    fn started(mut self) -> Result<Self, TestkitError> {
        for number in 0..self.servers.len() {
            self.spawn(number)?;
        }
        for server in &mut self.servers {
            server.wait_ready()?;
        }
        Ok(self)
    }

    /// The nodes.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// One of them, to be killed or, without a network that can be cut, started.
    ///
    /// # Panics
    /// When there is none of that number, counted from 0.
    pub fn server(&mut self, number: usize) -> &mut Server {
        &mut self.servers[number]
    }

    /// The network between them.
    ///
    /// # Panics
    /// When the cluster was started without.
    #[must_use]
    pub fn network(&self) -> &Network {
        self.network.as_ref().unwrap_or_else(|| panic!("the cluster was started without a network"))
    }

    /// Starts a node's process without waiting for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&mut self, number: usize) -> Result<(), TestkitError> {
        self.servers[number].spawn()?;
        self.paused[number] = false;
        if let Some(network) = &self.network {
            network.runs_as(number, self.servers[number].pid());
        }
        Ok(())
    }

    /// `kill -9`.
    pub fn kill(&mut self, number: usize) {
        self.servers[number].kill();
        self.paused[number] = false;
    }

    /// Stops a node's process where it is; clients and members wait for it.
    ///
    /// # Errors
    /// When there is no process.
    pub fn pause(&mut self, number: usize) -> Result<(), TestkitError> {
        self.paused[number] = true;
        self.servers[number].signal("STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When there is no process.
    pub fn resume(&mut self, number: usize) -> Result<(), TestkitError> {
        self.servers[number].signal("CONT")?;
        self.paused[number] = false;
        Ok(())
    }

    /// Ends all faults: what was cut heals, who is paused goes on, who was killed starts. Waits until all are ready.
    ///
    /// # Errors
    /// [`TestkitError`], with a server's log.
    pub fn repair(&mut self) -> Result<(), TestkitError> {
        if let Some(network) = &self.network {
            network.heal();
        }
        for number in 0..self.servers.len() {
            if self.paused[number] {
                self.resume(number)?;
            }
            if self.servers[number].pid().is_none() {
                self.spawn(number)?;
            }
        }
        for server in &mut self.servers {
            server.wait_ready()?;
        }
        Ok(())
    }

    /// What a node says of the cluster, when it answers.
    #[must_use]
    pub fn status(&self, number: usize) -> Option<serde_json::Value> {
        let server = self.servers.get(number).filter(|server| server.pid().is_some() && !self.paused[number])?;
        let (code, body) = http::get(server.ops(), "/cluster/status").ok()?;
        (code == 200).then(|| serde_json::from_str(&body).ok()).flatten()
    }

    /// The node that leads, in the latest term of all that say so; waits until there is one.
    ///
    /// # Errors
    /// [`TestkitError::Server`] with the log of a node when there is none in time.
    pub fn leader(&self) -> Result<usize, TestkitError> {
        self.leader_but(&[])
    }

    /// The same, of those that are not among `others`: an old leader that is cut off may not know it.
    ///
    /// # Errors
    /// [`TestkitError::Server`] with the log of a node when there is none in time.
    pub fn leader_but(&self, others: &[usize]) -> Result<usize, TestkitError> {
        let started = Instant::now();
        loop {
            let asked = (0..self.servers.len()).filter(|number| !others.contains(number));
            let leading = asked.filter_map(|number| {
                let status = self.status(number).filter(|status| status["role"] == "leader")?;
                Some((status["term"].as_u64()?, number))
            });
            if let Some((_, number)) = leading.max() {
                return Ok(number);
            }
            if started.elapsed() > PATIENCE {
                let log = self.servers.iter().map(Server::log).collect::<Vec<_>>().join("\n---\n");
                return Err(TestkitError::Server { reason: "no leader".to_owned(), log });
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn peers(addresses: &[SocketAddr]) -> String {
    let peers: Vec<String> = addresses.iter().zip(1..).map(|(at, number)| format!("n{number}={at}")).collect();
    peers.join(",")
}

/// One of the clusters that may run.
struct Turn;

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

impl Turn {
    fn take() -> Self {
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running =
            ENDED.wait_while(running, |running| *running >= CLUSTERS_MAX).unwrap_or_else(PoisonError::into_inner);
        *running += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_one();
    }
}
