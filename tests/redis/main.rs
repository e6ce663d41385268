//! The Redis door from outside.
//!
//! - `differential`: command lines on Debian's redis-server and on Perigee, reply by reply
//! - `clients`: redis-cli, redis-benchmark and redis-py
//! - `durability`: SIGKILL under loads, what one connection sees of its own writes, long pipelines
//! - `once`: kills under pipelines of samples and idempotency keys, parameters that stay
//! - `users`: users and roles, one identity
//! - `sql`: transactions of SQL over keys and tables, beside clients of Redis
//! - `load`: clients that do not read, that do nothing, that send garbage

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod clients;
mod differential;
mod durability;
mod load;
mod once;
mod sql;
mod users;

use std::time::Duration;

use perigee_testkit::Server;
use perigee_testkit::resp::Connection;

/// A reply may take as long on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node with a Redis door.
fn server() -> Server {
    perigee_tests::options().with_redis().start().unwrap()
}

fn connect(server: &Server) -> Connection {
    Connection::open(server.redis(), PATIENCE).unwrap()
}
