//! What a continuous aggregate has not taken in yet: ranges of time that a plan gets when it is bound.
//!
//! In a plan a range's ends are scalar variables, as values of the session are: constant folding leaves them alone, filters
//! over them move down to scans, and the bound plan has literals there that leave out chunks.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;
use perigee_types::bucket::time_value;
use perigee_types::{Oid, SqlResult, SqlType, TableId};

use super::error::from_sql;
use super::view::SessionFacts;

/// How many ranges a plan has room for; what is between two that are made one is computed too.
pub const RANGES: usize = 4;

/// Ranges of microseconds since 1970, both ends included; those with the ends the wrong way round are empty.
pub type PendingRanges = [(i64, i64); RANGES];

/// A range without a time.
pub const NO_RANGE: (i64, i64) = (i64::MAX, i64::MIN);

/// Every time there is.
pub const ALL_RANGES: PendingRanges = [(i64::MIN, i64::MAX), NO_RANGE, NO_RANGE, NO_RANGE];

const NAME: &str = "@pending";

/// What continuous aggregates have not taken in, as a statement's snapshot sees it. The same for the whole statement.
pub trait Pending: Send + Sync {
    /// The ranges of a continuous aggregate in which its rows may not be what its query gives. Calls come from query
    /// threads and may block.
    ///
    /// # Errors
    /// Where the log cannot be read.
    fn ranges(&self, view: TableId) -> SqlResult<PendingRanges>;
}

/// Whether the time in `column` is in one of the ranges.
pub(crate) fn pending_filter(view: TableId, column: &Expr, ty: &SqlType) -> Expr {
    let end = |place: usize, end: &str| {
        let names = vec![NAME.to_owned(), view.0.to_string(), place.to_string(), end.to_owned()];
        Expr::ScalarVariable(Arc::new(ty.field(NAME, false)), names)
    };
    let within = (0..RANGES).map(|place| {
        let from = column.clone().gt_eq(end(place, "from"));
        from.and(column.clone().lt_eq(end(place, "to")))
    });
    within.reduce(Expr::or).unwrap_or_else(|| Expr::Literal(ScalarValue::Boolean(Some(false)), None))
}

/// The value of such an end; `None` where the names are another variable's.
pub(super) fn end(names: &[String], ty: &SqlType, facts: &SessionFacts) -> Result<Option<ScalarValue>> {
    let [name, view, place, end] = names else { return Ok(None) };
    let (Ok(view), Ok(place)) = (view.parse(), place.parse::<usize>()) else { return Ok(None) };
    if name != NAME || place >= RANGES {
        return Ok(None);
    }
    // Without anybody to ask the table itself is.
    let ranges = match &facts.pending {
        Some(pending) => pending.ranges(Oid(view)).map_err(from_sql)?,
        None => ALL_RANGES,
    };
    let (from, to) = ranges[place];
    super::scalar::scalar(&time_value(if end == "from" { from } else { to }, ty), &ty.arrow()).map(Some)
}
