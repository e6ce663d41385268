//! MERGE: rows that its query has told a clause for.

use std::sync::Arc;

use perigee_plan::relational::{MergeAction, Write};
use perigee_query::exec::ReadView;
use perigee_storage::arrow_value::batch_to_rows;
use perigee_types::{Row, SqlError, SqlResult, SqlState, TableId, Value, Vid};
use rustc_hash::FxHashSet;

use crate::family::Family;
use crate::foreign::RowChange;
use crate::lock_order::RowsToLock;
use crate::locks::LockMode;
use crate::session::Session;
use crate::write::{Updated, pop_oid, vid_of};

/// What one run of the query wants.
#[derive(Default)]
struct Changes {
    updated: Vec<Updated>,
    may_move: bool,
    deleted: Vec<(TableId, Vid, Row)>,
    /// Rows of the root.
    inserted: Vec<Row>,
}

impl Session {
    /// Gives the number of rows that were changed; `None`: a row has changed under the statement.
    pub(crate) async fn merge_from(
        &mut self,
        family: &mut Family,
        write: &Write,
        parameters: &[Value],
        actions: &[MergeAction],
        view: Arc<ReadView>,
    ) -> SqlResult<Option<u64>> {
        let Some(changes) = self.merge_changes(family, write, parameters, actions, view).await? else {
            return Ok(None);
        };
        let count = (changes.updated.len() + changes.deleted.len() + changes.inserted.len()) as u64;
        let mut upheld = Vec::new();
        for (oid, vid, row) in changes.deleted {
            let target = &family.member(oid)?.target;
            self.transaction()?.writes.end(&target.table, &target.unique, vid, &row);
            if target.referenced {
                upheld.push((oid, RowChange { old: Some(row), new: None }));
            }
        }
        self.write_updated(family, changes.updated, changes.may_move, false, &mut upheld).await?;
        for (oid, mut rows) in self.place(family, changes.inserted).await? {
            let target = &family.member(oid)?.target;
            self.generate(target, &mut rows).await?;
            self.check_rows(target, &rows).await?;
            if oid == family.root.oid {
                self.check_bounds(&target.table, &rows).await?;
            }
            if target.points() {
                upheld.extend(rows.iter().map(|row| (oid, RowChange::written(row))));
            }
            for row in rows {
                self.transaction()?.insert_row(target, row).await?;
            }
        }
        self.uphold_each(family, upheld).await?;
        Ok(Some(count))
    }

    async fn merge_changes(
        &mut self,
        family: &mut Family,
        write: &Write,
        parameters: &[Value],
        actions: &[MergeAction],
        view: Arc<ReadView>,
    ) -> SqlResult<Option<Changes>> {
        let (width, shown) = (family.root.columns.len(), family.width(write));
        let assigned = actions.iter().flat_map(|action| match action {
            MergeAction::Update { assigned, .. } => assigned.as_slice(),
            _ => &[],
        });
        let assigned: Vec<usize> = assigned.copied().collect();
        let mut changes = Changes { may_move: family.may_move(&assigned), ..Changes::default() };
        let mut seen = FxHashSet::default();
        let mut bytes = 0;
        let mut changed = false;
        let mut to_lock = RowsToLock::default();
        let mut stream = self.engine.query.run(&write.source, parameters, view);
        while let Some(batch) = stream.next().await {
            for mut row in batch_to_rows(&batch?) {
                let vid = row.pop().unwrap_or(Value::Null);
                let oid = if write.family { row.pop() } else { Some(Value::Oid(family.root.oid.0)) };
                let which = row.pop().and_then(|which| which.as_i64()).and_then(|which| usize::try_from(which).ok());
                let Some(action) = which.and_then(|which| actions.get(which)) else { continue };
                let values = row.split_off(shown.min(row.len()));
                bytes += row.iter().chain(&values).map(Value::size_bytes).sum::<usize>();
                self.check_transaction_memory(bytes)?;
                let value = |at: usize| values.get(at).cloned().ok_or_else(|| SqlError::internal("a value is missing"));
                match action {
                    MergeAction::Nothing => continue,
                    MergeAction::Insert { first } => {
                        let new = (*first..*first + width).map(value).collect::<SqlResult<Row>>()?;
                        changes.inserted.push(new);
                        continue;
                    }
                    MergeAction::Update { .. } | MergeAction::Delete => {}
                }
                let (vid, from) = (vid_of(vid)?, pop_oid(oid)?);
                self.open_member(family, from).await?;
                let member = family.member(from)?;
                if self.transaction()?.writes.is_gone(member.target.table.storage, vid) {
                    continue;
                }
                if !seen.insert((from, vid)) {
                    return Err(SqlError::new(
                        SqlState::CardinalityViolation,
                        "MERGE command cannot affect row a second time",
                    )
                    .hint("Ensure that not more than one source row matches any one target row."));
                }
                let Some(old) = self.whole_row(member, vid, row)? else {
                    changed = true;
                    continue;
                };
                let mode = match action {
                    MergeAction::Delete => LockMode::Ending,
                    _ => member.update_mode(&assigned, changes.may_move),
                };
                to_lock.push((0, &*family), (from, vid), &old, mode)?;
                if to_lock.is_full() {
                    changed |= self.lock_in_order(std::slice::from_ref(&*family), &mut to_lock).await?;
                }
                if changed {
                    continue;
                }
                let MergeAction::Update { assigned, first } = action else {
                    changes.deleted.push((from, vid, old));
                    continue;
                };
                let values = assigned.iter().enumerate().map(|(at, place)| Ok((*place, value(first + at)?)));
                let new = member.assigned(&old, values.collect::<SqlResult<Vec<_>>>()?)?;
                changes.updated.push(Updated { from, vid, old, to: from, new, others: Row::new() });
            }
        }
        changed |= self.lock_in_order(std::slice::from_ref(&*family), &mut to_lock).await?;
        Ok((!changed).then_some(changes))
    }
}
