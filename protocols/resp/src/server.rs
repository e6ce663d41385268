//! Accepts connections, bounds their number, keeps them apart, drains them at the end.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use perigee_keyspace::Keyspace;
use perigee_security::{Place, ServerTls, TrustedProxies};
use perigee_telemetry::names;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::host::Host;
use crate::session::{Killed, Session};
use crate::shared::Shared;
use crate::wire::{Transport, Wire};

/// How long a client may take for TLS.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// How often clients are looked after.
const TICK: Duration = Duration::from_millis(100);

/// How the door behaves.
#[derive(Clone, Debug)]
pub struct RespOptions {
    /// Who may say for whom it connects.
    pub proxies: TrustedProxies,
    /// Clients at a time (`maxclients`).
    pub connections_max: usize,
    /// Seconds of silence on a connection before the system asks whether it still is there; 0 never asks.
    pub keepalive_s: u64,
    /// How long commands may still run when the server stops.
    pub drain_timeout: Duration,
    /// Says that this is a cluster of one shard.
    pub cluster_mode: bool,
    /// Parameters of CONFIG to begin with.
    pub parameters: Vec<(String, String)>,
}

impl Default for RespOptions {
    fn default() -> Self {
        Self {
            proxies: TrustedProxies::default(),
            connections_max: 10_000,
            keepalive_s: 300,
            drain_timeout: Duration::from_secs(10),
            cluster_mode: false,
            parameters: Vec::new(),
        }
    }
}

/// The Redis door. One may serve several listeners.
pub struct RespServer {
    pub(crate) shared: Arc<Shared>,
    options: RespOptions,
}

impl RespServer {
    /// A door to a keyspace. It listens to what the keyspace tells.
    ///
    /// # Errors
    /// A parameter that does not exist or cannot have its value.
    pub fn new(keyspace: Arc<Keyspace>, host: Arc<dyn Host>, options: RespOptions) -> Result<Arc<Self>, String> {
        let shared = Arc::new(Shared::new(Arc::clone(&keyspace), host, options.cluster_mode));
        let clients = ("maxclients".to_owned(), options.connections_max.max(1).to_string());
        for (name, value) in std::iter::once(&clients).chain(&options.parameters) {
            let param = crate::config::find(name.as_bytes()).ok_or_else(|| format!("{name} is no parameter"))?;
            let value = crate::config::check(param, value, param.default).map_err(|why| format!("{name}: {why}"))?;
            shared.config.set(param, value);
        }
        keyspace.listen(Arc::clone(&shared) as Arc<dyn perigee_keyspace::Listener>);
        // What was logged before it listened.
        keyspace.with_state(|state| {
            state.settings.values.iter().for_each(|(name, value)| shared.config.warm(name, value));
        });
        Ok(Arc::new(Self { shared, options }))
    }

    /// Serves connections until `shutdown`; then idle clients are closed, commands that run may end within the drain
    /// timeout, and the future resolves.
    pub fn serve(
        self: &Arc<Self>,
        listener: TcpListener,
        tls: Option<ServerTls>,
        shutdown: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        Arc::clone(self).run(listener, tls, shutdown)
    }

