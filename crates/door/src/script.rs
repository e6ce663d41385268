//! Several statements for one request, in one transaction and in a task of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use perigee_engine::{Outcome, Session};
use perigee_plan::ResultColumn;
use perigee_types::text::{OutputSettings, format, parse_with};
use perigee_types::{Row, SqlError, SqlResult, SqlState, SqlType, Value};

use crate::Door;
use crate::run::{CancelGuard, Given, declared, settle};
use crate::transactions::Lease;

/// Values of a result that is held as a whole.
const VALUES_MAX: usize = 1_000_000;

/// A result.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Its columns; none for a command without rows.
    pub columns: Arc<[ResultColumn]>,
    /// Its rows.
    pub rows: Vec<Row>,
    /// How many they are, or rows that a command has counted.
    pub count: u64,
}

/// Runs `work` in the request's transaction. It ends in its own time when the client goes: what it runs is cancelled, what it
/// commits is not.
///
/// # Errors
/// What the work gives; then nothing of it is left.
pub async fn perform<T: Send + 'static>(
    door: &Door,
    mut lease: Lease,
    work: impl for<'a> FnOnce(&'a mut Session) -> BoxFuture<'a, SqlResult<T>> + Send + 'static,
) -> SqlResult<T> {
    let guard = CancelGuard::new(&door.engine, &lease);
    let done = Arc::clone(&guard.done);
    let task = tokio::spawn(async move {
        if !lease.is_kept() {
            lease.begin_implicit_block();
        }
        let result = work(&mut lease).await;
        let result = ended(lease, result.as_ref().err().cloned()).await.and(result);
        done.store(true, Ordering::Release);
        result
    });
    task.await.map_err(SqlError::internal)?
}

/// Commits what was done without an error, or undoes it.
fn ended(mut lease: Lease, failed: Option<SqlError>) -> BoxFuture<'static, SqlResult<()>> {
    async move {
        let result = match failed {
            None => settle(&mut lease).await,
            Some(error) => Err(lease.explain_cancel(error)),
        };
        if let Err(error) = &result {
            lease.note_error(error);
            lease.fail();
            drop(lease.finish().await);
        }
        result
    }
    .boxed()
}

/// Runs one statement and gives its whole result.
///
/// # Errors
/// The statement's; `54000` for too large a result.
pub fn fetch<'a>(
    session: &'a mut Session,
    sql: &'a str,
    parameters: &'a [Given<'a>],
) -> BoxFuture<'a, SqlResult<Fetched>> {
    fetch_one(session, sql, parameters).boxed()
}

async fn fetch_one(session: &mut Session, sql: &str, parameters: &[Given<'_>]) -> SqlResult<Fetched> {
    let statement = match session.cached(sql, &[]) {
        Some(statement) => statement,
        None => {
            let parsed = session.split(sql)?;
            let [parsed] = parsed.as_slice() else {
                return Err(SqlError::syntax("a name or a type is none"));
            };
            session.plan(parsed, &[]).await?
        }
    };
    let types = if statement.literals.is_empty() { &statement.prepared.parameters[..] } else { &[] };
    if types.len() != parameters.len() {
        return Err(SqlError::new(SqlState::ProtocolViolation, "the statement has other parameters"));
    }
    let settings = session.output_settings();
    let values = parameters.iter().zip(types).map(|(given, ty)| given.value(ty, &settings));
    let values = values.collect::<SqlResult<Vec<_>>>()?;
    match session.execute(&statement, &values).await? {
        Outcome::Command(tag) => {
            Ok(Fetched { columns: Arc::from([]), rows: Vec::new(), count: tag.rows.unwrap_or_default() })
        }
        Outcome::Rows(columns, mut stream) => {
            let mut rows = Vec::new();
            while let Some(block) = stream.next().await? {
                rows.extend(block.into_rows());
                if rows.len().saturating_mul(columns.len()) > VALUES_MAX {
                    return Err(SqlError::new(
                        SqlState::ProgramLimitExceeded,
                        "the result is too large for this request",
                    ));
                }
            }
            let count = rows.len() as u64;
            Ok(Fetched { columns, rows, count })
        }
        Outcome::CopyIn(_) | Outcome::CopyOut(_) => Err(SqlError::internal("a COPY where none was written")),
    }
}

/// What a statement takes and gives.
#[derive(Clone, Debug)]
pub struct Described {
    /// Types of its parameters.
    pub parameters: Vec<SqlType>,
    /// The columns of its rows; none for a command without rows.
    pub columns: Vec<ResultColumn>,
}

/// Plans one statement whose parameters have types of these names, where they are said.
///
/// # Errors
/// The statement's.
pub fn describe<'a>(
    session: &'a mut Session,
    sql: &'a str,
    types: &'a [Option<String>],
) -> BoxFuture<'a, SqlResult<Described>> {
    async move {
        let declared = declared(session, types.iter().map(Option::as_deref)).await?;
        let statements = session.split(sql)?;
        let [statement] = statements.as_slice() else {
            return Err(SqlError::syntax("one statement can be described, not several or none"));
        };
        let planned = session.plan(statement, &declared).await?;
        // Literals are no parameters of the client's.
        let parameters = if planned.literals.is_empty() { planned.prepared.parameters.to_vec() } else { Vec::new() };
        Ok(Described { parameters, columns: planned.prepared.columns.as_deref().unwrap_or_default().to_vec() })
    }
    .boxed()
}

/// A value as one of type `ty`: as it is where it is one, else by its text. A value of another form must not come into a column.
pub(crate) fn of_type(value: &Value, ty: &SqlType, settings: &OutputSettings) -> SqlResult<Value> {
    let own = match value {
        Value::Null => return Ok(Value::Null),
        Value::Bool(_) => SqlType::Bool,
        Value::Int4(_) => SqlType::Int4,
        Value::Int8(_) => SqlType::Int8,
        Value::Float8(_) => SqlType::Float8,
        Value::Timestamptz(_) => SqlType::Timestamptz(None),
        Value::Numeric(..) => SqlType::Numeric(None),
        Value::Text(_) => SqlType::Text,
        Value::Bytea(_) => SqlType::Bytea,
        _ => return Err(SqlError::internal("a value of a kind that no statement of this door has")),
    };
    if own == *ty && !matches!(own, SqlType::Numeric(_)) {
        return Ok(value.clone());
    }
    parse_with(&format(value, &own, settings), ty, settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_of_another_form_comes_into_a_column() {
        let check = |value: Value, ty: SqlType, expected: Result<Value, &str>| {
            let found = of_type(&value, &ty, &OutputSettings::default());
            assert_eq!(found.map_err(|error| error.state().code()), expected, "{value:?} as {ty}");
        };
        check(Value::Float8(0.5), SqlType::Float8, Ok(Value::Float8(0.5)));
        check(Value::Int8(2), SqlType::Float8, Ok(Value::Float8(2.0)));
        check(Value::Float8(0.5), SqlType::Int8, Err("22P02"));
        check(Value::Text("x".into()), SqlType::Float8, Err("22P02"));
        check(Value::Bool(true), SqlType::Text, Ok(Value::Text("t".into())));
        check(Value::Numeric(12, 0), SqlType::Numeric(Some((20, 0))), Ok(Value::Numeric(12, 0)));
        check(Value::Null, SqlType::Int4, Ok(Value::Null));
        check(Value::Timestamptz(0), SqlType::Timestamptz(None), Ok(Value::Timestamptz(0)));
    }
}
