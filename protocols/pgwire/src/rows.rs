//! Results as DataRow messages, written straight into the output buffer.
//!
//! The type of each Arrow column is looked at once per batch ([`cell::Cell`]); after that a row is a loop over its cells
//! without any allocation.

pub(crate) mod cell;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringViewArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt32Type};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use perigee_engine::ObjectNames;
use perigee_plan::ResultColumn;
use perigee_types::text::{OutputSettings, format_into};
use perigee_types::{Oid, Row, SqlError, SqlResult, SqlType, Value};

use crate::backend::{Format, count, int32, length_prefixed, message};
use crate::binary;
use cell::Cell;

/// Writes rows of one result.
#[derive(Debug)]
pub(crate) struct RowEncoder {
    columns: Vec<(SqlType, Format)>,
    /// Which columns are int2vector or oidvector and go as text.
    vectors: Vec<bool>,
    settings: OutputSettings,
    /// For columns of regclass and the like, as text.
    names: Option<ObjectNames>,
    /// Text of an array's element.
    scratch: Vec<u8>,
}

/// Whether a type is an oid that is shown as a name, and given as one.
pub(crate) fn is_name(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Regclass | SqlType::Regtype | SqlType::Regproc | SqlType::Regnamespace | SqlType::Regrole)
}

/// What the elements of an array are, where they are shown as names.
pub(crate) fn names_in(ty: &SqlType) -> Option<&SqlType> {
    if let SqlType::Array(of) = ty { Some(&**of).filter(|of| is_name(of)) } else { None }
}

/// Lists of oids as lists of names.
fn named_lists(lists: &ListArray, text: impl Fn(Option<u32>) -> Option<String>) -> SqlResult<Option<ListArray>> {
    let Some(oids) = lists.values().as_primitive_opt::<UInt32Type>() else { return Ok(None) };
    let names = Arc::new(oids.iter().map(text).collect::<StringViewArray>()) as ArrayRef;
    let field = Arc::new(Field::new_list_field(DataType::Utf8View, true));
    let named = ListArray::try_new(field, lists.offsets().clone(), names, lists.nulls().cloned());
    named.map(Some).map_err(SqlError::internal)
}

/// Numbers with blanks between.
fn joined(numbers: impl Iterator<Item = i64>) -> String {
    let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
    numbers.join(" ")
}

/// Lists of numbers as the text of int2vector and oidvector.
fn vector_texts(lists: &ListArray) -> SqlResult<StringViewArray> {
    let numbers = arrow::compute::cast(lists.values(), &DataType::Int64).map_err(SqlError::internal)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    let text = |row: usize| {
        let offsets = lists.value_offsets();
        let range = offsets.get(row).zip(offsets.get(row + 1)).map_or(0..0, |(from, to)| *from as usize..*to as usize);
        (!lists.is_null(row)).then(|| joined(range.map(|at| numbers.value(at))))
    };
    Ok((0..lists.len()).map(text).collect())
}

impl RowEncoder {
    pub(crate) fn new(columns: &[ResultColumn], formats: &[Format], settings: OutputSettings) -> Self {
        let format = |i| formats.get(i).copied().unwrap_or_default();
        let is_vector = |(i, column): (usize, &ResultColumn)| column.vector && format(i) == Format::Text;
        let vectors: Vec<bool> = columns.iter().enumerate().map(is_vector).collect();
        let columns = columns.iter().enumerate().map(|(i, column)| (column.ty.clone(), format(i))).collect();
        Self { columns, vectors, settings, names: None, scratch: Vec::new() }
    }

    /// With the names that oids of objects are shown as; asks for them where a column needs them.
    pub(crate) fn with_names(mut self, names: impl FnOnce() -> ObjectNames) -> Self {
        let shows = |ty: &SqlType| is_name(ty) || names_in(ty).is_some();
        let needed = self.columns.iter().any(|(ty, format)| shows(ty) && *format == Format::Text);
        self.names = needed.then(names);
        self
    }

