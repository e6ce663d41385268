//! What the simulated disk holds: for each file the sectors as the process sees them, and what a crash may bring back.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::SECTOR_BYTES;
use super::random::SimRandom;

type Sector = Box<[u8; SECTOR_BYTES]>;

/// A kind of call, for [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `read_at`
    Read,
    /// `write_all_at`
    Write,
    /// `sync_data`
    Sync,
    /// `allocate`, `set_len`
    Resize,
    /// `open` that creates, `rename`, `remove`
    Name,
    /// `sync_dir`
    SyncDir,
}

/// What happens to a call that meets a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// EIO. A write leaves some of its sectors behind; what a sync did not sync is marked clean and never synced again.
    Io,
    /// ENOSPC.
    NoSpace,
    /// The call takes this long (really: the thread sleeps) and succeeds.
    Slow(Duration),
}

/// A fault waiting for its call.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The kind of call.
    pub operation: Operation,
    /// Only paths that contain this; empty: all.
    pub path_contains: String,
    /// How many such calls pass before.
    pub after: u64,
    /// What happens.
    pub kind: FaultKind,
}

/// One version that a crash may bring back, oldest first: the durable one, then those written and never synced.
#[derive(Clone, Default)]
struct Unsynced {
    versions: Vec<Option<Sector>>,
    /// A sync failed on it: the kernel believes that it is clean.
    forgotten: bool,
}

/// A file, known by number as names come and go.
#[derive(Clone, Default)]
pub(super) struct Inode {
    len: u64,
    len_durable: u64,
    sectors: BTreeMap<u64, Sector>,
    unsynced: BTreeMap<u64, Unsynced>,
}

impl Inode {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let count = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        for_each_sector(offset, count, |sector, within, range| match self.sectors.get(&sector) {
            Some(bytes) => buf[range.clone()].copy_from_slice(&bytes[within..within + range.len()]),
            None => buf[range].fill(0),
        });
        count
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for_each_sector(offset, bytes.len(), |sector, within, range| {
            let old = self.sectors.get(&sector).cloned();
            let mut new = old.clone().unwrap_or_else(|| Box::new([0; SECTOR_BYTES]));
            new[within..within + range.len()].copy_from_slice(&bytes[range]);
            let unsynced = self.unsynced.entry(sector).or_default();
            unsynced.versions.push(old);
            unsynced.forgotten = false;
            self.sectors.insert(sector, new);
        });
        self.len = self.len.max(offset + bytes.len() as u64);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let partial = len % SECTOR_BYTES as u64;
            if partial != 0 {
                let zeros = vec![0; SECTOR_BYTES - partial as usize];
                self.write(len, &zeros);
            }
            let first_gone = len.div_ceil(SECTOR_BYTES as u64);
            for (sector, bytes) in self.sectors.split_off(&first_gone) {
                self.unsynced.entry(sector).or_default().versions.push(Some(bytes));
            }
        }
        self.len = len;
    }

    /// Flips a bit of what is there; what was not synced stays so.
    pub(super) fn flip(&mut self, bit: u64) -> io::Result<()> {
        if bit / 8 >= self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let sector = self.sectors.entry(bit / 8 / SECTOR_BYTES as u64).or_insert_with(|| Box::new([0; SECTOR_BYTES]));
        sector[(bit / 8 % SECTOR_BYTES as u64) as usize] ^= 1 << (bit % 8);
        Ok(())
    }

    pub(super) fn sync(&mut self) {
        self.unsynced.retain(|_, sector| sector.forgotten);
        self.len_durable = self.len;
    }

    pub(super) fn sync_failed(&mut self) {
        self.unsynced.values_mut().for_each(|sector| sector.forgotten = true);
    }

    /// Keeps of every unsynced sector one of its versions, and one of the two lengths.
    fn crash(&mut self, random: &mut SimRandom) {
        for (sector, unsynced) in std::mem::take(&mut self.unsynced) {
            let choice = random.below(unsynced.versions.len() as u64 + 1) as usize;
            if let Some(version) = unsynced.versions.into_iter().nth(choice) {
                match version {
                    Some(bytes) => self.sectors.insert(sector, bytes),
                    None => self.sectors.remove(&sector),
                };
            }
        }
        if random.one_in(2) {
            self.len = self.len_durable;
        }
        // What was cut away does not come back when the file grows again.
        let first_gone = self.len.div_ceil(SECTOR_BYTES as u64);
        self.sectors.split_off(&first_gone);
        self.len_durable = self.len;
    }

    /// Bytes that are really there.
    fn used_bytes(&self) -> u64 {
        (self.sectors.len() * SECTOR_BYTES) as u64
    }
}

