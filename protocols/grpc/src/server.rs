//! The server: Admin, health and reflection on one address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use perigee_engine::Engine;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::DESCRIPTORS;
use crate::admin::AdminService;
use crate::members::Members;
use crate::v1::admin_server::AdminServer;

/// Requests of one connection at a time.
const STREAMS_MAX: u32 = 64;
/// Bytes of a request.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// A connection that does not answer pings this long is closed.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Whether the door may listen here: on loopback only, as long as no roles guard it.
#[must_use]
pub fn is_allowed(address: &SocketAddr) -> bool {
    address.ip().is_loopback()
}

/// The gRPC door.
pub struct GrpcServer;

impl GrpcServer {
    /// Serves until `closing`, then lets the calls that run end.
    ///
    /// # Errors
    /// When the server ends by itself.
    pub async fn serve(
        listener: TcpListener,
        engine: Arc<Engine>,
        node: String,
        members: Arc<dyn Members>,
        closing: CancellationToken,
    ) -> Result<(), tonic::transport::Error> {
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<AdminServer<AdminService>>().await;
        let reflection = |builder: tonic_reflection::server::Builder<'static>| {
            builder
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        // grpcurl asks for v1, older tools for v1alpha.
        let v1 = reflection(tonic_reflection::server::Builder::configure()).build_v1();
        let v1alpha = reflection(tonic_reflection::server::Builder::configure()).build_v1alpha();
        let (v1, v1alpha) = match (v1, v1alpha) {
            (Ok(v1), Ok(v1alpha)) => (Some(v1), Some(v1alpha)),
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "no reflection");
                (None, None)
            }
        };
        let admin =
            AdminServer::new(AdminService::new(engine, node, members)).max_decoding_message_size(REQUEST_BYTES_MAX);
        Server::builder()
            .max_concurrent_streams(STREAMS_MAX)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .tcp_nodelay(true)
            .add_service(admin)
            .add_service(health_service)
            .add_optional_service(v1)
            .add_optional_service(v1alpha)
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), closing.cancelled_owned())
            .await
    }
}
