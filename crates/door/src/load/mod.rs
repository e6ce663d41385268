//! Rows that a client sends to be loaded into a table: a COPY, from whatever form they have.
//!
//! ```text
//! body --> [parts] --> thread: unpack, decode --> [batches] --> task of the statement: Session::copy_write
//!                      (source: one for each form)
//! ```
//!
//! Nothing is held but what is between two of these: a client that sends faster than rows are written waits. All rows are loaded, or none.
//! A body counts as whole only with its end: one that breaks off loads nothing.

mod body;
mod csv;
mod footer;
mod ndjson;
mod source;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use parking_lot::Mutex;
use perigee_engine::{CopyIn, Outcome, Session};
use perigee_types::{SqlError, SqlResult, SqlState, Value};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::script::{fetch, perform};
use crate::transactions::Lease;
use crate::{Caller, Door};

pub use body::Coding;
pub use csv::CsvForm;
use source::{Place, Rows, Source};

/// Loads at a time: each has a thread. And those of one role.
const LOADS_MAX: usize = 32;
const LOADS_OF_ROLE_MAX: usize = 8;
/// Parts of a body, and batches of rows, between those that give and those that take them.
const PARTS: usize = 4;
const BATCHES: usize = 2;
/// What is still taken of a body that is refused, and for how long: most clients look at the answer only once they have sent everything.
const REST_BYTES_MAX: usize = 256 << 20;
const REST_TIME: Duration = Duration::from_secs(10);

/// How rows are written.
#[derive(Clone, Debug)]
pub enum Form {
    /// CSV.
    Csv(CsvForm),
    /// An object of JSON per line.
    Ndjson,
    /// Arrow's IPC stream.
    Arrow,
    /// A Parquet file. It is put down first: what says where everything is stands at its end.
    Parquet,
}

/// What is to be loaded, and into what.
#[derive(Clone, Debug)]
pub struct Load {
    /// Statements of the same transaction that run before it.
    pub before: Vec<String>,
    /// The table, as a statement names it.
    pub table: String,
    /// The columns; where it is not said, those that the data names.
    pub columns: Option<Vec<String>>,
    /// How the rows are written.
    pub form: Form,
    /// How the body is packed.
    pub coding: Coding,
}

/// Why nothing was loaded.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub error: SqlError,
    /// Where: a row of the data, or a line of it where that is text; from 1. `None` where it is not about one.
    pub row: Option<u64>,
}

/// Loads the rows of a body. How many they were.
///
/// # Errors
/// What the rows, the table or the caller's rights do not allow; then nothing was loaded.
pub async fn load(
    door: &Arc<Door>,
    caller: &Caller,
    lease: Lease,
    load: Load,
    body: BoxStream<'static, SqlResult<Bytes>>,
) -> Result<u64, Refused> {
    let (parts, waiting) = mpsc::channel(PARTS);
    // Ends with this call: what reads then has no end of the body, which is an error.
    let pump = AbortOnDropHandle::new(tokio::spawn(pump(body, parts)));
    let row = Arc::new(AtomicU64::new(0));
    let (place, asks) = (Arc::clone(&row), (Arc::clone(door), caller.clone()));
    let loaded =
        perform(door, lease, move |session| async move { run(session, load, waiting, asks, &place).await }.boxed());
    let loaded = loaded.await;
    if loaded.is_err() {
        drop(tokio::time::timeout(REST_TIME, pump).await);
    }
    loaded.map_err(|error| Refused { error, row: Some(row.load(Ordering::Relaxed)).filter(|row| *row > 0) })
}

async fn pump(mut body: BoxStream<'static, SqlResult<Bytes>>, parts: mpsc::Sender<body::Part>) {
    while let Some(part) = body.next().await {
        let is_last = part.is_err();
        if parts.send(part.map(Some)).await.is_err() {
            return take_rest(body).await;
        }
        if is_last {
            return;
        }
    }
    drop(parts.send(Ok(None)).await);
}

async fn take_rest(mut body: BoxStream<'static, SqlResult<Bytes>>) {
    let mut left = REST_BYTES_MAX;
    while left > 0
        && let Some(Ok(part)) = body.next().await
    {
        left = left.saturating_sub(part.len());
    }
}

