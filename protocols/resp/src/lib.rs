//! The Redis door: RESP2 and RESP3 over TCP and TLS.
//!
//! - [`RespServer`]: accepts connections, bounds their number, looks after them
//! - `session`, `wire`: a connection; its socket with its two buffers
//! - `codec`: bytes to commands, replies to bytes
//! - `dispatch`, `burst`, `transaction`: from a command to who runs it, together with its neighbours
//! - `command`: the commands that are about the connection or this server, a family in each file
//! - `pubsub`, `tracking`, `monitor`: what connections hear of others
//! - `traces`: what of them traces tell
//! - `acl`, `config`, `info`, `stats`, `slowlog`, `latency`: what administrators set and read
//!
//! Commands on keys are the keyspace's ([`perigee_keyspace`]); what this door needs of the rest of the server comes
//! through [`Host`].

mod acl;
mod burst;
mod client;
mod codec;
mod command;
mod config;
mod dispatch;
mod elsewhere;
mod host;
mod info;
mod latency;
mod monitor;
mod pubsub;
mod rows;
mod scripts;
mod server;
mod session;
mod shared;
mod slowlog;
mod stats;
mod traces;
mod tracking;
mod transaction;
#[doc(hidden)]
pub mod twin;
mod wire;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

pub use elsewhere::{ForeignCall, ForeignMessage};
pub use host::{Account, DEFAULT, Durability, Edit, Facts, Host};
pub use info::REDIS_VERSION;
pub use rows::{TableKey, TableRow};
pub use server::{RespOptions, RespServer};

/// The codec; for fuzzing and for doors that speak the same frames.
pub mod resp {
    pub use crate::codec::reply::write;
    pub use crate::codec::request::{Limits, Parser, ProtocolError};
}
