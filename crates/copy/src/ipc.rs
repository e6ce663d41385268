//! Messages of Arrow's IPC format, from who may lie about sizes.
//!
//! Arrow's own readers take what a message says of itself: they make room for a buffer of as many bytes as its head claims, and panic
//! on some heads that no writer makes. So messages are looked at first, and a panic is an error like any other.
//!
//! ```text
//! stream:  FFFFFFFF | head length, u32 little endian | head (flatbuffer) | body      … until a length of 0, or the end
//! Flight:  head and body come apart, without lengths
//! ```

use std::collections::HashMap;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow_ipc::{CompressionType, Message, MessageHeader, reader, root_as_message};
use perigee_types::{SqlError, SqlResult, SqlState};

/// Bytes of the head of a message.
const HEAD_BYTES_MAX: usize = 16 << 20;
/// Bytes of a body, and of one whose buffers are unpacked.
const BODY_BYTES_MAX: usize = 256 << 20;
/// Rows of a message, and values of all its columns: those without values have no bytes.
const ROWS_MAX: i64 = 64 << 20;
/// What the length of a message begins with.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Bytes before a packed buffer, which say how long it is unpacked; and what they say of one that is not packed.
const LENGTH_BYTES: usize = 8;
const NOT_PACKED: i64 = -1;

fn malformed(why: impl std::fmt::Display) -> SqlError {
    SqlError::new(SqlState::BadCopyFileFormat, format!("the Arrow data cannot be read: {why}"))
}

fn too_large(what: &str) -> SqlError {
    SqlError::new(SqlState::ProgramLimitExceeded, format!("{what} of the Arrow data is too large"))
        .hint("send record batches of fewer rows")
}

/// Reads messages one after the other: a schema, then batches, with dictionaries between them.
#[derive(Debug, Default)]
pub struct IpcMessages {
    schema: Option<SchemaRef>,
    dictionaries: HashMap<i64, ArrayRef>,
    dictionary_bytes: usize,
}

impl IpcMessages {
    /// The schema, once it has come.
    #[must_use]
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.schema.as_ref()
    }

    /// Takes a message; gives its rows, where it has some.
    ///
    /// # Errors
    /// `22P04` for what is no message, or comes out of order; `54000` for one that is too large.
    pub fn message(&mut self, head: &[u8], body: Buffer) -> SqlResult<Option<RecordBatch>> {
        catch_unwind(AssertUnwindSafe(|| self.read(head, body)))
            .unwrap_or_else(|_| Err(malformed("a message is damaged")))
    }

    fn read(&mut self, head: &[u8], body: Buffer) -> SqlResult<Option<RecordBatch>> {
        let message = root_as_message(head).map_err(malformed)?;
        let unpacked = check(&message, &body)?;
        let version = message.version();
        match message.header_type() {
            MessageHeader::NONE => Ok(None),
            MessageHeader::Schema if self.schema.is_some() => Err(malformed("it has a second schema")),
            MessageHeader::Schema => {
                let schema = message.header_as_schema().ok_or_else(|| malformed("a schema is none"))?;
                self.schema = Some(Arc::new(arrow_ipc::convert::fb_to_schema(schema)));
                Ok(None)
            }
            MessageHeader::DictionaryBatch => {
                let schema = self.schema.clone().ok_or_else(|| malformed("it has no schema"))?;
                let batch = message.header_as_dictionary_batch().ok_or_else(|| malformed("a dictionary is none"))?;
                // Those that are kept until the end.
                self.dictionary_bytes += unpacked;
                if self.dictionary_bytes > BODY_BYTES_MAX {
                    return Err(too_large("all dictionaries together"));
                }
                reader::read_dictionary(&body, batch, &schema, &mut self.dictionaries, &version).map_err(malformed)?;
                Ok(None)
            }
            MessageHeader::RecordBatch => {
                let schema = self.schema.clone().ok_or_else(|| malformed("it has no schema"))?;
                let batch = message.header_as_record_batch().ok_or_else(|| malformed("a batch is none"))?;
                reader::read_record_batch(&body, batch, schema, &self.dictionaries, None, &version)
                    .map(Some)
                    .map_err(malformed)
            }
            _ => Err(malformed("it has tensors")),
        }
    }
}

