//! The server side: checks who asks, then hands over to consensus.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use perigee_consensus::{Call, PeerError, PeerService};
use perigee_security::tls::is_made_out_to;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::server::{Grpc, NamedService, StreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};

use crate::cluster::Known;
use crate::codec::{Frame, FrameCodec, MESSAGE_BYTES_MAX};
use crate::connect::PeerCertificate;
use crate::doors::Doors;
use crate::header::Header;

pub(crate) const HELLO: &str = "/perigee.cluster.v1.Cluster/Hello";
pub(crate) const CALL: &str = "/perigee.cluster.v1.Cluster/Call";
pub(crate) const APPEND: &str = "/perigee.cluster.v1.Cluster/Append";
pub(crate) const PROPOSE: &str = "/perigee.cluster.v1.Cluster/Propose";
pub(crate) const ASK: &str = "/perigee.cluster.v1.Cluster/Ask";
pub(crate) const SESSION: &str = "/perigee.cluster.v1.Cluster/Session";

/// What answers members.
#[derive(Clone)]
pub(crate) struct ClusterService(pub(crate) Arc<Known>);

impl NamedService for ClusterService {
    const NAME: &'static str = "perigee.cluster.v1.Cluster";
}

impl ClusterService {
    /// Who sends the request, when it may.
    fn check<T>(&self, request: &Request<T>, hello: bool) -> Result<Header, Status> {
        let header = Header::read(request.metadata())?;
        header.check(&self.0.node, self.0.cluster_id(), hello)?;
        if let Some(PeerCertificate(certificate)) = request.extensions().get::<PeerCertificate>()
            && self.0.tls.is_some()
        {
            let shown = certificate.as_ref().is_some_and(|certificate| is_made_out_to(certificate, &header.from.0));
            if !shown {
                return Err(Status::unauthenticated(format!("the certificate is not node {:?}'s", header.from.0)));
            }
        }
        Ok(header)
    }

    fn service(&self) -> Result<PeerService, Status> {
        self.0.service().ok_or_else(|| Status::unavailable("this node is still starting"))
    }
}

fn status(error: PeerError) -> Status {
    match error {
        PeerError::Malformed(text) => Status::invalid_argument(text),
        PeerError::Refused(text) => Status::failed_precondition(text),
        PeerError::Stopped(text) => Status::unavailable(text),
    }
}

struct Hello(ClusterService);
struct Calls(ClusterService);
/// A stream of frames for consensus.
struct Stream(ClusterService, fn(&PeerService, BoxStream<'static, Bytes>) -> Answers);

type Answers = BoxStream<'static, Result<Bytes, PeerError>>;

impl UnaryService<Frame> for Hello {
    type Response = Frame;
    type Future = BoxFuture<'static, Result<Response<Frame>, Status>>;

    fn call(&mut self, request: Request<Frame>) -> Self::Future {
        let service = self.0.clone();
        async move {
            service.check(&request, true)?;
            let known = &service.0;
            let said = serde_json::to_vec(&known.hello().await).map_err(|error| Status::internal(error.to_string()))?;
            Ok(Response::new(Frame { call: 0, body: said.into() }))
        }
        .boxed()
    }
}

impl UnaryService<Frame> for Calls {
    type Response = Frame;
    type Future = BoxFuture<'static, Result<Response<Frame>, Status>>;

    fn call(&mut self, request: Request<Frame>) -> Self::Future {
        let service = self.0.clone();
        async move {
            service.check(&request, false)?;
            let Frame { call, body } = request.into_inner();
            let known = Call::from_number(call).ok_or_else(|| Status::invalid_argument(format!("no call {call}")))?;
            let body = service.service()?.call(known, body).await.map_err(status)?;
            Ok(Response::new(Frame { call, body }))
        }
        .boxed()
    }
}

impl StreamingService<Frame> for Stream {
    type Response = Frame;
    type ResponseStream = BoxStream<'static, Result<Frame, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Frame>>) -> Self::Future {
        let (service, serve) = (self.0.clone(), self.1);
        async move {
            service.check(&request, false)?;
            let consensus = service.service()?;
            // A connection that breaks ends the stream: what came before it is answered or forgotten.
            let requests = request.into_inner().take_while(|frame| ready(frame.is_ok()));
            let requests = requests.filter_map(|frame| ready(frame.ok().map(|frame| frame.body))).boxed();
            let answers = serve(&consensus, requests);
            let answers = answers.map(|answer| answer.map(|body| Frame { call: 0, body }).map_err(status));
            Ok(Response::new(answers.boxed()))
        }
        .boxed()
    }
}

struct Asks(ClusterService);
struct Sessions(ClusterService);

impl ClusterService {
    fn doors(&self) -> Result<Arc<dyn Doors>, Status> {
        self.0.doors.lock().clone().ok_or_else(|| Status::unavailable("this node is still starting"))
    }
}

impl UnaryService<Frame> for Asks {
    type Response = Frame;
    type Future = BoxFuture<'static, Result<Response<Frame>, Status>>;

    fn call(&mut self, request: Request<Frame>) -> Self::Future {
        let service = self.0.clone();
        async move {
            service.check(&request, false)?;
            let Frame { call, body } = request.into_inner();
            let body = service.doors()?.ask(call, body).await.map_err(Status::failed_precondition)?;
            Ok(Response::new(Frame { call, body }))
        }
        .boxed()
    }
}

impl StreamingService<Frame> for Sessions {
    type Response = Frame;
    type ResponseStream = BoxStream<'static, Result<Frame, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Frame>>) -> Self::Future {
        let service = self.0.clone();
        async move {
            service.check(&request, false)?;
            let doors = service.doors()?;
            let requests = request.into_inner().take_while(|frame| ready(frame.is_ok()));
            let requests = requests.filter_map(|frame| ready(frame.ok().map(|frame| frame.body))).boxed();
            let answers = doors.session(requests).map(|body| Ok(Frame { call: 0, body }));
            Ok(Response::new(answers.boxed()))
        }
        .boxed()
    }
}

impl tower::Service<http::Request<Body>> for ClusterService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        async move {
            let mut grpc = Grpc::new(FrameCodec)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX);
            Ok(match request.uri().path() {
                HELLO => grpc.unary(Hello(service), request).await,
                CALL => grpc.unary(Calls(service), request).await,
                APPEND => grpc.streaming(Stream(service, PeerService::append), request).await,
                PROPOSE => grpc.streaming(Stream(service, PeerService::propose), request).await,
                ASK => grpc.unary(Asks(service), request).await,
                SESSION => grpc.streaming(Sessions(service), request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        }
        .boxed()
    }
}
