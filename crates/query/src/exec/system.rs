//! The hook for `pg_catalog` and `information_schema`.

use std::sync::Arc;

use datafusion::catalog::TableProvider;

/// The system schemas' tables. Their providers read the catalog of the [`crate::exec::ReadView`] that
/// [`crate::exec::view::read_view`] finds in the session at `scan`, so plans over them are cached as any other.
pub trait SystemTables: Send + Sync {
    /// The table `schema.name`, where it exists. `schema` is `pg_catalog`, `information_schema` or `perigee`.
    fn table(&self, schema: &str, name: &str) -> Option<Arc<dyn TableProvider>>;

    /// The oid of a relation of a system schema, for `regclass`.
    fn oid(&self, _schema: &str, _name: &str) -> Option<perigee_types::Oid> {
        None
    }

    /// Functions of the system schemas, by [`crate::exec::postgres`]'s rules or DataFusion's.
    fn functions(&self) -> Vec<Arc<datafusion::logical_expr::ScalarUDF>> {
        Vec::new()
    }
}

/// No system tables.
#[derive(Debug, Default)]
pub struct NoSystemTables;

impl SystemTables for NoSystemTables {
    fn table(&self, _schema: &str, _name: &str) -> Option<Arc<dyn TableProvider>> {
        None
    }
}

/// The system tables of this build.
#[must_use]
pub fn system_tables() -> Arc<dyn SystemTables> {
    Arc::new(crate::pg_catalog::SystemCatalog)
}

/// The oid of a system table.
pub(crate) fn system_table_oid(schema: &str, name: &str) -> Option<perigee_types::Oid> {
    system_tables().oid(schema, name)
}
