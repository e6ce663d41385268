//! Reading the feed.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use perigee_storage::arrow_value::batch_to_rows;
use perigee_storage::entry::{self, EndedRow, Entry, OldRow, PieceEnd, Pieces, RowBlock, TableChange, Transaction};
use perigee_storage::store::Store;
use perigee_types::catalog::{Catalog, CatalogChange, Object, Table};
use perigee_types::{LogIndex, Oid, Row, TableId, TransactionId, key};
use rustc_hash::FxHashMap;

use crate::event::{Change, Event, OldValues, Position};
use crate::source::{CommittedLog, LoggedEntry};

/// Entries that are looked at before a cursor gives what it has, so that who reads can stop it.
const ENTRIES_MAX: usize = 4_096;

/// Bytes of the log that are read at once for the pieces of an entry.
const PIECES_BYTES: usize = 4 << 20;

/// Why the feed gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The log was cut: begin anew (read the tables) and go on from `first`.
    #[error("the change feed begins at {first}: what was before is no longer kept")]
    Gone {
        /// The first position that is kept.
        first: Position,
    },
    /// The log cannot be read.
    #[error("the log cannot be read: {0}")]
    Log(String),
    /// An entry cannot be read.
    #[error("entry {index} cannot be read: {error}")]
    Entry {
        /// The entry.
        index: LogIndex,
        /// What is wrong with it.
        error: entry::EntryError,
    },
}

/// What a consumer wants to know.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Changes of these tables; of all with `None`.
    pub tables: Option<BTreeSet<TableId>>,
    /// Messages too.
    pub notifications: bool,
}

impl Wanted {
    /// The changes of one table.
    #[must_use]
    pub fn table(table: TableId) -> Self {
        Self { tables: Some(BTreeSet::from([table])), notifications: false }
    }

    /// Messages only.
    #[must_use]
    pub fn notifications() -> Self {
        Self { tables: Some(BTreeSet::new()), notifications: true }
    }

    fn wants(&self, table: TableId) -> bool {
        self.tables.as_ref().is_none_or(|tables| tables.contains(&table))
    }

    /// Whether an entry may hold something that is wanted, as far as its first bytes say.
    fn may_want(&self, payload: &[u8]) -> bool {
        if self.tables.as_ref().is_some_and(BTreeSet::is_empty) {
            return self.notifications && entry::notifies(payload);
        }
        entry::commits(payload)
    }
}

/// The catalog's version, and its tables by the oid that names their rows.
type KnownTables = (LogIndex, Arc<FxHashMap<Oid, Arc<Table>>>);

/// The feed of a node. Cheap to make and to hold: reads are what cost.
pub struct Feed {
    log: Arc<dyn CommittedLog>,
    store: Arc<Store>,
    /// Tables by storage, of the catalog's version that was looked at last.
    tables: Mutex<KnownTables>,
}

impl Feed {
    /// The feed of a log and the store that it is applied to.
    #[must_use]
    pub fn new(log: Arc<dyn CommittedLog>, store: Arc<Store>) -> Arc<Self> {
        Arc::new(Self { log, store, tables: Mutex::new((LogIndex(u64::MAX), Arc::default())) })
    }

    /// The first position that is kept.
    #[must_use]
    pub fn first(&self) -> Position {
        Position::before(self.log.first())
    }

    /// Behind everything that is applied now.
    #[must_use]
    pub fn end(&self) -> Position {
        Position::behind(self.store.applied())
    }

    /// Reads on from a position.
    #[must_use]
    pub fn cursor(self: &Arc<Self>, from: Position, wanted: Wanted) -> Cursor {
        Cursor { feed: Arc::clone(self), wanted, next: from, stage: None }
    }

