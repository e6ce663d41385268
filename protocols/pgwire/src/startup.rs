//! From the first byte to a session: encryption, cancel requests, versions, authentication.
//!
//! ```text
//! 0x16                 TLS at once (PostgreSQL 17), with the ALPN protocol "postgresql"
//! SSLRequest           S, then TLS; or N
//! GSSENCRequest        N
//! CancelRequest        the statement is cancelled, the connection closed
//! StartupMessage       3.0 to 3.2; a later 3.x is answered with NegotiateProtocolVersion
//! anything else        ErrorResponse, closed
//! ```

use std::net::SocketAddr;
use std::sync::Arc;

use perigee_copy::utf8;
use perigee_engine::{Authentication, ConnectRequest, Engine, Session};
use perigee_security::LoadedTls;
use perigee_types::{SqlError, SqlState};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::auth::{self, Scram};
use crate::backend;
use crate::connection::Connection;
use crate::error::{Failure, Handled, violation};
use crate::frontend::Reader;

/// The longest packet before authentication, as in PostgreSQL.
const PACKET_BYTES_MAX: usize = 10_000;

/// Versions that are spoken: 3.0 to 3.2.
const MAJOR: u16 = 3;
const MINOR_MAX: u16 = 2;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

/// First byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// What starting needs to know.
pub(crate) struct Startup {
    pub(crate) engine: Arc<Engine>,
    pub(crate) tls: Option<Arc<LoadedTls>>,
    pub(crate) scram: Arc<Scram>,
    pub(crate) ended: CancellationToken,
    /// There are as many clients as there may be: this one is told so.
    pub(crate) is_full: bool,
}

/// What a start-up message says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    user: String,
    database: String,
    settings: Vec<(String, String)>,
    minor: u16,
    /// Protocol options (`_pq_.…`) that nobody here knows.
    unknown_options: Vec<String>,
}

impl Startup {
    /// Opens a session for what connects; `None` where it was a cancel request.
    ///
    /// # Errors
    /// With the connection, so that the client can be told.
    pub(crate) async fn open(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Result<Option<(Connection, Session)>, (Option<Connection>, Failure)> {
        let mut connection = match self.transport(stream, peer).await {
            Ok(connection) => connection,
            Err(failure) => return Err((None, failure)),
        };
        loop {
            let packet = match connection.untagged_message(PACKET_BYTES_MAX).await {
                Ok(packet) => packet,
                Err(failure) => return Err((Some(connection), failure)),
            };
            let code = packet.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
            match code {
                SSL_REQUEST if !connection.encrypted => {
                    connection = match self.upgrade(connection).await {
                        Ok(connection) => connection,
                        Err(failure) => return Err((None, failure)),
                    };
                }
                GSSENC_REQUEST if !connection.encrypted => {
                    if let Err(failure) = connection.write_now(b"N").await {
                        return Err((Some(connection), failure));
                    }
                }
                CANCEL_REQUEST => {
                    self.cancel(&packet);
                    return Ok(None);
                }
                _ => {
                    return match self.start(&mut connection, &packet).await {
                        Ok(session) => Ok(Some((connection, session))),
                        Err(failure) => Err((Some(connection), failure)),
                    };
                }
            }
        }
    }

    /// The stream as it is, or TLS over it where the client begins with TLS.
    async fn transport(&self, stream: TcpStream, peer: SocketAddr) -> Handled<Connection> {
        let mut first = [0];
        let direct = stream.peek(&mut first).await? == 1 && first[0] == TLS_HANDSHAKE;
        let (Some(tls), true) = (&self.tls, direct) else {
            return Ok(Connection::new(Box::new(stream), Some(peer), false, self.ended.clone()));
        };
        let stream = TlsAcceptor::from(Arc::clone(&tls.config)).accept(stream).await?;
        // Without the ALPN protocol it could be another protocol's client, led here by an attacker.
        if stream.get_ref().1.alpn_protocol() != Some(b"postgresql") {
            return Err(Failure::Fatal(violation("direct TLS connection without the ALPN protocol \"postgresql\"")));
        }
        Ok(Connection::new(Box::new(stream), Some(peer), true, self.ended.clone()))
    }

    async fn upgrade(&self, mut connection: Connection) -> Handled<Connection> {
        let Some(tls) = &self.tls else {
            connection.write_now(b"N").await?;
            return Ok(connection);
        };
        // What came with the request would be read as if it had come encrypted (CVE-2021-23214).
        if connection.has_input() {
            return Err(Failure::Fatal(violation("received unencrypted data after SSL request")));
        }
        connection.write_now(b"S").await?;
        let peer = connection.peer;
        let stream = TlsAcceptor::from(Arc::clone(&tls.config)).accept(connection.into_stream()).await?;
        Ok(Connection::new(Box::new(stream), peer, true, self.ended.clone()))
    }

    /// Keys may be up to 256 bytes in protocol 3.2; ours have four.
    fn cancel(&self, packet: &[u8]) {
        if let Ok(numbers) = <[u8; 12]>::try_from(packet) {
            let number =
                |at: usize| i32::from_be_bytes([numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]]);
            self.engine.cancel(number(4), number(8));
        }
    }

