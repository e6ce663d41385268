//! What age does to rows: the leader ends those that are older than their table's `ttl`, and moves those that are older than
//! its `warm_retention` to the cold tier.
//!
//! ```text
//! age  ->  the last entry of the log that is so old (the store's timeline)  ->  rows that began by then
//!   ttl:             DELETE of these rows by an ordinary transaction; partitions of time are dropped whole
//!   warm retention:  a manifest with this horizon
//! ```
//!
//! So nothing about age is decided while entries are applied, and rows that end by age end as any rows do: those that others
//! hold stay for now, rows that point to them are looked after, who follows the log is told.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use perigee_storage::cold::LoggedManifest;
use perigee_storage::table::Begun;
use perigee_types::catalog::retention::Retention;
use perigee_types::catalog::{BOOTSTRAP_ROLE, Catalog, Object, Table};
use perigee_types::partition::{Datum, PartitionBound};
use perigee_types::text::calendar::DAY_MICROS;
use perigee_types::{LogIndex, SqlError, SqlResult, SqlState, TableId, Value};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::session::Session;

/// How long to sleep between two looks.
const TICK: Duration = Duration::from_secs(1);
/// Rows that one transaction ends, about: at least those of one chunk, or of one entry of the log.
const ROWS_ENDED: u64 = 20_000;
/// Rows that are worth files of their own however old they are.
const ROWS_MIGRATED: u64 = 500_000;
/// Fewer rows wait until the oldest of them is over the age by this part of it, so that files do not get small.
const LATE_PART: u64 = 8;
/// Fewer rows than these wait at least so long, in microseconds, besides.
const ROWS_FEW: u64 = 8_192;
const LATE_FEW: u64 = 600_000_000;
/// How long a table is left alone whose rows could not be ended or moved.
const PAUSE: Duration = Duration::from_secs(30);
/// How often files that nothing needs are removed.
const COLLECT_EVERY: Duration = Duration::from_secs(900);
/// How often cold files are looked at that could be fewer.
const COMPACT_EVERY: Duration = Duration::from_secs(60);
/// Manifests that are worth one: so many neighbours, of rows that fit one sort.
const MANIFESTS_MIN: usize = 8;
const ROWS_COMPACTED_MAX: u64 = 32_000_000;
/// Files are written again when this part of their rows has ended, of so many.
const ENDED_PART: u64 = 3;
const ENDED_MIN: u64 = 65_536;
/// How long tables are waited for.
const TABLE_WAIT: &str = "2s";
/// How long each row that another transaction holds is waited for, before it is left for the next look.
const ROW_WAIT: &str = "5ms";

/// Looks after the age of rows while this node leads, until `stop`.
pub async fn run(engine: Arc<Engine>, stop: CancellationToken) {
    tokio::join!(crate::iceberg::run(Arc::clone(&engine), stop.clone()), keep(engine, stop));
}

async fn keep(engine: Arc<Engine>, stop: CancellationToken) {
    let mut keeper = Keeper::new(Arc::clone(&engine), stop.clone());
    while stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_some() {
        if engine.is_ready() && engine.consensus.leader_term().is_some() {
            let _ = stop.run_until_cancelled(keeper.look()).await;
        } else if keeper.compacted.elapsed() >= COMPACT_EVERY {
            keeper.compacted = Instant::now();
            crate::cold::forget_replaced(&engine);
        }
    }
}

struct Keeper {
    engine: Arc<Engine>,
    stop: CancellationToken,
    /// The catalog's version, and the tables of which it says something about age.
    tables: (LogIndex, Vec<(Arc<Table>, Retention)>),
    paused: HashMap<TableId, Instant>,
    collected: Instant,
    /// Files that nothing needed when they were looked for last.
    idle: HashSet<String>,
    compacted: Instant,
    /// Whether it was said why nothing becomes cold.
    told: AtomicBool,
}

/// What became of one table.
enum Done {
    /// There is nothing to do now.
    Nothing,
    /// There may be more.
    Some,
}

impl Keeper {
    fn new(engine: Arc<Engine>, stop: CancellationToken) -> Self {
        let now = Instant::now();
        let tables = (LogIndex(0), Vec::new());
        let (paused, idle) = (HashMap::new(), HashSet::new());
        let told = AtomicBool::new(false);
        Self { engine, stop, tables, paused, collected: now, idle, compacted: now, told }
    }

    async fn look(&mut self) {
        let catalog = self.engine.store.catalog();
        if self.tables.0 != catalog.version {
            self.tables = (catalog.version, aged_tables(&catalog));
        }
        let tables = self.tables.1.clone();
        for (table, retention) in &tables {
            if self.engine.store.catalog().version != catalog.version {
                break;
            }
            if self.paused.get(&table.oid).is_some_and(|until| Instant::now() < *until) {
                continue;
            }
            self.paused.remove(&table.oid);
            if let Err(error) = self.keep(&catalog, table, *retention).await {
                tracing::warn!(%error, table = %table.name, "what age asks for was not done");
                self.paused.insert(table.oid, Instant::now() + PAUSE);
            }
        }
        if self.compacted.elapsed() >= COMPACT_EVERY && crate::cold::is_usable(&self.engine) {
            self.compacted = Instant::now();
            self.compact(&catalog).await;
        }
        if self.collected.elapsed() >= COLLECT_EVERY && self.engine.store.cold().is_ok() {
            self.collected = Instant::now();
            match crate::cold::collect(&self.engine, Some(&mut self.idle)).await {
                Ok(0) => {}
                Ok(files) => tracing::info!(files, "files that nothing needs are removed"),
                Err(error) => tracing::warn!(%error, "files that nothing needs stay"),
            }
        }
    }

