//! What a change of the catalog does to tables. Never more than O(objects changed): rows follow behind.
//!
//! | change | tables |
//! | --- | --- |
//! | a table with a new storage oid | a new empty one; the old goes when nobody reads it any more |
//! | a table with other columns | the columns become known; rows that are older show `Column::missing` |
//! | an index | maintained from here on; [`Store::backfill_index`] adds the older rows |
//! | an object removed | its rows, index entries or state go |

use std::sync::Arc;

use perigee_types::LogIndex;
use perigee_types::Oid;
use perigee_types::catalog::{Catalog, CatalogChange, Index, Object, Table};

use super::{Core, DroppedIndex, SequenceState, Store};
use crate::table::TableStore;

impl Store {
    /// Makes the next version of the catalog and lets the tables follow.
    pub(super) fn change_catalog(&self, core: &mut Core, changes: &[CatalogChange]) {
        let old = self.newest_catalog();
        let new = old.with_changes(changes, core.index);
        for change in changes {
            let oid = match change {
                CatalogChange::Put(object) => object.oid(),
                CatalogChange::Remove(oid) => *oid,
            };
            core.changed_objects.insert(oid);
            self.follow(core, &old, &new, oid);
        }
        // Indexes last: the table may stand behind its indexes among the changes.
        for change in changes {
            match change {
                CatalogChange::Put(Object::Index(index)) => self.follow_index(&new, index),
                CatalogChange::Put(Object::Table(table)) => {
                    new.indexes_of(table).for_each(|index| self.follow_index(&new, index));
                }
                _ => {}
            }
        }
        self.catalogs.push(new);
    }

    /// Lets storage follow one object from `old` to `new`.
    fn follow(&self, core: &mut Core, old: &Catalog, new: &Catalog, oid: Oid) {
        match (old.object(oid), new.object(oid)) {
            (Some(Object::Table(before)), None) => self.drop_storage(core, before.storage, core.index),
            (before, Some(Object::Table(table))) => {
                if let Some(Object::Table(before)) = before
                    && before.storage != table.storage
                {
                    self.drop_storage(core, before.storage, core.index);
                }
                self.create_table(table, []);
            }
            (Some(Object::Index(index)), None) => self.drop_index(core, old, new, index),
            (Some(Object::Sequence(_)), Some(Object::Sequence(_))) => {}
            (_, Some(Object::Sequence(sequence))) => {
                self.sequences.write().insert(oid, SequenceState { next: sequence.start, called: false });
                core.changed_sequences.insert(oid);
            }
            (Some(Object::Sequence(_)), None) => {
                self.sequences.write().remove(&oid);
                core.changed_sequences.insert(oid);
            }
            _ => {}
        }
    }

    /// Makes the table, or tells the one that is there of its new columns.
    pub(super) fn create_table<'a>(&self, table: &Table, indexes: impl IntoIterator<Item = &'a Index>) {
        let store = match self.any_table(table.storage) {
            Some(store) => {
                store.alter(table);
                store
            }
            None => {
                let store = TableStore::new(self.context(table.storage), table);
                self.tables.write().insert(table.storage, Arc::clone(&store));
                store
            }
        };
        indexes.into_iter().for_each(|index| store.add_index(index));
    }

    fn follow_index(&self, new: &Catalog, index: &Index) {
        if let Some(store) = new.table(index.table).and_then(|table| self.any_table(table.storage)) {
            store.add_index(index);
        }
    }

    fn drop_index(&self, core: &mut Core, old: &Catalog, new: &Catalog, index: &Index) {
        // Of a table that goes as well, or that has new rows, everything goes with its storage oid.
        let Some(table) = old.table(index.table) else { return };
        if new.table(index.table).is_none_or(|kept| kept.storage != table.storage) {
            return;
        }
        if let Some(dropped) = self.any_table(table.storage).and_then(|store| store.drop_index(index.oid)) {
            let entry = DroppedIndex { unique: index.unique, readers: Arc::downgrade(&dropped) };
            core.dropped.indexes.insert((table.storage, index.oid), entry);
        }
    }

    /// Drops the rows of a storage oid for every snapshot from `index` on.
    pub(super) fn drop_storage(&self, core: &mut Core, storage: Oid, index: LogIndex) {
        if let Some(table) = self.any_table(storage) {
            table.mark_dropped(index);
            core.dropped.tables.insert(storage, (index, Arc::downgrade(&table)));
            core.dropped.indexes.retain(|(of, _), _| *of != storage);
        }
    }
}
