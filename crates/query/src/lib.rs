//! SQL in, plans and rows out.
//!
//! - [`sql`]: text to [`perigee_plan::Plan`]: parser, name resolution, point plans, DDL, the statement cache
//! - [`exec`]: DataFusion over storage: table providers, PostgreSQL's semantics, the query pool
//! - [`keyspace`]: the keys of Redis as tables, read and written
//! - [`pg_catalog`]: the system schemas as tables over our catalog

pub mod exec;
pub mod keyspace;
pub mod pg_catalog;
pub mod sql;
