//! `GET /v1/changes/{table}`: what committed transactions have changed, as server-sent events.
//!
//! The id of an event is where to go on behind it; browsers send the last one back by themselves (`Last-Event-ID`). A client that reads slowly is
//! waited for: the feed is read out of the log as fast as it takes events, and costs no memory until then.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures::FutureExt as _;
use perigee_engine::Engine;
use perigee_streams::{Change, Cursor, Event, FeedError, OldValues, Position, Wanted};
use perigee_types::catalog::{Object, Table};
use perigee_types::text::OutputSettings;
use perigee_types::{LogIndex, Oid, Row, SqlError, SqlResult, SqlState, SqlType, Value};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::address::Address;
use crate::error::{Answer, Problem};
use crate::identity::Caller;
use crate::output::{Style, write_value};
use crate::script::{fetch, perform};
use crate::server::Door;
use crate::tables::TableName;

/// Bytes of the log that are read at a time.
const READ_BYTES: usize = 256 << 10;
/// Parts on their way to the client.
const PARTS: usize = 4;
/// A quiet stream says that it is there; and asks whether the client may still read.
const QUIET: Duration = Duration::from_secs(15);

/// `index.n`
fn position(text: &str) -> Option<Position> {
    let (index, n) = text.split_once('.').unwrap_or((text, "0"));
    Some(Position { index: LogIndex(index.parse().ok()?), n: n.parse().ok()? })
}

fn text_of(position: Position) -> String {
    format!("{}.{}", position.index.0, position.n)
}

/// Streams the changes of a table from a position on.
pub(crate) async fn stream(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(table): Path<String>,
    mut address: Address,
    headers: HeaderMap,
) -> Answer<Response> {
    let from = address.take("from");
    address.end()?;
    let from = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned).or(from);
    let name = TableName::new(&table);
    let oid = readable(&door, &caller, &name).await?;
    let feed = door.engine.feed();
    let from = match from.as_deref() {
        None | Some("now") => feed.end(),
        Some("first") => feed.first(),
        Some(text) => {
            position(text).ok_or_else(|| Problem::bad("a position is \"now\", \"first\", or an event's id"))?
        }
    };
    let cursor = feed.cursor(from, Wanted::table(oid));
    // Where a client goes on that is cut off before its first event: what is read next has not come to it.
    let begin = cursor.position();
    // What is no longer kept is said by the status; later it could only be said in the stream.
    let (cursor, first) = read(cursor).await?;
    let first = first.map_err(gone)?;
    let (parts, rest) = mpsc::channel(PARTS);
    let events = Events { door: door.clone(), caller, name, oid, parts, style: Style::new(OutputSettings::default()) };
    tokio::spawn(events.run(begin, cursor, first));
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(rest)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The table, which the caller may read as a whole.
async fn readable(door: &Arc<Door>, caller: &Caller, name: &TableName) -> Answer<Oid> {
    let lease = door.lease(caller, &HeaderMap::new(), None, None).await?;
    let name = name.clone();
    perform(door, lease, move |session| {
        async move {
            fetch(session, &format!("SELECT * FROM {} LIMIT 0", name.sql()), &[]).await?;
            let names = session.object_names();
            let schema = names.catalog.schema(names.tenant, &name.schema);
            match schema.and_then(|schema| names.catalog.relation(schema.oid, &name.name)) {
                Some(Object::Table(table)) => Ok(table.oid),
                _ => Err(SqlError::new(SqlState::WrongObjectType, format!("\"{name}\" is not a table"))),
            }
        }
        .boxed()
    })
    .await
}

type Read = (Vec<Event>, Position);

/// Reads on. May wait for the disk, so not on a thread of the network.
async fn read(mut cursor: Cursor) -> SqlResult<(Cursor, Result<Read, FeedError>)> {
    let read = tokio::task::spawn_blocking(move || {
        let read = cursor.read(READ_BYTES).map(|batch| (batch.events, batch.next));
        (cursor, read)
    });
    read.await.map_err(SqlError::internal)
}

fn gone(error: FeedError) -> Problem {
    match error {
        FeedError::Gone { first } => {
            let detail = format!(
                "the changes before {} are no longer kept: read the table, and go on from there",
                text_of(first)
            );
            Problem::new(StatusCode::GONE, detail)
        }
        other => SqlError::new(SqlState::IoError, other.to_string()).into(),
    }
}

/// A stream on its way.
struct Events {
    door: Arc<Door>,
    caller: Caller,
    name: TableName,
    oid: Oid,
    parts: mpsc::Sender<Result<Bytes, Infallible>>,
    style: Style,
}

