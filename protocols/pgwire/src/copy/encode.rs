//! Rows of a COPY … TO STDOUT, one CopyData message each.

use arrow::record_batch::RecordBatch;
use perigee_copy::{SIGNATURE, csv, dialect, text};
use perigee_engine::RowBlock;
use perigee_plan::ResultColumn;
use perigee_plan::command::{CopyFormat, CopyKind};
use perigee_types::text::{OutputSettings, format_into};
use perigee_types::{Row, SqlResult, SqlType};

use crate::backend::{count, int16, int32, length_prefixed, message};
use crate::binary;
use crate::rows::cell::{Cell, cells};

/// Writes the rows of one COPY.
pub(crate) struct CopyEncoder {
    format: CopyFormat,
    names: Vec<String>,
    types: Vec<SqlType>,
    force_quote: Vec<bool>,
    /// The binary header has been written.
    begun: bool,
    settings: OutputSettings,
    value: Vec<u8>,
    scratch: Vec<u8>,
}

impl CopyEncoder {
    pub(crate) fn new(format: CopyFormat, columns: &[ResultColumn], settings: OutputSettings) -> Self {
        Self {
            force_quote: (0..columns.len()).map(|i| format.force_quote.contains(&i)).collect(),
            format,
            begun: false,
            names: columns.iter().map(|c| c.name.clone()).collect(),
            types: columns.iter().map(|c| c.ty.clone()).collect(),
            settings,
            value: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Appends what stands before the rows, as far as it has a message of its own.
    pub(crate) fn header(&mut self, out: &mut Vec<u8>) {
        if self.format.kind != CopyKind::Binary && self.format.header {
            let names = std::mem::take(&mut self.names);
            message(out, b'd', |out| {
                for (i, name) in names.iter().enumerate() {
                    self.field(out, i, Some(name.as_bytes()), true);
                }
                out.push(b'\n');
            });
        }
    }

    /// Appends what stands behind the rows.
    pub(crate) fn trailer(&mut self, out: &mut Vec<u8>) {
        if self.format.kind == CopyKind::Binary {
            message(out, b'd', |out| {
                self.binary_header(out);
                int16(out, -1);
            });
        }
    }

    /// The binary header, once: it begins the message of the first row. Clients read message by message, and know none
    /// that holds a header alone.
    fn binary_header(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(SIGNATURE);
            int32(out, 0);
            int32(out, 0);
        }
    }

    /// Appends rows of a block from row `from` on, until the output is `bytes_max` long; returns the row after them.
    ///
    /// # Errors
    /// As [`crate::rows::RowEncoder::batch`].
    pub(crate) fn block(
        &mut self,
        out: &mut Vec<u8>,
        block: &RowBlock,
        from: usize,
        bytes_max: usize,
    ) -> SqlResult<usize> {
        match block {
            RowBlock::Batch(batch) => self.batch(out, batch, from, bytes_max),
            RowBlock::Values(rows) => {
                for row in &rows[from..] {
                    self.values(out, row);
                }
                Ok(rows.len())
            }
        }
    }

    fn batch(&mut self, out: &mut Vec<u8>, batch: &RecordBatch, from: usize, bytes_max: usize) -> SqlResult<usize> {
        let cells = cells(batch, self.types.iter())?;
        let mut row = from;
        while row < batch.num_rows() && out.len() < bytes_max {
            let (start, mut written) = (out.len(), Ok(()));
            message(out, b'd', |out| written = self.row(out, &cells, row));
            if let Err(error) = written {
                out.truncate(start);
                return Err(error);
            }
            row += 1;
        }
        Ok(row)
    }

    fn row(&mut self, out: &mut Vec<u8>, cells: &[Cell], row: usize) -> SqlResult<()> {
        if self.format.kind == CopyKind::Binary {
            self.binary_header(out);
            count(out, cells.len());
            for (cell, ty) in cells.iter().zip(&self.types) {
                if cell.is_null(row) {
                    int32(out, -1);
                    continue;
                }
                let mut written = Ok(());
                length_prefixed(out, 0, |out| written = cell.binary(out, row, ty));
                written?;
            }
            return Ok(());
        }
        for (i, cell) in cells.iter().enumerate() {
            if cell.is_null(row) {
                self.field(out, i, None, false);
                continue;
            }
            let mut value = std::mem::take(&mut self.value);
            value.clear();
            cell.text(&mut value, row, &self.types[i], &self.settings, &mut self.scratch);
            self.field(out, i, Some(&value), false);
            self.value = value;
        }
        out.push(b'\n');
        Ok(())
    }

    fn values(&mut self, out: &mut Vec<u8>, row: &Row) {
        message(out, b'd', |out| {
            if self.format.kind == CopyKind::Binary {
                self.binary_header(out);
                count(out, row.len());
                for (value, ty) in row.iter().zip(&self.types) {
                    if value.is_null() {
                        int32(out, -1);
                    } else {
                        length_prefixed(out, 0, |out| binary::encode(out, value, ty));
                    }
                }
                return;
            }
            for (i, value) in row.iter().enumerate().take(self.types.len()) {
                let mut text = std::mem::take(&mut self.value);
                text.clear();
                format_into(&mut text, value, &self.types[i], &self.settings);
                self.field(out, i, (!value.is_null()).then_some(&text[..]), false);
                self.value = text;
            }
            out.push(b'\n');
        });
    }

    /// Appends one field of a text or CSV row, its delimiter before it; `None` is NULL.
    fn field(&self, out: &mut Vec<u8>, index: usize, value: Option<&[u8]>, heading: bool) {
        if index > 0 {
            out.push(self.format.delimiter);
        }
        let null = self.format.null.as_bytes();
        match (value, self.format.kind) {
            (None, _) => out.extend_from_slice(null),
            (Some(value), CopyKind::Csv) => {
                let force = !heading && self.force_quote[index];
                csv::write(value, dialect(&self.format), null, force, self.types.len() == 1, out);
            }
            (Some(value), _) => text::escape(value, self.format.delimiter, out),
        }
    }
}
