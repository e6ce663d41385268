//! Scans: a table as Arrow, chunk by chunk, as one snapshot sees it.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, BooleanBufferBuilder, UInt32Array, UInt64Array};
use arrow::compute::{FilterBuilder, take};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use perigee_types::catalog::Table;
use perigee_types::{LogIndex, TransactionId, Value, Vid};

use super::chunk::Chunk;
use super::fate::{Fate, NEVER};
use super::open_rows::OpenRows;
use super::schema::{KnownColumn, TableSchema};
use super::vids::Begins;
use super::{LATEST, TableStore, Tier};
use crate::arrow_value::ColumnBuilder;
use crate::cold::{ColdStore, Manifests};
use crate::encoding::ColumnStats;
use crate::store::StoreError;

/// Name of the column with the vids, where one is asked for.
pub const VID_COLUMN: &str = "_vid";

/// A table as one snapshot sees it. Holds what it needs, whatever apply, checkpoints and eviction do meanwhile, as long as
/// the snapshot is open.
pub struct TableScan {
    /// In vid order. Chunks of which nothing is visible are left out.
    pub chunks: Vec<ChunkScan>,
    /// The files that hold the columns of cold chunks, and other rows besides.
    pub manifests: Manifests,
}

/// One chunk of a scan.
#[derive(Clone)]
pub struct ChunkScan {
    table: Arc<TableStore>,
    schema: Arc<TableSchema>,
    part: Part,
    at: u64,
    /// The open transaction whose staged rows are seen too.
    own: Option<TransactionId>,
    /// Rows that began elsewhere are not seen.
    begun: Begun,
    /// Whether it was cold when it was pinned.
    cold: bool,
}

/// Which rows of a table are asked for, by the index that began them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Behind this one.
    pub after: LogIndex,
    /// Up to this one.
    pub upto: LogIndex,
}

impl Begun {
    /// All rows.
    pub const EVER: Self = Self { after: LogIndex(0), upto: LogIndex(u64::MAX) };

    /// Rows that began at or before an index.
    #[must_use]
    pub fn by(upto: LogIndex) -> Self {
        Self { upto, ..Self::EVER }
    }

    fn has(self, index: u64) -> bool {
        self.after.0 < index && index <= self.upto.0
    }

    /// Whether a row that began between these two, both included, may be one.
    fn meets(self, (first, last): (u64, u64)) -> bool {
        self.after.0 < last && first <= self.upto.0
    }
}

#[derive(Clone)]
enum Part {
    Chunk(Arc<Chunk>),
    Open(Arc<OpenRows>),
}

impl TableStore {
    /// Pins the table as `at` sees it; [`LATEST`] for the latest applied, else an index that a snapshot holds open. Costs a
    /// few pointers for each chunk.
    #[must_use]
    pub fn scan(self: &Arc<Self>, at: LogIndex) -> TableScan {
        self.scan_as(at, None, None)
    }

    /// As [`TableStore::scan`], as the open transaction `own` sees it: with the rows that it staged and without those it
    /// ended, and with the columns that it has added to its `definition` of the table.
    #[must_use]
    pub fn scan_as(
        self: &Arc<Self>,
        at: LogIndex,
        own: Option<TransactionId>,
        definition: Option<&Table>,
    ) -> TableScan {
        self.scan_begun(Begun::EVER, at, own, definition)
    }

    /// As [`TableStore::scan_as`], of the rows that began then only, and the ones that `own` has staged.
    #[must_use]
    pub fn scan_begun(
        self: &Arc<Self>,
        begun: Begun,
        at: LogIndex,
        own: Option<TransactionId>,
        definition: Option<&Table>,
    ) -> TableScan {
        // What is pinned stays whole whatever is dropped later; until then the index must be held open.
        let held = self.context.clock.hold();
        let at = if at == LATEST { held.index() } else { at.0 };
        let (directory, open) = self.pin();
        drop(held);
        let schema = self.schema_as(definition);
        let scan =
            |part, cold| ChunkScan { table: Arc::clone(self), schema: Arc::clone(&schema), part, at, own, begun, cold };
        let asked = |bounds: (u64, u64)| bounds.0 <= at && begun.meets(bounds);
        let seen = directory.chunks().iter().filter(|chunk| asked(chunk.begins().bounds()) || staged_by(chunk, own));
        let alive = seen.filter(|chunk| chunk.live() > 0 || chunk.ends.dead(at) < chunk.rows());
        let mut chunks: Vec<ChunkScan> =
            alive.map(|chunk| scan(Part::Chunk(Arc::clone(chunk)), chunk.is_cold())).collect();
        if (0..open.len()).any(|place| open.visible(place, at)) {
            chunks.push(scan(Part::Open(open), false));
        }
        // Behind the chunks: the manifest of each that is cold is among them.
        TableScan { chunks, manifests: self.manifests_at(at) }
    }

