//! Files: positioned reads and writes, and exactly the durability that was asked for.

use std::any::Any;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file system. All calls block.
///
/// Nothing is durable until it is synced: bytes and length of a file by [`File::sync_data`], names (of files created,
/// renamed or removed) by [`Files::sync_dir`] of their directory.
pub trait Files: Send + Sync + 'static {
    /// Opens a file for reading and writing; with `create` makes an empty one where there is none.
    ///
    /// # Errors
    /// `NotFound` without `create` where there is no such file; else what the system says.
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>>;

    /// The names in a directory, sorted, without their path.
    ///
    /// # Errors
    /// `NotFound` where there is no such directory; else what the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates a directory and those above it; the names of new ones are durable on return.
    ///
    /// # Errors
    /// What the system says.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Renames a file, replacing the target at once.
    ///
    /// # Errors
    /// `NotFound` where there is no such file; else what the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Who has it open goes on reading it.
    ///
    /// # Errors
    /// `NotFound` where there is no such file; else what the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Whether there is a file or directory of this name.
    ///
    /// # Errors
    /// When it cannot be known.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Bytes free for us, and bytes in all, on the file system that holds `dir`.
    ///
    /// # Errors
    /// What the system says.
    fn available_bytes(&self, dir: &Path) -> io::Result<(u64, u64)>;

    /// Takes an exclusive lock named by a file, created where there is none; held until the guard drops or the process
    /// ends.
    ///
    /// # Errors
    /// `WouldBlock` when someone else holds it; else what the system says.
    fn lock(&self, path: &Path) -> io::Result<FileLock>;

    /// A whole file.
    ///
    /// # Errors
    /// `NotFound` where there is no such file; else what the system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, false)?;
        let length = usize::try_from(file.len()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match file.read_at(filled as u64, &mut bytes[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Replaces a file by `bytes`: after a crash it holds the old content or the new, never a mixture. Durable on return.
    ///
    /// Uses `<path>.tmp`; a leftover of that name may be removed by anyone.
    ///
    /// # Errors
    /// What the system says; the file then holds the old content or the new.
    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let file = self.open(&temporary, true)?;
        file.set_len(0)?;
        file.write_all_at(0, bytes)?;
        file.sync_data()?;
        self.rename(&temporary, path)?;
        match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => self.sync_dir(dir),
            _ => self.sync_dir(Path::new(".")),
        }
    }
}

/// An open file.
pub trait File: Send + Sync {
    /// Reads up to `buf.len()` bytes at `offset`; 0 at and behind the end.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`; the file grows as needed, a gap reads as zeros.
    ///
    /// # Errors
    /// What the system says; a part may have been written.
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes bytes and length durable (`fdatasync`).
    ///
    /// # Errors
    /// What the system says. What was written before is then in doubt **for ever**: a second call that succeeds proves
    /// nothing.
    fn sync_data(&self) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file is empty.
    ///
    /// # Errors
    /// What the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file, or extends it by zeros.
    ///
    /// # Errors
    /// What the system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reserves space up to `len`; a shorter file grows to it by zeros, a longer one is left alone.
    ///
    /// # Errors
    /// `StorageFull` where there is no room; else what the system says.
    fn allocate(&self, len: u64) -> io::Result<()>;
}

/// Holds a lock of [`Files::lock`] until it is dropped.
pub struct FileLock {
    _held: Box<dyn Any + Send + Sync>,
}

impl FileLock {
    /// A lock that is held as long as `held` lives.
    pub fn new(held: impl Any + Send + Sync) -> Self {
        Self { _held: Box::new(held) }
    }
}

impl fmt::Debug for FileLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileLock")
    }
}
