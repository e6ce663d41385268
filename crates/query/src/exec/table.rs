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
use perigee_plan::relational::{TABLE_OID_COLUMN, VID_COLUMN};
use perigee_types::SqlType;
use perigee_types::catalog::{Column, Index, IndexDefinition, Table};

use super::scan;
use super::view::ReadView;

/// What of a table a name in a statement stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Its own rows alone, not those of its partitions and of tables that inherit from it.
    pub only: bool,
    /// The schema ends with [`VID_COLUMN`], behind which only the next may stand.
    pub vid: bool,
    /// As well, where rows are only read: `ctid` is made of it.
    pub tid: bool,
    /// The schema ends with [`TABLE_OID_COLUMN`].
    pub oid: bool,
}

impl Shape {
    /// Whether the schema has [`VID_COLUMN`].
    pub(super) fn has_vid(self) -> bool {
        self.vid || self.tid
    }

    /// The columns of the table that the schema begins with: who writes rows needs the hidden ones too.
    pub(super) fn columns(self, table: &Table) -> &[Column] {
        if self.vid { &table.columns } else { table.visible_columns() }
    }
}

/// Of which rows LATEST ON keeps the newest: names of columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewestOf {
    pub(super) partition: Vec<String>,
    pub(super) time: String,
    /// WHERE says how new they may be at most.
    pub(super) bounded: bool,
}

/// Behind a table's name: only the newest rows are asked for. What LATEST ON names follows as [`NewestOf::mark`] writes it.
pub const LATEST_MARK: &str = "\u{1}latest";

impl NewestOf {
    /// What stands behind a table's name.
    #[must_use]
    pub fn mark(table: &Table, time: usize, partition: &[usize], bounded: bool) -> Option<String> {
        let number = |place: &usize| Some(table.columns.get(*place)?.number.to_string());
        let numbers = std::iter::once(&time).chain(partition).map(number).collect::<Option<Vec<_>>>()?;
        Some(format!("{LATEST_MARK}{}{}", if bounded { "<" } else { "" }, numbers.join(",")))
    }

    /// Reads what stands behind [`LATEST_MARK`].
    pub(super) fn parse(table: &Table, mark: &str) -> Option<Self> {
        let numbers = mark.strip_prefix('<');
        let (bounded, numbers) = (numbers.is_some(), numbers.unwrap_or(mark));
        let name = |number: &str| {
            let place = table.number_position(number.parse().ok()?)?;
            Some(table.columns.get(place)?.name.clone())
        };
        let mut names = numbers.split(',').map(name);
        let time = names.next()??;
        Some(Self { time, partition: names.collect::<Option<_>>()?, bounded })
    }
}

/// A table. Holds no rows: they come from the [`super::ReadView`] of the statement that scans it.
pub(super) struct CatalogTable {
    table: Arc<Table>,
    shape: Shape,
    schema: SchemaRef,
    constraints: Constraints,
    newest: Option<NewestOf>,
}

/// The table that a scan reads; `None` for one of the system.
///
/// # Errors
/// Internal, for a source that is not one of a provider.
pub(crate) fn scanned_table(source: &Arc<dyn TableSource>) -> Result<Option<Arc<Table>>> {
    let provider = source_as_provider(source)?;
    Ok(provider.downcast_ref::<CatalogTable>().map(|table| Arc::clone(&table.table)))
}

/// Whether a scan is the one that finds the rows which a write changes: it gives the version's number.
///
/// # Errors
/// As [`scanned_table`].
pub(crate) fn finds_written_rows(source: &Arc<dyn TableSource>) -> Result<bool> {
    let provider = source_as_provider(source)?;
    Ok(provider.downcast_ref::<CatalogTable>().is_some_and(|table| table.shape.vid))
}

impl CatalogTable {
    /// `unique`: the indexes that all of its rows obey.
    pub(super) fn new(table: Arc<Table>, unique: &[Arc<Index>], shape: Shape) -> Self {
        let mut fields: Vec<Field> =
            shape.columns(&table).iter().map(|c| c.ty.field(c.name.clone(), !c.not_null)).collect();
        if shape.has_vid() {
            fields.push(Field::new(VID_COLUMN, DataType::UInt64, false));
        }
        if shape.oid {
            fields.push(SqlType::Oid.field(TABLE_OID_COLUMN, false));
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
        Self { schema: Arc::new(Schema::new(fields)), constraints, shape, table, newest: None }
    }

    /// Asks for the newest rows alone, or for more where there is no fast way to them.
    pub(super) fn with_newest(mut self, newest: Option<NewestOf>) -> Self {
        self.newest = newest;
        self
    }

    pub(super) fn newest(&self) -> Option<&NewestOf> {
        self.newest.as_ref()
    }

    /// The table as planned.
    pub(super) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Rows that a scan of it reads at most, about.
    pub(super) fn rows(&self, view: &ReadView) -> u64 {
        let count = |table: &Table| view.snapshot.table(table.storage).map_or(0, |store| store.row_count());
        let catalog = &view.snapshot.catalog;
        if self.shape.only || !catalog.has_children(self.table.oid) {
            return count(&self.table);
        }
        catalog.family(&self.table).iter().map(|table| count(table)).fold(0, u64::saturating_add)
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
        scan::plan(self, state, projection, filters, limit)
    }
}
