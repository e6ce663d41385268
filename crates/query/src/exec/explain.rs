//! EXPLAIN: plans as text.

use std::sync::Arc;

use perigee_plan::Query;
use perigee_types::{SqlError, SqlResult, Value};

use super::runtime::QueryRuntime;
use super::view::ReadView;

/// What EXPLAIN shall show.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExplainOptions {
    /// Run the query; show rows and times.
    pub analyze: bool,
    /// Show columns too.
    pub verbose: bool,
}

impl QueryRuntime {
    /// The lines of EXPLAIN for a query.
    ///
    /// # Errors
    /// As running it.
    pub async fn explain(
        &self,
        query: &Query,
        parameters: &[Value],
        view: Arc<ReadView>,
        options: ExplainOptions,
    ) -> SqlResult<Vec<String>> {
        let _ = (query, parameters, view, options);
        Err(SqlError::unsupported("EXPLAIN"))
    }
}
