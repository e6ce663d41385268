//! What is known of the process's files, and the faults in force.

use std::collections::HashSet;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::plan::{Operation, Plan};
use crate::record::{Entry, Kind};
use crate::system::{self, Returned};

static STATE: LazyLock<State> = LazyLock::new(State::new);

/// The library's state; `None` when nothing is asked for.
pub(crate) fn state() -> Option<&'static State> {
    Some(&*STATE).filter(|state| !state.plan.dir.is_empty())
}

pub(crate) fn plan() -> &'static Plan {
    &STATE.plan
}

pub(crate) struct State {
    pub(crate) plan: Plan,
    files: Mutex<Files>,
    syncs: AtomicU64,
    points: AtomicU64,
    counts: [AtomicU64; 5],
}

/// Held while a change is made and recorded, so that the record has the order of the changes.
pub(crate) struct Files {
    /// Device and inode of files below the folder that were opened for writing.
    tracked: HashSet<(u64, u64)>,
    record: Option<RawFd>,
    buffer: Vec<u8>,
}

impl Files {
    pub(crate) fn append(&mut self, entry: &Entry<'_>) {
        if let Some(fd) = self.record {
            entry.append(fd, &mut self.buffer);
        }
    }

    pub(crate) fn track(&mut self, device: u64, inode: u64) {
        self.tracked.insert((device, inode));
    }

    /// The inode of an open file, if it is one of the folder's.
    pub(crate) fn inode(&self, fd: RawFd) -> Option<u64> {
        let (device, inode, mode) = system::identity(fd)?;
        (mode & libc::S_IFMT == libc::S_IFREG && self.tracked.contains(&(device, inode))).then_some(inode)
    }
}

impl State {
    fn new() -> Self {
        let plan = Plan::from_environment();
        let record = plan.record.as_deref().filter(|_| !plan.dir.is_empty()).map(system::open_record);
        let files = Mutex::new(Files { tracked: HashSet::new(), record, buffer: Vec::new() });
        Self { plan, files, syncs: AtomicU64::new(0), points: AtomicU64::new(0), counts: Default::default() }
    }

    pub(crate) fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a path is the folder or below it.
    pub(crate) fn concerns(&self, path: &[u8]) -> bool {
        path.starts_with(&self.plan.dir) || path == &self.plan.dir[..self.plan.dir.len() - 1]
    }

    /// The error that a call shall fail with, if any.
    pub(crate) fn failure(&self, operation: Operation, path: &[u8]) -> Option<Returned> {
        if self.plan.failures.is_empty() || !self.in_force() {
            return None;
        }
        let mut concerned =
            self.plan.failures.iter().filter(|f| f.operation == operation && contains(path, &f.part)).peekable();
        concerned.peek()?;
        let count = self.counts[operation as usize].fetch_add(1, Ordering::Relaxed) + 1;
        concerned.find(|failure| count >= failure.from).map(|failure| system::fail(failure.error))
    }

    /// A point at which a crash is telling: before a sync, or before a name comes, changes or goes. May not return.
    pub(crate) fn point(&self, path: &[u8]) {
        let Some((at, part)) = &self.plan.kill_at else { return };
        if !contains(path, part) || !self.in_force() {
            return;
        }
        let point = self.points.fetch_add(1, Ordering::Relaxed) + 1;
        if point == *at {
            // Whoever is in the middle of a change finishes it; the record stays whole.
            let _files = self.files();
            system::kill_self();
        }
    }

    /// Syncs by `call`, with all faults, and records it.
    pub(crate) fn sync(&self, fd: RawFd, call: impl FnOnce() -> Returned) -> Returned {
        let number = self.syncs.fetch_add(1, Ordering::Relaxed);
        let path = system::path_of(fd);
        if !self.concerns(&path) {
            return call();
        }
        self.point(&path);
        if let Some(failed) = self.failure(Operation::Sync, &path) {
            return failed;
        }
        let mut files = self.files();
        match files.inode(fd) {
            Some(inode) => files.append(&Entry::of_file(Kind::FileSync, inode, number, &[])),
            None => files.append(&Entry::of_path(Kind::FolderSync, number, &path)),
        }
        drop(files);
        if self.plan.slow_sync_ms > 0 && self.in_force() {
            system::sleep_ms(self.plan.slow_sync_ms);
        }
        let returned = call();
        if returned == 0 {
            self.files().append(&Entry::of_path(Kind::Synced, number, &[]));
        }
        returned
    }

    /// The free space to tell, if it is not the real one.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        self.plan.free_bytes.filter(|_| self.in_force())
    }

    fn in_force(&self) -> bool {
        self.plan.only_while.as_deref().is_none_or(system::exists)
    }
}

fn contains(path: &[u8], part: &[u8]) -> bool {
    part.is_empty() || path.windows(part.len()).any(|window| window == part)
}
