//! CREATE INDEX, and the building of an index on a table that has rows.
//!
//! The entry only says that the index is there: apply keeps it from then on, and each node fills it from the older rows
//! behind that. Whether a unique index can be is decided before the entry is logged, under the table's lock.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::UInt64Type;
use perigee_plan::Ddl;
use perigee_plan::ddl::IndexKeyDefinition;
use perigee_storage::store::OwnRows;
use perigee_types::catalog::{
    CatalogChange, Column, ColumnDefault, Index, IndexDefinition, IndexKey, IndexState, Object, Table,
};
use perigee_types::{IndexId, Row, SqlError, SqlResult, SqlState, SqlType, Value};

use super::{Oids, names};
use crate::error::storage;
use crate::session::Session;

/// Adds a hidden column to a table for an index and gives its number.
fn hide_column(table: &mut Table, index: IndexId, ty: SqlType, expression: String) -> u16 {
    let number = table.next_column;
    table.next_column += 1;
    let part = table.columns.len() - table.visible_columns().len();
    table.columns.push(Column {
        number,
        name: Column::hidden_name(index, part),
        ty,
        not_null: false,
        default: Some(ColumnDefault::Generated(expression)),
        missing: Value::Null,
        domain: None,
        identity_always: None,
        inherited: 0,
        local: true,
        acl: Default::default(),
        comment: None,
    });
    number
}

/// The numbers of an index's columns in `table`: `keys` are columns, or expressions that get hidden columns here.
pub(super) fn index_columns(
    table: &mut Table,
    index: IndexId,
    keys: impl IntoIterator<Item = Result<u16, (String, SqlType)>>,
    predicate: Option<&str>,
) -> Vec<u16> {
    let mut numbers: Vec<u16> = keys
        .into_iter()
        .map(|key| {
            // Of rows that are not in the index the expression is not asked for: it may fail there.
            key.unwrap_or_else(|(text, ty)| hide_column(table, index, ty, within(predicate, &text)))
        })
        .collect();
    if predicate.is_some() {
        numbers.push(hide_column(table, index, SqlType::Bool, within(predicate, "true")));
    }
    numbers
}

/// An expression that is NULL where the index's WHERE is not true.
fn within(predicate: Option<&str>, expression: &str) -> String {
    match predicate {
        Some(predicate) => format!("CASE WHEN {predicate} THEN {expression} END"),
        None => expression.to_owned(),
    }
}

/// The table without an index, and without the hidden columns that were the index's alone.
pub(super) fn without_index(table: &Table, index: &Index) -> Table {
    let mut changed = table.clone();
    changed.indexes.retain(|oid| *oid != index.oid);
    if changed.primary_key == Some(index.oid) {
        changed.primary_key = None;
    }
    changed.columns.retain(|column| !column.is_hidden() || !index.columns.contains(&column.number));
    changed
}

/// Makes rows of one definition of a table rows of another that has fewer columns.
pub(super) fn narrowed(before: &Table, after: &Table) -> impl Fn(Row) -> Row + use<> {
    let kept: Vec<bool> = before.columns.iter().map(|c| after.number_position(c.number).is_some()).collect();
    move |row| row.into_iter().zip(&kept).filter_map(|(value, kept)| kept.then_some(value)).collect()
}

