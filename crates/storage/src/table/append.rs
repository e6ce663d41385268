//! Apply's half of a table: rows that begin.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::record_batch::RecordBatch;
use perigee_types::{Row, Value};

use super::TableStore;
use super::chunk::{CHUNK_BYTES_MAX, CHUNK_ROWS_MAX, Chunk, array_bytes, unshare};
use super::ends::{Ends, Marks};
use super::fate::{Fate, NEVER};
use super::index::{array_entries, row_entry};
use super::open_rows::{OPEN_ROWS_MAX, OpenRows};
use super::schema::TableSchema;
use super::vids::{Begins, Vids};
use crate::arrow_value::{ColumnBuilder, value_at};
use crate::entry::RowBlock;
use crate::store::StoreError;

/// When appended rows become visible.
#[derive(Clone)]
pub(crate) enum Begin {
    /// At the index of the entry.
    At(u64),
    /// When their staged transaction commits.
    Staged(Arc<Fate>),
}

impl TableStore {
    /// Appends rows that an entry wrote, gives them vids and puts them into the indexes.
    pub(crate) fn append(&self, columns: &[u16], rows: RowBlock, begin: &Begin) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.mark_dirty();
        if let Begin::At(_) = begin {
            self.add_live(rows.len() as i64);
        }
        let schema = self.schema();
        match (rows, begin) {
            (RowBlock::Rows(rows), Begin::At(index)) if rows.len() < OPEN_ROWS_MAX => {
                self.append_open(&schema, columns, rows, *index)
            }
            (RowBlock::Batch(batch), Begin::At(index)) if batch.num_rows() < OPEN_ROWS_MAX => {
                let rows = batch_rows(&schema, columns, &batch, self)?;
                self.append_open(&schema, columns, rows, *index)
            }
            (RowBlock::Rows(rows), _) => {
                for part in split_rows(rows) {
                    let arrays = build_columns(&schema, columns, part.iter().map(Vec::as_slice), part.len(), self)?;
                    self.append_chunk(&schema, columns, arrays, part.len(), begin)?;
                }
                Ok(())
            }
            (RowBlock::Batch(batch), _) => {
                for part in split_batch(&as_stored(&schema, columns, &batch)?)? {
                    let rows = part.first().map_or(batch.num_rows(), |array| array.len());
                    self.append_chunk(&schema, columns, part, rows, begin)?;
                }
                Ok(())
            }
        }
    }

    fn append_open(&self, schema: &TableSchema, columns: &[u16], rows: Vec<Row>, index: u64) -> Result<(), StoreError> {
        let indexes = self.indexes.load();
        let first = self.next_vid();
        if *self.state.read().open.columns != *columns {
            self.close_open_rows()?;
        }
        for index in indexes.iter() {
            let entries =
                rows.iter().zip(first..).map(|(row, vid)| Ok((row_entry(index, schema, columns, row, vid)?, vid)));
            index.add(entries.collect::<Result<Vec<_>, StoreError>>()?);
        }
        for row in rows {
            let vid = self.next_vid.fetch_add(1, Ordering::AcqRel);
            let bytes = {
                let mut state = self.state.write();
                if state.open.is_empty() {
                    state.open = Arc::new(OpenRows::new(vid, columns.into()));
                }
                let open = Arc::make_mut(&mut state.open);
                open.push(row, index);
                if open.is_full() { None } else { Some(open.bytes) }
            };
            match bytes {
                Some(bytes) => self.open_bytes.lock().resize(bytes),
                None => self.close_open_rows()?,
            }
        }
        Ok(())
    }

    /// Adds rows as a chunk of their own.
    fn append_chunk(
        &self,
        schema: &TableSchema,
        columns: &[u16],
        arrays: Vec<ArrayRef>,
        rows: usize,
        begin: &Begin,
    ) -> Result<(), StoreError> {
        // Open rows have smaller vids and must not end up around the chunk.
        self.close_open_rows()?;
        let first = self.next_vid.fetch_add(rows as u64, Ordering::AcqRel);
        for index in self.indexes.load().iter() {
            let vids = (0..rows as u32).zip(first..);
            let entries = array_entries(index, schema, vids, |number| {
                Ok(columns.iter().position(|c| *c == number).map(|at| Arc::clone(&arrays[at])))
            })?;
            index.add(entries);
        }
        let begins = match begin {
            Begin::At(index) => Begins::Runs(Box::new([(0, *index)])),
            Begin::Staged(fate) => Begins::Staged(Arc::clone(fate)),
        };
        let vids = Vids::Dense { first, count: rows as u32 };
        let columns = columns.iter().copied().zip(arrays).collect();
        self.insert_chunk(Chunk::new(&self.context, first, vids, begins, Ends::default(), columns));
        self.tidy()
    }

    fn insert_chunk(&self, chunk: Arc<Chunk>) {
        let mut state = self.state.write();
        Arc::make_mut(&mut state.directory).insert(chunk);
    }

    /// Makes a chunk of the open rows. Versions that are dead already do not get into it.
    pub(crate) fn close_open_rows(&self) -> Result<(), StoreError> {
        // Only apply changes the open rows, so they may be read without the lock.
        let open = Arc::clone(&self.state.read().open);
        if open.is_empty() {
            return Ok(());
        }
        let horizon = self.context.clock.horizon();
        let schema = self.schema();
        let kept: Vec<usize> = (0..open.len()).filter(|n| open.ends[*n] > horizon).collect();
        if kept.len() < open.len() {
            for index in self.indexes.load().iter() {
                let dead = (0..open.len()).filter(|n| open.ends[*n] <= horizon).map(|n| {
                    let vid = open.first + n as u64;
                    Ok((row_entry(index, &schema, &open.columns, &open.rows[n], vid)?, vid))
                });
                index.remove(dead.collect::<Result<Vec<_>, StoreError>>()?);
            }
        }
        let chunk = if kept.is_empty() {
            None
        } else {
            let rows = kept.iter().map(|n| &*open.rows[*n]);
            let arrays = build_columns(&schema, &open.columns, rows, kept.len(), self)?;
            let vids: Vec<u64> = kept.iter().map(|n| open.first + *n as u64).collect();
            let mut marks = Marks::default();
            for (row, n) in kept.iter().enumerate().filter(|(_, n)| open.ends[**n] != NEVER) {
                marks.push(row as u32, kept.len(), open.ends[*n]);
            }
            let begins = Begins::from_rows(kept.iter().map(|n| open.begins[*n]));
            let columns = open.columns.iter().copied().zip(arrays).collect();
            let (vids, ends) = (Vids::from_list(vids), Ends::from_marks(marks));
            Some(Chunk::new(&self.context, open.first, vids, begins, ends, columns))
        };
        {
            let mut state = self.state.write();
            if let Some(chunk) = chunk {
                Arc::make_mut(&mut state.directory).insert(chunk);
            }
            state.open = Arc::default();
        }
        self.open_bytes.lock().resize(0);
        self.mark_dirty();
        self.tidy()
    }
}

