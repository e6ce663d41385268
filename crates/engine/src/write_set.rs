//! What a transaction wants to write, before it is logged.
//!
//! Rows to append and versions to end, per table, with the keys of the unique indexes so that a transaction finds its
//! own rows. A savepoint is a mark: going back to it takes back everything behind it, newest first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use perigee_storage::entry::OldRow;
use perigee_storage::store::{Overlay, TableOverlay};
use perigee_types::catalog::{Catalog, CatalogChange, Deferral, Index, Table};
use perigee_types::{IndexId, LogIndex, Oid, Row, SqlType, Value, Vid, key};
use rustc_hash::FxHashMap;

/// The unique indexes of a table: their oids and the places of their columns in the table's columns.
#[derive(Clone, Debug)]
pub struct UniqueKeys(pub Arc<[UniqueKey]>);

/// One unique index.
#[derive(Clone, Debug)]
pub struct UniqueKey {
    /// The index.
    pub index: Arc<Index>,
    /// Places of its columns in `table.columns`.
    pub positions: Vec<usize>,
    /// Their types.
    types: Vec<SqlType>,
}

impl UniqueKeys {
    /// Of a table, in a catalog. The primary key comes first.
    #[must_use]
    pub fn of(table: &Table, catalog: &Catalog) -> Self {
        let mut keys: Vec<UniqueKey> = catalog
            .indexes_of(table)
            .filter(|index| index.unique)
            .filter_map(|index| {
                let positions = index.columns.iter().map(|n| table.number_position(*n)).collect::<Option<Vec<_>>>()?;
                let types = positions.iter().map(|place| Some(table.columns.get(*place)?.ty.clone()));
                Some(UniqueKey { index: index.clone(), types: types.collect::<Option<_>>()?, positions })
            })
            .collect();
        keys.sort_by_key(|k| (Some(k.index.oid) != table.primary_key, k.index.oid));
        Self(keys.into())
    }

    /// Whether two rows may share a key of one of them for a while.
    #[must_use]
    pub fn may_defer(&self) -> bool {
        self.0.iter().any(|unique| unique.index.definition.deferral != Deferral::Never)
    }

    /// The primary key, if the table has one.
    #[must_use]
    pub fn primary(&self, table: &Table) -> Option<&UniqueKey> {
        self.0.first().filter(|k| Some(k.index.oid) == table.primary_key)
    }
}

impl UniqueKey {
    /// The key of a row of the table; `None` with a NULL in it, which never collides.
    #[must_use]
    pub fn of_row(&self, row: &[Value]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(16);
        for (position, ty) in self.positions.iter().zip(&self.types) {
            let value = row.get(*position)?;
            if value.is_null() {
                return None;
            }
            key::encode_as(value, ty, &mut out);
        }
        Some(out)
    }
}

/// The writes to one table.
pub struct TableWrites {
    /// The table as of the last statement that wrote to it.
    pub table: Arc<Table>,
    /// Its unique indexes.
    pub unique: UniqueKeys,
    /// Versions of other transactions that this one ends, with what the log says of them.
    pub ended: FxHashMap<Vid, OldRow>,
    /// Own rows; `None` where a later statement took one back.
    pub inserted: Vec<Option<Row>>,
    /// Own live rows by unique key.
    by_key: FxHashMap<(IndexId, Vec<u8>), usize>,
    live: usize,
}

/// Versions of catalogs that no entry has made; above all indexes of the log.
static LOCAL_VERSION: AtomicU64 = AtomicU64::new(1 << 63);

enum Undo {
    Ended(Oid, Vid),
    Inserted(Oid, usize),
    TakenBack(Oid, usize, Row),
    Catalog(usize, Option<Arc<Catalog>>),
    Whole(Oid, Option<Box<TableWrites>>),
}

/// A place to go back to: the number of the change behind it.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

/// What a transaction wants to write.
#[derive(Default)]
pub struct WriteSet {
    tables: FxHashMap<Oid, TableWrites>,
    /// With their numbers, ascending.
    undo: Vec<(u64, Undo)>,
    changes: u64,
    /// Changes of the catalog, in order.
    pub catalog_changes: Vec<CatalogChange>,
    /// The catalog with them.
    catalog: Option<Arc<Catalog>>,
    bytes: usize,
    overlay: Option<Arc<Overlay>>,
}

