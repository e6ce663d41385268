//! Roles, memberships and privileges: `pg_authid` and what stands on it, and the privileges of `information_schema`.

use perigee_types::acl::{Acl, AclKind, Privileges};
use perigee_types::catalog::{BOOTSTRAP_ROLE, Object, Role};
use perigee_types::rights::Rights;
use perigee_types::{Oid, Value};

use super::information::database;
use crate::pg_catalog::builder::{Rows, bool, int4, oid, text, text_or_null, yes_or_no};
use crate::pg_catalog::deparse::quote_ident;
use crate::pg_catalog::scope::Scope;

/// What stands where a password would.
const HIDDEN_PASSWORD: &str = "********";

/// `pg_authid`: only superusers read it.
pub(super) fn auth_ids(scope: &Scope, rows: &mut Rows) {
    for role in scope.roles() {
        let password = ("rolpassword", text_or_null(role.password.as_deref()));
        rows.push(role_cells(role).into_iter().chain([password]));
    }
}

/// `pg_roles`
pub(super) fn roles(scope: &Scope, rows: &mut Rows) {
    for role in scope.roles() {
        let more = [("rolpassword", text(HIDDEN_PASSWORD)), ("rolconfig", settings(role))];
        rows.push(role_cells(role).into_iter().chain(more));
    }
}

/// `perigee.redis_users`: what roles may do over Redis, without what their passwords could be found from.
pub(super) fn redis_users(scope: &Scope, rows: &mut Rows) {
    for role in scope.roles().filter(|role| role.is_redis_user()) {
        let user = scope.catalog().redis_user(role);
        let redis_name = if role.oid == BOOTSTRAP_ROLE { "default" } else { &role.name };
        rows.push([
            ("rolname", text(role.name.as_str())),
            ("redis_name", text(redis_name)),
            ("is_on", bool(user.on && role.login)),
            ("nopass", bool(user.nopass)),
            ("is_explicit", bool(role.redis.is_some())),
            ("uses_role_password", bool(user.role_password)),
            ("password_count", int4(user.passwords.len())),
            ("rules", Value::Array(user.selectors.into_iter().map(text).collect())),
        ]);
    }
}

/// `perigee.api_keys`: those of roles whose rights the session has, without anything that they could be found from.
pub(super) fn api_keys(scope: &Scope, rows: &mut Rows) {
    let session = scope.session();
    let rights = Rights::of(scope.catalog(), session.role, session.tenant);
    for role in scope.roles().filter(|role| rights.is(role.oid)) {
        for key in &role.api_keys {
            rows.push([
                ("id", text(key.id.as_str())),
                ("name", text(key.name.as_str())),
                ("rolname", text(role.name.as_str())),
                ("scope", text(if key.read_only { "read" } else { "all" })),
                ("created_at", Value::Timestamptz(key.created)),
                ("expires_at", key.expires.map_or(Value::Null, Value::Timestamptz)),
            ]);
        }
    }
}

