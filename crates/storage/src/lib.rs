//! Where data lives: columns in memory, the same columns in the LSM, and what both cost.
//!
//! Knows no wire, no session and no SQL. All of it is a function of the log; nothing here is ever logged.
//!
//! - [`kv`]: the LSM behind a small trait: fjall, and a twin in memory
//! - [`encoding`]: an Arrow column as bytes, and its statistics
//! - [`arrow_value`]: single values and rows into Arrow and out of it
//! - [`entry`]: what one entry of the log says about tables
//! - [`store`]: all tables, catalog and sequences; apply, snapshots, maintenance
//! - [`table`]: one table: chunks, open rows, indexes
//! - [`cold`]: rows in Parquet files of an object store
//! - [`checkpoint`]: what changed, as one run into the LSM, and back
//! - [`budget`]: who may hold how many bytes of memory
//! - [`objects`]: an object store, for callers that may block
//! - [`disk`]: when writes are refused because the disk is nearly full

pub mod arrow_value;
pub mod budget;
pub mod checkpoint;
pub mod cold;
pub mod companion;
pub mod disk;
pub mod encoding;
pub mod entry;
pub mod kv;
pub mod objects;
pub mod store;
pub mod table;
