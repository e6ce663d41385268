//! What the pairs of a checkpoint say to who copies them without opening a store.

use std::collections::HashSet;

use perigee_types::Oid;
use perigee_types::catalog::Object;

use super::format;
use super::records::TableRecord;
use crate::cold::ColdFile;
use crate::kv::keys::{self, Kind};
use crate::store::StoreError;

/// Finds the cold files that a checkpoint needs, among its pairs in key order.
#[derive(Debug, Default)]
pub struct ColdFilesOf {
    /// Tables of the catalog, by storage oid: what is left of others waits for compaction.
    tables: HashSet<Oid>,
}

impl ColdFilesOf {
    /// Takes the next pair; gives the files that it names.
    ///
    /// # Errors
    /// [`StoreError::Damaged`]
    pub fn look(&mut self, key: &[u8], value: &[u8]) -> Result<Vec<ColdFile>, StoreError> {
        let is = |kind: Kind| key.first() == Some(&(kind as u8));
        if is(Kind::Catalog)
            && let Object::Table(table) = format::unseal_json(value, key)?
        {
            self.tables.insert(table.storage);
        }
        if is(Kind::Table) && keys::rest(key) == [0] && self.tables.contains(&format::oid_of(key)?) {
            let record: TableRecord = format::unseal_json(value, key)?;
            let manifests = record.manifests.iter().flat_map(|logged| logged.with_replaced());
            return Ok(manifests.flat_map(|logged| logged.manifest.files.iter().cloned()).collect());
        }
        Ok(Vec::new())
    }
}
