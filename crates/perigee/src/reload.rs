//! What a node reads again when it gets SIGHUP: the keys of JSON Web Tokens.

use std::sync::Arc;

use perigee_config::{Config, Security};
use perigee_door::Door;
use perigee_security::{JwtKey, JwtRules, JwtVerifier};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// SIGHUP, which no longer ends the process.
pub(crate) fn signals() -> Result<Signal, Failure> {
    signal(SignalKind::hangup()).map_err(|error| Failure::fatal(format!("cannot handle signals: {error}")))
}

/// Reads again whenever a signal comes. What cannot be read leaves what was there before.
pub(crate) async fn run(mut signals: Signal, config: Config, door: Arc<Door>) {
    while signals.recv().await.is_some() {
        let security = config.security.clone();
        match tokio::task::spawn_blocking(move || jwt(&security)).await {
            Ok(Ok(verifier)) => {
                door.set_jwt(verifier);
                tracing::info!("SIGHUP: the keys of JSON Web Tokens were read again");
            }
            Ok(Err(error)) => tracing::error!(%error, "SIGHUP: the keys of JSON Web Tokens stay as they were"),
            Err(error) => tracing::error!(%error, "SIGHUP: the keys of JSON Web Tokens stay as they were"),
        }
    }
}

/// What JSON Web Tokens are told by; `None` without a key.
pub(crate) fn jwt(security: &Security) -> Result<Option<JwtVerifier>, Failure> {
    let mut keys = Vec::new();
    if let Some(secret) = &security.jwt_secret {
        keys.push(JwtKey::secret(secret.reveal().as_bytes()).map_err(Failure::fatal)?);
    }
    if let Some(path) = &security.jwt_secret_file {
        let wrong = |reason: String| Failure::fatal(format!("{}: {reason}", path.display()));
        let secret = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        keys.push(JwtKey::secret(secret.trim_ascii()).map_err(|error| wrong(error.to_string()))?);
    }
    if let Some(path) = &security.jwt_public_key {
        keys.push(JwtKey::public(path).map_err(Failure::fatal)?);
    }
    if let Some(path) = &security.jwks_file {
        keys.extend(JwtKey::set(path).map_err(Failure::fatal)?);
    }
    if keys.is_empty() {
        return Ok(None);
    }
    let rules = JwtRules {
        issuer: security.jwt_issuer.clone(),
        audience: security.jwt_audience.clone(),
        role_claim: security.jwt_role_claim.clone(),
    };
    Ok(Some(JwtVerifier::new(keys, rules)))
}
