//! Arrow's IPC stream, with the types of [`perigee_engine::exchange`].

use std::sync::Arc;

use arrow_ipc::writer::StreamWriter;
use parking_lot::Mutex;
use perigee_engine::RowBlock;
use perigee_engine::exchange::Exchange;
use perigee_plan::ResultColumn;
use perigee_types::{SqlError, SqlResult};

/// Where a writer leaves bytes until they are fetched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    pub(crate) fn drain(&self, out: &mut Vec<u8>) {
        out.append(&mut self.0.lock());
    }
}

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes an IPC stream.
pub struct ArrowStream {
    written: Shared,
    exchange: Exchange,
    writer: StreamWriter<Shared>,
}

impl ArrowStream {
    /// Begins a stream, its schema behind what is in `out`.
    ///
    /// # Errors
    /// `XX000` for columns that have no schema.
    pub fn begin(columns: &[ResultColumn], out: &mut Vec<u8>) -> SqlResult<Self> {
        let (exchange, written) = (Exchange::new(columns), Shared::default());
        let writer = StreamWriter::try_new(written.clone(), &exchange.schema()).map_err(SqlError::internal)?;
        written.drain(out);
        Ok(Self { written, exchange, writer })
    }

    /// Some rows.
    ///
    /// # Errors
    /// `XX000` for a block of other columns.
    pub fn block(&mut self, block: &RowBlock, out: &mut Vec<u8>) -> SqlResult<()> {
        self.writer.write(&self.exchange.batch(block)?).map_err(SqlError::internal)?;
        self.written.drain(out);
        Ok(())
    }

    /// What stands behind the rows.
    ///
    /// # Errors
    /// `XX000`
    pub fn end(&mut self, out: &mut Vec<u8>) -> SqlResult<()> {
        self.writer.finish().map_err(SqlError::internal)?;
        self.written.drain(out);
        Ok(())
    }
}
