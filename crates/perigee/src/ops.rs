//! The operations door: liveness, readiness, metrics, status. Shows no data and changes nothing.
//!
//! | path | answer |
//! | --- | --- |
//! | `/health` | liveness: 503 `{"status":"starting"}` during recovery, then 200 `{"status":"ok",…}`, also without a quorum |
//! | `/ready` | 200 while reads can be served, with `?role=leader` also writes; else 503 with the reason. And what was looked at |
//! | `/metrics` | Prometheus text |
//! | `/cluster/status` | term, leader, members, positions of the log |
//! | `/cluster/replication` | how far each member is behind, at the leader |
//! | `/debug/threads` | what the node's threads do in a second, or in `?seconds=N` |

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use perigee_door::http::{HttpOptions, HttpServer};
use perigee_security::TrustedProxies;
use perigee_telemetry::names;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::checks::{Check, State as Condition};
use crate::open_files;
use crate::status::{Phase, Status};
use crate::threads;

/// How long a request may come, or an answer go.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Serves until the process ends: a node that stops still says so.
pub(crate) async fn serve(listener: TcpListener, status: Arc<Status>) {
    let options = HttpOptions {
        name: "operations",
        connections_total: names::OPS_CONNECTIONS_TOTAL,
        panics_total: names::OPS_PANICS_TOTAL,
        tls: None,
        proxies: TrustedProxies::default(),
        http2_only: false,
        for_operators: true,
        connections_max: open_files::of_operators(),
        head_timeout: TIMEOUT,
        write_timeout: TIMEOUT,
        drain_timeout: TIMEOUT,
    };
    HttpServer::new(router(status), options, CancellationToken::new()).serve(listener).await;
}

fn router(status: Arc<Status>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/cluster/status", get(cluster_status))
        .route("/cluster/replication", get(replication))
        .route("/debug/threads", get(debug_threads))
        .with_state(status)
}

async fn health(State(status): State<Arc<Status>>) -> (StatusCode, Json<Value>) {
    let (code, word) = match status.phase() {
        Phase::Starting => return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "starting"}))),
        Phase::Serving => (StatusCode::OK, "ok"),
        // Still alive: a supervisor that killed it now would cost the final checkpoint.
        Phase::Stopping => (StatusCode::OK, "stopping"),
    };
    let body = json!({
        "status": word,
        "id": status.id(),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": status.uptime_seconds(),
    });
    (code, Json(body))
}

/// `/ready?role=leader` asks for the node that takes writes.
async fn ready(State(status): State<Arc<Status>>, RawQuery(query): RawQuery) -> (StatusCode, Json<Value>) {
    let leads = || status.assembly().is_some_and(|assembly| assembly.leads());
    let wanted = query.is_some_and(|query| query.split('&').any(|part| part == "role=leader"));
    let ready = status.ready().and_then(|()| match wanted && !leads() {
        true => Err("this node does not lead".to_owned()),
        false => Ok(()),
    });
    let checks = match status.assembly().cloned() {
        // They ask the file system.
        Some(assembly) => tokio::task::spawn_blocking(move || assembly.checks()).await.unwrap_or_default(),
        None => Vec::new(),
    };
    let worst = checks.iter().map(|check| check.state).max().unwrap_or(Condition::Ok);
    let worst = if ready.is_ok() { worst } else { Condition::Unhealthy };
    let shown: serde_json::Map<String, Value> = checks.iter().map(Check::shown).collect();
    match ready {
        Ok(()) => (StatusCode::OK, Json(json!({"ready": true, "status": worst.word(), "checks": shown}))),
        Err(reason) => {
            let body = json!({"ready": false, "reason": reason, "status": worst.word(), "checks": shown});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body))
        }
    }
}

async fn replication(State(status): State<Arc<Status>>) -> (StatusCode, Json<Value>) {
    match status.assembly() {
        Some(assembly) => (StatusCode::OK, Json(assembly.replication())),
        None => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"id": status.id(), "role": "starting"}))),
    }
}

async fn metrics(State(status): State<Arc<Status>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], status.metrics())
}

async fn debug_threads(RawQuery(query): RawQuery) -> (StatusCode, Json<Value>) {
    match threads::seconds(query.as_deref()) {
        Ok(time) => (StatusCode::OK, Json(threads::observe(time).await)),
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({"error": error}))),
    }
}

async fn cluster_status(State(status): State<Arc<Status>>) -> (StatusCode, Json<Value>) {
    match status.assembly() {
        Some(assembly) => (StatusCode::OK, Json(assembly.status())),
        None => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"id": status.id(), "role": "starting"}))),
    }
}
