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
//! - [`visible`]: which rows of a file a scan sees

pub mod form;
mod read;
mod store;
mod visible;
mod write;

use std::sync::Arc;

use perigee_types::{LogIndex, SqlType};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::objects::ObjectError;

pub use store::ColdStore;
pub use visible::ColdRows;
pub use write::{ColdWriter, FinishedFile, WriteOptions};

/// Which files hold the rows of a table that began in a range of the log.
///
/// The rows are those with a begin behind the horizon of the manifest before it, up to its own, that were alive there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The horizon of the manifest before it, zero for the first: begins behind it belong to this one.
    pub after: LogIndex,
    /// The snapshot that was exported.
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
}

impl LoggedManifest {
    /// Whether a row with one of these begins may stand in its files.
    #[must_use]
    pub fn covers(&self, (first, last): (u64, u64)) -> bool {
        self.manifest.after.0 < last && first <= self.manifest.horizon.0
    }

    /// Rows of all its files.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.manifest.files.iter().map(|file| file.rows).sum()
    }
}

/// The manifests of a table, oldest first.
pub type Manifests = Arc<Vec<Arc<LoggedManifest>>>;

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
        }
    }
}
