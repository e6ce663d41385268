//! A system table as DataFusion sees it.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::definition::Definition;
use super::scope::Scope;
use super::tables;
use crate::exec::view::read_view;

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

impl SystemTable {
    /// Whether its rows are objects of the keyspace.
    fn is_of_keyspace(&self) -> bool {
        matches!((self.definition.schema, self.definition.name), ("redis", _) | ("perigee", "idempotency_keys"))
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
        let pushed = if self.is_of_keyspace() {
            TableProviderFilterPushDown::Inexact
        } else {
            TableProviderFilterPushDown::Unsupported
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
        if self.is_of_keyspace() {
            let Definition { name, columns, arrow, .. } = self.definition;
            let types: Vec<_> = columns.iter().map(|column| column.ty.clone()).collect();
            return crate::keyspace::scan(&view, name, &types, arrow, projection, filters, limit);
        }
        let rows = tables::rows(self.definition, &Scope::new(&view));
        let batch = rows.finish(projection)?;
        MemTable::try_new(batch.schema(), vec![vec![batch]])?.scan(state, None, &[], limit).await
    }
}
