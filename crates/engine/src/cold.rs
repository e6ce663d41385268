//! Rows to the cold tier: the leader exports them, uploads files and logs their manifest.
//!
//! ```text
//! rows since the last manifest, at snapshot S  ->  sorted by the primary key  ->  files, each uploaded and synced
//!    -> manifest {S, files} through the log    ->  every node lets go of its copies when no snapshot is older
//! ```
//!
//! Before the manifest is committed nothing has happened: what was uploaded is removed at once, or by [`collect`] when the
//! node has stopped in between. From its commit on every node finds the rows in the files, or still has them itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use perigee_consensus::Consensus;
use perigee_storage::cold::{
    ColdColumn, ColdFile, ColdStore, ColdWriter, FinishedFile, LoggedManifest, Manifest, WriteOptions,
};
use perigee_storage::entry::Entry;
use perigee_storage::store::{Export, Snapshot, file_path};
use perigee_storage::table::VID_COLUMN;
use perigee_types::catalog::{Object, Table};
use perigee_types::{LogIndex, Oid, SqlError, SqlResult, SqlState, Term};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

/// How long files stay that compacted ones have replaced: queries on other members may still read them. In microseconds; on
/// the leader, which removes them, longer than where nobody asks for them any more.
const REPLACED_KEPT: u64 = 900_000_000;
const REPLACED_KEPT_LEADER: u64 = 3_600_000_000;
/// Files of one size: a manifest is one entry of the log, so where there are more the next ones are larger. Up to 4,000 fit, of
/// a terabyte in all.
const FILES_ALIKE: usize = 1_000;
/// How long the removal of files waits for a backup that copies some.
const BACKUP_WAIT: Duration = Duration::from_secs(10);

/// What is under way on this node.
#[derive(Default)]
pub(crate) struct Migrations {
    /// Tables, by storage oid.
    tables: Mutex<HashSet<Oid>>,
    /// Files that no manifest names yet, and whose manifest may still come, each with the term that made it.
    uploads: Mutex<HashMap<String, Term>>,
}

/// A table that is being exported, until this is dropped.
struct Running {
    engine: Arc<Engine>,
    storage: Oid,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.engine.migrations.tables.lock().remove(&self.storage);
    }
}

impl Running {
    fn begin(engine: &Arc<Engine>, table: &Table) -> SqlResult<Self> {
        if !engine.migrations.tables.lock().insert(table.storage) {
            let text = format!("table \"{}\" is on its way to the cold tier already", table.name);
            return Err(SqlError::new(SqlState::ObjectInUse, text));
        }
        Ok(Self { engine: Arc::clone(engine), storage: table.storage })
    }
}

/// Moves what was written to a table up to an entry of the log to the cold tier. Gives the count of rows.
///
/// # Errors
/// `55000` where this node keeps no cold files, or other members could not read them; `55006` while another one runs;
/// `58030` where the store is away; those of the log.
pub(crate) async fn migrate(
    engine: &Arc<Engine>,
    table: &Arc<Table>,
    upto: LogIndex,
    cancel: &CancellationToken,
) -> SqlResult<u64> {
    let term = engine.consensus.leader_term().ok_or_else(crate::transaction::no_leader)?;
    let cold = Arc::clone(usable(engine)?);
    let running = Running::begin(engine, table)?;
    let (store, exported) = (Arc::clone(&engine.store), Arc::clone(table));
    let export = blocking(move || store.export(&exported, upto).map_err(crate::error::storage)).await?;
    let Some(export) = export else { return Ok(0) };
    check_current(engine, table)?;
    let count = upload(running, table, term, cold, export, cancel).await?;
    let (store, storage) = (Arc::clone(&engine.store), table.storage);
    let chunks = blocking(move || Ok(store.settle_cold(Some(storage)))).await?;
    tracing::info!(table = %table.name, rows = count, chunks, "rows are cold");
    Ok(count)
}

