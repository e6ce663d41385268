//! Accepts connections, bounds their number, keeps them apart, drains them at the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use perigee_security::{Place, ServerTls, TrustedProxies};
use perigee_telemetry::names;
use perigee_telemetry::trace::{self, Step, Told};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::Peer;
use crate::forward::{TRACE_PARENT, pipe};

/// How long a client may take for TLS.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Requests of one connection at a time, with HTTP/2.
const STREAMS_MAX: u32 = 64;

/// How a door takes connections.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// The door's name, for the log.
    pub name: &'static str,
    /// Counter of connections.
    pub connections_total: &'static str,
    /// Counter of connections that ended by a panic.
    pub panics_total: &'static str,
    /// TLS, where it is configured, with the door's protocols.
    pub tls: Option<ServerTls>,
    /// Who may say for whom it connects.
    pub proxies: TrustedProxies,
    /// HTTP/1.1 is not spoken.
    pub http2_only: bool,
    /// It is for who looks after the node: its connections take no places of clients, and its requests are not traced.
    pub for_operators: bool,
    /// Connections at a time; one more is closed at once.
    pub connections_max: usize,
    /// How long the head of a request may take, and how long a connection may be idle.
    pub head_timeout: Duration,
    /// How long a client may take no bytes of an answer.
    pub write_timeout: Duration,
    /// How long requests may still run when the server stops.
    pub drain_timeout: Duration,
}

/// A door that speaks HTTP.
pub struct HttpServer {
    router: Router,
    options: HttpOptions,
    shutdown: CancellationToken,
}

impl HttpServer {
    /// A door to what `router` has, until `shutdown`. Every request has its [`Peer`] among its extensions.
    #[must_use]
    pub fn new(router: Router, options: HttpOptions, shutdown: CancellationToken) -> Arc<Self> {
        Arc::new(Self { router, options, shutdown })
    }

    /// Serves a request of a client of another node, and gives the answer. The first frame says who the client is, then comes HTTP.
    #[must_use]
    pub fn serve_foreign(self: Arc<Self>, mut requests: BoxStream<'static, Bytes>) -> BoxStream<'static, Bytes> {
        let (answers, waiting) = mpsc::channel(1);
        tokio::spawn(async move {
            let opening = requests.next().await.unwrap_or_default();
            match Peer::decode(&opening) {
                Ok(peer) => self.http(pipe(requests, answers), peer).await,
                Err(error) => tracing::warn!(%error, "another node's request was not understood"),
            }
        });
        ReceiverStream::new(waiting).boxed()
    }

    /// Serves a connection of this process.
    pub async fn serve_within(self: Arc<Self>, stream: DuplexStream) {
        self.http(stream, Peer::default()).await;
    }

    /// Serves connections until the shutdown; then requests that run may end within the drain timeout.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let (name, mut tasks) = (self.options.name, JoinSet::new());
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => break,
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    self.report(ended);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let is_full = tasks.len() >= self.options.connections_max;
                    let place = if self.options.for_operators { None } else { Place::take() };
                    if !is_full && (self.options.for_operators || place.is_some()) {
                        metrics::counter!(self.options.connections_total).increment(1);
                        let connection = Arc::clone(&self).connection(stream, peer);
                        tasks.spawn(async move {
                            connection.await;
                            drop(place);
                        });
                        continue;
                    }
                    let door = name.to_ascii_lowercase();
                    metrics::counter!(names::CONNECTIONS_REFUSED_TOTAL, "door" => door).increment(1);
                    tracing::debug!(%peer, "too many connections, closed at once");
                }
                Err(error) => {
                    // Out of file descriptors, mostly: it passes when a connection ends.
                    tracing::warn!(%error, name, "accepting a connection failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(listener);
        let drained = async {
            while let Some(ended) = tasks.join_next().await {
                self.report(ended);
            }
        };
        if tokio::time::timeout(self.options.drain_timeout, drained).await.is_err() {
            tracing::warn!(connections = tasks.len(), name, "connections did not end in time");
            tasks.shutdown().await;
        }
    }

    async fn connection(self: Arc<Self>, mut stream: TcpStream, peer: SocketAddr) {
        let peer = match self.options.proxies.client(&mut stream, peer).await {
            Ok(client) => client,
            Err(error) => return tracing::debug!(%error, proxy = %peer, "connection closed"),
        };
        let socket = socket2::SockRef::from(&stream);
        // A client that takes no bytes does not hold a connection for ever.
        if let Err(error) = socket.set_tcp_user_timeout(Some(self.options.write_timeout)).and(stream.set_nodelay(true))
        {
            tracing::debug!(%error, %peer, "no options of TCP");
        }
        let Some(tls) = &self.options.tls else {
            return self.http(stream, Peer { address: Some(peer), ..Peer::default() }).await;
        };
        let handshake = TlsAcceptor::from(Arc::clone(&tls.current().config)).accept(stream);
        match tokio::time::timeout(TLS_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => self.http(stream, Peer { address: Some(peer), encrypted: true, ..Peer::default() }).await,
            Ok(Err(error)) => tracing::debug!(%error, %peer, "no TLS"),
            Err(_) => tracing::debug!(%peer, "TLS took too long"),
        }
    }

    async fn http(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) {
        let (router, name, traced) = (self.router.clone(), self.options.name, !self.options.for_operators);
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            let step = if traced { step(name, peer, &request) } else { None };
            request.extensions_mut().insert(Peer { traced: step.as_ref().map(Step::parent), ..peer });
            let answered = router.clone().oneshot(request);
            async move {
                let answer = answered.await;
                if let (Some(mut step), Ok(answer)) = (step, &answer) {
                    step.tell("http.response.status_code", answer.status().as_u16().to_string());
                    if answer.status().is_server_error() {
                        step.fail(answer.status().as_str(), "");
                    }
                }
                answer
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        if self.options.http2_only {
            builder = builder.http2_only();
        }
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.options.head_timeout)
            .max_buf_size(HEAD_BYTES_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .keep_alive_interval(Some(self.options.head_timeout))
            .keep_alive_timeout(self.options.head_timeout);
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, peer = ?peer.address, "an HTTP connection has ended");
        }
    }

    /// A connection's task has ended; it should not have panicked.
    fn report(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended
            && error.is_panic()
        {
            tracing::error!(%error, name = self.options.name, "a connection's task panicked; the others go on");
            metrics::counter!(self.options.panics_total).increment(1);
        }
    }
}

/// A request as the first step of its trace here, where it is traced.
fn step(door: &'static str, peer: Peer, request: &Request) -> Option<Step> {
    if !trace::is_on() {
        return None;
    }
    let told = request.headers().get(TRACE_PARENT).and_then(|value| Told::read(value.to_str().ok()?));
    // Of what another node sends, that node has decided.
    let told = if peer.foreign { told.or(Some(Told::NotRecorded)) } else { told };
    let (method, path) = (request.method(), request.uri().path());
    // Names of tables and keys are no names of steps: there would be too many.
    let resource = path.match_indices('/').nth(2).map_or(path, |(at, _)| &path[..at]);
    let mut step = trace::begin(format!("{method} {resource}"), told)?;
    step.tell("perigee.door", door);
    step.tell("http.request.method", method.as_str());
    step.tell("url.path", path);
    Some(step)
}