    async fn start(&self, connection: &mut Connection, packet: &[u8]) -> Handled<Session> {
        let request = Request::read(packet).map_err(Failure::Fatal)?;
        if request.minor > MINOR_MAX || !request.unknown_options.is_empty() {
            let version = i32::from(MAJOR) << 16 | i32::from(request.minor.min(MINOR_MAX));
            backend::negotiate_protocol_version(&mut connection.output, version, &request.unknown_options);
        }
        if !connection.encrypted && self.tls.as_ref().is_some_and(|tls| tls.asks_clients) {
            let message = "connection requires TLS and a client certificate";
            audit("login denied", &request.user, connection.peer, message);
            return Err(Failure::Fatal(SqlError::new(SqlState::InvalidAuthorizationSpecification, message)));
        }
        if self.is_full {
            let message = "sorry, too many clients already";
            return Err(Failure::Fatal(SqlError::new(SqlState::TooManyConnections, message)));
        }
        match self.engine.authentication(&request.user, connection.peer).map_err(Failure::Fatal)? {
            Authentication::Trust => {}
            Authentication::Scram(verifier) => {
                let proved = auth::authenticate(connection, &self.scram, &request.user, &verifier).await;
                if let Err(Failure::Fatal(error)) = &proved {
                    audit("login denied", &request.user, connection.peer, error.message());
                }
                proved?;
            }
        }
        let user = request.user.clone();
        let connect = ConnectRequest {
            user: request.user,
            database: request.database,
            settings: request.settings,
            peer: connection.peer,
            encrypted: connection.encrypted,
            ..ConnectRequest::default()
        };
        let mut session = self.engine.connect(connect).await.map_err(|error| {
            audit("login denied", &user, connection.peer, error.message());
            Failure::Fatal(error)
        })?;
        audit("login", &user, connection.peer, "");
        let out = &mut connection.output;
        backend::authentication(out, 0, &[]);
        for (name, value) in session.parameters() {
            backend::parameter_status(out, &name, &value);
        }
        // They were just told.
        drop(session.take_parameter_changes());
        backend::backend_key_data(out, session.process_id(), session.secret());
        for notice in session.take_notices() {
            crate::error::write_notice(out, &notice);
        }
        backend::ready_for_query(out, session.status());
        connection.flush().await?;
        Ok(session)
    }
}

