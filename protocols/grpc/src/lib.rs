//! The gRPC door: the services of package `perigee.v1` ([`perigee_api`]), Arrow Flight SQL, health and reflection.
//!
//! A door converts, calls the engine and converts back; it holds no data and no rules. Who asks, statements in tasks of their own,
//! transactions, connections and the way to the leader are those of [`perigee_door`].
//!
//! ```text
//! server        what there is; who may ask
//!   sql           statements and transactions
//!     once        calls that come again are done once
//!   key_value, time_series  the keyspace, through its tables in SQL
//!   flight        Arrow Flight SQL
//!   admin         what operators ask
//!     tiers, schema, migration, diagnostics
//!     stream      results as streams of messages
//! ```
//!
//! - [`error`]: the engine's errors as statuses, in this one place
//! - [`value`]: values as messages, and back

mod admin;
mod caller;
mod diagnostics;
mod error;
mod flight;
mod key_value;
mod members;
mod migration;
mod once;
mod schema;
mod server;
mod sql;
mod stream;
mod tiers;
mod time_series;
mod value;

pub(crate) use perigee_api::v1;

pub use diagnostics::NodeFiles;
pub use error::detail;
pub use members::{Asking, ClusterChange, MemberHealth, Members, PingedMember};
pub use server::{GrpcOptions, server};
pub use value::text;
