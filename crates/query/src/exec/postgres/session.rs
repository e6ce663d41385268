//! Functions that ask or change the session, and those that give something new each time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::logical_expr::{Expr, ScalarUDF};
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType, Value};

use super::function::{Call, Eval, Function, Parameter, Returns, overload, overload_of};
use crate::exec::error::canceled;
use crate::exec::values::SessionValue;
use crate::exec::view::{AdvisoryLock, ReadView, SessionServices, SessionSignal};
use crate::pg_catalog::deparse::told_name;

use SqlType as T;

/// What `version()` says. Clients parse the number behind the first word.
const VERSION: &str = concat!("PostgreSQL 16.10 (Perigee ", env!("CARGO_PKG_VERSION"), ")");

/// How often a sleeping statement looks whether it is canceled.
const SLEEP_STEP: Duration = Duration::from_millis(20);

/// Functions without arguments that stand for a value of the session.
const SESSION_VALUES: &[(&str, SqlType, SessionValue)] = &[
    ("now", T::Timestamptz(None), SessionValue::TransactionTime),
    ("current_timestamp", T::Timestamptz(None), SessionValue::TransactionTime),
    ("transaction_timestamp", T::Timestamptz(None), SessionValue::TransactionTime),
    ("statement_timestamp", T::Timestamptz(None), SessionValue::StatementTime),
    ("localtimestamp", T::Timestamp(None), SessionValue::TransactionTime),
    ("current_date", T::Date, SessionValue::TransactionTime),
    ("localtime", T::Time(None), SessionValue::TransactionTime),
    ("current_time", T::Time(None), SessionValue::TransactionTime),
    ("current_user", T::Name, SessionValue::User),
    ("current_role", T::Name, SessionValue::User),
    ("user", T::Name, SessionValue::User),
    ("session_user", T::Name, SessionValue::SessionUser),
    ("current_database", T::Name, SessionValue::Database),
    ("current_catalog", T::Name, SessionValue::Database),
    ("current_schema", T::Name, SessionValue::Schema),
    ("pg_backend_pid", T::Int4, SessionValue::ProcessId),
];

/// The session's value that a call stands for, and the type it is cast to.
pub(super) fn session_value(name: &str) -> Option<(Expr, &'static SqlType)> {
    SESSION_VALUES.iter().find(|(n, ..)| *n == name).map(|(_, ty, value)| (value.expr(), ty))
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    // Calls of these never run: analysis replaces them.
    let never = |_: &[Value], _: &Call<'_>| Err(SqlError::internal("a session's value was not put in"));
    let mut all: Vec<Arc<ScalarUDF>> = SESSION_VALUES
        .iter()
        .map(|(name, ty, _)| Function::new(name, vec![overload(&[], ty.clone(), never)]).volatile().udf())
        .collect();
    all.extend(advisory());
    all.extend(signals());
    all.extend([
        Function::new("version", vec![overload(&[], T::Text, |_, _| Ok(Value::Text(VERSION.to_owned())))]).udf(),
        Function::new(
            "clock_timestamp",
            vec![overload(&[], T::Timestamptz(None), |_, _| {
                Ok(Value::Timestamptz(chrono::Utc::now().timestamp_micros()))
            })],
        )
        .volatile()
        .udf(),
        Function::new("gen_random_uuid", vec![overload(&[], T::Uuid, |_, _| Ok(Value::Uuid(random_uuid())))])
            .volatile()
            .udf(),
        Function::new("getdatabaseencoding", vec![overload(&[], T::Name, |_, _| Ok(Value::Text("UTF8".to_owned())))])
            .udf(),
        Function::new("pg_sleep", vec![overload(&[T::Float8], T::Void, sleep)]).volatile().udf(),
        Function::new(
            "current_setting",
            vec![
                overload(&[T::Text], T::Text, |a, c| setting(&a[0], false, c)),
                overload(&[T::Text, T::Bool], T::Text, |a, c| setting(&a[0], a[1] == Value::Bool(true), c)),
            ],
        )
        .volatile()
        .udf(),
        Function::new(
            "set_config",
            vec![overload(&[T::Text, T::Text, T::Bool], T::Text, |a, c| {
                let name = a[0].as_str().unwrap_or_default().to_lowercase();
                let value = a[1].as_str().unwrap_or_default();
                services(c)?.set_config(&name, value, a[2] == Value::Bool(true)).map(Value::Text)
            })],
        )
        .volatile()
        .udf(),
        Function::new(
            "pg_notify",
            vec![
                overload(&[T::Text, T::Text], T::Void, |a, c| {
                    let (channel, payload) = (a[0].as_str().unwrap_or_default(), a[1].as_str().unwrap_or_default());
                    services(c)?.notify(channel, payload)?;
                    Ok(Value::Text(String::new()))
                })
                .called_on_null(),
            ],
        )
        .volatile()
        .udf(),
        Function::new(
            "pg_export_snapshot",
            vec![overload(&[], T::Text, |_, c| {
                let view = c.view()?;
                services(c)?.export_snapshot(view.session.tenant, &view.snapshot).map(Value::Text)
            })],
        )
        .volatile()
        .udf(),
        // Nothing is queued: the log is the queue.
        Function::new("pg_notification_queue_usage", vec![overload(&[], T::Float8, |_, _| Ok(Value::Float8(0.0)))])
            .volatile()
            .udf(),
        Function::new(
            "pg_typeof",
            vec![
                overload_of(vec![Parameter::Any], Returns::Type(T::Regtype), |_, c| {
                    Ok(Value::Oid(c.types.first().unwrap_or(&T::Unknown).oid()))
                })
                .called_on_null(),
            ],
        )
        .udf(),
        Function::new(
            "nextval",
            vec![
                overload(&[T::Text], T::Int8, |a, c| next_value(sequence(a[0].as_str().unwrap_or_default(), c)?, c)),
                overload(&[T::Regclass], T::Int8, |a, c| next_value(oid(&a[0])?, c)),
            ],
        )
        .volatile()
        .udf(),
        Function::new(
            "currval",
            vec![
                overload(&[T::Text], T::Int8, |a, c| {
                    services(c)?.current_value(sequence(a[0].as_str().unwrap_or_default(), c)?).map(Value::Int8)
                }),
                overload(&[T::Regclass], T::Int8, |a, c| services(c)?.current_value(oid(&a[0])?).map(Value::Int8)),
            ],
        )
        .volatile()
        .udf(),
        Function::new("lastval", vec![overload(&[], T::Int8, |_, c| services(c)?.last_value().map(Value::Int8))])
            .volatile()
            .udf(),
        Function::new(
            "setval",
            vec![
                overload(&[T::Text, T::Int8], T::Int8, set_value),
                overload(&[T::Text, T::Int8, T::Bool], T::Int8, set_value),
                overload(&[T::Regclass, T::Int8], T::Int8, set_value),
                overload(&[T::Regclass, T::Int8, T::Bool], T::Int8, set_value),
            ],
        )
        .volatile()
        .udf(),
    ]);
    all
}

