//! What whole-server tests share. The tests themselves are the targets of this crate:
//!
//! - `server`: a node as its users meet it
//! - `slt`: SQL, as sqllogictest files and statement by statement beside PostgreSQL
//! - `redis`: the Redis door
//! - `crash`: kills, power loss, failing disks, damage
//! - `cluster`: several nodes of one cluster: who leads, who follows, who comes back

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

pub mod admin;
pub mod bank;
pub mod grpc;

use perigee_testkit::{Server, ServerOptions};

/// A node with a modest memory budget.
#[must_use]
pub fn server() -> Server {
    options().start().unwrap()
}

/// Options for a node with a modest memory budget.
#[must_use]
pub fn options() -> ServerOptions {
    ServerOptions::default().flag(&["--memory", "512MB"])
}
