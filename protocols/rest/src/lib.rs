//! The REST door: HTTP/1.1 and HTTP/2, with and without TLS.
//!
//! A door converts, calls the engine and converts back; it holds no data and no rules.
//!
//! ```text
//! server        accepts, limits, drains connections; every request gets its peer
//!   guard       where a request may come from: addresses, browsers
//!   forward     a node that follows sends requests on to the leader
//!   identity    who sends it: passwords of roles, tokens                 -> a role
//!   sql         POST /v1/sql                                             -> engine::Session
//!     run       a statement in a task of its own, cancelled when the client goes away
//!     output    its rows as JSON, NDJSON, CSV or Arrow, as they come
//!   transactions  sessions that live over several requests
//!   tables, rows  tables as resources; filter: which rows
//!   keys, series  the keyspace as resources, through its tables in SQL
//!   ingest, line  what devices send: JSON, and InfluxDB's line protocol
//!   changes       the change feed as server-sent events
//!   openapi       what there is, as a document and as a page
//!     script  several statements for one request
//! ```
//!
//! - [`error`]: the engine's errors as problem documents, in this one place
//! - [`value`]: values of JSON as parameters

mod address;
mod changes;
mod error;
mod filter;
mod forward;
mod guard;
mod identity;
mod ingest;
mod keys;
mod line;
mod openapi;
mod output;
mod rows;
mod run;
mod script;
mod series;
mod server;
mod sql;
mod tables;
mod transactions;
mod value;

pub use server::{RestOptions, RestServer};
