//! Whether what is read of a file is what was written.
//!
//! Parquet's pages have no checksums here, and a bit that has flipped in one is mostly another value. So a file says in its footer
//! which checksum each of its blocks has, and its manifest which one the end of the file has:
//!
//! ```text
//! | block | block | ... | block |  page indexes, footer with the checksums of the blocks  |
//! 0    256 KiB            shorter  tail.from                                      length of the file
//! ```
//!
//! Who reads a range reads the blocks that it lies in.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as ObjectResult,
};
use parquet::file::metadata::{KeyValue, ParquetMetaDataReader};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use xxhash_rust::xxh3::xxh3_64;

use super::{ColdError, ColdFile, ColdStore};

/// Bytes of a block.
pub(super) const BLOCK_BYTES: u64 = 256 << 10;
/// Under this name the checksums stand in the footer: 8 hexadecimal digits for each block.
const FOOTER_KEY: &str = "perigee.blocks";
/// Digits of a block's checksum.
const DIGITS: usize = 8;
/// The length of a footer and Parquet's mark, at the end of a file.
const END_BYTES: usize = 8;

/// The end of a file, behind its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    /// Where it begins.
    pub from: u64,
    /// XXH3 (64 bits) of all bytes from there on.
    pub checksum: u64,
}

/// What a footer says of the blocks before it.
pub(super) fn of_blocks(bytes: &[u8]) -> KeyValue {
    let mut digits = String::with_capacity(bytes.len() / BLOCK_BYTES as usize * DIGITS + DIGITS);
    for block in bytes.chunks(BLOCK_BYTES as usize) {
        let _ = write!(digits, "{:08x}", of_block(block));
    }
    KeyValue::new(FOOTER_KEY.to_owned(), digits)
}

fn of_block(block: &[u8]) -> u32 {
    xxh3_64(block) as u32
}

/// The checksums of a file.
pub(super) struct FileSums {
    blocks: Box<[u32]>,
    tail: Tail,
    bytes: u64,
}

impl FileSums {
    /// What the end of a file says.
    fn read(file: &ColdFile, tail: Tail, end: &[u8]) -> Result<Self, ColdError> {
        let damaged = |what: &str| ColdError::Damaged { path: file.path.clone(), what: what.to_owned() };
        if tail.from + end.len() as u64 != file.bytes || xxh3_64(end) != tail.checksum {
            return Err(damaged("its end does not have the checksum that its manifest has of it"));
        }
        let unreadable = || damaged("its footer does not say what its blocks are");
        let (before, length) = end.split_last_chunk::<END_BYTES>().ok_or_else(unreadable)?;
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let footer = before.len().checked_sub(length).and_then(|from| before.get(from..)).ok_or_else(unreadable)?;
        let footer = ParquetMetaDataReader::decode_metadata(footer).map_err(|error| damaged(&error.to_string()))?;
        let known = footer.file_metadata().key_value_metadata().into_iter().flatten();
        let digits = known.filter(|known| known.key == FOOTER_KEY).find_map(|known| known.value.as_deref());
        let digits = digits.ok_or_else(unreadable)?.as_bytes();
        let block = |digits: &[u8]| {
            let digits = std::str::from_utf8(digits).ok()?;
            u32::from_str_radix(digits, 16).ok()
        };
        let blocks: Option<Box<[u32]>> = digits.chunks(DIGITS).map(block).collect();
        let blocks = blocks.filter(|blocks| blocks.len() as u64 == tail.from.div_ceil(BLOCK_BYTES));
        Ok(Self { blocks: blocks.ok_or_else(unreadable)?, tail, bytes: file.bytes })
    }

