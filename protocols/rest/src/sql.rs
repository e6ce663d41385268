//! `POST /v1/sql`

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::address::Address;
use crate::error::{Answer, Problem};
use crate::identity::Caller;
use crate::output::Format;
use crate::run::{Parameter, Query, respond};
use crate::server::{Door, body_object, read_body};

/// How the result is wanted; in the address, or in the body where that is JSON.
#[derive(Debug, Default)]
struct Wishes {
    /// `objects` or `arrays`.
    rows: Option<RowForm>,
    /// `hex` or `base64`.
    bytea: Option<ByteaForm>,
    /// Rows of the result.
    max_rows: Option<u64>,
    /// Milliseconds that the statement may take.
    timeout_ms: Option<u64>,
    /// The database.
    database: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum RowForm {
    Objects,
    Arrays,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum ByteaForm {
    Hex,
    Base64,
}

impl Wishes {
    fn of(mut address: Address) -> Answer<Self> {
        let wishes = Self {
            rows: address.word("rows", &[("objects", RowForm::Objects), ("arrays", RowForm::Arrays)])?,
            bytea: address.word("bytea", &[("hex", ByteaForm::Hex), ("base64", ByteaForm::Base64)])?,
            max_rows: address.read("max_rows")?,
            timeout_ms: address.read("timeout_ms")?,
            database: address.take("database"),
        };
        address.end()?;
        Ok(wishes)
    }
}

/// The body as JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    sql: String,
    #[serde(default)]
    params: Vec<Box<RawValue>>,
    #[serde(default)]
    rows: Option<RowForm>,
    #[serde(default)]
    bytea: Option<ByteaForm>,
    #[serde(default)]
    max_rows: Option<u64>,
    #[serde(default)]
    timeout_ms: Option<u64>,
    #[serde(default)]
    database: Option<String>,
}

/// A parameter whose type is said.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    #[serde(rename = "type")]
    ty: String,
    value: Box<RawValue>,
}

/// Runs a statement.
pub(crate) async fn post(
    State(door): State<Arc<Door>>,
    caller: Caller,
    address: Address,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let mut wishes = Wishes::of(address)?;
    let format = format(&headers)?;
    let body = read_body(&door, &headers, body).await?;
    let (sql, parameters) = match content_type(&headers) {
        "application/json" => {
            let request: Request = body_object(&body)?;
            wishes.rows = request.rows.or(wishes.rows);
            wishes.bytea = request.bytea.or(wishes.bytea);
            wishes.max_rows = request.max_rows.or(wishes.max_rows);
            wishes.timeout_ms = request.timeout_ms.or(wishes.timeout_ms);
            wishes.database = request.database.or(wishes.database);
            (request.sql, request.params.into_iter().map(parameter).collect::<Answer<_>>()?)
        }
        "text/plain" | "application/sql" => {
            let text = String::from_utf8(body.into()).map_err(|_| Problem::bad("the statement is not UTF-8"))?;
            (text, Vec::new())
        }
        other => {
            let detail = format!("the body is {other:?}: send application/json, or a statement as text/plain");
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
    };
    let lease = door.lease(&caller, &headers, wishes.database.as_deref(), wishes.timeout_ms).await?;
    let query = Query {
        sql,
        parameters,
        format,
        arrays: wishes.rows == Some(RowForm::Arrays),
        base64: wishes.bytea == Some(ByteaForm::Base64),
        rows_max: wishes.max_rows,
    };
    respond(&door, lease, query).await
}

/// What `Accept` asks for.
pub(crate) fn format(headers: &HeaderMap) -> Answer<Format> {
    let mut all = Vec::new();
    for accept in headers.get_all(header::ACCEPT) {
        all.push(accept.to_str().map_err(|_| Problem::bad("the header Accept is not right"))?);
    }
    Format::accepted(Some(&all.join(","))).ok_or_else(|| {
        let detail =
            "results are application/json, application/x-ndjson, text/csv, application/vnd.apache.arrow.stream or \
             application/vnd.apache.parquet";
        Problem::new(StatusCode::NOT_ACCEPTABLE, detail)
    })
}

/// The media type of a body, without its parameters.
pub(crate) fn content_type(headers: &HeaderMap) -> &str {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("text/plain");
    given.split(';').next().unwrap_or_default().trim()
}

/// A parameter: a value, or `{"type": …, "value": …}`.
fn parameter(json: Box<RawValue>) -> Answer<Parameter> {
    if !json.get().starts_with('{') {
        return Ok(Parameter::json(json));
    }
    match serde_json::from_str::<Typed>(json.get()) {
        Ok(typed) => Ok(Parameter { ty: Some(typed.ty), ..Parameter::json(typed.value) }),
        Err(_) => Err(Problem::bad(
            "a parameter that is an object has a type and a value: {\"type\": \"jsonb\", \"value\": {…}}",
        )),
    }
}