impl Session {
    pub(super) async fn create_index(&mut self, ddl: &Ddl) -> SqlResult<()> {
        let Ddl::CreateIndex { table, name, keys, predicate, include, unique, instead_of, if_not_exists } = ddl else {
            return Err(SqlError::internal("not CREATE INDEX"));
        };
        let current = self.lock_table(table.oid, &table.name).await?;
        let catalog = self.latest_catalog();
        if let Some(name) = name
            && self.name_is_taken(&catalog, current.schema, name, *if_not_exists)?
        {
            return Ok(());
        }
        if let Some(method) = instead_of {
            self.notify(format!("substituting access method \"btree\" for access method \"{method}\""));
        }
        let number = |name: &String| {
            let found = current.visible_columns().iter().find(|column| column.name == *name);
            found
                .map(|column| column.number)
                .ok_or_else(|| SqlError::new(SqlState::UndefinedColumn, format!("column \"{name}\" does not exist")))
        };
        let oid = Oids::new(&catalog).next();
        let mut changed = Table::clone(&current);
        let of_key = |key: &IndexKeyDefinition| match &key.expression {
            None => number(&key.name).map(Ok),
            Some(expression) => Ok(Err(expression.clone())),
        };
        let columns = keys.iter().map(of_key).collect::<SqlResult<Vec<_>>>()?;
        let numbers = index_columns(&mut changed, oid, columns, predicate.as_deref());
        let is_plain = keys.iter().all(|key| key.expression.is_none() && !key.descending && !key.nulls_first);
        let key = |key: &IndexKeyDefinition| IndexKey {
            expression: key.expression.as_ref().map(|(text, _)| text.clone()),
            descending: key.descending,
            nulls_first: key.nulls_first,
        };
        let definition = IndexDefinition {
            keys: if is_plain { Vec::new() } else { keys.iter().map(key).collect() },
            predicate: predicate.clone(),
            include: include.iter().map(number).collect::<SqlResult<_>>()?,
            ..IndexDefinition::default()
        };
        let parts: Vec<&str> = keys.iter().map(|key| &key.name).chain(include).map(String::as_str).collect();
        let index = Index {
            oid,
            table: current.oid,
            schema: current.schema,
            name: match name {
                Some(name) => name.clone(),
                None => names::choose(&catalog, current.schema, &[], &current.name, &parts.join("_"), "idx"),
            },
            columns: numbers,
            unique: *unique,
            constraint: false,
            parent: None,
            state: IndexState::Valid,
            definition,
            comment: None,
        };
        if *unique {
            super::partition::check_unique(&current, index.key_columns(), false)?;
        }
        self.place_index(&current, changed, index).await?;
        self.index_on_partitions(current.oid, oid).await
    }

    /// Adds an index to a table that this transaction holds. `changed` has the hidden columns that it needs.
    pub(super) async fn place_index(&mut self, current: &Table, mut changed: Table, index: Index) -> SqlResult<()> {
        let hidden = changed.columns.len() - current.columns.len();
        if hidden > 0 {
            changed.version += 1;
            let table = Arc::new(changed.clone());
            self.change_table(table.clone(), Vec::new(), |mut row| {
                row.extend(std::iter::repeat_n(Value::Null, hidden));
                row
            })?;
            self.fill_hidden(&table).await?;
        }
        changed.indexes.push(index.oid);
        changed.version += 1;
        self.add_index(Arc::new(changed), index).await
    }

    /// Writes the rows of a table that this transaction holds once more, so that its new hidden columns get their values.
    async fn fill_hidden(&mut self, table: &Arc<Table>) -> SqlResult<()> {
        let own = self.transaction()?.writes.table(table.storage).is_some_and(|writes| !writes.inserted.is_empty());
        let staged = self.transaction()?.staging.as_ref().is_some_and(|staging| staging.has_rows_of(table.oid));
        let stored = self.engine.store.table(table.storage).is_some_and(|store| store.row_count() > 0);
        if !own && !staged && !stored {
            return Ok(());
        }
        self.settle_staged().await?;
        let write = self.with_plan_context(&[], |_, context| perigee_query::sql::refresh_rows(table, context))?;
        let mut family = self.family(table, "CREATE INDEX").await?;
        let engine = self.engine.clone();
        self.transaction()?.begin_statement(&engine);
        let view = self.view()?;
        match self.update_from(&mut family, &write, &[], &[], view).await? {
            Some(_) => Ok(()),
            // The table is locked, so nobody has changed a row; the snapshot is older than the lock.
            None => Err(crate::rows::concurrent_update()),
        }
    }