/// Makes new files of those of a table's manifests, neighbours of each other, without rows that have ended. The old ones are
/// needed until no snapshot reads them. Gives the count of rows.
///
/// # Errors
/// As [`migrate`].
pub(crate) async fn compact(
    engine: &Arc<Engine>,
    table: &Arc<Table>,
    manifests: &[Arc<LoggedManifest>],
    cancel: &CancellationToken,
) -> SqlResult<u64> {
    let term = engine.consensus.leader_term().ok_or_else(crate::transaction::no_leader)?;
    let cold = Arc::clone(usable(engine)?);
    let running = Running::begin(engine, table)?;
    let export = engine.store.export_again(table, manifests).map_err(crate::error::storage)?;
    let Some(export) = export else { return Ok(0) };
    check_current(engine, table)?;
    let count = upload(running, table, term, cold, export, cancel).await?;
    tracing::info!(table = %table.name, rows = count, manifests = manifests.len(), "cold files are compacted");
    Ok(count)
}

/// Refuses a definition that is not the table's any more: files made by it would be without the columns that it does not have.
/// Behind the snapshot that is exported.
fn check_current(engine: &Engine, table: &Table) -> SqlResult<()> {
    match engine.store.catalog().object(table.oid) {
        Some(Object::Table(now)) if now.storage == table.storage && now.columns == table.columns => Ok(()),
        _ => {
            let text = format!("table \"{}\" was changed on its way to the cold tier", table.name);
            Err(SqlError::new(SqlState::ObjectInUse, text))
        }
    }
}

/// Makes files of what was exported, and logs their manifest. Gives the count of rows.
async fn upload(
    running: Running,
    table: &Arc<Table>,
    term: Term,
    cold: Arc<ColdStore>,
    export: Export,
    cancel: &CancellationToken,
) -> SqlResult<u64> {
    let engine = Arc::clone(&running.engine);
    let catalog = engine.store.catalog();
    let keys = match table.primary_key.and_then(|index| catalog.index(index)) {
        Some(index) => index.columns.clone(),
        None => Vec::new(),
    };
    // With the rows: bloom filters for what rows are looked up by.
    let unique: Vec<u16> =
        catalog.indexes_of(table).filter(|index| index.unique).flat_map(|index| index.columns.clone()).collect();
    let Export { snapshot, after, horizon, scan } = export;
    let mut rows = engine.query.ordered(table, scan, &cold, &keys, cancel.clone());
    let mut upload = Upload::new(&engine, cold, table, term, &unique);
    let files = tokio::task::spawn_blocking(move || {
        let read = || futures::executor::block_on(rows.next());
        upload.all(read).map(|files| (files, upload, running))
    });
    let (files, upload, running) = files.await.map_err(SqlError::internal)??;
    let count = files.iter().map(|file| file.rows).sum();
    let manifest = Manifest { after, horizon, columns: columns(table), files };
    // Who waits may go away, at the node's stop: the manifest comes all the same.
    tokio::spawn(log(upload, manifest, snapshot, running)).await.map_err(SqlError::internal)??;
    Ok(count)
}

/// Logs the manifest of files that are there. The snapshot is held until then: what it sees stays.
async fn log(mut upload: Upload, manifest: Manifest, snapshot: Arc<Snapshot>, running: Running) -> SqlResult<()> {
    let (engine, table) = (Arc::clone(&upload.engine), Arc::clone(&upload.table));
    let entry = Entry::Manifest { storage: table.storage, manifest: manifest.clone() };
    // From here on it may come, whatever becomes of this task: what it names must stay.
    upload.kept = true;
    if let Err(error) = engine.propose(upload.term, &entry).await {
        let unknown = [SqlState::TransactionResolutionUnknown, SqlState::IoError, SqlState::AdminShutdown];
        upload.kept = unknown.contains(&error.state());
        return Err(error);
    }
    drop(snapshot);
    let manifests = engine.store.manifests(table.storage);
    let named = manifests.iter().flat_map(|logged| logged.with_replaced()).any(|logged| logged.manifest == manifest);
    if !named {
        upload.kept = false;
        return Err(SqlError::new(
            SqlState::ObjectNotInPrerequisiteState,
            format!("table \"{}\" was dropped or emptied on its way to the cold tier", table.name),
        ));
    }
    upload.named();
    drop(running);
    Ok(())
}

