//! TRUNCATE: a table gets new storage; the rows of the old go with it, whoever has them in memory or in the LSM.

use std::sync::Arc;

use perigee_types::catalog::{CatalogChange, Object, Table};
use perigee_types::{SqlError, SqlResult, SqlState};

use super::Oids;
use crate::session::Session;

impl Session {
    pub(super) async fn truncate(
        &mut self,
        tables: &[Arc<Table>],
        restart_identity: bool,
        cascade: bool,
    ) -> SqlResult<()> {
        for table in self.with_referencing(tables, cascade).await? {
            let current = self.lock_table(table.oid, &table.name).await?;
            let catalog = self.latest_catalog();
            self.new_storage(&current)?;
            if restart_identity {
                for object in catalog.objects() {
                    if let Object::Sequence(sequence) = object
                        && sequence.owned_by.is_some_and(|(owner, _)| owner == current.oid)
                    {
                        self.services.own_sequence(sequence.clone(), sequence.start);
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives a table that this transaction holds a new storage, without rows.
    pub(crate) fn new_storage(&mut self, table: &Arc<Table>) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let mut changed = Table::clone(table);
        changed.storage = Oids::new(&catalog).next();
        changed.version += 1;
        self.change(vec![CatalogChange::Put(Object::Table(Arc::new(changed)))])?;
        self.transaction()?.writes.forget(table.storage);
        Ok(())
    }

    /// The tables, and those that point to them: without CASCADE they must be named too.
    async fn with_referencing(&mut self, tables: &[Arc<Table>], cascade: bool) -> SqlResult<Vec<Arc<Table>>> {
        let mut all = tables.to_vec();
        let mut at = 0;
        while let Some(table) = all.get(at).cloned() {
            at += 1;
            self.lock_table(table.oid, &table.name).await?;
            let catalog = self.latest_catalog();
            for other in catalog.referencing(table.oid) {
                if all.iter().any(|known| known.oid == other.oid) {
                    continue;
                }
                if !cascade {
                    return Err(SqlError::new(
                        SqlState::FeatureNotSupported,
                        "cannot truncate a table referenced in a foreign key constraint",
                    )
                    .detail(format!("Table \"{}\" references \"{}\".", other.name, table.name))
                    .hint(format!(
                        "Truncate table \"{}\" at the same time, or use TRUNCATE ... CASCADE.",
                        other.name
                    )));
                }
                self.notify(format!("truncate cascades to table \"{}\"", other.name));
                all.push(other.clone());
            }
        }
        Ok(all)
    }
}
