//! Results of statements as streams of messages.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use perigee_door::run::{gone, start};
use perigee_door::{Door, End, Lease, Query, Sink};
use perigee_engine::{RowBlock, Session};
use perigee_plan::ResultColumn;
use perigee_types::{SqlError, SqlResult};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::error::status;

/// Messages between the statement and the client.
const PARTS: usize = 4;
/// How long a client may take no message.
const PATIENCE: Duration = Duration::from_secs(60);

/// A stream of messages, as services give it.
pub(crate) type Messages<T> = BoxStream<'static, Result<T, Status>>;

/// Makes messages of a result.
pub(crate) trait Encode: Send + 'static {
    /// A message.
    type Message: Send + 'static;

    /// What stands before the rows.
    fn begin(
        &mut self,
        _session: &Session,
        _columns: &Arc<[ResultColumn]>,
        _out: &mut Vec<Self::Message>,
    ) -> SqlResult<()> {
        Ok(())
    }

    /// Some rows.
    fn block(&mut self, block: RowBlock, out: &mut Vec<Self::Message>) -> SqlResult<()>;

    /// What stands behind the rows, once they are committed.
    fn end(&mut self, _end: End, _out: &mut Vec<Self::Message>) -> SqlResult<()> {
        Ok(())
    }
}

/// Runs a query; its result as a stream. Who drops the stream before its end cancels the query.
pub(crate) fn stream<E: Encode>(door: &Door, lease: Lease, query: Query, encode: E) -> Messages<E::Message> {
    let (messages, waiting) = mpsc::channel(PARTS);
    let guard = start(&door.engine, lease, query, Box::new(Output { encode, messages, made: Vec::new() }));
    let whole = ReceiverStream::new(waiting).map(move |message| {
        let _guard = &guard;
        message
    });
    whole.boxed()
}

/// Where a result goes.
struct Output<E: Encode> {
    encode: E,
    messages: mpsc::Sender<Result<E::Message, Status>>,
    made: Vec<E::Message>,
}

impl<E: Encode> Output<E> {
    async fn send(&mut self) -> SqlResult<()> {
        for message in self.made.drain(..) {
            let sent = tokio::time::timeout(PATIENCE, self.messages.send(Ok(message))).await;
            sent.map_err(|_| gone())?.map_err(|_| gone())?;
        }
        Ok(())
    }
}

impl<E: Encode> Sink for Output<E> {
    fn begin(&mut self, session: &Session, columns: &Arc<[ResultColumn]>) -> SqlResult<()> {
        self.encode.begin(session, columns, &mut self.made)
    }

    fn block(&mut self, block: RowBlock) -> SqlResult<()> {
        self.encode.block(block, &mut self.made)
    }

    fn push(&mut self) -> BoxFuture<'_, SqlResult<()>> {
        self.send().boxed()
    }

    fn close(mut self: Box<Self>, ended: SqlResult<End>) -> BoxFuture<'static, ()> {
        async move {
            let ended = ended.and_then(|end| self.encode.end(end, &mut self.made));
            let ended = match ended {
                Ok(()) => self.send().await,
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                drop(tokio::time::timeout(PATIENCE, self.messages.send(Err(status(&error)))).await);
            }
        }
        .boxed()
    }
}

/// Runs a query of whose result only the end is wanted.
pub(crate) async fn run(door: &Door, lease: Lease, query: Query) -> SqlResult<End> {
    let (end, waiting) = oneshot::channel();
    let _guard = start(&door.engine, lease, query, Box::new(Blind(end)));
    waiting.await.unwrap_or_else(|_| Err(SqlError::internal("the task of the statement has ended")))
}

/// Takes rows and keeps none.
struct Blind(oneshot::Sender<SqlResult<End>>);

impl Sink for Blind {
    fn begin(&mut self, _: &Session, _: &Arc<[ResultColumn]>) -> SqlResult<()> {
        Ok(())
    }

    fn block(&mut self, _: RowBlock) -> SqlResult<()> {
        Ok(())
    }

    fn push(&mut self) -> BoxFuture<'_, SqlResult<()>> {
        let gone = if self.0.is_closed() { Err(gone()) } else { Ok(()) };
        std::future::ready(gone).boxed()
    }

    fn close(self: Box<Self>, ended: SqlResult<End>) -> BoxFuture<'static, ()> {
        drop(self.0.send(ended));
        std::future::ready(()).boxed()
    }
}
