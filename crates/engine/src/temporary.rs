//! Temporary objects: what a session makes in a schema of its own, and what ends with it.
//!
//! They are tables, views, sequences and types like all others: logged, in memory or in the LSM, locked and rolled back as any.
//! Only others do not find them, and they go at COMMIT where they say so, with the session, or, where the node stopped
//! first, before it serves again.

use std::sync::Arc;
use std::time::Duration;

use perigee_plan::command::Isolation;
use perigee_types::catalog::{
    Catalog, CatalogChange, Object, OnCommit, Schema, TEMPORARY_PREFIX, TEMPORARY_SCHEMA, Table,
};
use perigee_types::{Oid, SqlError, SqlResult, SqlState};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::locks::{LockKey, LockMode, LockWait};
use crate::session::Session;
use crate::transaction::Transaction;

/// How often the end of a session tries to drop its objects while the log is busy, and how long it waits in between.
const DROP_TRIES: u32 = 50;
const DROP_PAUSE: Duration = Duration::from_millis(200);

/// What a session knows of its temporary objects.
pub(crate) struct Temporary {
    /// The name of their schema, which exists once the first was made.
    pub(crate) schema: String,
    /// The schema was made, if perhaps in a transaction that did not commit.
    pub(crate) used: bool,
    /// There was a table that COMMIT empties or drops.
    pub(crate) ends_with_commit: bool,
}

impl Temporary {
    pub(crate) fn of(process_id: i32) -> Self {
        Self { schema: format!("{TEMPORARY_PREFIX}{process_id}"), used: false, ends_with_commit: false }
    }
}

impl Session {
    /// The schema that a plan means: for a temporary object the session's own, made now if it is the first.
    pub(crate) fn creation_schema(&mut self, planned: Oid) -> SqlResult<Oid> {
        if planned != TEMPORARY_SCHEMA {
            return Ok(planned);
        }
        let catalog = self.latest_catalog();
        if let Some(schema) = catalog.schema(self.tenant, &self.temporary.schema) {
            return Ok(schema.oid);
        }
        let oid = Oid(catalog.next_oid());
        let schema = Schema {
            oid,
            tenant: self.tenant,
            name: self.temporary.schema.clone(),
            owner: self.current_role(),
            comment: None,
            acl: None,
        };
        self.temporary.used = true;
        self.change(vec![CatalogChange::Put(Object::Schema(Arc::new(schema)))])?;
        Ok(oid)
    }

    /// COMMIT empties and drops the temporary tables that say so.
    pub(crate) async fn end_temporary(&mut self) -> SqlResult<()> {
        if !self.temporary.ends_with_commit || self.transaction.is_none() {
            return Ok(());
        }
        let catalog = self.latest_catalog();
        let (mut emptied, mut dropped) = (Vec::new(), Vec::new());
        for object in self.temporary_objects(&catalog) {
            match &object {
                Object::Table(table) if table.on_commit == OnCommit::DeleteRows => emptied.push(table.clone()),
                Object::Table(table) if table.on_commit == OnCommit::Drop => dropped.push(object),
                _ => {}
            }
        }
        self.temporary.ends_with_commit = !emptied.is_empty();
        for table in emptied {
            self.empty_at_commit(&table, &catalog).await?;
        }
        if !dropped.is_empty() {
            self.lock_catalog("DROP TABLE").await?;
            self.drop_found(&dropped, true).await?;
        }
        Ok(())
    }

    /// No row of such a table is ever committed: those of this transaction are in the buffer, or staged.
    async fn empty_at_commit(&mut self, table: &Arc<Table>, catalog: &Catalog) -> SqlResult<()> {
        if let Some(other) = catalog.referencing(table.oid).find(|other| other.on_commit != OnCommit::DeleteRows) {
            return Err(SqlError::new(
                SqlState::FeatureNotSupported,
                "unsupported ON COMMIT and foreign key combination",
            )
            .detail(format!(
                "Table \"{}\" references \"{}\", but they do not have the same ON COMMIT setting.",
                other.name, table.name
            )));
        }
        let transaction = self.transaction()?;
        if transaction.staging.as_ref().is_some_and(|staging| staging.has_rows_of(table.oid)) {
            self.lock_catalog("TRUNCATE TABLE").await?;
            self.lock_table(table.oid, &table.name).await?;
            return self.new_storage(table);
        }
        transaction.writes.forget(table.storage);
        Ok(())
    }

    /// DISCARD TEMP
    pub(crate) async fn discard_temporary(&mut self) -> SqlResult<()> {
        if !self.temporary.used {
            return Ok(());
        }
        let catalog = self.latest_catalog();
        let mut wanted = self.temporary_objects(&catalog);
        // Indexes go with their tables, and sequences with those that own them.
        wanted.retain(|object| !matches!(object, Object::Index(_)));
        if wanted.is_empty() {
            return Ok(());
        }
        self.lock_catalog("DISCARD TEMP").await?;
        self.drop_found(&wanted, true).await
    }

    fn temporary_objects(&self, catalog: &Catalog) -> Vec<Object> {
        let Some(schema) = catalog.schema(self.tenant, &self.temporary.schema) else { return Vec::new() };
        catalog.objects().filter(|object| is_in(object, schema.oid)).cloned().collect()
    }

    /// The session ends: what it has made goes behind it, nobody waits for that.
    pub(crate) fn drop_temporary_in_background(&self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.temporary.used {
            return;
        }
        let (engine, schema) = (self.engine.clone(), self.temporary.schema.clone());
        runtime.spawn(async move {
            for _ in 0..DROP_TRIES {
                match drop_schemas(&engine, Some(&schema)).await {
                    Ok(()) => return,
                    Err(error) if error.state() == SqlState::InsufficientResources => {
                        tokio::time::sleep(DROP_PAUSE).await;
                    }
                    Err(error) => {
                        tracing::warn!(%error, schema, "temporary objects stay until the next start");
                        return;
                    }
                }
            }
        });
    }
}

fn is_in(object: &Object, schema: Oid) -> bool {
    object.schema() == Some(schema)
}

/// Drops the temporary schema of this name, or all, with what is in them.
pub(crate) async fn drop_schemas(engine: &Arc<Engine>, name: Option<&str>) -> SqlResult<()> {
    let wanted = |object: &Object| match object {
        Object::Schema(schema) => schema.is_temporary() && name.is_none_or(|name| schema.name == name),
        _ => false,
    };
    if !engine.store.catalog().objects().any(wanted) {
        return Ok(());
    }
    let cancel = CancellationToken::new();
    let mut transaction = Transaction::new(engine, false, Isolation::ReadCommitted, false)?;
    transaction.lock(LockKey::Catalog, LockMode::Exclusive, None, LockWait::Forever, &cancel).await?;
    let catalog = engine.store.catalog();
    let schemas: Vec<Oid> = catalog.objects().filter(|object| wanted(object)).map(Object::oid).collect();
    let mut gone = Vec::new();
    for object in catalog.objects() {
        if schemas.iter().any(|schema| is_in(object, *schema)) {
            if let Object::Table(table) = object {
                let key = LockKey::Table(table.oid);
                transaction.lock(key, LockMode::Exclusive, None, LockWait::Forever, &cancel).await?;
            }
            gone.push(object.oid());
        }
    }
    let changes = gone.into_iter().chain(schemas).map(CatalogChange::Remove).collect();
    transaction.writes.change_catalog(&catalog, changes);
    crate::commit::commit(engine, &mut transaction, &cancel, None).await
}
