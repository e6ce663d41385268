//! The system schemas: `pg_catalog` and `information_schema` as tables over our catalog, and the functions that go
//! with them.
//!
//! ```text
//! definition: columns of every system table (data/columns.txt), rows that never change (data/*.tsv)
//! provider:   a system table for DataFusion; at scan it asks
//! tables:     the rows of one table, computed from the catalog of the statement's ReadView
//! functions:  format_type, pg_get_indexdef, regclass, …
//! rewrite:    casts from and to regclass and regtype
//! ```
//!
//! Names, columns, types and oids of system objects are those of PostgreSQL 15. Tables of what Perigee does not have
//! are there and empty. Nothing here looks at who asks, or at a query's text.

mod builder;
mod definition;
pub(crate) mod deparse;
mod expression;
mod functions;
mod keys;
mod provider;
mod rewrite;
mod routine;
mod scope;
mod tables;
mod view_text;

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use datafusion::catalog::TableProvider;
use datafusion::logical_expr::ScalarUDF;
use perigee_types::catalog::Catalog;
use perigee_types::{Oid, SqlError, SqlResult, SqlType, TenantId, Value};

use crate::exec::SystemTables;

pub(crate) use functions::{SEQUENCE_CALLED, SEQUENCE_VALUE, built_in_function, kind_of_function};
pub(crate) use keys::key_table;
pub(crate) use provider::{is_system_table, reads_keys};
pub(crate) use rewrite::{is_vector, rewrite};
use tables::comment_of;

/// What marks a field of the catalogs that is int2vector or oidvector: to queries it is an array.
pub(crate) const VECTOR_METADATA_KEY: &str = "perigee.vector";

/// A line for each key word of PostgreSQL 15: the word, its category, whether it may be a label without AS.
pub(crate) const KEYWORDS: &str = include_str!("data/keywords.tsv");

/// Whether a name without quotes and schema is the grammar's own (`coalesce`, `select`), and so that of no function.
pub(crate) fn is_grammars(name: &str) -> bool {
    static WORDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
        let words = KEYWORDS.lines().filter_map(|line| {
            let mut cells = line.split('\t');
            let (word, category) = (cells.next()?, cells.next()?);
            matches!(category, "C" | "R").then_some(word)
        });
        words.collect()
    });
    WORDS.contains(name)
}

/// How a session sees names of objects: its catalog and the schemas in its path.
#[derive(Clone, Debug)]
pub struct ObjectNames {
    /// The catalog.
    pub catalog: Arc<Catalog>,
    /// The tenant of the session's database.
    pub tenant: TenantId,
    /// The schemas of `search_path`, in order.
    pub path: Arc<[String]>,
}

impl ObjectNames {
    /// What an oid of type regclass, regtype or regproc shows as text.
    #[must_use]
    pub fn text(&self, oid: Oid, ty: &SqlType) -> String {
        functions::object_text(&self.catalog, self.tenant, &self.path, oid, ty)
    }

    /// The array of oids that text means as an array of one of these types.
    ///
    /// # Errors
    /// Those of [`Self::oid`], and `22P02` for what is no array.
    pub fn oids(&self, text: &str, ty: &SqlType) -> SqlResult<Value> {
        crate::exec::each_named(text, ty, |name| self.oid(name, ty).map(|oid| oid.0))
    }

    /// The oid that text means as a value of one of these types: a number, `-` for none, or a name.
    ///
    /// # Errors
    /// `42P01`, `42704` for a name of nothing, `0A000` for the name of a function.
    pub fn oid(&self, text: &str, ty: &SqlType) -> SqlResult<Oid> {
        let trimmed = text.trim_ascii();
        if crate::exec::is_oid(trimmed) {
            return match perigee_types::text::parse(trimmed, ty)? {
                Value::Oid(oid) => Ok(Oid(oid)),
                _ => Err(SqlError::internal("an oid of another type")),
            };
        }
        crate::exec::object_named(trimmed, ty, &self.catalog, self.tenant, &self.path)
    }
}

/// The system schemas of this build.
#[derive(Debug, Default)]
pub struct SystemCatalog;

impl SystemTables for SystemCatalog {
    fn table(&self, schema: &str, name: &str) -> Option<Arc<dyn TableProvider>> {
        let definition = definition::find(schema, name)?;
        Some(Arc::new(provider::SystemTable::new(definition)))
    }

    fn oid(&self, schema: &str, name: &str) -> Option<Oid> {
        definition::find(schema, name).map(|definition| Oid(definition.oid))
    }

    fn functions(&self) -> Vec<Arc<ScalarUDF>> {
        functions::functions().to_vec()
    }
}

#[cfg(test)]
mod tests;
