//! The engine on disk: one fjall keyspace with its large values apart.
//!
//! Every run is one `start_ingestion`: its tables are written beside the live ones and registered by one switch of the
//! version file, in the order tables, blobs, version, directory, `current`, each synced before the next. Reads go through
//! a snapshot, because a plain read of fjall may see half of a write. Nothing is written through `insert`, `batch`,
//! `clear` or `drop_range`, so the journal stays empty and an idle engine writes nothing.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fjall::config::{BlockSizePolicy, CompressionPolicy, PartitioningPolicy};
use fjall::{
    AbstractTree, CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode,
    Readable, Slice,
};
use parking_lot::Mutex;

use super::filter::{Dropped, DroppedKeys};
use super::run::CheckedRun;
use super::{DroppedSet, KvEngine, KvError, KvIter, RunItem, create, iter, verify};

/// The one keyspace.
const KEYSPACE: &str = "data";

/// A value from here on keeps its own allocation when it leaves fjall; a shorter one is cheaper to copy.
const SHARE_BYTES: usize = 512;

/// How an LSM is opened.
#[derive(Clone, Debug)]
pub struct KvOptions {
    /// Bytes of the block cache.
    pub cache_bytes: u64,
    /// Values of at least this many bytes are kept out of the sorted tables, so that compaction does not copy them.
    /// Fixed when the folder is created.
    pub separation_bytes: u32,
    /// Compaction threads. With more than one, fjall keeps a core busy while a compaction is queued behind another.
    pub workers: usize,
    /// Files that are kept open; at least 10.
    pub open_files: usize,
}

impl Default for KvOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, separation_bytes: 16 << 10, workers: 1, open_files: 512 }
    }
}

/// An LSM in a folder.
pub struct FjallKv {
    database: Database,
    keyspace: Keyspace,
    dir: PathBuf,
    dropped: Dropped,
    writer: Mutex<()>,
}

impl FjallKv {
    /// Opens the LSM in `dir`, which is created where it is missing or empty, with `dir.new` as its place until it is whole.
    ///
    /// # Errors
    /// [`KvError::Damaged`] where files are missing or their bytes are not what was written, and nothing is deleted then;
    /// [`KvError::Locked`]; [`KvError::Io`].
    pub fn open(dir: &Path, options: &KvOptions) -> Result<Self, KvError> {
        verify::before_open(dir)?;
        create::where_missing(dir, |new| Self::open_in_place(new, options).map(drop))?;
        Self::open_in_place(dir, options)
    }

    fn open_in_place(dir: &Path, options: &KvOptions) -> Result<Self, KvError> {
        let dropped = Dropped::default();
        let filter = DroppedKeys::factory(dropped.clone());
        let database = Database::builder(dir)
            .cache_size(options.cache_bytes)
            .worker_threads(options.workers.max(1))
            .max_cached_files(Some(options.open_files.max(10)))
            .manual_journal_persist(true)
            .with_compaction_filter_factories(Arc::new(move |_| Some(Arc::clone(&filter) as _)))
            .open()
            .map_err(|e| typed(e, dir, "open"))?;
        let keyspace = database.keyspace(KEYSPACE, || keyspace_options(options)).map_err(|e| typed(e, dir, "open"))?;
        Ok(Self { database, keyspace, dir: dir.to_owned(), dropped, writer: Mutex::new(()) })
    }

    fn damage(&self, error: fjall::Error, key: &[u8]) -> KvError {
        typed(error, &self.dir, &format!("key {}", shown(key)))
    }
}

