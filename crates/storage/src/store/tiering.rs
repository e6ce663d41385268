//! What moves rows to the cold tier, and what removes files that nothing needs.
//!
//! The leader exports rows and logs a manifest ([`Store::export`]); every node lets go of its own copies when nobody needs
//! them ([`Store::settle_cold`]). Both are local work: a query returns the same before, between and after.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use perigee_types::catalog::Table;
use perigee_types::{LogIndex, Oid, Term, Value};

use super::{Core, Snapshot, Store, StoreError};
use crate::cold::{ColdError, ColdRows, ColdStore, LoggedManifest, Manifest, Manifests};
use crate::table::chunk::Chunk;
use crate::table::{Begun, ChunkScan, TableScan, TableStore, Tier};

/// How long a store that was away is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Rows of one table that shall become cold.
pub struct Export {
    /// Held until the manifest is logged: what it sees stays.
    pub snapshot: Arc<Snapshot>,
    /// The horizon of the manifest before.
    pub after: LogIndex,
    /// That of the next one.
    pub horizon: LogIndex,
    /// What began between them, as the snapshot sees it.
    pub scan: TableScan,
}

impl Export {
    /// Visible rows of a chunk with all columns of a definition, then the vids.
    ///
    /// # Errors
    /// As [`ChunkScan::batch`].
    pub fn batch(chunk: &ChunkScan, table: &Table) -> Result<RecordBatch, StoreError> {
        let numbers: Vec<u16> = table.columns.iter().map(|column| column.number).collect();
        chunk.batch(&numbers, true)
    }
}

/// What of a table is in one tier.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TierStatistics {
    /// Rows that have not ended, about.
    pub rows: u64,
    /// Bytes there: as Arrow in memory and in the LSM, of files in the object store.
    pub bytes: u64,
    /// Chunks, or files.
    pub files: u64,
    /// The least and the greatest value of the column that was asked for, as far as it is known without reading.
    pub range: Option<(Value, Value)>,
}

impl TierStatistics {
    fn extend(&mut self, min: &Value, max: &Value) {
        if min.is_null() || max.is_null() {
            return;
        }
        let (least, greatest) = self.range.get_or_insert_with(|| (min.clone(), max.clone()));
        if min.sql_cmp(least) == Some(std::cmp::Ordering::Less) {
            *least = min.clone();
        }
        if max.sql_cmp(greatest) == Some(std::cmp::Ordering::Greater) {
            *greatest = max.clone();
        }
    }
}

impl Store {
    /// Where cold files are.
    ///
    /// # Errors
    /// [`ColdError::NoStore`]
    pub fn cold(&self) -> Result<&Arc<ColdStore>, ColdError> {
        self.shared.cold.as_ref().ok_or(ColdError::NoStore)
    }

    /// The greatest index of which it is known that it was written at or before a time: microseconds since the Unix epoch.
    #[must_use]
    pub fn written_by(&self, micros: u64) -> LogIndex {
        let core = self.core.lock();
        if core.time.micros() <= micros { core.index } else { core.timeline.index_by(micros) }
    }

    /// Where rows of a table are that began then and are there now: the first and the last index of each chunk that has
    /// such rows, with their count, from the oldest on.
    #[must_use]
    pub fn rows_begun(self: &Arc<Self>, table: &Table, begun: Begun) -> Vec<((LogIndex, LogIndex), u64)> {
        let Some(store) = self.table(table.storage) else { return Vec::new() };
        let snapshot = self.snapshot();
        let scan = store.scan_begun(begun, snapshot.index, None, Some(table));
        let chunks = scan.chunks.iter().map(|chunk| {
            let (first, last) = chunk.begins();
            let rows = chunk.visible().map_or(chunk.rows_max(), |visible| visible.true_count());
            ((LogIndex(first), LogIndex(last)), rows as u64)
        });
        let mut chunks: Vec<_> = chunks.filter(|(_, rows)| *rows > 0).collect();
        chunks.sort_unstable();
        chunks
    }

