//! Roles and privileges.

use perigee_types::Oid;
use perigee_types::acl::{AclKind, Privileges};

/// A role as a statement names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleName {
    /// By name.
    Named(String),
    /// CURRENT_USER, CURRENT_ROLE
    Current,
    /// SESSION_USER
    Session,
    /// PUBLIC: everybody. Only a grantee.
    Public,
}

/// What CREATE ROLE or ALTER ROLE sets; `None` leaves it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleOptions {
    /// SUPERUSER
    pub superuser: Option<bool>,
    /// CREATEDB
    pub create_database: Option<bool>,
    /// CREATEROLE
    pub create_role: Option<bool>,
    /// INHERIT
    pub inherit: Option<bool>,
    /// LOGIN
    pub login: Option<bool>,
    /// REPLICATION
    pub replication: Option<bool>,
    /// BYPASSRLS
    pub bypass_row_security: Option<bool>,
    /// CONNECTION LIMIT; `None` inside is any number.
    pub connections_max: Option<Option<u32>>,
    /// PASSWORD: plain or a verifier; `None` inside removes it.
    pub password: Option<Option<String>>,
    /// VALID UNTIL: microseconds since 1970 UTC.
    pub valid_until: Option<Option<i64>>,
    /// IN ROLE: what the new role becomes a member of.
    pub in_roles: Vec<RoleName>,
    /// ROLE: who becomes a member of the new role.
    pub members: Vec<RoleName>,
    /// ADMIN: the same, and may give the membership on.
    pub admins: Vec<RoleName>,
}

/// GRANT or REVOKE of privileges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivilegeChange {
    /// REVOKE
    pub revoke: bool,
    /// What, and on which columns; no columns: on the whole object. Empty: ALL.
    pub privileges: Vec<(Privileges, Vec<String>)>,
    /// Columns behind ALL.
    pub all_columns: Vec<String>,
    /// The objects.
    pub objects: Vec<Oid>,
    /// To or from whom.
    pub grantees: Vec<RoleName>,
    /// WITH GRANT OPTION; of REVOKE: GRANT OPTION FOR.
    pub option: bool,
    /// CASCADE
    pub cascade: bool,
}

/// GRANT or REVOKE of membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipChange {
    /// REVOKE
    pub revoke: bool,
    /// The roles that are given.
    pub roles: Vec<RoleName>,
    /// Who gets them.
    pub members: Vec<RoleName>,
    /// WITH ADMIN; of REVOKE: ADMIN OPTION FOR.
    pub admin: Option<bool>,
    /// WITH INHERIT; of REVOKE: INHERIT OPTION FOR.
    pub inherit: Option<bool>,
    /// WITH SET; of REVOKE: SET OPTION FOR.
    pub set: Option<bool>,
}

/// A change of roles or of what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleChange {
    /// CREATE ROLE, USER or GROUP
    Create {
        /// Its name.
        name: String,
        /// Its options.
        options: RoleOptions,
    },
    /// ALTER ROLE … options
    Alter {
        /// The role.
        role: RoleName,
        /// What changes.
        options: RoleOptions,
    },
    /// ALTER ROLE … RENAME TO
    Rename {
        /// Old name.
        from: String,
        /// New name.
        to: String,
    },
    /// ALTER ROLE … SET or RESET
    Settings {
        /// The role.
        role: RoleName,
        /// The setting; `None` is ALL, which only RESET may say.
        name: Option<String>,
        /// Its value; `None` removes it.
        value: Option<String>,
    },
    /// DROP ROLE, USER or GROUP
    Drop {
        /// The roles.
        roles: Vec<RoleName>,
        /// IF EXISTS
        if_exists: bool,
    },
    /// GRANT or REVOKE of privileges
    Privileges(PrivilegeChange),
    /// ALTER DEFAULT PRIVILEGES
    DefaultPrivileges {
        /// Whose new objects; empty: the current role's.
        roles: Vec<RoleName>,
        /// In which schemas; empty: in any.
        schemas: Vec<Oid>,
        /// What kind of objects.
        kind: AclKind,
        /// What is granted or revoked: its `objects` are not named, its privileges have no columns.
        change: PrivilegeChange,
    },
    /// GRANT or REVOKE of membership
    Membership(MembershipChange),
    /// DROP OWNED BY
    DropOwned {
        /// Whose objects.
        roles: Vec<RoleName>,
        /// CASCADE
        cascade: bool,
    },
    /// REASSIGN OWNED BY
    ReassignOwned {
        /// Whose objects.
        roles: Vec<RoleName>,
        /// Who gets them.
        to: RoleName,
    },
    /// `CALL perigee.create_api_key(…)`: gives the key, once.
    CreateApiKey {
        /// The role that it proves.
        role: String,
        /// What people call it.
        name: String,
        /// When it ends: microseconds since 1970 UTC.
        expires: Option<i64>,
        /// Nothing is ever written with it.
        read_only: bool,
    },
    /// `CALL perigee.revoke_api_key('id')`
    RevokeApiKey(String),
}

/// A privilege that a statement needs before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The object.
    pub object: Oid,
    /// What is done with it.
    pub privileges: Privileges,
    /// Numbers of the columns that it is done to; `None` is the whole object.
    pub columns: Option<Vec<u16>>,
    /// Whose privileges count: a view's owner's for what the view reads; `None` is the current role.
    pub by: Option<Oid>,
}
