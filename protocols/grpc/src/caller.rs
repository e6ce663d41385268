//! Who asks: looked at once for each call, before its service.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use perigee_door::{Caller, Door, Lease, Peer};
use perigee_telemetry::names;
use perigee_types::{SqlError, SqlState};
use tonic::Status;

use crate::error::{lease_status, refusal_status, status};

/// What sessions of this door are called.
const APPLICATION: &str = "grpc";
/// The paths of what is Perigee's own, of Flight, and of what only superusers may ask.
pub(crate) const OWN: &str = "/perigee.v1.";
pub(crate) const FLIGHT: &str = "/arrow.flight.protocol.FlightService/";
pub(crate) const ADMIN: &str = "/perigee.v1.Admin/";

/// Lets calls through or not: those of programs that speak gRPC, which no web page can send, and that prove who they are. Health
/// and reflection are everybody's.
pub(crate) async fn guard(State(door): State<Arc<Door>>, mut request: Request, next: Next) -> Response {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/grpc") || request.headers().contains_key(header::ORIGIN) {
        return refuse(Status::permission_denied("only gRPC is spoken here, and not for web pages"));
    }
    let peer = request.extensions().get::<Peer>().copied().unwrap_or_default();
    if let Err(refusal) = door.admit(peer, APPLICATION) {
        return refuse(refusal_status(&refusal));
    }
    let path = request.uri().path();
    if !path.starts_with(OWN) && !path.starts_with(FLIGHT) {
        return next.run(request).await;
    }
    let for_superusers = path.starts_with(ADMIN);
    let caller = match door.identify(request.headers(), peer, APPLICATION).await {
        Ok(caller) => caller,
        Err(refusal) => return refuse(refusal_status(&refusal)),
    };
    if for_superusers && !caller.is_superuser(&door) {
        let message = "only superusers may ask this";
        tracing::warn!(target: "audit", event = "denied", door = APPLICATION, user = caller.user, peer = ?peer.address, path);
        return refuse(status(&SqlError::new(SqlState::InsufficientPrivilege, message)));
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

fn refuse(status: Status) -> Response {
    metrics::counter!(names::GRPC_DENIALS_TOTAL).increment(1);
    status.into_http()
}

/// Who sends a call, as [`guard`] has found.
pub(crate) fn caller_of<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    request.extensions().get().cloned().ok_or_else(|| Status::internal("nobody has looked at who asks"))
}

/// The session of a call: that of the transaction that it names, or one of its own.
pub(crate) async fn lease(door: &Arc<Door>, caller: &Caller, transaction: &str) -> Result<Lease, Status> {
    lease_with(door, caller, transaction, "", 0).await
}

/// The same, in a database and with a time for each statement. What is empty, or 0, is not said.
pub(crate) async fn lease_with(
    door: &Arc<Door>,
    caller: &Caller,
    transaction: &str,
    database: &str,
    timeout_ms: u64,
) -> Result<Lease, Status> {
    let timeout_ms = Some(timeout_ms).filter(|ms| *ms > 0);
    let lease = door.lease(caller, said(transaction), said(database), timeout_ms).await;
    lease.map_err(|error| lease_status(&error))
}

/// A text that is said; messages have no other absence.
pub(crate) fn said(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