    /// The batch with names in place of oids, and with the text of int2vector and oidvector.
    fn named(&self, batch: &RecordBatch) -> SqlResult<Option<RecordBatch>> {
        if self.names.is_none() && !self.vectors.contains(&true) {
            return Ok(None);
        }
        let mut columns = batch.columns().to_vec();
        for ((column, (ty, format)), is_vector) in columns.iter_mut().zip(&self.columns).zip(&self.vectors) {
            if *is_vector && let Some(lists) = column.as_list_opt::<i32>() {
                *column = Arc::new(vector_texts(lists)?) as ArrayRef;
            }
            let Some(names) = self.names.as_ref().filter(|_| *format == Format::Text && !is_vector) else { continue };
            if is_name(ty)
                && let Some(oids) = column.as_primitive_opt::<UInt32Type>()
            {
                let text = |oid: Option<u32>| oid.map(|oid| names.text(Oid(oid), ty));
                *column = Arc::new(oids.iter().map(text).collect::<StringViewArray>()) as ArrayRef;
            } else if let Some(of) = names_in(ty)
                && let Some(lists) = column.as_list_opt::<i32>()
                && let Some(named) = named_lists(lists, |oid| oid.map(|oid| names.text(Oid(oid), of)))?
            {
                *column = Arc::new(named);
            }
        }
        let fields: Vec<Field> =
            columns.iter().map(|column| Field::new("", column.data_type().clone(), true)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::new(Schema::new(fields));
        RecordBatch::try_new_with_options(schema, columns, &options).map(Some).map_err(SqlError::internal)
    }

    /// Appends DataRows of a batch from row `from` on, up to row `to` or until the output is `bytes_max` long; returns
    /// the row after the last one written.
    ///
    /// # Errors
    /// `XX000` for a batch that does not have the columns, `22003` for a number that the column's type cannot hold.
    pub(crate) fn batch(
        &mut self,
        out: &mut Vec<u8>,
        batch: &RecordBatch,
        from: usize,
        to: usize,
        bytes_max: usize,
    ) -> SqlResult<usize> {
        let named = self.named(batch)?;
        let cells = cell::cells(named.as_ref().unwrap_or(batch), self.columns.iter().map(|(ty, _)| ty))?;
        let mut row = from;
        while row < to && out.len() < bytes_max {
            let (start, mut written) = (out.len(), Ok(()));
            message(out, b'D', |out| {
                count(out, cells.len());
                for (cell, (ty, format)) in cells.iter().zip(&self.columns) {
                    written = write_cell(out, cell, row, ty, *format, &self.settings, &mut self.scratch);
                    if written.is_err() {
                        break;
                    }
                }
            });
            if let Err(error) = written {
                out.truncate(start);
                return Err(error);
            }
            row += 1;
        }
        Ok(row)
    }

    /// Appends the DataRow of one row of values.
    pub(crate) fn values(&mut self, out: &mut Vec<u8>, row: &Row) {
        message(out, b'D', |out| {
            count(out, self.columns.len());
            for ((value, (ty, format)), is_vector) in row.iter().zip(&self.columns).zip(&self.vectors) {
                if value.is_null() {
                    int32(out, -1);
                    continue;
                }
                length_prefixed(out, 0, |out| match format {
                    Format::Text => match (&self.names, value) {
                        (_, Value::Array(numbers)) if *is_vector => {
                            let numbers = numbers.iter().filter_map(Value::as_i64);
                            out.extend_from_slice(joined(numbers).as_bytes());
                        }
                        (Some(names), Value::Oid(oid)) if is_name(ty) => {
                            out.extend_from_slice(names.text(Oid(*oid), ty).as_bytes());
                        }
                        (Some(names), Value::Array(oids)) if let Some(of) = names_in(ty) => {
                            let text = |oid: &Value| match oid {
                                Value::Oid(oid) => Value::Text(names.text(Oid(*oid), of)),
                                _ => Value::Null,
                            };
                            let named = Value::Array(oids.iter().map(text).collect());
                            format_into(out, &named, &SqlType::Array(Box::new(SqlType::Text)), &self.settings);
                        }
                        _ => format_into(out, value, ty, &self.settings),
                    },
                    Format::Binary => binary::encode(out, value, ty),
                });
            }
        });
    }
}

fn write_cell(
    out: &mut Vec<u8>,
    cell: &Cell,
    row: usize,
    ty: &SqlType,
    format: Format,
    settings: &OutputSettings,
    scratch: &mut Vec<u8>,
) -> SqlResult<()> {
    if cell.is_null(row) {
        int32(out, -1);
        return Ok(());
    }
    let mut written = Ok(());
    length_prefixed(out, 0, |out| {
        written = match format {
            Format::Text => {
                cell.text(out, row, ty, settings, scratch);
                Ok(())
            }
            Format::Binary => cell.binary(out, row, ty),
        };
    });
    written
}

#[cfg(test)]
mod tests;