/// Removes files of this cluster in the object store that nothing needs. Gives how many. With `waited` only those that were
/// found there the last time, too: who reads them from elsewhere has had the time in between.
///
/// # Errors
/// As [`migrate`]; `55006` where a backup goes on copying files; what the archive gives, where there is one.
pub(crate) async fn collect(engine: &Arc<Engine>, waited: Option<&mut HashSet<String>>) -> SqlResult<usize> {
    let term = engine.consensus.leader_term().ok_or_else(crate::transaction::no_leader)?;
    forget_replaced(engine);
    // What others read names none of them then; where that fails they find a file missing, and no wrong row.
    crate::iceberg::look(engine, true).await;
    let before = waited.as_deref().cloned();
    let engine = Arc::clone(engine);
    let (removed, found) = blocking(move || {
        let Some(_alone) = engine.backups.collecting.try_write_for(BACKUP_WAIT) else {
            return Err(SqlError::new(SqlState::ObjectInUse, "files of the cold tier are being backed up"));
        };
        // No manifest of an earlier term can still come.
        engine.migrations.uploads.lock().retain(|_, made| *made >= term);
        let uploading = |path: &str| engine.migrations.uploads.lock().contains_key(path);
        let failed = |error| perigee_query::exec::error::cold_error(&error);
        let found = engine.store.idle_cold(term, uploading).map_err(failed)?;
        let has_waited = |path: &&String| before.as_ref().is_none_or(|before| before.contains(*path));
        let idle: Vec<String> = found.iter().filter(has_waited).cloned().collect();
        // A restore to a time at which they were needed must find them in the archive.
        crate::backup::ship(&engine, true).map_err(|error| crate::backup::sql_error(&error))?;
        let removed = engine.store.remove_cold(&idle, uploading).map_err(failed)?;
        if engine.options.cold_iceberg {
            crate::iceberg::remove_gone(&engine).map_err(failed)?;
        }
        Ok((removed, found))
    })
    .await?;
    if let Some(waited) = waited {
        *waited = found.into_iter().collect();
    }
    Ok(removed)
}

/// Lets go of the files that compacted ones have replaced, as soon as no query here or elsewhere can read them.
pub(crate) fn forget_replaced(engine: &Engine) {
    let kept = match (engine.consensus.is_alone(), engine.consensus.leader_term()) {
        (true, _) => 0,
        (false, None) => REPLACED_KEPT,
        (false, Some(_)) => REPLACED_KEPT_LEADER,
    };
    let now = u64::try_from(engine.now_micros()).unwrap_or_default();
    let upto = if kept == 0 { LogIndex(u64::MAX) } else { engine.store.written_by(now.saturating_sub(kept)) };
    engine.store.forget_replaced(upto);
}

/// Whether rows can become cold here.
pub(crate) fn is_usable(engine: &Engine) -> bool {
    usable(engine).is_ok()
}

/// The object store, if every member can read it.
pub(crate) fn usable(engine: &Engine) -> SqlResult<&Arc<ColdStore>> {
    let cold = engine.store.cold().map_err(|error| perigee_query::exec::error::cold_error(&error))?;
    if cold.is_local() && !engine.options.cold_shared && voters(&engine.consensus) > 1 {
        return Err(SqlError::new(
            SqlState::ObjectNotInPrerequisiteState,
            "rows cannot become cold: the other members could not read them",
        )
        .detail(format!("Cold files of this node are in its own folder {}.", cold.location()))
        .hint("Set cold.url of every member to one object store, or cold.shared = true where the folder is one mount of all."));
    }
    Ok(cold)
}

impl Engine {
    /// Whether there may be more members: not while cold rows are where these could not read them.
    ///
    /// # Errors
    /// Why not.
    pub fn check_more_members(&self) -> Result<(), String> {
        let Ok(cold) = self.store.cold() else { return Ok(()) };
        if !cold.is_local() || self.options.cold_shared || self.store.named_cold().is_empty() {
            return Ok(());
        }
        Err(format!(
            "other members could not read cold rows: their files are in this node's own folder {}; copy what is in it to an object \
             store, and set cold.url of every member to that",
            cold.location()
        ))
    }
}

fn voters(consensus: &Consensus) -> usize {
    consensus.metrics().voters
}

