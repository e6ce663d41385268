//! Staged transactions: what is too large for one entry comes in parts and stays hidden until the last.
//!
//! ```text
//! Stage, Stage, ...   hidden chunks, hidden end-marks, entries in the indexes    all share one Fate
//! Transaction         Fate::commit(index): one store, and all of it is visible from that index
//! Abort               hidden chunks and marks go
//! later term          aborts all of the earlier ones: their leader cannot finish them any more
//! ```
//!
//! Pieces of an entry that is too large for one are kept with what its transaction has staged, and go with it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use perigee_types::catalog::{Index, Object, Table};
use perigee_types::{LogIndex, Oid, Term, TransactionId};

use super::{Core, Store, StoreError};
use crate::budget::{Guard, Pool};
use crate::entry::{PieceEnd, Pieces, TableChange};
use crate::table::fate::Fate;
use crate::table::{Begin, TableStore};

/// A transaction whose parts are applied and hidden.
pub(crate) struct Staged {
    pub(crate) term: Term,
    pub(crate) fate: Arc<Fate>,
    /// Tables it changed, by storage oid.
    pub(crate) tables: BTreeSet<Oid>,
    /// Tables that only it knows.
    pub(crate) created: Vec<(Arc<Table>, Vec<Arc<Index>>)>,
    /// Of an entry that is not whole yet.
    pub(crate) pieces: Pieces,
    /// What they take.
    pub(crate) pieces_bytes: Option<Guard>,
}

impl Staged {
    pub(crate) fn new(transaction: TransactionId, term: Term) -> Self {
        let fate = Arc::new(Fate::new(transaction));
        let (pieces, pieces_bytes) = (Pieces::default(), None);
        Self { term, fate, tables: BTreeSet::new(), created: Vec::new(), pieces, pieces_bytes }
    }

    /// Counts the pieces that are kept.
    pub(crate) fn count_pieces(&mut self, sessions: &Pool) {
        match (self.pieces.bytes(), &mut self.pieces_bytes) {
            (0, counted) => *counted = None,
            (bytes, Some(counted)) => counted.resize(bytes),
            (bytes, counted) => *counted = Some(sessions.reserve(bytes)),
        }
    }
}

impl Store {
    pub(super) fn stage(
        &self,
        core: &mut Core,
        transaction: TransactionId,
        changes: Vec<TableChange>,
    ) -> Result<(), StoreError> {
        let term = core.term;
        let staged = core.staged.entry(transaction).or_insert_with(|| Staged::new(transaction, term));
        staged.tables.extend(changes.iter().map(|change| change.storage));
        let begin = Begin::Staged(Arc::clone(&staged.fate));
        changes.into_iter().try_for_each(|change| self.apply_change(core, change, &begin))
    }

    pub(super) fn stage_table(
        &self,
        core: &mut Core,
        transaction: TransactionId,
        table: Arc<Table>,
        indexes: Vec<Arc<Index>>,
    ) {
        let term = core.term;
        let staged = core.staged.entry(transaction).or_insert_with(|| Staged::new(transaction, term));
        let catalog = self.newest_catalog();
        if let Some(committed) = catalog.table(table.oid).filter(|known| known.storage == table.storage) {
            // It is everybody's; only its new columns are the transaction's own.
            if let Some(store) = self.any_table(table.storage) {
                store.learn(&table, committed);
            }
            return;
        }
        // Whatever becomes of the transaction: what is left in the LSM of a storage oid is dropped by that oid, so no
        // other table may ever get it.
        let indexes_highest = indexes.iter().map(|index| index.oid.0).max().unwrap_or(0);
        let highest = Object::Table(Arc::clone(&table)).highest_oid().max(indexes_highest);
        self.catalogs.reserve_oids(highest.saturating_add(1));
        self.create_table(&table, indexes.iter().map(AsRef::as_ref));
        match staged.created.iter_mut().find(|(known, _)| known.storage == table.storage) {
            Some(known) => *known = (table, indexes),
            None => staged.created.push((table, indexes)),
        }
    }

    /// Keeps a piece of an entry. Gives the bytes of the entry with its last piece, if none is missing.
    pub(super) fn keep_piece(
        &self,
        core: &mut Core,
        transaction: TransactionId,
        number: u32,
        end: PieceEnd,
        bytes: Bytes,
    ) -> Option<Vec<u8>> {
        let term = core.term;
        let staged = core.staged.entry(transaction).or_insert_with(|| Staged::new(transaction, term));
        let follows = staged.pieces.take(number, bytes);
        let whole = (follows && end != PieceEnd::More).then(|| staged.pieces.join());
        staged.count_pieces(&self.shared.budget.session);
        whole
    }

    /// Makes what a transaction staged visible at the entry's index. Its tables are in the catalog by now.
    pub(super) fn commit_staged(&self, core: &mut Core, transaction: TransactionId) {
        let Some(staged) = core.staged.remove(&transaction) else { return };
        staged.fate.commit(core.index.0);
        for table in self.tables_of(&staged) {
            table.committed(&staged.fate);
        }
        let catalog = self.newest_catalog();
        for (table, _) in &staged.created {
            if catalog.table(table.oid).is_none_or(|kept| kept.storage != table.storage) {
                self.drop_storage(core, table.storage, core.index);
            }
        }
    }

    /// Drops what a transaction staged. One that is not there has been dropped already.
    pub(super) fn abort(&self, core: &mut Core, transaction: TransactionId) -> Result<(), StoreError> {
        if let Some(staged) = core.staged.remove(&transaction) {
            self.drop_staged(core, &staged, core.index);
        }
        Ok(())
    }

    pub(super) fn abort_older_terms(&self, core: &mut Core, index: LogIndex, term: Term) -> Result<(), StoreError> {
        let older = core.staged.iter().filter(|(_, staged)| staged.term < term).map(|(id, _)| *id).collect::<Vec<_>>();
        for transaction in older {
            if let Some(staged) = core.staged.remove(&transaction) {
                self.drop_staged(core, &staged, index);
            }
        }
        Ok(())
    }

    fn drop_staged(&self, core: &mut Core, staged: &Staged, index: LogIndex) {
        for table in self.tables_of(staged) {
            table.abort(&staged.fate);
        }
        for (table, _) in &staged.created {
            self.drop_storage(core, table.storage, index);
        }
    }

    fn tables_of(&self, staged: &Staged) -> Vec<Arc<TableStore>> {
        staged.tables.iter().filter_map(|storage| self.any_table(*storage)).collect()
    }
}
