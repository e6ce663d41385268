//! Single rows out of files, by vid.
//!
//! A file is sorted by the table's key, so where a vid stands is found once for all of its rows and kept while the cache has
//! room. With that, the rows of a chunk, or one row, cost the pages that they lie in.

use std::collections::VecDeque;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use arrow::compute::{concat, interleave};
use arrow::datatypes::{DataType, UInt64Type};
use arrow::error::ArrowError;
use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::reader::{ChunkReader, Length};
use xxhash_rust::xxh3::Xxh3;

use super::sums::BLOCK_BYTES;
use super::{ColdError, ColdFile, ColdStore, LoggedManifest, form};
use crate::store::StoreError;

/// Bytes of one request of a reader of the whole.
const VERIFY_BYTES: u64 = 8 << 20;
/// Ranges of a file, of a block or few, that one reader keeps: as many as columns that are read side by side, mostly.
const READ_KEPT_MAX: usize = 16;

/// Where the vids of a file stand.
pub(super) enum FileVids {
    /// Ascending by row.
    Ascending(Box<[u64]>),
    /// For each vid from the first on its row, or [`NO_ROW`].
    Dense(u64, Box<[u32]>),
    /// Ascending, each with its row.
    Mapped(Box<[(u64, u32)]>),
}

/// Of a vid that is not in the file.
const NO_ROW: u32 = u32::MAX;

impl FileVids {
    /// `vids` by row, of which there are fewer than [`NO_ROW`].
    fn new(vids: &[u64]) -> Self {
        let (first, last) = (vids.iter().min().copied().unwrap_or(0), vids.iter().max().copied().unwrap_or(0));
        let ascending = vids.is_sorted();
        // Bytes of a vid in each of the other ways, in those of a place.
        let places_max = vids.len() * if ascending { 2 } else { 4 };
        match usize::try_from(last - first) {
            Ok(span) if span < places_max => {
                let mut rows = vec![NO_ROW; span + 1];
                for (vid, row) in vids.iter().zip(0..) {
                    rows[(vid - first) as usize] = row;
                }
                FileVids::Dense(first, rows.into())
            }
            _ if ascending => FileVids::Ascending(vids.into()),
            _ => {
                let mut mapped: Vec<(u64, u32)> = vids.iter().copied().zip(0..).collect();
                mapped.sort_unstable();
                FileVids::Mapped(mapped.into())
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            FileVids::Ascending(vids) => vids.len() * 8,
            FileVids::Dense(_, rows) => rows.len() * 4,
            FileVids::Mapped(vids) => vids.len() * 16,
        }
    }

    fn row_of(&self, vid: u64) -> Option<u32> {
        match self {
            FileVids::Ascending(vids) => vids.binary_search(&vid).ok().map(|row| row as u32),
            FileVids::Dense(first, rows) => {
                let place = vid.checked_sub(*first).and_then(|place| usize::try_from(place).ok())?;
                rows.get(place).copied().filter(|row| *row != NO_ROW)
            }
            FileVids::Mapped(vids) => vids.binary_search_by_key(&vid, |(vid, _)| *vid).ok().map(|at| vids[at].1),
        }
    }
}

/// A file as Parquet's reader asks for it: a page at a time.
pub(super) struct RemoteFile {
    store: Arc<ColdStore>,
    file: ColdFile,
    /// What was read last, from where on: several pages stand in a block, and each column has its own.
    read: Mutex<VecDeque<(u64, Bytes)>>,
}

/// Reads on from a place of a file, a block at a time.
pub(super) struct Blocks {
    store: Arc<ColdStore>,
    file: ColdFile,
    at: u64,
    block: Bytes,
}

impl RemoteFile {
    fn get(&self, range: Range<u64>) -> Result<Bytes, ColdError> {
        let inside = |from: u64, bytes: &Bytes| {
            let first = usize::try_from(range.start.checked_sub(from)?).ok()?;
            let last = usize::try_from(range.end.checked_sub(from)?).ok()?;
            (first <= last && last <= bytes.len()).then(|| bytes.slice(first..last))
        };
        if let Some(found) = self.read.lock().iter().find_map(|(from, bytes)| inside(*from, bytes)) {
            return Ok(found);
        }
        let (from, bytes) = self.store.get_around(&self.file, &range)?;
        let missing = || damaged(&self.file, "it ends too early");
        let found = inside(from, &bytes).ok_or_else(missing)?;
        let mut read = self.read.lock();
        if read.len() >= READ_KEPT_MAX {
            read.pop_front();
        }
        read.push_back((from, bytes));
        Ok(found)
    }
}

impl Length for RemoteFile {
    fn len(&self) -> u64 {
        self.file.bytes
    }
}

impl ChunkReader for RemoteFile {
    type T = Blocks;

