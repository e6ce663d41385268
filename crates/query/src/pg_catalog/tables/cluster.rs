//! Databases, settings, sessions.

use perigee_types::catalog::READ_ALL_STATS;
use perigee_types::rights::Rights;
use perigee_types::{Oid, Value};

use super::roles::acl_of;
use crate::exec::SessionActivity;
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
            // No row waits for its transaction to be frozen.
            ("datfrozenxid", oid(scope.view().transaction_number())),
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

/// `pg_prepared_statements`: how often which kind of plan ran is not counted.
pub(super) fn prepared_statements(scope: &Scope, rows: &mut Rows) {
    let statements = scope.session().services.as_ref().map(|services| services.prepared_statements());
    for statement in statements.into_iter().flatten() {
        let parameters = statement.parameters.iter().map(|ty| Value::Oid(ty.0)).collect();
        rows.push([
            ("name", text(statement.name)),
            ("statement", text(statement.text)),
            ("prepare_time", Value::Timestamptz(statement.made_micros)),
            ("parameter_types", Value::Array(parameters)),
            ("from_sql", bool(statement.by_sql)),
        ]);
    }
}

/// The sessions of all doors: each with the oid of its role and whether all of it may be seen. Who is neither its role nor a
/// member of it nor of `pg_read_all_stats` sees that it is there, and not what it does.
fn session_activity(scope: &Scope) -> impl Iterator<Item = (SessionActivity, Option<Oid>, bool)> {
    let facts = scope.session();
    let rights = Rights::of(scope.catalog(), facts.role, facts.tenant);
    facts.services.iter().flat_map(|services| services.activity()).map(move |session| {
        let role = scope.catalog().role(&session.user).map(|role| role.oid);
        let seen = rights.is(READ_ALL_STATS) || role.is_some_and(|role| rights.is(role));
        (session, role, seen)
    })
}

/// `pg_stat_activity`
pub(super) fn activity(scope: &Scope, rows: &mut Rows) {
    for (session, role, seen) in session_activity(scope) {
        let shown = |value: Value| if seen { value } else { Value::Null };
        let time = |micros: Option<i64>| shown(micros.map_or(Value::Null, Value::Timestamptz));
        let address = session.peer.map_or(Value::Null, |peer| text(peer.ip().to_canonical().to_string()));
        let port = session.peer.map_or(Value::Null, |peer| Value::Int4(i32::from(peer.port())));
        let waits =
            if session.state == "active" { (Value::Null, Value::Null) } else { (text("Client"), text("ClientRead")) };
        rows.push([
            ("datid", scope.catalog().database(&session.database).map_or(Value::Null, |database| oid(database.oid.0))),
            ("datname", text(session.database)),
            ("pid", Value::Int4(session.process_id)),
            ("usesysid", role.map_or(Value::Null, |role| oid(role.0))),
            ("usename", text(session.user)),
            ("application_name", text(session.application_name)),
            ("client_addr", shown(address)),
            ("client_port", shown(port)),
            ("backend_start", shown(Value::Timestamptz(session.connected_micros))),
            ("xact_start", time(session.transaction_start_micros)),
            ("query_start", time(session.query_start_micros)),
            ("state_change", shown(Value::Timestamptz(session.state_change_micros))),
            ("wait_event_type", shown(waits.0)),
            ("wait_event", shown(waits.1)),
            ("state", shown(text(session.state))),
            ("query", if seen { text(session.query.as_ref()) } else { text("<insufficient privilege>") }),
            ("backend_type", shown(text("client backend"))),
        ]);
    }
}

/// `perigee.sessions`
pub(super) fn sessions(scope: &Scope, rows: &mut Rows) {
    for (session, _, seen) in session_activity(scope) {
        let shown = |value: Value| if seen { value } else { Value::Null };
        let time = |micros: Option<i64>| shown(micros.map_or(Value::Null, Value::Timestamptz));
        let address = session.peer.map_or(Value::Null, |peer| text(peer.ip().to_canonical().to_string()));
        let port = session.peer.map_or(Value::Null, |peer| Value::Int4(i32::from(peer.port())));
        rows.push([
            ("process_id", Value::Int4(session.process_id)),
            ("role", text(session.user)),
            ("database", text(session.database)),
            ("application_name", text(session.application_name)),
            ("address", shown(address)),
            ("port", shown(port)),
            ("connected_at", shown(Value::Timestamptz(session.connected_micros))),
            ("transaction_started_at", time(session.transaction_start_micros)),
            ("statement_started_at", time(session.query_start_micros)),
            ("state_changed_at", shown(Value::Timestamptz(session.state_change_micros))),
            ("state", shown(text(session.state))),
            ("statement", shown(text(session.query.as_ref()))),
        ]);
    }
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
