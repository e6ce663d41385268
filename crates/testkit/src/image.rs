//! Folders that a crash may leave.
//!
//! A kill leaves every change that was made. A power loss leaves of each file what was synced, and of what was not any
//! part: pages of 4 KiB and changes of length go one by one, so that a later write may be there without an earlier one
//! and a file may be long and empty. That is weaker than ext4 with `data=ordered`, where a length is on disk behind the
//! data that it covers, and knows nothing of its `auto_da_alloc`.
//!
//! Names go in order, in one of two ways:
//!
//! - *folder by folder* ([`Loss::All`], [`Loss::Some`]): each folder has its names up to a moment of its own. So do file
//!   systems that log a synced file by itself (btrfs, F2FS).
//! - *all together* ([`Loss::Journal`]): one moment for all folders of the file system, and whatever is known to be
//!   durable takes all before it along, because the journal has one order (ext4's jbd2, the log of XFS).
//!
//! A folder's sync keeps its names. A file's sync keeps its content, and the name that it was made with: POSIX does not
//! promise the latter, all four of these file systems do (collected in "File System Crash-Recovery Guarantees", Mohan and
//! others, linux-fsdevel, March 2019; ext4: a new inode belongs to the transaction that its first sync commits). A name
//! that it got later, by a rename, is kept by the folder's sync alone: `fdatasync` need not write it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::trace::Change;

const PAGE_BYTES: u64 = 4096;

/// What happens to changes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All are there: the process was killed.
    None,
    /// None is there.
    All,
    /// Each is there or not, by this seed; names folder by folder.
    Some(u64),
    /// Each is there or not, by this seed; names all together.
    Journal(u64),
}

/// A change of one file's content.
#[derive(Clone, Debug)]
enum Edit {
    Write { offset: u64, data: Vec<u8> },
    Length(u64),
    Grow(u64),
}

/// A file through all of its names.
#[derive(Clone, Debug, Default)]
struct Content {
    edits: Vec<Edit>,
    /// How many edits are on disk for sure.
    durable: usize,
    /// The folder that it was made in, and how many changes of names the folder had then, this one included.
    made: (PathBuf, usize),
}

/// A change of a folder's names.
#[derive(Clone, Debug)]
enum Naming {
    File(PathBuf, usize),
    Folder(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Debug, Default)]
struct Folder {
    namings: Vec<usize>,
    durable: usize,
}

/// Files and folders by name, as a crash leaves them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    files: BTreeMap<PathBuf, Bytes>,
    folders: BTreeSet<PathBuf>,
}

/// A file's bytes. What was reserved and never written is only a length: segments and journals are mostly that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bytes {
    written: Vec<u8>,
    /// At least that of `written`; the rest is zeros.
    length: u64,
}

