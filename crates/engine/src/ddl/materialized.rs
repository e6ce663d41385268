//! CREATE and REFRESH MATERIALIZED VIEW: a table that a query fills.

use std::sync::Arc;

use perigee_plan::Ddl;
use perigee_plan::ddl::ContinuousDefinition;
use perigee_storage::entry::SequenceChange;
use perigee_types::acl::AclKind;
use perigee_types::catalog::{CatalogChange, Continuous, Materialized, Object, OnCommit, Sequence, Table};
use perigee_types::{LogIndex, Oid, SqlError, SqlResult, SqlState, SqlType};

use super::{Oids, names};
use crate::session::Session;

impl Session {
    /// Gives the count of rows; `None` where there is nothing to fill.
    pub(super) async fn create_materialized_view(&mut self, ddl: &Ddl) -> SqlResult<Option<u64>> {
        let Ddl::CreateMaterializedView {
            schema,
            name,
            if_not_exists,
            columns,
            query,
            depends_on,
            source,
            with_data,
            continuous,
        } = ddl
        else {
            return Err(SqlError::internal("not CREATE MATERIALIZED VIEW"));
        };
        let base = match continuous {
            // Nobody writes to it until the view is there: what is written later finds it.
            Some(definition) => Some(self.lock_table(definition.table.oid, &definition.table.name).await?),
            None => None,
        };
        let catalog = self.latest_catalog();
        if self.name_is_taken(&catalog, *schema, name, *if_not_exists)? {
            return Ok(None);
        }
        let mut oids = Oids::new(&catalog);
        let oid = oids.next();
        let position = oids.next();
        let mut materialized = Materialized {
            query: query.clone(),
            depends_on: depends_on.clone(),
            populated: *with_data || continuous.is_some(),
            continuous: None,
        };
        if let (Some(definition), Some(base)) = (continuous, &base) {
            materialized.continuous = Some(continuous_of(definition, base, position));
        }
        let mut table = Table {
            oid,
            tenant: self.tenant,
            schema: *schema,
            name: name.clone(),
            owner: self.current_role(),
            acl: self.acl_of_new(AclKind::Table, Some(*schema)),
            version: 1,
            storage: oid,
            columns: Vec::new(),
            next_column: 1,
            primary_key: None,
            indexes: Vec::new(),
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            aggregates: Vec::new(),
            materialized: Some(Arc::new(materialized)),
            options: Default::default(),
            on_commit: OnCommit::PreserveRows,
            parents: Vec::new(),
            partitioning: None,
            bound: None,
            constraint_comments: Vec::new(),
            comment: None,
        };
        for definition in columns {
            let column = definition.column(table.next_column);
            table.next_column += 1;
            table.columns.push(column);
        }
        let mut others = Vec::new();
        if let Some(base) = &base {
            others.push(CatalogChange::Put(Object::Sequence(Arc::new(Sequence {
                oid: position,
                tenant: self.tenant,
                schema: *schema,
                name: names::choose(&catalog, *schema, &[], name, "position", "seq"),
                owner: self.current_role(),
                comment: None,
                acl: None,
                ty: SqlType::Int8,
                start: 0,
                increment: 1,
                minimum: 0,
                maximum: i64::MAX,
                cycle: false,
                owned_by: Some((oid, 0)),
            }))));
            let mut changed = Table::clone(base);
            changed.aggregates.push(oid);
            changed.version += 1;
            self.change_table(Arc::new(changed), Vec::new(), |row| row)?;
        }
        let table = Arc::new(table);
        self.change_table(Arc::clone(&table), others, |row| row)?;
        let at = self.statement_index()?;
        if continuous.is_some() {
            let at = if *with_data { at } else { LogIndex(0) };
            self.set_position(position, at)?;
        }
        if !with_data {
            return Ok(None);
        }
        self.fill(&table, source, &[]).await.map(Some)
    }

    /// New rows take the place of all that were there.
    pub(super) async fn refresh_materialized_view(&mut self, ddl: &Ddl) -> SqlResult<()> {
        let Ddl::RefreshMaterializedView { view, source, with_data } = ddl else {
            return Err(SqlError::internal("not REFRESH MATERIALIZED VIEW"));
        };
        let current = self.lock_table(view.oid, &view.name).await?;
        let catalog = self.latest_catalog();
        let Some(materialized) = &current.materialized else {
            return Err(SqlError::new(
                SqlState::WrongObjectType,
                format!("\"{}\" is not a materialized view", current.name),
            ));
        };
        let mut materialized = Materialized::clone(materialized);
        materialized.populated = *with_data || materialized.continuous.is_some();
        let at = self.statement_index()?;
        if let Some(continuous) = &mut materialized.continuous {
            if let Some(base) = catalog.table(continuous.table) {
                continuous.storage = base.storage;
            }
            let position = continuous.position;
            self.set_position(position, if *with_data { at } else { LogIndex(0) })?;
        }
        let mut changed = Table::clone(&current);
        changed.storage = Oids::new(&catalog).next();
        changed.version += 1;
        changed.materialized = Some(Arc::new(materialized));
        let changed = Arc::new(changed);
        self.change(vec![CatalogChange::Put(Object::Table(Arc::clone(&changed)))])?;
        self.transaction()?.writes.forget(current.storage);
        if *with_data {
            self.fill(&changed, source, &[]).await?;
        }
        Ok(())
    }

    /// The entry that a statement which begins now sees.
    fn statement_index(&mut self) -> SqlResult<LogIndex> {
        let engine = self.engine.clone();
        Ok(self.transaction()?.begin_statement(&engine).index)
    }

    /// Says through which entry a continuous aggregate's rows are made.
    pub(crate) fn set_position(&mut self, position: Oid, at: LogIndex) -> SqlResult<()> {
        let change = SequenceChange { sequence: position, next: at.0 as i64, called: true };
        self.transaction()?.sequences.push(change);
        Ok(())
    }
}

fn continuous_of(definition: &ContinuousDefinition, base: &Table, position: Oid) -> Continuous {
    let width = definition.width;
    Continuous {
        table: base.oid,
        storage: base.storage,
        time_column: definition.time_column,
        // Columns of a new table are numbered from 1 in order.
        bucket_column: definition.bucket_column as u16 + 1,
        width: (width.months, width.days, width.micros),
        position,
    }
}