    /// Waits until there is an entry at `position` or behind it. Costs nothing while it waits.
    pub async fn wait(&self, position: Position) {
        let mut published = self.store.published();
        while self.store.applied() < position.index {
            if published.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn tables(&self) -> (Arc<Catalog>, Arc<FxHashMap<Oid, Arc<Table>>>) {
        let catalog = self.store.catalog();
        let mut known = self.tables.lock();
        if known.0 != catalog.version {
            let tables = catalog.objects().filter_map(|object| match object {
                Object::Table(table) => Some((table.storage, Arc::clone(table))),
                _ => None,
            });
            *known = (catalog.version, Arc::new(tables.collect()));
        }
        (catalog, Arc::clone(&known.1))
    }

    fn decode(&self, logged: &LoggedEntry) -> Result<Entry, FeedError> {
        self.decode_bytes(logged.index, &logged.payload)
    }

    fn decode_bytes(&self, index: LogIndex, bytes: &[u8]) -> Result<Entry, FeedError> {
        let types = |storage, columns: &[u16]| self.store.table(storage)?.column_types(columns);
        Entry::decode_past(bytes, &types).map_err(|error| FeedError::Entry { index, error })
    }

    /// The transaction that an entry ends, if it does.
    fn ended_by(&self, logged: &LoggedEntry) -> Result<Option<Transaction>, FeedError> {
        let (transaction, from) = match self.decode(logged)? {
            Entry::Transaction(transaction) => return Ok(Some(transaction)),
            Entry::Piece { transaction, end: PieceEnd::Transaction { from }, .. } => (transaction, from),
            _ => return Ok(None),
        };
        let mut pieces = Pieces::default();
        let mut at = from;
        while at <= logged.index {
            let entries = self.log.read(at, logged.index, PIECES_BYTES)?;
            let Some(last) = entries.last() else { break };
            at = last.index.next();
            for entry in entries.iter().filter(|entry| may_be_part(entry, logged)) {
                if let Entry::Piece { transaction: of, number, end, bytes } = self.decode(entry)?
                    && of == transaction
                    && pieces.take(number, bytes)
                    && matches!(end, PieceEnd::Transaction { .. })
                    && let Entry::Transaction(whole) = self.decode_bytes(logged.index, &pieces.join())?
                {
                    return Ok(Some(whole));
                }
            }
        }
        Ok(None)
    }
}

/// What one read gives.
#[derive(Debug)]
pub struct Batch {
    /// Changes, in order; perhaps none that are wanted.
    pub events: Vec<Event>,
    /// Where to go on. Everything before it has been delivered.
    pub next: Position,
}

/// Reads the feed from a position on.
pub struct Cursor {
    feed: Arc<Feed>,
    wanted: Wanted,
    next: Position,
    /// In the middle of a staged transaction: the entry to go on with, and the number of its first part.
    stage: Option<(LogIndex, u32)>,
}

impl Cursor {
    /// The position of the next read.
    #[must_use]
    pub fn position(&self) -> Position {
        self.next
    }

    /// A cursor for the same changes at another position.
    #[must_use]
    pub fn moved_to(&self, position: Position) -> Self {
        Self { feed: Arc::clone(&self.feed), wanted: self.wanted.clone(), next: position, stage: None }
    }

    /// The changes that come next, of about `bytes_max` bytes of the log. Without any when all that is applied has been
    /// read: then [`Feed::wait`]. May block on the disk.
    ///
    /// # Errors
    /// [`FeedError`]; the cursor stays where it is.
    pub fn read(&mut self, bytes_max: usize) -> Result<Batch, FeedError> {
        let mut events = Vec::new();
        let mut room = bytes_max;
        let applied = self.feed.store.applied();
        let mut looked_at = 0;
        while self.next.index <= applied && looked_at < ENTRIES_MAX && (room > 0 || events.is_empty()) {
            let entries = self.feed.log.read(self.next.index, applied, room.max(1))?;
            if entries.is_empty() {
                break;
            }
            for logged in entries {
                looked_at += 1;
                room = room.saturating_sub(logged.payload.len() + 64);
                if self.wanted.may_want(&logged.payload)
                    && !self.feed.store.is_rejected(logged.index)
                    && let Some(transaction) = self.feed.ended_by(&logged)?
                    && !self.transaction(&logged, transaction, &mut room, &mut events)?
                {
                    return Ok(Batch { events, next: self.next });
                }
                self.next = Position::behind(logged.index);
                self.stage = None;
            }
        }
        Ok(Batch { events, next: self.next })
    }

    /// Whether the whole transaction was delivered.
    fn transaction(
        &mut self,
        logged: &LoggedEntry,
        transaction: Transaction,
        room: &mut usize,
        events: &mut Vec<Event>,
    ) -> Result<bool, FeedError> {
        let index = logged.index;
        let (catalog, tables) = self.feed.tables();
        let from = if self.next.index == index { self.next.n } else { 0 };
        let mut out = Out { logged, from, events, wanted: &self.wanted, catalog: &catalog, tables: &tables };
        out.catalog_changes(&transaction.catalog);
        let mut part = 1;
        if let Some(staged) = transaction.staged {
            let mut at = transaction.staged_from;
            if let Some((stage, first)) = self.stage {
                (at, part) = (stage, first);
            }
            let mut pieces = Pieces::default();
            while at < index {
                let stages = self.feed.log.read(at, LogIndex(index.0 - 1), (*room).max(1))?;
                if stages.is_empty() {
                    break;
                }
                for stage in &stages {
                    if let Some(changes) = part_of(&self.feed, stage, logged, staged, &mut pieces)? {
                        for change in changes {
                            out.table_change(part, change);
                            part += 1;
                        }
                    }
                    *room = room.saturating_sub(stage.payload.len());
                    at = LogIndex(stage.index.0 + 1);
                    // Who goes on in the middle of an entry would miss its first pieces.
                    if *room == 0 && !out.events.is_empty() && pieces.bytes() == 0 {
                        self.next = Position::of(index, part, 0);
                        self.stage = Some((at, part));
                        return Ok(false);
                    }
                }
            }
        }
        for change in transaction.changes {
            out.table_change(part, change);
            part += 1;
        }
        if self.wanted.notifications {
            for (row, notification) in transaction.notifications.into_iter().enumerate() {
                out.push(part, row, Change::Notification(notification));
            }
        }
        Ok(true)
    }
}

/// Whether an entry may be a part or a piece of the transaction that `end` ends.
fn may_be_part(entry: &LoggedEntry, end: &LoggedEntry) -> bool {
    // Numbers of transactions are given out anew by each leader.
    entry.term == end.term && !entry.payload.is_empty() && (entry.index == end.index || !entry::commits(&entry.payload))
}

/// The changes of a part of a staged transaction; `None` for an entry that is none, or not the last of its pieces.
fn part_of(
    feed: &Feed,
    stage: &LoggedEntry,
    end: &LoggedEntry,
    staged: TransactionId,
    pieces: &mut Pieces,
) -> Result<Option<Vec<TableChange>>, FeedError> {
    if !may_be_part(stage, end) {
        return Ok(None);
    }
    let decoded = match feed.decode(stage)? {
        Entry::Piece { transaction, number, end, bytes } if transaction == staged => {
            if !pieces.take(number, bytes) || end != PieceEnd::Stage {
                return Ok(None);
            }
            feed.decode_bytes(stage.index, &pieces.join())?
        }
        whole => whole,
    };
    Ok(match decoded {
        Entry::Stage { transaction, changes, .. } if transaction == staged => Some(changes),
        _ => None,
    })
}

/// Where the changes of one entry go.
struct Out<'a> {
    logged: &'a LoggedEntry,
    from: u64,
    events: &'a mut Vec<Event>,
    wanted: &'a Wanted,
    catalog: &'a Catalog,
    tables: &'a FxHashMap<Oid, Arc<Table>>,
}

impl Out<'_> {
    fn push(&mut self, part: u32, row: usize, change: Change) {
        let position = Position::of(self.logged.index, part, u32::try_from(row).unwrap_or(u32::MAX));
        if position.n >= self.from {
            self.events.push(Event { position, time: self.logged.time, change });
        }
    }

