//! A statement's result on the way to the client.
//!
//! ```text
//! handler ---- starts ----> task of the statement: encodes
//!    |  <--- head: all of a small result, or the first part ---|
//!    |  <--- parts, as fast as the client takes them ----------|
//! ```
//!
//! An error behind the first part breaks the connection off, so that no client takes half of a result for all of it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
pub(crate) use perigee_door::Parameter;
use perigee_door::run::{gone, start};
use perigee_door::{Lease, Sink};
use perigee_engine::{RowBlock, Session};
use perigee_plan::ResultColumn;
use perigee_types::text::OutputSettings;
use perigee_types::{SqlError, SqlResult, SqlState};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use crate::error::Answer;
use crate::output::{Encoder, End, Format, Style};
use crate::server::Door;

/// Bytes of a part of a result.
const PART_BYTES: usize = 64 << 10;
/// Parts between the task and the client.
const PARTS: usize = 4;

/// What a client wants to run, and how it wants the result.
#[derive(Debug)]
pub(crate) struct Query {
    /// One statement; or several, without parameters, of which the last one's result is given.
    pub(crate) sql: String,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) format: Format,
    pub(crate) arrays: bool,
    pub(crate) base64: bool,
    /// Rows that are given.
    pub(crate) rows_max: Option<u64>,
}

impl Query {
    /// A statement whose result is given as it is.
    pub(crate) fn plain(sql: String, parameters: Vec<Parameter>, format: Format) -> Self {
        Self { sql, parameters, format, arrays: false, base64: false, rows_max: None }
    }
}

/// Runs a query and answers with its result.
pub(crate) async fn respond(door: &Arc<Door>, lease: Lease, query: Query) -> Answer {
    let (head, first) = oneshot::channel();
    let (parts, rest) = mpsc::channel(PARTS);
    let Query { sql, parameters, format, arrays, base64, rows_max } = query;
    let output = Output {
        head: Some(head),
        parts,
        format,
        style: Style { arrays, base64, ..Style::new(OutputSettings::default()) },
        encoder: None,
        buffer: Vec::new(),
        sent: 0,
        bytes_max: door.options.result_bytes_max,
        patience: door.options.write_timeout,
    };
    let query = perigee_door::Query { sql, parameters, rows_max };
    let guard = start(&door.engine, lease, query, Box::new(output));
    let head = first.await.unwrap_or_else(|_| Err(SqlError::internal("the task of the statement has ended")))?;
    let body = match head.rest {
        false => Body::from(head.part),
        true => {
            let part = futures::stream::iter([Ok(Bytes::from(head.part))]);
            let rest = ReceiverStream::new(rest);
            // The guard goes with the body: who drops it cancels what still runs.
            let whole = part.chain(rest).map(move |part: io::Result<Bytes>| {
                let _guard = &guard;
                part
            });
            Body::from_stream(whole)
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(command) = head.command.and_then(|command| HeaderValue::from_str(&command).ok()) {
        headers.insert("perigee-command", command);
    }
    Ok(response)
}

/// The begin of an answer.
struct Head {
    part: Vec<u8>,
    /// More parts follow.
    rest: bool,
    command: Option<String>,
}

/// Where a result goes.
struct Output {
    head: Option<oneshot::Sender<SqlResult<Head>>>,
    parts: mpsc::Sender<io::Result<Bytes>>,
    format: Format,
    style: Style,
    encoder: Option<Box<dyn Encoder>>,
    buffer: Vec<u8>,
    sent: u64,
    bytes_max: u64,
    patience: Duration,
}

impl Sink for Output {
    fn begin(&mut self, session: &Session, columns: &Arc<[ResultColumn]>) -> SqlResult<()> {
        let Style { arrays, base64, .. } = self.style;
        let names = Some(session.object_names());
        let style = Style { names, arrays, base64, ..Style::new(session.output_settings()) };
        let encoder = self.encoder.insert(self.format.encoder(style));
        encoder.begin(columns, &mut self.buffer)
    }

    fn block(&mut self, block: RowBlock) -> SqlResult<()> {
        self.encoder.as_mut().map_or(Ok(()), |encoder| encoder.block(block, &mut self.buffer))
    }

    fn push(&mut self) -> BoxFuture<'_, SqlResult<()>> {
        async {
            if self.sent + self.buffer.len() as u64 > self.bytes_max {
                let message = format!("the result has more than {} bytes", self.bytes_max);
                let error = SqlError::new(SqlState::ProgramLimitExceeded, message);
                return Err(error.hint("ask for less, or page through it"));
            }
            if self.buffer.len() < PART_BYTES {
                return Ok(());
            }
            self.sent += self.buffer.len() as u64;
            let part = std::mem::take(&mut self.buffer);
            match self.head.take() {
                Some(head) => head.send(Ok(Head { part, rest: true, command: None })).map_err(|_| gone()),
                None => {
                    let sent = tokio::time::timeout(self.patience, self.parts.send(Ok(Bytes::from(part)))).await;
                    sent.map_err(|_| gone())?.map_err(|_| gone())
                }
            }
        }
        .boxed()
    }

    fn close(mut self: Box<Self>, ended: SqlResult<perigee_door::End>) -> BoxFuture<'static, ()> {
        async move {
            let ended = ended.and_then(|end| {
                let end = End::from(end);
                let format = self.format;
                let encoder = self.encoder.get_or_insert_with(|| format.encoder(self.style.clone()));
                encoder.end(&end, &mut self.buffer)?;
                Ok(end.command)
            });
            match (ended, self.head.take()) {
                (Ok(command), Some(head)) => {
                    drop(head.send(Ok(Head { part: self.buffer, rest: false, command: Some(command) })));
                }
                (Ok(_), None) => {
                    drop(tokio::time::timeout(self.patience, self.parts.send(Ok(Bytes::from(self.buffer)))).await);
                }
                (Err(error), Some(head)) => drop(head.send(Err(error))),
                (Err(error), None) => {
                    tracing::info!(%error, "a result was broken off");
                    let broken = io::Error::other(error.to_string());
                    drop(tokio::time::timeout(self.patience, self.parts.send(Err(broken))).await);
                }
            }
        }
        .boxed()
    }
}
