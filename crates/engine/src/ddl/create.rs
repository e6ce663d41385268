//! CREATE TABLE (also AS a query), CREATE VIEW, CREATE SCHEMA.

use std::sync::Arc;

use perigee_plan::ddl::{ColumnDefinition, KeyConstraint, PlainIndex, SequenceColumn};
use perigee_plan::role::RoleName;
use perigee_plan::{Ddl, Query};
use perigee_types::acl::AclKind;
use perigee_types::catalog::{
    Catalog, CatalogChange, Column, ColumnDefault, Index, IndexDefinition, IndexState, Object, OnCommit, Schema,
    Sequence, Table, View,
};
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType, Value};

use super::constraint::{new_check, new_foreign_key};
use super::partition::{check_unique, partitioning};
use super::{Oids, names};
use crate::session::Session;

impl Session {
    /// Gives the count of rows for CREATE TABLE AS.
    pub(super) async fn create_table(&mut self, ddl: &Ddl, parameters: &[Value]) -> SqlResult<Option<u64>> {
        let Ddl::CreateTable {
            schema,
            name,
            if_not_exists,
            columns,
            keys,
            checks,
            foreign_keys,
            indexes,
            options,
            on_commit,
            lineage,
            source,
            with_data,
        } = ddl
        else {
            return Err(SqlError::internal("not CREATE TABLE"));
        };
        let schema = self.creation_schema(*schema)?;
        let catalog = self.latest_catalog();
        if self.name_is_taken(&catalog, schema, name, *if_not_exists)? {
            return Ok(None);
        }
        self.temporary.ends_with_commit |= *on_commit != OnCommit::PreserveRows;
        for key in foreign_keys {
            // Who writes to the table that it points to must know of it.
            if let Some(parent) = key.references {
                self.lock_table(parent, "").await?;
            }
        }
        for parent in &lineage.parents {
            let current = self.lock_table(parent.oid, &parent.name).await?;
            if !current.aggregates.is_empty() {
                return Err(SqlError::unsupported("INHERITS of a table with continuous aggregates"));
            }
            // Its columns are in the plan.
            if current.version != parent.version {
                self.stale_plan = true;
                return Err(SqlError::new(
                    SqlState::SerializationFailure,
                    format!("table \"{}\" was changed while the statement was planned", parent.name),
                ));
            }
        }
        let catalog = self.latest_catalog();
        let bound = match (&lineage.bound, lineage.parents.first()) {
            (Some(bound), Some(parent)) => {
                let bound = self.evaluate_bound(bound, parent)?;
                self.check_new_bound(parent, name, &bound).await?;
                Some(bound)
            }
            _ => None,
        };
        let mut oids = Oids::new(&catalog);
        let oid = oids.next();
        let mut table = Table {
            oid,
            tenant: self.tenant,
            schema,
            name: name.clone(),
            owner: self.current_role(),
            acl: self.acl_of_new(AclKind::Table, Some(schema)),
            version: 1,
            storage: oid,
            columns: Vec::new(),
            next_column: 1,
            primary_key: None,
            indexes: Vec::new(),
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            aggregates: Vec::new(),
            materialized: None,
            options: options.clone(),
            on_commit: *on_commit,
            parents: lineage.parents.iter().map(|parent| parent.oid).collect(),
            partitioning: None,
            bound,
            constraint_comments: Vec::new(),
            comment: None,
        };
        let mut others = Vec::new();
        for definition in columns {
            names::check_column(&definition.name)?;
            if table.column_position(&definition.name).is_some() {
                return Err(SqlError::new(
                    SqlState::DuplicateColumn,
                    format!("column \"{}\" specified more than once", definition.name),
                ));
            }
            let (column, sequence) = self.new_column(&catalog, &mut table, definition, &mut oids)?;
            table.columns.push(column);
            others.extend(sequence);
        }
        table.partitioning = partitioning(&table, lineage)?;
        let mut taken = vec![name.clone()];
        for key in keys {
            let index = new_key(&catalog, &mut table, key, oids.next(), &mut taken)?;
            others.push(CatalogChange::Put(Object::Index(Arc::new(index))));
        }
        for check in &lineage.checks {
            taken.push(check.name.clone());
            table.checks.push(perigee_types::catalog::Check { oid: oids.next(), ..check.clone() });
        }
        // Names that are given come first: those that are chosen make way for them.
        let mut ordered: Vec<_> = checks.iter().collect();
        ordered.sort_by_key(|check| check.name.is_none());
        for check in ordered {
            let check = new_check(&catalog, &table, check, oids.next(), &mut taken)?;
            table.checks.push(check);
        }
        // PostgreSQL tests them in the order of their names.
        table.checks.sort_by(|a, b| a.name.cmp(&b.name));
        for key in foreign_keys {
            let key = new_foreign_key(&catalog, &table, &others, key, oids.next(), &mut taken)?;
            table.foreign_keys.push(key);
        }
        let table = Arc::new(table);
        self.change_table(table.clone(), others, |row| row)?;
        for parent in &lineage.parents {
            self.touch_parent(parent.oid)?;
            if lineage.bound.is_some() {
                self.follow_parent(parent.oid, table.oid).await?;
            }
        }
        for index in indexes {
            let PlainIndex { keys, predicate, include, unique } = index.clone();
            let table = table.clone();
            let (name, instead_of, if_not_exists) = (None, None, false);
            let index = Ddl::CreateIndex { table, name, keys, predicate, include, unique, instead_of, if_not_exists };
            self.create_index(&index).await?;
        }
        let Some(source) = source else { return Ok(None) };
        if !with_data {
            return Ok(Some(0));
        }
        self.fill(&table, source, parameters).await.map(Some)
    }