    /// Bytes in memory.
    pub(super) fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.blocks.len() * size_of::<u32>()
    }

    /// The blocks that a range lies in.
    fn around(&self, range: &Range<u64>) -> Range<u64> {
        let tail = self.tail.from;
        let from = if range.start >= tail { tail } else { range.start / BLOCK_BYTES * BLOCK_BYTES };
        let to = if range.end > tail { self.bytes } else { range.end.next_multiple_of(BLOCK_BYTES).min(tail) };
        from..to
    }

    /// Compares whole blocks, the first of which begins at `from`.
    fn compare(&self, file: &ColdFile, from: u64, bytes: &Bytes) -> Result<(), ColdError> {
        let (mut at, mut rest) = (from, &bytes[..]);
        while !rest.is_empty() {
            if at >= self.tail.from {
                if xxh3_64(rest) != self.tail.checksum {
                    return Err(wrong_from(file, at));
                }
                break;
            }
            let length = (at + BLOCK_BYTES).min(self.tail.from) - at;
            let (block, behind) = rest.split_at_checked(length as usize).ok_or_else(|| wrong_from(file, at))?;
            if self.blocks.get((at / BLOCK_BYTES) as usize) != Some(&of_block(block)) {
                return Err(wrong_from(file, at));
            }
            (at, rest) = (at + length, behind);
        }
        Ok(())
    }

    /// Compares whole blocks, the first of which begins at `from`, and gives what of them is in `range`.
    fn checked(&self, file: &ColdFile, range: &Range<u64>, from: u64, bytes: &Bytes) -> Result<Bytes, ColdError> {
        self.compare(file, from, bytes)?;
        cut(range, from, bytes).ok_or_else(|| wrong_from(file, from))
    }

    /// The blocks that some ranges lie in, each once and neighbours together, ascending.
    fn around_all(&self, ranges: &[Range<u64>]) -> Vec<Range<u64>> {
        let mut all: Vec<Range<u64>> = ranges.iter().filter(|r| !r.is_empty()).map(|r| self.around(r)).collect();
        all.sort_unstable_by_key(|blocks| blocks.start);
        all.dedup_by(|next, before| {
            let together = next.start <= before.end;
            if together {
                before.end = before.end.max(next.end);
            }
            together
        });
        all
    }
}

/// What of `bytes`, which begin at `from`, is in `range`; `None` where they end before it does.
fn cut(range: &Range<u64>, from: u64, bytes: &Bytes) -> Option<Bytes> {
    let first = usize::try_from(range.start.checked_sub(from)?).ok()?;
    let last = usize::try_from(range.end.checked_sub(from)?).ok()?;
    (first <= last && last <= bytes.len()).then(|| bytes.slice(first..last))
}

fn wrong_from(file: &ColdFile, at: u64) -> ColdError {
    ColdError::Damaged { path: file.path.clone(), what: format!("what begins at byte {at} does not have its checksum") }
}

impl ColdStore {
    /// Reads part of a file, and compares it with its checksums. Blocking.
    ///
    /// # Errors
    /// [`ColdError::Missing`], [`ColdError::Away`], [`ColdError::Damaged`]
    pub fn get_checked(&self, file: &ColdFile, range: Range<u64>) -> Result<Bytes, ColdError> {
        let (from, bytes) = self.get_around(file, &range)?;
        let (first, last) = ((range.start - from) as usize, (range.end - from) as usize);
        if last > bytes.len() {
            return Err(ColdError::Damaged { path: file.path.clone(), what: "it ends too early".to_owned() });
        }
        Ok(bytes.slice(first..last))
    }

    /// As [`get_checked`](Self::get_checked), with all that had to be read for it: from where on, and the bytes.
    pub(super) fn get_around(&self, file: &ColdFile, range: &Range<u64>) -> Result<(u64, Bytes), ColdError> {
        let Some(tail) = file.tail else { return Ok((range.start, self.get(&file.path, range.clone())?)) };
        let sums = self.sums.get_or_insert_with(&file.path, || {
            FileSums::read(file, tail, &self.get(&file.path, tail.from..file.bytes)?).map(Arc::new)
        })?;
        let around = sums.around(range);
        let bytes = self.get(&file.path, around.clone())?;
        let bytes = sums.checked(file, &around, around.start, &bytes)?;
        Ok((around.start, bytes))
    }

    /// The store for who reads these files, at their [`place`](Self::place): what is read of them is compared with their checksums.
    pub fn checked<'a>(self: &Arc<Self>, files: impl IntoIterator<Item = &'a ColdFile>) -> Arc<dyn ObjectStore> {
        let files = files.into_iter().map(|file| (Path::from(self.place(&file.path).as_ref()), file.clone()));
        Arc::new(CheckedFiles { store: Arc::clone(self), files: files.collect() })
    }
}

/// Some files of a store, for who reads them as Parquet.
#[derive(Debug)]
struct CheckedFiles {
    store: Arc<ColdStore>,
    files: HashMap<Path, ColdFile>,
}

impl fmt::Display for CheckedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files of {}", self.files.len(), self.store.location())
    }
}