    /// Makes few files of many small ones, and of those that hold much that has ended.
    async fn compact(&mut self, catalog: &Catalog) {
        crate::cold::forget_replaced(&self.engine);
        let worth = |object: &Object| {
            let Object::Table(table) = object else { return None };
            let load = self.engine.store.cold_load(table.storage);
            let manifests = load[worth_compacting(&load)?].iter().map(|(manifest, _)| Arc::clone(manifest));
            Some((Arc::clone(table), manifests.collect::<Vec<_>>()))
        };
        let tables: Vec<_> = catalog.objects().filter_map(worth).collect();
        for (table, manifests) in tables {
            if self.paused.get(&table.oid).is_some_and(|until| Instant::now() < *until) {
                continue;
            }
            if let Err(error) = crate::cold::compact(&self.engine, &table, &manifests, &self.stop).await {
                tracing::warn!(%error, table = %table.name, "cold files are not compacted");
                self.paused.insert(table.oid, Instant::now() + PAUSE);
            }
        }
    }

    async fn keep(&self, catalog: &Catalog, table: &Arc<Table>, retention: Retention) -> SqlResult<()> {
        if let Some(ttl) = retention.ttl {
            while let Done::Some = self.end_old(catalog, table, ttl).await? {
                // Another name or another age since: the next look sees it.
                if self.engine.store.catalog().version != catalog.version {
                    return Ok(());
                }
            }
        }
        match retention.warm {
            Some(age) => self.cool(table, age).await,
            None => Ok(()),
        }
    }

    /// The time that was `age` ago: microseconds since the Unix epoch.
    fn ago(&self, age: u64) -> u64 {
        u64::try_from(self.engine.now_micros()).unwrap_or_default().saturating_sub(age)
    }

    async fn end_old(&self, catalog: &Catalog, table: &Arc<Table>, ttl: u64) -> SqlResult<Done> {
        let before = self.ago(ttl);
        if let Some(end) = end_of_time(catalog, table) {
            // Its rows are told apart by their time, not by when they were written.
            if i64::try_from(before).is_ok_and(|before| end <= before) {
                self.run(table, &format!("DROP TABLE {}", catalog.written_name(table)), None).await?;
                tracing::info!(table = %table.name, "a partition is older than its table's ttl");
            }
            return Ok(Done::Nothing);
        }
        let old = Begun::by(self.engine.store.written_by(before));
        let mut chunks = self.engine.store.rows_begun(table, old).into_iter();
        let Some(((_, mut upto), mut rows)) = chunks.next() else { return Ok(Done::Nothing) };
        for ((_, last), more) in chunks {
            if rows + more > ROWS_ENDED {
                break;
            }
            (upto, rows) = (upto.max(last), rows + more);
        }
        let delete = format!("DELETE FROM ONLY {}", catalog.written_name(table));
        let deleted = self.run(table, &delete, Some(upto.min(old.upto))).await?;
        tracing::debug!(table = %table.name, deleted, "rows are older than their table's ttl");
        metrics::counter!(perigee_telemetry::names::ROWS_EXPIRED_TOTAL).increment(deleted);
        // Others hold what is still there.
        Ok(if deleted > 0 { Done::Some } else { Done::Nothing })
    }

    async fn cool(&self, table: &Arc<Table>, age: u64) -> SqlResult<()> {
        if let Err(error) = crate::cold::usable(&self.engine) {
            if !self.told.swap(true, Ordering::Relaxed) {
                tracing::warn!(%error, table = %table.name, "rows that are old enough stay warm");
            }
            return Ok(());
        }
        let store = &self.engine.store;
        let Some(after) = store.table(table.storage).map(|rows| rows.cold_horizon()) else { return Ok(()) };
        let upto = store.written_by(self.ago(age));
        if upto <= after {
            return Ok(());
        }
        let warm = store.rows_begun(table, Begun { after, upto });
        let rows: u64 = warm.iter().map(|(_, rows)| rows).sum();
        let Some(((oldest, _), _)) = warm.first() else { return Ok(()) };
        let wait = match rows < ROWS_FEW {
            true => (age / LATE_PART).max(LATE_FEW),
            false => age / LATE_PART,
        };
        let late = *oldest.max(&after) <= store.written_by(self.ago(age.saturating_add(wait)));
        if late || rows >= ROWS_MIGRATED {
            crate::cold::migrate(&self.engine, table, upto, &self.stop).await?;
        }
        Ok(())
    }