fn role_cells(role: &Role) -> [(&'static str, Value); 11] {
    [
        ("oid", oid(role.oid.0)),
        ("rolname", text(role.name.as_str())),
        ("rolsuper", bool(role.superuser)),
        ("rolinherit", bool(role.inherit)),
        ("rolcreaterole", bool(role.create_role)),
        ("rolcreatedb", bool(role.create_database)),
        ("rolcanlogin", bool(role.login)),
        ("rolreplication", bool(role.replication)),
        ("rolbypassrls", bool(role.bypass_row_security)),
        ("rolconnlimit", Value::Int4(limit(role))),
        ("rolvaliduntil", valid_until(role)),
    ]
}

fn limit(role: &Role) -> i32 {
    role.connections_max.map_or(-1, |most| i32::try_from(most).unwrap_or(i32::MAX))
}

fn valid_until(role: &Role) -> Value {
    role.valid_until.map_or(Value::Null, Value::Timestamptz)
}

fn settings(role: &Role) -> Value {
    let all: Vec<Value> = role.settings.iter().map(|(name, value)| text(format!("{name}={value}"))).collect();
    if all.is_empty() { Value::Null } else { Value::Array(all) }
}

/// `pg_user`, and `pg_shadow` with the passwords, which only superusers read.
pub(super) fn users(scope: &Scope, rows: &mut Rows, shadow: bool) {
    for role in scope.roles().filter(|r| r.login) {
        let password = if shadow { text_or_null(role.password.as_deref()) } else { text(HIDDEN_PASSWORD) };
        rows.push([
            ("usename", text(role.name.as_str())),
            ("usesysid", oid(role.oid.0)),
            ("usecreatedb", bool(role.create_database)),
            ("usesuper", bool(role.superuser)),
            ("userepl", bool(role.replication)),
            ("usebypassrls", bool(role.bypass_row_security)),
            ("passwd", password),
            ("valuntil", valid_until(role)),
            ("useconfig", settings(role)),
        ]);
    }
}

/// `pg_group`
pub(super) fn groups(scope: &Scope, rows: &mut Rows) {
    for role in scope.roles().filter(|r| !r.login) {
        let members = scope.roles().filter(|member| member.member_of.iter().any(|m| m.role == role.oid));
        rows.push([
            ("groname", text(role.name.as_str())),
            ("grosysid", oid(role.oid.0)),
            ("grolist", Value::Array(members.map(|member| oid(member.oid.0)).collect())),
        ]);
    }
}

/// `pg_auth_members`
pub(super) fn memberships(scope: &Scope, rows: &mut Rows) {
    for member in scope.roles() {
        for (at, m) in (0..).zip(&member.member_of) {
            rows.push([
                // A membership has no oid of its own in our catalog.
                ("oid", oid((1 << 31) | (member.oid.0.wrapping_mul(64).wrapping_add(at)) >> 1)),
                ("roleid", oid(m.role.0)),
                ("member", oid(member.oid.0)),
                ("grantor", oid(m.grantor.0)),
                ("admin_option", bool(m.admin)),
                ("inherit_option", bool(m.inherit)),
                ("set_option", bool(m.set)),
            ]);
        }
    }
}

/// `pg_db_role_setting`
pub(super) fn role_settings(scope: &Scope, rows: &mut Rows) {
    for role in scope.roles().filter(|role| !role.settings.is_empty()) {
        rows.push([("setdatabase", oid(0_u32)), ("setrole", oid(role.oid.0)), ("setconfig", settings(role))]);
    }
}

/// `pg_default_acl`
pub(super) fn default_acls(scope: &Scope, rows: &mut Rows) {
    for role in scope.roles() {
        for (at, default) in (0..).zip(&role.default_privileges) {
            let kind = match default.kind {
                AclKind::Sequence => "S",
                AclKind::Schema => "n",
                AclKind::Function => "f",
                _ => "r",
            };
            rows.push([
                ("oid", oid((1 << 31) | (role.oid.0.wrapping_mul(64).wrapping_add(at)) >> 1)),
                ("defaclrole", oid(role.oid.0)),
                ("defaclnamespace", oid(default.schema.map_or(0, |schema| schema.0))),
                ("defaclobjtype", text(kind)),
                ("defaclacl", acl(scope, &default.acl)),
            ]);
        }
    }
}

/// An ACL as `relacl` and its like show it.
pub(super) fn acl(scope: &Scope, acl: &Acl) -> Value {
    let name = |role: Oid| quote_ident(&scope.role_name(role));
    Value::Array(acl.texts(name).into_iter().map(Value::Text).collect())
}

/// `relacl`, `nspacl`, `datacl`: NULL until something was granted or revoked.
pub(super) fn acl_of(scope: &Scope, object: Oid) -> Value {
    scope.catalog().object(object).and_then(|object| object.own_acl()).map_or(Value::Null, |own| acl(scope, own))
}

/// The rows of `information_schema.NAME`, where it is about roles.
pub(super) fn fill(name: &str, scope: &Scope, rows: &mut Rows) {
    let rights = Rights::of(scope.catalog(), scope.session().role, scope.session().tenant);
    match name {
        "enabled_roles" => {
            for role in scope.roles().filter(|role| rights.is(role.oid)) {
                rows.push([("role_name", text(role.name.as_str()))]);
            }
        }
        "applicable_roles" | "administrable_role_authorizations" => {
            for member in scope.roles().filter(|role| rights.is(role.oid)) {
                for m in member.member_of.iter().filter(|m| m.admin || name == "applicable_roles") {
                    rows.push([
                        ("grantee", text(member.name.as_str())),
                        ("role_name", text(scope.role_name(m.role))),
                        ("is_grantable", yes_or_no(m.admin)),
                    ]);
                }
            }
        }
        "table_privileges" | "role_table_grants" => tables(scope, rows, &rights),
        "column_privileges" | "role_column_grants" => columns(scope, rows, &rights),
        "usage_privileges" | "role_usage_grants" => usages(scope, rows, &rights),
        _ => {}
    }
}

/// Grantor, grantee, privilege, whether it may be given on: what the session's roles gave or hold.
fn grants(scope: &Scope, acl: &Acl, owner: Oid, rights: &Rights) -> Vec<(String, String, Privileges, bool)> {
    let mut all = Vec::new();
    for item in acl.items() {
        if !rights.is(item.grantor) && item.grantee.is_some_and(|grantee| !rights.is(grantee)) {
            continue;
        }
        let grantee = item.grantee.map_or_else(|| "PUBLIC".to_owned(), |oid| scope.role_name(oid));
        for privilege in item.privileges.each() {
            let grantable = item.grantable.contains(privilege) || item.grantee == Some(owner);
            all.push((scope.role_name(item.grantor), grantee.clone(), privilege, grantable));
        }
    }
    all
}

fn word(privilege: Privileges) -> Value {
    text(privilege.names().next().unwrap_or_default())
}

fn tables(scope: &Scope, rows: &mut Rows, rights: &Rights) {
    for object in scope.catalog().objects() {
        let (Some(AclKind::Table), Some(owner), Some(acl)) =
            (object.acl_kind(), object.owner(scope.catalog()), object.acl())
        else {
            continue;
        };
        for (grantor, grantee, privilege, grantable) in grants(scope, &acl, owner, rights) {
            rows.push([
                ("grantor", text(grantor)),
                ("grantee", text(grantee)),
                ("table_catalog", text(database(scope))),
                ("table_schema", text(object.schema().map(|oid| scope.schema_name(oid)).unwrap_or_default())),
                ("table_name", text(object.name())),
                ("privilege_type", word(privilege)),
                ("is_grantable", yes_or_no(grantable)),
                ("with_hierarchy", yes_or_no(privilege == Privileges::SELECT)),
            ]);
        }
    }
}

/// A privilege on a table is one on each of its columns.
fn columns(scope: &Scope, rows: &mut Rows, rights: &Rights) {
    for object in scope.catalog().objects() {
        let Some(owner) = object.owner(scope.catalog()) else { continue };
        let columns: Vec<(&str, Option<&Acl>)> = match object {
            Object::Table(table) => table.columns.iter().map(|c| (c.name.as_str(), Some(&c.acl))).collect(),
            Object::View(view) => view.columns.iter().map(|(name, _)| (name.as_str(), None)).collect(),
            _ => continue,
        };
        let whole = object.acl().map(|acl| grants(scope, &acl, owner, rights)).unwrap_or_default();
        for (column, own) in columns {
            let own = own.map(|acl| grants(scope, acl, owner, rights)).unwrap_or_default();
            let of_column = Privileges::all_of(AclKind::Column);
            let mut all: Vec<_> = whole.iter().filter(|grant| of_column.contains(grant.2)).cloned().collect();
            all.extend(own.into_iter().filter(|grant| !whole.contains(grant)));
            for (grantor, grantee, privilege, grantable) in all {
                rows.push([
                    ("grantor", text(grantor)),
                    ("grantee", text(grantee)),
                    ("table_catalog", text(database(scope))),
                    ("table_schema", text(object.schema().map(|oid| scope.schema_name(oid)).unwrap_or_default())),
                    ("table_name", text(object.name())),
                    ("column_name", text(column)),
                    ("privilege_type", word(privilege)),
                    ("is_grantable", yes_or_no(grantable)),
                ]);
            }
        }
    }
}

fn usages(scope: &Scope, rows: &mut Rows, rights: &Rights) {
    for sequence in scope.sequences() {
        let object = Object::Sequence(sequence.clone());
        let granted = object.acl().map(|acl| grants(scope, &acl, sequence.owner, rights)).unwrap_or_default();
        for (grantor, grantee, _, grantable) in granted.into_iter().filter(|grant| grant.2 == Privileges::USAGE) {
            rows.push([
                ("grantor", text(grantor)),
                ("grantee", text(grantee)),
                ("object_catalog", text(database(scope))),
                ("object_schema", text(scope.schema_name(sequence.schema))),
                ("object_name", text(sequence.name.as_str())),
                ("object_type", text("SEQUENCE")),
                ("privilege_type", text("USAGE")),
                ("is_grantable", yes_or_no(grantable)),
            ]);
        }
    }
}
