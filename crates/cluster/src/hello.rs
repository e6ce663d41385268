//! The first words between nodes, before there need be a cluster.

use perigee_consensus::Node;
use serde::{Deserialize, Serialize};

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Who it is.
    pub(crate) node: Node,
    /// Its cluster, 32 hexadecimal digits; zeroes for none yet.
    pub(crate) cluster: String,
    /// Whether its data directory has ever been a member's; `None` while it does not know yet.
    pub(crate) initialized: Option<bool>,
    /// The peers that it was told.
    pub(crate) peers: String,
    /// The last entry that a leader has attested and that it agrees on; 0 for none.
    #[serde(default)]
    pub(crate) attested: u64,
}

impl Hello {
    /// Its cluster, if it has one.
    pub(crate) fn cluster(&self) -> Option<u128> {
        u128::from_str_radix(&self.cluster, 16).ok().filter(|cluster| *cluster != 0)
    }
}
