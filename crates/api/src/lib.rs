//! Package `perigee.v1` of gRPC: its messages, services and descriptors, and the client that `perigee admin` is. Knows nothing of the
//! server, so that who only asks does not build it.

pub mod client;

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
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/perigee.v1.bin");
