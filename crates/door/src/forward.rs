//! Requests to a node that follows: they go to the leader as they are, and its answers come back as they are.
//!
//! A request travels as HTTP in a session of its own between the nodes, with a first frame that says who sends it. What was surely
//! not run is sent again to the next leader, as long as its body is small enough to be kept.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http_body_util::BodyExt as _;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use perigee_engine::{Engine, Place, SessionDoor};
use perigee_types::{SqlError, SqlResult, SqlState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::Peer;

/// How long a request waits for a leader.
const LEADER_PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const RETRY: Duration = Duration::from_millis(20);
/// A longer body is not kept for another try.
const KEPT_BYTES_MAX: usize = 256 << 10;
/// Bytes between HTTP and the stream of frames, each way, and of a frame.
const PIPE_BYTES: usize = 256 << 10;
const FRAME_BYTES: usize = 64 << 10;
/// How long the leader may be silent before it is asked whether it is there, and how long it may take to say so.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Frames on their way.
const FRAMES_MAX: usize = 8;
/// What is of one connection only.
const HOP_BY_HOP: [HeaderName; 4] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, HeaderName::from_static("keep-alive")];

/// How a door's requests go to the leader.
pub struct Forward {
    /// The node.
    pub engine: Arc<Engine>,
    /// The door at the leader. Requests of gRPC travel as HTTP/2, others as HTTP/1.1.
    pub door: SessionDoor,
    /// How long the body of a request that is kept may take.
    pub body_timeout: Duration,
    /// What every node answers alike.
    pub runs_anywhere: fn(&Request) -> bool,
    /// Whether the body of a request is kept, for another try, where its length is not said.
    pub is_kept: fn(&Request) -> bool,
    /// How the door tells an error.
    pub refuse: fn(SqlError) -> Response,
}

/// Runs a request where it can be run.
pub async fn forward(State(way): State<Arc<Forward>>, request: Request, next: Next) -> Response {
    if (way.runs_anywhere)(&request) {
        return next.run(request).await;
    }
    let peer = request.extensions().get::<Peer>().copied().unwrap_or_default();
    match way.engine.place() {
        Place::Here => match way.engine.confirm_reads().await {
            Ok(()) => next.run(request).await,
            Err(error) => (way.refuse)(error),
        },
        // Its own node finds the leader.
        _ if peer.foreign => StatusCode::MISDIRECTED_REQUEST.into_response(),
        Place::There | Place::Nowhere => to_leader(&way, peer, request, next).await.unwrap_or_else(way.refuse),
    }
}

