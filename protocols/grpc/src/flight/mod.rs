//! Arrow Flight SQL: statements, prepared statements, transactions, bulk loads and the catalog for clients that speak Arrow.
//!
//! Nothing of a statement is kept between calls: tickets and handles of prepared statements hold what is to be run, with its parameters. So they
//! need no time limit, hold at any node, and give nobody a right: each call is run for who makes it. A ticket is run by DoGet; what gives no rows is
//! run before, by GetFlightInfo, because clients need not fetch a result that has none.
//!
//! ```text
//! service     FlightService: which call is what
//!   handle    tickets and prepared statements
//!   query     statements whose rows are given; messages: rows as messages
//!   parameters  values that clients bind; placeholders: texts with ? for them
//!   update    statements that count rows; ingest: rows in bulk, by COPY
//!   running   what runs, to be cancelled
//!   catalog, keys, info  what there is, and what this server can do
//! ```

mod catalog;
mod handle;
mod info;
mod ingest;
mod keys;
mod messages;
mod parameters;
mod placeholders;
mod query;
mod running;
mod service;
mod update;

pub(crate) use service::FlightSql;
