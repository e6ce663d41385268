//! Streams of numbers.
//!
//! ```text
//! 0  number, number, ..     as they are
//! 1  length u32  pco file   level 4, one chunk
//! 2  number                 all are the same
//! ```
//!
//! The count is the reader's. An empty stream has no byte.

use std::borrow::Cow;

use arrow::array::types::ArrowPrimitiveType;
use arrow::array::{Array, ArrayRef, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, ToByteSlice};
use pco::ChunkConfig;
use pco::data_types::Number;
use pco::standalone::{simple_compress, simple_decompress_into};

use super::EncodingError;
use super::cursor::Cursor;

const RAW: u8 = 0;
const PCO: u8 = 1;
const SAME: u8 = 2;

/// Measured: level 8, the default, is 3 to 5 times slower for a few per cent.
const LEVEL: usize = 4;

/// Fewer numbers than this are not worth a `pco` header.
const WORTH_NUMBERS: usize = 16;

/// A number of fixed width that Arrow stores and `pco` compresses.
pub(super) trait Fixed: Number + Copy + Default + ToByteSlice {
    /// From little-endian bytes; `bytes` has exactly the width.
    fn from_le(bytes: &[u8]) -> Self;
}

macro_rules! fixed {
    ($($ty:ty),*) => {$(
        impl Fixed for $ty {
            fn from_le(bytes: &[u8]) -> Self {
                let mut array = [0; size_of::<$ty>()];
                array.copy_from_slice(bytes);
                <$ty>::from_le_bytes(array)
            }
        }
    )*};
}
fixed!(i16, i32, i64, u8, u16, u32, u64, f32, f64);

/// Appends a stream.
pub(super) fn write<T: Fixed>(numbers: &[T], out: &mut Vec<u8>) -> Result<(), EncodingError>
where
    [T]: ToByteSlice,
{
    let width = size_of::<T>();
    let Some(first) = numbers.first() else { return Ok(()) };
    let raw = numbers.to_byte_slice();
    // By bytes: NaN is not equal to itself, and the zeros are.
    if raw.chunks_exact(width).all(|number| number == first.to_byte_slice()) {
        out.push(SAME);
        out.extend_from_slice(first.to_byte_slice());
        return Ok(());
    }
    if numbers.len() >= WORTH_NUMBERS {
        let config = ChunkConfig::default().with_compression_level(LEVEL).with_enable_8_bit(true);
        let file = simple_compress(numbers, &config).map_err(|e| EncodingError::Compressor(e.to_string()))?;
        if file.len() < raw.len() / 20 * 19 {
            out.push(PCO);
            out.extend_from_slice(&(file.len() as u32).to_le_bytes());
            out.extend_from_slice(&file);
            return Ok(());
        }
    }
    out.push(RAW);
    out.extend_from_slice(raw);
    Ok(())
}

/// Reads a stream of `count` numbers.
pub(super) fn read<T: Fixed>(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<T>, EncodingError> {
    let width = size_of::<T>();
    if count == 0 {
        return Ok(Vec::new());
    }
    match cursor.u8()? {
        RAW => {
            let bytes = count.checked_mul(width).ok_or(EncodingError::Damaged("too many numbers"))?;
            Ok(cursor.take(bytes)?.chunks_exact(width).map(T::from_le).collect())
        }
        SAME => Ok(vec![T::from_le(cursor.take(width)?); count]),
        PCO => {
            let file = cursor.block()?;
            let mut numbers = vec![T::default(); count];
            let progress = simple_decompress_into(file, &mut numbers).map_err(|_| EncodingError::Damaged("pco"))?;
            if progress.n_processed == count && progress.finished {
                Ok(numbers)
            } else {
                Err(EncodingError::Damaged("a stream has another count of numbers"))
            }
        }
        _ => Err(EncodingError::Damaged("unknown kind of stream")),
    }
}

/// Appends the values of an array.
pub(super) fn write_array<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    out: &mut Vec<u8>,
) -> Result<(), EncodingError>
where
    T::Native: Fixed,
{
    write(&filled(array.values(), array.nulls()), out)
}

/// Reads the values of an array of type `ty`, which is one of `T`'s.
pub(super) fn read_array<T: ArrowPrimitiveType>(
    cursor: &mut Cursor<'_>,
    ty: &DataType,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, EncodingError>
where
    T::Native: Fixed,
{
    let values = read::<T::Native>(cursor, rows)?;
    let array = PrimitiveArray::<T>::try_new(values.into(), nulls).map_err(|_| EncodingError::Damaged("an array"))?;
    Ok(std::sync::Arc::new(array.with_data_type(ty.clone())))
}

/// The values, with the value before it (or the first one) where there is a NULL: what lies under a NULL may be anything,
/// and a repeated number costs next to nothing.
pub(super) fn filled<'a, T: Copy>(values: &'a [T], nulls: Option<&NullBuffer>) -> Cow<'a, [T]> {
    let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) else { return Cow::Borrowed(values) };
    let Some(first) = nulls.valid_indices().next() else { return Cow::Borrowed(&[]) };
    let mut last = values[first];
    let fill = values.iter().zip(nulls).map(|(value, valid)| {
        if valid {
            last = *value;
        }
        last
    });
    Cow::Owned(fill.collect())
}