async fn to_leader(way: &Forward, peer: Peer, request: Request, next: Next) -> SqlResult<Response> {
    let is_kept = (way.is_kept)(&request);
    let (parts, body) = request.into_parts();
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let has_none =
        length.is_none() && !parts.headers.contains_key(header::TRANSFER_ENCODING) && parts.version < Version::HTTP_2;
    let mut body = match length {
        _ if has_none => Kept::Whole(Bytes::new()),
        Some(0..=KEPT_BYTES_MAX) => Kept::Whole(read(way, body).await?),
        None if is_kept => read_some(way, body).await?,
        _ => Kept::Once(Some(body)),
    };
    let since = Instant::now();
    loop {
        let why = match way.engine.place() {
            Place::Here => {
                way.engine.confirm_reads().await?;
                let Some(body) = body.take() else { return Err(unknown()) };
                return Ok(next.run(Request::from_parts(parts, body)).await);
            }
            Place::There => match attempt(way, peer, &parts, &mut body).await {
                Ok(response) => return Ok(response),
                Err(Failed::Unknown) if parts.method.is_safe() => "the leader was lost".to_owned(),
                Err(Failed::Unknown) => return Err(unknown()),
                Err(Failed::NotRun(why)) => why,
            },
            Place::Nowhere => "no leader is known".to_owned(),
        };
        if since.elapsed() > LEADER_PATIENCE || body.is_gone() {
            let message = "no leader takes requests: a majority of the cluster is needed; nothing was written";
            return Err(SqlError::new(SqlState::CannotConnectNow, message).detail(why));
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// The body of a request, for one try or for several.
enum Kept {
    Whole(Bytes),
    Once(Option<Body>),
}

impl Kept {
    fn take(&mut self) -> Option<Body> {
        match self {
            Kept::Whole(bytes) => Some(Body::from(bytes.clone())),
            Kept::Once(body) => body.take(),
        }
    }

    fn is_gone(&self) -> bool {
        matches!(self, Kept::Once(None))
    }
}

/// A body that is short.
async fn read(way: &Forward, body: Body) -> SqlResult<Bytes> {
    let whole = tokio::time::timeout(way.body_timeout, body.collect()).await.map_err(late)?;
    Ok(whole.map_err(broken)?.to_bytes())
}

/// A body of no known length: whole where it is short, else what was read of it before the rest.
async fn read_some(way: &Forward, body: Body) -> SqlResult<Kept> {
    let mut parts = body.into_data_stream();
    let mut begin = BytesMut::new();
    while begin.len() <= KEPT_BYTES_MAX {
        match tokio::time::timeout(way.body_timeout, parts.next()).await.map_err(late)? {
            Some(part) => begin.extend_from_slice(&part.map_err(broken)?),
            None => return Ok(Kept::Whole(begin.freeze())),
        }
    }
    let begin = stream::once(std::future::ready(Ok(begin.freeze())));
    Ok(Kept::Once(Some(Body::from_stream(begin.chain(parts)))))
}

fn late(_: tokio::time::error::Elapsed) -> SqlError {
    SqlError::new(SqlState::QueryCanceled, "the body did not come in time")
}

fn broken(error: axum::Error) -> SqlError {
    SqlError::new(SqlState::ProtocolViolation, format!("the body broke off: {error}"))
}

/// Why a try has failed.
enum Failed {
    NotRun(String),
    /// It was sent, and nobody answered.
    Unknown,
}

/// The header that says which trace a request belongs to.
pub(crate) const TRACE_PARENT: &str = "traceparent";

async fn attempt(way: &Forward, peer: Peer, parts: &Parts, body: &mut Kept) -> Result<Response, Failed> {
    let not_run = |why: &dyn std::fmt::Display| Failed::NotRun(why.to_string());
    let elsewhere = way.engine.elsewhere().ok_or_else(|| not_run(&"this node is alone"))?;
    let (frames, waiting) = mpsc::channel(FRAMES_MAX);
    let opening = stream::once(std::future::ready(peer.encode()));
    let requests = opening.chain(ReceiverStream::new(waiting)).boxed();
    let answers = elsewhere.open(way.door, requests).await.map_err(|error| not_run(&error))?;
    // An answer that breaks off ends the pipe in the middle of HTTP, which is what the other end sees.
    let answers =
        answers.take_while(|answer| std::future::ready(answer.is_ok())).filter_map(|answer| async { answer.ok() });
    let io = TokioIo::new(pipe(answers.boxed(), frames));
    // The body is taken last: what fails before may be tried again.
    let response = if way.door == SessionDoor::Grpc {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        // A way that is silently lost does not hold a call for ever.
        builder.timer(TokioTimer::new()).keep_alive_interval(KEEPALIVE).keep_alive_timeout(KEEPALIVE);
        let (mut sender, connection) = builder.handshake(io).await.map_err(|error| not_run(&error))?;
        drive(connection);
        let uri = Uri::builder().scheme("http").authority("leader").path_and_query(target(parts)).build();
        sender.send_request(again(parts, peer, uri, body)?).await
    } else {
        let (mut sender, connection) = http1::handshake(io).await.map_err(|error| not_run(&error))?;
        drive(connection);
        let mut request = again(parts, peer, Uri::builder().path_and_query(target(parts)).build(), body)?;
        if let (false, Some(authority)) = (parts.headers.contains_key(header::HOST), parts.uri.authority()) {
            let host = authority.as_str().parse().map_err(|_| not_run(&"the request names no host"))?;
            request.headers_mut().insert(header::HOST, host);
        }
        sender.send_request(request).await
    };
    let response = response.map_err(|error| {
        tracing::info!(%error, "the leader did not answer a request");
        Failed::Unknown
    })?;
    if response.status() == StatusCode::MISDIRECTED_REQUEST {
        return Err(not_run(&"it does not lead any more"));
    }
    let mut response = response.map(Body::new);
    without_hops(response.headers_mut());
    Ok(response)
}

/// Runs a connection; it ends with its request, as nothing else is sent on it.
fn drive(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a request to the leader broke off");
        }
    });
}