    fn get_read(&self, start: u64) -> ParquetResult<Blocks> {
        Ok(Blocks { store: Arc::clone(&self.store), file: self.file.clone(), at: start, block: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let end = start.saturating_add(length as u64);
        if end > self.file.bytes {
            return Err(ParquetError::EOF(format!("bytes up to {end} of a file of {}", self.file.bytes)));
        }
        self.get(start..end).map_err(|error| ParquetError::External(Box::new(error)))
    }
}

impl Read for Blocks {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.block.is_empty() {
            let end = self.at.saturating_add(1).next_multiple_of(BLOCK_BYTES).min(self.file.bytes);
            if self.at >= end {
                return Ok(0);
            }
            let range = self.at..end;
            self.block = self.store.get_checked(&self.file, range).map_err(std::io::Error::other)?;
            self.at = end;
        }
        let count = into.len().min(self.block.len());
        self.block.copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}

impl ColdStore {
    /// Reads a file's footer, and looks whether it is the file that its manifest names. Blocking.
    ///
    /// # Errors
    /// [`ColdError::Missing`], [`ColdError::Away`], [`ColdError::Damaged`]
    pub fn check_footer(self: &Arc<Self>, file: &ColdFile) -> Result<(), ColdError> {
        self.footer(file).map(drop)
    }

    /// Bytes of a value of a column, on average and without compression; `None` where the footer cannot be read. Blocking.
    #[must_use]
    pub fn value_bytes(self: &Arc<Self>, file: &ColdFile, column: usize) -> Option<u64> {
        let footer = self.footer(file).ok()?;
        // Each column has one leaf.
        let chunks = footer.metadata().row_groups().iter().map(|group| group.columns().get(column));
        let bytes: i64 = chunks.map(|chunk| chunk.map(|chunk| chunk.uncompressed_size())).sum::<Option<i64>>()?;
        u64::try_from(bytes).ok()?.checked_div(file.rows)
    }

    /// How many rows of a file, at most `rows_max`, may be in memory at a time with some of its columns: so many that neighbours
    /// have at most about `bytes_max` in each. Blocking.
    #[must_use]
    pub fn rows_at_once(
        self: &Arc<Self>,
        file: &ColdFile,
        columns: &[usize],
        bytes_max: u64,
        rows_max: usize,
    ) -> usize {
        // Who reads it finds out what is wrong with it.
        let Ok(footer) = self.footer(file) else { return rows_max };
        let index = footer.metadata().offset_index();
        let mut rows_at_once = rows_max.max(1);
        for (number, group) in footer.metadata().row_groups().iter().enumerate() {
            for column in columns {
                // Each column has one leaf.
                let Some(chunk) = group.columns().get(*column) else { continue };
                let bytes = u64::try_from(chunk.uncompressed_size()).unwrap_or(0);
                if bytes <= bytes_max {
                    continue;
                }
                let pages = index.and_then(|index| index.get(number)?.get(*column));
                let pages = pages_of(pages, u64::try_from(group.num_rows()).unwrap_or(0), bytes);
                while rows_at_once > 1 && heaviest(&pages, rows_at_once as u64) > bytes_max {
                    rows_at_once /= 2;
                }
            }
        }
        rows_at_once
    }

    /// Reads all bytes of a file and compares their checksum. Blocking.
    ///
    /// # Errors
    /// [`ColdError::Missing`], [`ColdError::Away`], [`ColdError::Damaged`]
    pub fn verify(self: &Arc<Self>, file: &ColdFile) -> Result<(), ColdError> {
        let mut hash = Xxh3::new();
        for from in (0..file.bytes).step_by(VERIFY_BYTES as usize) {
            hash.update(&self.get(&file.path, from..(from + VERIFY_BYTES).min(file.bytes))?);
        }
        if hash.digest() != file.checksum {
            return Err(damaged(file, "its checksum is not that of the manifest"));
        }
        self.check_footer(file)
    }

    pub(super) fn remote(self: &Arc<Self>, file: &ColdFile) -> RemoteFile {
        RemoteFile { store: Arc::clone(self), file: file.clone(), read: Mutex::default() }
    }

    pub(super) fn footer(self: &Arc<Self>, file: &ColdFile) -> Result<Arc<ArrowReaderMetadata>, ColdError> {
        self.footers.get_or_insert_with(&file.path, || {
            let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
            let footer = ArrowReaderMetadata::load(&self.remote(file), options).map_err(|e| parquet(file, e))?;
            if u64::try_from(footer.metadata().file_metadata().num_rows()) != Ok(file.rows) {
                return Err(damaged(file, "it has another count of rows than its manifest says"));
            }
            Ok(Arc::new(footer))
        })
    }

    /// Columns of some rows of a file, in the file's order; `rows` ascends.
    fn columns(
        self: &Arc<Self>,
        file: &ColdFile,
        columns: &[usize],
        rows: Option<&[u32]>,
    ) -> Result<Vec<ArrayRef>, ColdError> {
        let footer = self.footer(file)?;
        let fields = footer.schema().fields();
        if columns.iter().any(|column| *column >= fields.len()) {
            return Err(damaged(file, "it has fewer columns than its manifest says"));
        }
        let types: Vec<DataType> = columns.iter().map(|column| fields[*column].data_type().clone()).collect();
        let mask = ProjectionMask::roots(footer.parquet_schema(), columns.iter().copied());
        let mut builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.remote(file), footer.as_ref().clone())
                .with_projection(mask);
        if let Some(rows) = rows {
            let (groups, selection) = select(&footer, rows);
            builder = builder.with_row_groups(groups).with_row_selection(selection);
        }
        let reader = builder.build().map_err(|error| parquet(file, error))?;
        let mut parts: Vec<Vec<ArrayRef>> = vec![Vec::new(); columns.len()];
        // A projection keeps the file's order.
        let mut order: Vec<usize> = columns.to_vec();
        order.sort_unstable();
        order.dedup();
        for batch in reader {
            let batch = batch.map_err(|error| unreadable(file, error))?;
            for (part, column) in parts.iter_mut().zip(columns) {
                let place = order.binary_search(column).unwrap_or(0);
                part.push(Arc::clone(batch.column(place)));
            }
        }
        let whole = parts.into_iter().zip(&types).map(|(part, ty)| match part.len() {
            0 => Ok(new_null_array(ty, 0)),
            1 => Ok(Arc::clone(&part[0])),
            _ => {
                let refs: Vec<&dyn Array> = part.iter().map(AsRef::as_ref).collect();
                concat(&refs).map_err(|error| damaged(file, &error.to_string()))
            }
        });
        whole.collect()
    }

    fn vids_of(self: &Arc<Self>, file: &ColdFile, place: usize) -> Result<Arc<FileVids>, ColdError> {
        self.vids.get_or_insert_with(&file.path, || {
            let column = self.columns(file, &[place], None)?;
            let vids = column.first().and_then(|column| column.as_primitive_opt::<UInt64Type>());
            let vids = vids.ok_or_else(|| damaged(file, "its last column holds no vids"))?;
            Ok(Arc::new(FileVids::new(vids.values())))
        })
    }

    /// Columns of rows, by number and by the type that they shall have, in the order of `vids`; NULL where a row or its
    /// column is in no file. Blocking.
    ///
    /// # Errors
    /// [`StoreError::Cold`]
    pub(crate) fn rows<'a>(
        self: &Arc<Self>,
        manifests: impl Iterator<Item = &'a LoggedManifest>,
        vids: &[u64],
        columns: &[(u16, DataType)],
    ) -> Result<Vec<ArrayRef>, StoreError> {
        // For each column: the parts that were read, the first one a single NULL; for each row its part and place.
        let mut parts: Vec<Vec<ArrayRef>> = columns.iter().map(|(_, ty)| vec![new_null_array(ty, 1)]).collect();
        let mut places: Vec<(usize, usize)> = vec![(0, 0); vids.len()];
        let mut missing: Vec<usize> = (0..vids.len()).collect();
        for logged in manifests {
            let manifest = &logged.manifest;
            let wanted: Vec<Option<usize>> = columns
                .iter()
                .map(|(number, _)| manifest.columns.iter().position(|column| column.number == *number))
                .collect();
            for file in &manifest.files {
                let near = |at: &usize| (file.vid_first..=file.vid_last).contains(&vids[*at]);
                if !missing.iter().any(near) {
                    continue;
                }
                let known = self.vids_of(file, manifest.columns.len())?;
                let mut found: Vec<(u32, usize)> = Vec::new();
                missing.retain(|at| match known.row_of(vids[*at]) {
                    Some(row) => {
                        found.push((row, *at));
                        false
                    }
                    None => true,
                });
                if found.is_empty() {
                    continue;
                }
                found.sort_unstable();
                let mut rows: Vec<u32> = found.iter().map(|(row, _)| *row).collect();
                rows.dedup();
                let in_file: Vec<usize> = wanted.iter().copied().flatten().collect();
                let mut read = self.columns(file, &in_file, Some(&rows))?.into_iter();
                let part = parts.first().map_or(0, Vec::len);
                for ((column, (_, ty)), place) in parts.iter_mut().zip(columns).zip(&wanted) {
                    let array = match place.and_then(|_| read.next()) {
                        Some(array) => form::from_file(&array, ty)?,
                        None => new_null_array(ty, rows.len()),
                    };
                    if array.len() != rows.len() {
                        return Err(damaged(file, "rows are missing in it").into());
                    }
                    column.push(array);
                }
                for (row, at) in found {
                    places[at] = (part, rows.binary_search(&row).unwrap_or(0));
                }
            }
            if missing.is_empty() {
                break;
            }
        }
        let whole = parts.iter().map(|parts| {
            let refs: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            interleave(&refs, &places).map_err(StoreError::from)
        });
        whole.collect()
    }
}

/// The rows and the bytes of each page of a column of a row group, which has so many of them.
fn pages_of(index: Option<&OffsetIndexMetaData>, rows: u64, bytes: u64) -> Vec<(u64, u64)> {
    let all = || vec![(rows, bytes)];
    let Some(index) = index else { return all() };
    let Some(bytes) = index.unencoded_byte_array_data_bytes() else { return all() };
    let firsts = index.page_locations().iter().map(|page| u64::try_from(page.first_row_index).unwrap_or(0));
    let ends = firsts.clone().skip(1).chain([rows]);
    let counts = firsts.zip(ends).map(|(first, end)| end.saturating_sub(first));
    counts.zip(bytes.iter().map(|bytes| u64::try_from(*bytes).unwrap_or(0))).collect()
}

/// The most bytes that so many neighbours have, from the beginning of any page on.
fn heaviest(pages: &[(u64, u64)], rows: u64) -> u64 {
    let (mut most, mut end, mut covered, mut sum) = (0, 0, 0_u64, 0_u64);
    for (first_rows, first_bytes) in pages {
        while let Some((page_rows, page_bytes)) = pages.get(end).filter(|_| covered < rows) {
            (covered, sum, end) = (covered + page_rows, sum.saturating_add(*page_bytes), end + 1);
        }
        let last = end.checked_sub(1).and_then(|at| pages.get(at)).copied().unwrap_or_default();
        // Of the last page a part.
        let beyond = covered.saturating_sub(rows).min(last.0);
        let outside = u128::from(last.1) * u128::from(beyond) / u128::from(last.0.max(1));
        most = most.max(sum.saturating_sub(outside as u64));
        (covered, sum) = (covered.saturating_sub(*first_rows), sum.saturating_sub(*first_bytes));
    }
    most
}

/// The row groups that hold some rows of a file, and the rows within these.
fn select(footer: &ArrowReaderMetadata, rows: &[u32]) -> (Vec<usize>, RowSelection) {
    let (mut groups, mut ranges): (Vec<usize>, Vec<Range<usize>>) = (Vec::new(), Vec::new());
    let (mut first, mut before, mut rest) = (0usize, 0usize, rows);
    for (number, group) in footer.metadata().row_groups().iter().enumerate() {
        let count = usize::try_from(group.num_rows()).unwrap_or(0);
        let (here, behind) = rest.split_at(rest.partition_point(|row| (*row as usize) < first + count));
        if !here.is_empty() {
            groups.push(number);
            for row in here {
                let at = *row as usize - first + before;
                match ranges.last_mut() {
                    Some(last) if last.end == at => last.end = at + 1,
                    _ => ranges.push(at..at + 1),
                }
            }
            before += count;
        }
        (first, rest) = (first + count, behind);
    }
    (groups, RowSelection::from_consecutive_ranges(ranges.into_iter(), before))
}

pub(super) fn unreadable(file: &ColdFile, error: ArrowError) -> ColdError {
    match error {
        ArrowError::ExternalError(inner) => external(file, inner),
        error => damaged(file, &error.to_string()),
    }
}

pub(super) fn damaged(file: &ColdFile, what: &str) -> ColdError {
    ColdError::Damaged { path: file.path.clone(), what: what.to_owned() }
}

pub(super) fn parquet(file: &ColdFile, error: ParquetError) -> ColdError {
    match error {
        ParquetError::External(inner) => external(file, inner),
        error => damaged(file, &error.to_string()),
    }
}

/// What the store said, if it was the store.
fn external(file: &ColdFile, error: Box<dyn std::error::Error + Send + Sync>) -> ColdError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error.as_ref());
    while let Some(this) = cause {
        let inner = this.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let found = this.downcast_ref::<ColdError>().or_else(|| inner.and_then(|inner| inner.downcast_ref()));
        if let Some(cold) = found {
            return cold.clone();
        }
        cause = this.source();
    }
    damaged(file, &error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_neighbours_are_found_wherever_they_are() {
        let small = (1_000, 1_000);
        let cases: [(&[(u64, u64)], u64, u64); 8] = [
            (&[], 10, 0),
            (&[(100, 1_000)], 10, 100),
            (&[(100, 1_000)], 1_000, 1_000),
            (&[small, (1, 500), small], 1, 500),
            (&[small, (1, 500), small], 11, 510),
            (&[small, (2, 500), (2, 600), (2, 10), small], 4, 1_100),
            (&[small, (2, 500), (2, 600), (2, 10), small], 2, 600),
            (&[small, small, (10, 100_000)], 2_000, 101_000),
        ];
        for (pages, rows, bytes) in cases {
            assert_eq!(heaviest(pages, rows), bytes, "{rows} of {pages:?}");
        }
    }

    #[test]
    fn each_vid_is_found_at_its_row_however_they_lie() {
        let far = 1 << 40;
        let cases: [&[u64]; 7] =
            [&[], &[7], &[7, 8, 9], &[9, 7, 8], &[1, 2, far], &[far, 2, 1], &[10, 14, 11, 17, 12, 16]];
        for vids in cases {
            let known = FileVids::new(vids);
            for (row, vid) in vids.iter().enumerate() {
                assert_eq!(known.row_of(*vid), Some(row as u32), "{vid} in {vids:?}");
            }
            for vid in [0, 6, 13, 15, 18, far - 1, u64::MAX] {
                assert_eq!(known.row_of(vid), None, "{vid} in {vids:?}");
            }
        }
    }
}
