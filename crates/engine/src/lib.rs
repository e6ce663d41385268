//! Sessions, transactions, locks, authorization and the writing side of every statement: the one API that protocols call.
//!
//! ```text
//! door --> Session::{split, plan, execute, finish}
//!             |
//!             +-- point       one row by key, straight on storage
//!             +-- execute     queries through perigee-query
//!             +-- write       rows that a query yields (with: several such in one statement), copy: rows that a client sends
//!             |      `-- rows: locks, constraints --> write_set --> commit --> consensus --> machine --> storage
//!             `-- ddl         changes of the catalog, in the same write set
//! ```
//!
//! - [`api`]: what a door sees of a statement
//! - `api_key`: keys that prove roles; `audit`: what an auditor wants to know of
//! - [`backup`]: the archive of the log, base backups
//! - [`engine`]: what all sessions share; [`session`]: one client
//! - `planning`: plans that may take long, where they can be cancelled
//! - [`portal`]: bound statements and cursors; [`row_source`]: their rows
//! - `checks`, `foreign`, `conflict`: CHECK, foreign keys, ON CONFLICT
//! - `family`: partitions and tables that inherit, as one table to write to
//! - [`locks`]: the leader's lock table; [`write_set`]: what a transaction has not logged yet
//! - `serializable`: what a transaction has read, and whether it has changed since
//! - [`continuous`]: continuous aggregates, kept up to date over the feed
//! - [`exchange`]: results as Arrow for others
//! - `feed`: the change feed over this node's log; `notify`: LISTEN and NOTIFY over it
//! - `cold`: rows to the cold tier; `iceberg`: cold tables for others to read
//! - [`gaps`]: what clients ask for in vain; `idempotency`: requests that may come again
//! - [`machine`]: the state machine that consensus drives
//! - [`maintenance`]: checkpoints, eviction
//! - [`verify`]: whether log, catalog, rows and indexes agree
//! - [`settings`]: SET and SHOW; [`registry`]: who is connected

mod advisory;
pub mod api;
mod api_key;
mod audit;
pub mod backup;
mod checks;
mod cold;
mod commit;
pub mod compare;
mod conflict;
pub mod continuous;
mod copy;
mod copy_keys;
mod ddl;
mod deferred;
mod do_block;
pub mod elsewhere;
mod engine;
mod error;
pub mod exchange;
mod execute;
mod explain;
mod family;
mod feed;
mod foreign;
mod gaps;
mod iceberg;
mod idempotency;
mod identity;
mod keys;
mod keyspace;
mod large;
mod lock_order;
pub mod locks;
pub mod machine;
pub mod maintenance;
mod merge;
mod notify;
mod once;
mod planning;
mod point;
mod pointing_rows;
mod portal;
mod privileges;
mod queries;
mod redis_user;
pub mod registry;
pub mod retention;
mod row_locks;
mod row_source;
mod rows;
mod sequences;
mod serializable;
mod services;
pub mod session;
mod session_command;
mod session_settings;
mod session_statements;
mod session_told;
mod session_transaction;
pub mod settings;
mod shared_snapshots;
mod slow;
mod stage;
mod temporary;
mod traces;
mod transaction;
pub mod verify;
mod with;
mod write;
pub mod write_set;

use std::sync::Arc;

use perigee_plan::Prepared;
use perigee_types::Value;

pub use api::{
    Authentication, CommandTag, ConnectRequest, CopyIn, CopyOut, Notice, Outcome, RowBlock, RowStream, Severity,
    TransactionStatus,
};
pub use api_key::KeyHolder;
pub use copy::RefusedBatch;
pub use elsewhere::{Answers, CommitFate, Elsewhere, Foreign, NamedCommit, Place, SessionChanges, SessionDoor};
pub use engine::{Engine, EngineOptions};
pub use keyspace::KeyspaceLog;
pub use machine::{Divergence, Machine};
pub use notify::Inbox;
pub use once::WholeResult;
pub use perigee_query::pg_catalog::ObjectNames;
pub use portal::{Portal, PortalRun, SharedRows};
pub use redis_user::RedisUserError;
pub use row_source::RowSource;
pub use session::Session;

/// A statement that may run: planned, with values for the literals that planning lifted out of its text.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The plan.
    pub prepared: Arc<Prepared>,
    /// Values of the parameters that stand for literals of the text; empty where the client gives the parameters.
    pub literals: Vec<Value>,
}
