//! Who sends a request, as a handler is given it.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use perigee_door::Peer;
use perigee_telemetry::names;

use crate::error::Problem;
use crate::server::Door;

/// What sessions of this door are called.
const APPLICATION: &str = "rest";

/// Who sends a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller(perigee_door::Caller);

impl Deref for Caller {
    type Target = perigee_door::Caller;

    fn deref(&self) -> &perigee_door::Caller {
        &self.0
    }
}

impl FromRequestParts<Arc<Door>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Arc<Door>) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<Peer>().copied().unwrap_or_default();
        if let Some(caller) = door.shared.identify(&parts.headers, peer, APPLICATION).await {
            return Ok(Self(caller));
        }
        metrics::counter!(names::REST_DENIALS_TOTAL).increment(1);
        tracing::info!(peer = ?peer.address, "a request without proof of who sends it was refused");
        let detail = match parts.headers.contains_key(header::AUTHORIZATION) {
            false => "send a role's name and password (Basic), or a token (Bearer)",
            true => "name and password, or the token, are not right",
        };
        Err(Problem::new(StatusCode::UNAUTHORIZED, detail))
    }
}
