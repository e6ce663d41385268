//! What the door needs of the server around it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use perigee_keyspace::Reply;
use perigee_types::Oid;

/// Who a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name of the user.
    pub user: Arc<str>,
    /// The tenant whose keys it sees.
    pub tenant: Oid,
    /// Whether it may do everything.
    pub superuser: bool,
}

/// What the server says about itself.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The server's own version, such as `0.1.0`.
    pub version: String,
    /// How long the process runs.
    pub uptime: Duration,
    /// Forty hexadecimal digits that tell this run of the process from others.
    pub run_id: String,
    /// The door's TCP port.
    pub port: u16,
    /// Bytes of memory that the process holds.
    pub memory_rss: u64,
    /// Bytes of memory that the server may hold; zero where nobody said.
    pub memory_total: u64,
    /// The configuration file.
    pub config_file: String,
    /// Index of the last entry that was applied.
    pub applied_index: u64,
    /// Other voters that hold what this one holds.
    pub replicas: u32,
    /// Milliseconds since 1970 of the last checkpoint; 0 before the first.
    pub checkpoint_ms: i64,
}

impl Facts {
    /// Seconds since 1970 of the last checkpoint, or since when the server runs where there was none: LASTSAVE.
    pub(crate) fn saved_s(&self) -> i64 {
        if self.checkpoint_ms > 0 {
            return self.checkpoint_ms / 1_000;
        }
        let started = std::time::SystemTime::now().checked_sub(self.uptime);
        let since = started.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }
}

/// How sure a reply is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// On disk before the reply, on a majority where there are several voters.
    #[default]
    Fsync,
    /// On disk within an interval.
    Interval,
}

/// The server around the door.
pub trait Host: Send + Sync + 'static {
    /// Who a connection is before it says so; `None` where it has to.
    fn default_identity(&self, peer: Option<SocketAddr>) -> Option<Identity>;

    /// Who has this name and password; `None` for nobody.
    fn authenticate<'a>(
        &'a self,
        user: &'a str,
        password: &'a [u8],
        peer: Option<SocketAddr>,
    ) -> BoxFuture<'a, Option<Identity>>;

    /// See [`Facts`].
    fn facts(&self) -> Facts;

    /// See [`Durability`].
    fn durability(&self) -> Durability {
        Durability::Fsync
    }

    /// Stops the server; says why not, where it does not.
    ///
    /// # Errors
    /// What the client is told.
    fn shutdown(&self) -> Result<(), String>;

    /// Runs an SQL statement.
    fn sql<'a>(&'a self, identity: &'a Identity, statement: &'a str, args: &'a [Bytes]) -> BoxFuture<'a, Reply>;
}
