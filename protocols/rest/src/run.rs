//! A statement in a task of its own, and its result on the way to the client.
//!
//! ```text
//! handler ---- spawns ----> task: plan, execute, encode, commit
//!    |  <--- head: all of a small result, or the first part ---|
//!    |  <--- parts, as fast as the client takes them ----------|
//!    `-- dropped, as the client has gone: the statement is cancelled
//! ```
//!
//! The task, not the request, owns the session: a commit that is on its way ends in its own time, whatever the client does. A
//! result is whole only with its end, which is sent behind the commit; an error behind the first part breaks the connection off, so
//! that no client takes half of a result for all of it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures::StreamExt as _;
use perigee_engine::{CommandTag, Engine, Outcome, Session, Severity, Statement, TransactionStatus};
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use crate::error::Answer;
use crate::output::{Encoder, End, Format, Style};
use crate::server::Door;
use crate::transactions::Lease;
use crate::value::value;

/// Bytes of a part of a result.
const PART_BYTES: usize = 64 << 10;
/// Between two cancels of what a client that has gone left running.
const CANCEL_AGAIN: Duration = Duration::from_millis(100);
/// Parts between the task and the client.
const PARTS: usize = 4;

/// A parameter of a statement.
#[derive(Debug)]
pub(crate) struct Parameter {
    /// The type that the client says it has.
    pub(crate) ty: Option<String>,
    /// Its value.
    pub(crate) json: Box<RawValue>,
}

/// What a client wants to run, and how it wants the result.
#[derive(Debug)]
pub(crate) struct Query {
    /// One statement; or several, without parameters, of which the last one's result is given.
    pub(crate) sql: String,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) format: Format,
    pub(crate) arrays: bool,
    pub(crate) base64: bool,
    /// Rows that are given.
    pub(crate) rows_max: Option<u64>,
}

impl Query {
    /// A statement whose result is given as it is.
    pub(crate) fn plain(sql: String, parameters: Vec<Parameter>, format: Format) -> Self {
        Self { sql, parameters, format, arrays: false, base64: false, rows_max: None }
    }
}

/// Runs a query and answers with its result.
pub(crate) async fn respond(door: &Arc<Door>, lease: Lease, query: Query) -> Answer {
    let guard = CancelGuard::new(&door.engine, &lease);
    let done = guard.done.clone();
    let (head, first) = oneshot::channel();
    let (parts, rest) = mpsc::channel(PARTS);
    let format = query.format;
    let output = Output {
        head: Some(head),
        parts,
        buffer: Vec::new(),
        sent: 0,
        bytes_max: door.options.result_bytes_max,
        patience: door.options.write_timeout,
    };
    tokio::spawn(async move {
        run(lease, &query, output).await;
        done.store(true, std::sync::atomic::Ordering::Release);
    });
    let head = first.await.unwrap_or_else(|_| Err(SqlError::internal("the task of the statement has ended")))?;
    let body = match head.rest {
        false => Body::from(head.part),
        true => {
            let part = futures::stream::iter([Ok(Bytes::from(head.part))]);
            let rest = ReceiverStream::new(rest);
            // The guard goes with the body: who drops it cancels what still runs.
            let whole = part.chain(rest).map(move |part: io::Result<Bytes>| {
                let _guard = &guard;
                part
            });
            Body::from_stream(whole)
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(command) = head.command.and_then(|command| HeaderValue::from_str(&command).ok()) {
        headers.insert("perigee-command", command);
    }
    Ok(response)
}

/// Cancels the statement of a session when it is dropped before the statement's end.
pub(crate) struct CancelGuard {
    engine: Arc<Engine>,
    session: (i32, i32),
    pub(crate) done: Arc<std::sync::atomic::AtomicBool>,
}

impl CancelGuard {
    pub(crate) fn new(engine: &Arc<Engine>, session: &Session) -> Self {
        Self { engine: engine.clone(), session: (session.process_id(), session.secret()), done: Arc::default() }
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        let (engine, session, done) = (self.engine.clone(), self.session, self.done.clone());
        let is_done = move || done.load(std::sync::atomic::Ordering::Acquire);
        if is_done() {
            return;
        }
        engine.cancel(session.0, session.1);
        // Between two statements, or while one is planned, a cancel meets nothing: it is said until the end.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            while !is_done() {
                tokio::time::sleep(CANCEL_AGAIN).await;
                engine.cancel(session.0, session.1);
            }
        });
    }
}

/// The begin of an answer.
struct Head {
    part: Vec<u8>,
    /// More parts follow.
    rest: bool,
    command: Option<String>,
}

