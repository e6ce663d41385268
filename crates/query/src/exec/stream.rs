//! Batches on their way from the query threads to the caller.

use std::pin::Pin;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::Stream;
use perigee_types::{SqlError, SqlResult};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::AbortOnDropHandle;

use super::error::canceled;

/// The result of a query: batches of its schema, in order. Dropping it ends the query.
///
/// A slow reader slows the query: few batches are held between the two.
pub struct BatchStream {
    schema: SchemaRef,
    batches: mpsc::Receiver<SqlResult<RecordBatch>>,
    /// Fires when the statement shall stop. The reader looks at it itself: all query threads may be busy.
    cancel: Pin<Box<WaitForCancellationFutureOwned>>,
    task: Option<AbortOnDropHandle<()>>,
}

impl std::fmt::Debug for BatchStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchStream").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl BatchStream {
    pub(super) fn new(
        schema: SchemaRef,
        batches: mpsc::Receiver<SqlResult<RecordBatch>>,
        cancel: CancellationToken,
        task: AbortOnDropHandle<()>,
    ) -> Self {
        Self { schema, batches, cancel: Box::pin(cancel.cancelled_owned()), task: Some(task) }
    }

    /// A stream that only says why there is none.
    pub(super) fn failed(schema: SchemaRef, error: SqlError) -> Self {
        let (sender, batches) = mpsc::channel(1);
        // The channel has room for one.
        let _ = sender.try_send(Err(error));
        Self { schema, batches, cancel: Box::pin(CancellationToken::new().cancelled_owned()), task: None }
    }

    /// The columns. Exact, also before the first batch.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next batch; `None` behind the last. Batches are never empty.
    pub async fn next(&mut self) -> Option<SqlResult<RecordBatch>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<SqlResult<RecordBatch>>> {
        if self.task.is_some() && self.cancel.as_mut().poll(cx).is_ready() {
            self.task = None;
            self.batches.close();
            return Poll::Ready(Some(Err(canceled())));
        }
        self.batches.poll_recv(cx)
    }
}

impl Stream for BatchStream {
    type Item = SqlResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}
