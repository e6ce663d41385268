//! The server and the session.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use perigee_types::{CodedType, SqlError, SqlResult, SqlType, Value};

use super::{SystemFunction, bool_at, function};
use crate::pg_catalog::scope::Scope;

const LSN: SqlType = SqlType::Coded(CodedType::Lsn);

pub(super) fn all() -> Vec<SystemFunction> {
    vec![
        function("current_schemas", 1..=1, SqlType::Array(Box::new(SqlType::Text)), current_schemas),
        function("pg_is_in_recovery", 0..=0, SqlType::Bool, |_, _| Ok(Value::Bool(false))),
        function("pg_last_wal_receive_lsn", 0..=0, LSN, |_, _| Ok(Value::Null)),
        function("pg_last_wal_replay_lsn", 0..=0, LSN, |_, _| Ok(Value::Null)),
        function("pg_is_wal_replay_paused", 0..=0, SqlType::Bool, |_, _| Ok(Value::Bool(false))),
        function("pg_postmaster_start_time", 0..=0, SqlType::Timestamptz(None), |_, _| {
            Ok(Value::Timestamptz(*STARTED))
        }),
        function("pg_conf_load_time", 0..=0, SqlType::Timestamptz(None), |_, _| Ok(Value::Timestamptz(*STARTED))),
        function("txid_current", 0..=0, SqlType::Int8, transaction_number),
        function("txid_current_if_assigned", 0..=0, SqlType::Int8, assigned_number),
        function("pg_current_xact_id_if_assigned", 0..=0, SqlType::Int8, assigned_number),
        function("pg_current_xact_id", 0..=0, SqlType::Int8, transaction_number),
        function("pg_encoding_to_char", 1..=1, SqlType::Name, encoding_name),
        function("pg_char_to_encoding", 1..=1, SqlType::Int4, encoding_number),
        function("pg_client_encoding", 0..=0, SqlType::Name, |_, _| Ok(Value::Text("UTF8".to_owned()))),
        function("inet_server_addr", 0..=0, SqlType::Text, |_, _| Ok(Value::Null)),
        function("inet_server_port", 0..=0, SqlType::Int4, |_, _| Ok(Value::Null)),
        function("inet_client_addr", 0..=0, SqlType::Text, |_, _| Ok(Value::Null)),
        function("inet_client_port", 0..=0, SqlType::Int4, |_, _| Ok(Value::Null)),
        function("pg_my_temp_schema", 0..=0, SqlType::Oid, |scope, _| {
            Ok(Value::Oid(scope.schema_oid(&scope.session().temporary_schema).0))
        }),
        function("pg_is_other_temp_schema", 1..=1, SqlType::Bool, is_other_temporary),
        function("pg_tablespace_location", 1..=1, SqlType::Text, |_, _| Ok(Value::Text(String::new()))),
    ]
}

/// When the functions were registered, which is when the first statement was planned; microseconds.
static STARTED: LazyLock<i64> = LazyLock::new(|| {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
});

/// Fixes [`STARTED`]: called when the functions are registered.
pub(super) fn mark_start() {
    LazyLock::force(&STARTED);
}

fn current_schemas(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let facts = scope.session();
    let (with_implicit, path) = (bool_at(values, 0), facts.listed_schemas());
    let temporary = (with_implicit && facts.implicit_temporary).then_some(facts.temporary_schema.as_str());
    let catalog = (with_implicit && !path.iter().any(|s| s == "pg_catalog")).then_some("pg_catalog");
    let schemas = temporary.into_iter().chain(catalog).chain(path.iter().map(String::as_str));
    Ok(Value::Array(schemas.map(|s| Value::Text(s.to_owned())).collect()))
}

fn is_other_temporary(scope: &Scope, values: &[Value]) -> SqlResult<Value> {
    let oid = values.first().and_then(Value::as_i64).and_then(|oid| u32::try_from(oid).ok()).unwrap_or_default();
    let schema = scope.schemas().find(|schema| schema.oid.0 == oid);
    Ok(Value::Bool(schema.is_some_and(|s| s.is_temporary() && s.name != scope.session().temporary_schema)))
}

/// A transaction has no number until it is asked for; then it keeps it.
fn transaction_number(scope: &Scope, _: &[Value]) -> SqlResult<Value> {
    let session = scope.session();
    let services = session.services.as_ref().ok_or_else(|| SqlError::unsupported("txid_current here"))?;
    Ok(Value::Int8(*session.transaction_number.get_or_init(|| services.number_transaction())))
}

fn assigned_number(scope: &Scope, _: &[Value]) -> SqlResult<Value> {
    Ok(scope.session().transaction_number.get().map_or(Value::Null, |number| Value::Int8(*number)))
}

fn encoding_name(_: &Scope, values: &[Value]) -> SqlResult<Value> {
    let name = match values.first().and_then(Value::as_i64) {
        Some(0) => "SQL_ASCII",
        Some(6) => "UTF8",
        _ => "",
    };
    Ok(Value::Text(name.to_owned()))
}

fn encoding_number(_: &Scope, values: &[Value]) -> SqlResult<Value> {
    let name = values.first().and_then(Value::as_str).unwrap_or_default().to_ascii_uppercase();
    Ok(Value::Int4(match name.as_str() {
        "SQL_ASCII" => 0,
        "UTF8" | "UTF-8" | "UNICODE" => 6,
        _ => -1,
    }))
}
