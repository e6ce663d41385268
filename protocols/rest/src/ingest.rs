//! `POST /ingest`: what devices send.
//!
//! One message, an array of them, or NDJSON: `{"device_id": "d1", "ts": 1767322800, "seq": 42, "metrics": {"temperature": 21.5}}`. The
//! answer is 202 once the message is in the log; a message that is sent again, as its answer was lost, is known by device and number
//! and changes nothing. Rows go to `readings`, one for each metric; the first message makes the table where it is not there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use perigee_door::series::Moment;
use perigee_engine::Session;
use perigee_types::{SqlError, SqlResult, SqlState, Value};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::address::Address;
use crate::error::{Answer, Problem};
use crate::identity::Caller;
use crate::script::{Given, fetch, perform};
use crate::series::moment;
use crate::server::{Door, read_body};
use crate::sql::content_type;

/// The table that readings go to.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS public.readings (device_id text, seq bigint, metric text, \
                     ts timestamptz NOT NULL, value double precision, PRIMARY KEY (device_id, seq, metric))";
/// Rows of one INSERT.
const ROWS: usize = 500;

/// Nanoseconds of a unit of time.
const UNITS: &[(&str, i128)] = &[("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];

/// A message of a device.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    device_id: String,
    /// Time since 1970, or the text of a timestamp.
    ts: Box<RawValue>,
    /// Its number, of the device's own counting.
    seq: i64,
    metrics: BTreeMap<String, Option<f64>>,
}

/// A row of the table.
struct Reading {
    device: Arc<str>,
    seq: i64,
    metric: String,
    ts: Result<i64, String>,
    value: Option<f64>,
}

impl Reading {
    fn key(&self) -> (&str, i64, &str) {
        (&self.device, self.seq, &self.metric)
    }
}

/// A moment: a number in a unit (of so many nanoseconds), or the text of a timestamp.
///
/// Where no unit is said the size of the number says it: what would be the year 5138 or later in a unit is one of the next finer
/// unit, which is 1973 or later there.
fn time(json: &str, unit: Option<i128>) -> SqlResult<Moment> {
    const FINEST: f64 = 1e17;
    if json.starts_with('"') {
        return moment(json, 1);
    }
    let size = json.parse::<f64>().map_or(0.0, f64::abs);
    let by_size = || UNITS.iter().zip([FINEST, 1e14, 1e11, 0.0]).find(|(_, least)| size >= *least);
    let unit = unit.or_else(|| by_size().map(|((_, unit), _)| *unit)).unwrap_or(1);
    if unit >= 1_000 {
        return moment(json, i64::try_from(unit / 1_000).unwrap_or(1));
    }
    let whole = json.parse::<i64>().ok();
    let nanos = whole.or_else(|| json.parse::<f64>().ok().filter(|nanos| nanos.abs() < 9e18).map(|nanos| nanos as i64));
    let wrong = || SqlError::new(SqlState::InvalidDatetimeFormat, format!("{json} is no time"));
    nanos.map(|nanos| Ok(nanos.div_euclid(1_000))).ok_or_else(wrong)
}

pub(crate) async fn post(
    State(door): State<Arc<Door>>,
    caller: Caller,
    mut address: Address,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let unit = address.word("precision", UNITS)?;
    address.end()?;
    let body = read_body(&door, &headers, body).await?;
    let mut readings = Vec::new();
    for message in messages(&headers, &body)? {
        if message.device_id.is_empty() || message.metrics.is_empty() {
            return Err(Problem::bad("a message has a device and metrics"));
        }
        let ts = time(message.ts.get(), unit)?;
        let device: Arc<str> = message.device_id.into();
        let of = |(metric, value)| Reading { device: device.clone(), seq: message.seq, metric, ts: ts.clone(), value };
        readings.extend(message.metrics.into_iter().map(of));
    }
    // Requests at once wait for each other in one order, and so never in a circle.
    readings.sort_by(|a, b| a.key().cmp(&b.key()));
    let readings = Arc::new(readings);
    let wanted = readings.clone();
    let lease = door.lease(&caller, &headers, None, None).await?;
    let kept = lease.is_kept();
    let stored = perform(&door, lease, move |session| async move { store(session, &wanted).await }.boxed()).await;
    let stored = match stored {
        Err(problem) if !kept && problem.state() == Some(SqlState::UndefinedTable) => {
            make_table(&door, &caller, &headers).await?;
            let lease = door.lease(&caller, &headers, None, None).await?;
            let wanted = readings.clone();
            perform(&door, lease, move |session| async move { store(session, &wanted).await }.boxed()).await?
        }
        other => other?,
    };
    let body = json!({"status": "stored", "rows": stored, "known": readings.len() as u64 - stored});
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

async fn make_table(door: &Arc<Door>, caller: &Caller, headers: &HeaderMap) -> Answer<()> {
    let lease = door.lease(caller, headers, None, None).await?;
    let made = perform(door, lease, |session| async move { fetch(session, TABLE, &[]).await }.boxed()).await;
    match made {
        // Another device was first.
        Err(problem) if problem.state() == Some(SqlState::DuplicateTable) => Ok(()),
        other => other.map(|_| ()),
    }
}

fn messages(headers: &HeaderMap, body: &[u8]) -> Answer<Vec<Message>> {
    let wrong = |error: serde_json::Error| Problem::bad(format!("the message is not right: {error}"));
    match content_type(headers) {
        // Devices often say nothing of what they send.
        "application/json" | "text/plain" => match body.iter().find(|b| !b.is_ascii_whitespace()) {
            Some(b'[') => serde_json::from_slice(body).map_err(wrong),
            _ => Ok(vec![serde_json::from_slice(body).map_err(wrong)?]),
        },
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
            serde_json::Deserializer::from_slice(body).into_iter().collect::<Result<_, _>>().map_err(wrong)
        }
        other => {
            let detail = format!("the body is {other:?}: send application/json or application/x-ndjson");
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
        }
    }
}

async fn store(session: &mut Session, readings: &[Reading]) -> SqlResult<u64> {
    let mut stored = 0;
    for readings in readings.chunks(ROWS) {
        let mut sql = "INSERT INTO public.readings (device_id, seq, metric, ts, value) VALUES ".to_owned();
        let mut given = Vec::with_capacity(readings.len() * 5);
        for (at, reading) in readings.iter().enumerate() {
            let from = given.len();
            let value = reading.value.map_or(Value::Null, Value::Float8);
            given.extend([
                Given::text(&reading.device),
                Given::Value(Value::Int8(reading.seq)),
                Given::text(&reading.metric),
                match &reading.ts {
                    Ok(micros) => Given::Value(Value::Timestamptz(*micros)),
                    Err(text) => Given::text(text),
                },
                Given::Value(value),
            ]);
            let comma = if at == 0 { "" } else { ", " };
            let [a, b, c, d, e] = [1, 2, 3, 4, 5].map(|place| from + place);
            // Writing to a text does not fail.
            let _ = write!(sql, "{comma}(${a}, ${b}, ${c}, ${d}, ${e})");
        }
        sql.push_str(" ON CONFLICT DO NOTHING");
        stored += fetch(session, &sql, &given).await?.count;
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_said_or_told_by_the_size() {
        let check = |json: &str, unit: Option<&str>, expected: Option<i64>| {
            let unit = unit.and_then(|unit| UNITS.iter().find(|(name, _)| *name == unit)).map(|(_, unit)| *unit);
            assert_eq!(time(json, unit).ok(), expected.map(Ok), "{json}");
        };
        let micros = Some(1_767_322_800_250_000);
        check("1767322800.25", None, micros);
        check("1767322800250", None, micros);
        check("1767322800250000", None, micros);
        check("1767322800250000999", None, micros);
        check("1767322800250.0", None, micros);
        check("-1767322800250", None, Some(-1_767_322_800_250_000));
        check("1", None, Some(1_000_000));
        check("1", Some("ms"), Some(1_000));
        check("1767322800250", Some("ms"), micros);
        check("1767322800250", Some("us"), Some(1_767_322_800_250));
        check("-1", Some("ns"), Some(-1));
        check("1500", Some("ns"), Some(1));
        check("1e300", None, None);
        check("true", None, None);
        check("9223372036854775807", Some("s"), None);
        assert_eq!(time("\"2026-01-01\"", Some(1)).unwrap(), Err("2026-01-01".to_owned()));
    }
}