/// Checks what a message says of its body; how many bytes that has when it is unpacked.
fn check(message: &Message<'_>, body: &[u8]) -> SqlResult<usize> {
    if body.len() > BODY_BYTES_MAX {
        return Err(too_large("a record batch"));
    }
    let batch = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        MessageHeader::DictionaryBatch => message.header_as_dictionary_batch().and_then(|batch| batch.data()),
        _ => None,
    };
    let Some(batch) = batch else { return Ok(0) };
    if !(0..=ROWS_MAX).contains(&batch.length()) {
        return Err(too_large("a record batch"));
    }
    // Every column, and what is inside of it, says how many values it has; values of NULL have no bytes.
    let mut values = 0i64;
    for node in batch.nodes().into_iter().flatten() {
        if !(0..=ROWS_MAX).contains(&node.length()) || !(0..=node.length()).contains(&node.null_count()) {
            return Err(too_large("a column"));
        }
        values = values.saturating_add(node.length());
    }
    if values > ROWS_MAX {
        return Err(too_large("a record batch"));
    }
    // Arrow unpacks a buffer of LZ4 to its end, whatever length it claims.
    if batch.compression().is_some_and(|packed| packed.codec() == CompressionType::LZ4_FRAME) {
        return Err(
            SqlError::unsupported("Arrow data that is packed by LZ4").hint("pack it by Zstandard, or not at all")
        );
    }
    let (mut unpacked, packed) = (0usize, batch.compression().is_some());
    for buffer in batch.buffers().into_iter().flatten() {
        let outside = || malformed("a buffer is outside of its message");
        let from = usize::try_from(buffer.offset()).map_err(|_| outside())?;
        let length = usize::try_from(buffer.length()).map_err(|_| outside())?;
        let bytes = from.checked_add(length).and_then(|to| body.get(from..to)).ok_or_else(outside)?;
        unpacked = unpacked.saturating_add(match bytes.first_chunk::<LENGTH_BYTES>() {
            Some(claimed) if packed => match i64::from_le_bytes(*claimed) {
                NOT_PACKED => length,
                claimed => usize::try_from(claimed).map_err(|_| malformed("a buffer has a length below 0"))?,
            },
            _ => length,
        });
    }
    if unpacked > BODY_BYTES_MAX {
        return Err(too_large("a record batch"));
    }
    Ok(unpacked)
}

/// Reads an IPC stream.
pub struct IpcStream<R> {
    reader: R,
    messages: IpcMessages,
}

impl<R: Read> IpcStream<R> {
    /// Reads up to the schema.
    ///
    /// # Errors
    /// As [`IpcMessages::message`]; what reading gives.
    pub fn open(reader: R) -> SqlResult<Self> {
        let mut stream = Self { reader, messages: IpcMessages::default() };
        match stream.advance()? {
            Some(None) if stream.messages.schema.is_some() => Ok(stream),
            _ => Err(malformed("it does not begin with a schema")),
        }
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.messages.schema.clone().unwrap_or_else(|| Arc::new(arrow::datatypes::Schema::empty()))
    }

    /// The next rows, `None` at the end.
    ///
    /// # Errors
    /// As [`IpcMessages::message`]; what reading gives.
    pub fn batch(&mut self) -> SqlResult<Option<RecordBatch>> {
        loop {
            match self.advance()? {
                None => return Ok(None),
                Some(Some(batch)) => return Ok(Some(batch)),
                Some(None) => {}
            }
        }
    }

    /// Takes the next message; `None` at the end.
    fn advance(&mut self) -> SqlResult<Option<Option<RecordBatch>>> {
        let mut length = [0; 4];
        if !self.begin(&mut length)? {
            return Ok(None);
        }
        // Writers before Arrow 0.15 left the mark out.
        if length == CONTINUATION {
            self.fill(&mut length)?;
        }
        let length = u32::from_le_bytes(length) as usize;
        if length == 0 {
            return Ok(None);
        }
        if length > HEAD_BYTES_MAX {
            return Err(too_large("the head of a message"));
        }
        let head = self.bytes(length)?;
        let body_bytes = root_as_message(&head).map_err(malformed)?.bodyLength();
        let body_bytes = usize::try_from(body_bytes).map_err(|_| malformed("a body has a length below 0"))?;
        if body_bytes > BODY_BYTES_MAX {
            return Err(too_large("a record batch"));
        }
        let body = self.bytes(body_bytes)?;
        self.messages.message(&head, Buffer::from_vec(body)).map(Some)
    }