    /// Puts the rows of a query into a table that this transaction has made; their count.
    pub(super) async fn fill(&mut self, table: &Arc<Table>, source: &Query, parameters: &[Value]) -> SqlResult<u64> {
        let mut target = self.target(table, "CREATE TABLE AS").await?;
        let engine = self.engine.clone();
        self.transaction()?.begin_statement(&engine);
        let view = self.view()?;
        let mut stream = engine.query.run(source, parameters, view);
        let mut count = 0;
        while let Some(batch) = stream.next().await {
            for row in perigee_storage::arrow_value::batch_to_rows(&batch?) {
                self.transaction()?.insert_row(&target, row).await?;
                count += 1;
            }
            self.stage_if_large(&mut target, false).await?;
        }
        Ok(count)
    }

    /// Whether the statement is done because the name is there and that is fine.
    pub(super) fn name_is_taken(
        &mut self,
        catalog: &Catalog,
        schema: Oid,
        name: &str,
        if_not_exists: bool,
    ) -> SqlResult<bool> {
        if catalog.relation(schema, name).is_none() {
            return Ok(false);
        }
        let text = format!("relation \"{name}\" already exists");
        if !if_not_exists {
            return Err(SqlError::new(SqlState::DuplicateTable, text));
        }
        self.notify(format!("{text}, skipping"));
        Ok(true)
    }

    /// The catalog's column for a definition, and the sequence that comes with it.
    pub(super) fn new_column(
        &self,
        catalog: &Catalog,
        table: &mut Table,
        definition: &ColumnDefinition,
        oids: &mut Oids,
    ) -> SqlResult<(Column, Option<CatalogChange>)> {
        let mut column = definition.column(table.next_column);
        table.next_column += 1;
        let Some(kind) = definition.sequence else { return Ok((column, None)) };
        let name = names::choose(catalog, table.schema, &[], &table.name, &definition.name, "seq");
        let base = self.new_sequence(oids.next(), table.schema, name, definition.ty.clone());
        let base = Sequence { owned_by: Some((table.oid, column.number)), ..base };
        let sequence = super::sequence::defined(base, &definition.clauses, true)?;
        column.not_null = true;
        column.default = Some(ColumnDefault::Sequence(sequence.oid));
        column.identity_always = match kind {
            SequenceColumn::Serial => None,
            SequenceColumn::IdentityByDefault => Some(false),
            SequenceColumn::IdentityAlways => Some(true),
        };
        Ok((column, Some(CatalogChange::Put(Object::Sequence(Arc::new(sequence))))))
    }

    pub(super) fn create_view(&mut self, ddl: &Ddl) -> SqlResult<()> {
        let Ddl::CreateView { schema, becomes_temporary, name, replace, columns, query, depends_on, check_option } =
            ddl
        else {
            return Err(SqlError::internal("not CREATE VIEW"));
        };
        if *becomes_temporary {
            self.notify(format!("view \"{name}\" will be a temporary view"));
        }
        let schema = self.creation_schema(*schema)?;
        let catalog = self.latest_catalog();
        let mut kept_acl = self.acl_of_new(AclKind::Table, Some(schema));
        let mut owner = self.current_role();
        let oid = match catalog.relation(schema, name) {
            None => Oids::new(&catalog).next(),
            Some(Object::View(old)) if *replace => {
                refuse_other_columns(&old.columns, columns)?;
                kept_acl.clone_from(&old.acl);
                owner = old.owner;
                old.oid
            }
            Some(other) if *replace => {
                return Err(SqlError::new(SqlState::WrongObjectType, format!("\"{}\" is not a view", other.name())));
            }
            Some(_) => {
                return Err(SqlError::new(SqlState::DuplicateTable, format!("relation \"{name}\" already exists")));
            }
        };
        let view = View {
            oid,
            tenant: self.tenant,
            schema,
            name: name.clone(),
            owner,
            acl: kept_acl,
            query: query.clone(),
            columns: columns.clone(),
            depends_on: depends_on.clone(),
            check_option: *check_option,
            comment: None,
        };
        self.change(vec![CatalogChange::Put(Object::View(Arc::new(view)))])
    }

