//! Roles, and those that every cluster has.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    BOOTSTRAP_ROLE, CHECKPOINT, DATABASE_OWNER, Object, READ_ALL_DATA, READ_ALL_STATS, RedisUser, SIGNAL_BACKEND,
    WRITE_ALL_DATA,
};
use crate::acl::{Acl, AclKind};
use crate::ids::Oid;

/// The roles that every cluster has, with the oids that PostgreSQL gives them.
pub(super) fn predefined_roles() -> impl Iterator<Item = Object> {
    const ROLES: &[(Oid, &str, &[Oid])] = &[
        (DATABASE_OWNER, "pg_database_owner", &[]),
        (READ_ALL_DATA, "pg_read_all_data", &[]),
        (WRITE_ALL_DATA, "pg_write_all_data", &[]),
        (Oid(3373), "pg_monitor", &[READ_ALL_STATS, Oid(3374), Oid(3377)]),
        (Oid(3374), "pg_read_all_settings", &[]),
        (READ_ALL_STATS, "pg_read_all_stats", &[]),
        (Oid(3377), "pg_stat_scan_tables", &[]),
        (SIGNAL_BACKEND, "pg_signal_backend", &[]),
        (CHECKPOINT, "pg_checkpoint", &[]),
    ];
    ROLES.iter().map(|(oid, name, member_of)| {
        let member =
            |role: &Oid| Membership { role: *role, grantor: BOOTSTRAP_ROLE, admin: false, inherit: true, set: true };
        let member_of = member_of.iter().map(member).collect();
        Object::Role(Arc::new(Role { member_of, ..Role::new(*oid, name) }))
    })
}

/// That a role is a member of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The role that it is a member of.
    pub role: Oid,
    /// Who gave it.
    pub grantor: Oid,
    /// May give it on.
    pub admin: bool,
    /// Has the role's privileges without SET ROLE.
    pub inherit: bool,
    /// May SET ROLE to it.
    pub set: bool,
}

/// What is granted on the objects that a role will make: ALTER DEFAULT PRIVILEGES.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultPrivileges {
    /// Objects of this schema; `None` is any.
    pub schema: Option<Oid>,
    /// What kind of objects.
    pub kind: AclKind,
    /// For any schema: in place of the kind's default. For one schema: besides it.
    pub acl: Acl,
}

/// A key that proves a role over REST and gRPC. Kept as a hash: the key itself was shown once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Finds it; no secret.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// SHA-256 of the key's text, in hexadecimal digits.
    pub hash: String,
    /// Nothing is ever written with it.
    pub read_only: bool,
    /// When it was made: microseconds since 1970 UTC.
    pub created: i64,
    /// When it ends: microseconds since 1970 UTC.
    pub expires: Option<i64>,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// Its oid.
    pub oid: Oid,
    /// Its name.
    pub name: String,
    /// May do everything.
    pub superuser: bool,
    /// May connect.
    pub login: bool,
    /// Has the privileges of roles that it is made a member of.
    pub inherit: bool,
    /// May make roles.
    pub create_role: bool,
    /// May make databases.
    pub create_database: bool,
    /// May open replication connections.
    pub replication: bool,
    /// Row policies do not bind it.
    pub bypass_row_security: bool,
    /// Sessions that it may have open on a node, `None` for any number.
    pub connections_max: Option<u32>,
    /// When its password ends: microseconds since 1970 UTC.
    pub valid_until: Option<i64>,
    /// `SCRAM-SHA-256$…`, where a password is set.
    pub password: Option<String>,
    /// What it is a member of.
    pub member_of: Vec<Membership>,
    /// Settings of its new sessions: ALTER ROLE … SET.
    pub settings: BTreeMap<String, String>,
    /// What is granted on the objects that it will make.
    #[serde(default)]
    pub default_privileges: Vec<DefaultPrivileges>,
    /// What ACL SETUSER has said of it; `None` where that was not asked.
    #[serde(default)]
    pub redis: Option<RedisUser>,
    /// Keys that prove it.
    #[serde(default)]
    pub api_keys: Vec<ApiKey>,
    /// Comment.
    pub comment: Option<String>,
}

impl Role {
    /// A role as CREATE ROLE makes it without options.
    #[must_use]
    pub fn new(oid: Oid, name: &str) -> Self {
        Self {
            oid,
            name: name.to_owned(),
            superuser: false,
            login: false,
            inherit: true,
            create_role: false,
            create_database: false,
            replication: false,
            bypass_row_security: false,
            connections_max: None,
            valid_until: None,
            password: None,
            member_of: Vec::new(),
            settings: BTreeMap::new(),
            default_privileges: Vec::new(),
            redis: None,
            api_keys: Vec::new(),
            comment: None,
        }
    }

    /// The privileges of an object that it makes in a schema; `None` where they are its kind's default.
    #[must_use]
    pub fn acl_of_new(&self, kind: AclKind, schema: Option<Oid>) -> Option<Acl> {
        let of = |schema| self.default_privileges.iter().find(|d| d.kind == kind && d.schema == schema).map(|d| &d.acl);
        let (any, here) = (of(None), schema.and_then(|schema| of(Some(schema))));
        if any.is_none() && here.is_none() {
            return None;
        }
        let mut acl = any.cloned().unwrap_or_else(|| Acl::default_of(kind, self.oid));
        for item in here.into_iter().flat_map(|acl| acl.items()) {
            acl.grant(item.grantor, item.grantee, item.privileges.without(item.grantable), false);
            acl.grant(item.grantor, item.grantee, item.grantable, true);
        }
        Some(acl)
    }
}
