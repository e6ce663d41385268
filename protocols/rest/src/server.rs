//! Accepts connections, bounds their number, keeps them apart, drains them at the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{delete, get, post};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use perigee_engine::Engine;
use perigee_security::ServerTls;
use perigee_telemetry::names;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::error::{Answer, Problem};
use crate::identity::{Passwords, Tokens};
use crate::transactions::Transactions;
use crate::{changes, forward, guard, ingest, keys, line, openapi, rows, series, sql, tables, transactions};

/// How long a client may take for TLS.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Requests of one connection at a time, with HTTP/2.
const STREAMS_MAX: u32 = 64;

/// How the door behaves.
#[derive(Clone, Debug)]
pub struct RestOptions {
    /// TLS, where it is configured, with `h2` and `http/1.1` as its protocols.
    pub tls: Option<ServerTls>,
    /// Connections at a time; one more is closed at once.
    pub connections_max: usize,
    /// How long the head of a request may take, and how long a connection may be idle.
    pub head_timeout: Duration,
    /// How long the next part of a request's body may take.
    pub body_timeout: Duration,
    /// How long a client may take no bytes of an answer.
    pub write_timeout: Duration,
    /// Bytes of the body of a request that is read as a whole.
    pub body_bytes_max: usize,
    /// Bytes of a result.
    pub result_bytes_max: u64,
    /// How long requests may still run when the server stops.
    pub drain_timeout: Duration,
    /// A bearer token that acts as the first superuser.
    pub admin_token: Option<String>,
    /// A bearer token that reads all tables.
    pub read_only_token: Option<String>,
}

impl Default for RestOptions {
    fn default() -> Self {
        Self {
            tls: None,
            connections_max: 1_000,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            body_bytes_max: 16 << 20,
            result_bytes_max: 4 << 30,
            drain_timeout: Duration::from_secs(10),
            admin_token: None,
            read_only_token: None,
        }
    }
}

/// What all requests share.
pub(crate) struct Door {
    pub(crate) engine: Arc<Engine>,
    pub(crate) options: RestOptions,
    pub(crate) tokens: Tokens,
    pub(crate) passwords: Passwords,
    pub(crate) transactions: Transactions,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peer {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) encrypted: bool,
    /// It is connected to another node, which sends its request here.
    pub(crate) foreign: bool,
}

/// The REST door.
pub struct RestServer {
    router: Router,
    options: RestOptions,
    shutdown: CancellationToken,
}

impl RestServer {
    /// A door to an engine, until `shutdown`.
    #[must_use]
    pub fn new(engine: Arc<Engine>, options: RestOptions, shutdown: CancellationToken) -> Arc<Self> {
        let door = Arc::new(Door {
            engine,
            tokens: Tokens::new(options.admin_token.as_deref(), options.read_only_token.as_deref()),
            passwords: Passwords::default(),
            transactions: Transactions::default(),
            options: options.clone(),
        });
        Arc::new(Self { router: router(door), options, shutdown })
    }

