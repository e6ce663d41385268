//! The keyspace: Redis objects as a state machine over the log.
//!
//! ```text
//! door --- Burst ---> Keyspace::submit --- one entry for many bursts ---> log
//!   |                                                                      | committed
//!   | reads                                                                v
//!   +----> Reader over State  <---- replies, effects ----  Writer over State (apply, in log order)
//! ```
//!
//! A command is one function in one file under [`command`]: it parses its arguments, reads or changes objects, and gives a
//! [`Reply`]. Commands that write are logged as the client sent them and evaluated at apply, with the entry's time and
//! seed, so that every node comes to the same state. Commands that read run where they arrive, or, behind unapplied
//! writes of their own connection, at their place in the line.
//!
//! Knows no wire: replies are values, which `protocols/resp` writes as RESP2 or RESP3.

mod answers;
mod apply;
pub mod args;
pub mod command;
mod db;
mod draft;
mod effects;
mod error;
mod free;
#[cfg(test)]
mod fuzz;
pub mod glob;
mod growth;
mod labels;
mod line;
pub mod long_double;
mod made;
pub mod object;
mod payload;
mod permit;
pub mod persist;
mod propose;
mod random;
pub mod rdb;
mod reader;
mod reply;
mod room;
mod run;
pub mod scan;
pub mod script;
mod service;
mod small;
mod spec;
mod state;
pub mod twin;
mod unit;
mod waiters;
pub mod words;
mod writer;

pub use db::{Db, Due, Entry, Position};
pub use draft::{DRAFT_BYTES_MAX, Draft, DraftError, DraftKeys, DraftMark, Reading};
pub use effects::{Calls, Effects, EventClass, Notification, Observed};
pub use error::{Block, Error, Result, StorageFault};
pub use labels::{Indexed, LabelIndex, Matcher};
pub use line::Line;
pub use permit::{Denial, Grant, Permit, sort_reads_elsewhere};
pub use reader::{Context, Reader};
pub use reply::Reply;
pub use room::too_many_replies;
pub use run::{ColdKey, ColdObject, Load, Ran, run_command, run_read};
pub use script::ScriptStore;
pub use service::{Keyspace, Listener, Proposer, Started, SubmitError, Waiting};
pub use small::{Name, Short};
pub use spec::{Begin, Category, Find, Flags, Group, KeyFlags, KeySpec, Run, Spec};
pub use state::{DbId, IDEMPOTENCY_DB, MEMORY_BASE, Settings, State};
pub use unit::{Command, Refuse, Unit};
pub use waiters::{Waiter, Waiters};
pub use writer::Writer;
