//! A library to be preloaded into an unmodified `perigee` (`LD_PRELOAD`): it sees every call that changes files.
//!
//! What it does is said by environment variables; without `PERIGEE_FAULTS_DIR` it does nothing. Only files below that
//! folder are concerned.
//!
//! | variable | effect |
//! | --- | --- |
//! | `PERIGEE_FAULTS_DIR=DIR` | the folder; absolute, without links in it |
//! | `PERIGEE_FAULTS_RECORD=FILE` | appends every write, sync, rename, unlink, … to FILE, in order, with data (see `record`) |
//! | `PERIGEE_FAULTS_KILL_AT=N[:PART]` | SIGKILL in place of the N-th call that makes a file, syncs, renames or removes, of paths that contain PART |
//! | `PERIGEE_FAULTS_FAIL=OP:ERROR:N[:PART],…` | from the N-th OP (`open`, `write`, `sync`, `rename`, `unlink`) on fails with ERROR (`EIO`, `ENOSPC`), for paths that contain PART |
//! | `PERIGEE_FAULTS_SLOW_SYNC_MS=MS` | each fsync takes that much longer |
//! | `PERIGEE_FAULTS_FREE=BYTES` | every file system says that so much is free |
//! | `PERIGEE_FAULTS_WHILE=FILE` | kills, failures, slowness and free space only while FILE exists |
//! | `PERIGEE_FAULTS_CLOCK_JUMP=AFTER_MS:BY_MS` | the wall clock jumps by BY_MS, AFTER_MS after the start |
//!
//! It works because the server calls the C library for files (`rustix` with `use-libc`, Rust's `std`), and maps none.
//! The functions here do their work by `syscall`, so none of them calls another one of them.
#![expect(unsafe_code, reason = "functions of the C library take raw pointers, and are found by name")]

pub mod calls;
pub mod clock;
mod plan;
mod record;
mod state;
mod system;