    pub(super) fn create_schema(&mut self, name: &str, if_not_exists: bool, owner: Option<&RoleName>) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let identity = self.identity(&catalog);
        let owner = match owner {
            Some(owner) => {
                self.check_new_owner(&catalog, &identity, owner, None)?;
                self.named_role(&catalog, owner)?.oid
            }
            None => identity.role.oid,
        };
        if name.starts_with("pg_") {
            return Err(SqlError::new(SqlState::ReservedName, format!("unacceptable schema name \"{name}\""))
                .detail("The prefix \"pg_\" is reserved for system schemas."));
        }
        if catalog.schema(self.tenant, name).is_some() {
            let text = format!("schema \"{name}\" already exists");
            if !if_not_exists {
                return Err(SqlError::new(SqlState::DuplicateSchema, text));
            }
            self.notify(format!("{text}, skipping"));
            return Ok(());
        }
        let oid = Oids::new(&catalog).next();
        let schema = Schema {
            oid,
            tenant: self.tenant,
            name: name.to_owned(),
            owner,
            comment: None,
            acl: self.acl_of_new(AclKind::Schema, None),
        };
        self.change(vec![CatalogChange::Put(Object::Schema(Arc::new(schema)))])
    }
}

/// OR REPLACE may add columns behind those that a view has, nothing else.
fn refuse_other_columns(old: &[(String, SqlType)], new: &[(String, SqlType)]) -> SqlResult<()> {
    let refuse = |text: String| SqlError::new(SqlState::InvalidTableDefinition, text);
    if new.len() < old.len() {
        return Err(refuse("cannot drop columns from view".to_owned()));
    }
    for ((old, from), (new, to)) in old.iter().zip(new) {
        if old != new {
            return Err(refuse(format!("cannot change name of view column \"{old}\" to \"{new}\""))
                .hint("Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead."));
        }
        if from != to {
            return Err(refuse(format!("cannot change data type of view column \"{old}\" from {from} to {to}")));
        }
    }
    Ok(())
}

/// The index of a PRIMARY KEY or UNIQUE constraint; enters it in the table.
pub(super) fn new_key(
    catalog: &Catalog,
    table: &mut Table,
    key: &KeyConstraint,
    oid: Oid,
    taken: &mut Vec<String>,
) -> SqlResult<Index> {
    if key.primary && table.primary_key.is_some() {
        return Err(SqlError::new(
            SqlState::InvalidTableDefinition,
            format!("multiple primary keys for table \"{}\" are not allowed", table.name),
        ));
    }
    let mut columns = Vec::new();
    for name in &key.columns {
        let position = table.column_position(name).ok_or_else(|| {
            SqlError::new(SqlState::UndefinedColumn, format!("column \"{name}\" named in key does not exist"))
        })?;
        if let Some(column) = table.columns.get_mut(position) {
            if columns.contains(&column.number) {
                return Err(SqlError::new(
                    SqlState::DuplicateColumn,
                    format!("column \"{name}\" appears twice in primary key constraint"),
                ));
            }
            column.not_null |= key.primary;
            columns.push(column.number);
        }
    }
    check_unique(table, &columns, key.primary)?;
    let name = match &key.name {
        Some(name) => name.clone(),
        None if key.primary => names::choose(catalog, table.schema, taken, &table.name, "", "pkey"),
        None => names::choose(catalog, table.schema, taken, &table.name, &key.columns.join("_"), "key"),
    };
    if catalog.relation(table.schema, &name).is_some() || taken.contains(&name) {
        return Err(SqlError::new(SqlState::DuplicateTable, format!("relation \"{name}\" already exists")));
    }
    taken.push(name.clone());
    table.indexes.push(oid);
    if key.primary {
        table.primary_key = Some(oid);
    }
    Ok(Index {
        oid,
        table: table.oid,
        schema: table.schema,
        name,
        columns,
        unique: true,
        constraint: true,
        parent: None,
        definition: IndexDefinition { deferral: key.deferral, ..IndexDefinition::default() },
        state: IndexState::Valid,
        comment: None,
    })
}
