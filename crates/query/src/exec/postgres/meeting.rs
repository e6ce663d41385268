//! The type that values of several types meet as, in a comparison or a choice, where DataFusion would take another.
//!
//! What a date or a timestamp is as a timestamptz depends on the session's time zone; DataFusion's coercion takes UTC. And
//! Arrow's cast of a date to a timestamp knows no infinity.

use arrow::datatypes::{DataType, TimeUnit};
use perigee_types::SqlType;

use super::function::is_unknown;
use super::numeric;

/// The type that values of these types are compared as; `None` where DataFusion takes PostgreSQL's, or where there is none.
pub(super) fn compared<'a>(types: impl Iterator<Item = &'a DataType> + Clone) -> Option<SqlType> {
    numeric::common(types.clone()).or_else(|| times(types))
}

/// The type of a choice between values of these types; `None` as for [`compared`].
pub(super) fn chosen<'a>(types: impl Iterator<Item = &'a DataType> + Clone) -> Option<SqlType> {
    numeric::choice(types.clone()).or_else(|| times(types))
}

/// timestamptz where dates or timestamps stand beside it, timestamp where dates do: Arrow has no infinite date become an
/// infinite timestamp.
pub(super) fn times<'a>(types: impl Iterator<Item = &'a DataType> + Clone) -> Option<SqlType> {
    let known = types.filter(|ty| !is_unknown(ty));
    if !known.clone().all(|ty| is_zoned(ty) || is_unzoned(ty)) {
        return None;
    }
    let mut unzoned = known.clone().filter(|ty| is_unzoned(ty));
    let first = unzoned.next()?;
    if known.clone().any(is_zoned) {
        return Some(SqlType::Timestamptz(None));
    }
    unzoned.any(|ty| ty != first).then_some(SqlType::Timestamp(None))
}

/// Whether values of a type are times only together with a time zone.
pub(super) fn is_unzoned(ty: &DataType) -> bool {
    matches!(ty, DataType::Date32 | DataType::Timestamp(_, None))
}

/// Whether a type is timestamptz; the seconds are enumerated types.
fn is_zoned(ty: &DataType) -> bool {
    matches!(ty, DataType::Timestamp(unit, Some(_)) if *unit != TimeUnit::Second)
}
