//! Portals: statements with their parameters, and how far their rows were taken.
//!
//! Bind makes portals, DECLARE makes cursors, and they are the same: FETCH takes rows of either, and so does Execute.
//!
//! ```text
//! New --run--> Rows --take, take, …--> (no more rows)
//!    `-------> Done   (a command that gives no rows)
//! ```
//!
//! A portal that Bind made reads what was there then: where the session writes before anybody takes its rows, its query begins
//! before the write does.
//!
//! A portal ends with its transaction. A cursor WITH HOLD goes on: it reads the snapshot that it was declared at, which
//! a commit does not change, so nothing needs to be copied.

use std::collections::HashMap;
use std::sync::Arc;

use perigee_plan::{Plan, Point, ResultColumn};
use perigee_types::{SqlError, SqlResult, SqlState, Value};
use tokio::sync::Mutex;

use crate::Statement;
use crate::api::{CommandTag, CopyIn, CopyOut, Outcome, RowBlock, RowStream};
use crate::row_source::RowSource;
use crate::session::Session;

/// A statement with its parameters, and how far its rows were taken.
#[derive(Debug)]
pub struct Portal {
    /// `None` is the empty query.
    statement: Option<Statement>,
    parameters: Vec<Value>,
    /// How the door writes the columns: its own format codes, kept here because they live as long.
    formats: Vec<i16>,
    progress: Progress,
    /// WITH HOLD
    hold: bool,
    /// WITH HOLD, and its transaction has committed.
    held: bool,
    /// How many savepoints there were when it was made.
    pub(crate) savepoints: usize,
}

#[derive(Clone, Debug)]
enum Progress {
    New,
    Rows(Arc<[ResultColumn]>, SharedRows),
    Done,
}

/// Rows that are taken piece by piece.
pub type SharedRows = Arc<Mutex<RowSource>>;

/// What running a portal gives.
#[derive(Debug)]
pub enum PortalRun {
    /// It is the empty query.
    Empty,
    /// Rows, new ones or those that are left.
    Rows {
        /// Their columns.
        columns: Arc<[ResultColumn]>,
        /// The door's format codes.
        formats: Vec<i16>,
        /// The rows.
        rows: SharedRows,
    },
    /// Done.
    Command(CommandTag),
    /// The client shall send data.
    CopyIn(CopyIn),
    /// The client gets data.
    CopyOut(CopyOut),
}

impl Portal {
    /// A bound statement; `None` is the empty query.
    #[must_use]
    pub fn new(statement: Option<Statement>, parameters: Vec<Value>, formats: Vec<i16>) -> Self {
        Self { statement, parameters, formats, progress: Progress::New, hold: false, held: false, savepoints: 0 }
    }

    /// A cursor.
    pub(crate) fn cursor(columns: Arc<[ResultColumn]>, rows: RowSource, hold: bool) -> Self {
        let progress = Progress::Rows(columns, Arc::new(Mutex::new(rows)));
        Self { progress, hold, ..Self::new(None, Vec::new(), Vec::new()) }
    }

    /// Columns of its rows; `None` for statements without rows.
    #[must_use]
    pub fn columns(&self) -> Option<&Arc<[ResultColumn]>> {
        match &self.progress {
            Progress::Rows(columns, _) => Some(columns),
            _ => self.statement.as_ref()?.prepared.columns.as_ref(),
        }
    }

    /// The door's format codes.
    #[must_use]
    pub fn formats(&self) -> &[i16] {
        &self.formats
    }
}

/// A session's portals by name; the unnamed one is `""`.
#[derive(Debug, Default)]
pub(crate) struct Portals(HashMap<String, Portal>);

