//! What a node reads again when it gets SIGHUP: the keys of JSON Web Tokens, the doors' certificate with its key, and which log lines
//! there are.

use std::sync::Arc;

use perigee_config::{Layers, Security};
use perigee_door::Door;
use perigee_security::{JwtKey, JwtRules, JwtVerifier, ServerTls, TlsError};
use perigee_telemetry::LogLevel;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config_command;
use crate::failure::Failure;

/// SIGHUP, which no longer ends the process.
pub(crate) fn signals() -> Result<Signal, Failure> {
    signal(SignalKind::hangup()).map_err(|error| Failure::fatal(format!("cannot handle signals: {error}")))
}

/// What is read again, and for whom.
pub(crate) struct Reload {
    /// Where settings come from: the file may say something else by then.
    pub(crate) layers: Layers,
    /// Who is told the keys of JSON Web Tokens.
    pub(crate) door: Arc<Door>,
    /// What the doors show.
    pub(crate) tls: Arc<DoorsTls>,
    /// Which log lines there are.
    pub(crate) lines: LogLevel,
}

impl Reload {
    /// Reads again whenever a signal comes. What cannot be read leaves what was there before.
    pub(crate) async fn run(self, mut signals: Signal) {
        let this = Arc::new(self);
        while signals.recv().await.is_some() {
            let again = Arc::clone(&this);
            if let Err(error) = tokio::task::spawn_blocking(move || again.now()).await {
                tracing::error!(%error, "SIGHUP: nothing was read again");
            }
        }
    }

    /// Each by itself: a key that is wrong is no reason to show a certificate that is over.
    fn now(&self) {
        let config = match config_command::load_from(&self.layers) {
            Ok(config) => config,
            Err(error) => return tracing::error!(%error, "SIGHUP: the settings are wrong, and stay as they were"),
        };
        match self.tls.renew() {
            Ok(false) => {}
            Ok(true) => tracing::info!("SIGHUP: the TLS certificate and its key were read again"),
            Err(error) => tracing::error!(%error, "SIGHUP: the TLS certificate stays as it was"),
        }
        match jwt(&config.security) {
            Ok(verifier) => {
                self.door.set_jwt(verifier);
                tracing::info!("SIGHUP: the keys of JSON Web Tokens were read again");
            }
            Err(error) => tracing::error!(%error, "SIGHUP: the keys of JSON Web Tokens stay as they were"),
        }
        match self.lines.set(&config.telemetry.level) {
            Ok(()) => tracing::info!("SIGHUP: telemetry.level was read again"),
            Err(error) => tracing::error!(%error, "SIGHUP: telemetry.level stays as it was"),
        }
    }
}

/// The TLS of all doors; none of a door where none is configured.
#[derive(Debug, Default)]
pub(crate) struct DoorsTls {
    pub(crate) pg: Option<ServerTls>,
    pub(crate) redis: Option<ServerTls>,
    pub(crate) rest: Option<ServerTls>,
    pub(crate) grpc: Option<ServerTls>,
}

impl DoorsTls {
    /// Reads certificate and key, if they are configured.
    pub(crate) fn load(security: &Security) -> Result<Self, Failure> {
        let (Some(certificate), Some(key)) = (&security.tls_certificate, &security.tls_key) else {
            return Ok(Self::default());
        };
        let clients = security.tls_client_authority.as_deref();
        let load = |protocols: &[&str]| {
            ServerTls::load_for(certificate, key, protocols, clients).map(Some).map_err(Failure::fatal)
        };
        Ok(Self {
            pg: load(&["postgresql"])?,
            redis: load(&[])?,
            rest: load(&["h2", "http/1.1"])?,
            grpc: load(&["h2"])?,
        })
    }

    /// Reads the files again; whether there are any.
    fn renew(&self) -> Result<bool, TlsError> {
        let doors = [&self.pg, &self.redis, &self.rest, &self.grpc].into_iter().flatten();
        doors.map(ServerTls::renew).try_fold(false, |_, renewed| renewed.map(|()| true))
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