    /// Runs a statement over a table as the first superuser. With an index it ends rows that began by then, others do not
    /// exist for it. Gives how many it has changed.
    async fn run(&self, table: &Table, statement: &str, ends_old: Option<LogIndex>) -> SqlResult<u64> {
        let wait = if ends_old.is_some() { ROW_WAIT } else { TABLE_WAIT };
        let settings = [("application_name", "retention"), ("lock_timeout", wait)];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut session = self.engine.connect_as(BOOTSTRAP_ROLE, settings.to_vec()).await?;
        session.ends_old = ends_old;
        session.only = Some(table.oid);
        let changed = session.run_alone(statement).await;
        if changed.is_err() {
            session.fail();
            session.rollback_transaction();
            return changed;
        }
        session.finish().await.and(changed)
    }
}

impl Session {
    /// Refuses a table other than the one that this session is for.
    pub(crate) fn check_only(&self, table: TableId) -> SqlResult<()> {
        match self.only {
            Some(only) if only != table => {
                Err(SqlError::new(SqlState::ObjectInUse, "the table's name has gone to another table"))
            }
            _ => Ok(()),
        }
    }
}

/// Which of a table's manifests, each with the rows of it that are left, should become one: the newest ones that are many,
/// the older one never more than all behind it, so that a row is written again about once each time that there are twice as
/// many; or one of which much has ended.
fn worth_compacting(load: &[(Arc<LoggedManifest>, u64)]) -> Option<Range<usize>> {
    let (mut from, mut rows) = (load.len(), 0);
    for (place, (manifest, live)) in load.iter().enumerate().rev() {
        let alike = from == load.len() || manifest.rows() <= rows;
        if !alike || rows + live > ROWS_COMPACTED_MAX {
            break;
        }
        (from, rows) = (place, rows + live);
    }
    if load.len() - from >= MANIFESTS_MIN {
        return Some(from..load.len());
    }
    let emptied = |(manifest, live): &(Arc<LoggedManifest>, u64)| {
        let ended = manifest.rows().saturating_sub(*live);
        ended >= ENDED_MIN && ended >= manifest.rows() / ENDED_PART
    };
    load.iter().position(emptied).map(|place| place..place + 1)
}

/// The tables of which options say something about age, and that hold rows.
fn aged_tables(catalog: &Catalog) -> Vec<(Arc<Table>, Retention)> {
    let tables = catalog.objects().filter_map(|object| match object {
        Object::Table(table) if table.partitioning.is_none() && table.materialized.is_none() => Some(table),
        _ => None,
    });
    let aged = tables.map(|table| (Arc::clone(table), Retention::of(catalog, table)));
    aged.filter(|(_, retention)| *retention != Retention::default()).collect()
}

/// Where a partition of time ends, in microseconds since the Unix epoch; `None` for every other table.
fn end_of_time(catalog: &Catalog, table: &Table) -> Option<i64> {
    let parent = catalog.table(*table.parents.first()?)?;
    parent.partitioning.as_ref()?.every?;
    let Some(PartitionBound::Range { to, .. }) = &table.bound else { return None };
    match to.as_slice() {
        [Datum::Value(Value::Timestamp(micros) | Value::Timestamptz(micros))] => Some(*micros),
        [Datum::Value(Value::Date(days))] => i64::from(*days).checked_mul(DAY_MICROS),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use perigee_storage::cold::{ColdFile, Manifest};

    use super::*;

    fn load(rows: &[(u64, u64)]) -> Vec<(Arc<LoggedManifest>, u64)> {
        let manifest = |(place, (rows, live)): (usize, &(u64, u64))| {
            let (after, horizon) = (LogIndex(place as u64 * 10), LogIndex(place as u64 * 10 + 10));
            let (path, rows) = (String::new(), *rows);
            let file = ColdFile { path, rows, bytes: 0, checksum: 0, tail: None, vid_first: 0, vid_last: 0 };
            let manifest = Manifest { after, horizon, columns: Vec::new(), files: vec![file] };
            let logged = LoggedManifest { index: horizon.next(), manifest, replaced: Vec::new() };
            (Arc::new(logged), *live)
        };
        rows.iter().enumerate().map(manifest).collect()
    }

    #[test]
    fn many_small_manifests_become_one_and_emptied_ones_are_written_again() {
        let full = |rows: u64, count: usize| vec![(rows, rows); count];
        assert_eq!(worth_compacting(&[]), None);
        assert_eq!(worth_compacting(&load(&full(1_000, 7))), None);
        assert_eq!(worth_compacting(&load(&full(1_000, 8))), Some(0..8));
        // A large one in front of them stays as it is, and is taken when there is as much behind it.
        let behind = |count| [full(1_000_000, 1), full(1_000, count)].concat();
        assert_eq!(worth_compacting(&load(&behind(8))), Some(1..9));
        assert_eq!(worth_compacting(&load(&behind(1_000))), Some(0..1_001));
        assert_eq!(worth_compacting(&load(&full(30_000_000, 20))), None, "more than one sort takes");
        assert_eq!(worth_compacting(&load(&[(300_000, 300_000), (300_000, 100_000), (1, 1)])), Some(1..2));
        assert_eq!(worth_compacting(&load(&[(300, 100), (300, 0)])), None, "little has ended");
    }
}
