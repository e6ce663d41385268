//! CHECK and FOREIGN KEY constraints as CREATE TABLE and ALTER TABLE make and drop them.

use std::sync::Arc;

use perigee_plan::ddl::{CheckConstraint, ForeignKeyConstraint};
use perigee_storage::arrow_value::batch_to_rows;
use perigee_storage::store::Snapshot;
use perigee_storage::table::ChunkScan;
use perigee_types::catalog::{Catalog, CatalogChange, Check, Deferral, ForeignKey, Object, Table};
use perigee_types::{Oid, Row, SqlError, SqlResult, SqlState, SqlType, Value, Vid, key};
use rustc_hash::FxHashSet;

use super::{Oids, names};
use crate::error::storage;
use crate::foreign::{pick, places};
use crate::rows::{Target, column_numbers};
use crate::session::Session;

/// Rows that are tested at once.
const ROWS_AT_ONCE: usize = 8_192;

/// The catalog's CHECK for a constraint; its name is new among those of the table and `taken`.
pub(super) fn new_check(
    catalog: &Catalog,
    table: &Table,
    check: &CheckConstraint,
    oid: Oid,
    taken: &mut Vec<String>,
) -> SqlResult<Check> {
    let expression = perigee_query::sql::check_text(&check.expression, &table.name, None)?;
    let name = match &check.name {
        Some(name) => {
            refuse_taken(catalog, table, name)?;
            name.clone()
        }
        None => {
            // PostgreSQL puts the column's name in where there is just one.
            let columns = perigee_query::sql::check_columns(table, &expression);
            let column = match columns.as_slice() {
                [number] => table.number_position(*number).and_then(|p| table.columns.get(p)),
                _ => None,
            };
            let column = column.map_or("", |c| c.name.as_str());
            names::choose_constraint(catalog, table, taken, column, "check")
        }
    };
    taken.push(name.clone());
    Ok(Check { oid, name, expression, inherited: 0, local: true, not_valid: check.not_valid })
}

/// The catalog's foreign key for a constraint of `table`.
///
/// # Errors
/// `42830` without a unique index on what it points to, `42703`, `42704`, `42804`, `42710`.
pub(super) fn new_foreign_key(
    catalog: &Catalog,
    table: &Table,
    own_indexes: &[CatalogChange],
    key: &ForeignKeyConstraint,
    oid: Oid,
    taken: &mut Vec<String>,
) -> SqlResult<ForeignKey> {
    let parent = match key.references {
        None => table,
        Some(oid) if oid == table.oid => table,
        Some(oid) => catalog.table(oid).map(AsRef::as_ref).ok_or_else(|| {
            SqlError::new(SqlState::UndefinedTable, "the table of a foreign key does not exist any more")
        })?,
    };
    let temporary = catalog.is_temporary(table.schema);
    if catalog.is_temporary(parent.schema) != temporary {
        let kind = if temporary { "temporary" } else { "permanent" };
        return Err(SqlError::new(
            SqlState::InvalidTableDefinition,
            format!("constraints on {kind} tables may reference only {kind} tables"),
        ));
    }
    if parent.partitioning.is_some() {
        return Err(SqlError::unsupported("a foreign key that points to a partitioned table"));
    }
    // Indexes that are made with the table are not in the catalog yet.
    let made = own_indexes.iter().filter_map(|change| match change {
        CatalogChange::Put(Object::Index(index)) if index.table == parent.oid => Some(index),
        _ => None,
    });
    let indexes: Vec<_> = catalog.indexes_of(parent).chain(made).filter(|index| index.unique).collect();
    let columns = numbers(table, &key.columns)?;
    let referenced = if key.referenced.is_empty() {
        let primary = indexes.iter().find(|index| Some(index.oid) == parent.primary_key);
        primary.map(|index| index.columns.clone()).ok_or_else(|| {
            let text = format!("there is no primary key for referenced table \"{}\"", parent.name);
            SqlError::new(SqlState::UndefinedObject, text)
        })?
    } else {
        numbers(parent, &key.referenced)?
    };
    if columns.len() != referenced.len() {
        return Err(SqlError::new(
            SqlState::InvalidForeignKey,
            "number of referencing and referenced columns for foreign key disagree",
        ));
    }
    let fits = |of: &[u16]| of.len() == referenced.len() && of.iter().all(|number| referenced.contains(number));
    let index = indexes.iter().find(|index| fits(&index.columns)).ok_or_else(|| {
        let text =
            format!("there is no unique constraint matching given keys for referenced table \"{}\"", parent.name);
        SqlError::new(SqlState::InvalidForeignKey, text)
    })?;
    if index.definition.deferral != Deferral::Never {
        let text = format!("cannot use a deferrable unique constraint for referenced table \"{}\"", parent.name);
        return Err(SqlError::new(SqlState::ObjectNotInPrerequisiteState, text));
    }
    let name = match &key.name {
        Some(name) => {
            refuse_taken(catalog, table, name)?;
            name.clone()
        }
        None => names::choose_constraint(catalog, table, taken, &key.columns.join("_"), "fkey"),
    };
    taken.push(name.clone());
    let key = ForeignKey {
        oid,
        name,
        columns,
        references: parent.oid,
        referenced,
        index: index.oid,
        on_update: key.on_update,
        on_delete: key.on_delete,
        match_full: key.match_full,
        deferral: key.deferral,
        not_valid: key.not_valid,
        parent: None,
    };
    refuse_incomparable(table, &key, parent)?;
    Ok(key)
}

