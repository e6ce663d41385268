//! Copies of a node's state: for other members, and for the time after everything else is lost.
//!
//! ```text
//! node:      checkpoint ---------> base backup: pieces, copies of cold files, then the manifest: that is the commit
//!            committed entries --> archive: the log, a moment behind, in objects that chain to each other
//! restore:   newest base before the target -> all that is needed, fetched and checked -> LSM, log up to the target
//!            -> a cluster of its own, with this node as its only voter
//! ```
//!
//! Every object has a checksum over all of its bytes, the manifest those of its pieces, and the entries of the log the chain:
//! what has changed in any way is found before anything is written. The objects are described in `docs/formats/backup.md`.
//!
//! - [`snapshot`]: the pairs of a checkpoint, out of an LSM and into one
//! - [`object`]: one object: header, content, checksum
//! - [`place`]: what is where in the object store
//! - [`base`]: base backups; [`archive`]: the log
//! - [`plan`]: what a restore needs; [`restore`]: fetches it and makes a data folder's content of it
//! - [`verify`], [`prune`]: looks at everything; removes what is too old

pub mod archive;
pub mod base;
mod error;
pub mod object;
pub mod place;
pub mod plan;
pub mod prune;
pub mod restore;
pub mod snapshot;
pub mod verify;

pub use error::BackupError;
