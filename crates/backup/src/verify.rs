//! Looks at every object of a cluster's backups.

use std::collections::BTreeMap;

use perigee_storage::cold::ColdFile;
use perigee_storage::objects::{ObjectError, Objects};
use perigee_types::Hlc;

use crate::BackupError;
use crate::archive;
use crate::base::{self, Base, check_cold, check_piece};
use crate::object::OBJECT_BYTES_MAX;
use crate::place;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Base backups that were finished, oldest first.
    pub bases: Vec<Base>,
    /// Objects of base backups that were never finished.
    pub unfinished: usize,
    /// The runs of the archive that have no gap.
    pub runs: Vec<Run>,
    /// Copies of cold files.
    pub cold_files: usize,
    /// Bytes of everything that was read.
    pub bytes: u64,
    /// What is damaged or missing; empty when all is well.
    pub faults: Vec<String>,
}

/// Entries of the archive without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first entry.
    pub first: u64,
    /// Its time.
    pub first_time: Hlc,
    /// The last entry.
    pub last: u64,
    /// Its time.
    pub last_time: Hlc,
}

impl Report {
    /// Up to where a base can be brought: the last entry and its time.
    #[must_use]
    pub fn reach(&self, base: &Base) -> (u64, Hlc) {
        let run = self.runs.iter().find(|run| run.first <= base.index + 1 && run.last > base.index);
        run.map_or((base.index, Hlc(base.time)), |run| (run.last, run.last_time))
    }
}

/// Reads everything and compares all checksums; without `contents` only what is needed to tell what there is. Blocking.
///
/// # Errors
/// [`BackupError::Store`] when the store is away; what is damaged is in the report.
pub fn verify(at: &Objects, cluster: &str, contents: bool) -> Result<Report, BackupError> {
    let mut report = Report::default();
    let mut files: BTreeMap<String, ColdFile> = BTreeMap::new();
    for (name, objects) in place::bases(at, cluster)? {
        let manifest = place::manifest(cluster, &name);
        if !objects.iter().any(|found| found.path == manifest) {
            report.unfinished += objects.len();
            continue;
        }
        let loaded = base::load(at, cluster, &name);
        let Some(base) = report.keep(loaded)?.flatten() else { continue };
        for number in 0..base.pieces.len() {
            let path = place::piece(cluster, &name, number);
            if !contents && objects.iter().any(|found| found.path == path) {
                continue;
            }
            let read = at.get_all(&path, OBJECT_BYTES_MAX).map_err(BackupError::from);
            let checked = read.and_then(|bytes| check_piece(&base, number, &bytes).map(|_| bytes.len()));
            report.bytes += report.keep(checked)?.unwrap_or(0) as u64;
        }
        files.extend(base.cold.iter().map(|file| (file.path.clone(), file.clone())));
        report.bases.push(base);
    }
    verify_logs(at, cluster, &mut report, &mut files)?;
    for file in files.values() {
        let path = place::cold(cluster, &file.path);
        report.cold_files += 1;
        if contents {
            let read = at.get_all(&path, file.bytes).map_err(BackupError::from);
            let checked = read.and_then(|bytes| check_cold(&path, file, &bytes).map(|()| bytes.len()));
            report.bytes += report.keep(checked)?.unwrap_or(0) as u64;
        }
    }
    Ok(report)
}

fn verify_logs(
    at: &Objects,
    cluster: &str,
    report: &mut Report,
    files: &mut BTreeMap<String, ColdFile>,
) -> Result<(), BackupError> {
    let mut head = None;
    for log in place::logs(at, cluster)? {
        let read = at.get_all(&log.path, OBJECT_BYTES_MAX).map_err(BackupError::from);
        let read = read.and_then(|bytes| archive::read(&log.path, &bytes).map(|span| (span, bytes.len())));
        let Some((span, bytes)) = report.keep(read)? else { continue };
        report.bytes += bytes as u64;
        files.extend(span.header.cold.iter().map(|file| (file.path.clone(), file.clone())));
        let times = (Hlc(span.header.first_time), Hlc(span.header.last_time));
        match report.runs.last_mut() {
            // Twice there: the longer one came first.
            Some(run) if log.last <= run.last => {}
            Some(run) if log.first <= run.last + 1 => {
                if log.first == run.last + 1 && head != Some(span.before) {
                    report.faults.push(format!("{}: its entries do not chain to entry {}", log.path, run.last));
                }
                (run.last, run.last_time) = (log.last, times.1);
                head = Some(span.head);
            }
            _ => {
                report.runs.push(Run { first: log.first, first_time: times.0, last: log.last, last_time: times.1 });
                head = Some(span.head);
            }
        }
    }
    Ok(())
}

impl Report {
    /// Notes what is damaged or missing, and goes on.
    fn keep<T>(&mut self, result: Result<T, BackupError>) -> Result<Option<T>, BackupError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error @ (BackupError::Damaged { .. } | BackupError::Store(ObjectError::Missing(_)))) => {
                self.faults.push(error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