impl WriteSet {
    /// Whether nothing would be logged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.catalog_changes.is_empty() && self.tables.values().all(|t| t.ended.is_empty() && t.live == 0)
    }

    /// Bytes of the buffered rows, about.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes
    }

    /// The writes to a table, by its storage.
    #[must_use]
    pub fn table(&self, storage: Oid) -> Option<&TableWrites> {
        self.tables.get(&storage)
    }

    /// All tables written to, by storage.
    pub fn tables(&self) -> impl Iterator<Item = (Oid, &TableWrites)> {
        self.tables.iter().map(|(storage, writes)| (*storage, writes))
    }

    /// Takes all writes out.
    pub fn take_tables(&mut self) -> Vec<(Oid, TableWrites)> {
        self.overlay = None;
        self.undo.clear();
        self.bytes = 0;
        let mut tables: Vec<_> = std::mem::take(&mut self.tables).into_iter().collect();
        tables.sort_by_key(|(storage, _)| *storage);
        tables
    }

    fn entry(&mut self, table: &Arc<Table>, unique: &UniqueKeys) -> &mut TableWrites {
        self.overlay = None;
        let writes = self.tables.entry(table.storage).or_insert_with(|| TableWrites {
            table: table.clone(),
            unique: unique.clone(),
            ended: FxHashMap::default(),
            inserted: Vec::new(),
            by_key: FxHashMap::default(),
            live: 0,
        });
        if !Arc::ptr_eq(&writes.table, table) {
            writes.table = table.clone();
        }
        writes
    }

    fn note(&mut self, undo: Undo) {
        self.undo.push((self.changes, undo));
        self.changes += 1;
    }

    /// How many places own rows of a table take, with those taken back.
    #[must_use]
    pub fn places(&self, storage: Oid) -> usize {
        self.tables.get(&storage).map_or(0, |writes| writes.inserted.len())
    }

    /// How many own rows live in the first `places`.
    #[must_use]
    pub fn live_before(&self, storage: Oid, places: usize) -> u64 {
        let writes = self.tables.get(&storage);
        writes.map_or(0, |writes| writes.inserted.iter().take(places).flatten().count() as u64)
    }

    /// Whether going back to `mark` would bring back own rows of a table.
    #[must_use]
    pub fn brings_back(&self, storage: Oid, mark: Mark) -> bool {
        let behind = self.undo.iter().rev().take_while(|(number, _)| *number >= mark.0);
        behind.into_iter().any(|(_, undo)| matches!(undo, Undo::TakenBack(of, ..) if *of == storage))
    }

    /// Ends a row that was staged, so that it never becomes visible.
    pub fn end_staged(&mut self, table: &Arc<Table>, unique: &UniqueKeys, vid: Vid) {
        if self.entry(table, unique).ended.insert(vid, OldRow::Unknown).is_none() {
            self.note(Undo::Ended(table.storage, vid));
            self.bytes += 64;
        }
    }

    /// Appends a row: one value for each live column, checked.
    pub fn insert(&mut self, table: &Arc<Table>, unique: &UniqueKeys, row: Row) {
        self.bytes += row.iter().map(Value::size_bytes).sum::<usize>();
        let writes = self.entry(table, unique);
        let place = writes.inserted.len();
        for unique in unique.0.iter() {
            if let Some(key) = unique.of_row(&row) {
                writes.by_key.insert((unique.index.oid, key), place);
            }
        }
        writes.inserted.push(Some(row));
        writes.live += 1;
        self.note(Undo::Inserted(table.storage, place));
    }

    /// Ends a row: another transaction's by its vid, or an own one by its local vid. `row` holds the live columns.
    pub fn end(&mut self, table: &Arc<Table>, unique: &UniqueKeys, vid: Vid, row: &[Value]) {
        let writes = self.entry(table, unique);
        if vid.is_local() {
            let place = (vid.0 - Vid::LOCAL_FIRST.0) as usize;
            if let Some(old) = writes.inserted.get_mut(place).and_then(Option::take) {
                writes.live -= 1;
                for unique in unique.0.iter() {
                    if let Some(key) = unique.of_row(&old)
                        && writes.by_key.get(&(unique.index.oid, key.clone())) == Some(&place)
                    {
                        writes.by_key.remove(&(unique.index.oid, key));
                    }
                }
                self.note(Undo::TakenBack(table.storage, place, old));
            }
            return;
        }
        let (old, bytes) = match unique.primary(table) {
            Some(primary) if table.aggregates.is_empty() => {
                (OldRow::Key(primary.positions.iter().filter_map(|p| row.get(*p).cloned()).collect()), 64)
            }
            _ => (OldRow::Whole(row.to_vec()), 64 + row.iter().map(Value::size_bytes).sum::<usize>()),
        };
        if writes.ended.insert(vid, old).is_none() {
            self.note(Undo::Ended(table.storage, vid));
            self.bytes += bytes;
        }
    }

    /// An own live row by unique key: its local vid and values.
    #[must_use]
    pub fn find(&self, storage: Oid, index: IndexId, key: &[u8]) -> Option<(Vid, &Row)> {
        let writes = self.tables.get(&storage)?;
        if writes.by_key.is_empty() {
            return None;
        }
        let place = *writes.by_key.get(&(index, key.to_vec()))?;
        Some((Vid(Vid::LOCAL_FIRST.0 + place as u64), writes.inserted.get(place)?.as_ref()?))
    }

    /// How often each key of a unique index stands in own live rows.
    #[must_use]
    pub fn count_keys(&self, storage: Oid, unique: &UniqueKey) -> FxHashMap<Vec<u8>, usize> {
        let mut counts = FxHashMap::default();
        let rows = self.tables.get(&storage).into_iter().flat_map(|writes| writes.inserted.iter().flatten());
        for key in rows.filter_map(|row| unique.of_row(row)) {
            *counts.entry(key).or_default() += 1;
        }
        counts
    }

    /// The vid that the next own row of a table gets.
    #[must_use]
    pub fn next_local(&self, storage: Oid) -> Vid {
        Vid(Vid::LOCAL_FIRST.0 + self.tables.get(&storage).map_or(0, |t| t.inserted.len() as u64))
    }

    /// [`WriteSet::next_local`] of each storage with own rows.
    #[must_use]
    pub fn next_locals(&self) -> FxHashMap<Oid, Vid> {
        let next = |writes: &TableWrites| Vid(Vid::LOCAL_FIRST.0 + writes.inserted.len() as u64);
        self.tables.iter().map(|(storage, writes)| (*storage, next(writes))).collect()
    }

    /// Whether this transaction has ended the version.
    #[must_use]
    pub fn has_ended(&self, storage: Oid, vid: Vid) -> bool {
        self.tables.get(&storage).is_some_and(|t| t.ended.contains_key(&vid))
    }

    /// Whether this transaction has ended the version, or taken an own row back.
    #[must_use]
    pub fn is_gone(&self, storage: Oid, vid: Vid) -> bool {
        let Some(writes) = self.tables.get(&storage) else { return false };
        match vid.0.checked_sub(Vid::LOCAL_FIRST.0) {
            Some(place) => !matches!(writes.inserted.get(place as usize), Some(Some(_))),
            None => writes.ended.contains_key(&vid),
        }
    }

    /// Adds changes of the catalog on top of `base` (the catalog without this transaction).
    pub fn change_catalog(&mut self, base: &Arc<Catalog>, changes: Vec<CatalogChange>) {
        let current = self.catalog.clone().unwrap_or_else(|| base.clone());
        self.note(Undo::Catalog(self.catalog_changes.len(), self.catalog.clone()));
        // A version of its own: plans made inside the transaction fit no other catalog, committed or not.
        let version = LogIndex(LOCAL_VERSION.fetch_add(1, Ordering::Relaxed));
        self.catalog = Some(Arc::new(current.with_changes(&changes, version)));
        self.catalog_changes.extend(changes);
    }

    /// Makes own rows follow a change of their table. `convert` turns an old row into a new one.
    ///
    /// # Errors
    /// The name of a unique index that two own rows would share a key of.
    pub fn retarget(
        &mut self,
        table: &Arc<Table>,
        unique: &UniqueKeys,
        convert: impl Fn(Row) -> Row,
    ) -> Result<(), String> {
        let Some(old) = self.tables.remove(&table.storage) else { return Ok(()) };
        self.overlay = None;
        let inserted: Vec<Option<Row>> = old.inserted.iter().cloned().map(|row| row.map(&convert)).collect();
        let mut by_key = FxHashMap::default();
        let mut clash = None;
        for (place, row) in inserted.iter().enumerate() {
            let Some(row) = row else { continue };
            for unique in unique.0.iter() {
                if let Some(key) = unique.of_row(row)
                    && by_key.insert((unique.index.oid, key), place).is_some()
                {
                    clash = Some(unique.index.name.clone());
                }
            }
        }
        let new = TableWrites {
            table: table.clone(),
            unique: unique.clone(),
            ended: old.ended.clone(),
            inserted,
            by_key,
            live: old.live,
        };
        self.tables.insert(table.storage, new);
        self.note(Undo::Whole(table.storage, Some(Box::new(old))));
        clash.map_or(Ok(()), Err)
    }

    /// Drops the writes to a table that is dropped or emptied.
    pub fn forget(&mut self, storage: Oid) {
        if let Some(old) = self.tables.remove(&storage) {
            self.overlay = None;
            self.note(Undo::Whole(storage, Some(Box::new(old))));
        }
    }

    /// Takes the rows to append to a table out, to stage them. They cannot come back: undo marks behind them are void.
    pub fn take_inserted(&mut self, storage: Oid) -> Vec<Row> {
        let Some(writes) = self.tables.get_mut(&storage) else { return Vec::new() };
        self.overlay = None;
        let taken = writes.inserted.iter().flatten().flatten().map(Value::size_bytes).sum();
        self.bytes = self.bytes.saturating_sub(taken);
        writes.by_key.clear();
        writes.live = 0;
        self.undo
            .retain(|(_, undo)| !matches!(undo, Undo::Inserted(of, _) | Undo::TakenBack(of, _, _) if *of == storage));
        std::mem::take(&mut writes.inserted).into_iter().flatten().collect()
    }

    /// The catalog with this transaction's changes, if it made any.
    #[must_use]
    pub fn catalog(&self) -> Option<&Arc<Catalog>> {
        self.catalog.as_ref()
    }

    /// A place to go back to.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.changes)
    }

    /// Takes back everything behind `mark`.
    pub fn rollback_to(&mut self, mark: Mark) {
        self.overlay = None;
        while self.undo.last().is_some_and(|(number, _)| *number >= mark.0) {
            match self.undo.pop().map(|(_, undo)| undo) {
                Some(Undo::Ended(storage, vid)) => {
                    if let Some(writes) = self.tables.get_mut(&storage) {
                        writes.ended.remove(&vid);
                    }
                }
                Some(Undo::Inserted(storage, place)) => {
                    if let Some(writes) = self.tables.get_mut(&storage) {
                        if let Some(row) = writes.inserted.get_mut(place).and_then(Option::take) {
                            writes.live -= 1;
                            for unique in writes.unique.clone().0.iter() {
                                if let Some(key) = unique.of_row(&row) {
                                    writes.by_key.remove(&(unique.index.oid, key));
                                }
                            }
                        }
                        writes.inserted.truncate(place);
                    }
                }
                Some(Undo::TakenBack(storage, place, row)) => {
                    if let Some(writes) = self.tables.get_mut(&storage) {
                        for unique in writes.unique.clone().0.iter() {
                            if let Some(key) = unique.of_row(&row) {
                                writes.by_key.insert((unique.index.oid, key), place);
                            }
                        }
                        if let Some(slot) = writes.inserted.get_mut(place) {
                            *slot = Some(row);
                            writes.live += 1;
                        }
                    }
                }
                Some(Undo::Whole(storage, before)) => {
                    match before {
                        Some(before) => self.tables.insert(storage, *before),
                        None => self.tables.remove(&storage),
                    };
                }
                Some(Undo::Catalog(count, before)) => {
                    self.catalog_changes.truncate(count);
                    self.catalog = before;
                }
                None => return,
            }
        }
    }

    /// What this transaction's own scans see beside the snapshot; `None` when it has written no rows.
    pub fn overlay(&mut self) -> Option<Arc<Overlay>> {
        if self.tables.is_empty() {
            return None;
        }
        if self.overlay.is_none() {
            let tables = self.tables.iter().map(|(storage, writes)| (*storage, writes.overlay())).collect();
            self.overlay = Some(Arc::new(Overlay { tables, staged: None }));
        }
        self.overlay.clone()
    }
}

impl TableWrites {
    fn overlay(&self) -> TableOverlay {
        let inserted = self
            .inserted
            .iter()
            .enumerate()
            .filter_map(|(place, row)| Some((Vid(Vid::LOCAL_FIRST.0 + place as u64), row.clone()?)))
            .collect();
        TableOverlay { ended: self.ended.keys().copied().collect(), inserted }
    }
}
