//! What fjall does not look at when it opens an LSM.
//!
//! It takes a folder without its version file for a new one, deletes a keyspace that its own catalog does not name, and
//! reads a keyspace's version file (which tables there are, and from when each is seen) without comparing it with the
//! checksum that `current` has of it. With data there, each of these is damage, and nothing may be deleted then: a person
//! may still want to look at it.
//!
//! ```text
//! current:  number of the version u64 | XXH3 of its file u128 | kind of checksum u8 = 0     little endian
//! ```

use std::fs;
use std::io;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use super::KvError;

/// Refuses an LSM that fjall would delete from, or whose version files are not what was written.
pub(super) fn before_open(dir: &Path) -> Result<(), KvError> {
    let keyspaces = dir.join("keyspaces");
    let data = keyspaces.join("1");
    let tables = data.join("tables");
    if tables.try_exists()? && tables.read_dir()?.next().is_some() {
        for needed in [dir.join("version"), keyspaces.join("0").join("current"), data.join("current")] {
            if !needed.try_exists()? {
                return Err(damaged(&needed, "it is missing"));
            }
        }
    }
    if keyspaces.try_exists()? {
        for keyspace in keyspaces.read_dir()? {
            check_version(&keyspace?.path())?;
        }
    }
    Ok(())
}

fn check_version(keyspace: &Path) -> Result<(), KvError> {
    let current = keyspace.join("current");
    let Some(bytes) = read(&current)? else { return Ok(()) };
    let parts = bytes.split_first_chunk::<8>().and_then(|(version, rest)| {
        let (checksum, rest) = rest.split_first_chunk::<16>()?;
        (rest == [0]).then(|| (u64::from_le_bytes(*version), u128::from_le_bytes(*checksum)))
    });
    let (version, checksum) = parts.ok_or_else(|| damaged(&current, "it is not of the form that it should have"))?;
    let file = keyspace.join(format!("v{version}"));
    let content = read(&file)?.ok_or_else(|| damaged(&current, &format!("{} is missing", file.display())))?;
    if xxh3_128(&content) == checksum {
        return Ok(());
    }
    Err(damaged(&file, &format!("it does not have the checksum that {} has of it", current.display())))
}

fn read(file: &Path) -> Result<Option<Vec<u8>>, KvError> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn damaged(file: &Path, what: &str) -> KvError {
    KvError::Damaged { what: format!("{}: {what}", file.display()) }
}