/// Where a result goes.
struct Output {
    head: Option<oneshot::Sender<SqlResult<Head>>>,
    parts: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    sent: u64,
    bytes_max: u64,
    patience: Duration,
}

impl Output {
    /// Sends what there is, once it is enough for a part.
    async fn push(&mut self) -> SqlResult<()> {
        if self.sent + self.buffer.len() as u64 > self.bytes_max {
            let message = format!("the result has more than {} bytes", self.bytes_max);
            return Err(SqlError::new(SqlState::ProgramLimitExceeded, message).hint("ask for less, or page through it"));
        }
        if self.buffer.len() < PART_BYTES {
            return Ok(());
        }
        self.sent += self.buffer.len() as u64;
        let part = std::mem::take(&mut self.buffer);
        match self.head.take() {
            Some(head) => head.send(Ok(Head { part, rest: true, command: None })).map_err(|_| gone()),
            None => {
                let sent = tokio::time::timeout(self.patience, self.parts.send(Ok(Bytes::from(part)))).await;
                sent.map_err(|_| gone())?.map_err(|_| gone())
            }
        }
    }

    async fn end(mut self, command: String) {
        let part = std::mem::take(&mut self.buffer);
        match self.head.take() {
            Some(head) => drop(head.send(Ok(Head { part, rest: false, command: Some(command) }))),
            None => drop(tokio::time::timeout(self.patience, self.parts.send(Ok(Bytes::from(part)))).await),
        }
    }

    async fn fail(mut self, error: SqlError) {
        match self.head.take() {
            Some(head) => drop(head.send(Err(error))),
            None => {
                tracing::info!(%error, "a result was broken off");
                let broken = io::Error::other(error.to_string());
                drop(tokio::time::timeout(self.patience, self.parts.send(Err(broken))).await);
            }
        }
    }
}

fn gone() -> SqlError {
    SqlError::new(SqlState::QueryCanceled, "the client has gone, or does not read")
}

async fn run(mut lease: Lease, query: &Query, mut output: Output) {
    let ran = statements(&mut lease, query, &mut output).await;
    let ended = match ran {
        Ok(done) => settle(&mut lease).await.map(|()| done),
        Err(error) => Err(lease.explain_cancel(error)),
    };
    let ended = ended.and_then(|(mut encoder, tag, truncated)| {
        let end = End { command: tag.text(), rows: tag.rows, truncated, notices: notices(&mut lease) };
        encoder.end(&end, &mut output.buffer)?;
        Ok(end.command)
    });
    if let Err(error) = &ended {
        lease.note_error(error);
        lease.fail();
        // The first error is what the client is told; a block of its own stays failed until it is rolled back.
        drop(lease.finish().await);
    }
    // Before the client knows: its next request may need what this one holds.
    drop(lease);
    match ended {
        Ok(command) => output.end(command).await,
        Err(error) => output.fail(error).await,
    }
}

/// Ends the implicit transaction. A block that one request begins must end in it.
pub(crate) async fn settle(lease: &mut Lease) -> SqlResult<()> {
    if lease.is_kept() || lease.status() == TransactionStatus::Idle {
        return lease.finish().await;
    }
    Err(SqlError::new(
        SqlState::InvalidTransactionState,
        "a transaction that the request has begun was not ended in it",
    )
    .hint("POST /v1/transactions begins one that lives over several requests"))
}

type Ran = (Box<dyn Encoder>, CommandTag, bool);

async fn statements(lease: &mut Lease, query: &Query, output: &mut Output) -> SqlResult<Ran> {
    let declared = declared(lease, &query.parameters).await?;
    let encoder = |session: &Session| {
        let style = Style::new(session.output_settings());
        let style = Style { names: Some(session.object_names()), arrays: query.arrays, base64: query.base64, ..style };
        query.format.encoder(style)
    };
    if let Some(statement) = lease.cached(&query.sql, &declared) {
        let values = values(lease, &statement, query)?;
        let encoder = encoder(lease);
        return one(lease, &statement, &values, encoder, output, query.rows_max).await;
    }
    let statements = lease.split(&query.sql)?;
    let Some(last) = statements.len().checked_sub(1) else {
        return Err(SqlError::syntax("there is no statement"));
    };
    if last > 0 {
        if !query.parameters.is_empty() {
            return Err(SqlError::syntax("several statements take no parameters"));
        }
        lease.begin_implicit_block();
    }
    for (at, statement) in statements.iter().enumerate() {
        let planned = lease.plan(statement, &declared).await?;
        if at < last {
            drain(lease, &planned).await?;
            continue;
        }
        let values = values(lease, &planned, query)?;
        let encoder = encoder(lease);
        return one(lease, &planned, &values, encoder, output, query.rows_max).await;
    }
    Err(SqlError::internal("the last statement did not run"))
}

