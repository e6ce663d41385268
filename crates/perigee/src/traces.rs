//! Gives spans to a receiver of OTLP over HTTP, as JSON: a collector, Jaeger, Tempo.
//!
//! They go once a second, each time on a connection of its own. A receiver that is away costs its spans and nothing else: nobody waits for
//! it but the end of the node, for a moment.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use perigee_telemetry::names;
use perigee_telemetry::trace::{self, Kind, Span};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Between two deliveries.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the receiver may take for one.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same of the last one, for which the end of the node waits.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
/// Spans of one request.
const SPANS_MAX: usize = 2_048;

/// Where traces go, and of whom they tell.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    /// `HOST:PORT`.
    pub(crate) authority: String,
    /// From the first slash on.
    pub(crate) path: String,
    /// This node.
    pub(crate) node: String,
}

impl Receiver {
    /// Delivers until `stop`, and what is left then.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut reached = true;
        while !stop.is_cancelled() {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = stop.cancelled() => {}
            }
            let patience = if stop.is_cancelled() { LAST_PATIENCE } else { PATIENCE };
            let (spans, mut lost) = trace::take();
            for part in spans.chunks(SPANS_MAX) {
                let sent = tokio::time::timeout(patience, self.send(part));
                match sent.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                    Ok(()) => {
                        metrics::counter!(names::TRACE_SPANS_TOTAL).increment(part.len() as u64);
                        reached = true;
                    }
                    Err(error) => {
                        lost += part.len() as u64;
                        // Said once: a receiver that is away for a day is no news each second.
                        if std::mem::replace(&mut reached, false) {
                            tracing::warn!(%error, receiver = self.authority, "traces are not taken: they are lost meanwhile");
                        }
                    }
                }
            }
            metrics::counter!(names::TRACE_SPANS_LOST_TOTAL).increment(lost);
        }
    }

    async fn send(&self, spans: &[Span]) -> io::Result<()> {
        let body = document(&self.node, spans).to_string();
        let stream = TcpStream::connect(&self.authority).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let driver = tokio::spawn(connection);
        let request = Request::post(&self.path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .map_err(io::Error::other)?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        // Read to its end, so that the receiver sees no connection break.
        let read = response.into_body().collect().await.map(drop).map_err(io::Error::other);
        driver.abort();
        if !status.is_success() {
            return Err(io::Error::other(format!("the receiver says {status}")));
        }
        read
    }
}

/// Spans as `ExportTraceServiceRequest`, in OTLP's JSON: ids are hexadecimal, numbers of 64 bits are text.
fn document(node: &str, spans: &[Span]) -> Value {
    let resource =
        [("service.name", "perigee"), ("service.version", env!("CARGO_PKG_VERSION")), ("service.instance.id", node)];
    let resource: Vec<Value> = resource.into_iter().map(|(key, value)| attribute(key, value)).collect();
    let spans: Vec<Value> = spans.iter().map(span).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": {"name": "perigee", "version": env!("CARGO_PKG_VERSION")}, "spans": spans}],
    }]})
}

fn span(span: &Span) -> Value {
    let mut attributes: Vec<Value> = span.attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    let status = match &span.error {
        Some((code, words)) => {
            attributes.push(attribute("error.type", code));
            json!({"code": 2, "message": words})
        }
        None => json!({}),
    };
    json!({
        "traceId": format!("{:032x}", span.own.trace),
        "spanId": format!("{:016x}", span.own.span),
        "parentSpanId": span.parent.map_or_else(String::new, |parent| format!("{parent:016x}")),
        "name": span.name,
        "kind": match span.kind { Kind::Internal => 1, Kind::Server => 2 },
        "startTimeUnixNano": span.began_nanos.to_string(),
        "endTimeUnixNano": span.ended_nanos.to_string(),
        "attributes": attributes,
        "status": status,
    })
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

#[cfg(test)]
mod tests {
    use perigee_telemetry::trace::Parent;

    use super::*;

    #[test]
    fn spans_are_written_as_otlp_has_them() {
        let span = Span {
            name: "INSERT".into(),
            kind: Kind::Server,
            own: Parent { trace: 0xabc, span: 0xdef },
            parent: Some(7),
            began_nanos: 1_700_000_000_000_000_001,
            ended_nanos: 1_700_000_000_000_000_002,
            attributes: vec![("db.namespace", "postgres".to_owned())],
            error: Some(("23505".to_owned(), "it is there".to_owned())),
        };
        let document = document("n1", &[span]);
        let found = &document["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(found["traceId"], "00000000000000000000000000000abc");
        assert_eq!(
            (&found["spanId"], &found["parentSpanId"]),
            (&json!("0000000000000def"), &json!("0000000000000007"))
        );
        assert_eq!(found["startTimeUnixNano"], "1700000000000000001");
        assert_eq!((&found["kind"], &found["status"]), (&json!(2), &json!({"code": 2, "message": "it is there"})));
        let error = json!({"key": "error.type", "value": {"stringValue": "23505"}});
        assert!(found["attributes"].as_array().unwrap().contains(&error), "{found}");
        let node = json!({"key": "service.instance.id", "value": {"stringValue": "n1"}});
        assert!(document["resourceSpans"][0]["resource"]["attributes"].as_array().unwrap().contains(&node));
    }
}
