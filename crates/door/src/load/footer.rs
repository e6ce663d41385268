//! The end of a Parquet file, from who may lie about sizes: what reads it makes room for as many row groups as it claims, which no
//! memory may have. So it is walked through first.
//!
//! ```text
//! … | metadata, in Thrift's compact form | its length, u32 little endian | "PAR1"
//! ```

use std::io::{Read, Seek, SeekFrom};

use perigee_types::{SqlError, SqlResult, SqlState};

use super::body::error_of;

/// Bytes of the metadata.
const BYTES_MAX: u64 = 16 << 20;
/// Bytes behind it.
const TAIL_BYTES: u64 = 8;
/// How deep values stand in values.
const DEPTH_MAX: usize = 32;

/// Looks at the end of a file, and goes back to its beginning.
///
/// # Errors
/// `22P04` for metadata that claims more than it has, `54000` for too much of it.
pub(crate) fn check(file: &mut (impl Read + Seek)) -> SqlResult<()> {
    let read = |error| error_of(error, "read");
    let damaged = || SqlError::new(SqlState::BadCopyFileFormat, "the data cannot be read: its metadata is damaged");
    let bytes = file.seek(SeekFrom::End(0)).map_err(read)?;
    let tail = bytes.checked_sub(TAIL_BYTES).ok_or_else(damaged)?;
    file.seek(SeekFrom::Start(tail)).map_err(read)?;
    let mut length = [0; 4];
    file.read_exact(&mut length).map_err(read)?;
    let length = u64::from(u32::from_le_bytes(length));
    let begin = tail.checked_sub(length).ok_or_else(damaged)?;
    if length > BYTES_MAX {
        let message = format!("the metadata of the file has more than {BYTES_MAX} bytes");
        return Err(SqlError::new(SqlState::ProgramLimitExceeded, message));
    }
    file.seek(SeekFrom::Start(begin)).map_err(read)?;
    let mut metadata = Vec::new();
    file.take(length).read_to_end(&mut metadata).map_err(read)?;
    Walk(&metadata).fields(0).ok_or_else(damaged)?;
    file.rewind().map_err(read)
}

/// What is left to walk through.
struct Walk<'a>(&'a [u8]);

impl Walk<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }

    fn number(&mut self) -> Option<usize> {
        let mut number = 0u64;
        for place in 0..10 {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return usize::try_from(number).ok();
            }
        }
        None
    }

    /// So many values, each of which has at least a byte.
    fn items(&mut self, count: usize, kinds: &[u8], depth: usize) -> Option<()> {
        if count > self.0.len() {
            return None;
        }
        for _ in 0..count {
            for kind in kinds {
                match kind {
                    1 | 2 => self.skip(1)?,
                    kind => self.value(*kind, depth)?,
                }
            }
        }
        Some(())
    }

    fn value(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            // The kind says which.
            1 | 2 => Some(()),
            3 => self.skip(1),
            4..=6 => self.number().map(|_| ()),
            7 => self.skip(8),
            8 => {
                let count = self.number()?;
                self.skip(count)
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.number()? } else { usize::from(head >> 4) };
                self.items(count, &[head & 15], depth)
            }
            11 => {
                let count = self.number()?;
                let kinds = if count == 0 { 0 } else { self.byte()? };
                self.items(count, &[kinds >> 4, kinds & 15], depth)
            }
            12 => self.fields(depth + 1),
            _ => None,
        }
    }

    fn fields(&mut self, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            if head >> 4 == 0 {
                self.number()?;
            }
            self.value(head & 15, depth)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringArray};
    use arrow::record_batch::RecordBatch;
    use parquet::arrow::ArrowWriter;

    use super::*;

    fn state(metadata: &[u8]) -> &'static str {
        let file = [metadata, &u32::try_from(metadata.len()).unwrap().to_le_bytes(), b"PAR1"].concat();
        check(&mut Cursor::new(file)).err().map_or("", |error| error.state().code())
    }

    #[test]
    fn what_a_file_claims_is_there() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let batch = RecordBatch::try_from_iter([("a", texts)]).unwrap();
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        check(&mut Cursor::new(&file)).unwrap();
        assert!(check(&mut Cursor::new(&file[..file.len() / 2])).is_err());

        // A list, of as many structs as a number can say.
        assert_eq!(state(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0, 0]), "22P04");
        assert_eq!(state(&[0x19, 0x2c, 0, 0, 0]), "");
        assert_eq!(state(&[0x1c; 100]), "22P04");
        assert_eq!(state(b""), "22P04");
        assert_eq!(state(&vec![0; BYTES_MAX as usize + 1]), "54000");
        assert!(check(&mut Cursor::new(b"PAR1textPAR1")).is_err());
    }
}
