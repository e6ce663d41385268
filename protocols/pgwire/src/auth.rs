//! SCRAM-SHA-256 with the engine's verifier.
//!
//! Channel binding is not offered: `SCRAM-SHA-256-PLUS` may only be named on an encrypted connection, and the exchange
//! itself refuses a client that insists on it.

use perigee_security::ScramVerifier;
use perigee_types::{SqlError, SqlState};
use pgwire::api::auth::sasl::scram::{ScramSecret, ScramServerAuth};

use crate::backend;
use crate::connection::Connection;
use crate::error::{Failure, Handled, violation};
use crate::frontend::{Reader, utf8};

const MECHANISM: &str = "SCRAM-SHA-256";

/// Lets the client prove that it knows the role's password.
///
/// # Errors
/// `28P01` when it does not, `08P01` when it does not follow the exchange.
pub(crate) async fn scram(connection: &mut Connection, user: &str, verifier: &str) -> Handled<()> {
    let verifier: ScramVerifier = verifier.parse().map_err(|_| {
        Failure::Fatal(SqlError::internal(format!("the password of role \"{user}\" is stored in an unknown form")))
    })?;
    let mut mechanisms = MECHANISM.as_bytes().to_vec();
    mechanisms.extend_from_slice(&[0, 0]);
    backend::authentication(&mut connection.output, 10, &mechanisms);
    connection.flush().await?;

    let first = response(connection).await?;
    let mut reader = Reader(&first);
    let mechanism = reader.string().map_err(Failure::Fatal)?;
    if mechanism != MECHANISM {
        return Err(Failure::Fatal(violation("client selected an invalid SASL authentication mechanism")));
    }
    let message = reader.field().map_err(Failure::Fatal)?.unwrap_or_default();
    // The crate reads the message as text.
    utf8(message).map_err(Failure::Fatal)?;
    let secret = ScramSecret::Verifier {
        salt: verifier.salt,
        iterations: verifier.iterations as usize,
        stored_key: verifier.stored_key.to_vec(),
        server_key: verifier.server_key.to_vec(),
    };
    let (challenge, waiting) = ScramServerAuth::new()
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
