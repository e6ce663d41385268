//! Who sends a request.
//!
//! | `Authorization` | who |
//! | --- | --- |
//! | `Basic` with name and password | the role of SQL, its password checked against its SCRAM verifier |
//! | `Bearer` with the admin token | the first superuser |
//! | `Bearer` with the read-only token | `pg_read_all_data`, in transactions that never write |
//! | `Bearer` with an API key (`pgk_…`) | the role that the key is of; never writing where its scope is `read` |
//! | `Bearer` with a JSON Web Token | the role that its claim names |
//! | `Bearer` with `basic_` and what `Basic` would have | as `Basic`: clients of Flight are told so |
//! | `Token` | as `Bearer`: InfluxDB's clients say it so |
//! | none, but `X-API-Key` | as `Bearer` with an API key |
//! | none | the first superuser where nobody is asked (trust), as at the PostgreSQL door; else nobody |
//!
//! Who proves nobody is told no more than that.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use perigee_engine::{Authentication, ConnectRequest, Session};
use perigee_security::api_key;
use perigee_telemetry::names;
use perigee_telemetry::trace::Parent;
use perigee_types::{SqlError, SqlResult, SqlState};
use sha2::{Digest, Sha256};

use crate::Door;
use crate::limits::site;
use crate::passwords::TooMany;

/// The role of the read-only token.
const READER: &str = "pg_read_all_data";
/// The database of who names none.
const DATABASE: &str = "postgres";
/// What a bearer token begins with that is a name and a password: for clients that send such what they were told in a handshake.
const BASIC: &str = "basic_";
/// Base64 as it comes: some clients leave the padding out.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, NO_PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent));
/// The header that may have an API key.
const API_KEY: &str = "x-api-key";
/// When who waits for a password to be checked may come again.
const CHECK_AGAIN: Duration = Duration::from_secs(1);
/// Who has come lately, and for how long that is lately: the audit has one line for all requests of that time.
const LATELY_MAX: usize = 4_096;
const LATELY: Duration = Duration::from_secs(3_600);

/// Where a request comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peer {
    /// The client's address.
    pub address: Option<SocketAddr>,
    /// Whether its connection is encrypted.
    pub encrypted: bool,
    /// It is connected to another node, which sends its request here.
    pub foreign: bool,
    /// The step of a trace that its request is, where that is traced.
    pub traced: Option<Parent>,
}

impl Peer {
    fn ip(&self) -> Option<IpAddr> {
        self.address.map(|address| site(address.ip()))
    }
}

/// Why a request is nobody's, or is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has no proof of who sends it.
    Missing,
    /// Its proof is not right.
    Wrong,
    /// Too many came; one may come again after this time.
    TooMany(Duration),
}

impl Refusal {
    /// What the client is told.
    #[must_use]
    pub fn message(&self) -> &'static str {
        match self {
            Refusal::Missing => "send a role's name and password (Basic), or a token or an API key (Bearer)",
            Refusal::Wrong => "name and password, the token, or the API key are not right",
            Refusal::TooMany(_) => "too many requests",
        }
    }
}

/// What a client that has come with this `Authorization` may send from now on, where it sends bearer tokens only.
#[must_use]
pub fn bearer_of(authorization: &str) -> Option<String> {
    let (scheme, rest) = authorization.split_once(' ')?;
    match () {
        () if scheme.eq_ignore_ascii_case("basic") => Some(format!("Bearer {BASIC}{}", rest.trim())),
        () if scheme.eq_ignore_ascii_case("bearer") => Some(authorization.to_owned()),
        () => None,
    }
}

/// By what a caller has proved itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Proof {
    /// Nothing was asked for.
    Trust,
    Password,
    /// A token of the configuration.
    Token,
    /// An API key of this id.
    Key(String),
    /// A JSON Web Token that ends then: seconds since 1970 UTC.
    Jwt(i64),
}

