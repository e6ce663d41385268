//! TRUNCATE: a table gets new storage; the rows of the old go with it, whoever has them in memory or in the LSM.

use std::sync::Arc;

use perigee_storage::entry::SequenceChange;
use perigee_types::SqlResult;
use perigee_types::catalog::{CatalogChange, Object, Table};

use super::Oids;
use crate::session::Session;

impl Session {
    pub(super) async fn truncate(&mut self, tables: &[Arc<Table>], restart_identity: bool) -> SqlResult<()> {
        for table in tables {
            let current = self.lock_table(table.oid, &table.name).await?;
            let catalog = self.latest_catalog();
            let mut oids = Oids::new(&catalog);
            let mut changed = Table::clone(&current);
            changed.storage = oids.next();
            changed.version += 1;
            self.change(vec![CatalogChange::Put(Object::Table(Arc::new(changed)))])?;
            self.transaction()?.writes.forget(current.storage);
            if restart_identity {
                let restarts: Vec<SequenceChange> = catalog
                    .objects()
                    .filter_map(|object| match object {
                        Object::Sequence(s) if s.owned_by.is_some_and(|(owner, _)| owner == current.oid) => {
                            Some(SequenceChange { sequence: s.oid, next: s.start, called: false })
                        }
                        _ => None,
                    })
                    .collect();
                for restart in &restarts {
                    self.engine.sequences.forget(restart.sequence);
                }
                self.transaction()?.sequences.extend(restarts);
            }
        }
        Ok(())
    }
}
