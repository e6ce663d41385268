//! Who gets how many of the files and sockets that the process may have open.
//!
//! | for | of `ulimit -n`, which is raised to what the system allows |
//! | --- | --- |
//! | data: log, LSM, spilled queries, object store, other members, operators | a half, and at most 2048 |
//! | clients of all doors | the rest |

use perigee_runtime::{open_files_max, raise_open_files};
use perigee_security::places;

/// The most that is kept from clients.
const KEPT_MAX: u64 = 2_048;
/// The most that the LSM keeps open.
const LSM_MAX: u64 = 512;
/// The most connections of operators.
const OPERATORS_MAX: u64 = 256;

/// Raises the limit, and leaves to clients what data does not need.
pub(crate) fn share(clients_wanted: usize) {
    let limit = raise_open_files();
    let most = usize::try_from(limit - kept(limit)).unwrap_or(usize::MAX);
    places::limit(most);
    if most < clients_wanted {
        tracing::warn!(
            limit,
            clients = most,
            "the process may have few files open: there are fewer clients at a time than sessions.max allows (ulimit -n)"
        );
    }
}

/// How many files the LSM keeps open; at least 10.
pub(crate) fn of_lsm() -> usize {
    part(8, LSM_MAX).max(10)
}

/// How many connections operators may have.
pub(crate) fn of_operators() -> usize {
    part(16, OPERATORS_MAX)
}

fn kept(limit: u64) -> u64 {
    (limit / 2).min(KEPT_MAX)
}

fn part(of: u64, most: u64) -> usize {
    usize::try_from((open_files_max() / of).min(most)).unwrap_or(usize::MAX)
}
