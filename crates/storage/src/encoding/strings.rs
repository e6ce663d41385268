//! Text and bytea.
//!
//! ```text
//! 0  lengths: stream of u32   bytes: packed                                        each value
//! 1  count u32  lengths  bytes   codes: stream of u8 up to 256 entries, else u16   a dictionary
//! ```
//!
//! A dictionary decodes into views of its entries: nothing is copied or checked per row. A NULL has length zero, or the
//! code before it.

use std::sync::Arc;

use arrow::array::types::{ArrowPrimitiveType, ByteViewType, UInt8Type, UInt16Type};
use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, GenericByteViewArray, PrimitiveArray, StringArray, StringViewArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::cursor::Cursor;
use super::numbers::Fixed;
use super::{EncodingError, numbers, packed};

const EACH: u8 = 0;
const DICTIONARY: u8 = 1;

/// A dictionary pays where values occur four times on average.
const ROWS_PER_ENTRY: usize = 4;

/// Entries that a code of one byte reaches.
const BYTE_ENTRIES: usize = 256;

pub(super) fn write<T: ByteViewType>(array: &GenericByteViewArray<T>, out: &mut Vec<u8>) -> Result<(), EncodingError> {
    match dictionary(array) {
        Some((entries, codes)) => {
            out.push(DICTIONARY);
            out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
            write_each(entries.iter().copied(), out)?;
            if entries.len() <= BYTE_ENTRIES {
                numbers::write(&codes.iter().map(|code| *code as u8).collect::<Vec<_>>(), out)
            } else {
                numbers::write(&codes, out)
            }
        }
        None => {
            out.push(EACH);
            write_each(array.iter().map(|value| value.map(AsRef::as_ref).unwrap_or_default()), out)
        }
    }
}

/// The distinct values in order of appearance, and the code of each row; `None` where there are too many.
fn dictionary<T: ByteViewType>(array: &GenericByteViewArray<T>) -> Option<(Vec<&[u8]>, Vec<u16>)> {
    let entries_max = (array.len() / ROWS_PER_ENTRY).min(usize::from(u16::MAX));
    let mut codes = Vec::with_capacity(array.len());
    let mut entries: Vec<&[u8]> = Vec::new();
    let mut seen: HashMap<&[u8], u16, FxBuildHasher> = HashMap::default();
    let mut last = 0;
    for value in array.iter() {
        if let Some(value) = value {
            let value: &[u8] = value.as_ref();
            last = match seen.get(value) {
                Some(code) => *code,
                None if entries.len() >= entries_max => return None,
                None => {
                    let code = entries.len() as u16;
                    seen.insert(value, code);
                    entries.push(value);
                    code
                }
            };
        }
        codes.push(last);
    }
    Some((entries, codes))
}

fn write_each<'a>(values: impl Iterator<Item = &'a [u8]> + Clone, out: &mut Vec<u8>) -> Result<(), EncodingError> {
    let mut lengths = Vec::new();
    let mut total = 0usize;
    for value in values.clone() {
        total += value.len();
        lengths.push(value.len() as u32);
    }
    if total > packed::BYTES_MAX {
        return Err(EncodingError::TooLarge("more than 2 GiB"));
    }
    let mut bytes = Vec::with_capacity(total);
    for value in values {
        bytes.extend_from_slice(value);
    }
    numbers::write(&lengths, out)?;
    packed::write(&bytes, out)
}

pub(super) fn read_text(
    cursor: &mut Cursor<'_>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, EncodingError> {
    read(cursor, rows, nulls, |offsets, bytes, nulls| {
        // Checks that all bytes are UTF-8 and that no value begins inside a character.
        let array = StringArray::try_new(offsets, bytes, nulls).map_err(|_| EncodingError::Damaged("text"))?;
        Ok(Arc::new(StringViewArray::from(&array)))
    })
}

pub(super) fn read_binary(
    cursor: &mut Cursor<'_>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, EncodingError> {
    read(cursor, rows, nulls, |offsets, bytes, nulls| {
        let array = BinaryArray::try_new(offsets, bytes, nulls).map_err(|_| EncodingError::Damaged("bytea"))?;
        Ok(Arc::new(BinaryViewArray::from(&array)))
    })
}

/// Numerics of any size, in the form of [`perigee_types::numeric`]: bytes that are none are damage.
pub(super) fn read_numeric(
    cursor: &mut Cursor<'_>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, EncodingError> {
    let array = read(cursor, rows, nulls, |offsets, bytes, nulls| {
        let array = BinaryArray::try_new(offsets, bytes, nulls).map_err(|_| EncodingError::Damaged("numeric"))?;
        let bad = array.iter().flatten().any(|form| perigee_types::numeric::decode(form).is_none());
        if bad { Err(EncodingError::Damaged("numeric")) } else { Ok(Arc::new(array)) }
    })?;
    cast(&array, &DataType::LargeBinary).map_err(|_| EncodingError::Damaged("numeric"))
}

type Build = fn(OffsetBuffer<i32>, Buffer, Option<NullBuffer>) -> Result<ArrayRef, EncodingError>;

fn read(
    cursor: &mut Cursor<'_>,
    rows: usize,
    nulls: Option<NullBuffer>,
    build: Build,
) -> Result<ArrayRef, EncodingError> {
    match cursor.u8()? {
        EACH => {
            let (offsets, bytes) = read_each(cursor, rows)?;
            build(offsets, bytes, nulls)
        }
        DICTIONARY => {
            let count = cursor.u32()? as usize;
            if count == 0 || count > rows {
                return Err(EncodingError::Damaged("a dictionary has another count of entries"));
            }
            let (offsets, bytes) = read_each(cursor, count)?;
            let entries = build(offsets, bytes, None)?;
            if count <= BYTE_ENTRIES {
                look_up::<UInt8Type>(cursor, &entries, rows, nulls)
            } else {
                look_up::<UInt16Type>(cursor, &entries, rows, nulls)
            }
        }
        _ => Err(EncodingError::Damaged("unknown form of text")),
    }
}

fn read_each(cursor: &mut Cursor<'_>, count: usize) -> Result<(OffsetBuffer<i32>, Buffer), EncodingError> {
    let lengths = numbers::read::<u32>(cursor, count)?;
    let mut offsets = Vec::with_capacity(count + 1);
    let mut total = 0i32;
    offsets.push(0);
    for length in lengths {
        let end = i32::try_from(length).ok().and_then(|length| total.checked_add(length));
        total = end.ok_or(EncodingError::Damaged("values are too long"))?;
        offsets.push(total);
    }
    let bytes = packed::read_exactly(cursor, total as usize)?;
    Ok((OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(bytes)))
}

fn look_up<C: ArrowPrimitiveType>(
    cursor: &mut Cursor<'_>,
    entries: &ArrayRef,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, EncodingError>
where
    C::Native: Fixed + Ord + Into<u64>,
{
    let codes = numbers::read::<C::Native>(cursor, rows)?;
    let greatest: u64 = codes.iter().copied().max().unwrap_or_default().into();
    if greatest >= entries.len() as u64 {
        return Err(EncodingError::Damaged("a code without an entry"));
    }
    let codes = PrimitiveArray::<C>::try_new(codes.into(), nulls).map_err(|_| EncodingError::Damaged("codes"))?;
    take(entries, &codes, None).map_err(|_| EncodingError::Damaged("codes"))
}
