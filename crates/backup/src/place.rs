//! What is where in the object store of backups.
//!
//! ```text
//! CLUSTER/base/INDEX-NAME/000000.piece ...   the pairs of a checkpoint at an index
//! CLUSTER/base/INDEX-NAME/manifest           written last: without it there is no backup
//! CLUSTER/log/FIRST-LAST.log                 entries of the log
//! CLUSTER/cold/PATH                          copies of cold files, by the paths that manifests of tables name
//! ```
//!
//! CLUSTER is its id as 32 hexadecimal digits, so that many clusters, a restored one beside its original among them, may have
//! one place. Indexes have 20 digits.

use perigee_storage::objects::{Found, Objects};

use crate::BackupError;

/// The folder of a cluster.
#[must_use]
pub fn cluster(id: u128) -> String {
    format!("{id:032x}")
}

/// The folder of the base backup `name`.
#[must_use]
pub fn base(cluster: &str, name: &str) -> String {
    format!("{cluster}/base/{name}")
}

/// A piece of a base backup.
#[must_use]
pub fn piece(cluster: &str, name: &str, number: usize) -> String {
    format!("{cluster}/base/{name}/{number:06}.piece")
}

/// The manifest of a base backup.
#[must_use]
pub fn manifest(cluster: &str, name: &str) -> String {
    format!("{cluster}/base/{name}/manifest")
}

/// Entries of the log.
#[must_use]
pub fn log(cluster: &str, first: u64, last: u64) -> String {
    format!("{cluster}/log/{first:020}-{last:020}.log")
}

/// The copy of a cold file.
#[must_use]
pub fn cold(cluster: &str, path: &str) -> String {
    format!("{cluster}/cold/{path}")
}

/// An object of the archive, as its name tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPlace {
    /// Where it is.
    pub path: String,
    /// Its first entry.
    pub first: u64,
    /// Its last entry.
    pub last: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// The clusters that have something here.
///
/// # Errors
/// [`BackupError::Store`]
pub fn clusters(at: &Objects) -> Result<Vec<String>, BackupError> {
    let mut found = at.folders()?;
    found.retain(|name| name.len() == 32 && u128::from_str_radix(name, 16).is_ok());
    found.sort_unstable();
    Ok(found)
}

/// All objects of the archive, by their first entry; of those with the same the longest first.
///
/// # Errors
/// [`BackupError::Store`]
pub fn logs(at: &Objects, cluster: &str) -> Result<Vec<LogPlace>, BackupError> {
    let mut logs: Vec<LogPlace> = at.list(&format!("{cluster}/log"))?.into_iter().filter_map(log_place).collect();
    logs.sort_by_key(|log| (log.first, std::cmp::Reverse(log.last)));
    Ok(logs)
}

fn log_place(found: Found) -> Option<LogPlace> {
    let name = found.path.rsplit_once('/')?.1.strip_suffix(".log")?;
    let (first, last) = name.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then_some(LogPlace { first, last, bytes: found.bytes, path: found.path })
}

/// Names of base backups, oldest first, each with its objects; also of those that were never finished.
///
/// # Errors
/// [`BackupError::Store`]
pub fn bases(at: &Objects, cluster: &str) -> Result<Vec<(String, Vec<Found>)>, BackupError> {
    let prefix = format!("{cluster}/base/");
    let mut bases: std::collections::BTreeMap<String, Vec<Found>> = std::collections::BTreeMap::new();
    for found in at.list(&format!("{cluster}/base"))? {
        if let Some((name, _)) = found.path.strip_prefix(&prefix).and_then(|rest| rest.split_once('/')) {
            bases.entry(name.to_owned()).or_default().push(found);
        }
    }
    Ok(bases.into_iter().collect())
}
