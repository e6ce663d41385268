//! A system table as DataFusion sees it.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableSource, TableType};
use datafusion::physical_plan::ExecutionPlan;
use perigee_types::Oid;

use super::definition::Definition;
use super::scope::Scope;
use super::tables;
use crate::exec::view::read_view;
use crate::keyspace::{self, Asked, KeyTable};

/// Whether a scan reads the keyspace.
pub(crate) fn reads_keys(source: &Arc<dyn TableSource>) -> bool {
    source_as_provider(source).is_ok_and(|provider| {
        let table = provider.downcast_ref::<SystemTable>();
        table.is_some_and(|table| KeyTable::of(Oid(table.definition.oid)).is_some())
    })
}

/// Whether a table's rows are computed when it is scanned.
pub(crate) fn is_system_table(provider: &dyn TableProvider) -> bool {
    provider.downcast_ref::<SystemTable>().is_some()
}

/// A system table. Its rows are computed when it is scanned.
pub(super) struct SystemTable {
    definition: &'static Definition,
}

impl SystemTable {
    pub(super) fn new(definition: &'static Definition) -> Self {
        Self { definition }
    }
}

impl fmt::Debug for SystemTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemTable").field("name", &self.definition.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.definition.arrow)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let pushed = match KeyTable::of(Oid(self.definition.oid)) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(vec![pushed; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let view = read_view(state)?;
        if let Some(table) = KeyTable::of(Oid(self.definition.oid)) {
            let Definition { columns, arrow, .. } = self.definition;
            let types: Vec<_> = columns.iter().map(|column| column.ty.clone()).collect();
            return keyspace::scan(&view, state, table, &types, arrow, &Asked { projection, filters, limit });
        }
        let rows = tables::rows(self.definition, &Scope::new(&view));
        let batch = rows.finish(projection)?;
        MemTable::try_new(batch.schema(), vec![vec![batch]])?.scan(state, None, &[], limit).await
    }
}
