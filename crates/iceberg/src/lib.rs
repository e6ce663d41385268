//! What Iceberg (version 2) wants written beside Parquet files so that others read them as a table: a metadata file, a list of
//! manifests, and a manifest each of data files and of files that say which rows of these have ended.
//!
//! ```text
//! metadata/version-hint.text -> vN.metadata.json -> N-list-ID.avro -> N-data-ID.avro     -> data files
//!                                                                  -> N-deletes-ID.avro  -> position deletes
//! ```
//!
//! All of it is made anew for each state of a table, and holds that state alone: there is one snapshot, with the number N. This
//! crate makes bytes out of descriptions; it reads and writes nothing.
//!
//! - [`table`]: columns, and the metadata file
//! - [`manifest`]: the two kinds of manifests, and their list
//! - `avro`: the container that these are in
//!
//! Source: <https://iceberg.apache.org/spec/>

mod avro;
pub mod manifest;
pub mod table;

pub use manifest::{DataFile, ManifestFile, delete_manifest, manifest, manifest_list};
pub use table::{Field, Table, metadata};

/// The numbers that everything of one snapshot has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The snapshot's id and its sequence number: greater than those before it.
    pub number: i64,
    /// When it was made: milliseconds since the Unix epoch.
    pub made_ms: i64,
}
