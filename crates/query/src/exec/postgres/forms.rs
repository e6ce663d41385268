//! Types of which equal values have several forms that Arrow tells apart: what their values compare by.

use datafusion::logical_expr::Expr;
use perigee_types::SqlType;

use super::operators::jsonb_key;
use super::{citext, ranges};

/// Whether equal values of a type, other than a number's, may be kept in several ways.
pub(super) fn has_key(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Citext | SqlType::Jsonb) || ranges::has_key(ty)
}

/// What a value of such a type compares by.
pub(super) fn key(value: Expr, ty: &SqlType) -> Expr {
    match ty {
        SqlType::Citext => citext::key(value),
        SqlType::Jsonb => jsonb_key(value),
        _ => ranges::key(value),
    }
}
