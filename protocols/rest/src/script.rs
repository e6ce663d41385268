//! Several statements for one request, and their rows as JSON.

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
pub(crate) use perigee_door::Given;
use perigee_door::Lease;
pub(crate) use perigee_door::script::{Fetched, fetch};
use perigee_engine::Session;
use perigee_plan::ResultColumn;
use perigee_types::{Row, SqlResult};

use crate::error::Answer;
use crate::output::{Style, write_value};
use crate::server::Door;

/// Runs `work` in the request's transaction.
///
/// # Errors
/// What the work gives; then nothing of it is left.
pub(crate) async fn perform<T: Send + 'static>(
    door: &Arc<Door>,
    lease: Lease,
    work: impl for<'a> FnOnce(&'a mut Session) -> BoxFuture<'a, SqlResult<T>> + Send + 'static,
) -> Answer<T> {
    Ok(perigee_door::script::perform(&door.shared, lease, work).await?)
}

/// A row as a JSON object.
pub(crate) fn row_object(row: &Row, columns: &[ResultColumn], style: &Style) -> Vec<u8> {
    let mut out = vec![b'{'];
    for (at, (value, column)) in row.iter().zip(columns).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend(serde_json::to_vec(column.name.as_str()).unwrap_or_default());
        out.push(b':');
        write_value(&mut out, value, &column.ty, style);
    }
    out.push(b'}');
    out
}

/// An answer with JSON that stands already.
pub(crate) fn json_bytes(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = (status, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The session's way to write values.
pub(crate) fn style_of(session: &Session) -> Style {
    Style { names: Some(session.object_names()), ..Style::new(session.output_settings()) }
}
