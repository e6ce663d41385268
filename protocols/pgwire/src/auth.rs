//! SCRAM-SHA-256 with the engine's verifier; on encrypted connections also SCRAM-SHA-256-PLUS, which binds the proof to
//! the server's certificate (`tls-server-end-point`), so that nobody in between can pass it on.

use perigee_copy::utf8;
use perigee_security::ScramVerifier;
use perigee_security::tls::CertificateDer;
use perigee_types::{SqlError, SqlState};
use pgwire::api::auth::sasl::scram::{ScramSecret, ScramServerAuth};

use crate::backend;
use crate::connection::Connection;
use crate::error::{Failure, Handled, violation};
use crate::frontend::Reader;

const MECHANISM: &str = "SCRAM-SHA-256";
const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// The server's side of the exchange, for connections with and without encryption.
#[derive(Clone, Debug)]
pub(crate) struct Scram {
    plain: ScramServerAuth,
    /// Bound to the certificate; `None` where its signature has no hash to bind with (Ed25519).
    bound: Option<ScramServerAuth>,
}

impl Scram {
    pub(crate) fn new(certificate: Option<&CertificateDer<'_>>) -> Self {
        let bound = certificate.and_then(|certificate| {
            let mut bound = ScramServerAuth::new();
            match bound.configure_certificate(perigee_security::tls::pem(certificate).as_bytes()) {
                Ok(()) => Some(bound),
                Err(error) => {
                    tracing::warn!(%error, "the TLS certificate cannot be bound to: SCRAM-SHA-256-PLUS is not offered");
                    None
                }
            }
        });
        Self { plain: ScramServerAuth::new(), bound }
    }

    /// What a client may choose from. The bound one comes first, as the one that is preferred.
    fn mechanisms(&self, encrypted: bool) -> &'static [&'static str] {
        if encrypted && self.bound.is_some() { &[MECHANISM_PLUS, MECHANISM] } else { &[MECHANISM] }
    }

    /// The exchange for a mechanism and the client's first message.
    ///
    /// # Errors
    /// `08P01` where the two contradict each other: with a binding named in a message that is not bound, or "the server
    /// does not support it" said to a server that does, somebody in between has changed what was offered.
    fn exchange(&self, encrypted: bool, mechanism: &str, message: &[u8]) -> Handled<&ScramServerAuth> {
        let offered = if encrypted { self.bound.as_ref() } else { None };
        match (mechanism, offered, message.first()) {
            (MECHANISM_PLUS, Some(bound), Some(b'p')) => Ok(bound),
            // It could bind and says that the server could not.
            (MECHANISM, Some(_), Some(b'y')) => {
                let message = "SCRAM channel binding negotiation error";
                let detail = "The client supports SCRAM channel binding but thinks the server does not.  However, this \
                              server does support channel binding.";
                Err(Failure::Fatal(SqlError::new(SqlState::InvalidAuthorizationSpecification, message).detail(detail)))
            }
            (MECHANISM, _, Some(b'n' | b'y')) => Ok(&self.plain),
            (MECHANISM | MECHANISM_PLUS, ..) => Err(Failure::Fatal(violation("malformed SCRAM message"))),
            _ => Err(Failure::Fatal(violation("client selected an invalid SASL authentication mechanism"))),
        }
    }
}

/// Lets the client prove that it knows the role's password.
///
/// # Errors
/// `28P01` when it does not, `08P01` when it does not follow the exchange.
pub(crate) async fn authenticate(
    connection: &mut Connection,
    scram: &Scram,
    user: &str,
    verifier: &str,
) -> Handled<()> {
    let verifier: ScramVerifier = verifier.parse().map_err(|_| {
        Failure::Fatal(SqlError::internal(format!("the password of role \"{user}\" is stored in an unknown form")))
    })?;
    let mut mechanisms = Vec::new();
    for name in scram.mechanisms(connection.encrypted) {
        backend::string(&mut mechanisms, name);
    }
    mechanisms.push(0);
    backend::authentication(&mut connection.output, 10, &mechanisms);
    connection.flush().await?;

    let first = response(connection).await?;
    let mut reader = Reader(&first);
    let mechanism = reader.string().map_err(Failure::Fatal)?;
    let message = reader.field().map_err(Failure::Fatal)?.unwrap_or_default();
    // The crate reads the message as text.
    utf8(message).map_err(Failure::Fatal)?;
    let secret = ScramSecret::Verifier {
        salt: verifier.salt,
        iterations: verifier.iterations as usize,
        stored_key: verifier.stored_key.to_vec(),
        server_key: verifier.server_key.to_vec(),
    };
    let (challenge, waiting) = scram
        .exchange(connection.encrypted, mechanism, message)?
        .on_client_first_message_with_secret(message, secret)
        .map_err(|error| malformed(&error))?;
    backend::authentication(&mut connection.output, 11, challenge.as_bytes());
    connection.flush().await?;

    let last = response(connection).await?;
    let signature = waiting.on_client_final_message(&last).map_err(|error| match error {
        pgwire::error::PgWireError::InvalidPassword(_) => Failure::Fatal(SqlError::new(
            SqlState::InvalidPassword,
            format!("password authentication failed for user \"{user}\""),
        )),
        error => malformed(&error),
    })?;
    backend::authentication(&mut connection.output, 12, signature.as_bytes());
    Ok(())
}

/// The body of the client's next message, which must be a `p`.
async fn response(connection: &mut Connection) -> Handled<bytes::BytesMut> {
    match connection.message().await? {
        (b'p', body) => Ok(body),
        (tag, _) => Err(Failure::Fatal(violation(format!("expected SASL response, got message type {tag}")))),
    }
}

fn malformed(error: &pgwire::error::PgWireError) -> Failure {
    tracing::debug!(%error, "malformed SCRAM message");
    Failure::Fatal(violation("malformed SCRAM message"))
}
