//! Reads what `perigee-faults` has recorded. The format is described in `crates/faults/src/record.rs`.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One change of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A file was opened for writing; it may be new.
    Opened {
        /// Which file.
        inode: u64,
        /// Its name.
        path: PathBuf,
        /// Whether it was emptied.
        truncated: bool,
    },
    /// Bytes were written.
    Written {
        /// Which file.
        inode: u64,
        /// Where, in bytes.
        offset: u64,
        /// What.
        data: Vec<u8>,
    },
    /// A file was cut, or extended by zeros.
    LengthSet {
        /// Which file.
        inode: u64,
        /// Its length.
        length: u64,
    },
    /// A file has at least this length.
    Allocated {
        /// Which file.
        inode: u64,
        /// Its least length.
        end: u64,
    },
    /// The sync of a file begins.
    FileSync {
        /// Which file.
        inode: u64,
        /// Number of the sync.
        sync: u64,
    },
    /// The sync of a folder begins.
    FolderSync {
        /// Which folder.
        path: PathBuf,
        /// Number of the sync.
        sync: u64,
    },
    /// A sync has ended well.
    Synced {
        /// Its number.
        sync: u64,
    },
    /// A file or folder was renamed.
    Renamed {
        /// Old name.
        from: PathBuf,
        /// New name.
        to: PathBuf,
    },
    /// A file was unlinked.
    Unlinked {
        /// Its name.
        path: PathBuf,
    },
    /// A folder was made.
    FolderMade {
        /// Its name.
        path: PathBuf,
    },
    /// A folder was removed.
    FolderRemoved {
        /// Its name.
        path: PathBuf,
    },
}

/// All changes, with the place in the record's file at which each ends.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// In their order.
    pub changes: Vec<Change>,
    /// Bytes of the record's file up to and with each change.
    pub ends: Vec<u64>,
}

impl Trace {
    /// Reads a record; an entry that is cut off at the end is left out.
    ///
    /// # Errors
    /// What the system says, or `InvalidData`.
    pub fn read(file: &Path) -> io::Result<Self> {
        let bytes = fs::read(file)?;
        let mut trace = Self::default();
        let mut reader = Reader { bytes: &bytes, at: 0 };
        while let Some(change) = reader.change()? {
            trace.changes.push(change);
            trace.ends.push(reader.at as u64);
        }
        Ok(trace)
    }

    /// How many changes the record's file held when it was `bytes` long.
    #[must_use]
    pub fn changes_within(&self, bytes: u64) -> usize {
        self.ends.partition_point(|end| *end <= bytes)
    }

    /// The moments at which a crash is most telling: right before and right after each sync has ended, and after each
    /// rename.
    #[must_use]
    pub fn crash_points(&self) -> Vec<CrashPoint> {
        let (mut names, mut syncs) = (HashMap::new(), HashMap::new());
        let mut points: Vec<CrashPoint> = Vec::new();
        for (place, change) in self.changes.iter().enumerate() {
            match change {
                Change::Opened { inode, path, .. } => drop(names.insert(*inode, path.clone())),
                Change::FileSync { inode, sync } => {
                    drop(syncs.insert(*sync, names.get(inode).cloned().unwrap_or_default()));
                }
                Change::FolderSync { path, sync } => drop(syncs.insert(*sync, path.clone())),
                Change::Synced { sync } => {
                    let path = syncs.remove(sync).unwrap_or_default();
                    points.extend([place, place + 1].map(|changes| CrashPoint { changes, path: path.clone() }));
                }
                Change::Renamed { to, .. } => points.push(CrashPoint { changes: place + 1, path: to.clone() }),
                _ => {}
            }
        }
        points.retain(|point| point.changes > 0);
        points.dedup_by_key(|point| point.changes);
        points
    }
}

/// A moment at which a crash is most telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashPoint {
    /// How many changes were made.
    pub changes: usize,
    /// The file or folder that is being synced or has got its name.
    pub path: PathBuf,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn change(&mut self) -> io::Result<Option<Change>> {
        let rest = &self.bytes[self.at..];
        let Some((header, body)) = rest.split_at_checked(25) else { return Ok(None) };
        let number = |at: usize, length: usize| {
            header[at..at + length].iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
        };
        let (inode, count) = (number(1, 8), number(9, 8));
        let (first, second) = (number(17, 4) as usize, number(21, 4) as usize);
        if body.len() < first + second {
            return Ok(None);
        }
        self.at += header.len() + first + second;
        let path = |bytes: &[u8]| PathBuf::from(String::from_utf8_lossy(bytes).into_owned());
        let (one, two) = (&body[..first], &body[first..first + second]);
        Ok(Some(match header[0] {
            1 => Change::Opened { inode, path: path(one), truncated: count == 1 },
            2 => Change::Written { inode, offset: count, data: one.to_vec() },
            3 => Change::LengthSet { inode, length: count },
            4 => Change::Allocated { inode, end: count },
            5 => Change::FileSync { inode, sync: count },
            6 => Change::FolderSync { path: path(one), sync: count },
            7 => Change::Synced { sync: count },
            8 => Change::Renamed { from: path(one), to: path(two) },
            9 => Change::Unlinked { path: path(one) },
            10 => Change::FolderMade { path: path(one) },
            11 => Change::FolderRemoved { path: path(one) },
            kind => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("kind {kind} in a record"))),
        }))
    }
}
