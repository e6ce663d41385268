//! CREATE TABLE (also AS a query), CREATE VIEW, CREATE SCHEMA, CREATE SEQUENCE.

use std::sync::Arc;

use perigee_plan::ddl::{ColumnDefinition, KeyConstraint, SequenceColumn};
use perigee_plan::role::RoleName;
use perigee_plan::{Ddl, Query};
use perigee_types::acl::AclKind;
use perigee_types::catalog::{
    Catalog, CatalogChange, Column, ColumnDefault, Index, IndexState, Object, OnCommit, Schema, Sequence, Table, View,
};
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType, Value};

use super::constraint::{new_check, new_foreign_key};
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
            options,
            on_commit,
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
            comment: None,
        };
        let mut others = Vec::new();
        for definition in columns {
            if table.column_position(&definition.name).is_some() {
                return Err(SqlError::new(
                    SqlState::DuplicateColumn,
                    format!("column \"{}\" specified more than once", definition.name),
                ));
            }
            let (column, sequence) = self.new_column(&catalog, &mut table, definition, &mut oids);
            table.columns.push(column);
            others.extend(sequence);
        }
        let mut taken = vec![name.clone()];
        for key in keys {
            let index = new_key(&catalog, &mut table, key, oids.next(), &mut taken)?;
            others.push(CatalogChange::Put(Object::Index(Arc::new(index))));
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
    ) -> (Column, Option<CatalogChange>) {
        let mut column = definition.column(table.next_column);
        table.next_column += 1;
        let Some(kind) = definition.sequence else { return (column, None) };
        let maximum = match definition.ty {
            SqlType::Int2 => i64::from(i16::MAX),
            SqlType::Int4 => i64::from(i32::MAX),
            _ => i64::MAX,
        };
        let sequence = Sequence {
            oid: oids.next(),
            tenant: self.tenant,
            schema: table.schema,
            name: names::choose(catalog, table.schema, &[], &table.name, &definition.name, "seq"),
            owner: self.current_role(),
            acl: self.acl_of_new(AclKind::Sequence, Some(table.schema)),
            ty: definition.ty.clone(),
            start: 1,
            increment: 1,
            minimum: 1,
            maximum,
            cycle: false,
            owned_by: Some((table.oid, column.number)),
        };
        column.not_null = true;
        column.default = Some(ColumnDefault::Sequence(sequence.oid));
        column.identity_always = match kind {
            SequenceColumn::Serial => None,
            SequenceColumn::IdentityByDefault => Some(false),
            SequenceColumn::IdentityAlways => Some(true),
        };
        (column, Some(CatalogChange::Put(Object::Sequence(Arc::new(sequence)))))
    }

    pub(super) fn create_view(&mut self, ddl: &Ddl) -> SqlResult<()> {
        let Ddl::CreateView { schema, becomes_temporary, name, replace, columns, query, depends_on } = ddl else {
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
                let kept = old.columns.len() <= columns.len() && old.columns.iter().zip(columns).all(|(a, b)| a == b);
                if !kept {
                    return Err(SqlError::new(
                        SqlState::InvalidTableDefinition,
                        "cannot change name or data type of a view's columns",
                    ));
                }
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
            acl: self.acl_of_new(AclKind::Schema, None),
        };
        self.change(vec![CatalogChange::Put(Object::Schema(Arc::new(schema)))])
    }

    pub(super) fn create_sequence(&mut self, ddl: &Ddl) -> SqlResult<()> {
        let Ddl::CreateSequence { schema, name, if_not_exists, ty, start, increment, minimum, maximum, cycle } = ddl
        else {
            return Err(SqlError::internal("not CREATE SEQUENCE"));
        };
        let schema = self.creation_schema(*schema)?;
        let catalog = self.latest_catalog();
        if self.name_is_taken(&catalog, schema, name, *if_not_exists)? {
            return Ok(());
        }
        let wrong = |text: String| Err(SqlError::new(SqlState::InvalidParameterValue, text));
        if *increment == 0 {
            return wrong("INCREMENT must not be zero".to_owned());
        }
        let (low, high) = match ty {
            SqlType::Int2 => (i64::from(i16::MIN), i64::from(i16::MAX)),
            SqlType::Int4 => (i64::from(i32::MIN), i64::from(i32::MAX)),
            _ => (i64::MIN, i64::MAX),
        };
        let minimum = minimum.unwrap_or(if *increment > 0 { 1 } else { low });
        let maximum = maximum.unwrap_or(if *increment > 0 { high } else { -1 });
        if minimum >= maximum {
            return wrong(format!("MINVALUE ({minimum}) must be less than MAXVALUE ({maximum})"));
        }
        let start = start.unwrap_or(if *increment > 0 { minimum } else { maximum });
        if start < minimum {
            return wrong(format!("START value ({start}) cannot be less than MINVALUE ({minimum})"));
        }
        if start > maximum {
            return wrong(format!("START value ({start}) cannot be greater than MAXVALUE ({maximum})"));
        }
        let sequence = Sequence {
            oid: Oids::new(&catalog).next(),
            tenant: self.tenant,
            schema,
            name: name.clone(),
            owner: self.current_role(),
            acl: self.acl_of_new(AclKind::Sequence, Some(schema)),
            ty: ty.clone(),
            start,
            increment: *increment,
            minimum,
            maximum,
            cycle: *cycle,
            owned_by: None,
        };
        self.change(vec![CatalogChange::Put(Object::Sequence(Arc::new(sequence)))])
    }
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
        definition: Default::default(),
        state: IndexState::Valid,
        comment: None,
    })
}
