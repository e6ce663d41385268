//! Entries that are too large for one of the log go there in pieces, which every node keeps until the last has come.
//!
//! ```text
//!   room for the whole -> piece, piece, ... -> the last piece      the entry is applied, and the room free again
//!                                    \--> given up               piece 0 without bytes: nodes keep nothing
//! ```

use bytes::Bytes;
use perigee_storage::budget::MemoryBudget;
use perigee_storage::entry::{Entry, PieceEnd};
use perigee_types::{SqlError, SqlResult, SqlState, Term, TransactionId};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::engine::Engine;

/// Bytes of the values of one row.
pub(crate) const ROW_BYTES_MAX: usize = 64 << 20;

/// Bytes of one entry: a row, or what ends a transaction (changes of the catalog, notifications, commands on keys).
const ENTRY_BYTES_MAX: usize = 80 << 20;

/// What nodes may keep of entries that are not whole, in all, however much memory they have.
const KEPT_BYTES_MAX: usize = 256 << 20;

/// In one permit of the room.
const PERMIT_BYTES: usize = 1 << 20;

/// Room for the pieces that nodes keep.
pub(crate) struct LargeEntries(Semaphore);

impl LargeEntries {
    /// Room for half of what sessions may take, but for one entry at least.
    pub(crate) fn new(budget: &MemoryBudget) -> Self {
        let share = usize::try_from(budget.session.limit() / 2).unwrap_or(usize::MAX);
        Self(Semaphore::new(share.clamp(ENTRY_BYTES_MAX, KEPT_BYTES_MAX) / PERMIT_BYTES))
    }
}

/// An entry on its way in pieces. Dropped before [`Unfinished::ended`], what nodes keep of it goes.
pub(crate) struct Unfinished<'a> {
    engine: &'a Engine,
    term: Term,
    transaction: TransactionId,
    is_ended: bool,
    _room: SemaphorePermit<'a>,
}

impl<'a> Unfinished<'a> {
    /// Waits for room for the pieces of an entry.
    ///
    /// # Errors
    /// `54000` for an entry that is larger than any may be.
    pub(crate) async fn begin(
        engine: &'a Engine,
        term: Term,
        transaction: TransactionId,
        bytes: usize,
    ) -> SqlResult<Self> {
        if bytes > ENTRY_BYTES_MAX {
            let text = format!("an entry of {bytes} bytes is above the limit of {ENTRY_BYTES_MAX}");
            return Err(SqlError::new(SqlState::ProgramLimitExceeded, text));
        }
        let permits = bytes.div_ceil(PERMIT_BYTES) as u32;
        let room = engine.large_entries.0.acquire_many(permits).await.map_err(SqlError::internal)?;
        Ok(Self { engine, term, transaction, is_ended: false, _room: room })
    }

    /// The last piece is whole, or on its way. The room is kept until this is dropped.
    pub(crate) fn ended(&mut self) {
        self.is_ended = true;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.is_ended {
            let (transaction, bytes) = (self.transaction, Bytes::new());
            let nothing = Entry::Piece { transaction, number: 0, end: PieceEnd::More, bytes };
            // Nobody waits for it. Where it is refused, the pieces go with the transaction.
            drop(self.engine.consensus.propose(self.term, nothing.encode()));
        }
    }
}

/// Refuses a row whose values have more bytes than any may.
///
/// # Errors
/// `54000`
pub(crate) fn check_row_bytes(bytes: usize) -> SqlResult<()> {
    if bytes <= ROW_BYTES_MAX {
        return Ok(());
    }
    let text = format!("row is too big: size {bytes}, maximum size {ROW_BYTES_MAX}");
    Err(SqlError::new(SqlState::ProgramLimitExceeded, text))
}
