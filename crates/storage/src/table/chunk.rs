//! A chunk: a block of rows as Arrow columns, with what decides who sees them.
//!
//! ```text
//!            vids      begins      columns                ends
//! row 0      17        index 40    [..] [..] [..]
//! row 1      18        index 40                           index 52
//! row 2      19        index 41
//!            ------ never change; columns may leave memory ------   only apply adds
//!
//! apply -> hot, dirty -> checkpoint -> hot, clean -> evicted: warm -> read: decoded columns in the cache
//!                               a manifest covers all of its rows -> cold: columns in files of an object store
//! ```
//!
//! A rewrite (merging small chunks, dropping dead rows) makes a new chunk and leaves this one to those who pinned it. It
//! stays in memory for them, because the next checkpoint may write over its columns in the LSM.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use parking_lot::{Mutex, RwLock};
use perigee_types::Oid;

use super::Tier;
use super::context::TableContext;
use super::ends::Ends;
use super::vids::{Begins, Vids};
use crate::budget::Guard;
use crate::encoding::{self, ColumnStats};
use crate::store::StoreError;

/// Most rows of a chunk: DataFusion's batch.
pub(crate) const CHUNK_ROWS_MAX: usize = 8_192;
/// Bytes of values from which a chunk takes no more rows.
pub(crate) const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Chunks below this are one value in the LSM, others one value for each column.
pub(crate) const PACKED_BYTES_MAX: usize = 64 << 10;

/// A block of rows.
pub(crate) struct Chunk {
    /// Unique in the process: names decoded columns in the cache.
    instance: u64,
    storage: Oid,
    /// Names the chunk in its table and in the LSM: no vid in it is smaller, and no other chunk covers its range.
    first: u64,
    vids: Vids,
    begins: Begins,
    pub(crate) ends: Ends,
    columns: Arc<[ChunkColumn]>,
    bytes: usize,
    data: RwLock<Data>,
    /// Entry time of the last use, in microseconds.
    used: AtomicU64,
    dirty: Dirty,
}

/// A column of a chunk.
pub(crate) struct ChunkColumn {
    pub(crate) number: u16,
    pub(crate) ty: DataType,
    /// Bytes as Arrow.
    pub(crate) bytes: usize,
    stats: OnceLock<ColumnStats>,
}

/// Where the columns are.
enum Data {
    Hot {
        columns: Arc<[ArrayRef]>,
        _bytes: Guard,
        superseded: bool,
    },
    Warm {
        packed: bool,
    },
    /// In the files of the table's manifests.
    Cold,
}

/// What the next checkpoint has to write of a chunk.
#[derive(Default)]
struct Dirty {
    columns: AtomicBool,
    header: AtomicBool,
    ends: AtomicBool,
    bytes: Mutex<Option<Guard>>,
}

/// What a checkpoint kept of a chunk, its columns aside.
pub(crate) struct ChunkHeader {
    pub(crate) first: u64,
    pub(crate) vids: Vids,
    pub(crate) begins: Begins,
    pub(crate) ends: Ends,
    pub(crate) columns: Vec<ChunkColumn>,
    pub(crate) packed: bool,
    /// The LSM holds no columns of it.
    pub(crate) cold: bool,
}

impl ChunkColumn {
    pub(crate) fn new(number: u16, ty: DataType, bytes: usize, stats: Option<ColumnStats>) -> Self {
        Self { number, ty, bytes, stats: stats.map(OnceLock::from).unwrap_or_default() }
    }
}

impl Chunk {
    /// A new chunk in memory; the next checkpoint writes it.
    pub(crate) fn new(
        context: &TableContext,
        first: u64,
        vids: Vids,
        begins: Begins,
        ends: Ends,
        columns: Vec<(u16, ArrayRef)>,
    ) -> Arc<Self> {
        let described: Vec<ChunkColumn> = columns
            .iter()
            .map(|(number, array)| ChunkColumn::new(*number, array.data_type().clone(), array_bytes(array), None))
            .collect();
        let bytes = described.iter().map(|c| c.bytes).sum::<usize>();
        let arrays: Arc<[ArrayRef]> = columns.into_iter().map(|(_, array)| array).collect();
        let guard = context.budget.hot.reserve(bytes);
        let dirty = Dirty {
            columns: AtomicBool::new(true),
            header: AtomicBool::new(true),
            ends: AtomicBool::new(true),
            bytes: Mutex::new(Some(context.budget.dirty.reserve(bytes))),
        };
        Arc::new(Self {
            instance: context.next_instance(),
            storage: context.storage,
            first,
            vids,
            begins,
            ends,
            columns: described.into(),
            bytes,
            data: RwLock::new(Data::Hot { columns: arrays, _bytes: guard, superseded: false }),
            used: AtomicU64::new(context.clock.time_micros()),
            dirty,
        })
    }

