//! Sessions over a whole node in one process: real log, consensus and storage over files and an LSM in memory.

mod copy;
mod ddl;
mod node;
mod statements;
mod transactions;