    /// Serves a request of a client of another node, and gives the answer. The first frame says who the client is, then comes HTTP.
    #[must_use]
    pub fn serve_foreign(self: Arc<Self>, mut requests: BoxStream<'static, Bytes>) -> BoxStream<'static, Bytes> {
        let (answers, waiting) = mpsc::channel(1);
        tokio::spawn(async move {
            let opening = requests.next().await.unwrap_or_default();
            match Peer::decode(&opening) {
                Ok(peer) => self.http(forward::pipe(requests, answers), peer).await,
                Err(error) => tracing::warn!(%error, "another node's request was not understood"),
            }
        });
        ReceiverStream::new(waiting).boxed()
    }

    /// Serves connections until the shutdown; then requests that run may end within the drain timeout.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
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
                Ok((stream, peer)) if tasks.len() < self.options.connections_max => {
                    metrics::counter!(names::REST_CONNECTIONS_TOTAL).increment(1);
                    tasks.spawn(Arc::clone(&self).connection(stream, peer));
                }
                Ok((_, peer)) => tracing::debug!(%peer, "too many connections, closed at once"),
                Err(error) => {
                    // Out of file descriptors, mostly: it passes when a connection ends.
                    tracing::warn!(%error, "accepting a REST connection failed");
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
            tracing::warn!(connections = tasks.len(), "REST connections did not end in time");
            tasks.shutdown().await;
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let socket = socket2::SockRef::from(&stream);
        // A client that takes no bytes does not hold a connection for ever.
        if let Err(error) = socket.set_tcp_user_timeout(Some(self.options.write_timeout)).and(stream.set_nodelay(true))
        {
            tracing::debug!(%error, %peer, "no options of TCP");
        }
        let Some(tls) = &self.options.tls else {
            return self.http(stream, Peer { address: Some(peer), ..Peer::default() }).await;
        };
        let handshake = TlsAcceptor::from(Arc::clone(&tls.config)).accept(stream);
        match tokio::time::timeout(TLS_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => self.http(stream, Peer { address: Some(peer), encrypted: true, foreign: false }).await,
            Ok(Err(error)) => tracing::debug!(%error, %peer, "no TLS"),
            Err(_) => tracing::debug!(%peer, "TLS took too long"),
        }
    }

    async fn http(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) {
        let router = self.router.clone();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            router.clone().oneshot(request)
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
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
}

fn router(door: Arc<Door>) -> Router {
    Router::new()
        .route("/v1/sql", post(sql::post))
        .route("/v1/transactions", post(transactions::begin))
        .route("/v1/transactions/{id}", delete(transactions::rollback))
        .route("/v1/transactions/{id}/commit", post(transactions::commit))
        .route("/v1/transactions/{id}/rollback", post(transactions::rollback))
        .route("/v1/tables", get(tables::list).post(tables::create))
        .route("/v1/tables/{table}", get(tables::describe).delete(tables::drop_table))
        .route("/v1/tables/{table}/query", post(rows::query))
        .route(
            "/v1/tables/{table}/rows",
            get(rows::list).post(rows::insert).patch(rows::update_all).delete(rows::delete_all),
        )
        .route("/v1/tables/{table}/rows/{key}", get(rows::get).patch(rows::update).delete(rows::delete))
        .route("/v1/keys", get(keys::scan))
        .route("/v1/keys/{key}", get(keys::get).put(keys::put).delete(keys::delete))
        .route("/v1/series/{key}", get(series::range).post(series::add))
        .route("/v1/changes/{table}", get(changes::stream))
        .route("/openapi.json", get(openapi::document))
        .route("/docs", get(openapi::page))
        .route("/ingest", post(ingest::post))
        .route("/write", post(line::post))
        .route("/api/v2/write", post(line::post))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is nothing here") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this cannot be asked for so")
        })
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&door), forward::forward))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&door), guard::guard))
        .with_state(door)
}

/// The whole body of a request, unpacked.
pub(crate) async fn read_body(door: &Door, headers: &HeaderMap, body: Body) -> Answer<Bytes> {
    let most = door.options.body_bytes_max;
    let packed = read_packed(door, body).await?;
    let coding = headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
    match coding.map(str::trim).unwrap_or("identity") {
        "identity" | "" => Ok(packed),
        "gzip" | "x-gzip" => unpack(Ok(flate2::read::MultiGzDecoder::new(&packed[..])), most),
        "zstd" => unpack(zstd::Decoder::new(&packed[..]), most),
        other => {
            let detail = format!("the body is packed by {other:?}: send it as it is, or by gzip or zstd");
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
        }
    }
}

/// What was packed, as long as it is not more than `most` bytes.
fn unpack(reader: std::io::Result<impl std::io::Read>, most: usize) -> Answer<Bytes> {
    let broken = |error: std::io::Error| Problem::bad(format!("the body cannot be unpacked: {error}"));
    let mut whole = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(reader.map_err(broken)?, most as u64 + 1), &mut whole)
        .map_err(broken)?;
    if whole.len() > most { Err(too_large(most)) } else { Ok(whole.into()) }
}

fn too_large(most: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {most} bytes"))
}

async fn read_packed(door: &Door, body: Body) -> Answer<Bytes> {
    let mut parts = body.into_data_stream();
    let mut whole = Vec::new();
    loop {
        let next = tokio::time::timeout(door.options.body_timeout, parts.next());
        let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
        match next.await.map_err(late)? {
            None => return Ok(whole.into()),
            Some(part) => {
                whole.extend_from_slice(&part.map_err(|error| Problem::bad(format!("the body broke off: {error}")))?);
            }
        }
        if whole.len() > door.options.body_bytes_max {
            return Err(too_large(door.options.body_bytes_max));
        }
    }
}

/// A connection's task has ended; it should not have panicked.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a REST connection's task panicked; the others go on");
        metrics::counter!(names::REST_PANICS_TOTAL).increment(1);
    }
}