    /// A chunk that a checkpoint kept: warm, clean.
    pub(crate) fn restored(context: &TableContext, header: ChunkHeader) -> Arc<Self> {
        Arc::new(Self {
            instance: context.next_instance(),
            storage: context.storage,
            first: header.first,
            vids: header.vids,
            begins: header.begins,
            ends: header.ends,
            bytes: header.columns.iter().map(|c| c.bytes).sum(),
            columns: header.columns.into(),
            data: RwLock::new(if header.cold { Data::Cold } else { Data::Warm { packed: header.packed } }),
            used: AtomicU64::new(0),
            dirty: Dirty::default(),
        })
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn instance(&self) -> u64 {
        self.instance
    }

    pub(crate) fn storage(&self) -> Oid {
        self.storage
    }

    pub(crate) fn rows(&self) -> usize {
        self.vids.len()
    }

    /// Rows that have not ended.
    pub(crate) fn live(&self) -> usize {
        self.rows().saturating_sub(self.ends.count())
    }

    pub(crate) fn vids(&self) -> &Vids {
        &self.vids
    }

    pub(crate) fn begins(&self) -> &Begins {
        &self.begins
    }

    pub(crate) fn columns(&self) -> &[ChunkColumn] {
        &self.columns
    }

    /// Bytes as Arrow.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether one value holds all columns in the LSM.
    pub(crate) fn is_packed(&self) -> bool {
        self.bytes < PACKED_BYTES_MAX
    }

    /// Whether a row is visible to `at`.
    pub(crate) fn visible(&self, row: u32, at: u64) -> bool {
        self.begins.at(row) <= at && at < self.ends.end_of(row)
    }

    /// The place of a column in this chunk; `None` when its rows are older than the column.
    pub(crate) fn column_place(&self, number: u16) -> Option<usize> {
        self.columns.iter().position(|c| c.number == number)
    }

    pub(crate) fn is_hot(&self) -> bool {
        matches!(*self.data.read(), Data::Hot { .. })
    }

    pub(crate) fn is_cold(&self) -> bool {
        matches!(*self.data.read(), Data::Cold)
    }

    /// Where the columns are.
    pub(crate) fn tier(&self) -> Tier {
        match &*self.data.read() {
            Data::Hot { .. } => Tier::Hot,
            Data::Warm { .. } => Tier::Warm,
            Data::Cold => Tier::Cold,
        }
    }

    /// The columns, if they are in memory.
    pub(crate) fn hot(&self) -> Option<Arc<[ArrayRef]>> {
        match &*self.data.read() {
            Data::Hot { columns, .. } => Some(Arc::clone(columns)),
            Data::Warm { .. } | Data::Cold => None,
        }
    }

    /// One column, from memory or through the cache of decoded ones.
    pub(crate) fn column(&self, place: usize, context: &TableContext) -> Result<ArrayRef, StoreError> {
        let packed = match &*self.data.read() {
            Data::Hot { columns, .. } => return Ok(Arc::clone(&columns[place])),
            Data::Warm { packed } => Some(*packed),
            Data::Cold => None,
        };
        let array = context.warm_column(self, place, packed);
        // A rewrite makes this chunk hot before a checkpoint can write over its columns: then what was just read may
        // belong to the chunk that replaced it, or be gone. A manifest makes it cold before a checkpoint removes them.
        match &*self.data.read() {
            Data::Hot { columns, .. } => Ok(Arc::clone(&columns[place])),
            Data::Cold if packed.is_some() && array.is_err() => context.warm_column(self, place, None),
            Data::Warm { .. } | Data::Cold => array,
        }
    }

    /// All columns.
    pub(crate) fn all_columns(&self, context: &TableContext) -> Result<Vec<ArrayRef>, StoreError> {
        (0..self.columns.len()).map(|place| self.column(place, context)).collect()
    }

    /// Notes that the chunk was used.
    pub(crate) fn touch(&self, context: &TableContext) {
        let now = context.clock.time_micros();
        if self.used.load(Ordering::Relaxed) != now {
            self.used.store(now, Ordering::Relaxed);
        }
    }

    /// Entry time of the last use, in microseconds.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Statistics of a column; computed once, `None` while its values are not in memory.
    pub(crate) fn stats(&self, place: usize) -> Option<&ColumnStats> {
        let column = &self.columns[place];
        if column.stats.get().is_none() {
            let array = Arc::clone(&self.hot()?[place]);
            let _ = column.stats.set(encoding::stats(&array));
        }
        column.stats.get()
    }

    /// Keeps the columns in memory from now on, for those who pinned the chunk that `columns` were rewritten from.
    pub(crate) fn supersede(&self, columns: &[ArrayRef], context: &TableContext) {
        // No checkpoint will write it.
        *self.dirty.bytes.lock() = None;
        let mut data = self.data.write();
        match &mut *data {
            Data::Hot { superseded, .. } => *superseded = true,
            Data::Warm { .. } => {
                let bytes = context.budget.hot.reserve(self.bytes);
                *data = Data::Hot { columns: columns.into(), _bytes: bytes, superseded: true };
            }
            // Its files stay.
            Data::Cold => {}
        }
    }

    /// Lets go of the columns, all of whose visible rows a manifest's files hold. No checkpoint may be on its way; the next
    /// one takes them out of the LSM.
    pub(crate) fn make_cold(&self) {
        // Once the values are gone the statistics cannot be had for free.
        for place in 0..self.columns.len() {
            self.stats(place);
        }
        let mut data = self.data.write();
        if matches!(&*data, Data::Hot { superseded: true, .. } | Data::Cold) {
            return;
        }
        *data = Data::Cold;
        self.dirty.columns.store(true, Ordering::Release);
        self.dirty.header.store(true, Ordering::Release);
        *self.dirty.bytes.lock() = None;
    }

    /// Drops the memory copy of a chunk that the LSM holds as it is. Gives the bytes freed.
    pub(crate) fn evict(&self) -> usize {
        if self.dirty.columns.load(Ordering::Acquire) {
            return 0;
        }
        // Once the values are gone the statistics cannot be had for free.
        for place in 0..self.columns.len() {
            self.stats(place);
        }
        let mut data = self.data.write();
        match &*data {
            Data::Hot { superseded: false, .. } => {
                *data = Data::Warm { packed: self.is_packed() };
                self.bytes
            }
            Data::Hot { .. } | Data::Warm { .. } | Data::Cold => 0,
        }
    }

    /// Whether a checkpoint has to write the columns.
    pub(crate) fn columns_dirty(&self) -> bool {
        self.dirty.columns.load(Ordering::Acquire)
    }

    /// Whether a checkpoint has to write the header.
    pub(crate) fn header_dirty(&self) -> bool {
        self.dirty.header.load(Ordering::Acquire)
    }

    /// Whether a checkpoint has to write the end-marks.
    pub(crate) fn ends_dirty(&self) -> bool {
        self.dirty.ends.load(Ordering::Acquire)
    }

    /// The header is not what the LSM holds any more: a staged transaction has ended.
    pub(crate) fn mark_header(&self) {
        self.dirty.header.store(true, Ordering::Release);
    }

    /// The end-marks are not what the LSM holds any more. True when they were until now.
    pub(crate) fn mark_ends(&self) -> bool {
        !self.dirty.ends.swap(true, Ordering::AcqRel)
    }

    /// A checkpoint has begun that holds header and end-marks as of now. What comes later marks them again.
    pub(crate) fn begin_checkpoint(&self) {
        self.dirty.header.store(false, Ordering::Release);
        self.dirty.ends.store(false, Ordering::Release);
    }

    /// The LSM holds the columns.
    pub(crate) fn columns_written(&self) {
        self.dirty.columns.store(false, Ordering::Release);
        *self.dirty.bytes.lock() = None;
    }
}

/// Bytes that an array's values take, whatever buffers they share.
pub(crate) fn array_bytes(array: &ArrayRef) -> usize {
    match array.data_type() {
        DataType::Utf8View => {
            let views = array.as_string_view();
            views.len() * 16 + views.total_buffer_bytes_used()
        }
        DataType::BinaryView => {
            let views = array.as_binary_view();
            views.len() * 16 + views.total_buffer_bytes_used()
        }
        DataType::List(_) => array.as_list::<i32>().offsets().len() * 4 + array_bytes(array.as_list::<i32>().values()),
        _ => array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size()),
    }
}

/// An array without the bytes that none of its rows shows.
pub(crate) fn unshare(array: ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        _ => array,
    }
}
