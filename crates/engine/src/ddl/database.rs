//! CREATE, ALTER and DROP DATABASE. A database is a tenant: its schemas, and what is in them, are found in it alone. Roles are of all.

use std::sync::Arc;
use std::time::Duration;

use perigee_plan::ddl::DatabaseChange;
use perigee_plan::role::RoleName;
use perigee_types::acl::{Acl, AclKind, Privileges};
use perigee_types::catalog::{BOOTSTRAP_DATABASE, CatalogChange, DATABASE_OWNER, Database, Object, Schema};
use perigee_types::{SqlError, SqlResult, SqlState, TenantId};

use super::Oids;
use crate::identity::denied;
use crate::session::Session;

/// How often, and how long apart, a database that shall go is looked at for sessions that are just ending.
const LOOKS: usize = 50;
const LOOK_PAUSE: Duration = Duration::from_millis(100);

impl Session {
    pub(super) async fn change_database(&mut self, change: &DatabaseChange) -> SqlResult<()> {
        match change {
            DatabaseChange::Create { name, owner } => {
                self.refuse_in_block(change.tag())?;
                self.create_database(name, owner.as_ref())
            }
            DatabaseChange::Drop { name, if_exists, force } => {
                self.refuse_in_block(change.tag())?;
                match self.latest_catalog().database(name).cloned() {
                    Some(database) => self.drop_database(&database, *force).await,
                    None if *if_exists => {
                        self.notify(format!("database \"{name}\" does not exist, skipping"));
                        Ok(())
                    }
                    None => Err(missing(name)),
                }
            }
            DatabaseChange::Rename { name, to } => self.rename_database(name, to).await,
            DatabaseChange::Owner { name, to } => {
                let catalog = self.latest_catalog();
                let identity = self.identity(&catalog);
                let database = catalog.database(name).cloned().ok_or_else(|| missing(name))?;
                let object = Object::Database(database);
                self.require_owner(&catalog, &identity.rights, &object)?;
                self.check_new_owner(&catalog, &identity, to, None)?;
                let owner = self.named_role(&catalog, to)?.oid;
                self.change(vec![CatalogChange::Put(object.with_owner(owner))])
            }
        }
    }

    fn create_database(&mut self, name: &str, owner: Option<&RoleName>) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let identity = self.identity(&catalog);
        if !identity.role.superuser && !identity.role.create_database {
            return Err(denied("permission denied to create database"));
        }
        let owner = match owner {
            Some(owner) => {
                self.check_new_owner(&catalog, &identity, owner, None)?;
                self.named_role(&catalog, owner)?.oid
            }
            None => identity.role.oid,
        };
        if catalog.database(name).is_some() {
            let text = format!("database \"{name}\" already exists");
            return Err(SqlError::new(SqlState::DuplicateDatabase, text));
        }
        let mut oids = Oids::new(&catalog);
        let (oid, public) = (oids.next(), oids.next());
        // No other database will ever have this number.
        let tenant = TenantId(oid.0);
        let mut acl = Acl::default_of(AclKind::Schema, DATABASE_OWNER);
        acl.grant(DATABASE_OWNER, None, Privileges::USAGE, false);
        let schema = Schema {
            oid: public,
            tenant,
            name: "public".to_owned(),
            owner: DATABASE_OWNER,
            comment: Some("standard public schema".to_owned()),
            acl: Some(acl),
        };
        let database = Database { oid, tenant, name: name.to_owned(), owner, comment: None, acl: None };
        self.change(vec![
            CatalogChange::Put(Object::Database(Arc::new(database))),
            CatalogChange::Put(Object::Schema(Arc::new(schema))),
        ])
    }

    async fn drop_database(&mut self, database: &Arc<Database>, force: bool) -> SqlResult<()> {
        let object = Object::Database(Arc::clone(database));
        let catalog = self.latest_catalog();
        self.require_owner(&catalog, &self.identity(&catalog).rights, &object)?;
        if database.tenant == self.tenant {
            return Err(in_use("cannot drop the currently open database"));
        }
        if database.oid == BOOTSTRAP_DATABASE {
            return Err(SqlError::new(
                SqlState::DependentObjectsStillExist,
                format!("cannot drop database {} because it is required by the database system", database.name),
            ));
        }
        self.wait_for_sessions(&database.name, force).await?;
        let catalog = self.latest_catalog();
        let schemas: Vec<Object> = catalog
            .objects()
            .filter(|object| matches!(object, Object::Schema(schema) if schema.tenant == database.tenant))
            .cloned()
            .collect();
        Box::pin(self.drop_found(&schemas, true)).await?;
        self.change(vec![CatalogChange::Remove(database.oid)])
    }

    async fn rename_database(&mut self, name: &str, to: &str) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let identity = self.identity(&catalog);
        let database = catalog.database(name).cloned().ok_or_else(|| missing(name))?;
        self.require_owner(&catalog, &identity.rights, &Object::Database(Arc::clone(&database)))?;
        if !identity.role.superuser && !identity.role.create_database {
            return Err(denied("permission denied to rename database"));
        }
        if catalog.database(to).is_some() {
            return Err(SqlError::new(SqlState::DuplicateDatabase, format!("database \"{to}\" already exists")));
        }
        if database.tenant == self.tenant {
            return Err(SqlError::new(SqlState::FeatureNotSupported, "current database cannot be renamed"));
        }
        if database.oid == BOOTSTRAP_DATABASE {
            return Err(SqlError::unsupported("another name for the database that the other doors open"));
        }
        self.wait_for_sessions(name, false).await?;
        let renamed = Database { name: to.to_owned(), ..Database::clone(&database) };
        self.change(vec![CatalogChange::Put(Object::Database(Arc::new(renamed)))])
    }

    /// Waits until no session of this node is in a database; ends them first where `force` says so.
    ///
    /// # Errors
    /// `55006` where there still are some after five seconds, `57014`.
    async fn wait_for_sessions(&mut self, database: &str, force: bool) -> SqlResult<()> {
        let inside = |session: &Session| -> Vec<_> {
            let all = session.engine.sessions.all();
            all.into_iter().filter(|entry| entry.database == database).collect()
        };
        if force {
            inside(self).iter().for_each(|entry| entry.terminated.cancel());
        }
        let mut count = inside(self).len();
        for _ in 0..LOOKS {
            if count == 0 {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_PAUSE) => {}
                () = self.cancel.cancelled() => {
                    let text = "canceling statement due to user request";
                    return Err(SqlError::new(SqlState::QueryCanceled, text));
                }
            }
            count = inside(self).len();
        }
        let many = if count == 1 { "session" } else { "sessions" };
        let there = if count == 1 { "There is" } else { "There are" };
        Err(in_use(format!("database \"{database}\" is being accessed by other users"))
            .detail(format!("{there} {count} other {many} using the database.")))
    }
}

fn in_use(text: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::ObjectInUse, text)
}

fn missing(name: &str) -> SqlError {
    SqlError::new(SqlState::InvalidCatalogName, format!("database \"{name}\" does not exist"))
}
