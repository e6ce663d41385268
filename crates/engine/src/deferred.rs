//! Deferrable constraints: what a statement finds wrong and COMMIT, or SET CONSTRAINTS IMMEDIATE, looks at again.
//!
//! A statement looks for what its rows point to as ever, and takes its share of the row that it finds. Only what it does
//! not find is kept until later: so a load in the right order keeps nothing. Of a deferred unique constraint every key that
//! is written is kept, and counted later.

use std::collections::BTreeMap;
use std::sync::Arc;

use perigee_types::catalog::{Deferral, ForeignKey, Table};
use perigee_types::{Oid, Row, SqlError, SqlResult, SqlState, TableId, Value};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::foreign::{Gone, PENDING_MAX, PendingKey, Pointing, referenced_key};
use crate::session::Session;
use crate::transaction::Transaction;

/// What a deferred constraint has found wrong.
pub(crate) enum Postponed {
    /// Rows point to what is not there.
    Points(PendingKey),
    /// Rows of `child` point to keys that are gone.
    PointedTo { child: TableId, key: Oid, gone: Gone },
    /// A row was written whose key others may have.
    Shared { table: TableId, index: Oid, row: Row },
}

/// What SET CONSTRAINTS has said in a transaction.
#[derive(Clone, Default)]
pub(crate) struct Constraints {
    /// ALL
    all: Option<bool>,
    each: FxHashMap<Oid, bool>,
}

impl Constraints {
    fn set(&mut self, constraints: Option<&[Oid]>, deferred: bool) {
        match constraints {
            Some(oids) => self.each.extend(oids.iter().map(|oid| (*oid, deferred))),
            None => {
                self.all = Some(deferred);
                self.each.clear();
            }
        }
    }

    fn defers(&self, oid: Oid, deferral: Deferral) -> bool {
        let initially = match deferral {
            Deferral::Never => return false,
            Deferral::Immediate => false,
            Deferral::Deferred => true,
        };
        self.each.get(&oid).copied().or(self.all).unwrap_or(initially)
    }
}

impl Transaction {
    /// Whether a constraint is looked at when the transaction ends.
    pub(crate) fn defers(&self, oid: Oid, deferral: Deferral) -> bool {
        self.constraints.defers(oid, deferral)
    }

    /// Keeps what is wrong until later.
    ///
    /// # Errors
    /// `53200` where it is too much.
    pub(crate) fn postpone(&mut self, wrong: Postponed) -> SqlResult<()> {
        self.postponed_keys += match &wrong {
            Postponed::Points(_) | Postponed::Shared { .. } => 1,
            Postponed::PointedTo { gone, .. } => gone.len(),
        };
        if self.postponed_keys > PENDING_MAX {
            return Err(SqlError::new(SqlState::OutOfMemory, "too many rows break deferred constraints"));
        }
        self.postponed.push(wrong);
        Ok(())
    }
}

impl Session {
    /// SET CONSTRAINTS
    ///
    /// # Errors
    /// `23503` where rows break a constraint that is immediate from now on.
    pub(crate) async fn set_constraints(&mut self, constraints: Option<&[Oid]>, deferred: bool) -> SqlResult<()> {
        self.transaction()?.constraints.set(constraints, deferred);
        if deferred { Ok(()) } else { self.uphold_postponed(false).await }
    }

    /// Looks again at what was wrong; `all`: also at what is deferred still.
    ///
    /// # Errors
    /// `23503`
    pub(crate) async fn uphold_postponed(&mut self, all: bool) -> SqlResult<()> {
        // A transaction that is aborted looks at nothing any more.
        let Some(transaction) = self.transaction.as_mut().filter(|t| !t.failed && !t.postponed.is_empty()) else {
            return Ok(());
        };
        let postponed = std::mem::take(&mut transaction.postponed);
        let looked = self.look_again(&postponed, all).await;
        // ROLLBACK TO may make wrong again what is right by now.
        self.transaction()?.postponed = postponed;
        looked
    }