    /// Pins what of a table began at or before `upto` and is not in a manifest yet; `None` where nothing is. On the leader.
    ///
    /// # Errors
    /// [`StoreError::UnknownStorage`]
    pub fn export(self: &Arc<Self>, table: &Table, upto: LogIndex) -> Result<Option<Export>, StoreError> {
        let store = self.must_get_table(table.storage)?;
        {
            // Open rows belong to apply: this stands in for it between two entries.
            let _core = self.core.lock();
            store.close_open_rows()?;
            store.seal();
        }
        let snapshot = self.snapshot();
        let (after, horizon) = (store.cold_horizon(), snapshot.index.min(upto));
        if horizon <= after {
            return Ok(None);
        }
        let scan = store.scan_begun(Begun { after, upto: horizon }, snapshot.index, None, Some(table));
        Ok((!scan.chunks.is_empty()).then_some(Export { snapshot, after, horizon, scan }))
    }

    /// Pins what of a table is in the files of some of its manifests, neighbours of each other, and is still there. On the
    /// leader.
    ///
    /// # Errors
    /// [`StoreError::UnknownStorage`]
    pub fn export_again(
        self: &Arc<Self>,
        table: &Table,
        manifests: &[Arc<LoggedManifest>],
    ) -> Result<Option<Export>, StoreError> {
        let store = self.must_get_table(table.storage)?;
        let (Some(first), Some(last)) = (manifests.first(), manifests.last()) else { return Ok(None) };
        let (after, horizon) = (first.manifest.after, last.manifest.horizon);
        let snapshot = self.snapshot();
        let scan = store.scan_begun(Begun { after, upto: horizon }, snapshot.index, None, Some(table));
        Ok(Some(Export { snapshot, after, horizon, scan }))
    }

    /// A manifest was committed. One that neither goes on where the last one ended nor takes the place of others has no
    /// effect: another came first.
    pub(super) fn apply_manifest(&self, core: &mut Core, storage: Oid, manifest: Manifest) -> Result<(), StoreError> {
        let table = self.any_table(storage).filter(|table| table.dropped_at() == u64::MAX);
        let Some(table) = table else { return Ok(()) };
        let horizon = manifest.horizon.0;
        if table.add_manifest(core.index, manifest)? {
            core.outcomes.changed_table(storage, horizon);
        }
        Ok(())
    }

    /// Lets go of manifests whose place others have taken by `upto`, as far as no snapshot reads them. Their files are needed
    /// no more then.
    pub fn forget_replaced(&self, upto: LogIndex) {
        // Between two entries: apply changes manifests too.
        let _core = self.core.lock();
        let oldest = upto.min(LogIndex(self.clock.horizon()));
        for table in self.all_tables() {
            table.forget_replaced(oldest);
        }
    }

    /// The manifests of a table, oldest first; none where there is no such table.
    #[must_use]
    pub fn manifests(&self, storage: Oid) -> Manifests {
        self.any_table(storage).map(|table| table.manifests()).unwrap_or_default()
    }

    /// The manifests of a table that a snapshot reads, each with which rows of its files count there, wherever the columns of
    /// these are read from.
    #[must_use]
    pub fn cold_rows(&self, table: &Table, snapshot: &Snapshot) -> Vec<(Arc<LoggedManifest>, ColdRows)> {
        let Some(store) = snapshot.table(table.storage) else { return Vec::new() };
        let manifests = store.scan(snapshot.index).manifests;
        // One that came behind the snapshot is without rows that it still shows.
        let seen = manifests.iter().filter(|logged| logged.index <= snapshot.index);
        let rows = seen.map(|logged| {
            let begun = Begun { after: logged.manifest.after, upto: logged.manifest.horizon };
            let scan = store.scan_begun(begun, snapshot.index, None, Some(table));
            (Arc::clone(logged), ColdRows::new(Arc::new(vec![Arc::clone(logged)]), scan.chunks))
        });
        rows.collect()
    }