    /// The manifests that a snapshot reads.
    fn manifests_at(&self, at: u64) -> Manifests {
        let manifests = self.manifests();
        match manifests.iter().all(|manifest| manifest.replaced.is_empty()) {
            true => manifests,
            false => Arc::new(manifests.iter().flat_map(|manifest| manifest.seen_at(at)).collect()),
        }
    }
}

impl TableStore {
    /// The row versions that an open transaction has staged, in the order in which it did.
    ///
    /// # Errors
    /// The LSM's.
    pub fn staged_vids(&self, own: TransactionId) -> Result<Vec<Vid>, StoreError> {
        let (directory, _) = self.pin();
        let open = |chunk: &Chunk| matches!(chunk.begins(), Begins::Staged(fate) if fate.index() == NEVER);
        let staged = directory.chunks().iter().filter(|chunk| open(chunk) && staged_by(chunk, Some(own)));
        Ok(staged.flat_map(|chunk| chunk.vids().iter().map(Vid).collect::<Vec<_>>()).collect())
    }
}

impl ChunkScan {
    /// Rows it has at most.
    #[must_use]
    pub fn rows_max(&self) -> usize {
        match &self.part {
            Part::Chunk(chunk) => chunk.rows(),
            Part::Open(open) => open.len(),
        }
    }

