//! Where cold files are, and what is kept in memory of them.
//!
//! A path in a manifest begins with the ids of the cluster that made the file. The manifests of a restored cluster name
//! files of the one that was backed up; its own copies of these stand under `inherited/` of its own ids. So no cluster
//! ever reads, lists or removes what another one needs, also where both have one bucket.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use parking_lot::Mutex;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use perigee_types::Oid;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::ColdError;
use super::read::FileVids;
use super::sums::FileSums;
use crate::objects::{Found, Objects};

/// The folder of files that the cluster before a restore has made.
const INHERITED: &str = "inherited";

/// Where cold files are.
pub struct ColdStore {
    objects: Arc<Objects>,
    /// The ids of this cluster and of its lineage: nothing outside of it is ever touched.
    prefix: String,
    pub(super) sums: Cache<String, Arc<FileSums>, SumsWeight>,
    pub(super) footers: Cache<String, Arc<ArrowReaderMetadata>, FooterWeight>,
    pub(super) vids: Cache<String, Arc<FileVids>, VidsWeight>,
    /// Tables that were exported, see [`export_of`](Self::export_of).
    exports: Mutex<HashMap<Oid, (i64, String)>>,
}

#[derive(Clone)]
pub(super) struct FooterWeight;

impl Weighter<String, Arc<ArrowReaderMetadata>> for FooterWeight {
    fn weight(&self, _: &String, footer: &Arc<ArrowReaderMetadata>) -> u64 {
        footer.metadata().memory_size().max(64) as u64
    }
}

#[derive(Clone)]
pub(super) struct SumsWeight;

impl Weighter<String, Arc<FileSums>> for SumsWeight {
    fn weight(&self, _: &String, sums: &Arc<FileSums>) -> u64 {
        sums.size_bytes() as u64
    }
}

#[derive(Clone)]
pub(super) struct VidsWeight;

impl Weighter<String, Arc<FileVids>> for VidsWeight {
    fn weight(&self, _: &String, vids: &Arc<FileVids>) -> u64 {
        vids.bytes().max(64) as u64
    }
}

impl fmt::Debug for ColdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ColdStore").field("location", &self.location()).field("prefix", &self.prefix).finish()
    }
}

impl ColdStore {
    /// The files under `prefix` of a store. `cache_bytes` bounds what is kept of checksums, footers and vids.
    #[must_use]
    pub fn new(objects: Arc<Objects>, prefix: &str, cache_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            objects,
            prefix: prefix.to_owned(),
            sums: Cache::with_weighter(256, cache_bytes / 16, SumsWeight),
            footers: Cache::with_weighter(256, cache_bytes / 4, FooterWeight),
            vids: Cache::with_weighter(256, cache_bytes / 16 * 11, VidsWeight),
            exports: Mutex::default(),
        })
    }

    /// The same in a folder, which is made where it is missing.
    ///
    /// # Errors
    /// [`ColdError::Away`]
    pub fn in_folder(folder: &Path, prefix: &str, cache_bytes: u64) -> Result<Arc<Self>, ColdError> {
        Ok(Self::new(Objects::in_folder(folder)?, prefix, cache_bytes))
    }

    /// Where new files go: the ids of this cluster and of its lineage.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Where the file stands that a manifest calls `path`.
    #[must_use]
    pub fn place<'a>(&self, path: &'a str) -> Cow<'a, str> {
        let own = path.strip_prefix(self.prefix.as_str()).is_some_and(|rest| rest.starts_with('/'));
        if own { Cow::Borrowed(path) } else { Cow::Owned(format!("{}/{INHERITED}/{path}", self.prefix)) }
    }

    /// The store itself, for who reads whole files: by [`place`](Self::place).
    #[must_use]
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        self.objects.store()
    }

    /// A file at its [`place`](Self::place) in a local folder; `None` in another store.
    pub(super) fn local_file(&self, place: &str) -> Option<PathBuf> {
        self.objects.folder().map(|folder| folder.join(place))
    }

    /// Where it is, for people.
    #[must_use]
    pub fn location(&self) -> &str {
        self.objects.location()
    }

    /// Whether only this machine can read it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.objects.is_local()
    }

    /// Writes a file that is not there yet. When this returns it is as durable as the store makes anything. Blocking.
    ///
    /// # Errors
    /// [`ColdError::Away`]
    pub fn put(&self, path: &str, bytes: Bytes) -> Result<(), ColdError> {
        Ok(self.objects.put(&self.place(path), bytes)?)
    }

    /// Reads part of a file. Blocking.
    ///
    /// # Errors
    /// [`ColdError::Missing`], [`ColdError::Away`]
    pub fn get(&self, path: &str, range: Range<u64>) -> Result<Bytes, ColdError> {
        Ok(self.objects.get(&self.place(path), range)?)
    }

    /// Reads all of a small file, which has at most `bytes_max`. Blocking.
    ///
    /// # Errors
    /// [`ColdError::Missing`], [`ColdError::Away`], [`ColdError::Damaged`] for a longer one
    pub fn get_all(&self, path: &str, bytes_max: u64) -> Result<Bytes, ColdError> {
        Ok(self.objects.get_all(&self.place(path), bytes_max)?)
    }

    /// Where a file stands, as programs of others name it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.objects.url(&self.place(path))
    }

    /// All files under a path of this cluster. Blocking.
    ///
    /// # Errors
    /// [`ColdError::Away`]
    pub fn list_under(&self, path: &str) -> Result<Vec<Found>, ColdError> {
        Ok(self.objects.list(path)?)
    }

    /// What this node knows of the tables that others can read: when the last export was made, in microseconds since the Unix
    /// epoch, and where it is.
    #[must_use]
    pub fn export_of(&self, table: Oid) -> Option<(i64, String)> {
        self.exports.lock().get(&table).cloned()
    }

    /// Notes an export of a table, or that there is none any more.
    pub fn note_export(&self, table: Oid, export: Option<(i64, String)>) {
        let mut exports = self.exports.lock();
        match export {
            Some(export) => drop(exports.insert(table, export)),
            None => drop(exports.remove(&table)),
        }
    }

    /// Removes a file; one that is not there is removed already. Blocking.
    ///
    /// # Errors
    /// [`ColdError::Away`]
    pub fn delete(&self, path: &str) -> Result<(), ColdError> {
        Ok(self.objects.delete(&self.place(path))?)
    }

    /// All files of this cluster, by where they stand. Blocking.
    ///
    /// # Errors
    /// [`ColdError::Away`]
    pub fn list(&self) -> Result<Vec<Found>, ColdError> {
        Ok(self.objects.list(&self.prefix)?)
    }

    /// Removes what uploads of this cluster have left that did not end: see [`Objects::remove_partial`].
    ///
    /// # Errors
    /// [`ColdError::Away`]
    pub fn remove_partial(&self, uploading: impl Fn(&str) -> bool) -> Result<usize, ColdError> {
        Ok(self.objects.remove_partial(&self.prefix, |found| uploading(&found.path))?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_another_cluster_stand_apart() {
        let folder = tempfile::tempdir().unwrap();
        let store = ColdStore::in_folder(folder.path(), "ab/1", 1 << 20).unwrap();
        assert_eq!(store.place("ab/1/5/1-x.parquet"), "ab/1/5/1-x.parquet");
        assert_eq!(store.place("ab/12/5/1-x.parquet"), "ab/1/inherited/ab/12/5/1-x.parquet");
        assert_eq!(store.place("cd/1/5/1-x.parquet"), "ab/1/inherited/cd/1/5/1-x.parquet");
    }
}
