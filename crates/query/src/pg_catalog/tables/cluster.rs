//! Databases, settings, sessions.

use perigee_types::Value;

use super::roles::acl_of;
use crate::pg_catalog::builder::{Rows, bool, int8, oid, text};
use crate::pg_catalog::scope::Scope;

/// Number of the encoding UTF8.
const UTF8: i32 = 6;
/// Oid of the tablespace `pg_default`.
const PG_DEFAULT: u32 = 1663;

/// `pg_database`
pub(super) fn databases(scope: &Scope, rows: &mut Rows) {
    for database in scope.databases() {
        rows.push([
            ("oid", oid(database.oid.0)),
            ("datname", text(database.name.as_str())),
            ("datdba", oid(database.owner.0)),
            ("encoding", Value::Int4(UTF8)),
            ("datlocprovider", text("c")),
            ("datallowconn", bool(true)),
            ("datconnlimit", Value::Int4(-1)),
            ("dattablespace", oid(PG_DEFAULT)),
            ("datcollate", text("C")),
            ("datctype", text("C")),
            ("datacl", acl_of(scope, database.oid)),
        ]);
    }
}

/// `pg_settings`
pub(super) fn settings(scope: &Scope, rows: &mut Rows) {
    let mut settings: Vec<_> = scope.session().settings.iter().collect();
    settings.sort();
    for (name, value) in settings {
        let name = shown_name(name);
        rows.push([
            ("name", text(name)),
            ("setting", text(value.as_str())),
            ("category", text("Perigee")),
            ("short_desc", text("")),
            ("context", text("user")),
            ("vartype", text(setting_type(value))),
            ("source", text("session")),
            ("boot_val", text(value.as_str())),
            ("reset_val", text(value.as_str())),
            ("pending_restart", bool(false)),
        ]);
    }
}

/// PostgreSQL spells some settings with capitals.
fn shown_name(name: &str) -> &str {
    match name {
        "timezone" => "TimeZone",
        "datestyle" => "DateStyle",
        "intervalstyle" => "IntervalStyle",
        other => other,
    }
}

fn setting_type(value: &str) -> &'static str {
    match value {
        "on" | "off" => "bool",
        _ if value.parse::<i64>().is_ok() => "integer",
        _ => "string",
    }
}

/// `pg_stat_activity`: the session that asks. Others are not known here.
pub(super) fn activity(scope: &Scope, rows: &mut Rows) {
    let session = scope.session();
    let database = scope.catalog().database(&session.database).map_or(0, |d| d.oid.0);
    let time = |micros: i64| Value::Timestamptz(micros);
    rows.push([
        ("datid", oid(database)),
        ("datname", text(session.database.as_str())),
        ("pid", Value::Int4(session.process_id)),
        ("usesysid", oid(session.role.0)),
        ("usename", text(session.session_user.as_str())),
        ("application_name", text(session.settings.get("application_name").map_or("", String::as_str))),
        ("xact_start", time(session.transaction_time)),
        ("query_start", time(session.statement_time)),
        ("state_change", time(session.statement_time)),
        ("state", text("active")),
        ("backend_type", text("client backend")),
    ]);
}

/// `pg_stat_database`
pub(super) fn database_statistics(scope: &Scope, rows: &mut Rows) {
    for database in scope.databases() {
        rows.push([
            ("datid", oid(database.oid.0)),
            ("datname", text(database.name.as_str())),
            ("xact_commit", int8(0)),
            ("xact_rollback", int8(0)),
            ("deadlocks", int8(0)),
        ]);
    }
}