/// Files on their way. Dropped before their manifest is logged, they are removed.
struct Upload {
    engine: Arc<Engine>,
    cold: Arc<ColdStore>,
    table: Arc<Table>,
    term: Term,
    writer: ColdWriter,
    paths: Vec<String>,
    /// Their manifest was proposed: they must stay unless it surely does not come.
    kept: bool,
}

impl Upload {
    fn new(engine: &Arc<Engine>, cold: Arc<ColdStore>, table: &Arc<Table>, term: Term, keys: &[u16]) -> Self {
        Self {
            engine: Arc::clone(engine),
            cold,
            writer: ColdWriter::new(&columns(table), keys, WriteOptions::default()),
            table: Arc::clone(table),
            term,
            paths: Vec::new(),
            kept: false,
        }
    }

    /// Makes files of all batches and uploads them. Blocking.
    fn all(
        &mut self,
        mut read: impl FnMut() -> Option<SqlResult<arrow::record_batch::RecordBatch>>,
    ) -> SqlResult<Vec<ColdFile>> {
        let failed = |error| perigee_query::exec::error::cold_error(&error);
        let mut files = Vec::new();
        while let Some(batch) = read() {
            if let Some(finished) = self.writer.push(&batch?).map_err(failed)? {
                files.push(self.put(finished)?);
                if files.len().is_multiple_of(FILES_ALIKE) {
                    self.writer.double_files();
                }
            }
        }
        if let Some(finished) = self.writer.finish().map_err(failed)? {
            files.push(self.put(finished)?);
        }
        Ok(files)
    }

    fn put(&mut self, finished: FinishedFile) -> SqlResult<ColdFile> {
        let failed = |error| perigee_query::exec::error::cold_error(&error);
        let name = uuid::Uuid::new_v4().simple().to_string();
        let path = file_path(self.cold.prefix(), self.table.storage, self.term, &name);
        let FinishedFile { bytes, rows, checksum, tail, vid_first, vid_last } = finished;
        if self.cold.is_local() {
            self.engine.check_disk(bytes.len())?;
        }
        self.engine.migrations.uploads.lock().insert(path.clone(), self.term);
        self.paths.push(path.clone());
        let (length, tail) = (bytes.len() as u64, Some(tail));
        let file = ColdFile { path, rows, bytes: length, checksum, tail, vid_first, vid_last };
        self.cold.put(&file.path, bytes).map_err(failed)?;
        // What the store gives back is what is going to be all there is.
        self.cold.check_footer(&file).map_err(failed)?;
        Ok(file)
    }

    /// Their manifest is applied.
    fn named(self) {
        let mut uploads = self.engine.migrations.uploads.lock();
        for path in &self.paths {
            uploads.remove(path);
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.kept || self.paths.is_empty() {
            return;
        }
        let (engine, cold, paths) = (Arc::clone(&self.engine), Arc::clone(&self.cold), std::mem::take(&mut self.paths));
        // Requests block, and this may be a task.
        std::thread::spawn(move || {
            for path in paths {
                if let Err(error) = cold.delete(&path) {
                    tracing::warn!(%error, path, "a file that no manifest names stays until it is collected");
                }
                engine.migrations.uploads.lock().remove(&path);
            }
        });
    }
}

/// The columns of files as the table is now. A column of the table that has the vid's name gets another one there, which no other
/// has: files are read by names.
fn columns(table: &Table) -> Vec<ColdColumn> {
    let name = |name: &str, number: u16| {
        if name != VID_COLUMN {
            return name.to_owned();
        }
        let mut other = format!("{name}_{number}");
        while table.columns.iter().any(|column| column.name == other) {
            other.push('_');
        }
        other
    };
    table
        .columns
        .iter()
        .map(|column| ColdColumn {
            number: column.number,
            name: name(&column.name, column.number),
            ty: column.ty.clone(),
        })
        .collect()
}

pub(crate) async fn blocking<T: Send + 'static>(run: impl FnOnce() -> SqlResult<T> + Send + 'static) -> SqlResult<T> {
    tokio::task::spawn_blocking(run).await.map_err(SqlError::internal)?
}
