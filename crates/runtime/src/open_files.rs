//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as are ever wanted: systems refuse a limit above one of their own.
const WANTED: u64 = 1 << 20;

/// How many files and sockets the process may have open.
#[must_use]
pub fn open_files_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(WANTED)
}

/// Lets the process have as many open as the system allows it, which is often much more than what processes begin with.
/// Returns how many that are.
pub fn raise_open_files() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(WANTED).min(WANTED);
    if current.is_some_and(|current| current < wanted) {
        // What is refused leaves it as it was, which is told below.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
    open_files_max()
}
