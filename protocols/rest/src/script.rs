//! Several statements for one request, in one transaction and in a task of its own.

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use perigee_engine::{Outcome, Session};
use perigee_plan::ResultColumn;
use perigee_types::text::{OutputSettings, format, parse_with};
use perigee_types::{Row, SqlError, SqlResult, SqlState, SqlType, Value};

use crate::error::Answer;
use crate::output::{Style, write_value};
use crate::run::{CancelGuard, Parameter, settle};
use crate::server::Door;
use crate::transactions::Lease;
use crate::value::value;

/// Values of a result that is held as a whole.
const VALUES_MAX: usize = 1_000_000;

/// A parameter.
pub(crate) enum Given<'a> {
    /// JSON of a client.
    Json(&'a Parameter),
    /// Text, as PostgreSQL reads it.
    Text(&'a str),
    /// A value of the parameter's type.
    Value(Value),
}

/// A result.
pub(crate) struct Fetched {
    pub(crate) columns: Arc<[ResultColumn]>,
    pub(crate) rows: Vec<Row>,
    /// Rows that a command has counted.
    pub(crate) count: u64,
}

/// Runs `work` in the request's transaction. It ends in its own time when the client goes: what it runs is cancelled, what it
/// commits is not.
///
/// # Errors
/// What the work gives; then nothing of it is left.
pub(crate) async fn perform<T: Send + 'static>(
    door: &Arc<Door>,
    mut lease: Lease,
    work: impl for<'a> FnOnce(&'a mut Session) -> BoxFuture<'a, SqlResult<T>> + Send + 'static,
) -> Answer<T> {
    let guard = CancelGuard::new(&door.engine, &lease);
    let done = guard.done.clone();
    let task = tokio::spawn(async move {
        if !lease.is_kept() {
            lease.begin_implicit_block();
        }
        let result = match work(&mut lease).await {
            Ok(value) => settle(&mut lease).await.map(|()| value),
            Err(error) => Err(lease.explain_cancel(error)),
        };
        if let Err(error) = &result {
            lease.note_error(error);
            lease.fail();
            drop(lease.finish().await);
        }
        done.store(true, std::sync::atomic::Ordering::Release);
        result
    });
    Ok(task.await.map_err(SqlError::internal)??)
}

/// Runs one statement and gives its whole result.
///
/// # Errors
/// The statement's; `54000` for too large a result.
pub(crate) async fn fetch(session: &mut Session, sql: &str, parameters: &[Given<'_>]) -> SqlResult<Fetched> {
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
    let values = parameters.iter().zip(types).map(|(given, ty)| match given {
        Given::Json(parameter) => value(&parameter.json, ty, &settings),
        Given::Text(text) => parse_with(text, ty, &settings),
        Given::Value(value) => of_type(value, ty, &settings),
    });
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

/// A value as one of type `ty`: as it is where it is one, else by its text. A value of another form must not come into a column.
fn of_type(value: &Value, ty: &SqlType, settings: &OutputSettings) -> SqlResult<Value> {
    let own = match value {
        Value::Null => return Ok(Value::Null),
        Value::Bool(_) => SqlType::Bool,
        Value::Int4(_) => SqlType::Int4,
        Value::Int8(_) => SqlType::Int8,
        Value::Float8(_) => SqlType::Float8,
        Value::Timestamptz(_) => SqlType::Timestamptz(None),
        Value::Numeric(..) => SqlType::Numeric(None),
        Value::Text(_) => SqlType::Text,
        _ => return Err(SqlError::internal("a value of a kind that no statement of this door has")),
    };
    if own == *ty && !matches!(own, SqlType::Numeric(_)) {
        return Ok(value.clone());
    }
    parse_with(&format(value, &own, settings), ty, settings)
}

/// A row as a JSON object.
pub(crate) fn object(row: &Row, columns: &[ResultColumn], style: &Style) -> Vec<u8> {
    let mut out = vec![b'{'];
    for (at, (value, column)) in row.iter().zip(columns).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend(serde_json::to_vec(column.name.as_str()).unwrap_or_default());
        out.push(b':');
        write_value(&mut out, value, &column.ty, style);
    }
    out.push(b'}');
    out
}

/// An answer with JSON that stands already.
pub(crate) fn json_bytes(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = (status, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The session's way to write values.
pub(crate) fn style_of(session: &Session) -> Style {
    Style { names: Some(session.object_names()), ..Style::new(session.output_settings()) }
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
