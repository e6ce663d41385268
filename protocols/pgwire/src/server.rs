//! Accepts connections, bounds their number, keeps them apart, drains them at the end.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use perigee_engine::Engine;
use perigee_security::{LoadedTls, Place, ServerTls, TrustedProxies};
use perigee_telemetry::names;
use perigee_types::{SqlError, SqlState};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::auth::Scram;
use crate::client::Client;
use crate::error::Failure;
use crate::startup::Startup;

/// Connections beyond the limit that are still told about it, and that may cancel statements.
const CONNECTIONS_OVER: usize = 64;

/// How the door behaves.
#[derive(Clone)]
pub struct PgOptions {
    /// TLS, where it is configured. For direct TLS connections it must offer the ALPN protocol `postgresql`.
    pub tls: Option<ServerTls>,
    /// Who may say for whom it connects.
    pub proxies: TrustedProxies,
    /// Clients at a time; one more is refused with `53300`.
    pub connections_max: usize,
    /// How long a client may take from connecting to its session.
    pub startup_timeout: Duration,
    /// The most bytes of one message of a session.
    pub message_bytes_max: usize,
    /// How long statements may still run when the server stops.
    pub drain_timeout: Duration,
}

impl Default for PgOptions {
    fn default() -> Self {
        Self {
            tls: None,
            proxies: TrustedProxies::default(),
            connections_max: 1_000,
            startup_timeout: Duration::from_secs(60),
            message_bytes_max: 256 << 20,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// The PostgreSQL door.
pub struct PgServer {
    engine: Arc<Engine>,
    options: PgOptions,
    /// That of the certificate which the connection before had, if it had one.
    scram: Mutex<(Option<Arc<LoadedTls>>, Arc<Scram>)>,
    /// The server stops: clients that wait are told to leave.
    shutdown: CancellationToken,
}

impl PgServer {
    /// Serves connections until `shutdown`; then idle clients are closed with `57P01`, statements that run may end
    /// within the drain timeout, and the future resolves.
    pub fn serve(
        listener: TcpListener,
        engine: Arc<Engine>,
        options: PgOptions,
        shutdown: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let scram = Mutex::new((None, Arc::new(Scram::new(None))));
        let server = Arc::new(PgServer { engine, options, scram, shutdown });
        server.run(listener)
    }

    async fn run(self: Arc<Self>, listener: TcpListener) {
        let mut tasks = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => break,
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    report(ended);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.accepted(&mut tasks, stream, peer),
                Err(error) => {
                    // Out of file descriptors, mostly: it passes when a connection ends.
                    tracing::warn!(%error, "accepting a PostgreSQL connection failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(listener);
        let drained = async {
            while let Some(ended) = tasks.join_next().await {
                report(ended);
            }
        };
        if tokio::time::timeout(self.options.drain_timeout, drained).await.is_err() {
            tracing::warn!(connections = tasks.len(), "PostgreSQL connections did not end in time");
            tasks.shutdown().await;
        }
    }

    fn accepted(self: &Arc<Self>, tasks: &mut JoinSet<()>, stream: TcpStream, peer: SocketAddr) {
        let is_full = tasks.len() >= self.options.connections_max;
        let place = Place::take();
        if is_full || place.is_none() {
            metrics::counter!(names::CONNECTIONS_REFUSED_TOTAL, "door" => "pg").increment(1);
        }
        let Some(place) = place.filter(|_| tasks.len() < self.options.connections_max + CONNECTIONS_OVER) else {
            tracing::debug!(%peer, "too many connections, closed at once");
            return;
        };
        metrics::counter!(names::PG_CONNECTIONS_TOTAL).increment(1);
        // A task of its own: a panic in it ends this connection and no other.
        let connection = Arc::clone(self).connection(stream, peer, is_full);
        tasks.spawn(async move {
            connection.await;
            drop(place);
        });
    }

    /// The exchange bound to a connection's certificate, which is another one behind its renewal.
    fn scram_of(&self, tls: Option<&Arc<LoadedTls>>) -> Arc<Scram> {
        let mut known = self.scram.lock().unwrap_or_else(PoisonError::into_inner);
        if tls.map(Arc::as_ptr) != known.0.as_ref().map(Arc::as_ptr) {
            *known = (tls.cloned(), Arc::new(Scram::new(tls.map(|tls| &tls.certificate))));
        }
        Arc::clone(&known.1)
    }

    async fn connection(self: Arc<Self>, mut stream: TcpStream, peer: SocketAddr, is_full: bool) {
        let peer = match self.options.proxies.client(&mut stream, peer).await {
            Ok(client) => client,
            Err(error) => return tracing::debug!(%error, proxy = %peer, "connection closed"),
        };
        // Answers are written whole; waiting to fill packets only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %peer, "no TCP_NODELAY");
        }
        let tls = self.options.tls.as_ref().map(ServerTls::current);
        let startup = Startup {
            engine: Arc::clone(&self.engine),
            scram: self.scram_of(tls.as_ref()),
            tls,
            ended: self.shutdown.clone(),
            is_full,
        };
        let opened = tokio::time::timeout(self.options.startup_timeout, Box::pin(startup.open(stream, peer))).await;
        match opened {
            Ok(Ok(Some((mut connection, session)))) => {
                connection.session_started(session.terminated(), self.options.message_bytes_max);
                Client::new(connection, session).run().await;
            }
            Ok(Ok(None)) => {}
            Ok(Err((connection, failure))) => {
                tracing::debug!(error = %failure, %peer, "connection refused");
                let error = match &failure {
                    Failure::Io(_) => None,
                    Failure::Sql(error) | Failure::Fatal(error) => Some(error),
                };
                if let Some(connection) = connection {
                    connection.close(error).await;
                }
            }
            Err(_) => tracing::debug!(%peer, "start-up took too long"),
        }
    }
}

/// A connection's task has ended; it should not have panicked.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        let error = SqlError::new(SqlState::InternalError, error.to_string());
        tracing::error!(%error, "a PostgreSQL connection's task panicked; the others go on");
        metrics::counter!(names::PG_PANICS_TOTAL).increment(1);
    }
}
