//! Where queries run: threads and memory of their own, so that a long scan delays nobody's point work.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::logical_expr::LogicalPlan;
use perigee_plan::Query;
use perigee_types::{Row, SqlError, SqlResult, Value};

use super::stream::BatchStream;
use super::view::ReadView;

/// What a [`QueryRuntime`] may use.
#[derive(Clone, Debug)]
pub struct QueryOptions {
    /// Threads; the machine's cores by default.
    pub threads: usize,
    /// Bytes that all queries together may hold.
    pub memory_bytes: usize,
    /// Where queries spill; emptied at start.
    pub spill_dir: PathBuf,
    /// Bytes that all queries together may spill.
    pub spill_bytes_max: u64,
}

/// Runs queries. One for the process.
#[derive(Debug)]
pub struct QueryRuntime {
    options: QueryOptions,
}

impl QueryRuntime {
    /// Starts the threads and empties the spill directory.
    ///
    /// # Errors
    /// Where threads or the spill directory cannot be had.
    pub fn new(options: QueryOptions) -> SqlResult<Arc<Self>> {
        Ok(Arc::new(Self { options }))
    }

    /// Starts a query. `parameters` are values of the types that planning found for `$1`, `$2`, …
    ///
    /// # Errors
    /// What binding and physical planning refuse; errors of running come through the stream.
    pub async fn run(&self, query: &Query, parameters: &[Value], view: Arc<ReadView>) -> SqlResult<BatchStream> {
        let _ = (query, parameters, view, &self.options);
        Err(SqlError::unsupported("running a query"))
    }

    /// Runs a query to its end and gives its rows.
    ///
    /// # Errors
    /// As [`Self::run`], and those of running.
    pub async fn fetch_rows(&self, query: &Query, parameters: &[Value], view: Arc<ReadView>) -> SqlResult<Vec<Row>> {
        let _ = self.run(query, parameters, view).await?;
        Ok(Vec::new())
    }

    /// Evaluates a RETURNING plan over the rows that a write made: the plan's one scan is
    /// [`perigee_plan::relational::RETURNING_TABLE`].
    ///
    /// # Errors
    /// As [`Self::run`], and those of running.
    pub async fn evaluate(
        &self,
        plan: &LogicalPlan,
        rows: RecordBatch,
        parameters: &[Value],
        view: Arc<ReadView>,
    ) -> SqlResult<Vec<RecordBatch>> {
        let _ = (plan, rows, parameters, view);
        Err(SqlError::unsupported("RETURNING"))
    }
}
