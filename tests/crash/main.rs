//! What happens to data when the node, the disk or the clock fails.
//!
//! - `kills`: SIGKILL at random points of a load, fifty times
//! - `power`: folders that a power loss leaves, from a record of every write: unsynced pages lost or reordered
//! - `disks`: a full disk, a disk that fails or is slow, a clock that jumps
//! - `definitions`: SIGKILL while tables, indexes and views are made, changed and dropped under a load
//! - `tiering`: SIGKILL at each step of rows' way to the cold tier and of merging its files
//! - `backups`: SIGKILL at each step of a base backup, of the archive and of a restore
//! - `damage`: one flipped bit in every kind of file
//!
//! `PERIGEE_CRASH_POINTS=all` takes every point of `power` instead of 64, and every step of `tiering` and `backups`; `make
//! integration` does.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod backups;
mod damage;
mod definitions;
mod disks;
mod kills;
mod power;
mod steps;
mod tiering;
