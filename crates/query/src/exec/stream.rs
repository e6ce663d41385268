//! Batches on their way from the query threads to the caller.

use std::pin::Pin;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::Stream;
use perigee_types::{SqlError, SqlResult};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// The result of a query: batches of its schema, in order. Dropping it ends the query.
///
/// A slow reader slows the query: few batches are held between the two.
#[derive(Debug)]
pub struct BatchStream {
    schema: SchemaRef,
    batches: mpsc::Receiver<SqlResult<RecordBatch>>,
    _task: Option<AbortOnDropHandle<()>>,
}

impl BatchStream {
    pub(super) fn new(
        schema: SchemaRef,
        batches: mpsc::Receiver<SqlResult<RecordBatch>>,
        task: AbortOnDropHandle<()>,
    ) -> Self {
        Self { schema, batches, _task: Some(task) }
    }

    /// A stream that only says why there is none.
    pub(super) fn failed(schema: SchemaRef, error: SqlError) -> Self {
        let (sender, batches) = mpsc::channel(1);
        // The channel has room for one.
        let _ = sender.try_send(Err(error));
        Self { schema, batches, _task: None }
    }

    /// The columns. Exact, also before the first batch.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next batch; `None` behind the last. Batches are never empty.
    pub async fn next(&mut self) -> Option<SqlResult<RecordBatch>> {
        self.batches.recv().await
    }
}

impl Stream for BatchStream {
    type Item = SqlResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_recv(cx)
    }
}
