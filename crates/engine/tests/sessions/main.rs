//! Sessions over a whole node in one process: real log, consensus and storage over files and an LSM in memory.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

mod constraints;
mod continuous;
mod copy;
mod ddl;
mod feed;
mod histories;
mod indexes;
mod isolation;
mod large;
mod limits;
mod node;
mod notify;
mod row_locks;
mod serializable;
mod statements;
mod transactions;
