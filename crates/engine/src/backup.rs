//! Backups of a running node: the archive of its log, and base backups.
//!
//! The leader ships what is committed every moment; it makes the first base backup by itself, and others at an interval. A
//! follower looks now and then how far the archive is, so that it keeps what it would have to go on with as leader.
//!
//! While the archive's store is away nothing else waits for it: the log stays longer, up to a bound. What is cut all the same
//! is a gap, behind which a new base backup begins.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use perigee_backup::archive::{Archive, Merged};
use perigee_backup::base;
pub use perigee_backup::base::Base;
use perigee_backup::{BackupError, place};
use perigee_log::Record;
use perigee_storage::cold::{ColdError, ColdFile};
use perigee_storage::entry::Entry;
use perigee_storage::objects::Objects;
use perigee_telemetry::names;
use perigee_types::{LogIndex, SqlError, SqlResult, SqlState, Term};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

/// Bytes of entries that go into one object of the archive.
const SHIP_BYTES: usize = 8 << 20;
/// Entries that go into one object.
const SHIP_ENTRIES: u64 = 65_536;
/// How often a follower looks how far the archive is, and how soon a store that was away is tried again at first.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How often a failure that stays is told.
const TELL_AGAIN: Duration = Duration::from_secs(60);
const MICROS_PER_SECOND: i64 = 1_000_000;

/// Where backups of a node go by themselves.
#[derive(Clone, Debug)]
pub struct BackupOptions {
    /// The store.
    pub objects: Arc<Objects>,
    /// Time between two looks whether there is something to ship.
    pub interval: Duration,
    /// Time between two base backups; `None` for the first one only.
    pub base_interval: Option<Duration>,
}

/// What is under way on this node.
#[derive(Default)]
pub(crate) struct Backups {
    /// The archive, as the leader of a term found it.
    archive: Mutex<Option<(Term, Archive)>>,
    /// Objects of the archive that were found damaged, and behind which a base backup was made.
    broken: Mutex<HashSet<String>>,
    /// One base backup at a time.
    running: Mutex<()>,
    /// Held for reading while cold files must stay that a backup copies, for writing while files are removed.
    pub(crate) collecting: RwLock<()>,
}

/// An error of a backup as clients see it.
pub(crate) fn sql_error(error: &BackupError) -> SqlError {
    let state = match error {
        BackupError::Cold(error) => return perigee_query::exec::error::cold_error(error),
        BackupError::Damaged { .. } => SqlState::DataCorrupted,
        BackupError::Refused(_) | BackupError::OtherHistory { .. } => SqlState::ObjectNotInPrerequisiteState,
        BackupError::Store(_)
        | BackupError::Io { .. }
        | BackupError::Log(_)
        | BackupError::Tables(_)
        | BackupError::Consensus(_) => SqlState::IoError,
    };
    SqlError::new(state, error.to_string())
}

impl Engine {
    /// Makes a base backup of all that is applied, at a URL, or where this node's backups go. On the leader. Blocking.
    ///
    /// # Errors
    /// `55000` where there is no place for it, `55006` while another one is made, `25006` on a follower, `58030`.
    pub fn back_up(self: &Arc<Self>, url: Option<&str>) -> SqlResult<Base> {
        let configured = self.options.backup.as_ref().map(|options| Arc::clone(&options.objects));
        let (at, own) = match (url, configured) {
            (Some(url), _) => (Objects::at_url(url).map_err(|error| sql_error(&error.into()))?, false),
            (None, Some(at)) => (at, true),
            (None, None) => {
                let text = "this node has no place for backups";
                return Err(
                    SqlError::new(SqlState::ObjectNotInPrerequisiteState, text).hint("Name a URL, or set backup.url.")
                );
            }
        };
        let base = make_base(self, &at, false)?;
        if own {
            tell_base(base.created_micros);
            // So that the backup alone is not all there is.
            ship(self, false).map_err(|error| sql_error(&error))?;
        }
        Ok(base)
    }
}