/// Waits, on a query thread, unless the statement is canceled.
fn sleep(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let cancel = &call.view()?.cancel;
    let wanted = Duration::try_from_secs_f64(args[0].as_f64().unwrap_or(0.0).max(0.0)).unwrap_or(Duration::MAX);
    let start = Instant::now();
    tokio::task::block_in_place(|| {
        while let Some(rest) = wanted.checked_sub(start.elapsed()).filter(|rest| !rest.is_zero()) {
            if cancel.is_cancelled() {
                return Err(canceled());
            }
            std::thread::sleep(rest.min(SLEEP_STEP));
        }
        Ok(Value::Text(String::new()))
    })
}

/// 16 random bytes with the version and variant of a version 4 UUID.
fn random_uuid() -> [u8; 16] {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

/// `pg_cancel_backend`, `pg_terminate_backend`
fn signals() -> Vec<Arc<ScalarUDF>> {
    fn signal(args: &[Value], call: &Call<'_>, signal: SessionSignal) -> SqlResult<Value> {
        let id = args[0].as_i64().and_then(|id| i32::try_from(id).ok()).unwrap_or_default();
        services(call)?.signal(id, signal).map(Value::Bool)
    }
    vec![
        Function::new(
            "pg_cancel_backend",
            vec![overload(&[T::Int4], T::Bool, |a, c| signal(a, c, SessionSignal::Cancel))],
        )
        .volatile()
        .udf(),
        Function::new(
            "pg_terminate_backend",
            vec![
                overload(&[T::Int4], T::Bool, |a, c| signal(a, c, SessionSignal::Terminate)),
                overload(&[T::Int4, T::Int8], T::Bool, |a, c| {
                    let limit = u64::try_from(a[1].as_i64().unwrap_or_default()).map_err(|_| {
                        SqlError::new(SqlState::NumericValueOutOfRange, "\"timeout\" must not be negative")
                    })?;
                    let sent = signal(a, c, SessionSignal::Terminate)?;
                    if limit == 0 || sent != Value::Bool(true) {
                        return Ok(sent);
                    }
                    wait_for_end(a[0].as_i64().unwrap_or_default(), Duration::from_millis(limit), c)
                }),
            ],
        )
        .volatile()
        .udf(),
    ]
}

/// Whether a session that was told to end did so within `limit`. On a query thread.
fn wait_for_end(process_id: i64, limit: Duration, call: &Call<'_>) -> SqlResult<Value> {
    let (services, cancel) = (services(call)?, &call.view()?.cancel);
    let id = i32::try_from(process_id).unwrap_or_default();
    let start = Instant::now();
    tokio::task::block_in_place(|| {
        while services.is_connected(id) {
            if cancel.is_cancelled() {
                return Err(canceled());
            }
            let Some(rest) = limit.checked_sub(start.elapsed()) else { return Ok(Value::Bool(false)) };
            std::thread::sleep(rest.min(SLEEP_STEP));
        }
        Ok(Value::Bool(true))
    })
}

/// `pg_advisory_lock` and its like.
fn advisory() -> Vec<Arc<ScalarUDF>> {
    fn lock(args: &[Value], call: &Call<'_>, shared: bool, transaction: bool, wait: bool) -> SqlResult<Value> {
        let taken = services(call)?.advisory_lock(named(args, shared, transaction), wait)?;
        Ok(if wait { Value::Text(String::new()) } else { Value::Bool(taken) })
    }
    fn unlock(args: &[Value], call: &Call<'_>, shared: bool) -> SqlResult<Value> {
        Ok(Value::Bool(services(call)?.advisory_unlock(named(args, shared, false))))
    }
    fn named(args: &[Value], shared: bool, transaction: bool) -> AdvisoryLock {
        let at = |place: usize| args.get(place).and_then(Value::as_i64);
        let first = at(0).unwrap_or_default();
        match at(1) {
            Some(second) => {
                let number = (first << 32) | (second & 0xffff_ffff);
                AdvisoryLock { of_two: true, number, shared, transaction }
            }
            None => AdvisoryLock { of_two: false, number: first, shared, transaction },
        }
    }
    let of = |name: &str, returns: T, eval: Eval| {
        let overloads =
            vec![overload(&[T::Int8], returns.clone(), eval), overload(&[T::Int4, T::Int4], returns.clone(), eval)];
        Function::new(name, overloads).volatile().udf()
    };
    vec![
        of("pg_advisory_lock", T::Void, |a, c| lock(a, c, false, false, true)),
        of("pg_advisory_lock_shared", T::Void, |a, c| lock(a, c, true, false, true)),
        of("pg_advisory_xact_lock", T::Void, |a, c| lock(a, c, false, true, true)),
        of("pg_advisory_xact_lock_shared", T::Void, |a, c| lock(a, c, true, true, true)),
        of("pg_try_advisory_lock", T::Bool, |a, c| lock(a, c, false, false, false)),
        of("pg_try_advisory_lock_shared", T::Bool, |a, c| lock(a, c, true, false, false)),
        of("pg_try_advisory_xact_lock", T::Bool, |a, c| lock(a, c, false, true, false)),
        of("pg_try_advisory_xact_lock_shared", T::Bool, |a, c| lock(a, c, true, true, false)),
        of("pg_advisory_unlock", T::Bool, |a, c| unlock(a, c, false)),
        of("pg_advisory_unlock_shared", T::Bool, |a, c| unlock(a, c, true)),
        Function::new(
            "pg_advisory_unlock_all",
            vec![overload(&[], T::Void, |_, c| {
                services(c)?.advisory_unlock_all();
                Ok(Value::Text(String::new()))
            })],
        )
        .volatile()
        .udf(),
    ]
}

fn services<'a>(call: &'a Call<'_>) -> SqlResult<&'a Arc<dyn SessionServices>> {
    call.view()?
        .session
        .services
        .as_ref()
        .ok_or_else(|| SqlError::new(SqlState::ReadOnlySqlTransaction, "cannot change the session or a sequence here"))
}

fn setting(name: &Value, missing_is_null: bool, call: &Call<'_>) -> SqlResult<Value> {
    let name = name.as_str().unwrap_or_default();
    match call.view()?.session.settings.get(&name.to_lowercase()) {
        Some(value) => Ok(Value::Text(value.clone())),
        None if missing_is_null => Ok(Value::Null),
        None => {
            Err(SqlError::new(SqlState::UndefinedObject, format!("unrecognized configuration parameter \"{name}\"")))
        }
    }
}

fn oid(value: &Value) -> SqlResult<Oid> {
    match value {
        Value::Oid(oid) => Ok(Oid(*oid)),
        _ => Err(SqlError::internal("an oid of another type")),
    }
}

/// A sequence by name, perhaps with its schema.
fn sequence(name: &str, call: &Call<'_>) -> SqlResult<Oid> {
    super::catalog::relation(name, call.view()?).ok_or_else(|| {
        SqlError::new(SqlState::UndefinedTable, format!("relation \"{}\" does not exist", told_name(name)))
    })
}

fn must_be_sequence(sequence: Oid, view: &ReadView) -> SqlResult<()> {
    let catalog = &view.snapshot.catalog;
    match catalog.sequence(sequence) {
        Some(_) => Ok(()),
        None => {
            let name = catalog.object(sequence).map_or_else(|| sequence.to_string(), |o| o.name().to_owned());
            Err(SqlError::new(SqlState::WrongObjectType, format!("\"{name}\" is not a sequence")))
        }
    }
}

fn next_value(sequence: Oid, call: &Call<'_>) -> SqlResult<Value> {
    must_be_sequence(sequence, call.view()?)?;
    services(call)?.next_value(sequence).map(Value::Int8)
}

fn set_value(args: &[Value], call: &Call<'_>) -> SqlResult<Value> {
    let sequence = match &args[0] {
        Value::Text(name) => sequence(name, call)?,
        other => oid(other)?,
    };
    must_be_sequence(sequence, call.view()?)?;
    let called = !matches!(args.get(2), Some(Value::Bool(false)));
    services(call)?.set_value(sequence, args[1].as_i64().unwrap_or_default(), called).map(Value::Int8)
}
