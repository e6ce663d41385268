//! Filters that an index knows: where the rows under them are few, only those are read.
//!
//! What the index gives is all that the filters can let through and perhaps more: they are applied to it as to any rows. It is
//! asked when the first partition starts, so what joins and top-k operators have found out by then counts as well.

use std::collections::HashMap;
use std::ops::{Bound, RangeBounds as _};
use std::sync::Arc;

use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, InListExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_expr_common::physical_expr::snapshot_physical_expr;
use perigee_storage::arrow_value::value_at;
use perigee_storage::table::{ChunkScan, TableStore};
use perigee_types::catalog::{Index, Table};
use perigee_types::{IndexId, LogIndex, SqlType, Value, Vid, key};

use super::exec::ScanExec;
use super::newest::{column_of, comparison};
use crate::exec::view::ReadView;

/// A table of fewer rows is read whole.
const ROWS_MIN: usize = 2_048;
/// Reading so many rows of a chunk costs about what finding one through an index does.
const ROWS_PER_FOUND: usize = 400;
/// Rows that are looked for at least, and at most.
const FOUND_MIN: usize = 256;
const FOUND_MAX: usize = 20_000;
/// Ranges of an index that are read for one scan.
const RANGES_MAX: usize = 256;

/// The indexes of a table through which its rows are found.
pub(in crate::exec) struct Keyed {
    store: Arc<TableStore>,
    at: LogIndex,
    paths: Vec<Path>,
}

struct Path {
    index: IndexId,
    name: String,
    /// Places in the table's columns, in the index's order.
    places: Vec<usize>,
}

/// Bounds of keys.
type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// What filters say of one column.
struct Known {
    equal: Option<Vec<Value>>,
    from: Bound<Value>,
    to: Bound<Value>,
}

impl Known {
    /// Of two lists the shorter one counts: the filters see to the rest.
    fn is_one_of(&mut self, values: Vec<Value>) {
        if self.equal.as_ref().is_none_or(|before| before.len() > values.len()) {
            self.equal = Some(values);
        }
    }
}

impl Default for Known {
    fn default() -> Self {
        Self { equal: None, from: Bound::Unbounded, to: Bound::Unbounded }
    }
}

impl Keyed {
    /// `None` where the table has no index that could be of use.
    pub(super) fn find(view: &ReadView, table: &Table) -> Option<Self> {
        if view.overlay.as_ref().is_some_and(|overlay| overlay.staged.is_some()) {
            // An index shows rows as all see them, not those that are staged.
            return None;
        }
        let path = |index: &Arc<Index>| {
            let definition = &index.definition;
            let plain = definition.predicate.is_none() && definition.keys.iter().all(|key| key.expression.is_none());
            let places = index.key_columns().iter().map_while(|number| {
                let place = table.number_position(*number)?;
                table.columns.get(place).is_some_and(|column| is_ordered(&column.ty)).then_some(place)
            });
            let places: Vec<usize> = places.collect();
            (plain && !places.is_empty()).then(|| Path { index: index.oid, name: index.name.clone(), places })
        };
        let paths: Vec<Path> = view.snapshot.catalog.indexes_of(table).filter_map(path).collect();
        if paths.is_empty() {
            return None;
        }
        Some(Self { store: view.snapshot.table(table.storage)?, at: view.snapshot.index, paths })
    }

    /// The name of the index that the filters of a plan ask for.
    pub(super) fn name(&self, scan: &ScanExec) -> Option<&str> {
        self.best(scan, &known(scan, scan.filters())).map(|path| path.name.as_str())
    }

    /// The rows that the filters can let through, in order; `None` where they are too many, or not known.
    pub(super) fn rows(&self, scan: &ScanExec) -> Option<Vec<u64>> {
        let mut known = known(scan, scan.filters());
        for hint in scan.hints().iter().filter_map(|hint| snapshot_physical_expr(Arc::clone(hint)).ok()) {
            for filter in split_conjunction(&hint) {
                // The range of a join's other side is mostly wide, and says nothing where it is not.
                if let Some((place, values)) = one_of(scan, filter) {
                    known.entry(place).or_default().is_one_of(values);
                }
            }
        }
        let path = self.best(scan, &known)?;
        let most = (rows(scan) / ROWS_PER_FOUND).clamp(FOUND_MIN, FOUND_MAX);
        if path.rows_at_least(scan, &known) > most {
            return None;
        }
        let own = scan.source.own.as_ref();
        let mut found = Vec::new();
        for (from, to) in path.ranges(&known)? {
            // An index that is not filled yet, or gone, is no reason to fail.
            let vids = self.store.range(path.index, from, to, self.at, false, most + 1 - found.len()).ok()?;
            found.extend(vids.into_iter().map(|vid| vid.0));
            if found.len() > most {
                return None;
            }
        }
        found.retain(|vid| own.is_none_or(|own| !own.has_ended(Vid(*vid))));
        found.sort_unstable();
        found.dedup();
        Some(found)
    }

    /// The index of which the filters fix most.
    fn best(&self, scan: &ScanExec, known: &HashMap<usize, Known>) -> Option<&Path> {
        if rows(scan) < ROWS_MIN {
            return None;
        }
        let rated = self.paths.iter().map(|path| (path.rating(known), path)).filter(|(rating, _)| *rating > 0);
        rated.max_by_key(|(rating, _)| *rating).map(|(_, path)| path)
    }
}