    fn catalog_changes(&mut self, changes: &[CatalogChange]) {
        for (row, change) in changes.iter().enumerate() {
            match change {
                CatalogChange::Put(Object::Table(table)) if self.wanted.wants(table.oid) => {
                    self.push(0, row, Change::Table(Arc::clone(table)));
                }
                CatalogChange::Remove(oid) if self.wanted.wants(*oid) => {
                    self.push(0, row, Change::Dropped { table: *oid });
                }
                _ => {}
            }
        }
    }

    /// Rows that ended, then rows that began; what ended and began with one key is an update.
    fn table_change(&mut self, part: u32, change: TableChange) {
        let Some(table) = self.tables.get(&change.storage).filter(|table| self.wanted.wants(table.oid)) else { return };
        let table = Arc::clone(table);
        let oid = table.oid;
        let columns: Arc<[u16]> = change.columns.into();
        let key: Arc<[u16]> = match table.primary_key.and_then(|index| self.catalog.index(index)) {
            Some(index) => index.columns.as_slice().into(),
            None => Arc::from([]),
        };
        let rows = match change.rows {
            RowBlock::Rows(rows) => rows,
            RowBlock::Batch(batch) => batch_to_rows(&batch),
        };
        let places: Option<Vec<usize>> =
            key.iter().map(|number| columns.iter().position(|column| column == number)).collect();
        let places = places.filter(|places| !places.is_empty());
        let mut begun: FxHashMap<Vec<u8>, usize> = FxHashMap::default();
        if let (Some(places), false) = (&places, change.ended.is_empty()) {
            begun
                .extend(rows.iter().enumerate().map(|(at, row)| (key_of(places.iter().map(|place| &row[*place])), at)));
        }
        let mut olds: FxHashMap<usize, OldValues> = FxHashMap::default();
        let count = change.ended.len();
        for (at, ended) in change.ended.into_iter().enumerate() {
            let Some(old) = old_values(ended, &columns, &key) else {
                self.push(part, at, Change::Unknown { table: oid });
                continue;
            };
            let new = places.as_ref().and_then(|places| {
                let key = if old.whole {
                    key_of(places.iter().filter_map(|place| old.values.get(*place)))
                } else {
                    key_of(old.values.iter())
                };
                begun.get(&key)
            });
            match new {
                Some(new) => {
                    olds.insert(*new, old);
                }
                None => self.push(part, at, Change::Delete { table: oid, old }),
            }
        }
        for (at, new) in rows.into_iter().enumerate() {
            let columns = Arc::clone(&columns);
            let change = match olds.remove(&at) {
                Some(old) => Change::Update { table: oid, columns, old, new },
                None => Change::Insert { table: oid, columns, new },
            };
            self.push(part, count + at, change);
        }
    }
}

fn old_values(ended: EndedRow, columns: &Arc<[u16]>, key: &Arc<[u16]>) -> Option<OldValues> {
    let (columns, values, whole) = match ended.old {
        OldRow::Whole(values) => (columns, values, true),
        OldRow::Key(values) => (key, values, false),
        OldRow::Unknown => return None,
    };
    // A key of other columns than today's.
    (values.len() == columns.len()).then(|| OldValues { columns: Arc::clone(columns), values, whole })
}

fn key_of<'v>(values: impl Iterator<Item = &'v perigee_types::Value>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16);
    values.for_each(|value| key::encode_value(value, &mut bytes));
    bytes
}

/// The values of some columns of a row, by number; `None` where the row has not all of them.
#[must_use]
pub fn values_of<'r>(columns: &[u16], row: &'r Row, wanted: &[u16]) -> Option<Vec<&'r perigee_types::Value>> {
    wanted.iter().map(|number| row.get(columns.iter().position(|column| column == number)?)).collect()
}