impl KvEngine for FjallKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        if key.is_empty() || key.len() > super::KEY_BYTES_MAX {
            return Ok(None);
        }
        let found = self.database.snapshot().get(&self.keyspace, key).map_err(|e| self.damage(e, key))?;
        Ok(found.map(to_bytes))
    }

    fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> KvIter {
        let Some((from, to)) = iter::usable(from, to) else { return Box::new(std::iter::empty()) };
        let inner = self.database.snapshot().range::<&[u8], _>(&self.keyspace, (from, to));
        let dir = self.dir.clone();
        let from = from.map(<[u8]>::to_vec);
        Box::new(inner.map(move |guard| match guard.into_inner() {
            Ok((key, value)) => Ok((to_bytes(key), to_bytes(value))),
            Err(error) => Err(typed(error, &dir, &scan_place(&from))),
        }))
    }

    fn ingest(&self, run: &mut dyn Iterator<Item = RunItem>) -> Result<u64, KvError> {
        let _one_at_a_time = self.writer.lock();
        self.check()?;
        let failed = |error| typed(error, &self.dir, "ingest");
        let mut run = CheckedRun::new(run);
        let mut item = run.next()?;
        if item.is_none() {
            return Ok(0);
        }
        let mut ingestion = self.keyspace.start_ingestion().map_err(failed)?;
        while let Some((key, value)) = item {
            match value {
                Some(value) => ingestion.write(key, Slice::from(value.as_ref())),
                None => ingestion.write_tombstone(key),
            }
            .map_err(failed)?;
            item = run.next()?;
        }
        ingestion.finish().map_err(failed)?;
        Ok(run.bytes)
    }

    fn disk_bytes(&self) -> u64 {
        self.keyspace.disk_space()
    }

    fn runs_waiting(&self) -> usize {
        self.keyspace.tree.l0_run_count()
    }

    fn dropped(&self, oids: DroppedSet) {
        self.dropped.set(oids);
    }

    fn compact(&self) -> Result<(), KvError> {
        self.keyspace.major_compact().map_err(|e| typed(e, &self.dir, "compact"))
    }

    fn check(&self) -> Result<(), KvError> {
        // The journal is empty, so this writes nothing; it is the one call that tells a poisoned database.
        self.database.persist(PersistMode::Buffer).map_err(|e| typed(e, &self.dir, "check"))
    }
}

fn keyspace_options(options: &KvOptions) -> KeyspaceCreateOptions {
    // Columns arrive compressed; what stays in the tables is small and worth lz4 below the first levels.
    let separation = KvSeparationOptions::default()
        .separation_threshold(options.separation_bytes)
        .compression(CompressionType::None);
    KeyspaceCreateOptions::default()
        .manual_journal_persist(true)
        .data_block_size_policy(BlockSizePolicy::all(4 << 10))
        // fjall does not pin the filter and index of an ingested table. Whole, they are MiBs that a `get` reads, checks
        // and throws out of a small cache again (measured: 3 ms a get with 1 MiB of cache); in parts, a few KiB.
        .filter_block_partitioning_policy(PartitioningPolicy::all(true))
        .index_block_partitioning_policy(PartitioningPolicy::all(true))
        .data_block_compression_policy(CompressionPolicy::new([
            CompressionType::None,
            CompressionType::Lz4,
            CompressionType::Lz4,
        ]))
        .with_kv_separation(Some(separation))
}

fn to_bytes(slice: Slice) -> Bytes {
    if slice.len() < SHARE_BYTES { Bytes::copy_from_slice(&slice) } else { Bytes::from_owner(slice) }
}

fn typed(error: fjall::Error, dir: &Path, place: &str) -> KvError {
    use fjall::{Error, LsmError};
    match error {
        Error::Io(e) | Error::Storage(LsmError::Io(e)) => io_or_damage(e, dir, place),
        Error::Poisoned => KvError::Stopped,
        Error::Locked => KvError::Locked,
        // Checksums, headers, tags, trailers, files that cannot be recovered: bytes that nobody wrote.
        other => KvError::Damaged { what: format!("{other:?} in {}, {place}", dir.display()) },
    }
}

/// A file that ends early or is gone is damage, not a disk that refuses.
fn io_or_damage(error: std::io::Error, dir: &Path, place: &str) -> KvError {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::NotFound | ErrorKind::InvalidData => {
            KvError::Damaged { what: format!("{error} in {}, {place}", dir.display()) }
        }
        _ => error.into(),
    }
}

fn scan_place(from: &Bound<Vec<u8>>) -> String {
    match from {
        Bound::Included(key) | Bound::Excluded(key) => format!("scan from key {}", shown(key)),
        Bound::Unbounded => "scan".to_owned(),
    }
}

fn shown(key: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in key.iter().take(32) {
        let _ = write!(out, "{byte:02x}");
    }
    if key.len() > 32 {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests;