    /// Bytes of its rows as Arrow, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.part {
            Part::Chunk(chunk) => chunk.bytes(),
            Part::Open(open) => open.bytes,
        }
    }

    /// Where its columns are now.
    #[must_use]
    pub fn tier(&self) -> Tier {
        match &self.part {
            Part::Chunk(chunk) => chunk.tier(),
            Part::Open(_) => Tier::Hot,
        }
    }

    /// Whether its columns were in files of the manifests of its scan when that began. Others may have become cold since.
    #[must_use]
    pub fn is_cold(&self) -> bool {
        self.cold
    }

    /// Whether its columns are in files now, and were not when its scan began.
    #[must_use]
    pub fn became_cold(&self) -> bool {
        !self.cold && self.tier() == Tier::Cold
    }

    /// The manifests by now, those among them that its scan reads: they have its rows if it is cold by now.
    #[must_use]
    pub fn manifests(&self) -> Manifests {
        self.table.manifests_at(self.at)
    }

    /// Where cold files are.
    #[must_use]
    pub fn cold_store(&self) -> Option<Arc<ColdStore>> {
        self.table.context.cold.clone()
    }

    /// No vid in it is smaller, and no other chunk has one between its own.
    #[must_use]
    pub fn first_vid(&self) -> u64 {
        match &self.part {
            Part::Chunk(chunk) => chunk.first(),
            Part::Open(open) => open.first,
        }
    }

    /// The oldest and the newest index that began one of its rows.
    #[must_use]
    pub fn begins(&self) -> (u64, u64) {
        match &self.part {
            Part::Chunk(chunk) => chunk.begins().bounds(),
            Part::Open(open) => {
                (open.begins.iter().copied().min().unwrap_or(0), open.begins.iter().copied().max().unwrap_or(0))
            }
        }
    }

    /// The row of a vid.
    #[must_use]
    pub fn row_of(&self, vid: u64) -> Option<u32> {
        match &self.part {
            Part::Chunk(chunk) => chunk.vids().position(vid),
            Part::Open(open) => open.position(vid).map(|row| row as u32),
        }
    }

    /// Which of its rows are visible; `None` for all of them.
    #[must_use]
    pub fn visible(&self) -> Option<BooleanArray> {
        match &self.part {
            Part::Chunk(chunk) => visible_rows(chunk, self.at, self.own, self.begun),
            Part::Open(open) => Some((0..open.len()).map(|place| Some(self.open_visible(open, place))).collect()),
        }
    }

    fn open_visible(&self, open: &OpenRows, place: usize) -> bool {
        open.visible(place, self.at) && self.begun.has(open.begins[place])
    }

    /// Statistics of a column over all its rows, visible or not: bounds hold for the visible ones, `null_count` is the
    /// most there may be. `None` where they are not known.
    #[must_use]
    pub fn stats(&self, column: u16) -> Option<ColumnStats> {
        let Part::Chunk(chunk) = &self.part else { return None };
        match chunk.column_place(column) {
            Some(place) => chunk.stats(place).cloned(),
            None => {
                let missing = &self.schema.column(column)?.missing;
                let null_count = if missing.is_null() { chunk.rows() } else { 0 };
                Some(ColumnStats { min: missing.clone(), max: missing.clone(), null_count })
            }
        }
    }

    /// The visible rows as Arrow: the columns asked for in their order, then the vids as `_vid` where asked for.
    ///
    /// Columns of a chunk that is visible whole are those of the chunk, not a copy.
    ///
    /// # Errors
    /// [`StoreError::UnknownColumn`]; of a warm chunk also the LSM's and the column's.
    pub fn batch(&self, columns: &[u16], with_vid: bool) -> Result<RecordBatch, StoreError> {
        match &self.part {
            Part::Chunk(chunk) => self.chunk_batch(chunk, columns, with_vid),
            Part::Open(open) => self.open_batch(open, columns, with_vid),
        }
    }

    /// As [`ChunkScan::batch`], of the rows with these vids only, in their order. What is not visible must not be among them.
    ///
    /// # Errors
    /// As [`ChunkScan::batch`].
    pub fn batch_of(&self, vids: &[u64], columns: &[u16], with_vid: bool) -> Result<RecordBatch, StoreError> {
        let found: Vec<(u64, u32)> = vids.iter().filter_map(|vid| Some((*vid, self.row_of(*vid)?))).collect();
        let rows = UInt32Array::from_iter_values(found.iter().map(|(_, row)| *row));
        let mut arrays = match &self.part {
            Part::Chunk(chunk) => {
                chunk.touch(&self.table.context);
                let column = |number: &u16| match chunk.column_place(*number) {
                    Some(place) => Ok(take(&chunk.column(place, &self.table.context)?, &rows, None)?),
                    None => constant(self.known(*number)?, found.len()),
                };
                columns.iter().map(column).collect::<Result<Vec<_>, StoreError>>()?
            }
            Part::Open(open) => {
                let places: Vec<usize> = found.iter().map(|(_, row)| *row as usize).collect();
                self.open_columns(open, columns, &places)?
            }
        };
        if with_vid {
            arrays.push(Arc::new(UInt64Array::from_iter_values(found.iter().map(|(vid, _)| *vid))));
        }
        self.finish(columns, arrays, found.len(), with_vid)
    }

    fn chunk_batch(&self, chunk: &Chunk, columns: &[u16], with_vid: bool) -> Result<RecordBatch, StoreError> {
        chunk.touch(&self.table.context);
        let mask = visible_rows(chunk, self.at, self.own, self.begun);
        let rows = mask.as_ref().map_or(chunk.rows(), BooleanArray::true_count);
        let filter = mask.as_ref().map(|mask| FilterBuilder::new(mask).optimize().build());
        let shown = |array: ArrayRef| match &filter {
            Some(filter) => filter.filter(&array),
            None => Ok(array),
        };
        let mut arrays = Vec::with_capacity(columns.len() + 1);
        let places: Vec<usize> = columns.iter().filter_map(|number| chunk.column_place(*number)).collect();
        // Each read of a file costs requests: all columns at once.
        let mut cold = match chunk.is_cold() && places.len() > 1 {
            true => Some(self.table.context.cold_columns(chunk, &places)?.into_iter()),
            false => None,
        };
        for number in columns {
            arrays.push(match chunk.column_place(*number) {
                Some(place) => match cold.as_mut().and_then(Iterator::next) {
                    Some(array) => shown(array)?,
                    None => shown(chunk.column(place, &self.table.context)?)?,
                },
                None => constant(self.known(*number)?, rows)?,
            });
        }
        if with_vid {
            arrays.push(shown(Arc::new(UInt64Array::from_iter_values(chunk.vids().iter())))?);
        }
        self.finish(columns, arrays, rows, with_vid)
    }

    fn open_batch(&self, open: &OpenRows, columns: &[u16], with_vid: bool) -> Result<RecordBatch, StoreError> {
        let places: Vec<usize> = (0..open.len()).filter(|place| self.open_visible(open, *place)).collect();
        let mut arrays = self.open_columns(open, columns, &places)?;
        if with_vid {
            arrays.push(Arc::new(UInt64Array::from_iter_values(places.iter().map(|place| open.first + *place as u64))));
        }
        self.finish(columns, arrays, places.len(), with_vid)
    }

    fn open_columns(&self, open: &OpenRows, columns: &[u16], places: &[usize]) -> Result<Vec<ArrayRef>, StoreError> {
        let mut arrays = Vec::with_capacity(columns.len() + 1);
        for number in columns {
            let known = self.known(*number)?;
            let Some(column) = open.columns.iter().position(|c| c == number) else {
                arrays.push(constant(known, places.len())?);
                continue;
            };
            let mut builder = ColumnBuilder::new(&known.ty, places.len());
            for place in places {
                builder.push(open.rows[*place].get(column).unwrap_or(&Value::Null))?;
            }
            arrays.push(builder.finish());
        }
        Ok(arrays)
    }

    fn finish(
        &self,
        columns: &[u16],
        mut arrays: Vec<ArrayRef>,
        rows: usize,
        with_vid: bool,
    ) -> Result<RecordBatch, StoreError> {
        let mut fields = Vec::with_capacity(arrays.len());
        for (number, array) in columns.iter().zip(&mut arrays) {
            let field = self.known(*number)?.field(array.null_count() > 0);
            if array.data_type() != field.data_type() {
                // The declared type has changed within one storage form, e.g. the precision of a numeric.
                *array = arrow::compute::cast(array, field.data_type())?;
            }
            fields.push(field);
        }
        if with_vid {
            fields.push(Field::new(VID_COLUMN, DataType::UInt64, false));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?)
    }

    fn known(&self, number: u16) -> Result<&KnownColumn, StoreError> {
        self.schema.column(number).ok_or_else(|| self.table.unknown_column(number))
    }
}

