//! The node's own folder.
//!
//! ```text
//! DIR/perigee.lock      held by the process that uses the folder
//! DIR/meta/format       "perigee 1": says that the folder is Perigee's, written first and removed last
//! DIR/meta/...          small facts: identity, vote, anchors
//! DIR/log/  lsm/  cold/ the log, the LSM, the local object store
//! DIR/lsm.new/          an LSM that is being made at the first start
//! DIR/tmp/              spilled queries; emptied at every start
//! DIR/damaged-<time>/   data that was damaged, set aside; never removed by us
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use perigee_runtime::{FileLock, Files};

use crate::failure::Failure;

const LOCK: &str = "perigee.lock";
const FORMAT: &str = "format";
/// Who the node is, in `meta/`: what log and LSM belong to.
const IDENTITY: &str = "identity";
const FORMAT_NOW: &str = "perigee 1\n";
/// Of the file system, not of anyone's data.
const LOST_AND_FOUND: &str = "lost+found";
const ASIDE: &str = "damaged-";

/// The folder, locked until this is dropped.
pub(crate) struct DataDir {
    root: PathBuf,
    _lock: FileLock,
}

impl DataDir {
    /// Locks the folder and makes what is missing in it; with `clean`, empties it first.
    ///
    /// # Errors
    /// [`Failure::DataDir`] when another process has it, or it holds something that is not Perigee's.
    pub(crate) fn open(files: &dyn Files, root: &Path, clean: bool) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::DataDir(format!("{}: {error}", root.display()));
        // Looked at before anything is written: a folder of someone else's stays as it is.
        if files.exists(root).map_err(failed)? {
            check_owner(files, root)?;
        }
        files.create_dir_all(root).map_err(failed)?;
        let lock = files.lock(&root.join(LOCK)).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                Failure::DataDir(format!("{} is in use by another perigee process", root.display()))
            }
            _ => failed(error),
        })?;
        // Another process may have been at work between the look and the lock.
        check_owner(files, root)?;
        if clean {
            empty(files, root).map_err(failed)?;
        }
        let dir = Self { root: root.to_owned(), _lock: lock };
        dir.prepare(files).map_err(failed)?;
        Ok(dir)
    }

    fn prepare(&self, files: &dyn Files) -> io::Result<()> {
        files.create_dir_all(&self.meta())?;
        let format = self.meta().join(FORMAT);
        if !files.exists(&format)? {
            files.write_atomic(&format, FORMAT_NOW.as_bytes())?;
        }
        for folder in [self.log(), self.lsm(), self.cold(), self.tmp()] {
            files.create_dir_all(&folder)?;
        }
        // What queries spilled before a crash is of no use to anyone.
        for entry in fs::read_dir(self.tmp())? {
            remove(&entry?.path())?;
        }
        Ok(())
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether no node has written data here yet.
    pub(crate) fn is_new(&self) -> io::Result<bool> {
        for folder in [self.log(), self.lsm()] {
            if fs::read_dir(folder)?.next().is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Segments of the log.
    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The LSM.
    pub(crate) fn lsm(&self) -> PathBuf {
        self.root.join("lsm")
    }

    /// The local object store.
    pub(crate) fn cold(&self) -> PathBuf {
        self.root.join("cold")
    }

    /// Folders of damaged data that were set aside.
    pub(crate) fn aside(&self) -> io::Result<Vec<PathBuf>> {
        let is_aside = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(ASIDE));
        let paths = fs::read_dir(&self.root)?.map(|entry| entry.map(|entry| entry.path()));
        paths.filter(|path| path.as_ref().map_or(true, is_aside)).collect()
    }

    /// Moves all data into a folder of its own, and says where: the next start finds an empty folder. The identity goes first, and
    /// log and LSM last: a crash in between leaves data of nobody, which is damaged too, and never an old name with a new log.
    pub(crate) fn set_aside(&self, files: &dyn Files) -> io::Result<PathBuf> {
        let name = chrono::Utc::now().format("damaged-%Y%m%dT%H%M%S%6fZ").to_string();
        let (aside, meta) = (self.root.join(&name), self.root.join(&name).join("meta"));
        files.create_dir_all(&meta)?;
        files.sync_dir(&self.root)?;
        let mut facts: Vec<PathBuf> =
            fs::read_dir(self.meta())?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        facts.sort_by_key(|path| !path.ends_with(IDENTITY));
        for path in facts.iter().filter(|path| !path.ends_with(FORMAT)) {
            files.rename(path, &meta.join(path.file_name().unwrap_or_default()))?;
            files.sync_dir(&self.meta())?;
        }
        files.sync_dir(&meta)?;
        let stays = |name: &str| [LOCK, LOST_AND_FOUND, "meta", "tmp"].contains(&name) || name.starts_with(ASIDE);
        let names = fs::read_dir(&self.root)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names: Vec<String> = names.collect::<io::Result<_>>()?;
        names.retain(|name| !stays(name));
        names.sort_by_key(|name| name == "log" || name == "lsm");
        for name in names {
            files.rename(&self.root.join(&name), &aside.join(&name))?;
            files.sync_dir(&self.root)?;
        }
        files.sync_dir(&aside)?;
        Ok(aside)
    }

    /// Small facts.
    pub(crate) fn meta(&self) -> PathBuf {
        self.root.join("meta")
    }

    /// Spilled queries.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }
}

/// Refuses a folder that holds data but no `meta/` of ours, or a format that this version does not know.
fn check_owner(files: &dyn Files, root: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::DataDir(format!("{}: {error}", root.display()));
    let format = root.join("meta").join(FORMAT);
    if files.exists(&format).map_err(failed)? {
        let text = files.read(&format).map_err(failed)?;
        if text == FORMAT_NOW.as_bytes() {
            return Ok(());
        }
        return Err(Failure::DataDir(format!(
            "{} says {:?}; this version of perigee knows {:?}",
            format.display(),
            String::from_utf8_lossy(&text).trim_end(),
            FORMAT_NOW.trim_end()
        )));
    }
    for name in files.list(root).map_err(failed)? {
        // A first start may have been interrupted before it wrote the format file.
        let leftover = name == LOCK || name == LOST_AND_FOUND || (name == "meta" && only_format(files, root));
        if !leftover {
            return Err(Failure::DataDir(format!(
                "{} is not empty and has no meta/ of perigee: nothing in it was touched",
                root.display()
            )));
        }
    }
    Ok(())
}

fn only_format(files: &dyn Files, root: &Path) -> bool {
    let names = files.list(&root.join("meta")).unwrap_or_default();
    names.iter().all(|name| name.strip_suffix(".tmp") == Some(FORMAT))
}

/// Removes all but the lock: the identity first, log and LSM behind all that belongs to them, so that nobody starts on a part
/// of what was there; `meta/format` goes last, so that an interrupted cleaning can be repeated.
fn empty(files: &dyn Files, root: &Path) -> io::Result<()> {
    let meta = root.join("meta");
    let mut facts = if files.exists(&meta)? { entries(&meta)? } else { Vec::new() };
    facts.retain(|path| !path.ends_with(FORMAT));
    facts.sort_by_key(|path| !path.ends_with(IDENTITY));
    let mut others = entries(root)?;
    others.retain(|path| ![LOCK, LOST_AND_FOUND, "meta"].iter().any(|name| path.ends_with(name)));
    others.sort_by_key(|path| path.ends_with("log") || path.ends_with("lsm"));
    for path in facts.iter().chain(&others) {
        remove(path)?;
        files.sync_dir(path.parent().unwrap_or(root))?;
    }
    if files.exists(&meta)? {
        remove(&meta)?;
    }
    files.sync_dir(root)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

#[cfg(test)]
mod tests {
    use perigee_runtime::SystemFiles;

    use super::*;

    fn open(root: &Path, clean: bool) -> Result<DataDir, String> {
        DataDir::open(&SystemFiles, root, clean).map_err(|failure| failure.to_string())
    }

    fn refused(root: &Path, clean: bool, part: &str) {
        let Err(text) = open(root, clean) else { panic!("{} was opened", root.display()) };
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }

    #[test]
    fn a_new_folder_is_made_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data/n1");
        let dir = open(&root, false).unwrap();
        for path in [dir.log(), dir.lsm(), dir.cold(), dir.meta(), dir.tmp()] {
            assert!(path.is_dir(), "{}", path.display());
        }
        fs::write(dir.log().join("x"), "x").unwrap();
        fs::write(dir.tmp().join("spilled"), "x").unwrap();
        drop(dir);
        let dir = open(&root, false).unwrap();
        assert!(dir.log().join("x").exists());
        assert!(!dir.tmp().join("spilled").exists());
    }

    #[test]
    fn a_second_process_is_kept_out() {
        let folder = tempfile::tempdir().unwrap();
        let dir = open(folder.path(), false).unwrap();
        refused(folder.path(), false, "in use");
        refused(folder.path(), true, "in use");
        drop(dir);
        open(folder.path(), false).unwrap();
    }

    #[test]
    fn cleaning_is_for_our_folders() {
        let folder = tempfile::tempdir().unwrap();
        let dir = open(folder.path(), true).unwrap();
        fs::write(dir.log().join("x"), "x").unwrap();
        fs::write(dir.meta().join("identity"), "x").unwrap();
        drop(dir);
        let dir = open(folder.path(), true).unwrap();
        assert!(!dir.log().join("x").exists());
        assert!(!dir.meta().join("identity").exists());
    }

    #[test]
    fn damaged_data_is_set_aside_and_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let dir = open(folder.path(), false).unwrap();
        for path in [dir.log().join("x"), dir.lsm().join("y"), dir.meta().join("identity"), dir.meta().join("vote")] {
            fs::write(path, "z").unwrap();
        }
        assert!(!dir.is_new().unwrap() && dir.aside().unwrap().is_empty());
        let kept = dir.set_aside(&SystemFiles).unwrap();
        for name in ["log/x", "lsm/y", "meta/identity", "meta/vote"] {
            assert!(kept.join(name).exists() && !folder.path().join(name).exists(), "{name}");
        }
        drop(dir);
        let dir = open(folder.path(), false).unwrap();
        assert!(dir.is_new().unwrap());
        // What was set aside stays there the next time.
        let again = dir.set_aside(&SystemFiles).unwrap();
        assert_ne!(again, kept);
        assert_eq!(dir.aside().unwrap().len(), 2);
        assert!(kept.join("log/x").exists());
    }

    #[test]
    fn a_folder_of_someone_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.tex"), "x").unwrap();
        refused(folder.path(), false, "not empty");
        refused(folder.path(), true, "not empty");
        fs::create_dir(folder.path().join("meta")).unwrap();
        fs::write(folder.path().join("meta/notes"), "x").unwrap();
        refused(folder.path(), true, "not empty");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing was added");
    }

    #[test]
    fn an_interrupted_first_start_is_repeated() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(LOCK), "").unwrap();
        fs::create_dir(folder.path().join("meta")).unwrap();
        fs::write(folder.path().join("meta/format.tmp"), "per").unwrap();
        open(folder.path(), false).unwrap();
    }

    #[test]
    fn a_later_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path(), false).unwrap());
        fs::write(folder.path().join("meta/format"), "perigee 2\n").unwrap();
        refused(folder.path(), false, "perigee 2");
        refused(folder.path(), true, "perigee 2");
    }
}
