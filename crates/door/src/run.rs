//! A statement in a task of its own, and its result on the way to the client.
//!
//! ```text
//! handler ---- spawns ----> task: plan, execute, commit
//!    |  <--- columns, rows, end: into the door's sink, as fast as the client takes them
//!    `-- dropped, as the client has gone: the statement is cancelled
//! ```
//!
//! The task, not the request, owns the session: a commit that is on its way ends in its own time, whatever the client does. A
//! result is whole only with its end, which is given behind the commit.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use perigee_engine::{CommandTag, Engine, Notice, Outcome, RowBlock, Session, Statement, TransactionStatus};
use perigee_plan::ResultColumn;
use perigee_types::text::{OutputSettings, parse_with};
use perigee_types::{Row, SqlError, SqlResult, SqlState, SqlType, Value};
use serde_json::value::RawValue;

use crate::script::of_type;
use crate::transactions::Lease;
use crate::value::value;

/// Between two cancels of what a client that has gone left running.
const CANCEL_AGAIN: Duration = Duration::from_millis(100);

/// Rows that are turned into values at a time.
const ROWS: usize = 1_024;

/// What a client gives for a parameter.
#[derive(Clone, Debug)]
pub enum Given<'a> {
    /// JSON.
    Json(Cow<'a, RawValue>),
    /// Text, as PostgreSQL reads it.
    Text(Cow<'a, str>),
    /// A value of a type that is to be the parameter's.
    Value(Value),
    /// A value of the parameter's own type.
    Exact(Value),
}

impl<'a> Given<'a> {
    /// Text, as PostgreSQL reads it.
    #[must_use]
    pub fn text(text: &'a str) -> Self {
        Given::Text(Cow::Borrowed(text))
    }

    /// The same, without a copy.
    #[must_use]
    pub fn borrowed(&self) -> Given<'_> {
        match self {
            Given::Json(json) => Given::Json(Cow::Borrowed(json)),
            Given::Text(text) => Given::Text(Cow::Borrowed(text)),
            Given::Value(value) => Given::Value(value.clone()),
            Given::Exact(value) => Given::Exact(value.clone()),
        }
    }

    /// As a value of type `ty`.
    ///
    /// # Errors
    /// `22P02` and the like for what is none.
    pub(crate) fn value(&self, ty: &SqlType, settings: &OutputSettings) -> SqlResult<Value> {
        match self {
            Given::Json(json) => value(json, ty, settings),
            Given::Text(text) => parse_with(text, ty, settings),
            Given::Value(value) => of_type(value, ty, settings),
            Given::Exact(value) => Ok(value.clone()),
        }
    }
}

/// A parameter of a statement.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// The type that the client says it has.
    pub ty: Option<String>,
    /// Its value.
    pub given: Given<'static>,
}

impl Parameter {
    /// JSON, of the type that the statement has for it.
    #[must_use]
    pub fn json(json: Box<RawValue>) -> Self {
        Self { ty: None, given: Given::Json(Cow::Owned(json)) }
    }

    /// Text, of the type that the statement has for it.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { ty: None, given: Given::Text(Cow::Owned(text.into())) }
    }

    /// A value of the type that the statement has for it.
    #[must_use]
    pub fn value(value: Value) -> Self {
        Self { ty: None, given: Given::Value(value) }
    }
}

/// What a client wants to run.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// One statement; or several, without parameters, of which the last one's result is given.
    pub sql: String,
    /// Values of `$1`, `$2`, ….
    pub parameters: Vec<Parameter>,
    /// Rows that are given at most.
    pub rows_max: Option<u64>,
}

/// What stands behind the rows.
#[derive(Clone, Debug)]
pub struct End {
    /// `SELECT 3`, `INSERT 0 1`, `CREATE TABLE`.
    pub command: String,
    /// Rows of the result, or those that a command has counted.
    pub rows: Option<u64>,
    /// There are more rows than were asked for.
    pub truncated: bool,
    /// Messages beside the result.
    pub notices: Vec<Notice>,
}

/// Takes the result of a statement, in the statement's task. An error of it is one of the statement.
pub trait Sink: Send {
    /// What the rows have. Not called for a command without rows.
    fn begin(&mut self, session: &Session, columns: &Arc<[ResultColumn]>) -> SqlResult<()>;

    /// Some rows.
    fn block(&mut self, block: RowBlock) -> SqlResult<()>;

    /// Passes on what there is, once that is enough, and waits until the client has taken what is before it.
    fn push(&mut self) -> BoxFuture<'_, SqlResult<()>>;

    /// How it has ended. What was done is committed, or undone, and nothing of the session is held any more.
    fn close(self: Box<Self>, ended: SqlResult<End>) -> BoxFuture<'static, ()>;
}

/// What a sink says when nobody takes what it has.
#[must_use]
pub fn gone() -> SqlError {
    SqlError::new(SqlState::QueryCanceled, "the client has gone, or does not read")
}

