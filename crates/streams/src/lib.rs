//! The change feed: what committed transactions have changed, row by row, in the order of the log.
//!
//! The log is the feed: nothing is written, copied or queued for it. Who follows it *pulls*, so a slow consumer costs no
//! memory, and one that is away costs what `log.feed_retention` keeps on disk. Below the first entry that is kept a
//! consumer gets [`FeedError::Gone`] with the first position that it can go on from, never a gap.
//!
//! ```text
//!   log:   .. | Transaction | Stage | Stage | Transaction { staged } | ..
//!                   |            \______________/|
//!   feed:      (index, n) ..               (index, n) ..      positions never change, so a consumer may keep one
//! ```
//!
//! - [`feed`]: [`Feed`] and its [`Cursor`]s
//! - [`event`]: positions and changes
//! - [`source`]: the log as the feed reads it
//!
//! What consumers have to know:
//! - Changes of one transaction share an index and come together in order; rows that ended come before rows that began, by table.
//! - Rows of a table that has been dropped or emptied since may be left out: the [`Change::Table`] or [`Change::Dropped`]
//!   that says so comes.
//! - A transaction that took back rows which were already in the log gives [`Change::Unknown`]: read the table anew.

pub mod event;
pub mod feed;
pub mod source;

pub use event::{Change, Event, OldValues, Position};
pub use feed::{Batch, Cursor, Feed, FeedError, Wanted};
pub use source::{CommittedLog, LoggedEntry};