/// `files_stay`: nobody removes cold files until the caller has returned.
fn make_base(engine: &Arc<Engine>, at: &Objects, files_stay: bool) -> SqlResult<Base> {
    let leading = || engine.consensus.leader_term().ok_or_else(crate::transaction::no_leader);
    leading()?;
    let Some(_alone) = engine.backups.running.try_lock() else {
        return Err(SqlError::new(SqlState::ObjectInUse, "a backup is being made already"));
    };
    let _files_stay = (!files_stay).then(|| engine.backups.collecting.read());
    crate::maintenance::checkpoint_all(engine)?;
    let started = Instant::now();
    let cold = engine.store.cold().ok();
    let made = base::create(engine.store.kv(), cold.map(AsRef::as_ref), at, &cluster(engine), engine.now_micros());
    let made = made.map_err(|error| sql_error(&error))?;
    // Another leader may have removed cold files meanwhile; what was copied was looked at, so this one is whole.
    let Some(base) = made else {
        return Err(SqlError::new(SqlState::ObjectNotInPrerequisiteState, "there is nothing to back up yet"));
    };
    tracing::info!(
        name = base.name,
        index = base.index,
        bytes = base.bytes(),
        cold_files = base.cold.len(),
        seconds = started.elapsed().as_secs_f64(),
        at = at.location(),
        "backup made"
    );
    Ok(base)
}

fn cluster(engine: &Engine) -> String {
    place::cluster(engine.options.cluster_id)
}

/// Adds to the archive what is committed and not in it yet; gives its last entry. On the leader; nothing elsewhere, or where
/// there is no archive. `files_stay`: nobody removes cold files meanwhile. Blocking.
///
/// # Errors
/// [`BackupError`]
pub(crate) fn ship(engine: &Arc<Engine>, files_stay: bool) -> Result<Option<LogIndex>, BackupError> {
    let Some(options) = &engine.options.backup else { return Ok(None) };
    let Some(term) = engine.consensus.leader_term() else { return Ok(None) };
    let mut open = engine.backups.archive.lock();
    if open.as_ref().is_none_or(|(opened_in, _)| *opened_in != term) {
        // Another leader may have written to it since.
        let broken = engine.backups.broken.lock().clone();
        let archive = Archive::open(Arc::clone(&options.objects), &cluster(engine), &broken)?;
        check_history(engine, &archive, options.objects.location())?;
        *open = Some((term, archive));
    }
    let Some((_, archive)) = open.as_mut() else { return Ok(None) };
    let result = ship_into(engine, archive, files_stay);
    if result.is_err() {
        // What of it has reached the store is looked at anew.
        *open = None;
    }
    result.map(Some)
}

