//! Files in memory, with crashes and faults.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;

use super::disk::{Disk, Fault, FaultKind, Operation};
use super::random::SimRandom;
use crate::files::{File, FileLock, Files};

/// A disk in memory. [`SimFiles::crash`] loses what was not synced, sector by sector and name by name; faults and
/// flipped bits come on demand.
///
/// Stricter than the file systems we know, which is the point: a new file is lost unless its directory is synced, and
/// unsynced sectors survive in any combination. Directories themselves are durable at once.
pub struct SimFiles {
    disk: Arc<Mutex<Disk>>,
    locks: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl SimFiles {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::with(Disk::default())
    }

    fn with(disk: Disk) -> Arc<Self> {
        Arc::new(Self { disk: Arc::new(Mutex::new(disk)), locks: Arc::default() })
    }

    /// Another disk with the same content, synced and not. Faults and locks stay behind.
    #[must_use]
    pub fn fork(&self) -> Arc<Self> {
        let mut disk = self.disk.lock().clone();
        disk.faults.clear();
        Self::with(disk)
    }

    /// Power loss: of what was not synced a random part is kept. Files that are open fail from now on, locks are free.
    pub fn crash(&self, seed: u64) {
        self.disk.lock().crash(&mut SimRandom::new(seed));
        self.locks.lock().clear();
    }

    /// Lets a later call fail or take long. Faults are used up once each, in the order given.
    pub fn inject(&self, fault: Fault) {
        self.disk.lock().faults.push(fault);
    }

    /// Bounds the disk; writes past it fail with ENOSPC.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk.lock().capacity_bytes = bytes;
    }

    /// Flips one bit of a file, durably, as rot does.
    ///
    /// # Errors
    /// `NotFound` where there is no such file, `UnexpectedEof` behind its end.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let number = *disk.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        disk.inode(number)?.flip(bit)
    }

    fn fault(&self, operation: Operation, path: &Path) -> io::Result<()> {
        let fault = self.disk.lock().fault(operation, path);
        meet(fault)
    }
}

/// Sleeps for a slow call, fails for the others.
fn meet(fault: Option<FaultKind>) -> io::Result<()> {
    match fault {
        None => Ok(()),
        Some(FaultKind::Slow(duration)) => {
            thread::sleep(duration);
            Ok(())
        }
        Some(FaultKind::Io) => Err(io::Error::other("simulated input/output error")),
        Some(FaultKind::NoSpace) => Err(io::ErrorKind::StorageFull.into()),
    }
}

