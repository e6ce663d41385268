//! How long a table's rows stay, and where: the storage options `ttl`, `warm_retention` and `tier`.

use super::{Catalog, Table};
use crate::error::{SqlError, SqlResult, SqlState};
use crate::text::interval::parse_interval;

/// Option: rows end when they are so old. Their age counts from the entry that wrote them, in partitions of time from the
/// end of the partition.
pub const TTL: &str = "ttl";
/// Option: rows become cold when they are so old.
pub const WARM_RETENTION: &str = "warm_retention";
/// Option: `cold` is a warm retention of nothing, `warm` one without end.
pub const TIER: &str = "tier";

/// What the options of a table say, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// From which age on rows end.
    pub ttl: Option<u64>,
    /// From which age on rows become cold.
    pub warm: Option<u64>,
}

impl Retention {
    /// Reads one option, if it is one of these.
    ///
    /// # Errors
    /// `22023` for a value that it cannot have.
    pub fn check(name: &str, value: &str) -> SqlResult<bool> {
        match name {
            TTL | WARM_RETENTION => age(name, value).map(|_| true),
            TIER if ["cold", "warm"].contains(&value) => Ok(true),
            TIER => Err(invalid(name, value).detail("Valid values are \"cold\" and \"warm\".")),
            _ => Ok(false),
        }
    }

    /// What a table's own options say; a partition's are those of its parent where it has none itself.
    #[must_use]
    pub fn of(catalog: &Catalog, table: &Table) -> Self {
        let named = [TTL, WARM_RETENTION, TIER].iter().any(|name| table.options.contains_key(*name));
        let parent = table.parents.first().filter(|_| !named && table.is_partition());
        if let Some(parent) = parent.and_then(|parent| catalog.table(*parent)) {
            return Self::of(catalog, parent);
        }
        // What was checked when it was set.
        let read = |name: &str| table.options.get(name).and_then(|value| age(name, value).ok());
        let warm = match table.options.get(TIER).map(String::as_str) {
            Some("cold") => Some(0),
            Some(_) => None,
            None => read(WARM_RETENTION),
        };
        Self { ttl: read(TTL), warm }
    }
}

/// An interval as PostgreSQL reads it: `7d`, `90 minutes`; a number alone is seconds. In microseconds.
fn age(name: &str, value: &str) -> SqlResult<u64> {
    let interval =
        parse_interval(value).map_err(|_| invalid(name, value).hint("An interval, as \"7 days\" or \"12h\"."))?;
    let micros = u64::try_from(interval.approximate_micros()).ok().filter(|micros| *micros > 0);
    micros.ok_or_else(|| invalid(name, value).detail("It must be above zero."))
}

fn invalid(name: &str, value: &str) -> SqlError {
    SqlError::new(SqlState::InvalidParameterValue, format!("invalid value for option \"{name}\": \"{value}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_intervals_above_zero() {
        assert_eq!(age(TTL, "7d").unwrap(), 7 * 86_400_000_000);
        assert_eq!(age(TTL, "90").unwrap(), 90_000_000);
        assert_eq!(age(WARM_RETENTION, "1 month").unwrap(), 30 * 86_400_000_000);
        for value in ["", "soon", "0", "-1 day", "999999999999 years"] {
            assert_eq!(Retention::check(TTL, value).unwrap_err().state(), SqlState::InvalidParameterValue, "{value}");
        }
        assert!(Retention::check(TIER, "hot").is_err());
        assert!(!Retention::check("fillfactor", "70").unwrap());
    }
}
