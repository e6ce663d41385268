//! What an open transaction has changed and only its own reads see.

use std::collections::{HashMap, HashSet};

use perigee_types::{Oid, Row, TransactionId, Vid};

/// What an open transaction has changed, by storage oid. Reads put it over their snapshot.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    /// By storage oid.
    pub tables: HashMap<Oid, TableOverlay>,
    /// The name under which it has rows in the log that nobody else sees yet.
    pub staged: Option<TransactionId>,
}

/// What an open transaction has changed in one table.
#[derive(Clone, Debug, Default)]
pub struct TableOverlay {
    /// Row versions that it ended.
    pub ended: HashSet<Vid>,
    /// Rows that it appended and has not ended again: a local vid, and all live columns in table order.
    pub inserted: Vec<(Vid, Row)>,
}
