//! The operations door: liveness, readiness, metrics, status. Shows no data and changes nothing.
//!
//! | path | answer |
//! | --- | --- |
//! | `/health` | liveness: 503 `{"status":"starting"}` during recovery, then 200 `{"status":"ok",…}`, also without a quorum |
//! | `/ready` | 200 while reads can be served, with `?role=leader` also writes; else 503 with the reason |
//! | `/metrics` | Prometheus text |
//! | `/cluster/status` | term, leader, members, positions of the log |

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::status::{Phase, Status};

/// Serves until the process ends: a node that stops still says so.
pub(crate) async fn serve(listener: TcpListener, status: Arc<Status>) {
    let router = router(status);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the operations door has failed");
    }
}

fn router(status: Arc<Status>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/cluster/status", get(cluster_status))
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
    match ready {
        Ok(()) => (StatusCode::OK, Json(json!({"ready": true}))),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"ready": false, "reason": reason}))),
    }
}

async fn metrics(State(status): State<Arc<Status>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], status.metrics())
}

async fn cluster_status(State(status): State<Arc<Status>>) -> (StatusCode, Json<Value>) {
    match status.assembly() {
        Some(assembly) => (StatusCode::OK, Json(assembly.status())),
        None => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"id": status.id(), "role": "starting"}))),
    }
}
