//! COPY's binary format: a header, tuples of length-prefixed fields, a trailer.

use perigee_types::{SqlError, SqlResult, SqlState, SqlType};

use crate::DecodeBinary;
use crate::column::Column;

/// What a binary COPY begins with.
pub const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// The longest header extension that is skipped.
const EXTENSION_BYTES_MAX: usize = 64 << 10;

/// Reads pieces one after the other.
#[derive(Debug)]
pub(crate) struct BinaryReader {
    place: Place,
    decode: DecodeBinary,
}

/// Where the data stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Header,
    Tuples,
    Trailer,
}

/// An error, and the column that it is about.
type TupleError = (SqlError, Option<usize>);

impl BinaryReader {
    pub(crate) fn new(decode: DecodeBinary) -> Self {
        Self { place: Place::Header, decode }
    }

    /// Decodes the next piece: the header, a tuple or the trailer. Returns its length and whether it was a row; `None`
    /// where its end has not come. Nothing is appended to the columns before the whole tuple is here.
    pub(crate) fn tuple(
        &mut self,
        bytes: &[u8],
        types: &[(String, SqlType)],
        columns: &mut [Column],
    ) -> Result<Option<(usize, bool)>, TupleError> {
        match self.place {
            Place::Header => {
                let length = header(bytes).map_err(|error| (error, None))?;
                if length.is_some() {
                    self.place = Place::Tuples;
                }
                Ok(length.map(|length| (length, false)))
            }
            Place::Trailer => Err((bad("received copy data after EOF marker"), None)),
            Place::Tuples => {
                let &[a, b, ..] = bytes else { return Ok(None) };
                let count = i16::from_be_bytes([a, b]);
                if count == -1 {
                    self.place = Place::Trailer;
                    return Ok(Some((2, false)));
                }
                if usize::try_from(count).ok() != Some(columns.len()) {
                    let message = format!("row field count is {count}, expected {}", columns.len());
                    return Err((bad(message), None));
                }
                let Some(length) = tuple_length(bytes, columns.len())? else { return Ok(None) };
                let mut at = 2;
                for (i, column) in columns.iter_mut().enumerate() {
                    let (start, size) = field(bytes, at);
                    match size {
                        None => {
                            column.push_null();
                            at = start;
                        }
                        Some(size) => {
                            let value = (self.decode)(&bytes[start..start + size], &types[i].1);
                            value.and_then(|value| column.push(value)).map_err(|error| (error, Some(i)))?;
                            at = start + size;
                        }
                    }
                }
                Ok(Some((length, true)))
            }
        }
    }

    /// The data has ended, `rest` is left.
    pub(crate) fn end(&self, rest: &[u8]) -> SqlResult<()> {
        match self.place {
            Place::Header => Err(bad("COPY file signature not recognized")),
            _ if !rest.is_empty() => Err(bad("unexpected EOF in COPY data")),
            _ => Ok(()),
        }
    }
}

fn header(bytes: &[u8]) -> SqlResult<Option<usize>> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] != SIGNATURE[..known] {
        return Err(bad("COPY file signature not recognized"));
    }
    let Some(&[a, b, c, d, e, f, g, h]) = bytes.get(11..19).and_then(|b| b.first_chunk::<8>()) else {
        return Ok(None);
    };
    let flags = u32::from_be_bytes([a, b, c, d]);
    if flags & (1 << 16) != 0 {
        return Err(bad("invalid COPY file header (WITH OIDS)"));
    }
    if flags >> 16 != 0 {
        return Err(bad("unrecognized critical flags in COPY file header"));
    }
    let extension = u32::from_be_bytes([e, f, g, h]) as usize;
    if extension > EXTENSION_BYTES_MAX {
        return Err(bad("invalid COPY file header (wrong length)"));
    }
    Ok((bytes.len() >= 19 + extension).then_some(19 + extension))
}

/// Bytes of the whole tuple, `None` where its end has not come.
fn tuple_length(bytes: &[u8], count: usize) -> Result<Option<usize>, TupleError> {
    let mut at = 2;
    for i in 0..count {
        if bytes.len() < at + 4 {
            return Ok(None);
        }
        let length = i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if length < -1 {
            return Err((bad("invalid field size"), Some(i)));
        }
        at += 4 + length.max(0) as usize;
    }
    Ok((bytes.len() >= at).then_some(at))
}

/// Where the field at `at` starts and how long it is, `None` for NULL; the tuple is known to be whole.
fn field(bytes: &[u8], at: usize) -> (usize, Option<usize>) {
    let length = i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    (at + 4, usize::try_from(length).ok())
}

fn bad(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::BadCopyFileFormat, message)
}
