//! What there is at which path, and bodies of requests.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::{delete, get, post};
use futures::StreamExt as _;
use perigee_door::forward::{Forward, forward};
use perigee_door::http::{HttpOptions, HttpServer};
use perigee_engine::{Engine, SessionDoor};
use perigee_security::{ServerTls, TrustedProxies};
use perigee_telemetry::names;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::error::{Answer, Problem};
use crate::guard::Origins;
use crate::{
    changes, console, guard, idempotency, ingest, keys, line, load, openapi, otlp, pack, rows, series, sql, tables,
    transactions,
};

/// How the door behaves.
#[derive(Clone, Debug)]
pub struct RestOptions {
    /// TLS, where it is configured, with `h2` and `http/1.1` as its protocols.
    pub tls: Option<ServerTls>,
    /// Who may say for whom it connects.
    pub proxies: TrustedProxies,
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
    /// Origins whose web pages may ask.
    pub origins: Origins,
}

impl Default for RestOptions {
    fn default() -> Self {
        Self {
            tls: None,
            proxies: TrustedProxies::default(),
            connections_max: 1_000,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            body_bytes_max: 16 << 20,
            result_bytes_max: 4 << 30,
            drain_timeout: Duration::from_secs(10),
            origins: Origins::default(),
        }
    }
}

/// What all requests share.
pub(crate) struct Door {
    pub(crate) shared: Arc<perigee_door::Door>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) options: RestOptions,
}

/// The REST door to a node, until `shutdown`.
#[must_use]
pub fn server(shared: Arc<perigee_door::Door>, options: RestOptions, shutdown: CancellationToken) -> Arc<HttpServer> {
    let http = HttpOptions {
        name: "REST",
        connections_total: names::REST_CONNECTIONS_TOTAL,
        panics_total: names::REST_PANICS_TOTAL,
        tls: options.tls.clone(),
        proxies: options.proxies.clone(),
        http2_only: false,
        for_operators: false,
        connections_max: options.connections_max,
        head_timeout: options.head_timeout,
        write_timeout: options.write_timeout,
        drain_timeout: options.drain_timeout,
    };
    let engine = Arc::clone(&shared.engine);
    HttpServer::new(router(Arc::new(Door { shared, engine, options })), http, shutdown)
}

/// What every node answers alike: pages about the door, and the change feed, which is the log's.
fn runs_anywhere(request: &Request) -> bool {
    let path = request.uri().path();
    let is_page = matches!(path, "/" | "/openapi.json" | "/docs" | "/console");
    is_page || path.starts_with("/console/") || path.starts_with("/v1/changes/")
}

fn router(door: Arc<Door>) -> Router {
    let way = Arc::new(Forward {
        engine: Arc::clone(&door.engine),
        door: SessionDoor::Rest,
        body_timeout: door.options.body_timeout,
        runs_anywhere,
        is_kept: |_| false,
        refuse: |error| Problem::from(error).into_response(),
    });
    Router::new()
        .route("/v1/sql", post(sql::post))
        .route("/v1/transactions", post(transactions::begin))
        .route("/v1/transactions/{id}", delete(transactions::rollback))
        .route("/v1/transactions/{id}/commit", post(transactions::commit))
        .route("/v1/transactions/{id}/rollback", post(transactions::rollback))
        .route("/v1/tables", get(tables::list).post(tables::create))
        .route("/v1/tables/{table}", get(tables::describe).delete(tables::drop_table))
        .route("/v1/tables/{table}/query", post(rows::query))
        .route("/v1/tables/{table}/load", post(load::post))
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
        .route("/", get(console::folder))
        .route("/console", get(console::folder))
        .route("/console/", get(console::page))
        .route("/console/{file}", get(console::file))
        .route("/ingest", post(ingest::post))
        .route("/write", post(line::post))
        .route("/api/v2/write", post(line::post))
        .route("/v1/metrics", post(otlp::post))
        .route("/v1/otlp/v1/metrics", post(otlp::post))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is nothing here") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this cannot be asked for so")
        })
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&door), idempotency::once))
        .layer(axum::middleware::from_fn_with_state(way, forward))
        .layer(axum::middleware::from_fn(pack::pack))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&door), guard::guard))
        .with_state(door)
}

/// The whole body of a request, unpacked.
pub(crate) async fn read_body(door: &Door, headers: &HeaderMap, body: Body) -> Answer<Bytes> {
    let most = door.options.body_bytes_max;
    // Who asks first is told before all of it is on its way.
    if headers.contains_key(header::EXPECT) && body.size_hint().lower() > most as u64 {
        return Err(too_large(most));
    }
    let packed = read_packed(door, body).await?;
    let coding = headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
    match coding.map(str::trim).unwrap_or("identity") {
        "identity" | "" => Ok(packed),
        "gzip" | "x-gzip" => unpack(Ok(flate2::read::MultiGzDecoder::new(&packed[..])), most),
        "zstd" => unpack(zstd::Decoder::new(&packed[..]), most),
        other => Err(Problem::packed_by(other)),
    }
}

/// A body that is one object. serde takes the values of a struct's fields as an array, too, which nobody means.
pub(crate) fn body_object<T: DeserializeOwned>(body: &[u8]) -> Answer<T> {
    let wrong = |what: &dyn std::fmt::Display| Problem::bad(format!("the body is not right: {what}"));
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => serde_json::from_slice(body).map_err(|error| wrong(&error)),
        _ => Err(wrong(&"it is no object")),
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

/// The same, as it was sent.
pub(crate) async fn read_packed(door: &Door, body: Body) -> Answer<Bytes> {
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
