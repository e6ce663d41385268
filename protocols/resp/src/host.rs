//! What the door needs of the server around it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use perigee_keyspace::Reply;
use perigee_types::Oid;
use perigee_types::catalog::RedisUser;

use crate::elsewhere::{ForeignCall, ForeignMessage};
use crate::rows::TableKey;

/// Redis's name for the first superuser, which clients are without being told.
pub const DEFAULT: &str = "default";

/// A role as the door sees it: users of Redis are the server's roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The role. Names move, oids do not.
    pub role: Oid,
    /// The name of the user: [`DEFAULT`] for the first superuser, else the role's.
    pub name: Arc<str>,
    /// The tenant whose keys it sees.
    pub tenant: Oid,
    /// Whether it is a superuser of the server.
    pub superuser: bool,
    /// Whether it may log in at all.
    pub login: bool,
    /// Whether no password of it is good any more.
    pub expired: bool,
    /// What it may do, said by ACL SETUSER or following from its rights elsewhere.
    pub user: RedisUser,
    /// The version of the users that this was read at.
    pub version: u64,
}

/// What ACL SETUSER makes of a user, which may not be there yet.
pub type Edit = Box<dyn FnOnce(Option<&Account>) -> Result<RedisUser, String> + Send>;

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
    /// Whether the server does not ask who connects from there.
    fn trusts(&self, peer: Option<SocketAddr>) -> bool;

    /// Moves with every change of users, and perhaps without. Asked with every command.
    fn users_version(&self) -> u64;

    /// The user of a name.
    fn account(&self, name: &str) -> Option<Account>;

    /// The user that a role is.
    fn account_of(&self, role: Oid) -> Option<Account>;

    /// All users.
    fn accounts(&self) -> Vec<Account>;

    /// Whether this is the password that a role has in the server, beside those of its [`RedisUser`]. Takes as long for a
    /// role that does not exist.
    fn verify<'a>(&'a self, role: Option<Oid>, password: &'a [u8], peer: Option<SocketAddr>) -> BoxFuture<'a, bool>;

    /// Makes or changes a user in the name of a role. Logged when it is done. `edit` sees what is there, while nobody else
    /// can change it.
    ///
    /// # Errors
    /// What the client is told.
    fn set_user<'a>(&'a self, by: Oid, name: &'a str, edit: Edit) -> BoxFuture<'a, Result<(), String>>;

    /// Removes users in the name of a role; says how many there were.
    ///
    /// # Errors
    /// What the client is told; then none is removed.
    fn drop_users<'a>(&'a self, by: Oid, names: &'a [String]) -> BoxFuture<'a, Result<usize, String>>;

    /// See [`Facts`].
    fn facts(&self) -> Facts;

    /// See [`Durability`].
    fn durability(&self) -> Durability {
        Durability::Fsync
    }

    /// Waits until what this node holds is no older than what anybody was told before the call; `None` where that is so already.
    /// The error is for the client: nobody can say it.
    fn current(&self) -> Option<BoxFuture<'static, Result<(), String>>> {
        None
    }

    /// Lets the node run a command that writes users or tables; `None` where this one does. The reply is whole, as bytes. The error is for
    /// the client; without one nobody knows whether it has run.
    fn elsewhere(&self, _call: ForeignCall) -> Option<BoxFuture<'static, Result<Bytes, Option<String>>>> {
        None
    }

    /// Sends a message to the subscribers of the other nodes: in order, at most once.
    fn tell_others(&self, _message: ForeignMessage) {}

    /// Stops the server; says why not, where it does not.
    ///
    /// # Errors
    /// What the client is told.
    fn shutdown(&self) -> Result<(), String>;

    /// The row of a tenant's table that a key `table:{name}:{primary key}` names, as far as the role may read it.
    fn table_row<'a>(&'a self, _role: Oid, _tenant: Oid, _key: &'a [u8]) -> BoxFuture<'a, TableKey> {
        Box::pin(std::future::ready(TableKey::None))
    }

    /// Runs an SQL statement as a role.
    fn sql<'a>(&'a self, role: Oid, statement: &'a str, args: &'a [Bytes]) -> BoxFuture<'a, Reply>;
}