/// Runs a query in a task of its own. Dropping what is given before the end cancels it.
#[must_use]
pub fn start(engine: &Arc<Engine>, lease: Lease, query: Query, sink: Box<dyn Sink>) -> CancelGuard {
    let guard = CancelGuard::new(engine, &lease);
    let done = Arc::clone(&guard.done);
    tokio::spawn(async move {
        run(lease, &query, sink).await;
        done.store(true, Ordering::Release);
    });
    guard
}

/// Cancels the statement of a session when it is dropped before the statement's end.
pub struct CancelGuard {
    engine: Arc<Engine>,
    session: (i32, i32),
    pub(crate) done: Arc<AtomicBool>,
}

impl CancelGuard {
    pub(crate) fn new(engine: &Arc<Engine>, session: &Session) -> Self {
        Self { engine: engine.clone(), session: (session.process_id(), session.secret()), done: Arc::default() }
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        let (engine, session, done) = (self.engine.clone(), self.session, self.done.clone());
        let is_done = move || done.load(Ordering::Acquire);
        if is_done() {
            return;
        }
        engine.cancel(session.0, session.1);
        // Between two statements, or while one is planned, a cancel meets nothing: it is said until the end.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            while !is_done() {
                tokio::time::sleep(CANCEL_AGAIN).await;
                // What is done has given its session back: a cancel would meet what runs there next.
                if !is_done() {
                    engine.cancel(session.0, session.1);
                }
            }
        });
    }
}

async fn run(mut lease: Lease, query: &Query, mut sink: Box<dyn Sink>) {
    let ran = statements(&mut lease, query, &mut *sink).await;
    let ended = match ran {
        Ok(done) => settle(&mut lease).await.map(|()| done),
        Err(error) => Err(lease.explain_cancel(error)),
    };
    let ended = ended.map(|(tag, truncated)| End {
        command: tag.text(),
        rows: tag.rows,
        truncated,
        notices: lease.take_notices(),
    });
    if let Err(error) = &ended {
        lease.note_error(error);
        lease.fail();
        // The first error is what the client is told; a block of its own stays failed until it is rolled back.
        drop(lease.finish().await);
    }
    // Before the client knows: its next request may need what this one holds.
    drop(lease);
    sink.close(ended).await;
}

/// Ends the implicit transaction. A block that one request begins must end in it.
pub(crate) fn settle(lease: &mut Lease) -> BoxFuture<'_, SqlResult<()>> {
    async move {
        if lease.is_kept() || lease.status() == TransactionStatus::Idle {
            return lease.finish().await;
        }
        let message = "a transaction that the request has begun was not ended in it";
        Err(SqlError::new(SqlState::InvalidTransactionState, message)
            .hint("a transaction that lives over several requests is begun by a request of its own"))
    }
    .boxed()
}

/// What a statement has done, and whether rows of it were left out.
type Ran = (CommandTag, bool);

async fn statements(lease: &mut Lease, query: &Query, sink: &mut dyn Sink) -> SqlResult<Ran> {
    let declared = declared(lease, query.parameters.iter().map(|parameter| parameter.ty.as_deref())).await?;
    if let Some(statement) = lease.cached(&query.sql, &declared) {
        let values = values(lease, &statement, query)?;
        return one(lease, &statement, &values, sink, query.rows_max).await;
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
        return one(lease, &planned, &values, sink, query.rows_max).await;
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
    sink: &mut dyn Sink,
    rows_max: Option<u64>,
) -> SqlResult<Ran> {
    let (columns, mut stream) = match session.execute(statement, values).await? {
        Outcome::Rows(columns, stream) => (columns, stream),
        Outcome::Command(tag) => return Ok((tag, false)),
        Outcome::CopyIn(_) | Outcome::CopyOut(_) => return Err(no_copy()),
    };
    sink.begin(session, &columns)?;
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
        sink.block(block)?;
        sink.push().await?;
        if truncated {
            break;
        }
    }
    Ok((CommandTag { name: stream.tag, rows: Some(rows) }, truncated))
}

/// The types that the client says its parameters have.
pub(crate) async fn declared<'a>(
    session: &mut Session,
    names: impl Iterator<Item = Option<&'a str>>,
) -> SqlResult<Vec<Option<SqlType>>> {
    let mut declared = Vec::new();
    for name in names {
        declared.push(match name {
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
    query.parameters.iter().zip(types).map(|(parameter, ty)| parameter.given.value(ty, &settings)).collect()
}

/// The rows of a block, some at a time.
pub fn for_rows(block: RowBlock, mut each: impl FnMut(Row)) {
    match block {
        RowBlock::Values(rows) => rows.into_iter().for_each(each),
        RowBlock::Batch(batch) => {
            for from in (0..batch.num_rows()).step_by(ROWS) {
                let part = batch.slice(from, ROWS.min(batch.num_rows() - from));
                RowBlock::Batch(part).into_rows().into_iter().for_each(&mut each);
            }
        }
    }
}

fn no_copy() -> SqlError {
    SqlError::unsupported("COPY with the client over this door")
}
