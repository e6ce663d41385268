//! Who sends a request, as a handler is given it.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use perigee_door::Peer;
use perigee_telemetry::names;

use crate::error::Problem;
use crate::server::Door;

/// What sessions of this door are called.
pub(crate) const APPLICATION: &str = "rest";

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
        // Of a request that is done once somebody has asked before.
        if let Some(caller) = parts.extensions.get::<Self>() {
            return Ok(caller.clone());
        }
        let peer = parts.extensions.get::<Peer>().copied().unwrap_or_default();
        door.shared.identify(&parts.headers, peer, APPLICATION).await.map(Self).map_err(|refusal| {
            metrics::counter!(names::REST_DENIALS_TOTAL).increment(1);
            refusal.into()
        })
    }
}
