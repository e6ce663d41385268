//! The PostgreSQL door: the wire protocol 3.0 and 3.2 over TCP and TLS.
//!
//! A door converts, calls the engine and converts back; it holds no data and no rules. What is here is the protocol's
//! own: messages, their order, formats of values, COPY's encodings.
//!
//! ```text
//! server      accepts, limits, isolates and drains connections
//!   startup   TLS, cancel requests, versions, authentication      -> engine::Session
//!     client  one message after the other, one flush point
//!       simple    Query
//!       extended  Parse, Bind, Describe, Execute, Close, Flush, Sync: the state machine
//!       copy      COPY in and out
//! ```
//!
//! - [`frontend`], [`backend`]: messages in and out, as bytes
//! - [`connection`]: the socket with its two buffers
//! - [`binary`], [`parameter`]: values in binary format; parameters of Bind
//! - [`rows`]: results as DataRow messages, straight from Arrow columns
//! - [`error`]: the engine's errors as ErrorResponse, in this one place
//!
//! Of the `pgwire` crate only SCRAM is used: its message decoder trusts counts and lengths inside of messages and its
//! handlers buffer whole results (see docs/ARCHITECTURE.md).

mod auth;
mod backend;
mod binary;
mod client;
mod connection;
mod copy;
mod error;
mod extended;
mod foreign;
mod forward;
mod frontend;
mod parameter;
mod portal;
mod rows;
mod server;
mod simple;
mod startup;

pub use foreign::ForeignSessions;
pub use server::{PgOptions, PgServer};

/// Reads a frontend message; for tests of this crate and fuzzing.
#[doc(hidden)]
pub mod fuzz {
    pub use crate::frontend::check_message;
}
