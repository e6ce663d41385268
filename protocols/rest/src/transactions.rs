//! Sessions that live over several requests.
//!
//! `POST /v1/transactions` begins one, the header `Perigee-Transaction` of other requests names it, and
//! `POST /v1/transactions/{id}/commit` or `/rollback` ends it.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use perigee_door::{BeginOptions, Lease, LeaseError};
use serde::Deserialize;
use serde_json::json;

use crate::error::Answer;
use crate::identity::Caller;
use crate::server::{Door, body_object, read_body};

/// The header that names a transaction.
pub(crate) const TRANSACTION: &str = "perigee-transaction";

fn named(headers: &HeaderMap) -> Answer<Option<&str>> {
    headers.get(TRANSACTION).map(|id| id.to_str().map_err(|_| LeaseError::Missing.into())).transpose()
}

impl Door {
    /// The session of a request: that of the transaction that its headers name, or a new one.
    pub(crate) async fn lease(
        &self,
        caller: &Caller,
        headers: &HeaderMap,
        database: Option<&str>,
        timeout_ms: Option<u64>,
    ) -> Answer<Lease> {
        Ok(self.shared.lease(caller, named(headers)?, database, timeout_ms).await?)
    }

    /// The same for several statements that are to see one moment.
    pub(crate) async fn lease_of_one_moment(&self, caller: &Caller, headers: &HeaderMap) -> Answer<Lease> {
        Ok(self.shared.lease_of_one_moment(caller, named(headers)?).await?)
    }
}

/// How a transaction is to be.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Begin {
    isolation: Option<Isolation>,
    read_only: bool,
    /// How long it may take, from now on.
    time_ms: Option<u64>,
    /// How long each of its statements may take.
    timeout_ms: Option<u64>,
    database: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Isolation {
    #[serde(rename = "read committed")]
    ReadCommitted,
    #[serde(rename = "repeatable read")]
    RepeatableRead,
    #[serde(rename = "serializable")]
    Serializable,
}

impl From<Begin> for BeginOptions {
    fn from(begin: Begin) -> Self {
        let isolation = begin.isolation.map(|isolation| match isolation {
            Isolation::ReadCommitted => perigee_door::Isolation::ReadCommitted,
            Isolation::RepeatableRead => perigee_door::Isolation::RepeatableRead,
            Isolation::Serializable => perigee_door::Isolation::Serializable,
        });
        let Begin { read_only, time_ms, timeout_ms, database, .. } = begin;
        Self { isolation, read_only, time_ms, timeout_ms, database }
    }
}

/// `POST /v1/transactions`
pub(crate) async fn begin(
    State(door): State<Arc<Door>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let body = read_body(&door, &headers, body).await?;
    let begin: Begin = match body.is_empty() {
        true => Begin::default(),
        false => body_object(&body)?,
    };
    let begun = door.shared.begin(&caller, begin.into()).await?;
    let body = json!({"id": begun.id, "time_ms": begun.time.as_millis() as u64});
    let location = format!("/v1/transactions/{}", begun.id);
    Ok((StatusCode::CREATED, [("location", location)], Json(body)).into_response())
}

/// `POST /v1/transactions/{id}/commit`
pub(crate) async fn commit(State(door): State<Arc<Door>>, caller: Caller, Path(id): Path<String>) -> Answer<Response> {
    door.shared.commit(&caller, &id).await?;
    Ok(Json(json!({"command": "COMMIT"})).into_response())
}

/// `POST /v1/transactions/{id}/rollback`, `DELETE /v1/transactions/{id}`
pub(crate) async fn rollback(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Response> {
    door.shared.rollback(&caller, &id).await?;
    Ok(Json(json!({"command": "ROLLBACK"})).into_response())
}