impl CheckedFiles {
    async fn sums(&self, location: &Path, file: &ColdFile, tail: Tail) -> ObjectResult<Arc<FileSums>> {
        if let Some(known) = self.store.sums.get(&file.path) {
            return Ok(known);
        }
        let end = self.store.objects().get_range(location, tail.from..file.bytes).await?;
        let sums = Arc::new(FileSums::read(file, tail, &end).map_err(not_as_written)?);
        self.store.sums.insert(file.path.clone(), Arc::clone(&sums));
        Ok(sums)
    }

    /// Blocks of a file, compared.
    async fn blocks(
        &self,
        location: &Path,
        file: &ColdFile,
        sums: Arc<FileSums>,
        blocks: &[Range<u64>],
    ) -> ObjectResult<Vec<Bytes>> {
        let Some(path) = self.store.local_file(location.as_ref()) else {
            let read = self.store.objects().get_ranges(location, blocks).await?;
            for (blocks, bytes) in blocks.iter().zip(&read) {
                sums.compare(file, blocks.start, bytes).map_err(not_as_written)?;
            }
            return Ok(read);
        };
        let (file, blocks) = (file.clone(), blocks.to_vec());
        let read = move || read_local(&path, &file, &sums, &blocks);
        match Handle::try_current() {
            Ok(handle) => handle.spawn_blocking(read).await.map_err(|error| generic(Box::new(error)))?,
            Err(_) => read(),
        }
    }
}

/// Blocks of a file of a folder, each compared while the processor has it at hand.
fn read_local(path: &FilePath, file: &ColdFile, sums: &FileSums, blocks: &[Range<u64>]) -> ObjectResult<Vec<Bytes>> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Error::NotFound { path: path.display().to_string(), source: Box::new(error) },
        _ => generic(Box::new(error)),
    };
    let mut open = File::open(path).map_err(failed)?;
    let mut read = Vec::with_capacity(blocks.len());
    for range in blocks {
        let length = range.end - range.start;
        open.seek(SeekFrom::Start(range.start)).map_err(failed)?;
        // Nobody fills it with zeros first, as would be done for a slice.
        let mut bytes = Vec::with_capacity(length as usize);
        (&open).take(length).read_to_end(&mut bytes).map_err(failed)?;
        let bytes = Bytes::from(bytes);
        sums.compare(file, range.start, &bytes).map_err(not_as_written)?;
        read.push(bytes);
    }
    Ok(read)
}

fn generic(source: Box<dyn StdError + Send + Sync>) -> Error {
    Error::Generic { store: "cold", source }
}

fn not_as_written(error: ColdError) -> Error {
    generic(Box::new(error))
}

#[async_trait]
impl ObjectStore for CheckedFiles {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> ObjectResult<GetResult> {
        let objects = self.store.objects();
        let known = self.files.get(location).filter(|_| !options.head).and_then(|file| Some((file, file.tail?)));
        let Some((file, tail)) = known else { return objects.get_opts(location, options).await };
        let range = match &options.range {
            None => 0..file.bytes,
            Some(GetRange::Bounded(range)) => range.start..range.end.min(file.bytes),
            Some(GetRange::Offset(from)) => *from..file.bytes,
            Some(GetRange::Suffix(last)) => file.bytes.saturating_sub(*last)..file.bytes,
        };
        if range.is_empty() {
            return objects.get_opts(location, options).await;
        }
        let sums = self.sums(location, file, tail).await?;
        let around = sums.around(&range);
        let options = GetOptions { range: Some(GetRange::Bounded(around.clone())), ..options };
        let found = objects.get_opts(location, options).await?;
        let (meta, attributes) = (found.meta.clone(), found.attributes.clone());
        let bytes = found.bytes().await?;
        let bytes = sums.checked(file, &range, around.start, &bytes).map_err(not_as_written)?;
        let payload = GetResultPayload::Stream(stream::once(async move { Ok(bytes) }).boxed());
        Ok(GetResult { payload, meta, range, attributes })
    }