impl Image {
    /// Writes the image to a folder, which is emptied.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, target: &Path) -> io::Result<()> {
        if target.exists() {
            fs::remove_dir_all(target)?;
        }
        fs::create_dir_all(target)?;
        for folder in &self.folders {
            fs::create_dir_all(target.join(folder))?;
        }
        for (name, bytes) in &self.files {
            let path = target.join(name);
            // A file may be there whose folder's own name was lost.
            match path.parent() {
                Some(parent) if parent.is_dir() => {
                    fs::write(&path, &bytes.written)?;
                    fs::OpenOptions::new().write(true).open(path)?.set_len(bytes.length)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What was written of a file.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.get(Path::new(name)).map(|bytes| bytes.written.as_slice())
    }

    /// The names of all files.
    pub fn names(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }
}

/// Changes up to a moment, from an empty folder on, sorted by what they belong to.
#[derive(Default)]
pub struct Replay {
    contents: Vec<Content>,
    /// The file that an inode is now; inodes are used again after their file is gone.
    inodes: HashMap<u64, usize>,
    /// Names as the process sees them.
    names: HashMap<PathBuf, usize>,
    namings: Vec<Naming>,
    folders: HashMap<PathBuf, Folder>,
    /// What a sync that has begun will make durable.
    syncs: HashMap<u64, Synced>,
}

enum Synced {
    Content(usize, usize),
    Names(PathBuf, usize),
}

impl Replay {
    /// Goes on by one change.
    pub fn take(&mut self, change: &Change) {
        match change {
            Change::Opened { inode, path, truncated } => {
                let file = self.opened(*inode, path);
                if *truncated {
                    self.edit(file, Edit::Length(0));
                }
            }
            Change::Written { inode, offset, data } => {
                if let Some(file) = self.inodes.get(inode).copied() {
                    self.write(file, *offset, data);
                }
            }
            Change::LengthSet { inode, length } => {
                if let Some(file) = self.inodes.get(inode).copied() {
                    self.edit(file, Edit::Length(*length));
                }
            }
            Change::Allocated { inode, end } => {
                if let Some(file) = self.inodes.get(inode).copied() {
                    self.edit(file, Edit::Grow(*end));
                }
            }
            Change::FileSync { inode, sync } => {
                if let Some(file) = self.inodes.get(inode).copied() {
                    self.syncs.insert(*sync, Synced::Content(file, self.contents[file].edits.len()));
                }
            }
            Change::FolderSync { path, sync } => {
                let count = self.folders.get(path).map_or(0, |folder| folder.namings.len());
                self.syncs.insert(*sync, Synced::Names(path.clone(), count));
            }
            Change::Synced { sync } => match self.syncs.remove(sync) {
                Some(Synced::Content(file, count)) => {
                    let content = &mut self.contents[file];
                    content.durable = content.durable.max(count);
                    let (folder, names) = content.made.clone();
                    self.names_durable(&folder, names);
                }
                Some(Synced::Names(path, count)) => self.names_durable(&path, count),
                None => {}
            },
            Change::Renamed { from, to } => self.renamed(from, to),
            Change::Unlinked { path } => {
                if let Some(file) = self.names.remove(path) {
                    // The inode may go to another file from here on; who has it open cannot be read any more.
                    self.inodes.retain(|_, known| *known != file);
                }
                self.name(path, Naming::Remove(path.clone()));
            }
            Change::FolderMade { path } => drop(self.name(path, Naming::Folder(path.clone()))),
            Change::FolderRemoved { path } => drop(self.name(path, Naming::Remove(path.clone()))),
        }
    }

    fn opened(&mut self, inode: u64, path: &Path) -> usize {
        if let Some(file) = self.names.get(path).copied()
            && self.inodes.get(&inode) == Some(&file)
        {
            return file;
        }
        let file = self.contents.len();
        self.contents.push(Content::default());
        self.inodes.insert(inode, file);
        self.names.insert(path.to_owned(), file);
        self.contents[file].made = self.name(path, Naming::File(path.to_owned(), file));
        file
    }

    fn names_durable(&mut self, folder: &Path, count: usize) {
        // A folder that got another name while it was synced is not found: its sync counts for nothing then.
        if let Some(folder) = self.folders.get_mut(folder) {
            folder.durable = folder.durable.max(count);
        }
    }

    fn write(&mut self, file: usize, offset: u64, data: &[u8]) {
        // By page, because a disk writes pages.
        let mut at = 0;
        while at < data.len() {
            let place = offset + at as u64;
            let page = (PAGE_BYTES - place % PAGE_BYTES) as usize;
            let end = data.len().min(at + page);
            self.edit(file, Edit::Write { offset: place, data: data[at..end].to_vec() });
            at = end;
        }
    }

    fn edit(&mut self, file: usize, edit: Edit) {
        self.contents[file].edits.push(edit);
    }

    /// Notes a change of names; gives its folder and how many the folder has now.
    fn name(&mut self, path: &Path, naming: Naming) -> (PathBuf, usize) {
        let number = self.namings.len();
        self.namings.push(naming);
        let path = path.parent().unwrap_or(path).to_owned();
        let folder = self.folders.entry(path.clone()).or_default();
        folder.namings.push(number);
        (path, folder.namings.len())
    }

    fn renamed(&mut self, from: &Path, to: &Path) {
        if let Some(file) = self.names.remove(from) {
            self.names.insert(to.to_owned(), file);
        } else {
            self.rename_folder(from, to);
        }
        self.name(to, Naming::Rename(from.to_owned(), to.to_owned()));
    }

    fn rename_folder(&mut self, from: &Path, to: &Path) {
        let moved: Vec<PathBuf> = self.names.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in moved {
            if let (Some(file), Ok(rest)) = (self.names.remove(&path), path.strip_prefix(from)) {
                self.names.insert(to.join(rest), file);
            }
        }
        // What is known of the folders themselves moves along.
        let moved: Vec<PathBuf> = self.folders.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in moved {
            if let (Some(folder), Ok(rest)) = (self.folders.remove(&path), path.strip_prefix(from)) {
                self.folders.insert(to.join(rest), folder);
            }
        }
        for content in &mut self.contents {
            if let Ok(rest) = content.made.0.strip_prefix(from) {
                content.made.0 = to.join(rest);
            }
        }
    }

    /// Which changes of names are there.
    fn kept(&self, loss: Loss, chance: &mut StdRng) -> HashSet<usize> {
        if let Loss::Journal(_) = loss {
            let durable = |folder: &Folder| folder.namings[..folder.durable].last().map_or(0, |last| last + 1);
            let durable = self.folders.values().map(durable).max().unwrap_or(0);
            return (0..chance.random_range(durable..=self.namings.len())).collect();
        }
        let mut kept = HashSet::new();
        // In a fixed order, so that a seed gives one image.
        let mut folders: Vec<_> = self.folders.iter().collect();
        folders.sort_by_key(|(path, _)| path.as_path());
        for (_, folder) in folders {
            let count = match loss {
                Loss::None => folder.namings.len(),
                Loss::All | Loss::Journal(_) => folder.durable,
                Loss::Some(_) => chance.random_range(folder.durable..=folder.namings.len()),
            };
            kept.extend(&folder.namings[..count]);
        }
        kept
    }

    /// What a crash at this moment leaves of the folder `root`.
    #[must_use]
    pub fn image(&self, root: &Path, loss: Loss) -> Image {
        let mut chance = StdRng::seed_from_u64(match loss {
            Loss::Some(seed) | Loss::Journal(seed) => seed,
            Loss::None | Loss::All => 0,
        });
        let kept = self.kept(loss, &mut chance);
        let mut names: BTreeMap<PathBuf, usize> = BTreeMap::new();
        let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
        for naming in self.namings.iter().enumerate().filter(|(number, _)| kept.contains(number)).map(|(_, n)| n) {
            match naming {
                Naming::File(path, file) => drop(names.insert(path.clone(), *file)),
                Naming::Folder(path) => drop(folders.insert(path.clone())),
                Naming::Remove(path) => {
                    names.remove(path);
                    folders.remove(path);
                }
                Naming::Rename(from, to) => rename(&mut names, &mut folders, from, to),
            }
        }
        let relative = |path: &Path| path.strip_prefix(root).map(Path::to_owned).ok();
        let mut files = BTreeMap::new();
        for (path, file) in names {
            let bytes = self.contents[file].bytes(loss, &mut chance);
            if let Some(name) = relative(&path) {
                files.insert(name, bytes);
            }
        }
        Image { files, folders: folders.iter().filter_map(|path| relative(path)).collect() }
    }
}

fn rename(names: &mut BTreeMap<PathBuf, usize>, folders: &mut BTreeSet<PathBuf>, from: &Path, to: &Path) {
    if let Some(file) = names.remove(from) {
        names.insert(to.to_owned(), file);
        return;
    }
    let moved = |path: &Path| path.strip_prefix(from).map(|rest| to.join(rest)).ok();
    let all = std::mem::take(names);
    names.extend(all.into_iter().map(|(path, file)| (moved(&path).unwrap_or(path), file)));
    let all = std::mem::take(folders);
    folders.extend(all.into_iter().map(|path| moved(&path).unwrap_or(path)));
}

impl Content {
    fn bytes(&self, loss: Loss, chance: &mut StdRng) -> Bytes {
        let mut bytes = Bytes::default();
        for (place, edit) in self.edits.iter().enumerate() {
            let kept = place < self.durable
                || match loss {
                    Loss::None => true,
                    Loss::All => false,
                    Loss::Some(_) | Loss::Journal(_) => chance.random_bool(0.5),
                };
            if kept {
                edit.apply(&mut bytes);
            }
        }
        bytes
    }
}

impl Edit {
    fn apply(&self, Bytes { written, length }: &mut Bytes) {
        match self {
            Self::Write { offset, data } => {
                let (start, end) = (*offset as usize, *offset as usize + data.len());
                if written.len() < end {
                    written.resize(end, 0);
                }
                written[start..end].copy_from_slice(data);
                *length = (*length).max(end as u64);
            }
            Self::Length(to) => {
                written.truncate(*to as usize);
                *length = *to;
            }
            Self::Grow(end) => *length = (*length).max(*end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        Path::new("/d").join(name)
    }

    fn opened(inode: u64, name: &str) -> Change {
        Change::Opened { inode, path: path(name), truncated: false }
    }

    fn written(inode: u64, offset: u64, data: &[u8]) -> Change {
        Change::Written { inode, offset, data: data.to_vec() }
    }

    fn file_sync(inode: u64, sync: u64) -> [Change; 2] {
        [Change::FileSync { inode, sync }, Change::Synced { sync }]
    }

    fn folder_sync(name: &str, sync: u64) -> [Change; 2] {
        [Change::FolderSync { path: path(name), sync }, Change::Synced { sync }]
    }

    fn image(changes: &[Change], loss: Loss) -> Image {
        let mut replay = Replay::default();
        changes.iter().for_each(|change| replay.take(change));
        replay.image(Path::new("/d"), loss)
    }

    #[test]
    fn a_kill_loses_nothing() {
        let changes = [opened(1, "a"), written(1, 0, b"one"), written(1, 3, b"two")];
        assert_eq!(image(&changes, Loss::None).file("a"), Some(&b"onetwo"[..]));
    }

    #[test]
    fn what_was_not_synced_may_be_gone() {
        let mut changes = vec![opened(1, "a"), written(1, 0, b"one")];
        assert_eq!(image(&changes, Loss::All).file("a"), None, "not even its name");
        changes.extend(folder_sync("", 1));
        assert_eq!(image(&changes, Loss::All).file("a"), Some(&b""[..]));
        changes.extend(file_sync(1, 2));
        changes.push(written(1, 3, b"two"));
        assert_eq!(image(&changes, Loss::All).file("a"), Some(&b"one"[..]));
    }

    #[test]
    fn a_sync_covers_what_was_written_before_it_began() {
        let mut changes = vec![opened(1, "a"), written(1, 0, b"one")];
        changes.extend(folder_sync("", 1));
        changes.push(Change::FileSync { inode: 1, sync: 2 });
        changes.push(written(1, 3, b"two"));
        assert_eq!(image(&changes, Loss::All).file("a"), Some(&b""[..]), "it has not ended");
        changes.push(Change::Synced { sync: 2 });
        assert_eq!(image(&changes, Loss::All).file("a"), Some(&b"one"[..]));
    }

    #[test]
    fn pages_are_lost_one_by_one() {
        let mut changes = vec![opened(1, "a")];
        changes.extend(folder_sync("", 1));
        changes.push(written(1, 0, &[1; 8 * 4096]));
        let some = |seed| image(&changes, Loss::Some(seed)).file("a").unwrap().to_vec();
        assert_eq!(some(7), some(7), "one seed gives one image");
        let holes = (0..20).any(|seed| {
            let bytes = some(seed);
            let pages: Vec<u8> = bytes.chunks(4096).map(|page| page[0]).collect();
            assert!(bytes.chunks(4096).all(|page| page.iter().all(|byte| *byte == page[0])));
            pages.windows(2).any(|pair| pair == [0, 1])
        });
        assert!(holes, "a later page is there without an earlier one");
    }

    #[test]
    fn a_rename_replaces_or_does_not() {
        let mut changes = vec![opened(1, "a"), written(1, 0, b"old")];
        changes.extend(file_sync(1, 1));
        changes.extend(folder_sync("", 2));
        changes.extend([opened(2, "a.tmp"), written(2, 0, b"new")]);
        changes.extend(file_sync(2, 3));
        changes.push(Change::Renamed { from: path("a.tmp"), to: path("a") });
        assert_eq!(image(&changes, Loss::None).file("a"), Some(&b"new"[..]));
        assert_eq!(image(&changes, Loss::All).file("a"), Some(&b"old"[..]));
        for seed in 0..20 {
            let bytes = image(&changes, Loss::Some(seed)).file("a").map(<[u8]>::to_vec);
            assert!(matches!(bytes.as_deref(), Some(b"old" | b"new")), "{bytes:?}");
        }
        changes.extend(folder_sync("", 4));
        assert_eq!(image(&changes, Loss::All).file("a"), Some(&b"new"[..]));
    }

    #[test]
    fn an_inode_is_used_again() {
        let changes = [
            opened(1, "a"),
            written(1, 0, b"first"),
            Change::Unlinked { path: path("a") },
            opened(1, "b"),
            written(1, 0, b"2"),
        ];
        let image = image(&changes, Loss::None);
        assert_eq!((image.file("a"), image.file("b")), (None, Some(&b"2"[..])));
    }

    #[test]
    fn a_sync_keeps_the_name_that_a_file_was_made_with() {
        let mut changes = vec![opened(1, "x/a"), written(1, 0, b"1")];
        changes.extend(file_sync(1, 1));
        assert_eq!(image(&changes, Loss::All).file("x/a"), Some(&b"1"[..]));
        changes.push(Change::Renamed { from: path("x/a"), to: path("x/b") });
        changes.extend(file_sync(1, 2));
        assert_eq!(image(&changes, Loss::All).file("x/b"), None, "a rename is the folder's");
        changes.extend(folder_sync("x", 3));
        assert_eq!(image(&changes, Loss::All).file("x/b"), Some(&b"1"[..]));
    }

    #[test]
    fn a_journal_has_one_order_for_all_folders() {
        let mut changes = vec![opened(1, "x/a"), opened(2, "y/b"), opened(3, "x/c")];
        let names = |changes: &[Change], loss| image(changes, loss).names().map(Path::to_owned).collect::<Vec<_>>();
        let all = ["x/a", "x/c", "y/b"].map(PathBuf::from);
        let mut seen = BTreeSet::new();
        for seed in 0..50 {
            let names = names(&changes, Loss::Journal(seed));
            assert!(!names.contains(&all[1]) || names == all, "{names:?}");
            seen.insert(names);
        }
        assert_eq!(seen.len(), 4, "{seen:?}");
        assert!((0..50).any(|seed| names(&changes, Loss::Some(seed)) == all[..2]), "folders go one by one");
        changes.extend(folder_sync("y", 1));
        assert!((0..50).all(|seed| names(&changes, Loss::Journal(seed)).len() >= 2), "what was before is taken along");
    }

    #[test]
    fn folders_move_with_what_is_in_them() {
        let changes = [
            Change::FolderMade { path: path("x") },
            opened(1, "x/a"),
            written(1, 0, b"1"),
            Change::Renamed { from: path("x"), to: path("y") },
            written(1, 1, b"2"),
        ];
        assert_eq!(image(&changes, Loss::None).file("y/a"), Some(&b"12"[..]));
    }

    #[test]
    fn an_image_is_written_as_a_folder() {
        let mut changes = vec![Change::FolderMade { path: path("x") }, opened(1, "x/a"), written(1, 0, b"1")];
        changes.push(Change::FolderMade { path: path("empty") });
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("image");
        image(&changes, Loss::None).write(&target).unwrap();
        assert_eq!(fs::read(target.join("x/a")).unwrap(), b"1");
        assert!(target.join("empty").is_dir());
    }
}
