//! MERGE: rows that its query has told a clause for.

use std::sync::Arc;

use perigee_plan::relational::{MergeAction, Write};
use perigee_query::exec::ReadView;
use perigee_storage::arrow_value::batch_to_rows;
use perigee_types::{Row, SqlError, SqlResult, SqlState, Value, Vid};

use crate::foreign::RowChange;
use crate::locks::LockMode;
use crate::rows::{Locked, Target};
use crate::session::Session;
use crate::write::vid_of;

/// What one run of the query wants.
#[derive(Default)]
struct Changes {
    replaced: Vec<(Vid, Row, Row)>,
    deleted: Vec<(Vid, Row)>,
    inserted: Vec<Row>,
}

impl Session {
    /// Gives the number of rows that were changed; `None`: a row has changed under the statement.
    pub(crate) async fn merge_from(
        &mut self,
        target: &Target,
        write: &Write,
        parameters: &[Value],
        actions: &[MergeAction],
        view: Arc<ReadView>,
    ) -> SqlResult<Option<u64>> {
        let Some(mut changes) = self.merge_changes(target, write, parameters, actions, view).await? else {
            return Ok(None);
        };
        let count = (changes.replaced.len() + changes.deleted.len() + changes.inserted.len()) as u64;
        let mut new: Vec<Row> = changes.replaced.iter_mut().map(|(_, _, new)| std::mem::take(new)).collect();
        let replaced = new.len();
        new.append(&mut changes.inserted);
        self.generate(target, &mut new).await?;
        self.check_rows(target, &new).await?;
        let inserted = new.split_off(replaced);
        for ((_, _, slot), new) in changes.replaced.iter_mut().zip(new) {
            *slot = new;
        }
        let mut upheld = Vec::new();
        if target.points() || target.referenced {
            let change = |(_, old, new): &(Vid, Row, Row)| RowChange { old: Some(old.clone()), new: Some(new.clone()) };
            upheld.extend(changes.replaced.iter().map(change));
            upheld.extend(inserted.iter().map(RowChange::written));
        }
        let transaction = self.transaction()?;
        for (vid, row) in changes.deleted {
            transaction.writes.end(&target.table, &target.unique, vid, &row);
            if target.referenced {
                upheld.push(RowChange { old: Some(row), new: None });
            }
        }
        transaction.replace_rows(target, changes.replaced).await?;
        for row in inserted {
            transaction.insert_row(target, row).await?;
        }
        self.uphold(target, upheld).await?;
        self.uphold_pending().await?;
        Ok(Some(count))
    }

    async fn merge_changes(
        &mut self,
        target: &Target,
        write: &Write,
        parameters: &[Value],
        actions: &[MergeAction],
        view: Arc<ReadView>,
    ) -> SqlResult<Option<Changes>> {
        let width = target.table.columns.len();
        let assigned = actions.iter().flat_map(|action| match action {
            MergeAction::Update { assigned, .. } => assigned.as_slice(),
            _ => &[],
        });
        let mode = target.write_mode(assigned.copied());
        let mut changes = Changes::default();
        let mut seen = rustc_hash::FxHashSet::default();
        let mut bytes = 0;
        let mut stream = self.engine.query.run(&write.source, parameters, view);
        while let Some(batch) = stream.next().await {
            for mut row in batch_to_rows(&batch?) {
                let vid = row.pop().unwrap_or(Value::Null);
                let which = row.pop().and_then(|which| which.as_i64()).and_then(|which| usize::try_from(which).ok());
                let Some(action) = which.and_then(|which| actions.get(which)) else { continue };
                let values = row.split_off(width.min(row.len()));
                bytes += row.iter().chain(&values).map(Value::size_bytes).sum::<usize>();
                self.check_transaction_memory(bytes)?;
                let value = |at: usize| values.get(at).cloned().ok_or_else(|| SqlError::internal("a value is missing"));
                let lock = match action {
                    MergeAction::Nothing => continue,
                    MergeAction::Insert { first } => {
                        let new = (*first..*first + width).map(value).collect::<SqlResult<Row>>()?;
                        changes.inserted.push(new);
                        continue;
                    }
                    MergeAction::Update { .. } => mode,
                    MergeAction::Delete => LockMode::Ending,
                };
                let (vid, old) = (vid_of(vid)?, row);
                if self.transaction()?.writes.is_gone(target.table.storage, vid) {
                    continue;
                }
                if !seen.insert(vid) {
                    return Err(SqlError::new(
                        SqlState::CardinalityViolation,
                        "MERGE command cannot affect row a second time",
                    )
                    .hint("Ensure that not more than one source row matches any one target row."));
                }
                if self.transaction()?.lock_row(target, vid, &old, lock).await? == Locked::Changed {
                    return Ok(None);
                }
                let MergeAction::Update { assigned, first } = action else {
                    changes.deleted.push((vid, old));
                    continue;
                };
                let mut new = old.clone();
                for (at, place) in assigned.iter().enumerate() {
                    let slot = new.get_mut(*place).ok_or_else(|| SqlError::internal("assignment past the row"))?;
                    *slot = value(first + at)?;
                }
                changes.replaced.push((vid, old, new));
            }
        }
        Ok(Some(changes))
    }
}
