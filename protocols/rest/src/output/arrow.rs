//! Arrow's IPC stream.

use perigee_door::arrow::ArrowStream;
use perigee_engine::RowBlock;
use perigee_plan::ResultColumn;
use perigee_types::SqlResult;

use super::{Encoder, End};

/// Writes an IPC stream.
#[derive(Default)]
pub(crate) struct ArrowEncoder(Option<ArrowStream>);

impl Encoder for ArrowEncoder {
    fn begin(&mut self, columns: &[ResultColumn], out: &mut Vec<u8>) -> SqlResult<()> {
        self.0 = Some(ArrowStream::begin(columns, out)?);
        Ok(())
    }

    fn block(&mut self, block: RowBlock, out: &mut Vec<u8>) -> SqlResult<()> {
        self.0.as_mut().map_or(Ok(()), |stream| stream.block(&block, out))
    }

    fn end(&mut self, _: &End, out: &mut Vec<u8>) -> SqlResult<()> {
        self.0.as_mut().map_or(Ok(()), |stream| stream.end(out))
    }
}