    /// Adds an index to a table that this transaction holds. `table` names it already.
    pub(super) async fn add_index(&mut self, table: Arc<Table>, index: Index) -> SqlResult<()> {
        if index.unique {
            self.refuse_duplicates(&table, &index).await?;
        }
        let oid = index.oid;
        let exists = self.engine.store.table(table.storage).is_some();
        self.change_table(table, vec![CatalogChange::Put(Object::Index(Arc::new(index)))], |row| row)?;
        if exists {
            self.transaction()?.backfill.push(oid);
        }
        Ok(())
    }

    async fn refuse_duplicates(&mut self, table: &Arc<Table>, index: &Index) -> SqlResult<()> {
        let store = self.engine.store.clone();
        if store.table(table.storage).is_none() {
            return Ok(());
        }
        let (storage_oid, columns) = (table.storage, index.columns.clone());
        self.settle_staged().await?;
        let transaction = self.transaction()?;
        let mut own = OwnRows { definition: Some(table.clone()), staged: transaction.staged(), ..OwnRows::default() };
        if let Some(writes) = transaction.writes.table(table.storage) {
            let places = crate::foreign::places(table, &columns)?;
            own.ended = writes.ended.keys().copied().collect();
            own.inserted = writes.inserted.iter().flatten().map(|row| crate::foreign::pick(row, &places)).collect();
        }
        let snapshot = store.snapshot();
        let duplicate =
            tokio::task::spawn_blocking(move || store.find_duplicate(storage_oid, &columns, &snapshot, &own))
                .await
                .map_err(SqlError::internal)?
                .map_err(storage)?;
        let Some(values) = duplicate else { return Ok(()) };
        let settings = perigee_types::text::OutputSettings::default();
        let names: Vec<_> = index.key_texts(table, str::to_owned).collect();
        let mut texts = Vec::new();
        for (number, value) in index.key_columns().iter().zip(&values) {
            if let Some(column) = table.columns.iter().find(|c| c.number == *number) {
                texts.push(perigee_types::text::format(value, &column.ty, &settings));
            }
        }
        Err(SqlError::new(SqlState::UniqueViolation, format!("could not create unique index \"{}\"", index.name))
            .detail(format!("Key ({})=({}) is duplicated.", names.join(", "), texts.join(", ")))
            .constraint(&index.name))
    }

    /// Refuses NOT NULL on a column that holds a NULL.
    pub(super) async fn refuse_nulls(&mut self, table: &Arc<Table>, number: u16, name: &str) -> SqlResult<()> {
        self.settle_staged().await?;
        let store = self.engine.store.clone();
        let staged = self.transaction()?.staged();
        let writes = self.transaction()?.writes.table(table.storage);
        let own = writes.is_some_and(|writes| {
            let position = table.number_position(number);
            writes.inserted.iter().flatten().any(|row| position.and_then(|p| row.get(p)).is_some_and(Value::is_null))
        });
        let ended: rustc_hash::FxHashSet<u64> =
            writes.map(|writes| writes.ended.keys().map(|vid| vid.0).collect()).unwrap_or_default();
        let storage_oid = table.storage;
        let found = match store.table(storage_oid) {
            None => false,
            Some(rows) => {
                let snapshot = store.snapshot();
                let definition = table.clone();
                tokio::task::spawn_blocking(move || -> Result<bool, perigee_storage::store::StoreError> {
                    for chunk in rows.scan_as(snapshot.index, staged, Some(&definition)).chunks {
                        let batch = chunk.batch(&[number], true)?;
                        let (values, vids) = (batch.column(0), batch.column(1).as_primitive::<UInt64Type>());
                        let null = |row| values.is_null(row) && !ended.contains(&vids.value(row));
                        if values.null_count() > 0 && (0..values.len()).any(null) {
                            return Ok(true);
                        }
                    }
                    Ok(false)
                })
                .await
                .map_err(SqlError::internal)?
                .map_err(storage)?
            }
        };
        if found || own {
            return Err(SqlError::new(
                SqlState::NotNullViolation,
                format!("column \"{name}\" of relation \"{}\" contains null values", table.name),
            )
            .column(name));
        }
        Ok(())
    }
}
