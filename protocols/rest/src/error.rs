//! The engine's errors as problem documents (RFC 9457), in this one place.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use perigee_door::{LeaseError, Refusal};
use perigee_types::{SqlError, SqlState};
use serde_json::{Map, Value, json};

/// The media type of problems.
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// What a handler gives.
pub(crate) type Answer<T = Response> = Result<T, Problem>;

/// Why a request was not done.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    /// What is the same for all problems of its kind.
    title: String,
    detail: String,
    sql: Option<SqlError>,
    /// Asks for another proof of who it is.
    challenge: bool,
    /// Seconds until the request may come again.
    retry_after_s: Option<u64>,
    /// The row or line of the body that it is about, from 1.
    row: Option<u64>,
}

impl Problem {
    /// A problem of the request itself, which the engine has not seen.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("problem").to_owned();
        let challenge = status == StatusCode::UNAUTHORIZED;
        let retry_after_s = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        Self { status, title, detail: detail.into(), sql: None, challenge, retry_after_s, row: None }
    }

    /// What the engine says of a row or line of the body, from 1.
    pub(crate) fn in_row(error: SqlError, row: Option<u64>) -> Self {
        Self { row, ..error.into() }
    }

    /// `415` for a body that is packed in a way that nobody unpacks here.
    pub(crate) fn packed_by(coding: &str) -> Self {
        let detail = format!("the body is packed by {coding:?}: send it as it is, or by gzip or zstd");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    /// `400`
    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// The same, which may come again after so many seconds.
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// The SQLSTATE, where the engine has said it.
    pub(crate) fn state(&self) -> Option<SqlState> {
        self.sql.as_ref().map(SqlError::state)
    }

    /// The document.
    pub(crate) fn document(&self) -> Value {
        let mut document = Map::new();
        let kind = match &self.sql {
            Some(error) => format!("urn:perigee:sqlstate:{}", error.state().code()),
            None => "about:blank".to_owned(),
        };
        document.insert("type".to_owned(), json!(kind));
        document.insert("title".to_owned(), json!(self.title));
        document.insert("status".to_owned(), json!(self.status.as_u16()));
        document.insert("detail".to_owned(), json!(self.detail));
        if let Some(error) = &self.sql {
            let fields = error.fields();
            document.insert("sqlstate".to_owned(), json!(fields.state.code()));
            let texts = [
                ("explanation", &fields.detail),
                ("hint", &fields.hint),
                ("context", &fields.context),
                ("schema", &fields.schema),
                ("table", &fields.table),
                ("column", &fields.column),
                ("constraint", &fields.constraint),
            ];
            for (name, text) in texts {
                if let Some(text) = text {
                    document.insert(name.to_owned(), json!(text));
                }
            }
            if let Some(position) = fields.position {
                document.insert("position".to_owned(), json!(position));
            }
        }
        if let Some(row) = self.row {
            document.insert("row".to_owned(), json!(row));
        }
        Value::Object(document)
    }

    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<SqlError> for Problem {
    fn from(error: SqlError) -> Self {
        let status = status(error.state());
        Self {
            status,
            title: format!("{:?}", error.state()),
            detail: error.message().to_owned(),
            challenge: status == StatusCode::UNAUTHORIZED,
            retry_after_s: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1),
            sql: Some(error),
            row: None,
        }
    }
}

impl From<LeaseError> for Problem {
    fn from(error: LeaseError) -> Self {
        let status = match error {
            LeaseError::Sql(error) => return error.into(),
            LeaseError::Missing => StatusCode::NOT_FOUND,
            LeaseError::Busy => StatusCode::CONFLICT,
            LeaseError::Bad(_) => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.message())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Missing | Refusal::Wrong => Self::new(StatusCode::UNAUTHORIZED, refusal.message()),
            Refusal::TooMany(wait) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, refusal.message()).retry_after(wait.as_secs() + 1)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.document().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, PROBLEM);
        if self.challenge {
            headers.append(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"perigee\", charset=\"UTF-8\""),
            );
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"perigee\""));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// What gRPC's mapping has for it. 408 would be the name of it, but a browser sends a request again that is answered so, whatever it does.
fn cancelled() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

/// The status of an SQLSTATE. Retrying helps with 409 of class 40 and with 503; 5xx otherwise is the server's fault.
fn status(state: SqlState) -> StatusCode {
    let code = state.code();
    match state {
        SqlState::InsufficientPrivilege | SqlState::ReadOnlySqlTransaction => StatusCode::FORBIDDEN,
        SqlState::UndefinedTable | SqlState::InvalidCatalogName => StatusCode::NOT_FOUND,
        SqlState::ForeignKeyViolation
        | SqlState::UniqueViolation
        | SqlState::DuplicateTable
        | SqlState::DuplicateObject
        | SqlState::DuplicateSchema
        | SqlState::DuplicateDatabase => StatusCode::CONFLICT,
        SqlState::ProtocolViolation => StatusCode::BAD_REQUEST,
        SqlState::QueryCanceled => cancelled(),
        SqlState::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        // The outcome is not known: neither 4xx, "not done", nor a retry is right.
        SqlState::TransactionResolutionUnknown => StatusCode::INTERNAL_SERVER_ERROR,
        _ => match &code[..2] {
            "28" => StatusCode::UNAUTHORIZED,
            "23" | "44" => StatusCode::UNPROCESSABLE_ENTITY,
            "25" | "40" | "55" | "72" => StatusCode::CONFLICT,
            "54" => StatusCode::PAYLOAD_TOO_LARGE,
            "08" | "53" | "57" => StatusCode::SERVICE_UNAVAILABLE,
            "58" | "XX" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_become_statuses() {
        let cases = [
            (SqlState::SyntaxError, 400),
            (SqlState::FeatureNotSupported, 400),
            (SqlState::InvalidTextRepresentation, 400),
            (SqlState::InvalidPassword, 401),
            (SqlState::InsufficientPrivilege, 403),
            (SqlState::UndefinedTable, 404),
            (SqlState::QueryCanceled, 499),
            (SqlState::UniqueViolation, 409),
            (SqlState::SerializationFailure, 409),
            (SqlState::ProgramLimitExceeded, 413),
            (SqlState::NotNullViolation, 422),
            (SqlState::DataCorrupted, 500),
            (SqlState::TransactionResolutionUnknown, 500),
            (SqlState::TooManyConnections, 503),
            (SqlState::CannotConnectNow, 503),
            (SqlState::DiskFull, 507),
        ];
        for (state, expected) in cases {
            let problem = Problem::from(SqlError::new(state, "text").hint("do so"));
            assert_eq!(problem.status().as_u16(), expected, "{state:?}");
            let document = problem.document();
            assert_eq!(document["sqlstate"], state.code());
            assert_eq!(document["status"], expected);
            assert_eq!((&document["detail"], &document["hint"]), (&json!("text"), &json!("do so")));
        }
    }

    #[test]
    fn every_state_has_a_status_of_an_error() {
        for state in SqlState::ALL {
            let status = status(*state).as_u16();
            assert!((400..600).contains(&status), "{state:?}: {status}");
        }
    }
}