    /// The manifests of a table, each with the count of rows of its files that have not ended, about.
    #[must_use]
    pub fn cold_load(&self, storage: Oid) -> Vec<(Arc<LoggedManifest>, u64)> {
        let Some(table) = self.any_table(storage) else { return Vec::new() };
        let mut load: Vec<_> = table.manifests().iter().map(|manifest| (Arc::clone(manifest), 0)).collect();
        for chunk in table.pin().0.chunks().iter().filter(|chunk| chunk.is_cold()) {
            let (first, _) = chunk.begins().bounds();
            let place = load.partition_point(|(manifest, _)| manifest.manifest.horizon.0 < first);
            if let Some((_, live)) = load.get_mut(place) {
                *live += chunk.live() as u64;
            }
        }
        load
    }

    /// Lets chunks go of columns that cold files hold, of one table or of all, as far as no snapshot is older than the
    /// manifest. What cannot be done now is done later. Gives the count of chunks.
    pub fn settle_cold(&self, only: Option<Oid>) -> usize {
        let Some(cold) = &self.shared.cold else { return 0 };
        let pending = |table: &Arc<TableStore>| {
            only.is_none_or(|only| table.storage() == only)
                && table.manifests().last().is_some_and(|last| last.index.0 > table.settled.load(Ordering::Acquire))
        };
        let tables: Vec<Arc<TableStore>> = self.all_tables().into_iter().filter(pending).collect();
        if tables.is_empty() || only.is_none() && self.cold_retry.lock().is_some_and(|at| Instant::now() < at) {
            return 0;
        }
        let mut settled = 0;
        for table in tables {
            match self.settle_table(&table, cold) {
                Ok(chunks) => settled += chunks,
                Err(error) => {
                    tracing::warn!(%error, storage = %table.storage(), "rows stay warm: their cold files cannot be read");
                    *self.cold_retry.lock() = Some(Instant::now() + RETRY_AFTER);
                }
            }
        }
        settled
    }

    fn settle_table(&self, table: &Arc<TableStore>, cold: &Arc<ColdStore>) -> Result<usize, ColdError> {
        let horizon = self.clock.horizon();
        let manifests = table.manifests();
        let Some(last) = manifests.iter().rev().find(|manifest| manifest.index.0 <= horizon) else { return Ok(0) };
        if last.index.0 <= table.settled.load(Ordering::Acquire) {
            return Ok(0);
        }
        let may = |chunk: &Arc<Chunk>| {
            let (_, newest) = chunk.begins().bounds();
            !chunk.is_cold() && newest <= last.manifest.horizon.0
        };
        let directory = table.pin().0;
        let ready: Vec<&Arc<Chunk>> = directory.chunks().iter().filter(|chunk| may(chunk)).collect();
        let needed =
            |manifest: &&Arc<LoggedManifest>| ready.iter().any(|chunk| manifest.covers(chunk.begins().bounds()));
        for file in manifests.iter().filter(needed).flat_map(|manifest| &manifest.manifest.files) {
            cold.check_footer(file)?;
        }
        // What a checkpoint has taken hold of must stay until it has written it.
        let checkpoint = self.checkpoints.lock();
        for chunk in &ready {
            chunk.make_cold();
        }
        drop(checkpoint);
        table.mark_dirty();
        if !table.pin().0.chunks().iter().any(may) {
            table.settled.fetch_max(last.index.0, Ordering::AcqRel);
        }
        Ok(ready.len())
    }