impl Request {
    /// Reads a start-up message, from its version on.
    fn read(packet: &[u8]) -> Result<Request, SqlError> {
        let mut reader = Reader(packet);
        let (major, minor) = (reader.int16()?.cast_unsigned(), reader.int16()?.cast_unsigned());
        if major != MAJOR {
            return Err(SqlError::new(
                SqlState::FeatureNotSupported,
                format!(
                    "unsupported frontend protocol {major}.{minor}: server supports {MAJOR}.0 to {MAJOR}.{MINOR_MAX}"
                ),
            ));
        }
        let mut request = Request { minor, ..Request::default() };
        loop {
            let name = text(&mut reader)?;
            if name.is_empty() {
                break;
            }
            let value = text(&mut reader)?;
            match name {
                "user" => request.user = value.to_owned(),
                "database" => request.database = value.to_owned(),
                "options" => request.settings.extend(options(value)?),
                "replication" if matches!(value, "false" | "off" | "no" | "0") => {}
                "replication" => return Err(SqlError::unsupported("streaming replication")),
                name if name.starts_with("_pq_.") => request.unknown_options.push(name.to_owned()),
                name => request.settings.push((name.to_owned(), value.to_owned())),
            }
        }
        if !reader.0.is_empty() {
            return Err(violation("invalid startup packet layout: expected terminator as last byte"));
        }
        if request.user.is_empty() {
            return Err(SqlError::new(
                SqlState::InvalidAuthorizationSpecification,
                "no PostgreSQL user name specified in startup packet",
            ));
        }
        if request.database.is_empty() {
            request.database.clone_from(&request.user);
        }
        Ok(request)
    }
}

fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, SqlError> {
    let end = memchr::memchr(0, reader.0)
        .ok_or_else(|| violation("invalid startup packet layout: expected terminator as last byte"))?;
    let bytes = reader.bytes(end)?;
    reader.bytes(1)?;
    utf8(bytes)
}

/// `-c name=value --name=value`, words divided by blanks, which a backslash makes part of a word.
fn options(text: &str) -> Result<Vec<(String, String)>, SqlError> {
    let mut words = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let word = words.last_mut();
        match (c, word) {
            ('\\', Some(word)) => word.extend(chars.next()),
            (c, _) if c.is_ascii_whitespace() => words.push(String::new()),
            (c, Some(word)) => word.push(c),
            (_, None) => {}
        }
    }
    let mut settings = Vec::new();
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let setting = if word == "-c" {
            words.next()
        } else {
            word.strip_prefix("-c").or_else(|| word.strip_prefix("--")).map(str::to_owned)
        };
        let setting = setting.as_deref().and_then(|setting| setting.split_once('='));
        let Some((name, value)) = setting.filter(|(name, _)| !name.is_empty()) else {
            return Err(SqlError::syntax(format!("invalid command-line argument for server process: {word}")));
        };
        // --default-transaction-isolation is the setting with underscores.
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

/// Who has come in, or not.
fn audit(event: &'static str, role: &str, peer: Option<SocketAddr>, reason: &str) {
    if event == "login" {
        tracing::info!(target: "audit", event, door = "pg", role, ?peer);
    } else {
        tracing::warn!(target: "audit", event, door = "pg", role, ?peer, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_startup_message() {
        let packet = b"\0\x03\0\x02user\0bob\0options\0-c a.b=1\\ 2 --search_path=x\0_pq_.new\0on\0TimeZone\0UTC\0\0";
        let want = Request {
            user: "bob".into(),
            database: "bob".into(),
            settings: vec![
                ("a.b".into(), "1 2".into()),
                ("search_path".into(), "x".into()),
                ("TimeZone".into(), "UTC".into()),
            ],
            minor: 2,
            unknown_options: vec!["_pq_.new".into()],
        };
        assert_eq!(Request::read(packet), Ok(want));
    }

    #[test]
    fn refuses_what_is_none() {
        for (packet, want) in [
            (&b"\0\x02\0\0user\0a\0\0"[..], "0A000"),
            (b"GET / HTTP/1.1\r\n", "0A000"),
            (b"\0\x03\0\0user\0a\0", "08P01"),
            (b"\0\x03\0\0user\0a\0\0x", "08P01"),
            (b"\0\x03\0\0user", "08P01"),
            (b"\0\x03\0\0\0", "28000"),
            (b"\0\x03\0\0user\0\xff\0\0", "22021"),
            (b"\0\x03\0\0user\0a\0replication\0database\0\0", "0A000"),
            (b"\0\x03\0\0user\0a\0options\0-x\0\0", "42601"),
            (b"\0\x03", "08P01"),
        ] {
            assert_eq!(Request::read(packet).map_err(|e| e.state().code()), Err(want), "{packet:?}");
        }
    }
}
