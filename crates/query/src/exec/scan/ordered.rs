//! Rows of chunks in the order of a key: what the cold tier exports. Sorts within the query memory, spilling where it must.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use perigee_plan::relational::{TABLE_OID_COLUMN, VID_COLUMN};
use perigee_storage::cold::ColdStore;
use perigee_storage::table::TableScan;
use perigee_types::SqlType;
use perigee_types::catalog::Table;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::cold::ColdPart;
use super::exec::{ScanExec, Source};
use crate::exec::error::sql_error;
use crate::exec::runtime::QueryRuntime;
use crate::exec::stream::BatchStream;
use crate::exec::template::BATCH_ROWS;

/// Bytes of a batch, about, of the sort and of what comes out of it; one row may have more.
const BATCH_BYTES: usize = 16 << 20;
/// Batches between the sort and its reader.
const BATCHES_WAITING: usize = 2;

impl QueryRuntime {
    /// The visible rows of chunks of a table, with all its columns and the vids behind them, in the order of `keys`, numbers
    /// of columns; without keys in the order in which they were written. Those of cold chunks are in the files of
    /// `manifests`.
    #[must_use]
    pub fn ordered(
        self: &Arc<Self>,
        table: &Arc<Table>,
        TableScan { chunks, manifests }: TableScan,
        store: &Arc<ColdStore>,
        keys: &[u16],
        cancel: CancellationToken,
    ) -> BatchStream {
        let mut fields: Vec<Field> = table.columns.iter().map(|c| c.ty.field(c.name.clone(), true)).collect();
        fields.push(Field::new(VID_COLUMN, DataType::UInt64, false));
        let live = fields.len();
        fields.push(SqlType::Oid.field(TABLE_OID_COLUMN, false));
        let (rows, bytes) = chunks.iter().fold((0, 0), |(rows, bytes), c| (rows + c.rows_max(), bytes + c.bytes()));
        let batch_rows = (BATCH_BYTES / (bytes / rows.max(1)).max(1)).clamp(1, BATCH_ROWS);
        let source = Source {
            table: Arc::clone(table),
            schema: Arc::new(Schema::new(fields)),
            unique: Vec::new(),
            cold: ColdPart::of(&chunks, &manifests, store).map(Arc::new),
            chunks,
            own: None,
            newest: None,
            keyed: None,
            read: None,
            cancel: cancel.clone(),
        };
        let scan = ScanExec::new(source).with_columns((0..live).collect());
        let schema = scan.schema();
        let (sender, receiver) = mpsc::channel(BATCHES_WAITING);
        let plan = sorted(scan, table, keys);
        let mut state = self.sorting().clone();
        if batch_rows < BATCH_ROWS {
            let config = std::mem::take(state.config_mut());
            *state.config_mut() = config.with_batch_size(batch_rows);
        }
        let task = self.spawn(async move {
            let run = async {
                let mut batches = execute_stream(plan?, state.task_ctx())?;
                while let Some(batch) = batches.next().await {
                    let batch = batch?;
                    if batch.num_rows() > 0 && sender.send(Ok(batch)).await.is_err() {
                        break;
                    }
                }
                Ok::<_, DataFusionError>(())
            };
            if let Err(error) = run.await {
                // A reader that is gone needs no error.
                let _ = sender.send(Err(sql_error(error))).await;
            }
        });
        match task {
            Ok(task) => BatchStream::new(schema, receiver, cancel, task),
            Err(error) => BatchStream::failed(schema, error),
        }
    }
}

fn sorted(scan: ScanExec, table: &Table, keys: &[u16]) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = scan.schema();
    let options = SortOptions { descending: false, nulls_first: false };
    let places = keys.iter().filter_map(|number| table.number_position(*number));
    let keys = places.filter(|place| !schema.field(*place).data_type().is_nested());
    let keys =
        keys.map(|place| PhysicalSortExpr::new(Arc::new(Column::new(schema.field(place).name(), place)), options));
    match LexOrdering::new(keys) {
        Some(order) => Ok(Arc::new(SortExec::new(order, Arc::new(scan)))),
        None => Ok(Arc::new(scan)),
    }
}
