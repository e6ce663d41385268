//! What one entry of the log says about tables.
//!
//! An entry is the *result* of a transaction, never an expression: row versions to end, rows to append, catalog objects
//! to put. So applying it needs no clock, no randomness and no read.
//!
//! ```text
//! small transaction   Transaction { staged: None, changes }                  one entry
//! large transaction   Stage, Stage, Stage, Transaction { staged: Some(t) }   hidden rows, then one small entry
//!                                   ... or Abort, or the first entry of a later term
//! large entry         Piece, Piece, Piece                                    the entry, where the last of them stands
//! ```

mod batch;
mod codec;
mod error;
mod pieces;
#[cfg(test)]
mod tests;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use perigee_types::catalog::{CatalogChange, Index, Table};
use perigee_types::{LogIndex, Oid, Row, TransactionId, Vid};

use crate::cold::Manifest;
use std::sync::Arc;

pub use codec::{SchemaOf, commits, notifies};
pub use error::EntryError;
pub use pieces::{PIECE_BYTES, PieceEnd, Pieces, pieces};

/// Rows from which an entry carries them as Arrow rather than one by one.
pub const BATCH_ROWS_MIN: usize = 1_024;

/// One entry of the log, as storage applies it.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A whole transaction, or the end of a staged one.
    Transaction(Transaction),
    /// Part of a transaction that is too large for one entry: its rows stay hidden.
    Stage {
        /// Whose rows they are.
        transaction: TransactionId,
        /// Counts the parts from 0.
        part: u32,
        /// What it changes.
        changes: Vec<TableChange>,
    },
    /// A new table that only its staged transaction knows until it commits (CREATE TABLE AS, rewrites); or one that is
    /// there, with columns that the transaction has added.
    StageTable {
        /// Whose table it is.
        transaction: TransactionId,
        /// The table; its `storage` is new.
        table: Arc<Table>,
        /// Its indexes.
        indexes: Vec<Arc<Index>>,
    },
    /// Part of the bytes of an entry that is too large for one: see [`Pieces`].
    Piece {
        /// Whose entry it is.
        transaction: TransactionId,
        /// Counts the pieces of one entry from 0.
        number: u32,
        /// What comes behind it.
        end: PieceEnd,
        /// What follows the bytes of the piece before.
        bytes: Bytes,
    },
    /// Drops what a transaction staged.
    Abort {
        /// Whose rows go.
        transaction: TransactionId,
    },
    /// What is applied beside the tables: see [`crate::companion`].
    Companion(Bytes),
    /// Files in the object store hold rows of a table. Changes nothing that a query returns.
    Manifest {
        /// `catalog::Table::storage`; one that is gone has no use for it.
        storage: Oid,
        /// The files.
        manifest: Manifest,
    },
    /// What the leader holds to be true at `index`; changes nothing.
    Attest {
        /// The index that is attested.
        index: LogIndex,
        /// Chain hash of the record at `index`.
        chain_hash: [u8; 32],
        /// Running digest of all outcomes through `index`.
        digest: [u8; 32],
    },
}

/// A transaction. Catalog changes come first, then rows, then sequences.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transaction {
    /// The staged parts that become visible with it.
    pub staged: Option<TransactionId>,
    /// Where the first of them stands in the log, for who reads the log from its end; zero without.
    pub staged_from: LogIndex,
    /// Rows, by table.
    pub changes: Vec<TableChange>,
    /// Catalog objects.
    pub catalog: Vec<CatalogChange>,
    /// Sequences.
    pub sequences: Vec<SequenceChange>,
    /// What it tells those who listen (NOTIFY). Changes nothing.
    pub notifications: Vec<Notification>,
    /// What it does beside the tables, and what it depends on there; empty for nothing. Where that has changed the whole
    /// transaction has no effect: see [`crate::companion::Companion::apply_in_transaction`].
    pub companion: Bytes,
}

/// A message to whoever listens to a channel when the transaction commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The channel.
    pub channel: String,
    /// The text that goes with it.
    pub payload: String,
    /// `pg_backend_pid()` of the session that sent it.
    pub process_id: i32,
}

/// Rows of one table that end, and rows that begin. An UPDATE is both.
#[derive(Clone, Debug, PartialEq)]
pub struct TableChange {
    /// `catalog::Table::storage`.
    pub storage: Oid,
    /// Numbers of the columns that `rows` has, in its order.
    pub columns: Vec<u16>,
    /// Row versions that end.
    pub ended: Vec<EndedRow>,
    /// Rows that begin.
    pub rows: RowBlock,
}

/// A row version that ends, and what names it to the change feed.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedRow {
    /// The row version.
    pub vid: Vid,
    /// What was in it.
    pub old: OldRow,
}

/// What an entry says of a row version that ends.
#[derive(Clone, Debug, PartialEq)]
pub enum OldRow {
    /// Nothing: the same transaction had staged it.
    Unknown,
    /// The columns of its primary key, in the key's order.
    Key(Row),
    /// All of `TableChange::columns`: the table has no primary key, or somebody asks for whole old rows.
    Whole(Row),
}

/// Rows, one by one or as Arrow.
#[derive(Clone, Debug, PartialEq)]
pub enum RowBlock {
    /// One by one.
    Rows(Vec<Row>),
    /// As Arrow: one column for each of `TableChange::columns`, of its `SqlType::arrow()`. Names do not matter.
    Batch(RecordBatch),
}

impl RowBlock {
    /// No rows.
    #[must_use]
    pub fn none() -> Self {
        RowBlock::Rows(Vec::new())
    }

    /// Count of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            RowBlock::Rows(rows) => rows.len(),
            RowBlock::Batch(batch) => batch.num_rows(),
        }
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where a sequence stands from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceChange {
    /// The sequence.
    pub sequence: Oid,
    /// The next value that has not been handed out.
    pub next: i64,
    /// Whether `nextval` was ever called.
    pub called: bool,
}
