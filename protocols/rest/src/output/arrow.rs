//! Arrow's IPC stream, with the types of [`perigee_engine::exchange`].

use std::sync::Arc;

use arrow_ipc::writer::StreamWriter;
use parking_lot::Mutex;
use perigee_engine::RowBlock;
use perigee_engine::exchange::Exchange;
use perigee_plan::ResultColumn;
use perigee_types::{SqlError, SqlResult};

use super::{Encoder, End};

/// Where a writer leaves bytes until they are fetched.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn drain(&self, out: &mut Vec<u8>) {
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
#[derive(Default)]
pub(crate) struct ArrowEncoder {
    written: Shared,
    writer: Option<(Exchange, StreamWriter<Shared>)>,
}

impl Encoder for ArrowEncoder {
    fn begin(&mut self, columns: &[ResultColumn], out: &mut Vec<u8>) -> SqlResult<()> {
        let exchange = Exchange::new(columns);
        let writer = StreamWriter::try_new(self.written.clone(), &exchange.schema()).map_err(SqlError::internal)?;
        self.writer = Some((exchange, writer));
        self.written.drain(out);
        Ok(())
    }

    fn block(&mut self, block: RowBlock, out: &mut Vec<u8>) -> SqlResult<()> {
        if let Some((exchange, writer)) = &mut self.writer {
            writer.write(&exchange.batch(&block)?).map_err(SqlError::internal)?;
            self.written.drain(out);
        }
        Ok(())
    }

    fn end(&mut self, _: &End, out: &mut Vec<u8>) -> SqlResult<()> {
        if let Some((_, writer)) = &mut self.writer {
            writer.finish().map_err(SqlError::internal)?;
            self.written.drain(out);
        }
        Ok(())
    }
}
