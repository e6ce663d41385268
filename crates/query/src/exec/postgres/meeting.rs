//! The type that values of several types meet as, in a comparison or a choice, where DataFusion would take another.
//!
//! What a date or a timestamp is as a timestamptz depends on the session's time zone; DataFusion's coercion takes UTC.

use arrow::datatypes::{DataType, TimeUnit};
use perigee_types::SqlType;

use super::function::is_unknown;
use super::numeric;

/// The type that values of these types are compared as; `None` where DataFusion takes PostgreSQL's, or where there is none.
pub(super) fn compared<'a>(types: impl Iterator<Item = &'a DataType> + Clone) -> Option<SqlType> {
    numeric::common(types.clone()).or_else(|| zoned(types))
}

/// The type of a choice between values of these types; `None` as for [`compared`].
pub(super) fn chosen<'a>(types: impl Iterator<Item = &'a DataType> + Clone) -> Option<SqlType> {
    numeric::choice(types.clone()).or_else(|| zoned(types))
}

/// timestamptz where dates or timestamps stand beside it.
pub(super) fn zoned<'a>(types: impl Iterator<Item = &'a DataType> + Clone) -> Option<SqlType> {
    let mut known = types.filter(|ty| !is_unknown(ty));
    let meets = known.clone().any(is_zoned) && known.clone().any(is_unzoned);
    (meets && known.all(|ty| is_zoned(ty) || is_unzoned(ty))).then_some(SqlType::Timestamptz(None))
}

/// Whether values of a type are times only together with a time zone.
pub(super) fn is_unzoned(ty: &DataType) -> bool {
    matches!(ty, DataType::Date32 | DataType::Timestamp(_, None))
}

/// Whether a type is timestamptz; the seconds are enumerated types.
fn is_zoned(ty: &DataType) -> bool {
    matches!(ty, DataType::Timestamp(unit, Some(_)) if *unit != TimeUnit::Second)
}
