//! DataFusion's errors as SQLSTATEs, in one place.

use datafusion::error::DataFusionError;
use perigee_types::{SqlError, SqlState};

/// Carries an error of ours through DataFusion; [`sql_error`] finds it again.
#[must_use]
pub fn from_sql(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The error for a client.
#[must_use]
pub fn sql_error(error: DataFusionError) -> SqlError {
    match error.find_root() {
        DataFusionError::External(inner) => match inner.downcast_ref::<SqlError>() {
            Some(ours) => ours.clone(),
            None => SqlError::internal(inner),
        },
        DataFusionError::ResourcesExhausted(message) => SqlError::new(SqlState::OutOfMemory, message.clone()),
        other => SqlError::internal(other.strip_backtrace()),
    }
}
