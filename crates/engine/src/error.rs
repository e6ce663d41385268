//! Storage's errors as clients see them.

use perigee_storage::store::StoreError;
use perigee_types::{SqlError, SqlState};

/// An error of storage below a statement. Damage is told as damage: it is never served.
pub(crate) fn storage(error: StoreError) -> SqlError {
    if let StoreError::Cold(error) = &error {
        return perigee_query::exec::error::cold_error(error);
    }
    tracing::error!(%error, "storage failed below a statement");
    SqlError::new(SqlState::DataCorrupted, error.to_string())
}
