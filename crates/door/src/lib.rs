//! What the doors that speak HTTP share: who asks, statements in tasks of their own, transactions over several requests, keys and
//! series as tables, connections, and the way to the leader. A door converts before and behind it.
//!
//! ```text
//! http          accepts, limits, drains connections; every request gets its peer
//! forward       a node that follows sends requests on to the leader
//! identity      who sends a request: passwords of roles, tokens, API keys      -> a caller
//!   passwords     checks few at a time; limits: how often anybody may ask
//! transactions  the session of a request: its own, or one that lives over several
//! run           a statement in a task of its own, its result into the door's sink
//! script        several statements for one request
//! load          rows that are loaded into a table; arrow, parquet: results that leave as such
//! kept          how much of idempotency keys and of their answers each role keeps
//! keys, series  the keyspace through the tables of schema `redis`
//! ```
//!
//! What waits for the engine gives boxed futures: the sessions' own are large, and each door would compile them, and prove that they may
//! move between threads, again.

pub mod arrow;
pub mod forward;
pub mod http;
mod identity;
pub mod kept;
pub mod keys;
mod limits;
pub mod load;
pub mod parquet;
mod passwords;
pub mod run;
pub mod script;
pub mod series;
pub mod transactions;
mod value;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use perigee_engine::Engine;
use perigee_security::JwtVerifier;

pub use identity::{Caller, Peer, Refusal, bearer_of};
pub use run::{CancelGuard, End, Given, Parameter, Query, Sink};
pub use transactions::{BeginOptions, Isolation, Lease, LeaseError};

/// What all requests of a node share, whichever door they come through.
pub struct Door {
    /// The node.
    pub engine: Arc<Engine>,
    tokens: identity::Tokens,
    passwords: passwords::Passwords,
    /// Tells JSON Web Tokens that prove a role, where there are keys for them.
    jwt: RwLock<Option<Arc<JwtVerifier>>>,
    /// How often an address may ask, and how often an identity.
    addresses: limits::Limit<IpAddr>,
    identities: limits::Limit<String>,
    lately: identity::Lately,
    transactions: transactions::Transactions,
    /// Idempotency keys, of whichever door.
    pub idempotency: kept::Kept,
    /// Places for loads.
    loads: load::Places,
    /// Where files are put down until they are loaded.
    load_dir: PathBuf,
    /// Bytes of what is loaded at once, packed and unpacked.
    load_bytes_max: u64,
}

/// What the configuration says of who may ask, and how often.
#[derive(Clone, Debug, Default)]
pub struct DoorOptions {
    /// A bearer token that acts as the first superuser.
    pub admin_token: Option<String>,
    /// A bearer token that reads all tables.
    pub read_only_token: Option<String>,
    /// What JSON Web Tokens are told by.
    pub jwt: Option<JwtVerifier>,
    /// Requests per minute of one address; 0 for any number.
    pub address_requests_per_minute: u32,
    /// Requests per minute of one identity; 0 for any number.
    pub identity_requests_per_minute: u32,
    /// Where files are put down until they are loaded; emptied when the node starts.
    pub load_dir: PathBuf,
    /// Bytes of what is loaded at once, packed and unpacked.
    pub load_bytes_max: u64,
}

impl Door {
    /// The doors' share of a node.
    #[must_use]
    pub fn new(engine: Arc<Engine>, options: &DoorOptions) -> Arc<Self> {
        Arc::new(Self {
            engine,
            tokens: identity::Tokens::new(options.admin_token.as_deref(), options.read_only_token.as_deref()),
            passwords: passwords::Passwords::default(),
            jwt: RwLock::new(options.jwt.clone().map(Arc::new)),
            addresses: limits::Limit::new(options.address_requests_per_minute),
            identities: limits::Limit::new(options.identity_requests_per_minute),
            lately: identity::Lately::default(),
            transactions: transactions::Transactions::default(),
            idempotency: kept::Kept::default(),
            loads: load::Places::default(),
            load_dir: options.load_dir.clone(),
            load_bytes_max: options.load_bytes_max,
        })
    }

    /// Tells JSON Web Tokens by other keys from now on.
    pub fn set_jwt(&self, verifier: Option<JwtVerifier>) {
        *self.jwt.write() = verifier.map(Arc::new);
    }
}
