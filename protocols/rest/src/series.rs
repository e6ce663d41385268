//! Series: add samples, read ranges; through `redis.samples`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use perigee_door::series::{self, Aggregate, Moment, Range, Which};
use perigee_types::{SqlError, SqlResult, SqlState};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::address::Address;
use crate::error::{Answer, Problem};
use crate::identity::Caller;
use crate::run::{Query, respond};
use crate::script::perform;
use crate::server::{Door, body_object, read_body};
use crate::sql::format as format_of;

/// A moment: milliseconds since 1970 as a number, or the text of a timestamp.
pub(crate) fn moment(json: &str, unit_micros: i64) -> SqlResult<Moment> {
    let wrong = || SqlError::new(SqlState::InvalidDatetimeFormat, format!("{json} is no time"));
    if json.starts_with('"') {
        return serde_json::from_str(json).map(Err).map_err(|_| wrong());
    }
    let whole = json.parse::<i64>().ok().and_then(|number| number.checked_mul(unit_micros));
    let fraction = || {
        let micros = json.parse::<f64>().ok()? * unit_micros as f64;
        (micros.abs() < 9e15).then(|| micros.round() as i64)
    };
    whole.or_else(fraction).map(Ok).ok_or_else(wrong)
}

/// A sample.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    ts: Box<RawValue>,
    value: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Samples {
    samples: Vec<Sample>,
}

/// `POST /v1/series/{key}`: `{"samples": [{"ts": …, "value": …}]}`
pub(crate) async fn add(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(key): Path<String>,
    mut address: Address,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let db = address.read::<i32>("db")?.unwrap_or(0);
    address.end()?;
    let body = read_body(&door, &headers, body).await?;
    let samples: Samples = body_object(&body)?;
    let mut rows = Vec::new();
    for sample in samples.samples {
        rows.push((moment(sample.ts.get(), 1_000)?, sample.value));
    }
    if rows.is_empty() {
        return Err(Problem::bad("there is no sample"));
    }
    let lease = door.lease(&caller, &headers, None, None).await?;
    let count = perform(&door, lease, move |session| {
        async move {
            let sample = |(ts, value)| series::Sample { key: &key, ts, value };
            let samples: Vec<_> = rows.iter().map(|(ts, value)| sample((ts, *value))).collect();
            series::add(session, db, &samples).await
        }
        .boxed()
    })
    .await?;
    Ok((StatusCode::CREATED, Json(json!({"added": count}))).into_response())
}

/// What buckets are made of.
const AGGREGATES: &[(&str, Aggregate)] = &[
    ("avg", Aggregate::Avg),
    ("sum", Aggregate::Sum),
    ("min", Aggregate::Min),
    ("max", Aggregate::Max),
    ("count", Aggregate::Count),
];

/// `GET /v1/series/{key}?from=&to=&aggregate=avg&bucket_ms=60000&limit=`
pub(crate) async fn range(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(key): Path<String>,
    mut address: Address,
    headers: HeaderMap,
) -> Answer<Response> {
    let db = address.read::<i32>("db")?.unwrap_or(0);
    let mut bound = |name| {
        let text = address.take(name)?;
        // Milliseconds, or the text of a timestamp.
        Some(text.parse::<i64>().map_or(Err(text), |ms| Ok(ms.saturating_mul(1_000))))
    };
    let (from, to) = (bound("from"), bound("to"));
    let aggregate = address.word("aggregate", AGGREGATES)?;
    let bucket = address.read::<u32>("bucket_ms")?.filter(|ms| *ms > 0);
    let limit = address.read::<u64>("limit")?;
    address.end()?;
    let bucket = match (aggregate, bucket) {
        (None, None) => None,
        (Some(aggregate), Some(ms)) => Some((aggregate, ms)),
        _ => return Err(Problem::bad("aggregate and bucket_ms go together")),
    };
    let (sql, parameters) = Range { db, which: Which::Key(key), from, to, bucket, limit }.statement()?;
    let lease = door.lease(&caller, &headers, None, None).await?;
    respond(&door, lease, Query::plain(sql, parameters, format_of(&headers)?)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_numbers_or_texts() {
        assert_eq!(moment("1500", 1_000).unwrap(), Ok(1_500_000));
        assert_eq!(moment("1.5", 1_000_000).unwrap(), Ok(1_500_000));
        assert_eq!(moment("\"2026-01-01\"", 1_000).unwrap(), Err("2026-01-01".to_owned()));
        for wrong in ["true", "{}", "9223372036854775807", "1e300", "null"] {
            assert!(moment(wrong, 1_000).is_err(), "{wrong}");
        }
    }
}
