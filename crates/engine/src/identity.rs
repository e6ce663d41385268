//! Who a session acts as: the role that it logged in with, SET SESSION AUTHORIZATION, SET ROLE.
//!
//! ```text
//! login          proved at the start; never changes
//!   session user     SET SESSION AUTHORIZATION, for superusers
//!     current role       SET ROLE, to what the session user is a member of; its rights count
//! ```
//!
//! Both are settings, so a rollback takes them back with the others.

use std::sync::Arc;

use perigee_plan::role::RoleName;
use perigee_types::catalog::{Catalog, Role};
use perigee_types::rights::Rights;
use perigee_types::{LogIndex, Oid, SqlError, SqlResult, SqlState};

use crate::session::Session;

/// The setting of SET ROLE.
pub(crate) const ROLE: &str = "role";
/// The setting of SET SESSION AUTHORIZATION.
pub(crate) const SESSION_AUTHORIZATION: &str = "session_authorization";

/// Who a session acts as, in one version of the catalog.
pub(crate) struct Identity {
    version: LogIndex,
    session_setting: String,
    role_setting: String,
    /// `session_user`
    pub(crate) session_user: Arc<Role>,
    /// `current_user`
    pub(crate) role: Arc<Role>,
    /// What the current role may do.
    pub(crate) rights: Rights,
}

impl Session {
    /// Who the session acts as. Kept until the catalog or a setting changes: every statement asks.
    pub(crate) fn identity(&self, catalog: &Catalog) -> Arc<Identity> {
        let session_setting = self.settings.get(SESSION_AUTHORIZATION).unwrap_or_default();
        let role_setting = self.settings.get(ROLE).unwrap_or_default();
        let mut known = self.known_identity.lock();
        if let Some(identity) = &*known
            && identity.version == catalog.version
            && identity.session_setting == session_setting
            && identity.role_setting == role_setting
        {
            return identity.clone();
        }
        // A role that was dropped meanwhile keeps its name and loses its rights.
        let role = |name: &str, oid: Oid| catalog.role(name).cloned().unwrap_or_else(|| Arc::new(Role::new(oid, name)));
        let session_user = match session_setting {
            "" => catalog.role_of(self.login).cloned().unwrap_or_else(|| role(&self.login_name, self.login)),
            name => role(name, Oid(0)),
        };
        let current = match role_setting {
            "" | "none" => session_user.clone(),
            name => role(name, Oid(0)),
        };
        let identity = Arc::new(Identity {
            version: catalog.version,
            session_setting: session_setting.to_owned(),
            role_setting: role_setting.to_owned(),
            rights: Rights::of(catalog, current.oid, self.tenant),
            session_user,
            role: current,
        });
        *known = Some(identity.clone());
        identity
    }

    /// The role whose rights count now.
    pub(crate) fn current_role(&self) -> Oid {
        self.identity(&self.planning_catalog()).role.oid
    }

    /// Whether SET ROLE or SET SESSION AUTHORIZATION may have this value.
    pub(crate) fn check_identity_setting(&self, name: &str, value: Option<&str>) -> SqlResult<()> {
        let Some(value) = value.filter(|value| name != ROLE || *value != "none") else { return Ok(()) };
        let catalog = self.planning_catalog();
        let wanted = catalog.role(value).ok_or_else(|| {
            SqlError::new(SqlState::InvalidParameterValue, format!("role \"{value}\" does not exist"))
        })?;
        if name == SESSION_AUTHORIZATION {
            let may = wanted.oid == self.login || catalog.role_of(self.login).is_some_and(|login| login.superuser);
            return if may { Ok(()) } else { Err(denied("permission denied to set session authorization")) };
        }
        let session_user = &self.identity(&catalog).session_user;
        if may_become(&catalog, session_user, wanted.oid) {
            Ok(())
        } else {
            Err(denied(format!("permission denied to set role \"{value}\"")))
        }
    }

    /// The role that a statement names.
    ///
    /// # Errors
    /// `42704`
    pub(crate) fn named_role(&self, catalog: &Catalog, name: &RoleName) -> SqlResult<Arc<Role>> {
        let identity = self.identity(catalog);
        match name {
            RoleName::Current => Ok(identity.role.clone()),
            RoleName::Session => Ok(identity.session_user.clone()),
            RoleName::Named(name) => catalog.role(name).cloned().ok_or_else(|| missing_role(name)),
            RoleName::Public => Err(missing_role("public")),
        }
    }
}

/// Whether a role may SET ROLE to another one.
pub(crate) fn may_become(catalog: &Catalog, role: &Role, wanted: Oid) -> bool {
    role.superuser || catalog.reachable_roles(role.oid, |membership| membership.set).contains(&wanted)
}

pub(crate) fn missing_role(name: &str) -> SqlError {
    SqlError::new(SqlState::UndefinedObject, format!("role \"{name}\" does not exist"))
}

pub(crate) fn denied(text: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::InsufficientPrivilege, text)
}
