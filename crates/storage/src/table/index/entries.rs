//! Index entries of rows.

use arrow::array::{Array, ArrayRef};
use perigee_types::{SqlType, Value, key};

use super::{KeyBytes, TableIndex};
use crate::arrow_value::value_at;
use crate::store::StoreError;
use crate::table::schema::TableSchema;

/// The entry of one row that stands as values of `columns`.
pub(crate) fn row_entry(
    index: &TableIndex,
    schema: &TableSchema,
    columns: &[u16],
    row: &[Value],
    vid: u64,
) -> Result<KeyBytes, StoreError> {
    let mut bytes = Vec::with_capacity(24);
    let mut has_null = false;
    for number in index.columns.iter() {
        let value = match columns.iter().position(|c| c == number) {
            Some(at) => &row[at],
            None => missing(index, schema, *number)?,
        };
        has_null |= value.is_null();
        key::encode_value(value, &mut bytes);
    }
    index.finish_entry(&mut bytes, has_null, vid);
    Ok(KeyBytes::from_slice(&bytes))
}

/// One key column of a chunk.
enum KeyColumn<'a> {
    Array(ArrayRef, &'a SqlType),
    Constant(&'a Value),
}

/// The entries of `rows` of a chunk. `column` gives its columns by number, `None` for rows older than the column.
pub(crate) fn array_entries(
    index: &TableIndex,
    schema: &TableSchema,
    rows: impl Iterator<Item = (u32, u64)>,
    mut column: impl FnMut(u16) -> Result<Option<ArrayRef>, StoreError>,
) -> Result<Vec<(KeyBytes, u64)>, StoreError> {
    let mut columns = Vec::with_capacity(index.columns.len());
    for number in index.columns.iter() {
        columns.push(match column(*number)? {
            Some(array) => {
                let known = schema.column(*number).ok_or_else(|| unknown(index, *number))?;
                KeyColumn::Array(array, &known.ty)
            }
            None => KeyColumn::Constant(missing(index, schema, *number)?),
        });
    }
    let mut bytes = Vec::with_capacity(64);
    let mut entries = Vec::with_capacity(rows.size_hint().0);
    for (row, vid) in rows {
        bytes.clear();
        let mut has_null = false;
        for column in &columns {
            match column {
                KeyColumn::Array(array, ty) => {
                    has_null |= array.is_null(row as usize);
                    key::encode_value(&value_at(array, row as usize, ty), &mut bytes);
                }
                KeyColumn::Constant(value) => {
                    has_null |= value.is_null();
                    key::encode_value(value, &mut bytes);
                }
            }
        }
        index.finish_entry(&mut bytes, has_null, vid);
        entries.push((KeyBytes::from_slice(&bytes), vid));
    }
    Ok(entries)
}

fn missing<'a>(index: &TableIndex, schema: &'a TableSchema, number: u16) -> Result<&'a Value, StoreError> {
    schema.column(number).map(|known| &known.missing).ok_or_else(|| unknown(index, number))
}

fn unknown(index: &TableIndex, column: u16) -> StoreError {
    StoreError::UnknownColumn { storage: index.oid, column }
}
