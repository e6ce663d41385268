//! Rows of a transaction that is too large for one entry: they go into the log as they come, hidden.
//!
//! ```text
//!   Stage, Stage, Stage, ...   Transaction { staged }     rows become visible at its index
//!                        ...   Abort                      rows are dropped; so are they with the term
//! ```
//!
//! An entry that is too large even for one row goes in pieces: see [`crate::large`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use perigee_consensus::Proposal;
use perigee_storage::entry::{Entry, OldRow, PIECE_BYTES, PieceEnd, RowBlock, TableChange, pieces};
use perigee_types::catalog::{Catalog, Table};
use perigee_types::{LogIndex, Oid, SqlError, SqlResult, Term, TransactionId};

use crate::engine::Engine;
use crate::large::Unfinished;
use crate::locks::Holder;

/// Bytes of rows in one entry, about: below the limit of an entry with room for what is around them.
pub(crate) const STAGE_BYTES: usize = 700 << 10;

/// Row versions that end in one entry.
const ENDED_MAX: usize = 4_096;

/// Entries that may wait for the log at once.
const IN_FLIGHT_MAX: usize = 8;

/// The staged part of a transaction.
pub(crate) struct Staging {
    pub(crate) id: TransactionId,
    term: Term,
    part: u32,
    /// Tables with staged rows.
    rows_of: BTreeSet<Oid>,
    in_flight: VecDeque<Proposal>,
    /// Rows pushed so far, by storage.
    rows: BTreeMap<Oid, u64>,
    /// The first entry that is known to hold a part.
    first: Option<LogIndex>,
    /// A part did not come into the log.
    broken: bool,
}

impl Staging {
    pub(crate) fn new(holder: Holder, term: Term) -> Self {
        Self {
            id: TransactionId(holder.0),
            term,
            part: 0,
            rows_of: BTreeSet::new(),
            in_flight: VecDeque::new(),
            rows: BTreeMap::new(),
            first: None,
            broken: false,
        }
    }

    /// The first entry of the log that holds a part of it; `None` where there is none. Settle before.
    pub(crate) fn first(&self) -> Option<LogIndex> {
        self.first
    }

    /// Whether a part did not come into the log: nobody knows any more which of the rows are there.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether rows of the table are staged.
    pub(crate) fn has_rows_of(&self, table: Oid) -> bool {
        self.rows_of.contains(&table)
    }

    /// The tables with staged rows.
    pub(crate) fn tables_with_rows(&self) -> impl Iterator<Item = Oid> {
        self.rows_of.iter().copied()
    }

    /// Rows pushed so far, by storage.
    pub(crate) fn rows(&self) -> &BTreeMap<Oid, u64> {
        &self.rows
    }

    /// Makes a table that only this transaction knows, or its new columns in one that is there, so that its rows have a
    /// place.
    pub(crate) async fn table(&mut self, engine: &Arc<Engine>, table: &Arc<Table>, catalog: &Catalog) -> SqlResult<()> {
        if engine.store.table(table.storage).is_some_and(|store| store.knows(table)) {
            return Ok(());
        }
        let entry = Entry::StageTable {
            transaction: self.id,
            table: table.clone(),
            indexes: catalog.indexes_of(table).cloned().collect(),
        };
        self.propose(engine, entry).await?;
        // Rows are checked against the table's indexes, so it must be there.
        self.settle().await
    }

    /// Sends rows to the log. Waits only when too many entries are on their way.
    pub(crate) async fn push(&mut self, engine: &Arc<Engine>, table: Oid, change: TableChange) -> SqlResult<()> {
        self.rows_of.insert(table);
        for change in split(change) {
            engine.wait_for_memory().await;
            let (storage, rows) = (change.storage, change.rows.len() as u64);
            let entry = Entry::Stage { transaction: self.id, part: self.part, changes: vec![change] };
            self.propose(engine, entry).await?;
            *self.rows.entry(storage).or_default() += rows;
        }
        Ok(())
    }

    async fn propose(&mut self, engine: &Arc<Engine>, entry: Entry) -> SqlResult<()> {
        let payload = entry.encode();
        if payload.len() <= PIECE_BYTES {
            return self.send(engine, payload).await;
        }
        drop(entry);
        let (last, mut unfinished) = self.all_but_last(engine, payload, PieceEnd::Stage).await?;
        self.send(engine, last).await?;
        self.settle().await?;
        unfinished.ended();
        Ok(())
    }