impl Proof {
    fn name(&self) -> &'static str {
        match self {
            Proof::Trust => "trust",
            Proof::Password => "password",
            Proof::Token => "token",
            Proof::Key(_) => "api key",
            Proof::Jwt(_) => "jwt",
        }
    }
}

/// The role that is proved, whether nothing may be written, and by what; else what is wrong, for the log, and for the client.
type Proved = Result<(String, bool, Proof), (&'static str, Refusal)>;

/// Who sends a request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The role.
    pub user: String,
    /// Nothing is ever written.
    pub read_only: bool,
    proof: Proof,
    peer: Peer,
    /// What its sessions are called.
    application: &'static str,
}

impl Caller {
    /// Whether it may do what operators do.
    #[must_use]
    pub fn is_superuser(&self, door: &Door) -> bool {
        !self.read_only && door.engine.store().catalog().role(&self.user).is_some_and(|role| role.superuser)
    }

    /// Whether its proof has ended meanwhile: an API key that was revoked or is over, a token that is over.
    #[must_use]
    pub fn is_over(&self, door: &Door) -> bool {
        let now = door.engine.now_micros();
        match &self.proof {
            Proof::Key(id) => {
                let catalog = door.engine.store().catalog();
                let key = catalog.api_key(id);
                key.is_none_or(|(_, key)| key.expires.is_some_and(|expires| expires <= now))
            }
            Proof::Jwt(end_s) => *end_s <= now / 1_000_000,
            Proof::Trust | Proof::Password | Proof::Token => false,
        }
    }

    /// Refuses who has come with a proof that has ended meanwhile: for what takes long, at each step of it and before its commit.
    ///
    /// # Errors
    /// `28000`
    pub fn check_proof(&self, door: &Door) -> SqlResult<()> {
        if !self.is_over(door) {
            return Ok(());
        }
        let text = "the API key was revoked, or its time or that of the token is over";
        Err(SqlError::new(SqlState::InvalidAuthorizationSpecification, text))
    }

    /// Opens a session.
    ///
    /// # Errors
    /// What connecting gives, and `28000` where its proof has ended meanwhile.
    pub fn connect<'a>(
        &'a self,
        door: &'a Door,
        database: Option<&str>,
        mut settings: Vec<(String, String)>,
    ) -> BoxFuture<'a, SqlResult<Session>> {
        if let Err(error) = self.check_proof(door) {
            return futures::future::ready(Err(error)).boxed();
        }
        settings.insert(0, ("application_name".to_owned(), self.application.to_owned()));
        let request = ConnectRequest {
            user: self.user.clone(),
            database: database.unwrap_or(DATABASE).to_owned(),
            settings,
            peer: self.peer.address,
            encrypted: self.peer.encrypted,
            read_only: self.read_only,
        };
        let traced = self.peer.traced;
        async move {
            let mut session = door.engine.connect(request).await?;
            session.trace_within(traced);
            Ok(session)
        }
        .boxed()
    }

    /// The step of a trace that its request is.
    pub(crate) fn traced(&self) -> Option<Parent> {
        self.peer.traced
    }

    /// What its requests are counted by: its key or token, which may be one of many of a role, or the role.
    fn identity(&self) -> String {
        match &self.proof {
            Proof::Key(id) => format!("{}{id}", api_key::PREFIX),
            Proof::Token => format!("token {}", self.user),
            Proof::Trust | Proof::Password | Proof::Jwt(_) => format!("role {}", self.user),
        }
    }
}

impl Door {
    /// Counts a request of an address.
    ///
    /// # Errors
    /// [`Refusal::TooMany`]
    pub fn admit(&self, peer: Peer, application: &'static str) -> Result<(), Refusal> {
        let Some(address) = peer.ip() else { return Ok(()) };
        self.addresses.take(&address, Instant::now()).map_err(|wait| {
            metrics::counter!(names::RATE_LIMITED_TOTAL, "door" => application, "by" => "address").increment(1);
            Refusal::TooMany(wait)
        })
    }

