//! A new LSM, whole or not at all.
//!
//! fjall makes its files one by one in their place: a crash between its journal and its version file leaves a folder that
//! it can never open again, and it syncs no folder that a keyspace is made in. So an LSM is made beside its place, synced
//! file by file and folder by folder, and takes its name last.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::KvError;

/// Makes an LSM by `make` where `dir` is missing or empty.
pub(super) fn where_missing(dir: &Path, make: impl FnOnce(&Path) -> Result<(), KvError>) -> Result<(), KvError> {
    if dir.try_exists()? && dir.read_dir()?.next().is_some() {
        return Ok(());
    }
    let unfinished = dir.with_extension("new");
    if unfinished.try_exists()? {
        fs::remove_dir_all(&unfinished)?;
    }
    fs::create_dir_all(&unfinished)?;
    make(&unfinished)?;
    sync_all(&unfinished)?;
    // An empty folder gives way.
    fs::rename(&unfinished, dir)?;
    sync_parent(dir)?;
    Ok(())
}

fn sync_all(dir: &Path) -> io::Result<()> {
    for entry in dir.read_dir()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { sync_all(&entry.path())? } else { File::open(entry.path())?.sync_all()? }
    }
    File::open(dir)?.sync_all()
}

fn sync_parent(dir: &Path) -> io::Result<()> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            dir.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_not_finished_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("lsm");
        let half = |path: &Path| {
            fs::write(path.join("journal"), "")?;
            Err(KvError::Stopped)
        };
        let whole = |path: &Path| Ok(fs::write(path.join("version"), "1")?);
        assert!(where_missing(&dir, half).is_err());
        assert!(!dir.exists());
        fs::create_dir(&dir).unwrap();
        where_missing(&dir, whole).unwrap();
        assert_eq!((names(&dir), names(folder.path())), (vec!["version".to_owned()], vec!["lsm".to_owned()]));
        where_missing(&dir, |_| panic!("it is there")).unwrap();
    }
}
