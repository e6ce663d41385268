//! Real servers for tests: started as processes, used through their doors, killed, started again.
//!
//! - [`Server`]: a `perigee node` on free loopback ports with a data directory of its own
//! - [`Cluster`]: several of them that know each other, over a [`Network`] that can be cut
//! - [`history`]: what clients did at once and were told, and whether that is possible
//! - [`binary`]: which binary; built when need be
//! - [`Client`]: tokio-postgres with its connection task
//! - [`session`]: PostgreSQL's protocol with all that a server answers
//! - [`postgres`], [`redis`]: Debian's PostgreSQL and Redis, to compare with
//! - [`resp`]: Redis's protocol with all that a server answers
//! - [`slt`]: sqllogictest files against a server
//! - [`wire`]: scripts of PostgreSQL's protocol, message by message
//! - [`trace`], [`image`]: what the preloaded `perigee-faults` has recorded, and the folders that a crash may leave
//!
//! Everything is removed on drop: processes by their own id, folders unless the test fails.

pub mod binary;
mod client;
mod cluster;
pub mod history;
pub mod http;
pub mod image;
mod network;
pub mod postgres;
pub mod redis;
pub mod resp;
mod server;
pub mod session;
pub mod slt;
pub mod trace;
pub mod wire;

pub use client::Client;
pub use cluster::Cluster;
pub use network::Network;
pub use server::{Exit, Server, ServerOptions, copy_folder};

/// Why a test's equipment does not work.
#[derive(Debug, thiserror::Error)]
pub enum TestkitError {
    /// The system.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The server did not become ready, or ended by itself.
    #[error("{reason}\n--- log of the server ---\n{log}")]
    Server {
        /// What happened.
        reason: String,
        /// The end of its log.
        log: String,
    },
    /// A binary could not be built.
    #[error("cannot build {0}")]
    Build(String),
    /// A connection.
    #[error("{0}")]
    Postgres(#[from] tokio_postgres::Error),
}

impl TestkitError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
