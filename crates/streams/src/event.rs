//! What the feed delivers.

use std::fmt;
use std::sync::Arc;

use perigee_storage::entry::Notification;
use perigee_types::catalog::Table;
use perigee_types::{Hlc, LogIndex, Row, TableId};

/// A place in the feed: in front of one change.
///
/// Positions are ordered as the changes are and stay the same for ever, whoever asks and for which tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The entry of the log.
    pub index: LogIndex,
    /// The change in it: which part of the transaction in the upper half, which row of that in the lower.
    pub n: u64,
}

impl Position {
    /// In front of an entry.
    #[must_use]
    pub fn before(index: LogIndex) -> Self {
        Self { index, n: 0 }
    }

    /// Behind an entry.
    #[must_use]
    pub fn behind(index: LogIndex) -> Self {
        Self::before(LogIndex(index.0 + 1))
    }

    pub(crate) fn of(index: LogIndex, part: u32, row: u32) -> Self {
        Self { index, n: u64::from(part) << 32 | u64::from(row) }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.index, self.n)
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Where it stands.
    pub position: Position,
    /// When its transaction was committed.
    pub time: Hlc,
    /// What happened.
    pub change: Change,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A row began.
    Insert {
        /// Its table.
        table: TableId,
        /// Numbers of the columns that `new` has, in its order.
        columns: Arc<[u16]>,
        /// The row.
        new: Row,
    },
    /// A row took the place of another with the same primary key.
    Update {
        /// Its table.
        table: TableId,
        /// Numbers of the columns that `new` has, in its order.
        columns: Arc<[u16]>,
        /// What is known of the row before.
        old: OldValues,
        /// The row.
        new: Row,
    },
    /// A row ended.
    Delete {
        /// Its table.
        table: TableId,
        /// What is known of it.
        old: OldValues,
    },
    /// Rows of the table have changed and the log does not say which.
    Unknown {
        /// The table.
        table: TableId,
    },
    /// The table is defined like this from here on. With another `storage` than before all of its rows are gone.
    Table(Arc<Table>),
    /// The table is gone.
    Dropped {
        /// The table.
        table: TableId,
    },
    /// A message (NOTIFY).
    Notification(Notification),
}

/// What is known of a row that ended.
#[derive(Clone, Debug, PartialEq)]
pub struct OldValues {
    /// Numbers of the columns that `values` has, in its order: those of the primary key, or all.
    pub columns: Arc<[u16]>,
    /// Their values.
    pub values: Row,
    /// Whether they are the whole row.
    pub whole: bool,
}

impl Change {
    /// The table that it is about.
    #[must_use]
    pub fn table(&self) -> Option<TableId> {
        match self {
            Self::Insert { table, .. }
            | Self::Update { table, .. }
            | Self::Delete { table, .. }
            | Self::Unknown { table }
            | Self::Dropped { table } => Some(*table),
            Self::Table(table) => Some(table.oid),
            Self::Notification(_) => None,
        }
    }
}
