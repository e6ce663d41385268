//! Results as Parquet files, with the types of [`perigee_engine::exchange`].

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use perigee_engine::RowBlock;
use perigee_engine::exchange::Exchange;
use perigee_plan::ResultColumn;
use perigee_types::{SqlError, SqlResult};

use crate::arrow::Shared;

/// Bytes of a row group that is being made: what a result holds of memory.
const GROUP_BYTES: usize = 16 << 20;
/// Rows that are written at a time.
const ROWS: usize = 8_192;

/// Writes a Parquet file, a row group at a time.
pub struct ParquetFile {
    written: Shared,
    exchange: Exchange,
    writer: ArrowWriter<Shared>,
}

fn internal(error: ParquetError) -> SqlError {
    SqlError::internal(error)
}

impl ParquetFile {
    /// Begins a file.
    ///
    /// # Errors
    /// `XX000` for columns that have no schema.
    pub fn begin(columns: &[ResultColumn], out: &mut Vec<u8>) -> SqlResult<Self> {
        let (exchange, written) = (Exchange::for_parquet(columns), Shared::default());
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let writer = ArrowWriter::try_new(written.clone(), exchange.schema(), Some(properties)).map_err(internal)?;
        written.drain(out);
        Ok(Self { written, exchange, writer })
    }

    /// Some rows.
    ///
    /// # Errors
    /// `XX000` for a block of other columns.
    pub fn block(&mut self, block: &RowBlock, out: &mut Vec<u8>) -> SqlResult<()> {
        let batch = self.exchange.batch(block)?;
        for from in (0..batch.num_rows()).step_by(ROWS) {
            self.writer.write(&batch.slice(from, ROWS.min(batch.num_rows() - from))).map_err(internal)?;
            if self.writer.memory_size() >= GROUP_BYTES {
                self.writer.flush().map_err(internal)?;
            }
        }
        self.written.drain(out);
        Ok(())
    }

    /// What stands behind the rows.
    ///
    /// # Errors
    /// `XX000`
    pub fn end(&mut self, out: &mut Vec<u8>) -> SqlResult<()> {
        self.writer.finish().map_err(internal)?;
        self.written.drain(out);
        Ok(())
    }
}