fn for_each_sector(offset: u64, count: usize, mut f: impl FnMut(u64, usize, std::ops::Range<usize>)) {
    let mut done = 0;
    while done < count {
        let at = offset + done as u64;
        let within = (at % SECTOR_BYTES as u64) as usize;
        let n = (SECTOR_BYTES - within).min(count - done);
        f(at / SECTOR_BYTES as u64, within, done..done + n);
        done += n;
    }
}

/// A change of names that its directory was not synced for.
#[derive(Clone)]
enum NameChange {
    Link(PathBuf, u64),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, u64),
}

/// Names and files.
#[derive(Clone, Default)]
pub(super) struct Disk {
    pub(super) names: BTreeMap<PathBuf, u64>,
    names_durable: BTreeMap<PathBuf, u64>,
    unsynced_names: Vec<(PathBuf, NameChange)>,
    pub(super) dirs: BTreeMap<PathBuf, ()>,
    pub(super) inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    pub(super) faults: Vec<Fault>,
    pub(super) capacity_bytes: Option<u64>,
    /// Counts crashes: what was opened before one is dead.
    pub(super) epoch: u64,
}

impl Disk {
    /// Finds the fault for a call, if one is due. `Slow` is handed back to be slept outside of the disk's lock.
    pub(super) fn fault(&mut self, operation: Operation, path: &Path) -> Option<FaultKind> {
        let path = path.to_string_lossy();
        let mut due = None;
        for (i, fault) in self.faults.iter_mut().enumerate() {
            if fault.operation == operation && path.contains(&fault.path_contains) {
                if fault.after == 0 && due.is_none() {
                    due = Some((i, fault.kind));
                } else {
                    fault.after = fault.after.saturating_sub(1);
                }
            }
        }
        let (i, kind) = due?;
        self.faults.remove(i);
        Some(kind)
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.inodes.values().map(Inode::used_bytes).sum()
    }

    pub(super) fn inode(&mut self, number: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&number).ok_or_else(|| io::Error::other("the file was lost in a crash"))
    }

    pub(super) fn create(&mut self, path: &Path) -> u64 {
        self.next_inode += 1;
        let number = self.next_inode;
        self.inodes.insert(number, Inode::default());
        self.names.insert(path.to_owned(), number);
        self.unsynced_names.push((parent(path), NameChange::Link(path.to_owned(), number)));
        number
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let number = self.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        self.names.insert(to.to_owned(), number);
        self.unsynced_names.push((parent(to), NameChange::Rename(from.to_owned(), to.to_owned(), number)));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        self.unsynced_names.push((parent(path), NameChange::Unlink(path.to_owned())));
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) {
        let (synced, rest) = std::mem::take(&mut self.unsynced_names).into_iter().partition(|(d, _)| d == dir);
        self.unsynced_names = rest;
        let synced: Vec<(PathBuf, NameChange)> = synced;
        for (_, change) in synced {
            apply(&mut self.names_durable, change);
        }
    }

    /// Power loss: keeps a random part of what was not synced.
    pub(super) fn crash(&mut self, random: &mut SimRandom) {
        self.epoch += 1;
        self.faults.clear();
        for (_, change) in std::mem::take(&mut self.unsynced_names) {
            if random.one_in(2) {
                apply(&mut self.names_durable, change);
            }
        }
        self.names = self.names_durable.clone();
        let named: std::collections::BTreeSet<u64> = self.names.values().copied().collect();
        self.inodes.retain(|number, _| named.contains(number));
        self.inodes.values_mut().for_each(|inode| inode.crash(random));
    }
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, change: NameChange) {
    match change {
        NameChange::Link(path, number) => {
            names.insert(path, number);
        }
        NameChange::Unlink(path) => {
            names.remove(&path);
        }
        NameChange::Rename(from, to, number) => {
            if names.get(&from) == Some(&number) {
                names.remove(&from);
            }
            names.insert(to, number);
        }
    }
}

/// The directory that holds a name.
pub(super) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    }
}
