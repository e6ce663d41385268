//! A Parquet file.

use perigee_door::parquet::ParquetFile;
use perigee_engine::RowBlock;
use perigee_plan::ResultColumn;
use perigee_types::SqlResult;

use super::{Encoder, End};

/// Writes a Parquet file.
#[derive(Default)]
pub(crate) struct ParquetEncoder(Option<ParquetFile>);

impl Encoder for ParquetEncoder {
    fn begin(&mut self, columns: &[ResultColumn], out: &mut Vec<u8>) -> SqlResult<()> {
        self.0 = Some(ParquetFile::begin(columns, out)?);
        Ok(())
    }

    fn block(&mut self, block: RowBlock, out: &mut Vec<u8>) -> SqlResult<()> {
        self.0.as_mut().map_or(Ok(()), |file| file.block(&block, out))
    }

    fn end(&mut self, _: &End, out: &mut Vec<u8>) -> SqlResult<()> {
        self.0.as_mut().map_or(Ok(()), |file| file.end(out))
    }
}
