//! The typed configuration of a node.
//!
//! Three layers make one [`Config`]: a TOML file, environment variables `PERIGEE_<SECTION>__<KEY>` and flags of the
//! command line; flags win over environment over file. Unknown sections and keys are errors, so a misspelt setting is
//! never a default. What several settings decide together is computed once: see [`MemoryPlan`] and [`Config::validate`].
//!
//! The annotated file is `config/perigee.toml`.

mod address;
mod duration;
mod error;
mod layers;
mod lenient;
mod memory;
mod networks;
mod peers;
mod secret;
mod settings;
mod size;
mod validate;

pub use address::Address;
pub use duration::Span;
pub use error::ConfigError;
pub use layers::Layers;
pub use memory::{MemoryPlan, available_memory};
pub use networks::Networks;
pub use peers::Peers;
pub use secret::Secret;
pub use settings::{
    Authentication, Config, Durability, GRPC_DEFAULT, Limits, Listen, Log, LogFormat, Memory, Node, Query,
    REST_DEFAULT, Security, Sessions, Storage, Telemetry,
};
pub use size::ByteSize;
