//! The log: an append-only, hash-chained sequence of records in segment files.
//!
//! It knows bytes and positions, not what they mean. One writer appends and syncs, many readers read; all calls take `&self`.
//!
//! ```text
//! append ─► frame (512-byte aligned, one pwrite) ─► sync (one fdatasync) ─► synced_index
//!                 │
//!                 └─► offsets + cache of recent records ─► read
//! ```
//!
//! Promises:
//! - A record that was synced is there after any crash, or [`Log::open`] fails with [`LogError::Damaged`]: nothing that was
//!   durable is ever skipped, cut or served with other bytes.
//! - What a crash left behind the last whole frame was never synced: it is cut and reported ([`TornTail`]).
//! - After a write or sync that failed every later call that writes fails ([`LogError::Poisoned`]).
//! - [`verify`] finds any change of records up to an [`Anchor`], also when all checksums were made to fit.
//!
//! The files are described byte by byte in `docs/formats/log.md`.

mod cache;
mod control;
mod cut;
mod error;
mod format;
mod log;
mod meta;
mod packed;
mod read;
mod record;
mod recovery;
mod scan;
mod sealed;
mod segment;
mod verify;

pub use error::LogError;
pub use log::Log;
pub use meta::{Meta, NodeIdentity, random_id};
pub use packed::{PackedError, pack, unpack};
pub use record::{Anchor, CHAIN_START, ChainHash, LogOptions, Record, Recovery, SEGMENT_BYTES, TornTail};
pub use verify::{VerifyReport, verify};
