//! What a checkpoint keeps as JSON: small facts that change shape from version to version.

use std::collections::BTreeMap;
use std::sync::Arc;

use perigee_types::catalog::{Index, Table};
use perigee_types::{Hlc, IndexId, LogIndex, Oid, Term, TransactionId};
use serde::{Deserialize, Serialize};

use crate::cold::LoggedManifest;
use crate::table::schema::TableSchema;

/// `State meta`: where in the log the checkpoint stands.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MetaRecord {
    pub(super) index: LogIndex,
    pub(super) term: Term,
    pub(super) time: Hlc,
    pub(super) chain_hash: [u8; 32],
    pub(super) digest: [u8; 32],
    pub(super) membership: Option<Vec<u8>>,
    pub(super) catalog_version: LogIndex,
    pub(super) next_oid: u32,
    /// Transactions of the log that had no effect.
    #[serde(default)]
    pub(super) rejected: Vec<LogIndex>,
    /// When entries were written: indexes with microseconds since the Unix epoch.
    #[serde(default)]
    pub(super) timeline: Vec<(LogIndex, u64)>,
}

/// `State staged`: transactions that have not ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StagedRecord {
    pub(super) transaction: TransactionId,
    pub(super) term: Term,
    pub(super) tables: Vec<Oid>,
    pub(super) created: Vec<(Arc<Table>, Vec<Arc<Index>>)>,
}

/// `State dropped`: what still has keys that nobody will ask for again.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct DroppedRecord {
    pub(super) tables: Vec<Oid>,
    pub(super) indexes: Vec<DroppedIndexRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DroppedIndexRecord {
    pub(super) storage: Oid,
    pub(super) index: IndexId,
    pub(super) unique: bool,
}

/// A sequence's position.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SequenceRecord {
    pub(super) next: i64,
    pub(super) called: bool,
}

/// The facts of a table.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TableRecord {
    pub(super) next_vid: u64,
    pub(super) schema: TableSchema,
    /// Whether each index holds every row.
    pub(super) indexes: BTreeMap<u32, bool>,
    /// Its cold files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) manifests: Vec<Arc<LoggedManifest>>,
}
