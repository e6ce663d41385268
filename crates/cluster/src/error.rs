//! What goes wrong between members.

use std::net::SocketAddr;

/// Why a node cannot take part in its cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// `--peers` does not name this node.
    #[error(
        "the peers ({peers}) do not name this node, {name:?}: give the same list to all nodes, each of them included"
    )]
    NotAmongPeers {
        /// This node.
        name: String,
        /// The list.
        peers: String,
    },
    /// A member's address is not this machine's, and there are no certificates.
    #[error(
        "peer {name} is at {address}, which is not on loopback, and there are no cluster certificates: set \
         security.cluster_authority, security.cluster_certificate and security.cluster_key, or accept the risk with --insecure"
    )]
    Unprotected {
        /// The member.
        name: String,
        /// Its address.
        address: SocketAddr,
    },
    /// A member's address cannot be looked up.
    #[error("cannot resolve the address {address:?} of peer {name}: {reason}")]
    Unresolved {
        /// The member.
        name: String,
        /// As it was given.
        address: String,
        /// Why.
        reason: String,
    },
    /// Members say that they are of different clusters.
    #[error("the peers belong to different clusters: {0}")]
    Divided(String),
}