impl Files for SimFiles {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>> {
        let found = self.disk.lock().names.get(path).copied();
        if found.is_none() {
            if !create {
                return Err(io::ErrorKind::NotFound.into());
            }
            self.fault(Operation::Name, path)?;
        }
        let mut disk = self.disk.lock();
        let number = found.unwrap_or_else(|| disk.create(path));
        let epoch = disk.epoch;
        drop(disk);
        Ok(Arc::new(SimFile { disk: Arc::clone(&self.disk), path: path.to_owned(), number, epoch }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk.lock();
        if !disk.dirs.contains_key(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut names: BTreeSet<&Path> = disk.names.keys().map(PathBuf::as_path).collect();
        names.extend(disk.dirs.keys().map(PathBuf::as_path));
        names.retain(|path| path.parent() == Some(dir));
        Ok(names.iter().filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        for path in dir.ancestors() {
            disk.dirs.insert(path.to_owned(), ());
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fault(Operation::Name, to)?;
        self.disk.lock().rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.fault(Operation::Name, path)?;
        self.disk.lock().remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.fault(Operation::SyncDir, dir)?;
        self.disk.lock().sync_dir(dir);
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let disk = self.disk.lock();
        Ok(disk.names.contains_key(path) || disk.dirs.contains_key(path))
    }

    fn available_bytes(&self, _dir: &Path) -> io::Result<(u64, u64)> {
        let disk = self.disk.lock();
        let total = disk.capacity_bytes.unwrap_or(1 << 40);
        Ok((total.saturating_sub(disk.used_bytes()), total))
    }

    fn lock(&self, path: &Path) -> io::Result<FileLock> {
        if !self.locks.lock().insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(FileLock::new(SimLock { locks: Arc::clone(&self.locks), path: path.to_owned() }))
    }
}

struct SimLock {
    locks: Arc<Mutex<BTreeSet<PathBuf>>>,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.locks.lock().remove(&self.path);
    }
}

struct SimFile {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
    number: u64,
    epoch: u64,
}

impl SimFile {
    fn with<T>(&self, f: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.lock();
        if disk.epoch != self.epoch {
            return Err(io::Error::other("opened before a crash"));
        }
        f(&mut disk)
    }

    fn fault(&self, operation: Operation) -> io::Result<()> {
        let fault = self.with(|disk| Ok(disk.fault(operation, &self.path)))?;
        meet(fault)
    }
}

impl File for SimFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.fault(Operation::Read)?;
        self.with(|disk| Ok(disk.inode(self.number)?.read(offset, buf)))
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Err(e) = self.fault(Operation::Write) {
            // A write that fails may have got half of its way.
            self.with(|disk| {
                disk.inode(self.number)?.write(offset, &bytes[..bytes.len() / 2]);
                Ok(())
            })?;
            return Err(e);
        }
        self.with(|disk| {
            if disk.capacity_bytes.is_some_and(|capacity| disk.used_bytes() + bytes.len() as u64 > capacity) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.inode(self.number)?.write(offset, bytes);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let fault = self.fault(Operation::Sync);
        self.with(|disk| {
            let inode = disk.inode(self.number)?;
            if fault.is_err() {
                inode.sync_failed();
            } else {
                inode.sync();
            }
            Ok(())
        })?;
        fault
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|disk| Ok(disk.inode(self.number)?.len()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.fault(Operation::Resize)?;
        self.with(|disk| {
            disk.inode(self.number)?.set_len(len);
            Ok(())
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.fault(Operation::Resize)?;
        self.with(|disk| {
            let inode = disk.inode(self.number)?;
            if inode.len() < len {
                inode.set_len(len);
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIR: &str = "d";

    fn disk() -> Arc<SimFiles> {
        let files = SimFiles::new();
        files.create_dir_all(Path::new(DIR)).unwrap();
        files
    }

    fn path(name: &str) -> PathBuf {
        Path::new(DIR).join(name)
    }

    #[test]
    fn what_is_synced_survives() {
        for seed in 0..50 {
            let files = disk();
            let file = files.open(&path("a"), true).unwrap();
            file.write_all_at(0, &[1; 2048]).unwrap();
            file.sync_data().unwrap();
            files.sync_dir(Path::new(DIR)).unwrap();
            file.write_all_at(512, &[2; 1024]).unwrap();
            files.crash(seed);
            let bytes = files.read(&path("a")).unwrap();
            assert_eq!(bytes.len(), 2048);
            assert!(bytes[..512].iter().chain(&bytes[1536..]).all(|b| *b == 1));
            for sector in bytes.chunks(512) {
                assert!(sector.iter().all(|b| *b == sector[0]), "sectors are whole");
            }
            assert!(file.len().is_err(), "open files die with the process");
        }
    }

    #[test]
    fn unsynced_names_come_and_go() {
        let mut outcomes = BTreeSet::new();
        for seed in 0..50 {
            let files = disk();
            files.write_atomic(&path("a"), b"old").unwrap();
            let file = files.open(&path("b"), true).unwrap();
            file.write_all_at(0, b"new").unwrap();
            file.sync_data().unwrap();
            files.rename(&path("b"), &path("a")).unwrap();
            files.crash(seed);
            outcomes.insert(files.read(&path("a")).unwrap());
        }
        assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), [b"new".to_vec(), b"old".to_vec()]);
    }

    #[test]
    fn atomic_writes_are_atomic() {
        for seed in 0..50 {
            let files = disk();
            files.write_atomic(&path("a"), b"old").unwrap();
            let after = SimRandom::new(seed).below(4);
            let operation = [Operation::Name, Operation::Write, Operation::Sync, Operation::SyncDir][after as usize];
            files.inject(Fault { operation, path_contains: String::new(), after: 0, kind: FaultKind::Io });
            assert!(files.write_atomic(&path("a"), b"newer").is_err());
            files.crash(seed);
            let found = files.read(&path("a")).unwrap();
            assert!(found == b"old" || found == b"newer", "{found:?}");
        }
    }

    #[test]
    fn a_failed_sync_stays_failed() {
        let lost = (0..50).any(|seed| {
            let files = disk();
            let file = files.open(&path("a"), true).unwrap();
            files.sync_dir(Path::new(DIR)).unwrap();
            file.write_all_at(0, b"x").unwrap();
            files.inject(Fault {
                operation: Operation::Sync,
                path_contains: "a".into(),
                after: 0,
                kind: FaultKind::Io,
            });
            assert!(file.sync_data().is_err());
            file.sync_data().unwrap();
            files.crash(seed);
            files.read(&path("a")).unwrap() != b"x"
        });
        assert!(lost, "a later sync that succeeds does not save what an earlier one lost");
    }

    #[test]
    fn a_full_disk_says_so() {
        let files = disk();
        files.set_capacity(Some(1024));
        let file = files.open(&path("a"), true).unwrap();
        file.write_all_at(0, &[1; 512]).unwrap();
        assert_eq!(file.write_all_at(512, &[1; 1024]).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(files.available_bytes(Path::new(DIR)).unwrap(), (512, 1024));
    }
}
