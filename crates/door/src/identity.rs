//! Who sends a request.
//!
//! | `Authorization` | who |
//! | --- | --- |
//! | `Basic` with name and password | the role of SQL, its password checked against its SCRAM verifier |
//! | `Bearer` with the admin token | the first superuser |
//! | `Bearer` with the read-only token | `pg_read_all_data`, in transactions that never write |
//! | `Token` | as `Bearer`: InfluxDB's clients say it so |
//! | none | the first superuser where nobody is asked (trust), as at the PostgreSQL door; else nobody |

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use perigee_engine::{Authentication, ConnectRequest, Session};
use perigee_security::ScramVerifier;
use perigee_types::SqlResult;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::Door;

/// The role of the read-only token.
const READER: &str = "pg_read_all_data";
/// The database of who names none.
const DATABASE: &str = "postgres";
/// Passwords that are checked at a time: each costs thousands of rounds of a hash.
const CHECKS_MAX: usize = 4;
/// Passwords that were right, and need not be checked again while the role's verifier is the same.
const KNOWN_MAX: usize = 1_024;

/// Where a request comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peer {
    /// The client's address.
    pub address: Option<SocketAddr>,
    /// Whether its connection is encrypted.
    pub encrypted: bool,
    /// It is connected to another node, which sends its request here.
    pub foreign: bool,
}

/// Who sends a request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The role.
    pub user: String,
    /// Nothing is ever written.
    pub read_only: bool,
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

    /// Opens a session.
    ///
    /// # Errors
    /// What connecting gives.
    pub fn connect<'a>(
        &'a self,
        door: &'a Door,
        database: Option<&str>,
        mut settings: Vec<(String, String)>,
    ) -> BoxFuture<'a, SqlResult<Session>> {
        settings.insert(0, ("application_name".to_owned(), self.application.to_owned()));
        let request = ConnectRequest {
            user: self.user.clone(),
            database: database.unwrap_or(DATABASE).to_owned(),
            settings,
            peer: self.peer.address,
            encrypted: self.peer.encrypted,
            read_only: self.read_only,
        };
        door.engine.connect(request).boxed()
    }
}

impl Door {
    /// Who sends a request with these headers; `None` where they prove nobody.
    pub fn identify<'a>(
        self: &'a Arc<Self>,
        headers: &'a HeaderMap,
        peer: Peer,
        application: &'static str,
    ) -> BoxFuture<'a, Option<Caller>> {
        async move {
            let mut given = headers.get_all(header::AUTHORIZATION).iter();
            let first = given.next().map(|value| value.to_str().unwrap_or_default());
            let (user, read_only) = match (first, given.next()) {
                (_, Some(_)) => return None,
                (None, None) => self.anonymous(peer)?,
                (Some(given), None) => match given.split_once(' ')? {
                    (scheme, rest) if scheme.eq_ignore_ascii_case("basic") => self.password(peer, rest.trim()).await?,
                    // InfluxDB's clients call it so.
                    (scheme, rest) if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token") => {
                        match self.tokens.find(rest.trim())? {
                            Token::Admin => (self.engine.superuser().to_owned(), false),
                            Token::ReadOnly => (READER.to_owned(), true),
                        }
                    }
                    _ => return None,
                },
            };
            Some(Caller { user, read_only, peer, application })
        }
        .boxed()
    }

    fn anonymous(&self, peer: Peer) -> Option<(String, bool)> {
        self.engine.trusts(peer.address).then(|| (self.engine.superuser().to_owned(), false))
    }

    async fn password(&self, peer: Peer, encoded: &str) -> Option<(String, bool)> {
        let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (user, password) = text.split_once(':')?;
        let right = match self.engine.authentication(user, peer.address).ok()? {
            Authentication::Trust => true,
            Authentication::Scram(verifier) => self.passwords.check(verifier, password).await,
        };
        right.then(|| (user.to_owned(), false))
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
        self.0.iter().find(|(hash, _)| *hash == given).map(|(_, token)| *token)
    }
}

/// Checks passwords, few at a time and each once.
#[derive(Debug)]
pub(crate) struct Passwords {
    turn: Semaphore,
    /// Makes what is known useless to who reads memory of another run.
    salt: [u8; 32],
    /// Hashes of verifier and password, with when they were used last.
    known: Mutex<(HashMap<[u8; 32], u64>, u64)>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turn: Semaphore::new(CHECKS_MAX), salt: rand::random(), known: Mutex::default() }
    }
}

impl Passwords {
    async fn check(&self, verifier: String, password: &str) -> bool {
        let mut hash = Sha256::new_with_prefix(self.salt);
        hash.update((verifier.len() as u64).to_be_bytes());
        hash.update(&verifier);
        hash.update(password);
        let hash: [u8; 32] = hash.finalize().into();
        if self.is_known(&hash) {
            return true;
        }
        let Ok(_turn) = self.turn.acquire().await else { return false };
        let password = password.to_owned();
        // Thousands of rounds: not on a thread of the network.
        let matches = tokio::task::spawn_blocking(move || {
            verifier.parse::<ScramVerifier>().is_ok_and(|verifier| verifier.matches(&password))
        });
        let right = matches.await.unwrap_or(false);
        if right {
            self.remember(hash);
        }
        right
    }

    fn is_known(&self, hash: &[u8; 32]) -> bool {
        let (known, clock) = &mut *self.known.lock();
        *clock += 1;
        known.get_mut(hash).map(|used| *used = *clock).is_some()
    }

    fn remember(&self, hash: [u8; 32]) {
        let (known, clock) = &mut *self.known.lock();
        if known.len() >= KNOWN_MAX {
            let oldest = known.iter().min_by_key(|(_, used)| **used).map(|(hash, _)| *hash);
            oldest.and_then(|oldest| known.remove(&oldest));
        }
        known.insert(hash, *clock);
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

    #[tokio::test]
    async fn a_password_is_checked_against_the_verifier_of_now() {
        let passwords = Passwords::default();
        let verifier = |password| ScramVerifier::from_password_or_verifier(password).unwrap().to_string();
        let first = verifier("one");
        assert!(passwords.check(first.clone(), "one").await);
        assert!(passwords.check(first.clone(), "one").await);
        assert!(!passwords.check(first, "two").await);
        // What was right for the verifier before is not for the next.
        assert!(!passwords.check(verifier("two"), "one").await);
        assert!(!passwords.check("no verifier".to_owned(), "one").await);
    }
}