impl Path {
    /// How much filters fix: two for each leading column that has a value, one for a range behind those.
    fn rating(&self, known: &HashMap<usize, Known>) -> usize {
        let mut rating = 0;
        for place in &self.places {
            match known.get(place) {
                Some(Known { equal: Some(_), .. }) => rating += 2,
                Some(Known { from: Bound::Unbounded, to: Bound::Unbounded, .. }) | None => return rating,
                Some(_) => return rating + 1,
            }
        }
        rating
    }

    /// Rows that are surely in a range of the first column: those of chunks that lie in it whole.
    fn rows_at_least(&self, scan: &ScanExec, known: &HashMap<usize, Known>) -> usize {
        let (table, chunks) = (&scan.source.table, &scan.source.chunks);
        let first = self.places.first().and_then(|place| Some((known.get(place)?, table.columns.get(*place)?)));
        let Some((Known { equal: None, from, to }, column)) = first else { return 0 };
        let range = (bound(&[], from), bound(&[], to));
        let within = |value: &Value| !value.is_null() && range.contains(&with(&[], value));
        let inside = |chunk: &&ChunkScan| {
            chunk.stats(column.number).is_some_and(|stats| within(&stats.min) && within(&stats.max))
        };
        chunks.iter().filter(inside).map(ChunkScan::rows_max).sum()
    }

    /// Bounds of what is read; `None` where they are too many.
    fn ranges(&self, known: &HashMap<usize, Known>) -> Option<Vec<KeyRange>> {
        let mut prefixes = vec![Vec::new()];
        for place in &self.places {
            let Some(known) = known.get(place) else { break };
            let Some(values) = &known.equal else {
                let ranges = prefixes.iter().map(|prefix| (bound(prefix, &known.from), bound(prefix, &known.to)));
                return Some(ranges.collect());
            };
            if prefixes.len() * values.len() > RANGES_MAX {
                return None;
            }
            let longer = prefixes.iter().flat_map(|prefix| values.iter().map(move |value| with(prefix, value)));
            prefixes = longer.collect();
        }
        let all = |prefix: Vec<u8>| (Bound::Included(prefix.clone()), Bound::Included(prefix));
        Some(prefixes.into_iter().map(all).collect())
    }
}

fn with(prefix: &[u8], value: &Value) -> Vec<u8> {
    let mut longer = prefix.to_vec();
    key::encode_value(value, &mut longer);
    longer
}

/// A bound on a column as one on keys that begin with `prefix`.
fn bound(prefix: &[u8], value: &Bound<Value>) -> Bound<Vec<u8>> {
    match value {
        Bound::Included(value) => Bound::Included(with(prefix, value)),
        Bound::Excluded(value) => Bound::Excluded(with(prefix, value)),
        Bound::Unbounded if prefix.is_empty() => Bound::Unbounded,
        Bound::Unbounded => Bound::Included(prefix.to_vec()),
    }
}

/// Rows of a scan at most.
fn rows(scan: &ScanExec) -> usize {
    scan.source.chunks.iter().map(ChunkScan::rows_max).sum()
}

/// What filters say of the table's columns.
fn known(scan: &ScanExec, filters: &[Arc<dyn PhysicalExpr>]) -> HashMap<usize, Known> {
    let mut all: HashMap<usize, Known> = HashMap::new();
    for filter in filters.iter().flat_map(split_conjunction) {
        if let Some((place, values)) = one_of(scan, filter) {
            all.entry(place).or_default().is_one_of(values);
        } else if let Some((place, operator, value)) = comparison(scan, filter) {
            let known = all.entry(place).or_default();
            match operator {
                Operator::Gt => known.from = Bound::Excluded(value),
                Operator::GtEq => known.from = Bound::Included(value),
                Operator::Lt => known.to = Bound::Excluded(value),
                Operator::LtEq => known.to = Bound::Included(value),
                _ => {}
            }
        }
    }
    all
}

/// `c = 1`, `c IN (1, 2)`, `c = 1 OR c = 2`: a column and its values.
fn one_of(scan: &ScanExec, filter: &Arc<dyn PhysicalExpr>) -> Option<(usize, Vec<Value>)> {
    if let Some(list) = filter.downcast_ref::<InListExpr>() {
        let place = column_of(scan, list.expr())?;
        let ty = &scan.source.table.columns.get(place)?.ty;
        if list.negated() || list.list().len() > RANGES_MAX {
            return None;
        }
        // NULL is like no value.
        let literals = list.list().iter().map(|value| value.downcast_ref::<Literal>().map(Literal::value));
        let values = literals.filter(|value| value.is_none_or(|value| !value.is_null())).map(|value| {
            let value = value.filter(|value| value.data_type() == ty.arrow())?;
            Some(value_at(&value.to_array().ok()?, 0, ty))
        });
        return Some((place, values.collect::<Option<_>>()?));
    }
    if let Some(binary) = filter.downcast_ref::<BinaryExpr>()
        && *binary.op() == Operator::Or
    {
        let (left, mut values) = one_of(scan, binary.left())?;
        let (right, more) = one_of(scan, binary.right())?;
        values.extend(more);
        return (left == right && values.len() <= RANGES_MAX).then_some((left, values));
    }
    let (place, operator, value) = comparison(scan, filter)?;
    (operator == Operator::Eq).then(|| (place, vec![value]))
}

/// Whether the values of a type stand among their keys as comparisons have them, and equal ones have one key.
fn is_ordered(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Bool | SqlType::Int2 | SqlType::Int4 | SqlType::Int8 | SqlType::Oid | SqlType::Date)
        || matches!(ty, SqlType::Timestamp(_) | SqlType::Timestamptz(_) | SqlType::Uuid)
        || matches!(ty, SqlType::Text | SqlType::Varchar(_) | SqlType::Citext)
}
