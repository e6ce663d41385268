//! The gRPC door: package `perigee.v1`, health and reflection.
//!
//! A door converts, calls the engine and converts back. [`server`] listens, [`admin`] is the service of operators,
//! [`client`] is what `perigee admin` speaks. No roles guard it yet, so it listens on loopback only.

mod admin;
pub mod client;
mod error;
mod members;
mod server;

pub use members::{Changing, ClusterChange, Members};
pub use server::{GrpcServer, is_allowed};

/// Messages and services of `perigee.v1`, as the descriptors in `proto/` say.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated from the descriptors, which have the comments"
)]
#[path = "generated/perigee.v1.rs"]
pub mod v1;

/// The compiled descriptors, for reflection.
pub(crate) const DESCRIPTORS: &[u8] = include_bytes!("generated/perigee.v1.bin");
