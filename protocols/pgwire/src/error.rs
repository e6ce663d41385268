//! The engine's errors as ErrorResponse and NoticeResponse: the one place where they become bytes.

use std::io;

use perigee_engine::{Notice, Severity};
use perigee_types::{SqlError, SqlState};

use crate::backend;

/// What ends the handling of a message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The client is told; the connection goes on.
    #[error("{0}")]
    Sql(SqlError),
    /// The client is told, then the connection is closed.
    #[error("{0}")]
    Fatal(SqlError),
    /// The connection is gone.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Failure::Sql(error)
    }
}

/// Shorthand for the handling of messages.
pub(crate) type Handled<T> = Result<T, Failure>;

/// `08P01`
pub(crate) fn violation(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::ProtocolViolation, message)
}

/// `57P01` for a session that is ended from outside.
pub(crate) fn terminated() -> SqlError {
    SqlError::new(SqlState::AdminShutdown, "terminating connection due to administrator command")
}

/// Appends an ErrorResponse with the severity `ERROR` or `FATAL`.
pub(crate) fn write_error(out: &mut Vec<u8>, error: &SqlError, fatal: bool) {
    write_fields(out, b'E', if fatal { "FATAL" } else { "ERROR" }, error);
}

/// Appends a NoticeResponse.
pub(crate) fn write_notice(out: &mut Vec<u8>, notice: &Notice) {
    let severity = match notice.severity {
        Severity::Notice => "NOTICE",
        Severity::Warning => "WARNING",
        Severity::Info => "INFO",
    };
    write_fields(out, b'N', severity, &notice.error);
}

fn write_fields(out: &mut Vec<u8>, tag: u8, severity: &str, error: &SqlError) {
    let fields = error.fields();
    backend::message(out, tag, |out| {
        let mut field = |key: u8, text: &str| {
            out.push(key);
            backend::string(out, text);
        };
        // S may be translated, V is never; here they are the same.
        field(b'S', severity);
        field(b'V', severity);
        field(b'C', fields.state.code());
        field(b'M', &fields.message);
        let position = fields.position.map(|p| p.to_string());
        let optional = [
            (b'D', &fields.detail),
            (b'H', &fields.hint),
            (b'P', &position),
            (b'W', &fields.context),
            (b's', &fields.schema),
            (b't', &fields.table),
            (b'c', &fields.column),
            (b'n', &fields.constraint),
        ];
        for (key, text) in optional {
            if let Some(text) = text {
                field(key, text);
            }
        }
        out.push(0);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_all_its_fields() {
        let error = SqlError::new(SqlState::UniqueViolation, "duplicate\0key")
            .detail("Key (a)=(1) already exists.")
            .position(7)
            .table("public", "t")
            .constraint("t_pkey");
        let mut out = Vec::new();
        write_error(&mut out, &error, false);
        assert_eq!(out[0], b'E');
        assert_eq!(u32::from_be_bytes([out[1], out[2], out[3], out[4]]) as usize, out.len() - 1);
        let text = String::from_utf8_lossy(&out[5..]).into_owned();
        let fields: Vec<&str> = text.split('\0').collect();
        let want = [
            "SERROR",
            "VERROR",
            "C23505",
            "Mduplicate key",
            "DKey (a)=(1) already exists.",
            "P7",
            "spublic",
            "tt",
            "nt_pkey",
            "",
            "",
        ];
        assert_eq!(fields, want);
    }
}
