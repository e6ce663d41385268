//! The cold tier: rows in Parquet files of an object store, which others can read too.
//!
//! ```text
//! leader:      rows of (S of the manifest before, S], alive at S, in the order of the primary key
//!                 -> Parquet with a hidden `_vid` -> upload -> manifest {S, columns, files} through the log
//! every node:  the manifest is applied; when no snapshot is older than it and the files' footers were read, chunks whose
//!              rows all began by S let go of their columns: in memory at once, in the LSM with the next checkpoint
//! ```
//!
//! A chunk that is cold keeps its vids, begins and end-marks, so who sees which row is decided as in every other tier, and
//! an UPDATE or DELETE touches no file. A row of a file counts when its vid stands in a cold chunk: what began by S and was
//! not exported because it had ended, or stands in a chunk that is still warm, is in neither place twice.
//!
//! - [`form`]: how types of Arrow that Parquet does not have stand in a file
//! - [`store`]: where files stand in the object store
//! - [`write`]: rows into files
//! - [`read`]: single rows out of files, by vid
//! - [`sums`]: whether what is read is what was written
//! - [`visible`]: which rows of a file a scan sees
//! - [`ended`]: which rows of a file nobody sees any more, for readers from elsewhere

mod ended;
pub mod form;
mod read;
mod store;
mod sums;
mod visible;
mod write;

use std::sync::Arc;

use perigee_types::{LogIndex, SqlType};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::objects::ObjectError;

pub use ended::position_deletes;
pub use store::ColdStore;
pub use sums::Tail;
pub use visible::ColdRows;
pub use write::{ColdWriter, FinishedFile, WriteOptions, item_field_id};

/// Which files hold the rows of a table that began in a range of the log.
///
/// The rows are those with a begin behind the horizon of the manifest before it, up to its own, that were alive there. One
/// whose range is that of manifests that were logged before takes their place: its files hold what was still alive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The horizon of the manifest before it, zero for the first: begins behind it belong to this one.
    pub after: LogIndex,
    /// The last begin that belongs to it.
    pub horizon: LogIndex,
    /// The columns of each file, in order; behind the last one stands the vid.
    pub columns: Vec<ColdColumn>,
    /// The files; none where no row was left.
    pub files: Vec<ColdFile>,
}

/// A column of the files of a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColdColumn {
    /// Its number in the table, which no other column ever has.
    pub number: u16,
    /// Its name in the files; the table's may change.
    pub name: String,
    /// Its type as it was written.
    pub ty: SqlType,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColdFile {
    /// Path within the store, with the ids of the cluster and of its lineage.
    pub path: String,
    /// Count of rows.
    pub rows: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// XXH3 (64 bits) of all bytes.
    pub checksum: u64,
    /// Its end, which has the checksums of all before it; none of files of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
    /// The least vid in it.
    pub vid_first: u64,
    /// The greatest vid in it.
    pub vid_last: u64,
}

/// A manifest that was applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoggedManifest {
    /// The index of its entry. Older snapshots read the rows from elsewhere.
    pub index: LogIndex,
    /// What was logged.
    pub manifest: Manifest,
    /// Those whose place it has taken: older snapshots read their files. None once there are no such snapshots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<Arc<LoggedManifest>>,
}

impl LoggedManifest {
    /// Whether a row with one of these begins may stand in its files.
    #[must_use]
    pub fn covers(&self, (first, last): (u64, u64)) -> bool {
        self.manifest.after.0 < last && first <= self.manifest.horizon.0
    }

    /// What a snapshot reads: this one, or those whose place it has taken since.
    #[must_use]
    pub fn seen_at(self: &Arc<Self>, at: u64) -> Vec<Arc<LoggedManifest>> {
        if self.replaced.is_empty() || self.index.0 <= at {
            return vec![Arc::clone(self)];
        }
        self.replaced.iter().flat_map(|replaced| replaced.seen_at(at)).collect()
    }

