//! Reads a table's chunks.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

use super::table::CatalogTable;

/// Plans a scan.
pub(super) fn plan(
    table: &CatalogTable,
    state: &dyn Session,
    projection: Option<&Vec<usize>>,
    filters: &[Expr],
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let _ = (table, state, projection, filters, limit);
    Err(DataFusionError::NotImplemented("scan".to_owned()))
}
