//! Plans over rows in memory: RETURNING, CHECK constraints, generated columns.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, TableSource, TableType};
use datafusion::physical_plan::ExecutionPlan;
use perigee_plan::relational::RETURNING_TABLE;
use perigee_types::catalog::Table;

/// Rows that a plan shall be run over; none while it is planned.
#[derive(Debug)]
struct RowsInMemory {
    schema: SchemaRef,
    rows: Option<RecordBatch>,
}

#[async_trait]
impl TableProvider for RowsInMemory {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = match &self.rows {
            Some(rows) => vec![vec![rows.clone()]],
            None => return Err(DataFusionError::Internal("a plan over rows that it was not given".to_owned())),
        };
        Ok(MemorySourceConfig::try_new_exec(&rows, Arc::clone(&self.schema), projection.cloned())?)
    }
}

/// The source to plan RETURNING with: one column for each visible column of the table.
#[must_use]
pub fn source(table: &Table) -> Arc<dyn TableSource> {
    let fields: Vec<_> = table.visible_columns().iter().map(|c| c.ty.field(c.name.clone(), true)).collect();
    provider_as_source(Arc::new(RowsInMemory { schema: Arc::new(Schema::new(fields)), rows: None }))
}

/// The plan with `rows` under its scan of [`RETURNING_TABLE`]. Columns go by place; their names may differ.
pub(super) fn over(plan: &LogicalPlan, rows: RecordBatch) -> Result<LogicalPlan> {
    plan.clone()
        .transform_up(|node| {
            let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
            if scan.table_name.table() != RETURNING_TABLE && !is_rows(&scan.source) {
                return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
            }
            let schema = scan.source.schema();
            let rows = rows.clone().with_schema(Arc::clone(&schema)).or_else(|_| {
                // Hidden columns stand behind the others.
                let columns = rows.columns().iter().take(schema.fields().len()).cloned().collect();
                let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
                RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)
            })?;
            scan.source = provider_as_source(Arc::new(RowsInMemory { schema, rows: Some(rows) }));
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        })
        .map(|t| t.data)
}

fn is_rows(source: &Arc<dyn TableSource>) -> bool {
    datafusion::datasource::source_as_provider(source).is_ok_and(|p| p.is::<RowsInMemory>())
}