    async fn run(self: Arc<Self>, listener: TcpListener, tls: Option<ServerTls>, shutdown: CancellationToken) {
        let mut tasks = JoinSet::new();
        let mut answers = JoinSet::new();
        answers.spawn(Arc::clone(&self.shared.keyspace).hand_out());
        let mut tick = tokio::time::interval(TICK);
        let mut last = (0, tokio::time::Instant::now());
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => report(ended),
                _ = tick.tick() => {
                    self.shared.tick();
                    self.sample(&mut last);
                }
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => match Place::take() {
                        Some(place) => {
                            let connection = Arc::clone(&self).connection(stream, peer, tls.clone());
                            tasks.spawn(async move {
                                connection.await;
                                drop(place);
                            });
                        }
                        None => {
                            tracing::debug!(%peer, "too many connections, closed at once");
                            self.count_refused();
                        }
                    },
                    Err(error) => {
                        // Out of file descriptors, mostly: it passes when a connection ends.
                        tracing::warn!(%error, "accepting a Redis connection failed");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        drop(listener);
        for client in self.shared.clients.all() {
            client.kill(Killed::Written);
        }
        let drained = async {
            while let Some(ended) = tasks.join_next().await {
                report(ended);
            }
        };
        if tokio::time::timeout(self.options.drain_timeout, drained).await.is_err() {
            tracing::warn!(connections = tasks.len(), "Redis connections did not end in time");
            tasks.shutdown().await;
        }
        answers.shutdown().await;
        self.close();
    }

    /// Commands per second, about once a second.
    fn sample(&self, last: &mut (u64, tokio::time::Instant)) {
        let elapsed = last.1.elapsed();
        if elapsed >= Duration::from_secs(1) {
            let now = self.shared.stats.command_total();
            let per_second = (now.saturating_sub(last.0) as f64 / elapsed.as_secs_f64()) as u64;
            self.shared.stats.ops_per_second.store(per_second, Ordering::Relaxed);
            *last = (now, tokio::time::Instant::now());
            metrics::gauge!(names::REDIS_CLIENTS).set(self.shared.clients.count() as f64);
            metrics::counter!(names::REDIS_COMMANDS_TOTAL).absolute(now);
        }
    }

    /// The door and the keyspace hold each other no more.
    pub(crate) fn close(&self) {
        self.shared.keyspace.end_listening();
    }

    /// A connection over any stream; for tests.
    #[cfg(test)]
    pub(crate) fn attach(self: &Arc<Self>, stream: Box<dyn Transport>) -> tokio::task::JoinHandle<()> {
        let client = self.shared.clients.add(None, None);
        tokio::spawn(Session::new(Arc::clone(&self.shared), client, Wire::new(stream)).run())
    }

    async fn connection(self: Arc<Self>, mut stream: TcpStream, peer: SocketAddr, tls: Option<ServerTls>) {
        self.prepare(&stream);
        let peer = match self.options.proxies.client(&mut stream, peer).await {
            Ok(client) => client,
            Err(error) => return tracing::debug!(%error, proxy = %peer, "connection closed"),
        };
        let local = stream.local_addr().ok();
        let acceptor = tls.map(|tls| TlsAcceptor::from(Arc::clone(&tls.current().config)));
        let mut transport: Box<dyn Transport> = match acceptor {
            None => Box::new(stream),
            Some(acceptor) => match tokio::time::timeout(TLS_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => Box::new(stream),
                Ok(Err(error)) => return tracing::debug!(%error, %peer, "no TLS"),
                Err(_) => return tracing::debug!(%peer, "TLS took too long"),
            },
        };
        let shared = &self.shared;
        if shared.clients.count() >= shared.config.hot.clients_max.load(Ordering::Relaxed) {
            self.count_refused();
            // It may not be read: the connection is closed either way.
            let refusal = transport.write_all(b"-ERR max number of clients reached\r\n");
            drop(tokio::time::timeout(Duration::from_secs(1), refusal).await);
            drop(tokio::time::timeout(Duration::from_secs(1), transport.shutdown()).await);
            return;
        }
        shared.stats.connection_total.fetch_add(1, Ordering::Relaxed);
        metrics::counter!(names::REDIS_CONNECTIONS_TOTAL).increment(1);
        let client = shared.clients.add(Some(peer), local);
        let gone = Gone { shared: Arc::clone(shared), id: client.id };
        Session::new(Arc::clone(shared), client, Wire::new(transport)).run().await;
        drop(gone);
    }

    fn count_refused(&self) {
        self.shared.stats.rejected_total.fetch_add(1, Ordering::Relaxed);
        metrics::counter!(names::CONNECTIONS_REFUSED_TOTAL, "door" => "redis").increment(1);
    }

    fn prepare(&self, stream: &TcpStream) {
        // Replies are written whole; waiting to fill packets only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        if self.options.keepalive_s > 0 {
            let time = Duration::from_secs(self.options.keepalive_s);
            let keepalive = socket2::TcpKeepalive::new().with_time(time).with_interval(time / 3);
            if let Err(error) = socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive) {
                tracing::debug!(%error, "no TCP keepalive");
            }
        }
    }
}

/// Takes a connection out of the list however its task ends.
pub(crate) struct Gone {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: u64,
}

impl Drop for Gone {
    fn drop(&mut self) {
        self.shared.clients.remove(self.id);
    }
}

/// A connection's task has ended; it should not have panicked.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a Redis connection's task panicked; the others go on");
        metrics::counter!(names::REDIS_PANICS_TOTAL).increment(1);
    }
}
