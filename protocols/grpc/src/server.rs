//! The server: all services on one address.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use axum::extract::Request;
use axum::http;
use futures::future::BoxFuture;
use perigee_api::DESCRIPTORS;
use perigee_door::Door;
use perigee_door::forward::{Forward, forward};
use perigee_door::http::{HttpOptions, HttpServer};
use perigee_engine::SessionDoor;
use perigee_security::{ServerTls, TrustedProxies};
use perigee_telemetry::names;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::service::Routes;

use crate::admin::AdminService;
use crate::caller::{ADMIN, FLIGHT, OWN, guard};
use crate::diagnostics::NodeFiles;
use crate::error::status;
use crate::flight::FlightSql;
use crate::key_value::KeyValueService;
use crate::members::Members;
use crate::sql::SqlService;
use crate::time_series::TimeSeriesService;
use crate::v1::admin_server::AdminServer;
use crate::v1::key_value_server::KeyValueServer;
use crate::v1::sql_server::SqlServer;
use crate::v1::time_series_server::TimeSeriesServer;

/// Bytes of a message of a client, and of one with rows in bulk.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
const BULK_BYTES_MAX: usize = 64 << 20;
/// How long a connection may be silent before it is asked whether it is there, and how long it may take to say so.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// How long a client may take no bytes of an answer, and the next part of a message.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the door behaves.
#[derive(Clone, Debug, Default)]
pub struct GrpcOptions {
    /// TLS, where it is configured, with `h2` as its protocol.
    pub tls: Option<ServerTls>,
    /// Who may say for whom it connects.
    pub proxies: TrustedProxies,
    /// Connections at a time; one more is closed at once.
    pub connections_max: usize,
    /// How long calls may still run when the server stops.
    pub drain_timeout: Duration,
}

/// The gRPC door to the node that is called `node`, until `shutdown`.
pub async fn server(
    door: Arc<Door>,
    node: String,
    members: Arc<dyn Members>,
    files: Arc<dyn NodeFiles>,
    options: GrpcOptions,
    shutdown: CancellationToken,
) -> Arc<HttpServer> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<AdminServer<AdminService>>().await;
    health.set_serving::<SqlServer<SqlService>>().await;
    health.set_serving::<KeyValueServer<KeyValueService>>().await;
    health.set_serving::<TimeSeriesServer<TimeSeriesService>>().await;
    health.set_serving::<FlightServiceServer<FlightSql>>().await;
    let admin = AdminService::new(Arc::clone(&door), node, members, files);
    let sql = SqlServer::new(SqlService::new(Arc::clone(&door)));
    let keys = KeyValueServer::new(KeyValueService::new(Arc::clone(&door)));
    let series = TimeSeriesServer::new(TimeSeriesService::new(Arc::clone(&door)));
    let flight = FlightServiceServer::new(FlightSql::new(Arc::clone(&door)));
    let flight = Flight {
        bulk: flight.clone().max_decoding_message_size(BULK_BYTES_MAX),
        other: flight.max_decoding_message_size(MESSAGE_BYTES_MAX),
    };
    let routes = Routes::new(AdminServer::new(admin))
        .add_service(sql.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(keys.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(series.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(flight)
        .add_service(health_service);
    let way = Arc::new(Forward {
        engine: Arc::clone(&door.engine),
        door: SessionDoor::Grpc,
        body_timeout: PATIENCE,
        runs_anywhere,
        is_kept,
        refuse: |error| status(&error).into_http(),
    });
    let router = with_reflection(routes)
        .into_axum_router()
        .layer(axum::middleware::from_fn_with_state(door, guard))
        .layer(axum::middleware::from_fn_with_state(way, forward));
    let options = HttpOptions {
        name: "gRPC",
        connections_total: names::GRPC_CONNECTIONS_TOTAL,
        panics_total: names::GRPC_PANICS_TOTAL,
        tls: options.tls,
        proxies: options.proxies,
        http2_only: true,
        for_operators: false,
        connections_max: options.connections_max,
        head_timeout: KEEPALIVE,
        write_timeout: PATIENCE,
        drain_timeout: options.drain_timeout,
    };
    HttpServer::new(router, options, shutdown)
}

/// Flight, whose DoPut alone takes rows in bulk.
#[derive(Clone)]
struct Flight {
    bulk: FlightServiceServer<FlightSql>,
    other: FlightServiceServer<FlightSql>,
}

impl NamedService for Flight {
    const NAME: &'static str = <FlightServiceServer<FlightSql> as NamedService>::NAME;
}

impl Service<http::Request<Body>> for Flight {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let is_bulk = request.uri().path().strip_prefix(FLIGHT) == Some("DoPut");
        if is_bulk { self.bulk.call(request) } else { self.other.call(request) }
    }
}

/// What each node answers for itself: operators but for some, health, reflection.
fn runs_anywhere(request: &Request) -> bool {
    let path = request.uri().path();
    match path.strip_prefix(ADMIN) {
        // What is written, and what is to be told as of now.
        Some(call) => !["MigrateTier", "Schema", "ApplyMigration"].contains(&call),
        None => !path.starts_with(OWN) && !path.starts_with(FLIGHT),
    }
}

/// What a client streams may come slowly, and goes on at once.
fn is_kept(request: &Request) -> bool {
    let path = request.uri().path();
    path != "/perigee.v1.TimeSeries/Add"
        && !path.strip_prefix(FLIGHT).is_some_and(|call| ["DoPut", "Handshake"].contains(&call))
}

fn with_reflection(routes: Routes) -> Routes {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // grpcurl asks for v1, older tools for v1alpha.
    match (builder().build_v1(), builder().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => routes.add_service(v1).add_service(v1alpha),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "no reflection");
            routes
        }
    }
}
