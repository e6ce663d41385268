//! The one memory budget and its shares.
//!
//! ```text
//!   root  = hot + rest
//!   hot   : chunks, index deltas, caches of warm data; a quarter of it may be dirty
//!   rest  : sessions 1/16, the LSM's block cache 1/8, recent log entries 1/16 (at most 64 MB), queries what remains
//! ```

use std::fs;

use crate::{ByteSize, ConfigError, Memory};

/// The smallest root budget a node starts with.
const ROOT_MIN: ByteSize = ByteSize::mb(96);
/// What lies beside the hot share at least when only that is given.
const REST_MIN: ByteSize = ByteSize::mb(512);
const LOG_CACHE_MAX: ByteSize = ByteSize::mb(64);

/// How many bytes each use of memory may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// All of them together.
    pub root: ByteSize,
    /// Table data in memory.
    pub hot: ByteSize,
    /// The part of `hot` that no checkpoint holds yet, at most.
    pub dirty: ByteSize,
    /// Queries.
    pub query: ByteSize,
    /// Sessions: buffers of transactions, statements and results.
    pub sessions: ByteSize,
    /// Recent entries of the log.
    pub log_cache: ByteSize,
    /// Blocks of the LSM.
    pub lsm_cache: ByteSize,
}

impl MemoryPlan {
    /// Shares out what `memory` says, on a machine or in a cgroup with `available` bytes.
    ///
    /// The root is half of `available` and the hot share half of the root, unless given. A hot share given alone makes
    /// the root: hot + max(hot, 512 MB), so that queries have at least 256 MB.
    ///
    /// # Errors
    /// [`ConfigError::Conflict`] when the shares do not fit.
    pub fn new(memory: &Memory, available: ByteSize) -> Result<Self, ConfigError> {
        let (root, hot) = match (memory.root, memory.hot) {
            (Some(root), Some(hot)) => (root, hot),
            (Some(root), None) => (root, ByteSize(root.0 / 2)),
            (None, Some(hot)) => (ByteSize(hot.0.saturating_add(hot.0.max(REST_MIN.0))), hot),
            // Whole MB, for people.
            (None, None) => (ByteSize(available.0 >> 21 << 20), ByteSize(available.0 >> 22 << 20)),
        };
        if root < ROOT_MIN {
            return Err(ConfigError::Conflict(format!(
                "memory.root (--memory) is {root}; a node needs at least {ROOT_MIN}"
            )));
        }
        if hot.0 == 0 || hot.0 > root.0 - root.0 / 4 {
            return Err(ConfigError::Conflict(format!(
                "memory.hot (--hot-memory) is {hot}; it must be above 0 and at most three quarters of memory.root ({root})"
            )));
        }
        let rest = root.0 - hot.0;
        let sessions = rest / 16;
        let lsm_cache = rest / 8;
        let log_cache = (rest / 16).min(LOG_CACHE_MAX.0);
        Ok(Self {
            root,
            hot,
            dirty: ByteSize(hot.0 / 4),
            query: ByteSize(rest - sessions - lsm_cache - log_cache),
            sessions: ByteSize(sessions),
            log_cache: ByteSize(log_cache),
            lsm_cache: ByteSize(lsm_cache),
        })
    }
}

/// The memory of the machine, or of the control group that the process lives in when that is less.
#[must_use]
pub fn available_memory() -> ByteSize {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| meminfo_total(&text));
    let smallest = cgroup_limits().into_iter().chain(machine).min();
    // Neither file exists outside Linux; a modest node is better than none.
    ByteSize(smallest.unwrap_or(2 << 30))
}

fn meminfo_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kb: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kb << 10)
}

/// Limits of the process's control group and of all groups around it, version 2 and version 1.
fn cgroup_limits() -> Vec<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut limits = Vec::new();
    for (folder, file) in cgroup_folders(&groups) {
        let mut path = folder.as_str();
        // A limit of any group above holds too.
        loop {
            for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/memory"] {
                let text = fs::read_to_string(format!("{root}{path}/{file}")).unwrap_or_default();
                // "max", and version 1's page-rounded i64::MAX, mean no limit.
                limits.extend(text.trim().parse::<u64>().ok().filter(|limit| *limit < 1 << 60));
            }
            match path.rfind('/') {
                Some(end) if !path.is_empty() => path = &path[..end],
                _ => break,
            }
        }
    }
    limits
}

/// The folders (below the mount point) and file names in which limits may stand.
fn cgroup_folders(groups: &str) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(folder)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let folder = folder.trim_end_matches('/').to_owned();
        if controllers.is_empty() {
            found.push((folder, "memory.max"));
        } else if controllers.split(',').any(|name| name == "memory") {
            found.push((folder, "memory.limit_in_bytes"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(root: Option<u64>, hot: Option<u64>) -> Result<MemoryPlan, ConfigError> {
        let memory = Memory { root: root.map(ByteSize::mb), hot: hot.map(ByteSize::mb) };
        MemoryPlan::new(&memory, ByteSize::mb(16 << 10))
    }

    #[test]
    fn defaults_are_halves() {
        let plan = plan(None, None).unwrap();
        assert_eq!((plan.root, plan.hot), (ByteSize::mb(8 << 10), ByteSize::mb(4 << 10)));
        assert_eq!(plan.dirty, ByteSize::mb(1 << 10));
    }

    #[test]
    fn a_hot_share_given_alone_makes_the_root() {
        let small = plan(None, Some(256)).unwrap();
        assert_eq!((small.root, small.hot), (ByteSize::mb(768), ByteSize::mb(256)));
        assert!(small.query >= ByteSize::mb(256), "{small:?}");
        let tiny = plan(None, Some(16)).unwrap();
        assert_eq!(tiny.root, ByteSize::mb(528));
        assert!(tiny.query >= ByteSize::mb(256), "{tiny:?}");
        let large = plan(None, Some(4096)).unwrap();
        assert_eq!(large.root, ByteSize::mb(8192));
    }

    #[test]
    fn a_root_given_alone_is_halved() {
        let plan = plan(Some(1000), None).unwrap();
        assert_eq!((plan.root, plan.hot), (ByteSize::mb(1000), ByteSize::mb(500)));
    }

    #[test]
    fn the_shares_are_the_root() {
        for (root, hot) in [(Some(128), None), (Some(512), Some(300)), (None, Some(64)), (None, None)] {
            let plan = plan(root, hot).unwrap();
            let sum = plan.hot.0 + plan.query.0 + plan.sessions.0 + plan.log_cache.0 + plan.lsm_cache.0;
            assert_eq!(sum, plan.root.0, "{plan:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(plan(Some(64), None).is_err());
        assert!(plan(Some(512), Some(500)).is_err());
        assert!(plan(Some(512), Some(0)).is_err());
    }

    #[test]
    fn files_of_the_system_are_read() {
        assert_eq!(meminfo_total("MemTotal:       24682100 kB\nMemFree: 1 kB\n"), Some(24_682_100 << 10));
        assert_eq!(cgroup_folders("0::/user.slice/a.scope\n"), [("/user.slice/a.scope".to_owned(), "memory.max")]);
        let first = "12:cpu,memory:/docker/x\n11:pids:/\n";
        assert_eq!(cgroup_folders(first), [("/docker/x".to_owned(), "memory.limit_in_bytes")]);
        assert!(available_memory() > ByteSize::mb(64));
    }
}
