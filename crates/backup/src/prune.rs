//! Removes backups that are too old, and what interrupted ones have left.

use std::collections::HashSet;

use perigee_storage::objects::{Found, Objects};

use crate::BackupError;
use crate::archive;
use crate::base;
use crate::object::OBJECT_BYTES_MAX;
use crate::place;

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Base backups.
    pub bases: usize,
    /// Objects of all kinds.
    pub objects: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Keeps the newest `keep` base backups and the archive from the oldest of these on; what else is older than `grace_micros` goes.
/// Blocking.
///
/// What is younger may belong to a backup that is being made.
///
/// # Errors
/// [`BackupError::Refused`] for `keep` 0; what was removed until an error stays removed.
pub fn prune(
    at: &Objects,
    cluster: &str,
    keep: usize,
    now_micros: i64,
    grace_micros: i64,
) -> Result<Pruned, BackupError> {
    if keep == 0 {
        return Err(BackupError::Refused("at least one backup must be kept".to_owned()));
    }
    let old = |found: &Found| now_micros.saturating_sub(found.modified_micros) >= grace_micros;
    let before = place::bases(at, cluster)?;
    let finished = base::all(at, cluster)?;
    let kept = &finished[finished.len().saturating_sub(keep)..];
    let Some(oldest) = kept.first() else {
        return Err(BackupError::Refused(format!("cluster {cluster} has no backup that was finished")));
    };
    let mut named: HashSet<String> = kept.iter().flat_map(|base| &base.cold).map(|file| file.path.clone()).collect();
    let mut gone: Vec<Found> = Vec::new();
    let mut unfinished = false;
    let mut pruned = Pruned::default();
    for (name, objects) in &before {
        if kept.iter().any(|base| base.name == *name) {
            continue;
        }
        let is_base = finished.iter().any(|base| base.name == *name);
        if !is_base && !objects.iter().all(old) {
            unfinished = true;
            continue;
        }
        pruned.bases += usize::from(is_base);
        // The manifest first: a backup without a piece must not count.
        let mut objects = objects.clone();
        objects.sort_by_key(|found| !found.path.ends_with("/manifest"));
        gone.extend(objects);
    }
    let logs = place::logs(at, cluster)?;
    for (place, log) in logs.iter().enumerate() {
        let covered = logs[..place].iter().any(|other| other.first <= log.first && other.last >= log.last);
        if log.last <= oldest.index || covered {
            gone.push(Found { path: log.path.clone(), bytes: log.bytes, modified_micros: 0 });
            continue;
        }
        let span = archive::read(&log.path, &at.get_all(&log.path, OBJECT_BYTES_MAX)?)?;
        named.extend(span.header.cold.into_iter().map(|file| file.path));
    }
    if !unfinished {
        let prefix = place::cold(cluster, "");
        let idle = |found: &Found| found.path.strip_prefix(&prefix).is_some_and(|path| !named.contains(path));
        gone.extend(at.list(&prefix)?.into_iter().filter(|found| idle(found) && old(found)));
    }
    let now = place::bases(at, cluster)?;
    if now.len() != before.len() {
        return Err(BackupError::Refused("a backup was begun meanwhile: try again".to_owned()));
    }
    let partial = at.remove_partial(cluster, |found| !old(found))?;
    pruned.objects += partial.len();
    pruned.bytes += partial.iter().map(|found| found.bytes).sum::<u64>();
    for found in gone {
        at.delete(&found.path)?;
        pruned.objects += 1;
        pruned.bytes += found.bytes;
    }
    Ok(pruned)
}
