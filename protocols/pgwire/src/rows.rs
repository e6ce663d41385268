//! Results as DataRow messages, written straight into the output buffer.
//!
//! The type of each Arrow column is looked at once per batch ([`cell::Cell`]); after that a row is a loop over its cells
//! without any allocation.

pub(crate) mod cell;

use arrow::record_batch::RecordBatch;
use perigee_plan::ResultColumn;
use perigee_types::text::{OutputSettings, format_into};
use perigee_types::{Row, SqlResult, SqlType};

use crate::backend::{Format, count, int32, length_prefixed, message};
use crate::binary;
use cell::Cell;

/// Writes rows of one result.
#[derive(Debug)]
pub(crate) struct RowEncoder {
    columns: Vec<(SqlType, Format)>,
    settings: OutputSettings,
    /// Text of an array's element.
    scratch: Vec<u8>,
}

impl RowEncoder {
    pub(crate) fn new(columns: &[ResultColumn], formats: &[Format], settings: OutputSettings) -> Self {
        let format = |i| formats.get(i).copied().unwrap_or_default();
        let columns = columns.iter().enumerate().map(|(i, column)| (column.ty.clone(), format(i))).collect();
        Self { columns, settings, scratch: Vec::new() }
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
        let cells = cell::cells(batch, self.columns.iter().map(|(ty, _)| ty))?;
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
            for (value, (ty, format)) in row.iter().zip(&self.columns) {
                if value.is_null() {
                    int32(out, -1);
                    continue;
                }
                length_prefixed(out, 0, |out| match format {
                    Format::Text => format_into(out, value, ty, &self.settings),
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
