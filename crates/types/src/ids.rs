//! Ids and positions. Each is a type of its own so that an index is never passed for a count.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// Position of an entry in the log, from 1. Zero stands before the first entry.
    LogIndex(u64)
}
id! {
    /// Raft term.
    Term(u64)
}
id! {
    /// Persistent number of a catalog object, as PostgreSQL's oid. The first of a user's objects is 16384.
    Oid(u32)
}
id! {
    /// Number of a row version: per table, given out by apply in log order, never reused.
    Vid(u64)
}
id! {
    /// Number of a transaction on its leader; names its staged parts in the log.
    TransactionId(u64)
}
id! {
    /// A tenant: what PostgreSQL calls a database.
    TenantId(u32)
}

/// The oid of a table.
pub type TableId = Oid;
/// The oid of an index.
pub type IndexId = Oid;

impl LogIndex {
    /// The index behind this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Vid {
    /// Vids from here on name rows of an open transaction's own buffer; they never reach the log.
    pub const LOCAL_FIRST: Vid = Vid(1 << 63);

    /// Whether this vid names a row that is still in its transaction's buffer.
    #[must_use]
    pub fn is_local(self) -> bool {
        self >= Self::LOCAL_FIRST
    }
}

/// Hybrid logical time of an entry: microseconds since the Unix epoch in the upper 52 bits, a counter in the lower 12.
///
/// Never runs backwards along the log, whatever the clocks do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The smallest time at `micros` since the Unix epoch.
    #[must_use]
    pub fn from_micros(micros: u64) -> Self {
        Self(micros << 12)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub fn micros(self) -> u64 {
        self.0 >> 12
    }

    /// The time for an event that comes behind `self` when the clock reads `now_micros`.
    #[must_use]
    pub fn next(self, now_micros: u64) -> Self {
        Self((self.0 + 1).max(now_micros << 12))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hlc_never_runs_back() {
        let a = Hlc::from_micros(1_000);
        assert!(a.next(900) > a, "a clock that jumped back still moves on");
        assert_eq!(a.next(2_000).micros(), 2_000);
    }
}
