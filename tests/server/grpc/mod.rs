//! The gRPC door.

mod flight;
mod idempotency;
mod identity;
mod keys;
mod series;
mod sql;
mod transactions;

use perigee_testkit::Server;
use perigee_tests::options;

/// A node with the gRPC door open.
pub(crate) fn server() -> Server {
    options().with_grpc().start().unwrap()
}
