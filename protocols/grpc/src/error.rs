//! The engine's errors as gRPC statuses, in this one place.

use perigee_types::{SqlError, SqlState};
use tonic::{Code, Status};

/// The status of an error. Its SQLSTATE goes along as metadata `sqlstate`.
pub(crate) fn status(error: &SqlError) -> Status {
    let mut status = Status::new(code(error.state()), error.message());
    if let Ok(state) = error.state().code().parse() {
        status.metadata_mut().insert("sqlstate", state);
    }
    status
}

fn code(state: SqlState) -> Code {
    match &state.code()[..2] {
        // Syntax, names, types, values.
        "42" if state == SqlState::UndefinedTable => Code::NotFound,
        "22" | "42" => Code::InvalidArgument,
        "28" => Code::Unauthenticated,
        "0A" => Code::Unimplemented,
        "40" => Code::Aborted,
        "53" => Code::ResourceExhausted,
        "55" => Code::FailedPrecondition,
        "57" if state == SqlState::QueryCanceled => Code::Cancelled,
        // Stopping, not leading, an outcome that is not known.
        "57" | "08" => Code::Unavailable,
        "58" | "XX" => Code::Internal,
        _ => Code::Unknown,
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
            (SqlState::SerializationFailure, Code::Aborted),
            (SqlState::DiskFull, Code::ResourceExhausted),
            (SqlState::CannotConnectNow, Code::Unavailable),
            (SqlState::QueryCanceled, Code::Cancelled),
            (SqlState::DataCorrupted, Code::Internal),
        ];
        for (state, expected) in cases {
            let status = status(&SqlError::new(state, "text"));
            assert_eq!(status.code(), expected, "{state:?}");
            assert_eq!(status.metadata().get("sqlstate").unwrap(), state.code());
        }
    }
}
