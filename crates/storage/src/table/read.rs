//! Point reads: keys to vids, vids to rows.

use std::ops::Bound;
use std::sync::Arc;

use perigee_types::catalog::Table;
use perigee_types::{IndexId, LogIndex, Row, TransactionId, Value, Vid};

use super::chunk::Chunk;
use super::fate::NEVER;
use super::index::RangeRequest;
use super::open_rows::OpenRows;
use super::schema::TableSchema;
use super::vids::Begins;
use super::{LATEST, TableStore};
use crate::arrow_value::value_at;
use crate::store::StoreError;

/// Where a row version is.
enum Place {
    Open(Arc<OpenRows>, usize),
    Chunk(Arc<Chunk>, u32),
}

impl TableStore {
    /// The row version under a key of a unique index, as `at` sees it; [`LATEST`] for the latest applied, else
    /// an index that a snapshot holds open.
    ///
    /// `key` is made by [`perigee_types::key`]. A key with a NULL in it is never found: such keys are not unique.
    ///
    /// # Errors
    /// [`StoreError::UnknownIndex`], [`StoreError::IndexNotReady`] for one that is not filled or not unique; the LSM's.
    pub fn get(&self, index: IndexId, key: &[u8], at: LogIndex) -> Result<Option<Vid>, StoreError> {
        let indexes = self.indexes.load();
        let index = indexes.iter().find(|i| i.oid == index).ok_or(StoreError::UnknownIndex(index))?;
        if !index.is_ready() || !index.unique {
            return Err(StoreError::IndexNotReady(index.oid));
        }
        let clock = &self.context.clock;
        let resolved = clock.resolve(at);
        let found = index.find(&self.context, key, |vid| self.visible(vid, resolved))?;
        if found.is_some() || at != LATEST || clock.applied() == resolved {
            return Ok(found.map(Vid));
        }
        // Apply went on and the version that was there may have been dropped meanwhile: look once more, held open.
        let held = clock.hold();
        Ok(index.find(&self.context, key, |vid| self.visible(vid, held.index()))?.map(Vid))
    }

    /// As [`TableStore::get`], as the open transaction `staged` sees it: with the rows that it staged and without those it
    /// ended.
    ///
    /// # Errors
    /// As [`TableStore::get`].
    pub fn get_with_staged(
        &self,
        index: IndexId,
        key: &[u8],
        at: LogIndex,
        staged: Option<TransactionId>,
    ) -> Result<Option<Vid>, StoreError> {
        let Some(own) = staged else { return self.get(index, key, at) };
        let index = self.index(index)?;
        if !index.is_ready() || !index.unique {
            return Err(StoreError::IndexNotReady(index.oid));
        }
        let held = self.context.clock.hold();
        let at = if at == LATEST { held.index() } else { at.0 };
        Ok(index.find(&self.context, key, |vid| self.visible_with(vid, at, own))?.map(Vid))
    }

    /// Whether a unique index has no entry between two keys, both included: not even a dead or a staged one.
    ///
    /// # Errors
    /// As [`TableStore::get`].
    pub fn is_empty_between(&self, index: IndexId, from: &[u8], to: &[u8]) -> Result<bool, StoreError> {
        let index = self.index(index)?;
        if !index.is_ready() || !index.unique {
            return Err(StoreError::IndexNotReady(index.oid));
        }
        index.is_empty_between(&self.context, from, to)
    }

    /// Row versions within bounds of an index, in key order, as `at` sees them; at most `limit`.
    ///
    /// Bounds may be prefixes of keys: an excluded lower bound is behind all keys that begin with it, an included upper
    /// bound includes them all.
    ///
    /// # Errors
    /// As [`TableStore::get`].
    pub fn range(
        &self,
        index: IndexId,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        at: LogIndex,
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<Vid>, StoreError> {
        let index = self.index(index)?;
        if !index.is_ready() {
            return Err(StoreError::IndexNotReady(index.oid));
        }
        let held = self.context.clock.hold();
        let at = if at == LATEST { held.index() } else { at.0 };
        let request = RangeRequest { from, to, reverse, limit };
        let vids = index.scan(&self.context, request, |vid| self.visible(vid, at))?;
        Ok(vids.into_iter().map(Vid).collect())
    }

    /// Values of a row version, whoever sees it; `None` once it is gone, which no snapshot that saw it outlives.
    ///
    /// # Errors
    /// [`StoreError::UnknownColumn`]; of a warm row also the LSM's and the column's.
    pub fn row(&self, vid: Vid, columns: &[u16]) -> Result<Option<Row>, StoreError> {
        self.read_row(vid, columns.iter(), &self.schema.load())
    }

    /// As [`TableStore::row`], with all columns of a definition of the table, which may not be committed yet.
    ///
    /// # Errors
    /// As [`TableStore::row`].
    pub fn row_as(&self, vid: Vid, definition: &Table) -> Result<Option<Row>, StoreError> {
        self.read_row(vid, definition.columns.iter().map(|c| &c.number), &self.schema_as(Some(definition)))
    }

    pub(crate) fn read_row<'a>(
        &self,
        vid: Vid,
        columns: impl Iterator<Item = &'a u16>,
        schema: &TableSchema,
    ) -> Result<Option<Row>, StoreError> {
        let Some(place) = self.place(vid.0) else { return Ok(None) };
        let row: Result<Row, StoreError> = match place {
            Place::Open(open, at) => columns.map(|number| self.open_value(schema, &open, at, *number)).collect(),
            Place::Chunk(chunk, row) if chunk.is_cold() => {
                return self.cold_row(&chunk, row, columns.copied().collect(), schema);
            }
            Place::Chunk(chunk, row) => {
                chunk.touch(&self.context);
                columns.map(|number| self.chunk_value(schema, &chunk, row, *number)).collect()
            }
        };
        row.map(Some)
    }

