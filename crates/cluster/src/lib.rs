//! Members of a cluster to each other: gRPC over HTTP/2, with TLS on both sides, and how a cluster comes to be.
//!
//! ```text
//!   consensus --Transport--> client -- Hello | Call | Append --> server --PeerService--> consensus of another member
//!   keeper: who is there? form the cluster once, admit new incarnations
//! ```
//!
//! - [`Cluster`]: the handle: listens, finds or forms the cluster, keeps its members
//! - [`ClusterOptions`], [`Identity`]: who this node is and who the others are
//!
//! Each request says which protocol version, which cluster, and from which incarnation to which; what does not fit is refused before
//! it is read. Messages are bytes: what they mean is `consensus`'s.

mod cluster;
mod codec;
mod connect;
mod doors;
mod error;
mod header;
mod hello;
mod keeper;
mod link;
mod server;

#[cfg(test)]
mod tests;

pub use cluster::{Cluster, ClusterOptions, Identity};
pub use doors::Doors;
pub use error::ClusterError;
