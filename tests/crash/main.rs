//! What happens to data when the node, the disk or the clock fails.
//!
//! - `kills`: SIGKILL at random points of a load, fifty times
//! - `power`: folders that a power loss leaves, from a record of every write: unsynced pages lost or reordered
//! - `disks`: a full disk, a disk that fails or is slow, a clock that jumps
//! - `definitions`: SIGKILL while tables, indexes and views are made, changed and dropped under a load
//! - `tiering`: SIGKILL while rows move to the cold tier
//! - `damage`: one flipped bit in every kind of file
//!
//! `PERIGEE_CRASH_POINTS=all` takes every point of `power` instead of 64; `make integration` does.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod damage;
mod definitions;
mod disks;
mod kills;
mod power;
mod tiering;
