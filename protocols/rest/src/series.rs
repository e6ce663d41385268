//! Series: add samples, read ranges; through `redis.samples`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use perigee_types::{SqlError, SqlResult, SqlState, Value};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::address::Address;
use crate::error::{Answer, Problem};
use crate::identity::Caller;
use crate::run::{Parameter, Query, respond};
use crate::script::{Given, fetch, perform};
use crate::server::{Door, read_body};
use crate::sql::format as format_of;

/// Samples of one INSERT.
const SAMPLES: usize = 500;

/// A moment: milliseconds since 1970 as a number, or the text of a timestamp.
pub(crate) fn moment(json: &str, unit_micros: i64) -> SqlResult<Result<i64, String>> {
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
    let samples: Samples =
        serde_json::from_slice(&body).map_err(|error| Problem::bad(format!("the body is not right: {error}")))?;
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
            let mut count = 0;
            for rows in rows.chunks(SAMPLES) {
                let mut sql = "INSERT INTO redis.samples (db, key, ts, value) VALUES ".to_owned();
                let mut given = vec![Given::Value(Value::Int4(db)), Given::Text(&key)];
                for (number, (ts, value)) in rows.iter().enumerate() {
                    given.push(match ts {
                        Ok(micros) => Given::Value(Value::Timestamptz(*micros)),
                        Err(text) => Given::Text(text),
                    });
                    given.push(Given::Value(Value::Float8(*value)));
                    let comma = if number == 0 { "" } else { ", " };
                    sql.push_str(&format!("{comma}($1, $2, ${}, ${})", given.len() - 1, given.len()));
                }
                // Who sends a sample again, as its answer was lost, means the same one.
                sql.push_str(" ON CONFLICT (key, ts) DO UPDATE SET value = excluded.value");
                count += fetch(session, &sql, &given).await?.count;
            }
            Ok(count)
        }
        .boxed()
    })
    .await?;
    Ok((StatusCode::CREATED, Json(json!({"added": count}))).into_response())
}

/// What buckets are made of.
const AGGREGATES: &[(&str, &str)] =
    &[("avg", "avg"), ("sum", "sum"), ("min", "min"), ("max", "max"), ("count", "count")];

/// `GET /v1/series/{key}?from=&to=&aggregate=avg&bucket_ms=60000&limit=`
pub(crate) async fn range(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(key): Path<String>,
    mut address: Address,
    headers: HeaderMap,
) -> Answer<Response> {
    let db = address.read::<i32>("db")?.unwrap_or(0);
    let raw = |text: &str| serde_json::value::to_raw_value(text).unwrap_or_default();
    let mut parameters =
        vec![Parameter { ty: None, json: raw(&db.to_string()) }, Parameter { ty: None, json: raw(&key) }];
    let mut condition = "db = $1 AND key = $2".to_owned();
    for (name, operator) in [("from", ">="), ("to", "<=")] {
        let Some(text) = address.take(name) else { continue };
        match text.parse::<i64>() {
            // Milliseconds: no text of a client stands in the statement.
            Ok(ms) => condition.push_str(&format!(
                " AND ts {operator} '1970-01-01 00:00:00+00'::timestamptz + interval '{ms} milliseconds'"
            )),
            Err(_) => {
                parameters.push(Parameter { ty: None, json: raw(&text) });
                condition.push_str(&format!(" AND ts {operator} ${}::timestamptz", parameters.len()));
            }
        }
    }
    let aggregate = address.word("aggregate", AGGREGATES)?;
    let bucket = address.read::<u32>("bucket_ms")?.filter(|ms| *ms > 0);
    let limit = address.read::<u64>("limit")?;
    address.end()?;
    let mut sql = match (aggregate, bucket) {
        (None, None) => format!("SELECT ts, value FROM redis.samples WHERE {condition} ORDER BY ts"),
        (Some(aggregate), Some(ms)) => format!(
            "SELECT date_bin(interval '{ms} milliseconds', ts, '1970-01-01 00:00:00+00'::timestamptz) AS ts, \
             {aggregate}(value)::float8 AS value FROM redis.samples WHERE {condition} GROUP BY 1 ORDER BY 1"
        ),
        _ => return Err(Problem::bad("aggregate and bucket_ms go together")),
    };
    if let Some(limit) = limit {
        sql.push_str(&format!(" LIMIT {}", limit.min(i64::MAX as u64)));
    }
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
