//! Tests of the crate: against openraft's own suite, on real threads, and in simulation.

mod cluster;
mod faults;
mod propose;
mod restart;
mod sim;
mod snapshots;
mod suite;
mod support;
pub(crate) mod watch;
