//! The client side: calls to one member over one HTTP/2 connection, made when it is needed and made again when it breaks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use perigee_consensus::{Call, Link, LinkError};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status, Streaming};

use crate::codec::{Frame, FrameCodec, MESSAGE_BYTES_MAX};
use crate::connect::Connector;
use crate::header::Header;
use crate::server::{APPEND, ASK, CALL, HELLO, PROPOSE, SESSION};

/// How often a connection is asked whether it lives, and how long it may take to say so.
const PING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));

/// A way to one member.
pub(crate) struct GrpcLink {
    name: String,
    channel: Channel,
    header: Arc<dyn Fn() -> Header + Send + Sync>,
}

impl GrpcLink {
    /// `header` gives what each request says of itself at that time; `window` are the bytes on their way here, on one stream and on all.
    pub(crate) fn new(connector: Connector, header: Arc<dyn Fn() -> Header + Send + Sync>, window: (u32, u32)) -> Self {
        let name = connector.name.clone();
        let connector = Arc::new(connector);
        let connect = tower::service_fn(move |_: Uri| {
            let connector = Arc::clone(&connector);
            async move { connector.connect().await.map(TokioIo::new) }
        });
        // The connector knows where to; the name here is what HTTP wants to see.
        let channel = Endpoint::from_static("http://member")
            .initial_stream_window_size(window.0)
            .initial_connection_window_size(window.1)
            .http2_keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(connect);
        Self { name, channel, header }
    }

    fn client(&self) -> Grpc<Channel> {
        Grpc::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn request<T>(&self, message: T) -> Result<Request<T>, Status> {
        let mut request = Request::new(message);
        (self.header)().put(request.metadata_mut())?;
        Ok(request)
    }

    async fn unary(&self, path: &'static str, call: u8, body: Bytes, patience: Duration) -> Result<Bytes, LinkError> {
        let asked = async {
            let mut client = self.client();
            client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let request = self.request(Frame { call, body })?;
            client.unary(request, PathAndQuery::from_static(path), FrameCodec).await
        };
        match tokio::time::timeout(patience, asked).await {
            Ok(Ok(answer)) => Ok(answer.into_inner().body),
            Ok(Err(status)) => Err(link_error(&self.name, &status)),
            Err(_) => Err(self.late(patience)),
        }
    }

    fn late(&self, patience: Duration) -> LinkError {
        LinkError::Broken { name: self.name.clone(), reason: format!("no answer within {} ms", patience.as_millis()) }
    }

    /// Asks the member's doors.
    pub(crate) async fn ask(&self, kind: u8, body: Bytes, patience: Duration) -> Result<Bytes, LinkError> {
        self.unary(ASK, kind, body, patience).await
    }

    /// Opens a session at the member's doors.
    pub(crate) async fn session(
        &self,
        requests: BoxStream<'static, Bytes>,
        patience: Duration,
    ) -> Result<BoxStream<'static, Result<Bytes, LinkError>>, LinkError> {
        self.bodies(SESSION, requests, patience).await
    }

    /// Opens a stream both ways and gives what comes back.
    async fn bodies(
        &self,
        path: &'static str,
        requests: BoxStream<'static, Bytes>,
        patience: Duration,
    ) -> Result<BoxStream<'static, Result<Bytes, LinkError>>, LinkError> {
        let name = self.name.clone();
        let answers = self.open(path, requests, patience).await?;
        let answers =
            answers.map(move |frame| frame.map(|frame| frame.body).map_err(|status| link_error(&name, &status)));
        Ok(answers.boxed())
    }

    /// Opens a stream both ways; the member has answered when this returns.
    async fn open(
        &self,
        path: &'static str,
        requests: BoxStream<'static, Bytes>,
        patience: Duration,
    ) -> Result<Streaming<Frame>, LinkError> {
        let opened = async {
            let mut client = self.client();
            client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let request = self.request(requests.map(|body| Frame { call: 0, body }))?;
            client.streaming(request, PathAndQuery::from_static(path), FrameCodec).await
        };
        match tokio::time::timeout(patience, opened).await {
            Ok(Ok(answers)) => Ok(answers.into_inner()),
            Ok(Err(status)) => Err(link_error(&self.name, &status)),
            Err(_) => Err(self.late(patience)),
        }
    }

    /// Says hello; `body` is what this node says of itself.
    pub(crate) async fn hello(&self, body: Bytes, patience: Duration) -> Result<Bytes, LinkError> {
        self.unary(HELLO, 0, body, patience).await
    }
}

fn link_error(name: &str, status: &Status) -> LinkError {
    let (name, mut reason) = (name.to_owned(), status.message().to_owned());
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        reason = format!("{reason}: {error}");
        source = error.source();
    }
    match status.code() {
        Code::Unavailable => LinkError::Unreachable { name, reason },
        Code::PermissionDenied | Code::FailedPrecondition | Code::Unauthenticated | Code::InvalidArgument => {
            LinkError::Refused { name, reason }
        }
        _ => LinkError::Broken { name, reason },
    }
}

/// Requests without an answer, and since when the eldest waits.
#[derive(Default)]
struct Waiting(Mutex<(u64, Option<tokio::time::Instant>)>);

impl Waiting {
    fn sent(&self) {
        let mut waiting = self.0.lock();
        waiting.0 += 1;
        waiting.1.get_or_insert_with(tokio::time::Instant::now);
    }

    fn answered(&self) {
        let mut waiting = self.0.lock();
        waiting.0 = waiting.0.saturating_sub(1);
        waiting.1 = (waiting.0 > 0).then(tokio::time::Instant::now);
    }

    /// Ends when an answer is late.
    async fn late(&self, patience: Duration) {
        loop {
            let since = self.0.lock().1;
            let until = since.unwrap_or_else(tokio::time::Instant::now) + patience;
            if since.is_some() && until <= tokio::time::Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

impl Link for GrpcLink {
    fn call(&self, call: Call, body: Bytes, patience: Duration) -> BoxFuture<'_, Result<Bytes, LinkError>> {
        self.unary(CALL, call as u8, body, patience).boxed()
    }

    fn append(
        &self,
        requests: BoxStream<'static, Bytes>,
        patience: Duration,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Bytes, LinkError>>, LinkError>> {
        async move {
            let waiting = Arc::new(Waiting::default());
            let sending = Arc::clone(&waiting);
            let requests = requests.inspect(move |_| sending.sent());
            let answers = self.open(APPEND, requests.boxed(), patience).await?;
            let name = self.name.clone();
            let late = self.late(patience);
            let answers = futures::stream::unfold(Some((answers, waiting)), move |state| {
                let (name, late) = (name.clone(), late.clone());
                async move {
                    let (mut answers, waiting) = state?;
                    let next = tokio::select! {
                        biased;
                        next = answers.next() => next,
                        () = waiting.late(patience) => return Some((Err(late), None)),
                    };
                    waiting.answered();
                    match next? {
                        Ok(frame) => Some((Ok(frame.body), Some((answers, waiting)))),
                        Err(status) => Some((Err(link_error(&name, &status)), None)),
                    }
                }
            });
            Ok(answers.boxed())
        }
        .boxed()
    }

    fn propose(
        &self,
        requests: BoxStream<'static, Bytes>,
        patience: Duration,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Bytes, LinkError>>, LinkError>> {
        self.bodies(PROPOSE, requests, patience).boxed()
    }
}