async fn run(
    session: &mut Session,
    load: Load,
    parts: mpsc::Receiver<body::Part>,
    (door, caller): (Arc<Door>, Caller),
    place: &AtomicU64,
) -> SqlResult<u64> {
    // Before anything is unpacked, or waits for who has no right to it. Who makes the table has it.
    if load.before.is_empty() {
        check_rights(session, &load).await?;
    }
    let _place = door.loads.take(&caller.user)?;
    for statement in &load.before {
        fetch(session, statement, &[]).await?;
    }
    let Load { table, columns, form, coding, .. } = load;
    let (wanted, folder, bytes_max) = (columns.clone(), door.load_dir.clone(), door.load_bytes_max);
    let opened = tokio::task::spawn_blocking(move || {
        Source::open(form, columns, body::open(parts, coding, bytes_max)?, &folder)
    });
    let source = opened.await.map_err(damaged)??;
    let copy = begin(session, &source.statement(&table, wanted.as_deref())).await?;
    let name = copy.table.clone();
    let (settings, cancelled) = (session.output_settings(), session.cancellation());
    let (batches, mut waiting) = mpsc::channel::<Rows>(BATCHES);
    let reading = tokio::task::spawn_blocking(move || {
        // Nobody takes it any more where the statement has failed.
        source.read(copy, settings, &mut |rows| {
            batches.blocking_send(rows).map_err(|_| Refused { error: crate::run::gone(), row: None })
        })
    });
    let stopped = || SqlError::new(SqlState::QueryCanceled, "canceling statement due to user request");
    loop {
        let rows = tokio::select! {
            rows = waiting.recv() => rows,
            () = cancelled.cancelled() => return Err(stopped()),
        };
        let Some(rows) = rows else { break };
        caller.check_proof(&door)?;
        if let Err(refused) = session.copy_write(rows.batch).await {
            let at = refused.row.and_then(|row| rows.places.row(row));
            place.store(at.unwrap_or_default(), Ordering::Relaxed);
            return Err(in_place(refused.error, &name, at.map(|at| rows.places.say(at))));
        }
    }
    if let Err(refused) = reading.await.map_err(damaged)? {
        place.store(refused.row.unwrap_or_default(), Ordering::Relaxed);
        return Err(refused.error);
    }
    caller.check_proof(&door)?;
    Ok(session.copy_finish().await?.rows.unwrap_or_default())
}

/// Begins a COPY.
async fn begin(session: &mut Session, statement: &str) -> SqlResult<CopyIn> {
    let parsed = session.split(statement)?;
    let [parsed] = parsed.as_slice() else {
        return Err(SqlError::syntax("a name of the table or of a column is none"));
    };
    let planned = session.plan(parsed, &[]).await?;
    match session.execute(&planned, &[]).await? {
        Outcome::CopyIn(copy) => Ok(copy),
        _ => Err(SqlError::internal("a COPY that takes no rows")),
    }
}

/// Refuses who may not write to the table, or to the columns that are named: by a COPY that the one of the rows replaces.
async fn check_rights(session: &mut Session, load: &Load) -> SqlResult<()> {
    let names = match &load.columns {
        Some(columns) => format!(" ({})", columns.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")),
        None => {
            let table = load.table.replace('\'', "''");
            let sql = format!(
                "SELECT NOT has_table_privilege('{table}', 'INSERT') AND has_any_column_privilege('{table}', 'INSERT')"
            );
            // The data says which columns these are.
            if fetch(session, &sql, &[]).await?.rows == [vec![Value::Bool(true)]] {
                return Ok(());
            }
            String::new()
        }
    };
    begin(session, &format!("COPY {}{names} FROM STDIN", load.table)).await.map(|_| ())
}

/// Loads that run, by role.
#[derive(Default)]
pub(crate) struct Places(Mutex<HashMap<String, usize>>);

impl Places {
    /// A place for a load, until it is dropped.
    ///
    /// # Errors
    /// `53300` where there is none.
    fn take(&self, role: &str) -> SqlResult<Taken<'_>> {
        let mut running = self.0.lock();
        let (all, own) = (running.values().sum::<usize>(), running.get(role).copied().unwrap_or_default());
        let whose = match () {
            () if all >= LOADS_MAX => String::new(),
            () if own >= LOADS_OF_ROLE_MAX => format!(" for role \"{role}\""),
            () => {
                running.insert(role.to_owned(), own + 1);
                return Ok(Taken { places: self, role: role.to_owned() });
            }
        };
        let count = if whose.is_empty() { all } else { own };
        Err(SqlError::new(SqlState::TooManyConnections, format!("{count} loads run already{whose}")))
    }
}

struct Taken<'a> {
    places: &'a Places,
    role: String,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut running = self.places.0.lock();
        if let Some(count) = running.get_mut(&self.role) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.role);
            }
        }
    }
}

/// An error with where it is from, unless it says that itself.
fn in_place(error: SqlError, table: &str, place: Option<String>) -> SqlError {
    match place {
        Some(place) if error.fields().context.is_none() => error.context(format!("COPY {table}, {place}")),
        _ => error,
    }
}

/// A reader has panicked: the libraries that read files trust what is in them too much.
fn damaged(error: tokio::task::JoinError) -> SqlError {
    tracing::warn!(%error, "what was to be loaded could not be read");
    SqlError::new(SqlState::BadCopyFileFormat, "the data cannot be read: it is damaged")
}

/// A name, as a statement has it.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Place {
    /// The row of the data that a row of a batch is.
    fn row(&self, row: usize) -> Option<u64> {
        match self {
            Place::Lines(lines) => lines.get(row).copied(),
            Place::Rows(first) => Some(first + row as u64),
        }
    }

    fn say(&self, at: u64) -> String {
        match self {
            Place::Lines(_) => format!("line {at}"),
            Place::Rows(_) => format!("row {at}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_role_takes_all_places() {
        let places = Places::default();
        let mut taken: Vec<_> = (0..LOADS_OF_ROLE_MAX).map(|_| places.take("a").unwrap()).collect();
        assert_eq!(places.take("a").err().unwrap().state(), SqlState::TooManyConnections);
        taken.extend((LOADS_OF_ROLE_MAX..LOADS_MAX).map(|n| places.take(&format!("r{}", n % 5)).unwrap()));
        assert!(places.take("b").is_err());
        drop(taken);
        assert!(places.0.lock().is_empty() && places.take("b").is_ok());
    }
}
