//! Users of the Redis door: they are roles, and what ACL SETUSER says of one is a change of the catalog like any other.
//!
//! Who changes a role over Redis needs the rights that ALTER ROLE asks for, beside what the door asks. A session acts for
//! each change, so that one at a time reads what is there, changes it and logs it, whichever door it came through.

use std::sync::Arc;

use perigee_types::catalog::{BOOTSTRAP_ROLE, Catalog, Membership, RedisUser, Role};
use perigee_types::{Oid, SqlError, SqlResult, SqlState};

use perigee_plan::role::RoleName;

use crate::api::ConnectRequest;
use crate::ddl::Oids;
use crate::ddl::role::refuse_predefined;
use crate::engine::Engine;
use crate::identity::denied;
use crate::session::Session;

/// The database that its sessions are of.
const DATABASE: &str = "postgres";
/// Bytes of a role's name that SQL can say.
const NAME_BYTES_MAX: usize = 63;

/// Why a user was not changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RedisUserError {
    /// What the change said of itself.
    #[error("{0}")]
    Refused(String),
    /// What the engine said.
    #[error(transparent)]
    Sql(#[from] SqlError),
}

impl Engine {
    /// A session of a role that has proved itself before: by its oid, as another one may have its name by now.
    ///
    /// # Errors
    /// `28000` where it is gone or may not log in any more, and those of [`Engine::connect`].
    pub async fn connect_as(self: &Arc<Self>, role: Oid, settings: Vec<(String, String)>) -> SqlResult<Session> {
        let gone = || SqlError::new(SqlState::InvalidAuthorizationSpecification, "the role does not exist any more");
        let user = self.store.catalog().role_of(role).ok_or_else(gone)?.name.clone();
        let request = ConnectRequest { user, database: DATABASE.to_owned(), settings, ..ConnectRequest::default() };
        let session = self.connect(request).await?;
        if session.login == role { Ok(session) } else { Err(gone()) }
    }

    /// Makes or changes the Redis part of a role; the role too, where there is none of this name. `edit` sees the latest
    /// catalog with the role in it, while nobody else can change them.
    ///
    /// # Errors
    /// What `edit` says; `42501` where `by` may not change the role, and what a commit gives.
    pub async fn set_redis_user(
        self: &Arc<Self>,
        by: Oid,
        name: &str,
        edit: impl FnOnce(&Catalog, Option<&Role>) -> Result<RedisUser, String> + Send,
    ) -> Result<(), RedisUserError> {
        let mut session = self.connect_as(by, Vec::new()).await?;
        let result = session.set_redis_user(name, edit).await;
        end(&mut session, result).await
    }

    /// Drops the roles among `names` that Redis knows as users; says how many there were.
    ///
    /// # Errors
    /// What DROP ROLE gives; then none is dropped.
    pub async fn drop_redis_users(self: &Arc<Self>, by: Oid, names: &[String]) -> Result<usize, RedisUserError> {
        let mut session = self.connect_as(by, Vec::new()).await?;
        let result = session.drop_redis_users(names).await;
        end(&mut session, result).await
    }
}

/// Commits, or takes back. The error that counts is the first one.
async fn end<T>(session: &mut Session, result: Result<T, RedisUserError>) -> Result<T, RedisUserError> {
    match result {
        Ok(value) => Ok(session.finish().await.map(|()| value)?),
        Err(error) => {
            session.fail();
            drop(session.finish().await);
            Err(error)
        }
    }
}

impl Session {
    async fn set_redis_user(
        &mut self,
        name: &str,
        edit: impl FnOnce(&Catalog, Option<&Role>) -> Result<RedisUser, String> + Send,
    ) -> Result<(), RedisUserError> {
        self.engine.check_disk(0)?;
        self.lock_catalog("ACL SETUSER").await?;
        let catalog = self.latest_catalog();
        let Some(known) = catalog.role(name).cloned() else { return self.create_redis_user(&catalog, name, edit) };
        // The first superuser is Redis's `default`: its part may be changed, by those who are as high.
        if known.oid != BOOTSTRAP_ROLE {
            refuse_predefined(&known, "alter")?;
        }
        self.require_manager(&catalog, &known, "alter")?;
        let user = edit(&catalog, Some(&known)).map_err(RedisUserError::Refused)?;
        // Who may not log in is not on; who is turned on may.
        let changed = Role { login: known.login || user.on, redis: Some(user), ..Role::clone(&known) };
        if changed != *known {
            self.put_role(changed)?;
        }
        Ok(())
    }

    fn create_redis_user(
        &mut self,
        catalog: &Catalog,
        name: &str,
        edit: impl FnOnce(&Catalog, Option<&Role>) -> Result<RedisUser, String>,
    ) -> Result<(), RedisUserError> {
        let creator = self.identity(catalog).role.clone();
        if !creator.superuser && !creator.create_role {
            return Err(denied("permission denied to create role").into());
        }
        let reserved = matches!(name, "public" | "none" | "default") || name.starts_with("pg_");
        if reserved || name.len() > NAME_BYTES_MAX {
            let text = format!("role name \"{name}\" is reserved, or longer than {NAME_BYTES_MAX} bytes");
            return Err(SqlError::new(SqlState::ReservedName, text).into());
        }
        let user = edit(catalog, None).map_err(RedisUserError::Refused)?;
        let role = Role { login: user.on, redis: Some(user), ..Role::new(Oids::new(catalog).next(), name) };
        let oid = role.oid;
        self.put_role(role)?;
        if !creator.superuser {
            // As CREATE ROLE: who makes a role may manage it.
            let own = Membership { role: oid, grantor: BOOTSTRAP_ROLE, admin: true, inherit: false, set: false };
            self.change_membership(creator.oid, |member_of| member_of.push(own))?;
        }
        Ok(())
    }

    async fn drop_redis_users(&mut self, names: &[String]) -> Result<usize, RedisUserError> {
        self.lock_catalog("ACL DELUSER").await?;
        let catalog = self.latest_catalog();
        let mut users: Vec<RoleName> = Vec::new();
        for name in names {
            let named = RoleName::Named(name.clone());
            if catalog.role(name).is_some_and(|role| role.is_redis_user()) && !users.contains(&named) {
                users.push(named);
            }
        }
        if !users.is_empty() {
            self.drop_roles(&users, false)?;
        }
        Ok(users.len())
    }
}
