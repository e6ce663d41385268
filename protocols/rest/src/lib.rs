//! The REST door: HTTP/1.1 and HTTP/2, with and without TLS.
//!
//! A door converts, calls the engine and converts back; it holds no data and no rules.
//!
//! Who asks, statements in tasks of their own, transactions, connections and the way to the leader are those of
//! [`perigee_door`].
//!
//! ```text
//! server        what there is at which path
//!   guard       where a request may come from: addresses, browsers
//!   identity    who sends it
//!   pack        answers by gzip or zstd
//!   idempotency   requests that come again are done once
//!   sql         POST /v1/sql
//!     run       the result of a statement on its way to the client
//!     output    its rows as JSON, NDJSON, CSV, Arrow or Parquet, as they come
//!   transactions  sessions that live over several requests
//!   tables, rows  tables as resources; filter: which rows; load: many rows at once
//!   keys, series  the keyspace as resources, through its tables in SQL
//!   ingest, line  what devices send: JSON, and InfluxDB's line protocol
//!   otlp          metrics of OpenTelemetry
//!   changes       the change feed as server-sent events
//!   openapi       what there is, as a document and as a page
//!   console       a page for people, whose files are in the binary
//!     script  several statements for one request
//! ```
//!
//! - [`error`]: the engine's errors as problem documents, in this one place

mod address;
mod changes;
mod console;
mod error;
mod filter;
mod guard;
mod idempotency;
mod identity;
mod ingest;
mod keys;
mod line;
mod load;
mod openapi;
mod otlp;
mod output;
mod pack;
mod precondition;
mod rows;
mod run;
mod script;
mod series;
mod server;
mod sql;
mod tables;
mod transactions;

pub use guard::Origins;
pub use server::{RestOptions, server};
