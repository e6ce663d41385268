//! What the doors that speak HTTP share: who asks, statements in tasks of their own, transactions over several requests, keys and
//! series as tables, connections, and the way to the leader. A door converts before and behind it.
//!
//! ```text
//! http          accepts, limits, drains connections; every request gets its peer
//! forward       a node that follows sends requests on to the leader
//! identity      who sends a request: passwords of roles, tokens      -> a caller
//! transactions  the session of a request: its own, or one that lives over several
//! run           a statement in a task of its own, its result into the door's sink
//! script        several statements for one request
//! keys, series  the keyspace through the tables of schema `redis`
//! ```
//!
//! What waits for the engine gives boxed futures: the sessions' own are large, and each door would compile them, and prove that they may
//! move between threads, again.

pub mod arrow;
pub mod forward;
pub mod http;
mod identity;
pub mod keys;
pub mod run;
pub mod script;
pub mod series;
pub mod transactions;
mod value;

use std::sync::Arc;

use perigee_engine::Engine;

pub use identity::{Caller, Peer};
pub use run::{CancelGuard, End, Given, Parameter, Query, Sink};
pub use transactions::{BeginOptions, Isolation, Lease, LeaseError};

/// What all requests of a node share, whichever door they come through.
pub struct Door {
    /// The node.
    pub engine: Arc<Engine>,
    tokens: identity::Tokens,
    passwords: identity::Passwords,
    transactions: transactions::Transactions,
}

/// Tokens of the configuration.
#[derive(Clone, Debug, Default)]
pub struct DoorOptions {
    /// A bearer token that acts as the first superuser.
    pub admin_token: Option<String>,
    /// A bearer token that reads all tables.
    pub read_only_token: Option<String>,
}

impl Door {
    /// The doors' share of a node.
    #[must_use]
    pub fn new(engine: Arc<Engine>, options: &DoorOptions) -> Arc<Self> {
        Arc::new(Self {
            engine,
            tokens: identity::Tokens::new(options.admin_token.as_deref(), options.read_only_token.as_deref()),
            passwords: identity::Passwords::default(),
            transactions: transactions::Transactions::default(),
        })
    }
}
