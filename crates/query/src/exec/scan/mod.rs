//! Reads a table's chunks.
//!
//! The chunks of one snapshot lie in one queue; each partition takes the next one when it is done with the last, so
//! that partitions end together. Filters that only name the table's columns are applied here, first to the chunks'
//! statistics, then to rows, and so are the dynamic filters that joins and top-k operators fill while they run.
//!
//! - [`exec`]: the operator
//! - [`reader`]: what one partition does
//! - [`prune`]: which chunks cannot hold a matching row
//! - [`cut`]: small batches where memory is short
//! - [`own`]: the rows of the statement's own transaction
//! - [`statistics`]: what the optimizer is told

mod cut;
mod exec;
mod own;
mod prune;
mod reader;
mod statistics;

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use perigee_types::{SqlError, SqlState};

pub(super) use exec::ScanExec;
use own::OwnRows;

use super::error::from_sql;
use super::table::CatalogTable;
use super::view::read_view;

/// Plans a scan of `table` as the session's view shows it.
pub(super) fn plan(
    table: &CatalogTable,
    state: &dyn Session,
    projection: Option<&Vec<usize>>,
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let view = read_view(state)?;
    let catalog_table = table.table();
    let chunks = match view.snapshot.table(catalog_table.storage) {
        Some(store) => {
            let staged = view.overlay.as_ref().and_then(|overlay| overlay.staged);
            store.scan_as(view.snapshot.index, staged, Some(catalog_table)).chunks
        }
        // A table that its own transaction has just made has only what the overlay holds.
        None if view.snapshot.catalog.table(catalog_table.oid).is_some_and(|t| t.storage == catalog_table.storage) => {
            Vec::new()
        }
        None => {
            return Err(from_sql(SqlError::new(
                SqlState::UndefinedTable,
                format!("relation \"{}\" does not exist", catalog_table.name),
            )));
        }
    };
    let own = match view.overlay.as_ref().and_then(|o| o.tables.get(&catalog_table.storage)) {
        Some(own) => Some(OwnRows::new(catalog_table, own)?),
        None => None,
    };
    let columns = match projection {
        Some(projection) => projection.clone(),
        None => (0..table.full_schema().fields().len()).collect(),
    };
    let scan = ScanExec::new(exec::Source {
        table: Arc::clone(catalog_table),
        schema: Arc::clone(table.full_schema()),
        unique: table.unique_columns(),
        chunks,
        own,
        read: view.reads.as_ref().map(|log| log.scan_of(catalog_table)),
        cancel: view.cancel.clone(),
    })
    .with_columns(columns)
    .with_limit(limit)
    .with_partitions(state.config().target_partitions());
    Ok(Arc::new(scan))
}