/// Runs a statement whose result nobody sees.
async fn drain(session: &mut Session, statement: &Statement) -> SqlResult<()> {
    match session.execute(statement, &[]).await? {
        Outcome::Rows(_, mut rows) => {
            while rows.next().await?.is_some() {}
            Ok(())
        }
        Outcome::Command(_) => Ok(()),
        Outcome::CopyIn(_) | Outcome::CopyOut(_) => Err(no_copy()),
    }
}

async fn one(
    session: &mut Session,
    statement: &Statement,
    values: &[Value],
    mut encoder: Box<dyn Encoder>,
    output: &mut Output,
    rows_max: Option<u64>,
) -> SqlResult<Ran> {
    let (columns, mut stream) = match session.execute(statement, values).await? {
        Outcome::Rows(columns, stream) => (columns, stream),
        Outcome::Command(tag) => return Ok((encoder, tag, false)),
        Outcome::CopyIn(_) | Outcome::CopyOut(_) => return Err(no_copy()),
    };
    encoder.begin(&columns, &mut output.buffer)?;
    let rows_max = rows_max.unwrap_or(u64::MAX);
    let (mut rows, mut truncated) = (0u64, false);
    while let Some(block) = stream.next().await? {
        let count = block.row_count() as u64;
        if count == 0 {
            continue;
        }
        let block = if rows + count > rows_max {
            truncated = true;
            block.first((rows_max - rows) as usize)
        } else {
            block
        };
        rows += block.row_count() as u64;
        encoder.block(block, &mut output.buffer)?;
        output.push().await?;
        if truncated {
            break;
        }
    }
    Ok((encoder, CommandTag { name: stream.tag, rows: Some(rows) }, truncated))
}

/// The types that the client says its parameters have.
async fn declared(session: &mut Session, parameters: &[Parameter]) -> SqlResult<Vec<Option<SqlType>>> {
    let mut declared = Vec::with_capacity(parameters.len());
    for parameter in parameters {
        declared.push(match &parameter.ty {
            Some(name) => Some(type_named(session, name).await?),
            None => None,
        });
    }
    // All unknown is what the cache of statements knows best.
    if declared.iter().all(Option::is_none) {
        declared.clear();
    }
    Ok(declared)
}

/// The type of a name, as a cast would find it.
async fn type_named(session: &mut Session, name: &str) -> SqlResult<SqlType> {
    let unknown = || SqlError::new(SqlState::UndefinedObject, format!("type \"{name}\" does not exist"));
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '"' | ' ' | '(' | ')' | ',' | '[' | ']');
    if name.len() > 200 || !name.chars().all(allowed) {
        return Err(unknown());
    }
    let statements = session.split(&format!("SELECT CAST(NULL AS {name})"))?;
    let [statement] = statements.as_slice() else { return Err(unknown()) };
    let planned = session.plan(statement, &[]).await?;
    match planned.prepared.columns.as_deref() {
        Some([column]) => Ok(column.ty.clone()),
        _ => Err(unknown()),
    }
}

/// The parameters as values of the types that the statement has for them.
fn values(session: &Session, statement: &Statement, query: &Query) -> SqlResult<Vec<Value>> {
    // Parameters that planning made of literals come before none of the client's: it makes them only where there are none.
    let types = if statement.literals.is_empty() { &statement.prepared.parameters[..] } else { &[] };
    let given = query.parameters.len();
    if types.len() != given {
        let message = format!("the statement has {} parameters, and {given} were given", types.len());
        return Err(SqlError::new(SqlState::ProtocolViolation, message));
    }
    let settings = session.output_settings();
    query.parameters.iter().zip(types).map(|(parameter, ty)| value(&parameter.json, ty, &settings)).collect()
}

fn notices(session: &mut Session) -> Vec<serde_json::Value> {
    let severity = |severity| match severity {
        Severity::Notice => "notice",
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    let notice = |notice: perigee_engine::Notice| {
        let error = &notice.error;
        json!({"severity": severity(notice.severity), "sqlstate": error.state().code(), "message": error.message()})
    };
    session.take_notices().into_iter().map(notice).collect()
}

fn no_copy() -> SqlError {
    SqlError::unsupported("COPY with the client over this door")
        .hint("POST /v1/tables/{table}/rows takes JSON and NDJSON")
}