/// Which rows are visible; `None` for all of them.
fn visible_rows(chunk: &Chunk, at: u64, own: Option<TransactionId>, asked: Begun) -> Option<BooleanArray> {
    let (first, last) = chunk.begins().bounds();
    let all_begun = last <= at && asked.has(first) && asked.has(last) || staged_by(chunk, own);
    if all_begun && chunk.ends.is_empty() {
        return None;
    }
    let mut mask = BooleanBufferBuilder::new(chunk.rows());
    if all_begun {
        mask.append_n(chunk.rows(), true);
    } else {
        let begun = |index| index <= at && asked.has(index);
        chunk
            .begins()
            .for_each_run(chunk.rows() as u32, |from, to, index| mask.append_n((to - from) as usize, begun(index)));
    }
    let mut hidden = !all_begun;
    chunk.ends.read(|marks| {
        marks.for_each(|row, end| {
            if end <= at {
                mask.set_bit(row as usize, false);
                hidden = true;
            }
        });
        let staged = marks.staged().iter().filter(|s| is_of(&s.fate, own));
        for row in staged.flat_map(|s| &s.rows) {
            mask.set_bit(*row as usize, false);
            hidden = true;
        }
    });
    hidden.then(|| BooleanArray::new(mask.finish(), None))
}

/// Whether `own` has staged a chunk.
fn staged_by(chunk: &Chunk, own: Option<TransactionId>) -> bool {
    matches!(chunk.begins(), Begins::Staged(fate) if is_of(fate, own))
}

/// Whether it is the fate of `own`. It may have committed since the scan began, which goes on seeing what it saw.
fn is_of(fate: &Fate, own: Option<TransactionId>) -> bool {
    own == Some(fate.transaction())
}

/// A column of one value: what rows hold that are older than the column.
fn constant(known: &KnownColumn, rows: usize) -> Result<ArrayRef, StoreError> {
    let mut builder = ColumnBuilder::new(&known.ty, rows);
    for _ in 0..rows {
        builder.push(&known.missing)?;
    }
    Ok(builder.finish())
}
