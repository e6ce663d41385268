//! Several statements for one request, in one transaction and in a task of its own.

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use perigee_engine::{Outcome, Session};
use perigee_plan::ResultColumn;
use perigee_types::text::parse_with;
use perigee_types::{Row, SqlError, SqlResult, SqlState, Value};

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
        Given::Value(value) => Ok(value.clone()),
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