impl Portals {
    pub(crate) fn get(&self, name: &str) -> Option<&Portal> {
        self.0.get(name)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn insert(&mut self, name: &str, portal: Portal) {
        self.0.insert(name.to_owned(), portal);
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Portal> {
        self.0.remove(name)
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Names of those whose query has not begun.
    fn bound(&self) -> Vec<String> {
        let is_bound = |portal: &Portal| {
            let plan = portal.statement.as_ref().map(|statement| &statement.prepared.plan);
            matches!(portal.progress, Progress::New) && plan.is_some_and(reads_only)
        };
        self.0.iter().filter(|(_, portal)| is_bound(portal)).map(|(name, _)| name.clone()).collect()
    }

    /// The transaction has ended: what does not outlive it is dropped.
    pub(crate) fn end_transaction(&mut self, committed: bool) {
        if self.0.is_empty() {
            return;
        }
        self.0.retain(|_, portal| {
            portal.held |= committed && portal.hold;
            portal.held
        });
    }

    /// ROLLBACK TO a savepoint that `savepoints` others are before.
    pub(crate) fn rollback_to(&mut self, savepoints: usize) {
        self.0.retain(|_, portal| portal.held || portal.savepoints <= savepoints);
    }

    /// RELEASE of a savepoint that `savepoints` others are before.
    pub(crate) fn release(&mut self, savepoints: usize) {
        for portal in self.0.values_mut() {
            portal.savepoints = portal.savepoints.min(savepoints);
        }
    }
}

impl Session {
    /// Makes a portal. The unnamed one replaces the one before.
    ///
    /// # Errors
    /// `42P03` when the name is taken.
    pub fn put_portal(&mut self, name: &str, mut portal: Portal) -> SqlResult<()> {
        if !name.is_empty() && self.portals.contains(name) {
            return Err(SqlError::new(SqlState::DuplicateCursor, format!("cursor \"{name}\" already exists")));
        }
        portal.savepoints = self.transaction.as_ref().map_or(0, |t| t.savepoints.len());
        self.portals.insert(name, portal);
        Ok(())
    }

    /// A portal.
    ///
    /// # Errors
    /// `34000`
    pub fn portal(&self, name: &str) -> SqlResult<&Portal> {
        self.portals
            .get(name)
            .ok_or_else(|| SqlError::new(SqlState::InvalidCursorName, format!("portal \"{name}\" does not exist")))
    }

    /// Forgets a portal; without one nothing happens.
    pub fn close_portal(&mut self, name: &str) {
        self.portals.remove(name);
    }

    /// Runs a portal, or goes on with its rows. A portal that fails is gone.
    ///
    /// # Errors
    /// `34000`, `25P02`, `55000` for a command that has run already, and what stops the statement.
    pub async fn run_portal(&mut self, name: &str) -> SqlResult<PortalRun> {
        self.portal(name)?;
        let Some(mut portal) = self.portals.remove(name) else { return Ok(PortalRun::Empty) };
        let run = match portal.progress.clone() {
            Progress::Rows(columns, rows) => {
                self.resume(&rows).await?;
                PortalRun::Rows { columns, formats: portal.formats.clone(), rows }
            }
            Progress::Done => return Err(cannot_run(name)),
            Progress::New => match portal.statement.clone() {
                None => PortalRun::Empty,
                Some(statement) => {
                    let run = self.start(&mut portal, &statement).await?;
                    if matches!(statement.prepared.plan, Plan::Transaction(_)) {
                        // Its transaction has ended, and it with it.
                        return Ok(run);
                    }
                    run
                }
            },
        };
        self.portals.insert(name, portal);
        Ok(run)
    }

    async fn start(&mut self, portal: &mut Portal, statement: &Statement) -> SqlResult<PortalRun> {
        let outcome = self.execute(statement, &portal.parameters).await?;
        portal.progress = Progress::Done;
        let (columns, stream) = match outcome {
            Outcome::Rows(columns, stream) => (columns, stream),
            Outcome::Command(tag) => return Ok(PortalRun::Command(tag)),
            Outcome::CopyIn(copy) => return Ok(PortalRun::CopyIn(copy)),
            Outcome::CopyOut(copy) => return Ok(PortalRun::CopyOut(copy)),
        };
        if !portal.formats.is_empty() && portal.formats.len() != columns.len() {
            // EXECUTE or FETCH, and its statement or cursor is another one than when it was bound.
            return Err(SqlError::new(SqlState::FeatureNotSupported, "cached plan must not change result type"));
        }
        let rows = Arc::new(Mutex::new(RowSource::new(stream, &statement.prepared.text)));
        portal.progress = Progress::Rows(columns.clone(), rows.clone());
        Ok(PortalRun::Rows { columns, formats: portal.formats.clone(), rows })
    }

    /// Begins the queries that Bind has made portals of and nobody has taken rows of: what the statement `plan` is going to write
    /// is not in them.
    pub(crate) async fn begin_bound(&mut self, plan: &Plan) -> SqlResult<()> {
        if self.portals.0.is_empty() || reads_only(plan) || matches!(plan, Plan::Transaction(_)) {
            return Ok(());
        }
        for name in self.portals.bound() {
            let Some(mut portal) = self.portals.remove(&name) else { continue };
            let Some(statement) = portal.statement.clone() else { continue };
            let literals = &statement.literals;
            let parameters = if literals.is_empty() { &portal.parameters } else { literals };
            let (columns, stream) = match Box::pin(self.run(&statement.prepared, parameters)).await {
                Ok(Outcome::Rows(columns, stream)) => (columns, stream),
                Ok(_) => return Err(SqlError::internal("a query gave no rows")),
                // It is an error of who takes its rows.
                Err(error) => {
                    let stream = futures::stream::iter([Err(error)]);
                    let columns = statement.prepared.columns.clone().unwrap_or_else(|| Vec::new().into());
                    (columns, RowStream::stream(statement.prepared.tag, Box::pin(stream)))
                }
            };
            let rows = RowSource::new(stream, &statement.prepared.text);
            portal.progress = Progress::Rows(columns, Arc::new(Mutex::new(rows)));
            self.portals.insert(&name, portal);
        }
        Ok(())
    }

    /// More rows are taken from what a statement before has begun: time limits and cancellation are this one's.
    async fn resume(&mut self, rows: &SharedRows) -> SqlResult<()> {
        if self.transaction.as_ref().is_some_and(|t| t.failed) {
            return Err(crate::session::in_failed_transaction());
        }
        let mut rows = rows.lock().await;
        self.begin_activity(&rows.text.clone());
        rows.cancel = Some(self.cancel.clone());
        Ok(())
    }

    /// The rows of a cursor, or of a portal that Bind made, for FETCH.
    pub(crate) async fn cursor_rows(&mut self, name: &str) -> SqlResult<(Arc<[ResultColumn]>, SharedRows)> {
        let unknown = || SqlError::new(SqlState::InvalidCursorName, format!("cursor \"{name}\" does not exist"));
        let portal = self.portals.get(name).ok_or_else(unknown)?;
        // A portal that fetches from another one would nest as deep as a client likes.
        if portal.statement.as_ref().is_some_and(|s| matches!(s.prepared.plan, Plan::Session(_))) {
            return Err(cannot_run(name));
        }
        if let Progress::Rows(columns, rows) = &portal.progress {
            let (columns, rows) = (columns.clone(), rows.clone());
            rows.lock().await.cancel = Some(self.cancel.clone());
            return Ok((columns, rows));
        }
        let Some(statement) = portal.statement.clone().filter(|s| s.prepared.columns.is_some()) else {
            return Err(cannot_run(name));
        };
        if !matches!(portal.progress, Progress::New) {
            return Err(cannot_run(name));
        }
        let mut portal = self.portals.remove(name).ok_or_else(unknown)?;
        let run = Box::pin(self.start(&mut portal, &statement)).await?;
        self.portals.insert(name, portal);
        match run {
            PortalRun::Rows { columns, rows, .. } => Ok((columns, rows)),
            _ => Err(cannot_run(name)),
        }
    }
}

/// Whether a statement only reads, and locks no row.
fn reads_only(plan: &Plan) -> bool {
    match plan {
        Plan::Query(query) => query.row_lock.is_none(),
        Plan::Point(point) => matches!(point, Point::Select { for_update: false, .. }),
        _ => false,
    }
}

fn cannot_run(name: &str) -> SqlError {
    SqlError::new(SqlState::ObjectNotInPrerequisiteState, format!("portal \"{name}\" cannot be run"))
}

/// A block that holds some rows of another.
pub(crate) fn slice(block: &RowBlock, from: usize, to: usize) -> RowBlock {
    match block {
        RowBlock::Batch(batch) => RowBlock::Batch(batch.slice(from, to - from)),
        RowBlock::Values(rows) => RowBlock::Values(rows[from..to].to_vec()),
    }
}