impl Events {
    async fn run(self, begin: Position, mut cursor: Cursor, mut batch: Read) {
        let engine = self.door.engine.clone();
        let mut version = engine.store().catalog_version();
        let mut table = definition(&engine, self.oid);
        if self.send(format!("retry: 1000\nid: {}\n\n", text_of(begin))).await.is_none() {
            return;
        }
        loop {
            let (events, next) = batch;
            let mut out = Vec::new();
            for event in &events {
                if let Change::Table(changed) = &event.change {
                    table = Some(changed.clone());
                }
                self.write(&mut out, event, table.as_deref());
            }
            if !out.is_empty() && self.send(out).await.is_none() {
                return;
            }
            if events.is_empty() {
                tokio::select! {
                    () = engine.feed().wait(next) => {}
                    () = self.parts.closed() => return,
                    () = tokio::time::sleep(QUIET) => {
                        if self.send(format!(": here\nid: {}\n\n", text_of(next))).await.is_none() {
                            return;
                        }
                    }
                }
            }
            if self.caller.is_over(&self.door.shared) {
                return self.end("the API key or the token is over").await;
            }
            // Rights, or the table, may be gone: with every change of the catalog they are looked at again.
            let now = engine.store().catalog_version();
            if now != version {
                version = now;
                match readable(&self.door, &self.caller, &self.name).await {
                    Ok(oid) if oid == self.oid => {}
                    Ok(_) => return self.end("the table is another one").await,
                    Err(problem) => return self.end(&problem.document().to_string()).await,
                }
            }
            let (moved, read) = match read(cursor).await {
                Ok(read) => read,
                Err(error) => return self.end(error.message()).await,
            };
            cursor = moved;
            batch = match read {
                Ok(batch) => batch,
                Err(error) => return self.end(&gone(error).document().to_string()).await,
            };
        }
    }

    /// Sends a part; `None` where the client has gone, or does not read.
    async fn send(&self, part: impl Into<Bytes>) -> Option<()> {
        let sent = tokio::time::timeout(self.door.options.write_timeout, self.parts.send(Ok(part.into())));
        sent.await.ok()?.ok()
    }

    async fn end(&self, reason: &str) {
        let data = serde_json::Value::from(reason).to_string();
        self.send(format!("event: end\ndata: {data}\n\n")).await.unwrap_or_default();
    }

    fn write(&self, out: &mut Vec<u8>, event: &Event, table: Option<&Table>) {
        let behind = Position { index: event.position.index, n: event.position.n + 1 };
        let kind = match &event.change {
            Change::Insert { .. } => "insert",
            Change::Update { .. } => "update",
            Change::Delete { .. } => "delete",
            Change::Unknown { .. } => "unknown",
            Change::Table(_) => "definition",
            Change::Dropped { .. } => "dropped",
            Change::Notification(_) => return,
        };
        out.extend_from_slice(format!("event: {kind}\nid: {}\ndata: {{\"at\":", text_of(behind)).as_bytes());
        let at = Value::Timestamptz(i64::try_from(event.time.micros()).unwrap_or(i64::MAX));
        write_value(out, &at, &SqlType::Timestamptz(None), &self.style);
        let (old, new) = match &event.change {
            Change::Insert { columns, new, .. } => (None, Some((columns, new))),
            Change::Update { columns, old, new, .. } => (Some(old), Some((columns, new))),
            Change::Delete { old, .. } => (Some(old), None),
            _ => (None, None),
        };
        if let Some(OldValues { columns, values, whole }) = old {
            out.extend_from_slice(if *whole { b",\"old\":" } else { b",\"key\":" });
            self.row(out, columns, values, table);
        }
        if let Some((columns, new)) = new {
            out.extend_from_slice(b",\"new\":");
            self.row(out, columns, new, table);
        }
        out.extend_from_slice(b"}\n\n");
    }

    fn row(&self, out: &mut Vec<u8>, columns: &[u16], values: &Row, table: Option<&Table>) {
        out.push(b'{');
        let mut any = false;
        for (number, value) in columns.iter().zip(values) {
            // A column that is gone by now has no name.
            let column = table.and_then(|table| table.columns.iter().find(|column| column.number == *number));
            let Some(column) = column else { continue };
            if std::mem::replace(&mut any, true) {
                out.push(b',');
            }
            out.extend(serde_json::to_vec(&column.name).unwrap_or_default());
            out.push(b':');
            write_value(out, value, &column.ty, &self.style);
        }
        out.push(b'}');
    }
}

fn definition(engine: &Engine, oid: Oid) -> Option<Arc<Table>> {
    engine.store().catalog().table(oid).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_texts() {
        let at = Position { index: LogIndex(12), n: 1 << 32 };
        assert_eq!(position(&text_of(at)), Some(at));
        assert_eq!(position("7"), Some(Position::before(LogIndex(7))));
        for wrong in ["", "x", "1.", "-1.0", "1.2.3"] {
            assert_eq!(position(wrong), None, "{wrong}");
        }
    }
}
