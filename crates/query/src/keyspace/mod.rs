//! The keyspace as tables: schema `redis`, and `perigee.idempotency_keys`.
//!
//! A scan reads one moment of the keyspace, whatever is written meanwhile, some keys at a time; what its own transaction
//! has changed comes from that. What filters say of keys, labels and times is pushed down. Names and values that are not
//! UTF-8 are shown as `\x` and hexadecimal digits. Writes become commands: [`KeyTable`] turns rows into them.

mod exec;
mod filter;
mod rows;
#[cfg(test)]
mod tests;
mod write;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;
use perigee_types::catalog::READ_ALL_DATA;
use perigee_types::rights::Rights;
use perigee_types::{Oid, SqlError, SqlState, SqlType};

use crate::exec::ReadView;
use crate::exec::error::from_sql;
use exec::{KeyspaceExec, Parts};
use filter::Wanted;

pub use rows::KeyTable;
pub use write::{Arguments, Deleted, draft_error};

/// How many scans of a plan, those of its subqueries too, read the keyspace.
#[must_use]
pub fn scans_of(plan: &LogicalPlan) -> usize {
    let mut count = 0;
    // The closure never fails.
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            count += usize::from(crate::pg_catalog::reads_keys(&scan.source));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    count
}

/// What a scan is asked for.
pub(crate) struct Asked<'a> {
    pub(crate) projection: Option<&'a Vec<usize>>,
    pub(crate) filters: &'a [Expr],
    pub(crate) limit: Option<usize>,
}

/// Reads a table of schema `redis`: `columns` with their types.
///
/// # Errors
/// `42501` for who may not read it.
pub(crate) fn scan(
    view: &ReadView,
    state: &dyn Session,
    table: KeyTable,
    columns: &[SqlType],
    schema: &SchemaRef,
    asked: &Asked<'_>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let session = &view.session;
    let rights = Rights::of(&view.snapshot.catalog, session.role, session.tenant);
    if !rights.is_superuser() && !rights.is(READ_ALL_DATA) {
        let message = format!("permission denied for table {}", table.name());
        return Err(from_sql(SqlError::new(SqlState::InsufficientPrivilege, message)));
    }
    let places: Vec<usize> = asked.projection.cloned().unwrap_or_else(|| (0..columns.len()).collect());
    let shown = Arc::new(schema.project(&places)?);
    let parts = Parts {
        keyspace: session.services.as_ref().and_then(|services| services.keyspace()),
        tenant: Oid(session.tenant.0),
        table,
        columns: places.iter().filter_map(|at| columns.get(*at).cloned()).collect(),
        places,
        schema: shown,
        wanted: Wanted::of(asked.filters, state),
        // Rows are filtered again above.
        limit: asked.limit.filter(|_| asked.filters.is_empty()),
        draft: view.keys.as_ref().map(|keys| (Arc::clone(&keys.draft), keys.reading)),
    };
    Ok(Arc::new(KeyspaceExec::new(parts)))
}
