//! `POST /v1/tables/{table}/load`: rows in bulk, by a COPY: all of them or none.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use perigee_door::load::{Coding, CsvForm, Form, Load, load};
use perigee_types::{SqlError, SqlResult, SqlState};
use serde_json::json;

use crate::address::Address;
use crate::error::{Answer, Problem};
use crate::identity::Caller;
use crate::server::Door;
use crate::sql::content_type;
use crate::tables::TableName;

/// Loads the rows of the body.
pub(crate) async fn post(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(table): Path<String>,
    mut address: Address,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let form = form(&headers, &mut address)?;
    let columns = address.take("columns").map(|text| text.split(',').map(|name| name.trim().to_owned()).collect());
    let (database, timeout_ms) = (address.take("database"), address.read("timeout_ms")?);
    address.end()?;
    let wanted =
        Load { before: Vec::new(), table: TableName::new(&table).sql(), columns, form, coding: coding(&headers)? };
    let lease = door.lease(&caller, &headers, database.as_deref(), timeout_ms).await?;
    let loaded = load(&door.shared, &caller, lease, wanted, parts(&door, body)).await;
    let loaded = loaded.map_err(|refused| Problem::in_row(refused.error, refused.row))?;
    Ok((StatusCode::CREATED, Json(json!({"loaded": loaded}))).into_response())
}

/// How the rows are written.
fn form(headers: &HeaderMap, address: &mut Address) -> Answer<Form> {
    match content_type(headers) {
        "text/csv" => {
            let usual = CsvForm::default();
            Ok(Form::Csv(CsvForm {
                header: address.read("header")?.unwrap_or(usual.header),
                delimiter: address.read("delimiter")?.unwrap_or(usual.delimiter),
                quote: address.read("quote")?.unwrap_or(usual.quote),
                escape: address.read("escape")?.unwrap_or(usual.escape),
                null: address.take("null").unwrap_or(usual.null),
            }))
        }
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Form::Ndjson),
        "application/vnd.apache.arrow.stream" => Ok(Form::Arrow),
        "application/vnd.apache.parquet" => Ok(Form::Parquet),
        other => {
            let detail = format!(
                "the body is {other:?}: send text/csv, application/x-ndjson, application/vnd.apache.arrow.stream or \
                 application/vnd.apache.parquet"
            );
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
        }
    }
}

fn coding(headers: &HeaderMap) -> Answer<Coding> {
    let coding = headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
    match coding.map(str::trim).unwrap_or("identity") {
        "identity" | "" => Ok(Coding::Plain),
        "gzip" | "x-gzip" => Ok(Coding::Gzip),
        "zstd" => Ok(Coding::Zstd),
        other => Err(Problem::packed_by(other)),
    }
}

/// The parts of a body. One that does not come in time ends it.
fn parts(door: &Arc<Door>, body: Body) -> BoxStream<'static, SqlResult<Bytes>> {
    let timeout = door.options.body_timeout;
    stream::unfold(body.into_data_stream(), move |mut parts| async move {
        let part = match tokio::time::timeout(timeout, parts.next()).await {
            Ok(part) => part?
                .map_err(|error| SqlError::new(SqlState::ProtocolViolation, format!("the body broke off: {error}"))),
            Err(_) => Err(SqlError::new(SqlState::QueryCanceled, "the body did not come in time")),
        };
        Some((part, parts))
    })
    .boxed()
}
