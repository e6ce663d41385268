//! Continuous aggregates: which of their ranges have changed, and the work of taking the changes in.
//!
//! ```text
//!   log ---- change feed ----> Tracker: ranges that rows came into or left, and at which entry
//!                                 |                        |
//!                              readers: ranges          maintainer: makes the rows of those ranges anew,
//!                              changed behind the       in one transaction with the new position
//!                              position they see
//! ```
//!
//! A tracker is memory only: it reads the feed from the aggregate's position on, so a restart costs what was not taken in.
//! What it does not know (the log was cut, a table was emptied) makes everything changed: readers compute from the table,
//! the maintainer makes all rows anew. A range too many costs time; one too few cannot be, as readers bring the tracker up
//! to their own snapshot before they ask.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use perigee_query::exec::pending::{ALL_RANGES, NO_RANGE, Pending, PendingRanges, RANGES};
use perigee_query::sql;
use perigee_streams::{Change, Cursor, FeedError, Position, Wanted};
use perigee_types::bucket::{BucketWidth, micros};
use perigee_types::catalog::{Catalog, Continuous, Object, Table};
use perigee_types::{Interval, LogIndex, Oid, Row, SqlError, SqlResult, SqlState, TableId, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio_util::sync::CancellationToken;

use crate::api::ConnectRequest;
use crate::engine::Engine;
use crate::session::Session;

/// Bytes of the log that a tracker reads at once.
const READ_BYTES: usize = 1 << 20;
/// Entries that a reader catches up with by itself; behind more than that it computes everything.
const LAG_MAX: u64 = 50_000;
/// Changed ranges that are kept apart.
const CHANGED_MAX: usize = 65_536;
/// Ranges that one transaction of the maintainer takes in, as conditions of its statements.
const TAKEN_MAX: usize = 64;
/// How often the maintainer looks.
const LOOK: Duration = Duration::from_millis(250);
/// The maintainer rests this many times as long as its last work took.
const REST: u32 = 9;
/// It rests at least this long between two works on one aggregate.
const REST_MIN: Duration = Duration::from_millis(500);
/// And this long after an error.
const REST_AFTER_ERROR: Duration = Duration::from_secs(5);

/// All trackers of a node.
#[derive(Default)]
pub(crate) struct Aggregates {
    trackers: Mutex<FxHashMap<TableId, Arc<Mutex<Tracker>>>>,
}

impl Aggregates {
    /// The tracker of a continuous aggregate that is committed.
    fn tracker(&self, engine: &Arc<Engine>, view: TableId) -> Option<Arc<Mutex<Tracker>>> {
        if let Some(tracker) = self.trackers.lock().get(&view) {
            return Some(Arc::clone(tracker));
        }
        let catalog = engine.store.catalog();
        let continuous = catalog.table(view)?.materialized.as_ref()?.continuous.clone()?;
        let tracker = Arc::new(Mutex::new(Tracker::new(engine, &continuous)?));
        Some(Arc::clone(self.trackers.lock().entry(view).or_insert(tracker)))
    }

    /// Forgets those of aggregates that are gone.
    fn retain(&self, known: &FxHashSet<TableId>) {
        self.trackers.lock().retain(|view, _| known.contains(view));
    }
}

/// What has changed in one continuous aggregate's table.
struct Tracker {
    cursor: Cursor,
    time_column: u16,
    width: BucketWidth,
    /// The table's storage as of the cursor, once an entry has told it. What the catalog says may be newer than the
    /// position: a view that was made while its table was emptied would take that for nothing new.
    storage: Option<Oid>,
    /// By a range's beginning: its end, and the entry that changed it last.
    changed: BTreeMap<i64, (i64, LogIndex)>,
    /// What has changed at or before this entry is not known: everything may have.
    unknown: LogIndex,
    /// Works of the maintainer that readers may see: the entry of its transaction, and the position that it set. Ascending.
    taken: VecDeque<(LogIndex, LogIndex)>,
}

impl Tracker {
    fn new(engine: &Arc<Engine>, continuous: &Continuous) -> Option<Self> {
        let (months, days, micros) = continuous.width;
        let width = BucketWidth::new(Interval { months, days, micros }).ok()?;
        let position = position_of(engine, continuous.position)?;
        // It is that of the newest entry, which not every reader sees.
        let seen_from = engine.consensus.metrics().last;
        Some(Self {
            cursor: engine.feed.cursor(Position::behind(position), Wanted::table(continuous.table)),
            time_column: continuous.time_column,
            width,
            storage: None,
            changed: BTreeMap::new(),
            unknown: LogIndex(0),
            taken: VecDeque::from([(seen_from, position)]),
        })
    }

    /// Reads the feed through an entry.
    fn catch_up(&mut self, engine: &Engine, to: LogIndex) -> Result<(), FeedError> {
        while self.cursor.position().index <= to {
            let before = self.cursor.position();
            let batch = match self.cursor.read(READ_BYTES) {
                Ok(batch) => batch,
                Err(FeedError::Gone { .. }) => {
                    // What is behind the end comes; everything before it counts as changed.
                    let end = engine.feed.end();
                    tracing::warn!(from = %before, to = %end, "a continuous aggregate is behind the log and is made anew");
                    self.cursor = self.cursor.moved_to(end);
                    self.forget(LogIndex(end.index.0 - 1));
                    continue;
                }
                Err(error) => return Err(error),
            };
            for event in batch.events {
                self.take(event.position.index, event.change);
            }
            if batch.next == before {
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self, index: LogIndex, change: Change) {
        match change {
            Change::Insert { columns, new, .. } => self.row(index, &columns, &new),
            Change::Update { columns, old, new, .. } => {
                self.old(index, &old);
                self.row(index, &columns, &new);
            }
            Change::Delete { old, .. } => self.old(index, &old),
            Change::Table(table) if Some(table.storage) == self.storage => {}
            Change::Table(table) => {
                self.storage = Some(table.storage);
                self.forget(index);
            }
            Change::Unknown { .. } | Change::Dropped { .. } => self.forget(index),
            Change::Notification(_) => {}
        }
    }

    fn old(&mut self, index: LogIndex, old: &perigee_streams::OldValues) {
        // One that was logged before the table had aggregates, or by its key for another reason.
        if old.whole { self.row(index, &old.columns, &old.values) } else { self.forget(index) }
    }

    fn row(&mut self, index: LogIndex, columns: &[u16], row: &Row) {
        let place = columns.iter().position(|number| *number == self.time_column);
        let Some(time) = place.and_then(|place| row.get(place)) else { return self.forget(index) };
        // Rows without a time are never part of what is kept: readers always compute them.
        if *time == Value::Null {
            return;
        }
        let Some(at) = micros(time) else { return self.forget(index) };
        let start = self.width.start(at);
        self.changed.insert(start, (self.width.last(start), index));
        if self.changed.len() > CHANGED_MAX {
            self.forget(index);
        }
    }

    /// From here on everything through an entry counts as changed.
    fn forget(&mut self, index: LogIndex) {
        self.unknown = self.unknown.max(index);
        self.changed.retain(|_, (_, changed)| *changed > index);
    }

    /// The position that a reader at `at` sees; `None` where it is older than what is known.
    fn position_at(&self, at: LogIndex) -> Option<LogIndex> {
        self.taken.iter().rev().find(|(seen_from, _)| *seen_from <= at).map(|(_, position)| *position)
    }

    /// Ranges that have changed behind a position, ascending; `None` where all may have.
    fn changed_since(&self, position: LogIndex) -> Option<Vec<(i64, i64)>> {
        if self.unknown > position {
            return None;
        }
        let since = self.changed.iter().filter(|(_, (_, index))| *index > position);
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        for (start, (last, _)) in since {
            match ranges.last_mut() {
                Some((_, end)) if end.checked_add(1) == Some(*start) => *end = *last,
                _ => ranges.push((*start, *last)),
            }
        }
        Some(ranges)
    }

    /// The maintainer's transaction is entry `committed`: the aggregate's rows are made through `position` for who sees it.
    fn taken(&mut self, committed: LogIndex, position: LogIndex, horizon: LogIndex) {
        self.taken.push_back((committed, position));
        // What the oldest reader sees taken in, everybody does.
        while self.taken.get(1).is_some_and(|(seen_from, _)| *seen_from <= horizon) {
            self.taken.pop_front();
        }
        if let Some((_, position)) = self.taken.front().copied() {
            self.changed.retain(|_, (_, index)| *index > position);
        }
    }
}

fn position_of(engine: &Engine, sequence: Oid) -> Option<LogIndex> {
    engine.store.sequence(sequence).map(|state| LogIndex(state.next as u64))
}

/// Makes at most `max` ranges of ascending ones, by closing the smallest gaps.
fn merged(mut ranges: Vec<(i64, i64)>, max: usize) -> Vec<(i64, i64)> {
    if ranges.len() <= max {
        return ranges;
    }
    let mut gaps: Vec<(i128, usize)> =
        ranges.windows(2).enumerate().map(|(at, pair)| (i128::from(pair[1].0) - i128::from(pair[0].1), at)).collect();
    gaps.sort_unstable();
    let mut closed: Vec<usize> = gaps.iter().take(ranges.len() - max).map(|(_, at)| *at).collect();
    closed.sort_unstable();
    for at in closed.into_iter().rev() {
        ranges[at].1 = ranges[at + 1].1;
        ranges.remove(at + 1);
    }
    ranges
}

/// What a statement is told of the aggregates that it reads.
pub(crate) struct StatementPending {
    engine: std::sync::Weak<Engine>,
    at: LogIndex,
    /// The catalog of the statement, with its transaction's own changes.
    catalog: Arc<Catalog>,
    /// Tables that its transaction has written to.
    written: FxHashSet<TableId>,
    known: Mutex<FxHashMap<TableId, PendingRanges>>,
}

impl StatementPending {
    pub(crate) fn new(
        engine: &Arc<Engine>,
        at: LogIndex,
        catalog: Arc<Catalog>,
        written: FxHashSet<TableId>,
    ) -> Arc<Self> {
        Arc::new(Self { engine: Arc::downgrade(engine), at, catalog, written, known: Mutex::default() })
    }

    fn find(&self, view: TableId) -> SqlResult<PendingRanges> {
        let engine = self.engine.upgrade();
        let engine = engine.ok_or_else(|| SqlError::new(SqlState::AdminShutdown, "the node is stopping"))?;
        let continuous = |catalog: &Catalog| {
            let view = catalog.table(view)?;
            let continuous = view.materialized.as_ref()?.continuous.clone()?;
            Some((view.storage, catalog.table(continuous.table)?.storage, continuous.table))
        };
        let (seen, latest) = (continuous(&self.catalog), continuous(&engine.store.catalog()));
        let Some((_, _, base)) = seen else { return Ok(ALL_RANGES) };
        // Own rows, and rows of a table that was emptied or made anew since or in this transaction, are in no feed yet.
        if seen != latest || self.written.contains(&base) {
            return Ok(ALL_RANGES);
        }
        let Some(tracker) = engine.aggregates.tracker(&engine, view) else { return Ok(ALL_RANGES) };
        let mut tracker = tracker.lock();
        if self.at.0.saturating_sub(tracker.cursor.position().index.0) > LAG_MAX {
            return Ok(ALL_RANGES);
        }
        tracker.catch_up(&engine, self.at).map_err(SqlError::internal)?;
        if tracker.cursor.position().index <= self.at {
            return Ok(ALL_RANGES);
        }
        let changed = tracker.position_at(self.at).and_then(|position| tracker.changed_since(position));
        let Some(changed) = changed else { return Ok(ALL_RANGES) };
        let mut ranges = [NO_RANGE; RANGES];
        for (slot, range) in ranges.iter_mut().zip(merged(changed, RANGES)) {
            *slot = range;
        }
        Ok(ranges)
    }
}

impl Pending for StatementPending {
    fn ranges(&self, view: TableId) -> SqlResult<PendingRanges> {
        // Both halves of a plan must get the same.
        let mut known = self.known.lock();
        if let Some(ranges) = known.get(&view) {
            return Ok(*ranges);
        }
        let ranges = self.find(view)?;
        known.insert(view, ranges);
        Ok(ranges)
    }
}

/// When an aggregate was worked on last, and for how long to leave it alone.
struct Rest {
    until: Instant,
}

/// Keeps the continuous aggregates of this node up to date until `stop`, while it leads.
pub async fn run(engine: Arc<Engine>, stop: CancellationToken) {
    let mut rests: FxHashMap<TableId, Rest> = FxHashMap::default();
    let mut known: (LogIndex, Vec<Arc<Table>>) = (LogIndex(u64::MAX), Vec::new());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let catalog = engine.store.catalog();
        if known.0 != catalog.version {
            known = (catalog.version, aggregates(&catalog));
            let oids: FxHashSet<TableId> = known.1.iter().map(|view| view.oid).collect();
            engine.aggregates.retain(&oids);
            rests.retain(|view, _| oids.contains(view));
        }
        if engine.consensus.leader_term().is_none() {
            continue;
        }
        for view in &known.1 {
            if rests.get(&view.oid).is_some_and(|rest| Instant::now() < rest.until) || stop.is_cancelled() {
                continue;
            }
            let started = Instant::now();
            let rest = match maintain(&engine, view).await {
                Ok(()) => (started.elapsed() * REST).max(REST_MIN),
                // Nothing is lost: readers compute what is not taken in.
                Err(error) => {
                    tracing::warn!(%error, view = %view.name, "a continuous aggregate was not brought up to date");
                    REST_AFTER_ERROR
                }
            };
            rests.insert(view.oid, Rest { until: Instant::now() + rest });
        }
    }
}

fn aggregates(catalog: &Catalog) -> Vec<Arc<Table>> {
    let continuous = |object: &Object| match object {
        Object::Table(table) => {
            table.materialized.as_ref().is_some_and(|m| m.continuous.is_some()).then(|| Arc::clone(table))
        }
        _ => None,
    };
    catalog.objects().filter_map(continuous).collect()
}

/// Takes in what has changed in a continuous aggregate's table, if anything has.
///
/// # Errors
/// What stops its transaction: somebody changed the view or the table meanwhile, the disk is full, the node does not lead.
pub async fn maintain(engine: &Arc<Engine>, view: &Arc<Table>) -> SqlResult<()> {
    let Some(tracker) = engine.aggregates.tracker(engine, view.oid) else { return Ok(()) };
    let position = {
        let Some(continuous) = view.materialized.as_ref().and_then(|m| m.continuous.as_ref()) else { return Ok(()) };
        position_of(engine, continuous.position).unwrap_or_default()
    };
    let behind = {
        let (engine, tracker) = (Arc::clone(engine), Arc::clone(&tracker));
        let look = move || {
            let mut tracker = tracker.lock();
            tracker.catch_up(&engine, engine.store.applied())?;
            // Somebody has refreshed the view by hand: readers from now on see that.
            if tracker.taken.back().is_some_and(|(_, known)| *known < position) {
                let (last, horizon) = (engine.consensus.metrics().last, engine.store.statistics().horizon);
                tracker.taken(last, position, horizon);
            }
            Ok::<_, FeedError>(tracker.changed_since(position).is_none_or(|changed| !changed.is_empty()))
        };
        tokio::task::spawn_blocking(look).await.map_err(SqlError::internal)?.map_err(SqlError::internal)?
    };
    if !behind {
        return Ok(());
    }
    let request = ConnectRequest {
        user: engine.options.superuser.0.clone(),
        database: database_of(engine, view),
        settings: vec![("application_name".to_owned(), "continuous aggregates".to_owned())],
        ..ConnectRequest::default()
    };
    let mut session = engine.connect(request).await?;
    session.maintains = Some(view.oid);
    let done = take_in(engine, &mut session, view, &tracker, position).await;
    if done.is_err() {
        session.fail();
        session.rollback_transaction();
    }
    done
}

fn database_of(engine: &Engine, view: &Table) -> String {
    let catalog = engine.store.catalog();
    let name = catalog.objects().find_map(|object| match object {
        Object::Database(database) if database.tenant == view.tenant => Some(database.name.clone()),
        _ => None,
    });
    name.unwrap_or_default()
}

async fn take_in(
    engine: &Arc<Engine>,
    session: &mut Session,
    view: &Arc<Table>,
    tracker: &Arc<Mutex<Tracker>>,
    position: LogIndex,
) -> SqlResult<()> {
    session.run_alone("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
    let at = session.transaction()?.begin_statement(engine).index;
    let changed = {
        let mut tracker = tracker.lock();
        tracker.catch_up(engine, at).map_err(SqlError::internal)?;
        if tracker.cursor.position().index <= at { Some(Vec::new()) } else { tracker.changed_since(position) }
    };
    match changed {
        Some(changed) if changed.is_empty() => {
            session.rollback_transaction();
            return Ok(());
        }
        Some(changed) => {
            let ranges = merged(changed, TAKEN_MAX);
            let texts = session.with_plan_context(&[], |_, context| {
                let view = context.catalog.table(view.oid).cloned().ok_or_else(|| gone(view))?;
                sql::maintenance(&view, &ranges, context)
            })?;
            for text in &texts {
                session.run_alone(text).await?;
            }
            let catalog = session.planning_catalog();
            let continuous = catalog.table(view.oid).and_then(|v| v.materialized.as_ref()?.continuous.clone());
            let sequence = continuous.ok_or_else(|| gone(view))?.position;
            session.set_position(sequence, at)?;
        }
        // It sets the position itself.
        None => {
            let name = session.planning_catalog().written_name(view);
            session.run_alone(&format!("REFRESH MATERIALIZED VIEW {name}")).await?;
        }
    }
    let Some(committed) = session.commit_transaction_at().await? else { return Ok(()) };
    let horizon = engine.store.statistics().horizon;
    tracker.lock().taken(committed, at, horizon);
    Ok(())
}

fn gone(view: &Table) -> SqlError {
    SqlError::new(SqlState::UndefinedTable, format!("materialized view \"{}\" is gone", view.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_gaps_are_closed() {
        let ranges = vec![(0, 9), (20, 29), (31, 39), (100, 109), (150, 159)];
        assert_eq!(merged(ranges.clone(), 5), ranges);
        assert_eq!(merged(ranges.clone(), 4), [(0, 9), (20, 39), (100, 109), (150, 159)]);
        assert_eq!(merged(ranges.clone(), 2), [(0, 39), (100, 159)]);
        assert_eq!(merged(ranges, 1), [(0, 159)]);
        assert_eq!(merged(vec![(i64::MIN, -5), (7, i64::MAX)], 1), [(i64::MIN, i64::MAX)]);
    }
}
