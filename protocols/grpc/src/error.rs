//! The engine's errors as gRPC statuses, in this one place.

use perigee_door::{LeaseError, Refusal};
use perigee_types::{SqlError, SqlState};
use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::v1;

/// The metadata that has the SQLSTATE.
const SQLSTATE: &str = "perigee-sqlstate";
/// Bytes of a text of a status: statuses travel in headers, whose size clients bound.
const TEXT_BYTES_MAX: usize = 1_024;

/// `google.rpc.Status`, which carries details.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// The status of an error. Its SQLSTATE goes along as metadata, and all that the error says as a detail.
pub(crate) fn status(error: &SqlError) -> Status {
    let fields = error.fields();
    let text = |text: &Option<String>| text.as_deref().map(short).unwrap_or_default();
    let detail = v1::ErrorDetail {
        sqlstate: fields.state.code().to_owned(),
        detail: text(&fields.detail),
        hint: text(&fields.hint),
        context: text(&fields.context),
        schema: text(&fields.schema),
        table: text(&fields.table),
        column: text(&fields.column),
        constraint: text(&fields.constraint),
        position: fields.position.unwrap_or_default(),
    };
    let (code, message) = (code(error.state()), short(error.message()));
    let detail =
        Any { type_url: "type.googleapis.com/perigee.v1.ErrorDetail".to_owned(), value: detail.encode_to_vec() };
    let details = RpcStatus { code: code as i32, message: message.clone(), details: vec![detail] }.encode_to_vec();
    let mut status = Status::with_details(code, message, details.into());
    status.metadata_mut().insert(SQLSTATE, MetadataValue::from_static(error.state().code()));
    status
}

/// What a status says of an error of SQL, as a client reads it.
#[must_use]
pub fn detail(status: &Status) -> Option<v1::ErrorDetail> {
    let told = RpcStatus::decode(status.details()).ok()?;
    told.details
        .iter()
        .find_map(|any| v1::ErrorDetail::decode(&*any.value).ok().filter(|told| !told.sqlstate.is_empty()))
}

/// The status of a request that got no session.
pub(crate) fn lease_status(error: &LeaseError) -> Status {
    match error {
        LeaseError::Sql(error) => status(error),
        LeaseError::Missing => Status::not_found(error.message()),
        LeaseError::Busy => Status::aborted(error.message()),
        LeaseError::Bad(message) => Status::invalid_argument(message),
    }
}

/// The status of a request that is nobody's, or one too many: `retry-after` says how many seconds to wait then.
pub(crate) fn refusal_status(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::Missing => {
            let message = format!("{}, as metadata `authorization`", refusal.message());
            status(&SqlError::new(SqlState::InvalidAuthorizationSpecification, message))
        }
        Refusal::Wrong => status(&SqlError::new(SqlState::InvalidAuthorizationSpecification, refusal.message())),
        Refusal::TooMany(wait) => {
            let mut status = Status::resource_exhausted(refusal.message());
            status.metadata_mut().insert("retry-after", MetadataValue::from(wait.as_secs() + 1));
            status
        }
    }
}

/// The begin of a text.
fn short(text: &str) -> String {
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or_default()].to_owned()
}

/// `ABORTED` says that the transaction may be tried again, `UNAVAILABLE` that the server may be.
fn code(state: SqlState) -> Code {
    match state {
        SqlState::UndefinedTable | SqlState::UndefinedObject | SqlState::InvalidCatalogName => Code::NotFound,
        SqlState::UniqueViolation
        | SqlState::DuplicateTable
        | SqlState::DuplicateObject
        | SqlState::DuplicateSchema
        | SqlState::DuplicateDatabase => Code::AlreadyExists,
        SqlState::InsufficientPrivilege | SqlState::ReadOnlySqlTransaction => Code::PermissionDenied,
        SqlState::ProtocolViolation => Code::InvalidArgument,
        SqlState::QueryCanceled => Code::Cancelled,
        SqlState::DataCorrupted => Code::DataLoss,
        // The outcome is not known: neither "not done" nor a retry is right.
        SqlState::TransactionResolutionUnknown => Code::Unknown,
        _ => match &state.code()[..2] {
            "22" | "42" => Code::InvalidArgument,
            "28" => Code::Unauthenticated,
            "0A" => Code::Unimplemented,
            "40" => Code::Aborted,
            "53" | "54" => Code::ResourceExhausted,
            "08" | "57" => Code::Unavailable,
            "58" | "XX" => Code::Internal,
            // What the data, or the state of the transaction, does not allow.
            _ => Code::FailedPrecondition,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_become_codes() {
        let cases = [
            (SqlState::UndefinedTable, Code::NotFound),
            (SqlState::SyntaxError, Code::InvalidArgument),
            (SqlState::ProtocolViolation, Code::InvalidArgument),
            (SqlState::InvalidTextRepresentation, Code::InvalidArgument),
            (SqlState::UniqueViolation, Code::AlreadyExists),
            (SqlState::NotNullViolation, Code::FailedPrecondition),
            (SqlState::InFailedSqlTransaction, Code::FailedPrecondition),
            (SqlState::InsufficientPrivilege, Code::PermissionDenied),
            (SqlState::FeatureNotSupported, Code::Unimplemented),
            (SqlState::SerializationFailure, Code::Aborted),
            (SqlState::TransactionResolutionUnknown, Code::Unknown),
            (SqlState::ProgramLimitExceeded, Code::ResourceExhausted),
            (SqlState::DiskFull, Code::ResourceExhausted),
            (SqlState::CannotConnectNow, Code::Unavailable),
            (SqlState::QueryCanceled, Code::Cancelled),
            (SqlState::DataCorrupted, Code::DataLoss),
        ];
        for (state, expected) in cases {
            let status = status(&SqlError::new(state, "text").hint("do so"));
            assert_eq!(status.code(), expected, "{state:?}");
            assert_eq!(status.metadata().get(SQLSTATE).unwrap(), state.code());
            let detail = detail(&status).unwrap();
            assert_eq!((detail.sqlstate.as_str(), detail.hint.as_str()), (state.code(), "do so"));
        }
    }

    #[test]
    fn every_state_is_an_error_and_texts_are_bounded() {
        for state in SqlState::ALL {
            assert_ne!(code(*state), Code::Ok, "{state:?}");
        }
        assert_eq!(short(&"ä".repeat(TEXT_BYTES_MAX)).len(), TEXT_BYTES_MAX);
        assert_eq!(short("x"), "x");
        assert_eq!(detail(&Status::internal("x")), None);
    }
}
