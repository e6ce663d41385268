//! LATEST ON: of a table with an index on the partition's columns and the time, only the newest rows are read. What comes
//! out is what an aggregate above takes the newest of again, so more rows than those never do harm: the transaction's own
//! rows, and those of cold files, come as in any scan.

use std::ops::Bound;
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, IsNotNullExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr, split_conjunction};
use perigee_storage::arrow_value::value_at;
use perigee_storage::table::{ChunkScan, NewestRequest, TableStore};
use perigee_types::catalog::{Catalog, Table};
use perigee_types::{IndexId, SqlType, Value, key};

use super::exec::ScanExec;
use crate::exec::postgres::CITEXT_KEY;
use crate::exec::table::NewestOf;
use crate::exec::view::ReadView;

/// Reading so many rows costs about what one leap through an index does.
const ROWS_PER_LEAP: usize = 256;
/// Leaps that a small table may take all the same.
const LEAPS_MIN: usize = 16;

/// The index through which the newest rows are found.
pub(in crate::exec) struct Newest {
    store: Arc<TableStore>,
    index: IndexId,
    pub(super) index_name: String,
    /// Places in the table's columns, in the index's order.
    partition: Vec<usize>,
    time: usize,
    /// WHERE says how new a row may be at most.
    bounded: bool,
    request_of: Snapshot,
}

struct Snapshot {
    at: perigee_types::LogIndex,
    staged: Option<perigee_types::TransactionId>,
}

impl Newest {
    /// `None` where no index of the table is of use.
    pub(super) fn find(view: &ReadView, table: &Table, of: &NewestOf) -> Option<Self> {
        let place = |name: &String| table.column_position(name);
        let wanted = of.partition.iter().map(place).collect::<Option<Vec<_>>>()?;
        let time = place(&of.time)?;
        let (index, partition) = index_of(&view.snapshot.catalog, table, &wanted, time)?;
        Some(Self {
            store: view.snapshot.table(table.storage)?,
            index: index.oid,
            index_name: index.name.clone(),
            partition,
            time,
            bounded: of.bounded,
            request_of: Snapshot {
                at: view.snapshot.index,
                staged: view.overlay.as_ref().and_then(|overlay| overlay.staged),
            },
        })
    }

    /// The newest rows under the filters of a scan, in order; `None` where all rows are to be read.
    pub(super) fn rows(&self, scan: &ScanExec) -> Option<Vec<u64>> {
        let request = self.request(scan)?;
        let own = scan.source.own.as_ref();
        let alive = |vid| own.is_none_or(|own| !own.has_ended(vid));
        // What cannot be read here cannot be read by the scan either, which says so.
        let mut vids: Vec<u64> = self.store.newest(&request, alive).ok()??.into_iter().map(|vid| vid.0).collect();
        vids.sort_unstable();
        Some(vids)
    }

    fn request(&self, scan: &ScanExec) -> Option<NewestRequest> {
        let table = &scan.source.table;
        let mut known: Vec<(usize, Value)> = Vec::new();
        let mut time_max: Option<Bound<Vec<u8>>> = None;
        for filter in scan.filters().iter().flat_map(split_conjunction) {
            let columns = places(scan, filter)?;
            if columns.iter().all(|place| self.partition.contains(place)) {
                if let Some((place, Operator::Eq, value)) = comparison(scan, filter)
                    && is_exact(&table.columns.get(place)?.ty)
                {
                    known.push((place, value));
                }
                continue;
            }
            if columns.iter().any(|place| *place != self.time) {
                return None;
            }
            if filter.is::<IsNotNullExpr>() || is_lower_bound(filter) {
                // If it is false for the newest row it is false for all others of the group.
                continue;
            }
            let (_, operator, value) = comparison(scan, filter)?;
            if !matches!(value, Value::Timestamp(_) | Value::Timestamptz(_) | Value::Date(_))
                && !matches!(value, Value::Int2(_) | Value::Int4(_) | Value::Int8(_))
            {
                return None;
            }
            let mut bytes = Vec::new();
            key::encode_value(&value, &mut bytes);
            let bound = match operator {
                Operator::Lt => Bound::Excluded(bytes),
                Operator::LtEq | Operator::Eq => Bound::Included(bytes),
                _ => return None,
            };
            time_max = Some(match time_max {
                Some(other) => stricter(other, bound),
                None => bound,
            });
        }
        if self.bounded && time_max.is_none() {
            // The bound stands above the scan: the newest row may not be one that it lets through.
            return None;
        }
        let mut prefix = Vec::new();
        for place in &self.partition {
            let Some((_, value)) = known.iter().find(|(known, _)| known == place) else { break };
            key::encode_value(value, &mut prefix);
        }
        let rows: usize = scan.source.chunks.iter().map(ChunkScan::rows_max).sum();
        Some(NewestRequest {
            index: self.index,
            group: self
                .partition
                .iter()
                .map(|place| Some(table.columns.get(*place)?.ty.clone()))
                .collect::<Option<_>>()?,
            prefix,
            time_max,
            at: self.request_of.at,
            staged: self.request_of.staged,
            leaps_max: rows / ROWS_PER_LEAP + LEAPS_MIN,
        })
    }
}