    /// This one, and behind it all whose place it has taken and that are not forgotten.
    pub fn with_replaced(&self) -> Box<dyn Iterator<Item = &LoggedManifest> + '_> {
        self.read_from(LogIndex(0))
    }

    /// What snapshots from `oldest` on read: this one, and behind it those whose place it has taken for them.
    pub(crate) fn read_from(&self, oldest: LogIndex) -> Box<dyn Iterator<Item = &LoggedManifest> + '_> {
        let replaced = if self.index > oldest { self.replaced.as_slice() } else { &[] };
        Box::new(std::iter::once(self).chain(replaced.iter().flat_map(move |older| older.read_from(oldest))))
    }

    /// Without those that no snapshot from `oldest` on reads; `None` where nothing changes.
    fn without_unread(&self, oldest: LogIndex) -> Option<Self> {
        if self.replaced.is_empty() {
            return None;
        }
        if self.index <= oldest {
            return Some(Self { replaced: Vec::new(), ..self.clone() });
        }
        let (mut replaced, mut changed) = (self.replaced.clone(), false);
        for older in &mut replaced {
            if let Some(without) = older.without_unread(oldest) {
                (*older, changed) = (Arc::new(without), true);
            }
        }
        changed.then(|| Self { replaced, ..self.clone() })
    }

    /// Rows of all its files.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.manifest.files.iter().map(|file| file.rows).sum()
    }
}

/// The manifests of a table, by what they cover, oldest first.
pub type Manifests = Arc<Vec<Arc<LoggedManifest>>>;

/// Puts a manifest where it belongs: behind the last one, or in the place of those that cover what it covers. `None` where it
/// does neither: another one came first.
#[must_use]
pub(crate) fn with_manifest(manifests: &Manifests, index: LogIndex, manifest: Manifest) -> Option<Manifests> {
    let last = manifests.last().map_or(LogIndex(0), |last| last.manifest.horizon);
    if manifest.horizon <= manifest.after || manifest.horizon >= index {
        return None;
    }
    let mut all = manifests.as_ref().clone();
    if manifest.after == last {
        all.push(Arc::new(LoggedManifest { index, manifest, replaced: Vec::new() }));
        return Some(Arc::new(all));
    }
    let from = all.iter().position(|logged| logged.manifest.after == manifest.after)?;
    let to = all.iter().position(|logged| logged.manifest.horizon == manifest.horizon)?;
    // The same once more takes nobody's place.
    if to < from || all[from].manifest == manifest {
        return None;
    }
    let replaced: Vec<_> = all.drain(from..=to).collect();
    all.insert(from, Arc::new(LoggedManifest { index, manifest, replaced }));
    Some(Arc::new(all))
}

/// Lets go of replaced manifests that no snapshot from `oldest` on reads; `None` where there are none.
pub(crate) fn without_unread(manifests: &Manifests, oldest: LogIndex) -> Option<Manifests> {
    let (mut all, mut changed) = (manifests.as_ref().clone(), false);
    for logged in &mut all {
        if let Some(without) = logged.without_unread(oldest) {
            (*logged, changed) = (Arc::new(without), true);
        }
    }
    changed.then(|| Arc::new(all))
}

/// What can go wrong with cold files.
#[derive(Clone, Debug, Error)]
pub enum ColdError {
    /// The store does not answer, or refuses.
    #[error("the object store at {location} cannot be used: {reason}")]
    Away {
        /// Where it is.
        location: String,
        /// What it said.
        reason: String,
    },
    /// A file is not there.
    #[error("cold file {0} is missing")]
    Missing(String),
    /// A file is not what was written.
    #[error("cold file {path} is damaged: {what}")]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// The node was opened without a place for cold files.
    #[error("this node has no object store for cold rows")]
    NoStore,
    /// Rows could not be made into a file.
    #[error("rows cannot be written as Parquet: {0}")]
    Write(String),
}

impl From<ObjectError> for ColdError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Away { location, reason } => Self::Away { location, reason },
            ObjectError::Missing(path) => Self::Missing(path),
            ObjectError::TooLong { path, bytes } => Self::Damaged { path, what: format!("it has {bytes} bytes") },
        }
    }
}