    /// Who sends a request with these headers, and whether it may come now.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn identify<'a>(
        self: &'a Arc<Self>,
        headers: &'a HeaderMap,
        peer: Peer,
        application: &'static str,
    ) -> BoxFuture<'a, Result<Caller, Refusal>> {
        async move {
            let (user, read_only, proof) = self.prove(headers, peer).await.map_err(|refused| {
                let (reason, refusal) = refused;
                tracing::warn!(target: "audit", event = "login denied", door = application, peer = ?peer.address, reason);
                if let Refusal::TooMany(_) = refusal {
                    metrics::counter!(names::RATE_LIMITED_TOTAL, "door" => application, "by" => "login").increment(1);
                }
                refusal
            })?;
            let caller = Caller { user, read_only, proof, peer, application };
            let identity = caller.identity();
            if self.lately.is_new(&identity, peer.ip()) {
                tracing::info!(
                    target: "audit", event = "login", door = application, peer = ?peer.address, role = caller.user,
                    identity, by = caller.proof.name(), read_only,
                );
            }
            self.identities.take(&identity, Instant::now()).map_err(|wait| {
                metrics::counter!(names::RATE_LIMITED_TOTAL, "door" => application, "by" => "identity").increment(1);
                Refusal::TooMany(wait)
            })?;
            Ok(caller)
        }
        .boxed()
    }

    /// What the headers prove.
    async fn prove(&self, headers: &HeaderMap, peer: Peer) -> Proved {
        let wrong = |reason: &'static str| (reason, Refusal::Wrong);
        let one = |name: &str| {
            let mut given = headers.get_all(name).iter();
            match (given.next(), given.next()) {
                (_, Some(_)) => Err(wrong("a proof that is given twice")),
                (first, None) => Ok(first.map(|value| value.to_str().unwrap_or_default())),
            }
        };
        match (one(header::AUTHORIZATION.as_str())?, one(API_KEY)?) {
            (Some(_), Some(_)) => Err(wrong("a proof that is given twice")),
            (None, Some(key)) => self.key(key.trim()).ok_or(wrong("an API key")),
            (None, None) => match self.engine.trusts(peer.address) {
                true => Ok((self.engine.superuser().to_owned(), false, Proof::Trust)),
                false => Err(("no proof", Refusal::Missing)),
            },
            (Some(given), None) => match given.split_once(' ') {
                Some((scheme, rest)) if scheme.eq_ignore_ascii_case("basic") => self.password(peer, rest.trim()).await,
                // InfluxDB's clients call it so.
                Some((scheme, rest))
                    if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token") =>
                {
                    match rest.trim().strip_prefix(BASIC) {
                        Some(encoded) => self.password(peer, encoded).await,
                        None => self.bearer(rest.trim()),
                    }
                }
                _ => Err(wrong("a scheme that is not known")),
            },
        }
    }

    fn bearer(&self, given: &str) -> Proved {
        match self.tokens.find(given) {
            Some(Token::Admin) => return Ok((self.engine.superuser().to_owned(), false, Proof::Token)),
            Some(Token::ReadOnly) => return Ok((READER.to_owned(), true, Proof::Token)),
            None => {}
        }
        if given.starts_with(api_key::PREFIX) {
            return self.key(given).ok_or(("an API key", Refusal::Wrong));
        }
        let Some(verifier) = self.jwt.read().clone().filter(|_| given.contains('.')) else {
            return Err(("a token", Refusal::Wrong));
        };
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        match verifier.proof(given, i64::try_from(since.as_secs()).unwrap_or(i64::MAX)) {
            Ok((role, end_s)) if self.logs_in(&role) => Ok((role, false, Proof::Jwt(end_s))),
            Ok(_) => Err(("a JSON Web Token of a role that is not there, or may not log in", Refusal::Wrong)),
            Err(error) => {
                tracing::info!(%error, "a JSON Web Token was refused");
                Err(("a JSON Web Token", Refusal::Wrong))
            }
        }
    }

    fn key(&self, given: &str) -> Option<(String, bool, Proof)> {
        let holder = self.engine.api_key_holder(given)?;
        self.logs_in(&holder.role).then_some((holder.role, holder.read_only, Proof::Key(holder.key)))
    }

    fn logs_in(&self, role: &str) -> bool {
        self.engine.store().catalog().role(role).is_some_and(|role| role.login)
    }

    async fn password(&self, peer: Peer, encoded: &str) -> Proved {
        let wrong = ("a password", Refusal::Wrong);
        let decoded = BASE64.decode(encoded).map_err(|_| wrong)?;
        let text = String::from_utf8(decoded).map_err(|_| wrong)?;
        let (user, password) = text.split_once(':').ok_or(wrong)?;
        let right = match self.engine.authentication(user, peer.address).map_err(|_| wrong)? {
            Authentication::Trust => Ok(true),
            Authentication::Scram(verifier) => self.passwords.check(verifier, password, peer.ip()).await,
        };
        match right {
            Ok(true) if self.engine.trusts(peer.address) || self.logs_in(user) => {
                Ok((user.to_owned(), false, Proof::Password))
            }
            Ok(_) => Err(wrong),
            Err(TooMany) => Err(("a password, of too many at once", Refusal::TooMany(CHECK_AGAIN))),
        }
    }
}

