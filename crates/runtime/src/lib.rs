//! What the server needs from the machine: a clock, files and threads, each behind a small trait.
//!
//! The rest of the server takes a [`Runtime`] and never asks the operating system by itself, so that the same code runs
//! on the machine ([`Runtime::system`]) and in a simulation ([`sim`]), where time is virtual, the disk loses what was
//! not synced, and every run can be repeated from a seed. Sockets are not here: the network has its own seam in
//! `consensus` and in the protocols.

mod clock;
mod files;
mod open_files;
pub mod sim;
mod spawner;
mod system_files;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

pub use clock::{Clock, Passing, SystemClock};
pub use files::{File, FileLock, Files};
pub use open_files::{open_files_max, raise_open_files};
pub use spawner::{Spawner, SystemSpawner};
pub use system_files::SystemFiles;

/// Bytes of stack for threads that plan, run or free queries, whose plans are walked by recursion. Memory is taken only as
/// far as a stack has grown.
pub const STACK_BYTES: usize = 64 << 20;

/// A future that can be sent to another thread and stored without naming its type.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The machine as the server sees it. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    /// Wall clock, monotonic clock and timers.
    pub clock: Arc<dyn Clock>,
    /// The file system.
    pub files: Arc<dyn Files>,
    /// Tasks and threads.
    pub spawner: Arc<dyn Spawner>,
}

impl Runtime {
    /// The real machine. Tasks run on the tokio runtime in which they are spawned.
    #[must_use]
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            files: Arc::new(SystemFiles),
            spawner: Arc::new(SystemSpawner::current()),
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}