/// The archive must end within this node's log: what is behind it would be another history.
fn check_history(engine: &Engine, archive: &Archive, location: &str) -> Result<(), BackupError> {
    let Some((last, hash)) = archive.last() else { return Ok(()) };
    let other = |what: String| BackupError::OtherHistory { location: location.to_owned(), what };
    let applied = engine.consensus.applied_index();
    if last > applied.0 {
        return Err(other(format!("it ends at entry {last}, and this node's log at entry {applied}")));
    }
    match engine.consensus.chain_hash(LogIndex(last)) {
        Ok(own) if own != hash => Err(other(format!("entry {last} is another one"))),
        Ok(_) | Err(perigee_log::LogError::Purged { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn ship_into(engine: &Arc<Engine>, archive: &mut Archive, files_stay: bool) -> Result<LogIndex, BackupError> {
    let to = engine.consensus.applied_index().min(engine.consensus.synced_index());
    loop {
        let next = archive.last().map_or(1, |(last, _)| last + 1);
        if next > to.0 {
            break;
        }
        if next < engine.consensus.first_index().0 {
            begin_anew(engine, archive, next, files_stay)?;
            continue;
        }
        let until = LogIndex(to.0.min(next + SHIP_ENTRIES - 1));
        let records = engine.consensus.records(LogIndex(next), until, SHIP_BYTES)?;
        let files = cold_files(&records)?;
        ship_records(engine, archive, &records, files)?;
        if let Some((last, _)) = archive.last() {
            engine.consensus.archived(LogIndex(last));
            metrics::gauge!(names::BACKUP_ARCHIVED_INDEX).set(last as f64);
        }
    }
    if let Some((last, _)) = archive.last() {
        engine.consensus.archived(LogIndex(last));
    }
    if let Merged::Gap(error) = archive.merge()? {
        bridge(engine, error, files_stay)?;
    }
    Ok(LogIndex(archive.last().map_or(0, |(last, _)| last)))
}

fn ship_records(
    engine: &Engine,
    archive: &mut Archive,
    records: &[Record],
    files: Vec<ColdFile>,
) -> Result<(), BackupError> {
    let cold = engine.store.cold().ok().map(AsRef::as_ref);
    match archive.ship(records, files.clone(), cold) {
        // A file of a manifest that had no effect, or whose table is gone, was removed before there was an archive. One that is
        // still needed is somewhere: a folder that is not mounted, a bucket of another name.
        Err(BackupError::Cold(ColdError::Missing(at))) => {
            let is_it = |file: &ColdFile| cold.is_some_and(|cold| cold.place(&file.path) == at);
            let named = engine.store.named_cold();
            if files.iter().any(|file| is_it(file) && named.contains(&file.path)) {
                return Err(BackupError::Cold(ColdError::Missing(at)));
            }
            tracing::warn!(path = at, "a cold file was removed before it could be archived");
            let rest: Vec<ColdFile> = files.iter().filter(|file| !is_it(file)).cloned().collect();
            if rest.len() == files.len() {
                return Err(BackupError::Cold(ColdError::Missing(at)));
            }
            ship_records(engine, archive, records, rest)
        }
        other => other,
    }
}

/// The log does not reach back to the archive's end, or there is no archive yet: a base backup bridges that.
fn begin_anew(engine: &Arc<Engine>, archive: &mut Archive, next: u64, files_stay: bool) -> Result<(), BackupError> {
    let options = engine.options.backup.as_ref();
    let at = options.map(|options| Arc::clone(&options.objects));
    let Some(at) = at else { return Ok(()) };
    tracing::warn!(from = next, to = %engine.consensus.first_index(), "the log was cut before it was archived: a new backup begins");
    let base = make_base(engine, &at, files_stay).map_err(|error| BackupError::Refused(error.message().to_owned()))?;
    let hash = hex::decode(&base.chain_hash).ok().and_then(|bytes| bytes.try_into().ok());
    let hash = hash.ok_or_else(|| BackupError::Refused("the backup has no chain hash".to_owned()))?;
    archive.restart(base.index, hash);
    Ok(())
}

/// An object of the archive is damaged: a base backup behind it, from which restores to later times begin.
fn bridge(engine: &Arc<Engine>, damage: BackupError, files_stay: bool) -> Result<(), BackupError> {
    let Some(options) = &engine.options.backup else { return Ok(()) };
    tracing::error!(error = %damage, "the archive is damaged: a new backup begins");
    metrics::counter!(names::BACKUP_FAILURES_TOTAL).increment(1);
    match make_base(engine, &options.objects, files_stay) {
        Ok(_) => {}
        // Somebody makes one; it may have begun before the damage, so this is tried again.
        Err(error) => return Err(BackupError::Refused(error.message().to_owned())),
    }
    if let BackupError::Damaged { path, .. } = damage {
        engine.backups.broken.lock().insert(path);
    }
    Ok(())
}

/// Files that manifests among records name.
fn cold_files(records: &[Record]) -> Result<Vec<ColdFile>, BackupError> {
    let mut files = Vec::new();
    for record in records {
        let proposed = perigee_consensus::proposed(record);
        let proposed =
            proposed.map_err(|source| BackupError::Io { what: format!("entry {}", record.index), source })?;
        if let Some(manifest) = proposed.and_then(|payload| Entry::manifest_of(&payload)) {
            files.extend(manifest.files);
        }
    }
    Ok(files)
}

/// Keeps the archive a moment behind the log, until `stop`. Blocks its thread.
pub fn run(engine: &Arc<Engine>, stop: &CancellationToken) {
    let Some(options) = engine.options.backup.clone() else { return };
    let mut told: Option<Instant> = None;
    let mut caught_up = Instant::now();
    let mut last_base: Option<i64> = None;
    while !stop.is_cancelled() {
        let leads = engine.consensus.leader_term().is_some();
        let result = if leads { keep_up(engine, &options, &mut last_base) } else { follow(engine, &options) };
        let wait = match result {
            Ok(()) => {
                if told.take().is_some() {
                    tracing::info!(at = options.objects.location(), "backups go on");
                }
                caught_up = Instant::now();
                if leads { options.interval } else { LOOK_AGAIN }
            }
            Err(error) => {
                metrics::counter!(names::BACKUP_FAILURES_TOTAL).increment(1);
                if told.is_none_or(|told| told.elapsed() > TELL_AGAIN) {
                    let behind = caught_up.elapsed().as_secs();
                    tracing::error!(%error, behind, "the log is not archived; writes go on");
                    told = Some(Instant::now());
                }
                LOOK_AGAIN.max(options.interval)
            }
        };
        metrics::gauge!(names::BACKUP_LAG_SECONDS).set(caught_up.elapsed().as_secs_f64());
        sleep(wait, stop);
    }
    // What came last, unless the store is known to be away.
    if told.is_none()
        && let Err(error) = ship(engine, false)
    {
        tracing::warn!(%error, "the end of the log is not archived; the next start goes on with it");
    }
}

fn sleep(time: Duration, stop: &CancellationToken) {
    let until = Instant::now() + time;
    while !stop.is_cancelled() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
}

fn keep_up(engine: &Arc<Engine>, options: &BackupOptions, last_base: &mut Option<i64>) -> Result<(), BackupError> {
    if ship(engine, false)?.is_none() {
        return Ok(());
    }
    let newest = match *last_base {
        Some(micros) => Some(micros),
        None => base::all(&options.objects, &cluster(engine))?.last().map(|base| base.created_micros),
    };
    let due = match (newest, options.base_interval) {
        (None, _) => true,
        (Some(newest), Some(every)) => {
            (engine.now_micros() - newest) / MICROS_PER_SECOND >= every.as_secs().try_into().unwrap_or(i64::MAX)
        }
        (Some(_), None) => false,
    };
    note_base(last_base, newest);
    if due {
        match make_base(engine, &options.objects, false) {
            Ok(base) => note_base(last_base, Some(base.created_micros)),
            // Somebody makes one.
            Err(error) if error.state() == SqlState::ObjectInUse => {}
            Err(error) => return Err(BackupError::Refused(error.message().to_owned())),
        }
    }
    Ok(())
}

fn note_base(last_base: &mut Option<i64>, micros: Option<i64>) {
    *last_base = micros;
    if let Some(micros) = micros {
        tell_base(micros);
    }
}

/// When the newest base backup was made, for those who watch its age.
fn tell_base(micros: i64) {
    metrics::gauge!(names::BACKUP_BASE_TIME_SECONDS).set(micros as f64 / MICROS_PER_SECOND as f64);
}

/// Keeps of the log what the archive does not have.
fn follow(engine: &Engine, options: &BackupOptions) -> Result<(), BackupError> {
    let logs = place::logs(&options.objects, &cluster(engine))?;
    if let Some(last) = logs.iter().map(|log| log.last).max() {
        engine.consensus.archived(LogIndex(last));
    }
    Ok(())
}
