//! The newest rows of a table, before they become a chunk.
//!
//! They stand as rows: appending one costs a push, reading one costs nothing but its copy. A scan pins them as they are
//! (apply then copies 256 pointers once) and makes Arrow of them in its own thread.

use std::sync::Arc;

use perigee_types::{Row, Value};

use super::fate::NEVER;

/// Rows until they become a chunk.
pub(crate) const OPEN_ROWS_MAX: usize = 256;
/// Bytes of values until they become a chunk.
pub(crate) const OPEN_BYTES_MAX: usize = 256 << 10;

/// Rows with consecutive vids and one set of columns.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenRows {
    /// Vid of the first row.
    pub(crate) first: u64,
    /// Numbers of the columns.
    pub(crate) columns: Arc<[u16]>,
    pub(crate) rows: Vec<Arc<[Value]>>,
    pub(crate) begins: Vec<u64>,
    pub(crate) ends: Vec<u64>,
    pub(crate) bytes: usize,
}

impl OpenRows {
    pub(crate) fn new(first: u64, columns: Arc<[u16]>) -> Self {
        Self { first, columns, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() >= OPEN_ROWS_MAX || self.bytes >= OPEN_BYTES_MAX
    }

    /// Whether `vid` is one of these, if it is still here at all.
    pub(crate) fn position(&self, vid: u64) -> Option<usize> {
        let at = usize::try_from(vid.checked_sub(self.first)?).ok()?;
        (at < self.rows.len()).then_some(at)
    }

    pub(crate) fn push(&mut self, row: Row, begin: u64) {
        self.bytes += row.iter().map(Value::size_bytes).sum::<usize>();
        self.rows.push(row.into());
        self.begins.push(begin);
        self.ends.push(NEVER);
    }

    /// Whether the row at a place is visible to `at`.
    pub(crate) fn visible(&self, place: usize, at: u64) -> bool {
        self.begins[place] <= at && at < self.ends[place]
    }
}
