//! Nodes that know each other.

use std::thread;
use std::time::{Duration, Instant};

use crate::server::free_addresses;
use crate::{Server, ServerOptions, TestkitError, http};

/// How long a cluster may take to find a leader. Generous: machines of tests are slow and busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// Three nodes of one cluster on loopback, `n1` to `n3`.
pub struct Cluster {
    servers: Vec<Server>,
}

impl Cluster {
    /// Three nodes on empty data directories, started with `options` each; returns when all are ready.
    ///
    /// # Errors
    /// [`TestkitError`], with a server's log.
    pub fn start(options: &ServerOptions) -> Result<Self, TestkitError> {
        let addresses = free_addresses::<3>()?;
        let peers: Vec<String> = addresses.iter().zip(1..).map(|(at, number)| format!("n{number}={at}")).collect();
        let peers = peers.join(",");
        let mut servers = Vec::new();
        for number in 1..=addresses.len() {
            let options = options.clone().flag(&["--id", &format!("n{number}"), "--peers", &peers]);
            servers.push(Server::prepare(options)?);
        }
        let mut cluster = Self { servers };
        for server in &mut cluster.servers {
            server.spawn()?;
        }
        for server in &mut cluster.servers {
            server.wait_ready()?;
        }
        Ok(cluster)
    }

    /// The nodes.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// One of them, to be killed or started.
    ///
    /// # Panics
    /// When there is none of that number, counted from 0.
    pub fn server(&mut self, number: usize) -> &mut Server {
        &mut self.servers[number]
    }

    /// What a node says of the cluster, when it answers.
    #[must_use]
    pub fn status(&self, number: usize) -> Option<serde_json::Value> {
        let server = self.servers.get(number).filter(|server| server.pid().is_some())?;
        let (code, body) = http::get(server.ops(), "/cluster/status").ok()?;
        (code == 200).then(|| serde_json::from_str(&body).ok()).flatten()
    }

    /// The node that leads; waits until there is one.
    ///
    /// # Errors
    /// [`TestkitError::Server`] with the log of a node when there is none in time.
    pub fn leader(&self) -> Result<usize, TestkitError> {
        let started = Instant::now();
        loop {
            for number in 0..self.servers.len() {
                if self.status(number).is_some_and(|status| status["role"] == "leader") {
                    return Ok(number);
                }
            }
            if started.elapsed() > PATIENCE {
                let log = self.servers.iter().map(Server::log).collect::<Vec<_>>().join("\n---\n");
                return Err(TestkitError::Server { reason: "no leader".to_owned(), log });
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}
