//! Reads a table's chunks.
//!
//! The chunks of one snapshot lie in one queue; each partition takes the next one when it is done with the last, so
//! that partitions end together. Filters that only name the table's columns are applied here, first to the chunks'
//! statistics, then to rows, and so are the dynamic filters that joins and top-k operators fill while they run.
//!
//! - [`exec`]: the operator
//! - [`reader`]: what one partition does
//! - [`prune`]: which chunks cannot hold a matching row
//! - [`cold`]: rows of files in the object store
//! - [`cut`]: small batches where memory is short
//! - [`ordered`]: all rows of some chunks in the order of a key, for who writes them elsewhere
//! - [`keyed`]: few rows through an index
//! - [`newest`]: LATEST ON through an index
//! - [`own`]: the rows of the statement's own transaction
//! - [`statistics`]: what the optimizer is told

mod cold;
mod cut;
mod exec;
mod keyed;
mod newest;
mod ordered;
mod own;
mod prune;
mod reader;
mod statistics;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use perigee_plan::relational::{TABLE_OID_COLUMN, VID_COLUMN};
use perigee_storage::table::{Begun, ChunkScan, TableScan};
use perigee_types::catalog::Table;
use perigee_types::{SqlError, SqlState, SqlType};

use cold::ColdPart;
pub(super) use exec::ScanExec;
use keyed::Keyed;
use newest::Newest;
use own::OwnRows;

use super::error::{from_sql, store_error};
use super::family;
use super::table::{CatalogTable, NewestOf, Shape};
use super::view::{ReadView, read_view};

/// Plans a scan of `table`, and of its partitions and of those that inherit from it, as the session's view shows them.
/// What no row for which all of `filters` are true can be in is left out.
pub(super) fn plan(
    table: &CatalogTable,
    state: &dyn Session,
    projection: Option<&Vec<usize>>,
    filters: &[Expr],
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let view = read_view(state)?;
    let root = table.table();
    let shape = table.shape();
    let width = table.schema().fields().len();
    let columns: Vec<usize> = projection.map_or_else(|| (0..width).collect(), Clone::clone);
    let partitions = state.config().target_partitions();
    if shape.only || !view.snapshot.catalog.has_children(root.oid) {
        return Ok(Arc::new(member(&view, root, root, shape, &columns, limit, partitions, table.newest())?));
    }
    if let Some(log) = &view.reads {
        // A partition that comes later is a change of these.
        for table in view.snapshot.catalog.family(root).iter().filter(|table| table.partitioning.is_some()) {
            log.scan_of(table);
        }
    }
    let members = family::members(&view.snapshot.catalog, root, filters)?;
    let each = partitions.div_ceil(members.len().max(1));
    let scans = members.iter().map(|child| {
        member(&view, root, child, shape, &columns, limit, each, table.newest())
            .map(|scan| Arc::new(scan) as Arc<dyn ExecutionPlan>)
    });
    let mut scans = scans.collect::<Result<Vec<_>>>()?;
    match (scans.len(), scans.pop()) {
        (1, Some(scan)) => Ok(scan),
        (_, Some(last)) => {
            scans.push(last);
            UnionExec::try_new(scans)
        }
        (_, None) => Ok(Arc::new(EmptyExec::new(Arc::new(table.schema().project(&columns)?)))),
    }
}

/// A scan of one table as `root`, which it belongs to, shows it. `columns` are places in the root's schema.
#[expect(clippy::too_many_arguments, reason = "what a scan is asked for, for one table of several")]
fn member(
    view: &ReadView,
    root: &Arc<Table>,
    table: &Arc<Table>,
    shape: Shape,
    columns: &[usize],
    limit: Option<usize>,
    partitions: usize,
    newest: Option<&NewestOf>,
) -> Result<ScanExec> {
    let (chunks, cold) = match view.snapshot.table(table.storage) {
        Some(store) => {
            let staged = view.overlay.as_ref().and_then(|overlay| overlay.staged);
            let scan = store.scan_begun(view.begun, view.snapshot.index, staged, Some(table));
            let cold = cold_part(view, &scan)?;
            (scan.chunks, cold)
        }
        // A table that its own transaction has just made has only what the overlay holds.
        None if view.snapshot.catalog.table(table.oid).is_some_and(|t| t.storage == table.storage) => {
            (Vec::new(), None)
        }
        None => return Err(gone(table)),
    };
    let own = match view.overlay.as_ref().and_then(|o| o.tables.get(&table.storage)) {
        Some(own) => Some(OwnRows::new(table, own)?),
        None => None,
    };
    let live = table.columns.len();
    let shown = shape.columns(root);
    let places = columns.iter().map(|column| match shown.get(*column) {
        Some(column) => table.column_position(&column.name).ok_or_else(|| gone(table)),
        // The hidden columns: the version, and behind it the table.
        None if shape.has_vid() && *column == shown.len() => Ok(live),
        None => Ok(live + 1),
    });
    let places = places.collect::<Result<Vec<_>>>()?;
    let as_root = |name: &str| root.column_position(name).and_then(|place| root.columns.get(place));
    let mut fields: Vec<_> = table
        .columns
        .iter()
        .map(|c| c.ty.field(c.name.clone(), !as_root(&c.name).is_some_and(|column| column.not_null)))
        .collect();
    fields.push(Field::new(VID_COLUMN, DataType::UInt64, false));
    fields.push(SqlType::Oid.field(TABLE_OID_COLUMN, false));
    let unique = view.snapshot.catalog.indexes_of(table).filter(|index| index.unique);
    let unique = unique.filter_map(|index| match index.columns.as_slice() {
        [number] => table.number_position(*number),
        _ => None,
    });
    // An index finds rows whenever they began.
    let whole = view.begun == Begun::EVER;
    Ok(ScanExec::new(exec::Source {
        table: Arc::clone(table),
        schema: Arc::new(Schema::new(fields)),
        unique: unique.collect(),
        chunks,
        cold,
        own,
        newest: newest.filter(|_| whole).and_then(|of| Newest::find(view, table, of)),
        keyed: whole.then(|| Keyed::find(view, table)).flatten(),
        read: view.reads.as_ref().map(|log| log.scan_of(table)),
        cancel: view.cancel.clone(),
    })
    .with_columns(places)
    .with_limit(limit)
    .with_partitions(partitions))
}

/// What of a scan is in files; `None` where no chunk is cold.
fn cold_part(view: &ReadView, scan: &TableScan) -> Result<Option<Arc<ColdPart>>> {
    if !scan.chunks.iter().any(ChunkScan::is_cold) {
        return Ok(None);
    }
    let store = view.snapshot.store().cold().map_err(|error| store_error(error.into()))?;
    Ok(ColdPart::of(&scan.chunks, &scan.manifests, store).map(Arc::new))
}

fn gone(table: &Table) -> DataFusionError {
    from_sql(SqlError::new(SqlState::UndefinedTable, format!("relation \"{}\" does not exist", table.name)))
}
