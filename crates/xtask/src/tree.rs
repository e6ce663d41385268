//! The files of the repository, as far as they are its own.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Folders of tools and of running nodes.
const NOT_OURS: [&str; 6] = ["target", ".git", ".work", "data", "node_modules", "__pycache__"];
/// Larger files are data.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Text files by path, relative to the repository, with `/` between folders.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    files: BTreeMap<String, String>,
    /// Everything that exists, folders and files that are not text too.
    names: std::collections::BTreeSet<String>,
}

impl Tree {
    /// The tree that this crate was built from.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_repository() -> io::Result<Self> {
        Self::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
    }

    /// The tree below `root`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        tree.read_folder(root, "")?;
        Ok(tree)
    }

    /// A made-up tree, for tests.
    #[must_use]
    pub fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::default();
        for (path, text) in files {
            tree.add(path, Some((*text).to_owned()));
        }
        tree
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = format!("{prefix}{name}");
            // In a second worktree it is a file.
            if path == ".git" {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                // A folder called `data` inside of a crate is the crate's.
                if NOT_OURS.contains(&name.as_str()) && (prefix.is_empty() || name == "__pycache__") {
                    continue;
                }
                self.names.insert(path.clone());
                self.read_folder(&entry.path(), &format!("{path}/"))?;
            } else {
                let small = entry.metadata()?.len() <= FILE_BYTES_MAX;
                let text = if small { std::fs::read(entry.path())? } else { Vec::new() };
                self.add(&path, String::from_utf8(text).ok().filter(|text| !text.contains('\0')));
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &str, text: Option<String>) {
        let mut name = path;
        self.names.insert(name.to_owned());
        while let Some((folder, _)) = name.rsplit_once('/') {
            self.names.insert(folder.to_owned());
            name = folder;
        }
        if let Some(text) = text {
            self.files.insert(path.to_owned(), text);
        }
    }

    /// All text files.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// One text file.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether there is a file or folder of this name.
    #[must_use]
    pub fn exists(&self, path: &str) -> bool {
        self.names.contains(path.trim_end_matches('/'))
    }
}