    /// Fills `bytes`, unless the data ends before them.
    fn begin(&mut self, bytes: &mut [u8]) -> SqlResult<bool> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.reader.read(&mut bytes[filled..]).map_err(io_error)? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(malformed("it ends in the middle of a message")),
                more => filled += more,
            }
        }
        Ok(true)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> SqlResult<()> {
        match self.begin(bytes)? {
            true => Ok(()),
            false => Err(malformed("it ends in the middle of a message")),
        }
    }

    /// So many bytes, for which room is made as they come.
    fn bytes(&mut self, count: usize) -> SqlResult<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(count as u64).read_to_end(&mut bytes).map_err(io_error)?;
        if read < count {
            return Err(malformed("it ends in the middle of a message"));
        }
        Ok(bytes)
    }
}

/// An error of SQL as it was, where the reader has given one.
fn io_error(error: io::Error) -> SqlError {
    match error.downcast::<SqlError>() {
        Ok(error) => error,
        Err(error) => malformed(error),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int32Array, NullArray, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};

    use super::*;

    fn stream(packed: Option<CompressionType>) -> Vec<u8> {
        let schema = Schema::new(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8, true)]);
        let numbers: Int32Array = (0..1_000).map(|n| (n % 3 > 0).then_some(n)).collect();
        let texts: StringArray = (0..1_000).map(|n| Some(format!("text {}", n % 10))).collect();
        let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(numbers), Arc::new(texts)]).unwrap();
        let options = IpcWriteOptions::default().try_with_compression(packed).unwrap();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.write(&batch.slice(10, 5)).unwrap();
        writer.finish().unwrap();
        writer.into_inner().unwrap()
    }

    fn read(bytes: &[u8]) -> SqlResult<Vec<RecordBatch>> {
        let mut stream = IpcStream::open(bytes)?;
        std::iter::from_fn(|| stream.batch().transpose()).collect()
    }

    #[test]
    fn streams_are_read_packed_or_not() {
        for packed in [None, Some(CompressionType::ZSTD)] {
            let batches = read(&stream(packed)).unwrap();
            assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [1_000, 5]);
            assert_eq!(batches[1].column(1).as_string::<i32>().value(0), "text 0");
            assert!(batches[0].column(0).is_null(0) && !batches[0].column(0).is_null(1));
        }
        let lz4 = read(&stream(Some(CompressionType::LZ4_FRAME)));
        assert_eq!(lz4.unwrap_err().state(), SqlState::FeatureNotSupported);
        assert_eq!(read(b"").unwrap_err().state(), SqlState::BadCopyFileFormat);
    }

    /// Whatever is written into the bytes, it is rows or an error: neither a panic, nor room for what is not there.
    #[test]
    fn damaged_streams_are_errors() {
        for packed in [None, Some(CompressionType::ZSTD)] {
            let whole = stream(packed);
            let mut refused = 0;
            for at in (0..whole.len()).step_by(13) {
                for bits in [0xff, 0x01] {
                    let mut damaged = whole.clone();
                    damaged[at] ^= bits;
                    refused += usize::from(read(&damaged).is_err());
                }
            }
            assert!(refused > 0);
            for end in (1..whole.len()).step_by(7) {
                drop(read(&whole[..end]));
            }
        }
    }

    #[test]
    fn claims_of_sizes_are_not_believed() {
        let mut whole = stream(Some(CompressionType::ZSTD));
        // The length of the first packed buffer: behind the heads of schema and batch, where a body begins.
        let length = |at: usize| u32::from_le_bytes(whole[at + 4..at + 8].try_into().unwrap()) as usize;
        let batch = 8 + length(0);
        let body = batch + 8 + length(batch);
        whole[body..body + 8].copy_from_slice(&(1i64 << 60).to_le_bytes());
        assert_eq!(read(&whole).unwrap_err().state(), SqlState::ProgramLimitExceeded);
        whole[body..body + 8].copy_from_slice(&(-2i64).to_le_bytes());
        assert_eq!(read(&whole).unwrap_err().state(), SqlState::BadCopyFileFormat);
        let column: ArrayRef = Arc::new(NullArray::new((ROWS_MAX / 2 + 1) as usize));
        let nulls = RecordBatch::try_from_iter([("a", Arc::clone(&column)), ("b", column)]).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &nulls.schema()).unwrap();
        writer.write(&nulls).unwrap();
        assert_eq!(read(&writer.into_inner().unwrap()).unwrap_err().state(), SqlState::ProgramLimitExceeded);
        let head = [&CONTINUATION[..], &u32::MAX.to_le_bytes()].concat();
        assert_eq!(read(&head).unwrap_err().state(), SqlState::ProgramLimitExceeded);
    }
}