/// What a request asks for, without scheme and authority: HTTP/1.1 has none there, and HTTP/2 other ones.
fn target(parts: &Parts) -> &str {
    parts.uri.path_and_query().map_or("/", |path| path.as_str())
}

/// The request, for the leader.
fn again(parts: &Parts, peer: Peer, uri: Result<Uri, axum::http::Error>, body: &mut Kept) -> Result<Request, Failed> {
    let uri = uri.map_err(|error| Failed::NotRun(error.to_string()))?;
    let mut request = Request::new(body.take().ok_or(Failed::Unknown)?);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = parts.headers.clone();
    without_hops(request.headers_mut());
    // The leader's steps are parts of this node's.
    if let Some(value) = peer.traced.and_then(|step| step.header().parse().ok()) {
        request.headers_mut().insert(TRACE_PARENT, value);
    }
    Ok(request)
}

fn without_hops(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

fn unknown() -> SqlError {
    let message = "the leader was lost before it answered: whether the request took effect is not known";
    SqlError::new(SqlState::TransactionResolutionUnknown, message)
}

/// Bytes as a stream that HTTP can be spoken on: what `frames` bring can be read, what is written goes out as frames.
pub(crate) fn pipe(mut frames: BoxStream<'static, Bytes>, out: mpsc::Sender<Bytes>) -> DuplexStream {
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let (mut written, mut readable) = tokio::io::split(far);
    tokio::spawn(async move {
        while let Some(frame) = frames.next().await {
            if readable.write_all(&frame).await.is_err() {
                return;
            }
        }
        drop(readable.shutdown().await);
    });
    tokio::spawn(async move {
        let mut buffer = BytesMut::with_capacity(FRAME_BYTES);
        while let Ok(1..) = written.read_buf(&mut buffer).await {
            if out.send(buffer.split().freeze()).await.is_err() {
                return;
            }
            buffer.reserve(FRAME_BYTES / 4);
        }
    });
    near
}

impl Peer {
    /// For the leader: one byte that says whether the client's connection is encrypted, then its address as text.
    fn encode(self) -> Bytes {
        let address = self.address.map_or_else(String::new, |address| address.to_string());
        [&[u8::from(self.encrypted)], address.as_bytes()].concat().into()
    }

    /// A client of another node.
    ///
    /// # Errors
    /// The frame is none of [`Peer::encode`].
    pub(crate) fn decode(frame: &[u8]) -> io::Result<Self> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "a request of another node begins with its client");
        let (encrypted, address) = frame.split_first().ok_or_else(wrong)?;
        let address = std::str::from_utf8(address).map_err(|_| wrong())?;
        let address: Option<SocketAddr> = match address {
            "" => None,
            text => Some(text.parse().map_err(|_| wrong())?),
        };
        Ok(Self { address, encrypted: *encrypted == 1, foreign: true, traced: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_of_another_node_is_known_by_its_own_address() {
        let peer = Peer { address: Some("192.0.2.1:4711".parse().unwrap()), encrypted: true, ..Peer::default() };
        let found = Peer::decode(&peer.encode()).unwrap();
        assert_eq!((found.address, found.encrypted, found.foreign), (peer.address, true, true));
        assert_eq!(Peer::decode(&Peer::default().encode()).unwrap().address, None);
        for wrong in [&b""[..], b"\x01nowhere", b"\x01\xff"] {
            assert!(Peer::decode(wrong).is_err(), "{wrong:?}");
        }
    }
}
