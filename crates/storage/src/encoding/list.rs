//! Arrays: the length of each, then all items as a column.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::FieldRef;

use super::cursor::Cursor;
use super::{EncodingError, ITEMS_MAX, decode_from, encode_into, numbers};

pub(super) fn write(array: &ListArray, depth: u8, out: &mut Vec<u8>) -> Result<(), EncodingError> {
    let mut lengths = Vec::with_capacity(array.len());
    let mut items = 0usize;
    for row in 0..array.len() {
        let length = if array.is_null(row) { 0 } else { array.value_length(row) };
        items += length as usize;
        lengths.push(length as u32);
    }
    if items > ITEMS_MAX {
        return Err(EncodingError::TooLarge("too many items"));
    }
    numbers::write(&lengths, out)?;
    encode_into(&live_items(array, items)?, depth + 1, out)
}

/// The items of the rows that are not NULL, in order. Arrow allows items under a NULL; they are left out.
fn live_items(array: &ListArray, count: usize) -> Result<ArrayRef, EncodingError> {
    let offsets = array.value_offsets();
    let (first, end) = (offsets[0] as usize, offsets[array.len()] as usize);
    if end - first == count {
        return Ok(array.values().slice(first, count));
    }
    let live = (0..array.len()).filter(|row| array.is_valid(*row));
    let indices: Vec<u32> = live.flat_map(|row| offsets[row] as u32..offsets[row + 1] as u32).collect();
    take(array.values(), &UInt32Array::from(indices), None).map_err(|e| EncodingError::Compressor(e.to_string()))
}

pub(super) fn read(
    cursor: &mut Cursor<'_>,
    item: &FieldRef,
    rows: usize,
    nulls: Option<NullBuffer>,
    depth: u8,
) -> Result<ArrayRef, EncodingError> {
    let lengths = numbers::read::<u32>(cursor, rows)?;
    let mut offsets = Vec::with_capacity(rows + 1);
    let mut total = 0usize;
    offsets.push(0);
    for length in lengths {
        total += length as usize;
        if total > ITEMS_MAX {
            return Err(EncodingError::Damaged("too many items"));
        }
        offsets.push(total as i32);
    }
    let items = decode_from(cursor, item.data_type(), total, depth + 1)?;
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    let array = ListArray::try_new(Arc::clone(item), offsets, items, nulls);
    Ok(Arc::new(array.map_err(|_| EncodingError::Damaged("an array"))?))
}