    /// Files of this cluster that no manifest names, by where they stand: left over from a migration that did not end, or of
    /// tables that are gone. On the leader, when the first entry of its `term` is applied.
    ///
    /// A file is named by the term that made it, see [`file_path`]: no manifest of an earlier one can still come, later ones
    /// are not judged, and of this one `uploading` says what is under way.
    ///
    /// # Errors
    /// The store's.
    pub fn idle_cold(&self, term: Term, uploading: impl Fn(&str) -> bool) -> Result<Vec<String>, ColdError> {
        let cold = self.cold()?;
        let mut idle = cold.list()?;
        idle.retain(|file| term_of(&file.path).is_some_and(|made| made <= term.0) && !uploading(&file.path));
        // Asked afterwards: a manifest is applied before its files stop being uploads.
        let named: HashSet<String> = self.named_cold().into_iter().map(|path| cold.place(&path).into_owned()).collect();
        Ok(idle.into_iter().map(|file| file.path).filter(|path| !named.contains(path)).collect())
    }

    /// The paths that manifests name, those among them whose place others have taken and that are not forgotten.
    #[must_use]
    pub fn named_cold(&self) -> HashSet<String> {
        let manifests = self.all_tables().into_iter().flat_map(|table| table.manifests().as_ref().clone());
        let paths = |logged: Arc<LoggedManifest>| {
            let files = logged.with_replaced().flat_map(|logged| &logged.manifest.files);
            files.map(|file| file.path.clone()).collect::<Vec<_>>()
        };
        manifests.flat_map(paths).collect()
    }

    /// Removes files that [`idle_cold`](Self::idle_cold) has found, and what broken uploads have left. Gives how many.
    ///
    /// # Errors
    /// The store's; what was removed until then stays removed.
    pub fn remove_cold(&self, idle: &[String], uploading: impl Fn(&str) -> bool) -> Result<usize, ColdError> {
        let cold = self.cold()?;
        let partial = cold.remove_partial(uploading)?;
        idle.iter().try_for_each(|path| cold.delete(path))?;
        Ok(partial + idle.len())
    }

    /// What of a table is in each tier: hot, warm, cold; with the range of a `column` there.
    #[must_use]
    pub fn tiers(&self, storage: Oid, column: Option<u16>) -> Option<[(Tier, TierStatistics); 3]> {
        let table = self.any_table(storage)?;
        let (directory, open) = table.pin();
        let mut tiers = [Tier::Hot, Tier::Warm, Tier::Cold].map(|tier| (tier, TierStatistics::default()));
        for chunk in directory.chunks() {
            let tier = chunk.tier();
            for (_, found) in tiers.iter_mut().filter(|(of, _)| *of == tier) {
                found.rows += chunk.live() as u64;
                found.bytes += if tier == Tier::Cold { 0 } else { chunk.bytes() as u64 };
                found.files += u64::from(tier != Tier::Cold);
                let place = column.and_then(|column| chunk.column_place(column));
                if let Some(stats) = place.and_then(|place| chunk.stats(place)) {
                    found.extend(&stats.min, &stats.max);
                }
            }
        }
        let live = open.ends.iter().filter(|end| **end == u64::MAX).count();
        tiers[0].1.rows += live as u64;
        tiers[0].1.bytes += open.bytes as u64;
        let place = column.and_then(|column| open.columns.iter().position(|known| *known == column));
        for value in place.iter().flat_map(|place| open.rows.iter().filter_map(|row| row.get(*place))) {
            tiers[0].1.extend(value, value);
        }
        for file in table.manifests().iter().flat_map(|manifest| &manifest.manifest.files) {
            tiers[2].1.bytes += file.bytes;
            tiers[2].1.files += 1;
        }
        Some(tiers)
    }
}

/// The path of a new file: `prefix` has the ids of the cluster and of its lineage.
#[must_use]
pub fn file_path(prefix: &str, storage: Oid, term: Term, name: &str) -> String {
    format!("{prefix}/{}/{}-{name}.parquet", storage.0, term.0)
}

/// The term that made a file.
fn term_of(path: &str) -> Option<u64> {
    let (_, name) = path.rsplit_once('/')?;
    name.strip_suffix(".parquet")?.split_once('-')?.0.parse().ok()
}