    /// The index that ended a row version, `None` while it is live; zero once it is gone.
    #[must_use]
    pub fn ended(&self, vid: Vid) -> Option<LogIndex> {
        let end = match self.place(vid.0) {
            Some(Place::Open(open, at)) => open.ends[at],
            Some(Place::Chunk(chunk, row)) => chunk.ends.end_of(row),
            None => 0,
        };
        (end != NEVER).then_some(LogIndex(end))
    }

    /// Whether a row version is visible to `at`.
    #[must_use]
    pub fn is_visible(&self, vid: Vid, at: LogIndex) -> bool {
        self.visible(vid.0, self.context.clock.resolve(at))
    }

    pub(crate) fn visible(&self, vid: u64, at: u64) -> bool {
        let state = self.state.read();
        match state.open.position(vid) {
            Some(place) => state.open.visible(place, at),
            None => state.directory.find(vid).is_some_and(|(chunk, row)| chunk.visible(row, at)),
        }
    }

    /// Whether the open transaction `own` sees a row version over its snapshot `at`.
    pub(super) fn visible_with(&self, vid: u64, at: u64, own: TransactionId) -> bool {
        match self.place(vid) {
            None => false,
            Some(Place::Open(open, place)) => open.visible(place, at),
            Some(Place::Chunk(chunk, row)) => {
                let begun = match chunk.begins() {
                    Begins::Staged(fate) if fate.index() == NEVER => fate.transaction() == own,
                    begins => begins.at(row) <= at,
                };
                begun && at < chunk.ends.end_of(row) && !chunk.ends.read(|marks| marks.is_staged_by(row, own))
            }
        }
    }

    fn place(&self, vid: u64) -> Option<Place> {
        let state = self.state.read();
        match state.open.position(vid) {
            Some(place) => Some(Place::Open(Arc::clone(&state.open), place)),
            None => state.directory.find(vid).map(|(chunk, row)| Place::Chunk(Arc::clone(chunk), row)),
        }
    }

    fn open_value(&self, schema: &TableSchema, open: &OpenRows, at: usize, number: u16) -> Result<Value, StoreError> {
        match open.columns.iter().position(|c| *c == number) {
            Some(column) => Ok(open.rows[at].get(column).cloned().unwrap_or(Value::Null)),
            None => self.missing(schema, number),
        }
    }

    fn chunk_value(&self, schema: &TableSchema, chunk: &Chunk, row: u32, number: u16) -> Result<Value, StoreError> {
        let Some(place) = chunk.column_place(number) else { return self.missing(schema, number) };
        let known = schema.column(number).ok_or_else(|| self.unknown_column(number))?;
        Ok(value_at(&chunk.column(place, &self.context)?, row as usize, &known.ty))
    }

    /// The row of a cold chunk. Of one that had ended when its manifest was made, and that nobody sees, all is NULL.
    fn cold_row(
        &self,
        chunk: &Chunk,
        row: u32,
        numbers: Vec<u16>,
        schema: &TableSchema,
    ) -> Result<Option<Row>, StoreError> {
        let places: Vec<Option<usize>> = numbers.iter().map(|number| chunk.column_place(*number)).collect();
        let wanted: Vec<_> = places.iter().flatten().map(|place| &chunk.columns()[*place]).collect();
        let wanted: Vec<_> = wanted.into_iter().map(|column| (column.number, column.ty.clone())).collect();
        let vid = chunk.vids().at(row);
        let mut read = self.context.cold_rows(&[vid], chunk.begins().bounds(), &wanted)?.into_iter();
        let mut values = Row::with_capacity(numbers.len());
        for (number, place) in numbers.into_iter().zip(places) {
            values.push(match place.and_then(|_| read.next()) {
                Some(array) => {
                    let known = schema.column(number).ok_or_else(|| self.unknown_column(number))?;
                    value_at(&array, 0, &known.ty)
                }
                None => self.missing(schema, number)?,
            });
        }
        Ok(Some(values))
    }

    fn missing(&self, schema: &TableSchema, number: u16) -> Result<Value, StoreError> {
        schema.column(number).map(|known| known.missing.clone()).ok_or_else(|| self.unknown_column(number))
    }

    pub(crate) fn unknown_column(&self, column: u16) -> StoreError {
        StoreError::UnknownColumn { storage: self.storage(), column }
    }
}
