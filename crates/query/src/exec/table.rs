//! A table of the catalog as DataFusion sees it.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Constraint, Constraints};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableSource, TableType};
use datafusion::physical_plan::ExecutionPlan;
use perigee_plan::relational::VID_COLUMN;
use perigee_types::catalog::{Index, IndexDefinition, Table};

use super::scan;

/// A table. Holds no rows: they come from the [`super::ReadView`] of the statement that scans it.
pub(super) struct CatalogTable {
    table: Arc<Table>,
    schema: SchemaRef,
    constraints: Constraints,
}

/// The table that a scan reads; `None` for one of the system.
///
/// # Errors
/// Internal, for a source that is not one of a provider.
pub(crate) fn scanned_table(source: &Arc<dyn TableSource>) -> Result<Option<Arc<Table>>> {
    let provider = source_as_provider(source)?;
    Ok(provider.downcast_ref::<CatalogTable>().map(|table| Arc::clone(&table.table)))
}

/// Whether a scan is the one that finds the rows which a write changes: it ends with the version's number.
///
/// # Errors
/// As [`scanned_table`].
pub(crate) fn finds_written_rows(source: &Arc<dyn TableSource>) -> Result<bool> {
    let provider = source_as_provider(source)?;
    let last = |table: &CatalogTable| table.schema.fields().last().map(|field| field.name() == VID_COLUMN);
    Ok(provider.downcast_ref::<CatalogTable>().and_then(last).unwrap_or_default())
}

impl CatalogTable {
    /// `unique`: its unique indexes. `with_vid`: the schema ends with the hidden column.
    pub(super) fn new(table: Arc<Table>, unique: &[Arc<Index>], with_vid: bool) -> Self {
        // Who writes rows needs all of them.
        let visible = table.visible_columns();
        let columns = if with_vid { &table.columns[..] } else { visible };
        let mut fields: Vec<Field> = columns.iter().map(|c| c.ty.field(c.name.clone(), !c.not_null)).collect();
        if with_vid {
            fields.push(Field::new(VID_COLUMN, DataType::UInt64, false));
        }
        let constraints =
            unique.iter().filter(|index| index.definition == IndexDefinition::default()).filter_map(|index| {
                let positions: Option<Vec<usize>> = index.columns.iter().map(|n| table.number_position(*n)).collect();
                let positions = positions?;
                Some(if table.primary_key == Some(index.oid) {
                    Constraint::PrimaryKey(positions)
                } else {
                    Constraint::Unique(positions)
                })
            });
        let constraints = Constraints::new_unverified(constraints.collect());
        Self { schema: Arc::new(Schema::new(fields)), constraints, table }
    }

    /// The table as planned.
    pub(super) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The visible columns; all live ones and the version's number where rows are written.
    pub(super) fn full_schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Places of columns in which no value stands twice.
    pub(super) fn unique_columns(&self) -> Vec<usize> {
        self.constraints
            .iter()
            .filter_map(|constraint| match constraint {
                Constraint::PrimaryKey(columns) | Constraint::Unique(columns) if columns.len() == 1 => Some(columns[0]),
                _ => None,
            })
            .collect()
    }
}

impl fmt::Debug for CatalogTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatalogTable").field("oid", &self.table.oid).field("name", &self.table.name).finish()
    }
}

#[async_trait]
impl TableProvider for CatalogTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Filters choose chunks; rows are filtered above the scan.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // Filters come again, as physical expressions, when the plan is optimized.
        let limit = if filters.is_empty() { limit } else { None };
        scan::plan(self, state, projection, limit)
    }
}