    async fn look_again(&mut self, postponed: &[Postponed], all: bool) -> SqlResult<()> {
        self.count_shared(postponed, all).await?;
        for wrong in postponed {
            match wrong {
                Postponed::Points(pending) => {
                    let Some((child, key)) = self.constraint(pending.table.oid, pending.key.oid)? else { continue };
                    if all || !self.transaction()?.defers(key.oid, key.deferral) {
                        Box::pin(self.uphold_pointing(&child, &key, &pending.values)).await?;
                    }
                }
                Postponed::PointedTo { child, key, gone } => {
                    let Some((child, key)) = self.constraint(*child, *key)? else { continue };
                    if all || !self.transaction()?.defers(key.oid, key.deferral) {
                        Box::pin(self.uphold_pointed_to(&child, &key, gone.clone())).await?;
                    }
                }
                Postponed::Shared { .. } => {}
            }
        }
        Ok(())
    }

    /// Of deferred unique constraints: each key that was written is that of one row.
    ///
    /// # Errors
    /// `23505`
    async fn count_shared(&mut self, postponed: &[Postponed], all: bool) -> SqlResult<()> {
        let mut shared: BTreeMap<(TableId, Oid), Vec<&Row>> = BTreeMap::new();
        for wrong in postponed {
            if let Postponed::Shared { table, index, row } = wrong {
                shared.entry((*table, *index)).or_default().push(row);
            }
        }
        for ((table, index), rows) in shared {
            let engine = self.engine.clone();
            let Some(table) = self.transaction()?.catalog(&engine).table(table).cloned() else { continue };
            let target = self.target(&table, "INSERT").await?;
            let Some(unique) = target.unique.0.iter().find(|unique| unique.index.oid == index) else { continue };
            let transaction = self.transaction()?;
            if !all && transaction.defers(index, unique.index.definition.deferral) {
                continue;
            }
            let counts = transaction.writes.count_keys(table.storage, unique);
            let mut seen = FxHashSet::default();
            for row in rows {
                let Some(bytes) = unique.of_row(row) else { continue };
                let count = counts.get(&bytes).copied().unwrap_or_default();
                if count > 0 && seen.insert(bytes.clone()) {
                    self.transaction()?.check_key(&target, unique, row, &bytes, count > 1).await?;
                }
            }
        }
        Ok(())
    }

    /// Of a deferred constraint: rows that point with these values, if there still are any, have what they point to.
    ///
    /// # Errors
    /// `23503`
    async fn uphold_pointing(&mut self, child: &Arc<Table>, key: &ForeignKey, values: &[Value]) -> SqlResult<()> {
        let parent = self.parent(key).await?;
        if self.transaction()?.lock_referenced(&parent, child, key, values).await? {
            return Ok(());
        }
        let target = self.target(child, "DELETE").await?;
        let pointing = Pointing { child: &target, key, parent: &parent.table };
        let Some(bytes) = referenced_key(&pointing, values) else { return Ok(()) };
        let gone = Gone::from_iter([(bytes, (values.to_vec(), None))]);
        if self.find_pointing(&pointing, &gone, 1).await?.is_empty() {
            return Ok(());
        }
        Err(self.not_present(child, key, values, &parent.table))
    }

    /// Of a deferred constraint: nothing points to keys that are gone and have not come back.
    ///
    /// # Errors
    /// `23503`
    async fn uphold_pointed_to(&mut self, child: &Arc<Table>, key: &ForeignKey, mut gone: Gone) -> SqlResult<()> {
        let parent = self.parent(key).await?;
        self.drop_present(key, &parent.table, &mut gone).await?;
        if gone.is_empty() {
            return Ok(());
        }
        let target = self.target(child, "DELETE").await?;
        self.refuse_pointing(&Pointing { child: &target, key, parent: &parent.table }, &gone).await
    }

    /// A table and its foreign key as they are now; `None` where one of them is gone.
    fn constraint(&mut self, table: TableId, key: Oid) -> SqlResult<Option<(Arc<Table>, ForeignKey)>> {
        let engine = self.engine.clone();
        let table = self.transaction()?.catalog(&engine).table(table).cloned();
        Ok(table.and_then(|table| {
            let key = table.foreign_keys.iter().find(|of| of.oid == key)?.clone();
            Some((table, key))
        }))
    }
}