/// Columns of rows that stand as values.
pub(super) fn build_columns<'a>(
    schema: &TableSchema,
    columns: &[u16],
    rows: impl Iterator<Item = &'a [Value]> + Clone,
    count: usize,
    table: &TableStore,
) -> Result<Vec<ArrayRef>, StoreError> {
    let mut arrays = Vec::with_capacity(columns.len());
    for (place, number) in columns.iter().enumerate() {
        let known =
            schema.column(*number).ok_or(StoreError::UnknownColumn { storage: table.storage(), column: *number })?;
        let mut builder = ColumnBuilder::new(&known.ty.stored(), count);
        for row in rows.clone() {
            builder.push(row.get(place).unwrap_or(&Value::Null))?;
        }
        arrays.push(builder.finish());
    }
    Ok(arrays)
}

/// A batch with its columns in the form that chunks keep them in.
fn as_stored(schema: &TableSchema, columns: &[u16], batch: &RecordBatch) -> Result<RecordBatch, StoreError> {
    let differs = |number: &u16| schema.column(*number).is_some_and(|known| known.ty != known.ty.stored());
    if !columns.iter().any(differs) {
        return Ok(batch.clone());
    }
    let mut arrays = batch.columns().to_vec();
    for (number, array) in columns.iter().zip(&mut arrays) {
        let Some(known) = schema.column(*number) else { continue };
        *array = arrow::compute::cast(array, &known.ty.stored().arrow())?;
    }
    let field = |array: &ArrayRef| arrow::datatypes::Field::new("", array.data_type().clone(), true);
    let schema = arrow::datatypes::Schema::new(arrays.iter().map(field).collect::<Vec<_>>());
    let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(schema), arrays, &options)?)
}

fn batch_rows(
    schema: &TableSchema,
    columns: &[u16],
    batch: &RecordBatch,
    table: &TableStore,
) -> Result<Vec<Row>, StoreError> {
    let storage = table.storage();
    let types = schema.types(columns).ok_or(StoreError::UnknownStorage(storage))?;
    let row = |n| batch.columns().iter().zip(&types).map(|(array, ty)| value_at(array, n, ty)).collect();
    Ok((0..batch.num_rows()).map(row).collect())
}

/// Rows in parts that fit chunks.
fn split_rows(rows: Vec<Row>) -> Vec<Vec<Row>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = 0;
    for row in rows {
        let row_bytes = row.iter().map(Value::size_bytes).sum::<usize>();
        if let Some(part) = parts.last()
            && !part.is_empty()
            && (part.len() == CHUNK_ROWS_MAX || bytes + row_bytes > CHUNK_BYTES_MAX)
        {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += row_bytes;
        if let Some(part) = parts.last_mut() {
            part.push(row);
        }
    }
    parts
}

/// A batch in parts that fit chunks; whole where it fits, without a copy.
fn split_batch(batch: &RecordBatch) -> Result<Vec<Vec<ArrayRef>>, StoreError> {
    let rows = batch.num_rows();
    let bytes = batch.columns().iter().map(array_bytes).sum::<usize>();
    // A batch comes out of one entry, so it is at most a little over one chunk's bytes: such a one stays whole.
    let parts = rows.div_ceil(CHUNK_ROWS_MAX).max((bytes / (2 * CHUNK_BYTES_MAX)).min(rows)).max(1);
    if parts == 1 {
        return Ok(vec![batch.columns().to_vec()]);
    }
    let step = rows.div_ceil(parts);
    let mut out = Vec::with_capacity(parts);
    for from in (0..rows).step_by(step) {
        // Copied: a slice would keep the whole batch in memory as long as one of its chunks lives.
        let picked = UInt32Array::from_iter_values(from as u32..(from + step).min(rows) as u32);
        let part = batch.columns().iter().map(|array| Ok(unshare(take(array, &picked, None)?)));
        out.push(part.collect::<Result<_, StoreError>>()?);
    }
    Ok(out)
}
