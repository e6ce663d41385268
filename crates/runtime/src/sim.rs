//! The simulated machine: a disk that forgets, a clock that stands still, threads that are tasks.
//!
//! Everything that looks random comes from a seed, so that a run that failed can be repeated.

mod clock;
mod disk;
mod files;
mod random;
mod spawner;

use std::sync::Arc;

pub use clock::SimClock;
pub use disk::{Fault, FaultKind, Operation};
pub use files::SimFiles;
pub use random::SimRandom;
pub use spawner::SimSpawner;

use crate::Runtime;

/// The bytes that a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// A simulated machine around `files`, which outlive the crash of what runs on them. The wall clock begins at
/// `start_micros`. Called inside of the tokio runtime of the simulation, see [`block_on`].
#[must_use]
pub fn runtime(files: Arc<SimFiles>, start_micros: u64) -> Runtime {
    Runtime { clock: Arc::new(SimClock::new(start_micros)), files, spawner: Arc::new(SimSpawner::new()) }
}

/// Runs `future` on an executor of one thread whose time stands still while there is work and jumps to the next timer
/// when there is none.
///
/// # Errors
/// When the executor cannot be made.
#[cfg(any(test, feature = "sim"))]
pub fn block_on<F: Future>(future: F) -> std::io::Result<F::Output> {
    let executor = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(executor.block_on(future))
}
