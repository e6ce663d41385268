//! Rows as messages of Flight.

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use arrow_flight::{FlightData, SchemaAsIpc};
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use perigee_engine::exchange::Exchange;
use perigee_engine::{RowBlock, Session};
use perigee_plan::ResultColumn;
use perigee_types::{SqlError, SqlResult};
use tonic::Status;

use crate::error::status;
use crate::stream::{Encode, Messages};

/// Bytes of a message, about: clients take 4 MiB when nobody tells them otherwise.
const PART_BYTES: usize = 1 << 20;

/// Makes messages of batches.
pub(crate) struct Encoder {
    options: IpcWriteOptions,
    generator: IpcDataGenerator,
    dictionaries: DictionaryTracker,
    context: IpcWriteContext,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            options: IpcWriteOptions::default(),
            generator: IpcDataGenerator::default(),
            dictionaries: DictionaryTracker::new(false),
            context: IpcWriteContext::default(),
        }
    }
}

impl Encoder {
    /// The message with the schema.
    pub(crate) fn schema(&self, schema: &Schema) -> FlightData {
        SchemaAsIpc::new(schema, &self.options).into()
    }

    /// The messages with the rows of a batch.
    pub(crate) fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<FlightData>) -> SqlResult<()> {
        let bytes: usize = batch.columns().iter().map(|column| column.get_buffer_memory_size()).sum();
        let parts = bytes.div_ceil(PART_BYTES).max(1);
        let rows = batch.num_rows().div_ceil(parts).max(1);
        for from in (0..batch.num_rows()).step_by(rows) {
            let part = batch.slice(from, rows.min(batch.num_rows() - from));
            let encoded = self.generator.encode(&part, &mut self.dictionaries, &self.options, &mut self.context);
            let (dictionaries, rows) = encoded.map_err(SqlError::internal)?;
            out.extend(dictionaries.into_iter().map(FlightData::from));
            out.push(rows.into());
        }
        Ok(())
    }
}

/// Makes messages of a result.
#[derive(Default)]
pub(crate) struct Rows {
    encoder: Encoder,
    exchange: Option<Exchange>,
}

impl Encode for Rows {
    type Message = FlightData;

    fn begin(&mut self, _: &Session, columns: &Arc<[ResultColumn]>, out: &mut Vec<FlightData>) -> SqlResult<()> {
        let exchange = self.exchange.insert(Exchange::new(columns));
        out.push(self.encoder.schema(&exchange.schema()));
        Ok(())
    }

    fn block(&mut self, block: RowBlock, out: &mut Vec<FlightData>) -> SqlResult<()> {
        let exchange = self.exchange.as_ref().ok_or_else(|| SqlError::internal("rows without columns"))?;
        self.encoder.batch(&exchange.batch(&block)?, out)
    }
}

/// A batch that is there already, as a result.
pub(crate) fn of_batch(batch: &RecordBatch) -> Result<Messages<FlightData>, Status> {
    let mut encoder = Encoder::default();
    let mut out = vec![encoder.schema(&batch.schema())];
    encoder.batch(batch, &mut out).map_err(|error| status(&error))?;
    Ok(Box::pin(futures::stream::iter(out.into_iter().map(Ok))))
}