    /// Sends an entry that is too large for one, but for its last piece. Until that is on its way the entry is unfinished.
    ///
    /// # Errors
    /// `54000` for an entry that is larger than any may be; what the log gives.
    pub(crate) async fn all_but_last<'e>(
        &mut self,
        engine: &'e Arc<Engine>,
        payload: Bytes,
        end: PieceEnd,
    ) -> SqlResult<(Bytes, Unfinished<'e>)> {
        let unfinished = Unfinished::begin(engine, self.term, self.id, payload.len()).await?;
        for piece in pieces(self.id, &payload, end) {
            let bytes = piece.encode();
            if matches!(piece, Entry::Piece { end: PieceEnd::More, .. }) {
                engine.wait_for_memory().await;
                self.send(engine, bytes).await?;
            } else {
                self.settle().await?;
                return Ok((bytes, unfinished));
            }
        }
        Err(SqlError::internal("an entry without a last piece"))
    }

    /// Makes sure that the log knows the transaction; the first entry that does.
    pub(crate) async fn begin(&mut self, engine: &Arc<Engine>) -> SqlResult<LogIndex> {
        if self.part == 0 {
            let nothing = Entry::Stage { transaction: self.id, part: 0, changes: Vec::new() };
            self.send(engine, nothing.encode()).await?;
        }
        self.settle().await?;
        self.first.ok_or_else(|| SqlError::internal("no part of the transaction is in the log"))
    }

    async fn send(&mut self, engine: &Arc<Engine>, payload: Bytes) -> SqlResult<()> {
        while self.in_flight.len() >= IN_FLIGHT_MAX {
            self.wait_for_one().await?;
        }
        self.part += 1;
        self.in_flight.push_back(engine.consensus.propose(self.term, payload));
        Ok(())
    }

    async fn wait_for_one(&mut self) -> SqlResult<()> {
        match self.in_flight.pop_front() {
            Some(proposal) => {
                let outcome = crate::engine::outcome(proposal.await);
                self.broken |= outcome.is_err();
                self.first.get_or_insert(outcome?.0);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Parts sent so far; pieces and tables count as parts.
    pub(crate) fn parts(&self) -> u32 {
        self.part
    }

    /// How many parts, from the first, are known to be applied here.
    pub(crate) fn applied_parts(&self) -> u32 {
        self.part.saturating_sub(self.in_flight.len() as u32)
    }

    /// Waits until everything staged so far is applied here.
    pub(crate) async fn settle(&mut self) -> SqlResult<()> {
        while !self.in_flight.is_empty() {
            self.wait_for_one().await?;
        }
        Ok(())
    }

    /// Drops what was staged.
    pub(crate) async fn abort(mut self, engine: &Arc<Engine>) -> SqlResult<()> {
        // Whatever became of the parts: the abort comes behind them.
        while let Some(proposal) = self.in_flight.pop_front() {
            let _ = proposal.await;
        }
        if self.part == 0 {
            return Ok(());
        }
        engine.propose(self.term, &Entry::Abort { transaction: self.id }).await.map(|_| ())
    }
}

/// Cuts a change into pieces that fit an entry.
pub(crate) fn split(change: TableChange) -> Vec<TableChange> {
    let mut pieces = Vec::new();
    let TableChange { storage, columns, ended: all, rows } = change;
    let (mut ended, mut bytes) = (Vec::new(), 0);
    for row in all {
        let size = match &row.old {
            OldRow::Unknown => 0,
            OldRow::Key(values) | OldRow::Whole(values) => values.iter().map(perigee_types::Value::size_bytes).sum(),
        };
        if ended.len() >= ENDED_MAX || bytes + size > STAGE_BYTES && !ended.is_empty() {
            let part = std::mem::take(&mut ended);
            pieces.push(TableChange { storage, columns: columns.clone(), ended: part, rows: RowBlock::none() });
            bytes = 0;
        }
        bytes += size;
        ended.push(row);
    }
    // Rows fill an entry of their own where those that end are not few.
    if bytes > STAGE_BYTES / 4 && !rows.is_empty() {
        let part = std::mem::take(&mut ended);
        pieces.push(TableChange { storage, columns: columns.clone(), ended: part, rows: RowBlock::none() });
    }
    let mut blocks = split_rows(rows);
    let first = blocks.pop_front().unwrap_or_else(RowBlock::none);
    pieces.push(TableChange { storage, columns: columns.clone(), ended, rows: first });
    pieces.extend(blocks.into_iter().map(|rows| TableChange {
        storage,
        columns: columns.clone(),
        ended: vec![],
        rows,
    }));
    pieces
}

fn split_rows(rows: RowBlock) -> VecDeque<RowBlock> {
    let mut blocks = VecDeque::new();
    match rows {
        RowBlock::Rows(rows) => {
            let mut block = Vec::new();
            let mut bytes = 0;
            for row in rows {
                let size: usize = row.iter().map(perigee_types::Value::size_bytes).sum();
                if bytes + size > STAGE_BYTES && !block.is_empty() {
                    blocks.push_back(RowBlock::Rows(std::mem::take(&mut block)));
                    bytes = 0;
                }
                bytes += size;
                block.push(row);
            }
            if !block.is_empty() {
                blocks.push_back(RowBlock::Rows(block));
            }
        }
        RowBlock::Batch(batch) => {
            let rows = batch.num_rows();
            let bytes = batch_bytes(&batch);
            let count = bytes.div_ceil(STAGE_BYTES).max(1);
            let step = rows.div_ceil(count).max(1);
            let mut from = 0;
            while from < rows {
                let length = step.min(rows - from);
                let slice = batch.slice(from, length);
                from += length;
                // Rows of very different size: cut again where a slice is still too large.
                if length > 1 && batch_bytes(&slice) > STAGE_BYTES + (STAGE_BYTES >> 2) {
                    blocks.extend(split_rows(RowBlock::Batch(slice)));
                } else {
                    blocks.push_back(RowBlock::Batch(if count > 1 { compacted(&slice) } else { slice }));
                }
            }
        }
    }
    blocks
}

/// The batch with its own copy of its strings: a slice shares those of the whole, and would be logged with all of them.
fn compacted(batch: &RecordBatch) -> RecordBatch {
    use arrow::array::{Array, ArrayRef, AsArray};
    use arrow::datatypes::DataType;
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()) as ArrayRef,
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()) as ArrayRef,
            _ => Arc::clone(column),
        })
        .collect();
    RecordBatch::try_new(batch.schema(), columns).unwrap_or_else(|_| batch.clone())
}

/// Bytes of a batch's own values, without what its buffers hold besides.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> usize {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::DataType;
    batch
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Utf8View => {
                column.as_string_view().lengths().map(|n| n as usize + 4).sum::<usize>() + column.len() / 8
            }
            DataType::BinaryView => {
                column.as_binary_view().lengths().map(|n| n as usize + 4).sum::<usize>() + column.len() / 8
            }
            other => match other.primitive_width() {
                Some(width) => column.len() * width + column.len() / 8,
                None => column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size()),
            },
        })
        .sum()
}