/// An index of whole columns that begins with those at `wanted`, in any order, and goes on with `time`; and that order.
fn index_of<'a>(
    catalog: &'a Catalog,
    table: &'a Table,
    wanted: &[usize],
    time: usize,
) -> Option<(&'a perigee_types::catalog::Index, Vec<usize>)> {
    catalog.indexes_of(table).find_map(|index| {
        let definition = &index.definition;
        if definition.predicate.is_some() || definition.keys.iter().any(|key| key.expression.is_some()) {
            return None;
        }
        let places: Option<Vec<usize>> = index.columns.iter().map(|number| table.number_position(*number)).collect();
        let places = places?;
        let is_folded = |place: &usize| table.columns.get(*place).is_none_or(|c| *c.ty.element() == SqlType::Citext);
        if places.iter().any(is_folded) {
            return None;
        }
        let leading = places.get(..wanted.len())?;
        let fits = wanted.iter().all(|place| leading.contains(place)) && leading.iter().all(|p| wanted.contains(p));
        (fits && places.get(wanted.len()) == Some(&time)).then(|| (index.as_ref(), leading.to_vec()))
    })
}

/// Those of sorted vids that a chunk may have.
pub(super) fn in_chunk<'a>(vids: &'a [u64], chunks: &[ChunkScan], at: usize) -> &'a [u64] {
    let begin = |at: usize| match chunks.get(at) {
        Some(chunk) => vids.partition_point(|vid| *vid < chunk.first_vid()),
        None => vids.len(),
    };
    let from = if at == 0 { 0 } else { begin(at) };
    vids.get(from..begin(at + 1)).unwrap_or_default()
}

/// Places in the table's columns of all that a filter names.
fn places(scan: &ScanExec, filter: &Arc<dyn PhysicalExpr>) -> Option<Vec<usize>> {
    let mut found = Some(Vec::new());
    let walked = filter.apply(|expr| {
        if let Some(column) = expr.downcast_ref::<Column>() {
            match (scan.columns.get(column.index()), &mut found) {
                (Some(place), Some(places)) => places.push(*place),
                _ => found = None,
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.ok()?;
    found
}

fn has_columns(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.exists(|expr| Ok(expr.is::<Column>())).unwrap_or(true)
}

/// `time > …`, `… <= time`, of something that is the same for all rows.
fn is_lower_bound(filter: &Arc<dyn PhysicalExpr>) -> bool {
    let Some(binary) = filter.downcast_ref::<BinaryExpr>() else { return false };
    match binary.op() {
        Operator::Gt | Operator::GtEq => binary.left().is::<Column>() && !has_columns(binary.right()),
        Operator::Lt | Operator::LtEq => binary.right().is::<Column>() && !has_columns(binary.left()),
        _ => false,
    }
}

/// A column, an operator and a constant of the column's type.
pub(super) fn comparison(scan: &ScanExec, filter: &Arc<dyn PhysicalExpr>) -> Option<(usize, Operator, Value)> {
    let binary = filter.downcast_ref::<BinaryExpr>()?;
    let (place, operator, constant) = match column_of(scan, binary.left()) {
        Some(place) => (place, *binary.op(), binary.right()),
        None => (column_of(scan, binary.right())?, binary.op().swap()?, binary.left()),
    };
    let constant = constant.downcast_ref::<Literal>()?.value();
    let known = scan.source.table.columns.get(place)?;
    if constant.is_null() || constant.data_type() != known.ty.arrow() {
        return None;
    }
    Some((place, operator, value_at(&constant.to_array().ok()?, 0, &known.ty)))
}

/// The place of the table's column that an expression is as keys have it: of citext its lower case.
pub(super) fn column_of(scan: &ScanExec, expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    let call = expr.downcast_ref::<ScalarFunctionExpr>().filter(|call| call.name() == CITEXT_KEY);
    let column = match call {
        Some(call) => call.args().first()?,
        None => expr,
    };
    let place = *scan.columns.get(column.downcast_ref::<Column>()?.index())?;
    let is_folded = scan.source.table.columns.get(place).is_some_and(|column| column.ty == SqlType::Citext);
    (is_folded == call.is_some()).then_some(place)
}

/// Whether two values of a type are equal only where their keys are the same.
fn is_exact(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Bool | SqlType::Int2 | SqlType::Int4 | SqlType::Int8 | SqlType::Oid | SqlType::Date)
        || matches!(
            ty,
            SqlType::Timestamp(_) | SqlType::Timestamptz(_) | SqlType::Uuid | SqlType::Text | SqlType::Varchar(_)
        )
}

fn stricter(a: Bound<Vec<u8>>, b: Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    match (&a, &b) {
        (Bound::Included(x) | Bound::Excluded(x), Bound::Included(y) | Bound::Excluded(y)) if x != y => {
            if x < y {
                a
            } else {
                b
            }
        }
        (Bound::Excluded(_), _) => a,
        _ => b,
    }
}
