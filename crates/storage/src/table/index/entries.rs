//! Index entries of rows.

use arrow::array::ArrayRef;
use perigee_types::{Value, key};

use super::{KeyBytes, TableIndex};
use crate::arrow_value::{KeyColumn, encode_key};
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
        let known = schema.column(*number).ok_or_else(|| unknown(index, *number))?;
        let value = match columns.iter().position(|c| c == number) {
            Some(at) => &row[at],
            None => &known.missing,
        };
        has_null |= value.is_null();
        key::encode_as(value, &known.ty, &mut bytes);
    }
    index.finish_entry(&mut bytes, has_null, vid);
    Ok(KeyBytes::from_slice(&bytes))
}

/// The entries of `rows` of a chunk. `column` gives its columns by number, `None` for rows older than the column.
pub(crate) fn array_entries(
    index: &TableIndex,
    schema: &TableSchema,
    rows: impl Iterator<Item = (u32, u64)>,
    mut column: impl FnMut(u16) -> Result<Option<ArrayRef>, StoreError>,
) -> Result<Vec<(KeyBytes, u64)>, StoreError> {
    let arrays = index.columns.iter().map(|number| column(*number)).collect::<Result<Vec<_>, StoreError>>()?;
    let mut columns = Vec::with_capacity(arrays.len());
    for (number, array) in index.columns.iter().zip(&arrays) {
        let known = schema.column(*number).ok_or_else(|| unknown(index, *number))?;
        columns.push(match array {
            Some(array) => KeyColumn::new(array, &known.ty),
            None => KeyColumn::constant(&known.missing, &known.ty),
        });
    }
    let mut bytes = Vec::with_capacity(64);
    let mut entries = Vec::with_capacity(rows.size_hint().0);
    for (row, vid) in rows {
        bytes.clear();
        let has_null = !encode_key(&columns, row as usize, &mut bytes);
        index.finish_entry(&mut bytes, has_null, vid);
        entries.push((KeyBytes::from_slice(&bytes), vid));
    }
    Ok(entries)
}

fn unknown(index: &TableIndex, column: u16) -> StoreError {
    StoreError::UnknownColumn { storage: index.oid, column }
}