/// Who has come lately, from where.
#[derive(Debug, Default)]
pub(crate) struct Lately(Mutex<HashMap<(String, Option<IpAddr>), Instant>>);

impl Lately {
    fn is_new(&self, identity: &str, address: Option<IpAddr>) -> bool {
        let (mut lately, now) = (self.0.lock(), Instant::now());
        let key = (identity.to_owned(), address);
        let is_known = lately.get(&key).is_some_and(|told| now.duration_since(*told) < LATELY);
        if !is_known {
            if lately.len() >= LATELY_MAX {
                lately.clear();
            }
            lately.insert(key, now);
        }
        !is_known
    }
}

/// What a token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Admin,
    ReadOnly,
}

/// The tokens of the configuration, hashed: comparing hashes says nothing about how much of a token was right.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Vec<([u8; 32], Token)>);

impl Tokens {
    pub(crate) fn new(admin: Option<&str>, read_only: Option<&str>) -> Self {
        let hashed = |token: &str, kind| (Sha256::digest(token).into(), kind);
        let tokens =
            [admin.map(|text| hashed(text, Token::Admin)), read_only.map(|text| hashed(text, Token::ReadOnly))];
        Self(tokens.into_iter().flatten().collect())
    }

    fn find(&self, given: &str) -> Option<Token> {
        let given: [u8; 32] = Sha256::digest(given).into();
        self.0.iter().find(|(hash, _)| api_key::same(hash, &given)).map(|(_, token)| *token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_whole() {
        let tokens = Tokens::new(Some("0123456789abcdef"), Some("fedcba9876543210"));
        assert_eq!(tokens.find("0123456789abcdef"), Some(Token::Admin));
        assert_eq!(tokens.find("fedcba9876543210"), Some(Token::ReadOnly));
        for wrong in ["", "0123456789abcde", "0123456789abcdef ", "0123456789ABCDEF"] {
            assert_eq!(tokens.find(wrong), None, "{wrong}");
        }
        assert_eq!(Tokens::default().find(""), None);
    }

    #[test]
    fn the_audit_has_one_line_for_all_requests_of_a_while() {
        let (lately, one, other) = (Lately::default(), Some(IpAddr::from([192, 0, 2, 1])), None);
        assert!(lately.is_new("role ann", one) && lately.is_new("role ann", other) && lately.is_new("role bob", one));
        assert!(!lately.is_new("role ann", one) && !lately.is_new("role ann", other));
        for n in 0..LATELY_MAX {
            lately.is_new(&n.to_string(), one);
        }
        assert!(lately.0.lock().len() <= LATELY_MAX);
    }
}
