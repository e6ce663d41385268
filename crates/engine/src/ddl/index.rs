//! CREATE INDEX, and the building of an index on a table that has rows.
//!
//! The entry only says that the index is there: apply keeps it from then on, and each node fills it from the older rows
//! behind that. Whether a unique index can be is decided before the entry is logged, under the table's lock.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::UInt64Type;
use perigee_plan::Ddl;
use perigee_storage::store::OwnRows;
use perigee_types::catalog::{CatalogChange, Index, IndexState, Object, Table};
use perigee_types::{SqlError, SqlResult, SqlState, Value};

use super::{Oids, names};
use crate::error::storage;
use crate::session::Session;

impl Session {
    pub(super) async fn create_index(&mut self, ddl: &Ddl) -> SqlResult<()> {
        let Ddl::CreateIndex { table, name, columns, unique, if_not_exists } = ddl else {
            return Err(SqlError::internal("not CREATE INDEX"));
        };
        let current = self.lock_table(table.oid, &table.name).await?;
        let catalog = self.latest_catalog();
        if let Some(name) = name
            && self.name_is_taken(&catalog, current.schema, name, *if_not_exists)?
        {
            return Ok(());
        }
        let mut numbers = Vec::new();
        for column in columns {
            let found = current.columns.iter().find(|c| c.name == *column).ok_or_else(|| {
                SqlError::new(SqlState::UndefinedColumn, format!("column \"{column}\" does not exist"))
            })?;
            numbers.push(found.number);
        }
        let oid = Oids::new(&catalog).next();
        let index = Index {
            oid,
            table: current.oid,
            schema: current.schema,
            name: match name {
                Some(name) => name.clone(),
                None => names::choose(&catalog, current.schema, &[], &current.name, &columns.join("_"), "idx"),
            },
            columns: numbers,
            unique: *unique,
            constraint: false,
            state: IndexState::Valid,
            comment: None,
        };
        let mut changed = Table::clone(&current);
        changed.indexes.push(oid);
        changed.version += 1;
        self.add_index(Arc::new(changed), index).await
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
        let (mut names, mut texts) = (Vec::new(), Vec::new());
        for (number, value) in index.columns.iter().zip(&values) {
            if let Some(column) = table.columns.iter().find(|c| c.number == *number) {
                names.push(column.name.clone());
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