    /// Columns of a row group lie side by side: what several of them share is read, and compared, once.
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> ObjectResult<Vec<Bytes>> {
        let objects = self.store.objects();
        let known = self.files.get(location).and_then(|file| Some((file, file.tail?)));
        let Some((file, tail)) = known else { return objects.get_ranges(location, ranges).await };
        let sums = self.sums(location, file, tail).await?;
        let blocks = sums.around_all(ranges);
        let read = self.blocks(location, file, sums, &blocks).await?;
        let found = ranges.iter().map(|range| {
            if range.is_empty() {
                return Ok(Bytes::new());
            }
            let place = blocks.partition_point(|blocks| blocks.start <= range.start).checked_sub(1);
            let found = place.and_then(|place| cut(range, blocks.get(place)?.start, read.get(place)?));
            found.ok_or_else(|| not_as_written(wrong_from(file, range.start)))
        });
        found.collect()
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> ObjectResult<PutResult> {
        self.store.objects().put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> ObjectResult<Box<dyn MultipartUpload>> {
        self.store.objects().put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, ObjectResult<Path>>,
    ) -> BoxStream<'static, ObjectResult<Path>> {
        self.store.objects().delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, ObjectResult<ObjectMeta>> {
        self.store.objects().list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> ObjectResult<ListResult> {
        self.store.objects().list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> ObjectResult<()> {
        self.store.objects().copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
    use futures::executor::block_on;
    use perigee_types::{Row, SqlType, Value};

    use super::*;
    use crate::arrow_value::rows_to_batch;
    use crate::cold::{ColdColumn, ColdWriter, FinishedFile, WriteOptions};

    const ROWS: u64 = 100_000;

    fn file() -> FinishedFile {
        let text = ColdColumn { number: 1, name: "t".to_owned(), ty: SqlType::Text };
        let mut writer = ColdWriter::new(&[text], &[1], WriteOptions::default());
        // What does not compress much, so that there are several blocks.
        let text = |row: u64| vec![Value::Text(format!("{:016x}", xxh3_64(&row.to_le_bytes())))];
        let texts: Vec<Row> = (0..ROWS).map(text).collect();
        let texts = rows_to_batch(&[(1, &SqlType::Text, "t")], &texts).unwrap();
        let vids: ArrayRef = Arc::new((0..ROWS).collect::<UInt64Array>());
        let batch = RecordBatch::try_from_iter([("t", Arc::clone(texts.column(0))), ("v", vids)]).unwrap();
        assert!(writer.push(&batch).unwrap().is_none());
        writer.finish().unwrap().unwrap()
    }

    #[test]
    fn a_flipped_bit_is_found_wherever_it_is_and_whatever_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let FinishedFile { bytes, rows, checksum, tail, vid_first, vid_last } = file();
        let length = bytes.len() as u64;
        assert!(tail.from > 2 * BLOCK_BYTES, "several blocks");
        let file = ColdFile {
            path: "a/1/x.parquet".to_owned(),
            rows,
            bytes: length,
            checksum,
            tail: Some(tail),
            vid_first,
            vid_last,
        };
        let ranges = [0..4, 5..BLOCK_BYTES, BLOCK_BYTES - 1..BLOCK_BYTES + 1, tail.from - 1..tail.from + 1, 0..length];
        let whole = ColdStore::in_folder(folder.path(), "a/1", 1 << 20).unwrap();
        whole.put(&file.path, bytes.clone()).unwrap();
        for range in &ranges {
            let read = whole.get_checked(&file, range.clone()).unwrap();
            assert_eq!(read, bytes.slice(range.start as usize..range.end as usize));
        }
        // As Parquet's reader asks: several at once, in any order.
        let several =
            [tail.from - 9..tail.from, 7..7, 3..BLOCK_BYTES + 3, BLOCK_BYTES..BLOCK_BYTES + 8, length - 1..length];
        let place = Path::from(file.path.as_str());
        let read = block_on(whole.checked([&file]).get_ranges(&place, &several)).unwrap();
        let cut = |range: &Range<u64>| bytes.slice(range.start as usize..range.end as usize);
        assert_eq!(read, several.iter().map(cut).collect::<Vec<_>>());
        for at in [0, 3, BLOCK_BYTES - 1, BLOCK_BYTES, tail.from - 1, tail.from, length - 9, length - 1] {
            let mut flipped = bytes.to_vec();
            flipped[at as usize] ^= 16;
            std::fs::write(folder.path().join(&file.path), flipped).unwrap();
            // Nothing is known of the file yet.
            let store = ColdStore::in_folder(folder.path(), "a/1", 1 << 20).unwrap();
            let error = block_on(store.checked([&file]).get_ranges(&place, &several)).unwrap_err();
            assert!(error.to_string().contains("damaged"), "{error}");
            for range in &ranges {
                let store = ColdStore::in_folder(folder.path(), "a/1", 1 << 20).unwrap();
                match store.get_checked(&file, range.clone()) {
                    Ok(read) => {
                        assert!(!range.contains(&at), "byte {at} in {range:?}");
                        assert_eq!(read, bytes.slice(range.start as usize..range.end as usize));
                    }
                    Err(ColdError::Damaged { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}