/// Refuses a key whose columns cannot be compared with those that they point to.
fn refuse_incomparable(table: &Table, key: &ForeignKey, parent: &Table) -> SqlResult<()> {
    for (from, to) in key.columns.iter().zip(&key.referenced) {
        let column = |table: &'_ Table, number: u16| table.columns.iter().find(|c| c.number == number).cloned();
        let (Some(from), Some(to)) = (column(table, *from), column(parent, *to)) else { continue };
        if [&from, &to].iter().any(|column| column.ty == SqlType::Citext) {
            return Err(SqlError::unsupported(format_args!("a foreign key of citext, \"{}\",", key.name)));
        }
        if !comparable(&from.ty, &to.ty) {
            return Err(SqlError::new(
                SqlState::DatatypeMismatch,
                format!("foreign key constraint \"{}\" cannot be implemented", key.name),
            )
            .detail(format!(
                "Key columns \"{}\" and \"{}\" are of incompatible types: {} and {}.",
                from.name, to.name, from.ty, to.ty
            )));
        }
    }
    Ok(())
}

/// Whether values of the types may be equal, by an operator that PostgreSQL has.
fn comparable(from: &SqlType, to: &SqlType) -> bool {
    let class = |ty: &SqlType| match ty {
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 | SqlType::Numeric(_) => 1,
        SqlType::Float4 | SqlType::Float8 => 2,
        ty if ty.is_string() => 3,
        SqlType::Date | SqlType::Timestamp(_) | SqlType::Timestamptz(_) => 4,
        _ => 0,
    };
    from == to || (class(from) != 0 && class(from) == class(to))
}

fn numbers(table: &Table, names: &[String]) -> SqlResult<Vec<u16>> {
    let number = |name: &String| {
        table.columns.iter().find(|c| c.name == *name).map(|c| c.number).ok_or_else(|| {
            let text = format!("column \"{name}\" referenced in foreign key constraint does not exist");
            SqlError::new(SqlState::UndefinedColumn, text)
        })
    };
    names.iter().map(number).collect()
}

pub(super) fn refuse_taken(catalog: &Catalog, table: &Table, name: &str) -> SqlResult<()> {
    let taken = table.checks.iter().any(|check| check.name == name)
        || table.foreign_keys.iter().any(|key| key.name == name)
        || catalog.indexes_of(table).any(|index| index.constraint && index.name == name);
    if taken {
        return Err(SqlError::new(
            SqlState::DuplicateObject,
            format!("constraint \"{name}\" for relation \"{}\" already exists", table.name),
        ));
    }
    Ok(())
}

