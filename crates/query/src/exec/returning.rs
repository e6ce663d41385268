//! Plans over rows in memory: RETURNING, CHECK constraints, generated columns.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, TableSource, TableType};
use datafusion::physical_plan::ExecutionPlan;
use perigee_plan::relational::TABLE_OID_COLUMN;
use perigee_types::SqlType;
use perigee_types::catalog::Table;

use super::view::read_view;

/// Rows that a plan shall be run over.
#[derive(Debug)]
struct RowsInMemory {
    schema: SchemaRef,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    /// None while it is planned.
    Unknown,
    These(RecordBatch),
    /// Those that a write of the statement has returned, by its place: the view has them.
    Returned(usize),
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
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = match &self.rows {
            Rows::These(rows) => vec![vec![rows.clone()]],
            Rows::Returned(part) => match read_view(state)?.returned.get(*part) {
                Some(batches) => {
                    let named = batches.iter().map(|batch| self.named(batch)).collect::<Result<_>>()?;
                    vec![named]
                }
                None => return Err(not_given()),
            },
            Rows::Unknown => return Err(not_given()),
        };
        Ok(MemorySourceConfig::try_new_exec(&rows, Arc::clone(&self.schema), projection.cloned())?)
    }
}

impl RowsInMemory {
    /// The batch under this relation's names.
    fn named(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = batch.columns().to_vec();
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

fn not_given() -> DataFusionError {
    DataFusionError::Internal("a plan over rows that it was not given".to_owned())
}

/// The source to plan with over rows of a table: one column for each visible column.
#[must_use]
pub fn source(table: &Table) -> Arc<dyn TableSource> {
    unknown(visible_fields(table))
}

/// The source to plan RETURNING with: the table's visible columns, columns of other tables, the oid of each row's own table.
#[must_use]
pub fn source_with(table: &Table, others: &[(String, SqlType)]) -> Arc<dyn TableSource> {
    let mut fields = visible_fields(table);
    fields.extend(others.iter().map(|(name, ty)| ty.field(name.clone(), true)));
    fields.push(SqlType::Oid.field(TABLE_OID_COLUMN, true));
    unknown(fields)
}

fn visible_fields(table: &Table) -> Vec<Field> {
    table.visible_columns().iter().map(|c| c.ty.field(c.name.clone(), true)).collect()
}

fn unknown(fields: Vec<Field>) -> Arc<dyn TableSource> {
    provider_as_source(Arc::new(RowsInMemory { schema: Arc::new(Schema::new(fields)), rows: Rows::Unknown }))
}

/// The source to plan with what a write of a WITH clause returns: the columns of its RETURNING under these names. `part` is
/// its place among the writes.
#[must_use]
pub fn part(returning: &LogicalPlan, names: &[String], part: usize) -> Arc<dyn TableSource> {
    let fields = returning.schema().fields().iter().zip(names);
    let fields: Vec<_> = fields.map(|(f, name)| f.as_ref().clone().with_name(name).with_nullable(true)).collect();
    let rows = RowsInMemory { schema: Arc::new(Schema::new(fields)), rows: Rows::Returned(part) };
    provider_as_source(Arc::new(rows))
}

/// The plan with `rows` under its scan of [`perigee_plan::relational::RETURNING_TABLE`]. Columns go by place; their names may differ.
pub(super) fn over(plan: &LogicalPlan, rows: RecordBatch) -> Result<LogicalPlan> {
    plan.clone()
        .transform_up(|node| {
            let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
            if !is_rows(&scan.source) {
                return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
            }
            let schema = scan.source.schema();
            let rows = rows.clone().with_schema(Arc::clone(&schema)).or_else(|_| {
                // Hidden columns stand behind the others.
                let columns = rows.columns().iter().take(schema.fields().len()).cloned().collect();
                let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
                RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)
            })?;
            scan.source = provider_as_source(Arc::new(RowsInMemory { schema, rows: Rows::These(rows) }));
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        })
        .map(|t| t.data)
}

fn is_rows(source: &Arc<dyn TableSource>) -> bool {
    datafusion::datasource::source_as_provider(source)
        .is_ok_and(|p| p.downcast_ref::<RowsInMemory>().is_some_and(|rows| !matches!(rows.rows, Rows::Returned(_))))
}