impl Session {
    pub(super) async fn add_check(&mut self, table: &Arc<Table>, check: &CheckConstraint) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let same = |own: &&Check| own.inherited > 0 && !own.local && Some(&own.name) == check.name.as_ref();
        if let Some(own) = table.checks.iter().find(same)
            && perigee_query::sql::check_text(&check.expression, &table.name, None)? == own.expression
        {
            let text = format!("merging constraint \"{}\" with inherited definition", own.name);
            let mut changed = Table::clone(table);
            changed.version += 1;
            for check in changed.checks.iter_mut().filter(|check| check.oid == own.oid) {
                check.local = !table.is_partition();
            }
            self.notify(text);
            return self.change_table(Arc::new(changed), Vec::new(), |row| row);
        }
        let check = new_check(&catalog, table, check, Oids::new(&catalog).next(), &mut Vec::new())?;
        if !check.not_valid {
            self.test_check(table, &check).await?;
        }
        let mut changed = Table::clone(table);
        changed.version += 1;
        changed.checks.push(check);
        // PostgreSQL tests them in the order of their names.
        changed.checks.sort_by(|a, b| a.name.cmp(&b.name));
        self.change_table(Arc::new(changed), Vec::new(), |row| row)
    }

    /// Tests that all rows of a table pass a check.
    async fn test_check(&mut self, table: &Arc<Table>, check: &Check) -> SqlResult<()> {
        let mut alone = Table::clone(table);
        alone.checks = vec![check.clone()];
        let target = self.target_to_test(Arc::new(alone))?;
        target.rules.checks.iter().try_for_each(|check| self.check_calls(&check.test, None))?;
        let mut violated = false;
        let mut all = self.all_rows(&target.table).await?;
        while let (false, Some(rows)) = (violated, all.next().await?) {
            let checks = target.rules.checks.iter().filter(|check| check.domain.is_none()).cloned().collect::<Vec<_>>();
            violated = self.find_violation(&target, &checks, &rows).await?.is_some();
        }
        if violated {
            let text =
                format!("check constraint \"{}\" of relation \"{}\" is violated by some row", check.name, table.name);
            return Err(SqlError::new(SqlState::CheckViolation, text)
                .table(&target.schema, &table.name)
                .constraint(&check.name));
        }
        Ok(())
    }

    /// VALIDATE CONSTRAINT: tests a constraint that was made NOT VALID.
    ///
    /// # Errors
    /// `42704`, `42809`; `23514` and `23503` where a row breaks it.
    pub(super) async fn validate_constraint(&mut self, table: &Arc<Table>, name: &str) -> SqlResult<()> {
        let mut changed = Table::clone(table);
        if let Some(check) = changed.checks.iter_mut().find(|check| check.name == name) {
            if !check.not_valid {
                return Ok(());
            }
            check.not_valid = false;
            let check = check.clone();
            self.test_check(table, &check).await?;
        } else if let Some(key) = changed.foreign_keys.iter_mut().find(|key| key.name == name) {
            if !key.not_valid {
                return Ok(());
            }
            key.not_valid = false;
            let key = key.clone();
            self.check_foreign_rows(table, &key).await?;
        } else {
            let of = format!("constraint \"{name}\" of relation \"{}\"", table.name);
            let catalog = self.latest_catalog();
            return Err(match catalog.indexes_of(table).any(|index| index.constraint && index.name == name) {
                true => {
                    SqlError::new(SqlState::WrongObjectType, format!("{of} is not a foreign key or check constraint"))
                }
                false => SqlError::new(SqlState::UndefinedObject, format!("{of} does not exist")),
            });
        }
        changed.version += 1;
        self.change_table(Arc::new(changed), Vec::new(), |row| row)
    }

    pub(super) async fn add_foreign_key(&mut self, table: &Arc<Table>, key: &ForeignKeyConstraint) -> SqlResult<()> {
        let parent = match key.references {
            Some(parent) if parent != table.oid => self.lock_table(parent, "").await?,
            _ => table.clone(),
        };
        let catalog = self.latest_catalog();
        let key = new_foreign_key(&catalog, table, &[], key, Oids::new(&catalog).next(), &mut Vec::new())?;
        if key.not_valid && table.partitioning.is_some() {
            let text = format!(
                "cannot add NOT VALID foreign key on partitioned table \"{}\" referencing relation \"{}\"",
                table.name, parent.name
            );
            return Err(SqlError::new(SqlState::WrongObjectType, text)
                .detail("This feature is not yet supported on partitioned tables."));
        }
        drop(parent);
        if !key.not_valid {
            self.check_foreign_rows(table, &key).await?;
        }
        let mut changed = Table::clone(table);
        changed.version += 1;
        changed.foreign_keys.push(key.clone());
        let table = Arc::new(changed);
        self.change_table(table.clone(), Vec::new(), |row| row)?;
        if table.partitioning.is_some() {
            let children: Vec<_> = self.latest_catalog().children(table.oid).map(|child| child.oid).collect();
            for child in children {
                self.key_on_partition(&table, &key, child).await?;
            }
        }
        Ok(())
    }

    /// Tests that all rows of a table point to what is there.
    pub(super) async fn check_foreign_rows(&mut self, table: &Arc<Table>, key: &ForeignKey) -> SqlResult<()> {
        let own = self.transaction()?.writes.table(table.storage).is_some();
        if self.engine.store.table(table.storage).is_none() && !own {
            // It has just been made.
            return Ok(());
        }
        let parent = match key.references == table.oid {
            true => table.clone(),
            false => self.lock_table(key.references, "").await?,
        };
        self.test_foreign_key(table, key, parent).await
    }

    /// Whether all rows of a table point to rows of `parent`; this transaction holds both.
    pub(super) async fn test_foreign_key(
        &mut self,
        table: &Arc<Table>,
        key: &ForeignKey,
        parent: Arc<Table>,
    ) -> SqlResult<()> {
        refuse_incomparable(table, key, &parent)?;
        let target = self.target_to_test(parent)?;
        let places = places(table, &key.columns)?;
        let mut seen = FxHashSet::default();
        let mut all = self.all_rows(table).await?;
        while let Some(rows) = all.next().await? {
            for row in rows {
                let values = pick(&row, &places);
                if values.iter().any(Value::is_null) {
                    if key.match_full && !values.iter().all(Value::is_null) {
                        return Err(crate::foreign::mixed_nulls(self.violation(table, key)));
                    }
                    continue;
                }
                let mut bytes = Vec::new();
                key::encode(&values, &mut bytes);
                if seen.insert(bytes) && !self.transaction()?.lock_referenced(&target, table, key, &values).await? {
                    return Err(self.not_present(table, key, &values, &target.table));
                }
            }
        }
        Ok(())
    }

    /// A table that this transaction holds, to look at its rows.
    pub(super) fn target_to_test(&mut self, table: Arc<Table>) -> SqlResult<Target> {
        let catalog = self.latest_catalog();
        Ok(Target {
            schema: crate::rows::schema_name(&catalog, &table),
            unique: crate::write_set::UniqueKeys::of(&table, &catalog),
            rules: Arc::new(self.plan_rules(&table)?),
            by: None,
            referenced: false,
            store: self.engine.store.table(table.storage),
            wait: self.lock_wait(),
            cancel: self.cancel.clone(),
            table,
        })
    }

    /// All rows of a table that this transaction holds.
    pub(super) async fn all_rows(&mut self, table: &Arc<Table>) -> SqlResult<AllRows> {
        self.settle_staged().await?;
        let transaction = self.transaction()?;
        let staged = transaction.staged();
        let writes = transaction.writes.table(table.storage);
        let own: Vec<Row> = writes.map(|w| w.inserted.iter().flatten().cloned().collect()).unwrap_or_default();
        let ended = writes.map(|w| w.ended.keys().copied().collect()).unwrap_or_default();
        let snapshot = self.engine.store.snapshot();
        let chunks = match self.engine.store.table(table.storage) {
            Some(store) => store.scan_as(snapshot.index, staged, Some(table)).chunks,
            None => Vec::new(),
        };
        Ok(AllRows { own, chunks: chunks.into_iter(), columns: column_numbers(table), ended, _snapshot: snapshot })
    }

    /// Drops a CHECK or a foreign key, the foreign keys of partitions that belong to it too; whether there is one of this
    /// name.
    pub(super) async fn drop_own_constraint(&mut self, table: &Arc<Table>, name: &str) -> SqlResult<bool> {
        let key = table.foreign_keys.iter().find(|key| key.name == name).map(|key| key.oid);
        if let Some(mut gone) = key.map(|oid| vec![oid]) {
            // Parents come before their children.
            for below in self.latest_catalog().family(table).into_iter().skip(1) {
                let belongs = |key: &ForeignKey| key.parent.is_some_and(|parent| gone.contains(&parent));
                let mut changed = Table::clone(&*self.lock_table(below.oid, &below.name).await?);
                let found: Vec<Oid> = changed.foreign_keys.iter().filter(|k| belongs(k)).map(|k| k.oid).collect();
                changed.foreign_keys.retain(|key| !belongs(key));
                changed.version += 1;
                gone.extend(found);
                self.change_table(Arc::new(changed), Vec::new(), |row| row)?;
            }
        }
        let mut changed = Table::clone(table);
        changed.checks.retain(|check| check.name != name);
        changed.foreign_keys.retain(|key| key.name != name);
        if changed == **table {
            return Ok(false);
        }
        changed.version += 1;
        self.change_table(Arc::new(changed), Vec::new(), |row| row)?;
        Ok(true)
    }

    /// Drops the foreign keys that need something which goes, or refuses without CASCADE. `what` names it.
    pub(super) async fn drop_dependent_keys(
        &mut self,
        table: &Arc<Table>,
        what: (&str, &str),
        cascade: bool,
        needs: impl Fn(&ForeignKey) -> bool,
    ) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let others: Vec<_> = catalog.referencing(table.oid).cloned().collect();
        for other in others {
            let is_dependent = |key: &ForeignKey| key.references == table.oid && needs(key);
            let Some(key) = other.foreign_keys.iter().find(|key| is_dependent(key)) else { continue };
            if !cascade {
                return Err(SqlError::new(
                    SqlState::DependentObjectsStillExist,
                    format!("cannot drop {} because other objects depend on it", what.0),
                )
                .detail(format!("constraint {} on table {} depends on {}", key.name, other.name, what.1))
                .hint("Use DROP ... CASCADE to drop the dependent objects too."));
            }
            let current = self.lock_table(other.oid, &other.name).await?;
            let mut changed = Table::clone(&current);
            changed.foreign_keys.retain(|key| !is_dependent(key));
            changed.version += 1;
            self.change_table(Arc::new(changed), Vec::new(), |row| row)?;
        }
        Ok(())
    }
}

/// The rows of a table, some at once.
pub(super) struct AllRows {
    own: Vec<Row>,
    chunks: std::vec::IntoIter<ChunkScan>,
    columns: Vec<u16>,
    ended: FxHashSet<Vid>,
    /// Keeps the chunks' rows.
    _snapshot: Arc<Snapshot>,
}

impl AllRows {
    pub(super) async fn next(&mut self) -> SqlResult<Option<Vec<Row>>> {
        if !self.own.is_empty() {
            let rest = self.own.split_off(self.own.len().min(ROWS_AT_ONCE));
            return Ok(Some(std::mem::replace(&mut self.own, rest)));
        }
        let Some(chunk) = self.chunks.next() else { return Ok(None) };
        let columns = self.columns.clone();
        let batch = tokio::task::spawn_blocking(move || chunk.batch(&columns, true))
            .await
            .map_err(SqlError::internal)?
            .map_err(storage)?;
        let mut kept = Vec::with_capacity(batch.num_rows());
        for mut row in batch_to_rows(&batch) {
            let vid = crate::write::pop_vid(&mut row)?;
            if !self.ended.contains(&vid) {
                kept.push(row);
            }
        }
        Ok(Some(kept))
    }
}
