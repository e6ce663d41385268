//! What planning asks of a session.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use perigee_types::catalog::Catalog;
use perigee_types::{Oid, SqlType, TableId, TenantId};

use crate::exec::with_types;

/// The session and the catalog that a statement is planned for.
#[derive(Clone, Copy)]
pub struct PlanContext<'a> {
    /// The catalog of the statement's snapshot (with the transaction's own changes).
    pub catalog: &'a Arc<Catalog>,
    /// The tenant of the session's database.
    pub tenant: TenantId,
    /// The session's database.
    pub database: &'a str,
    /// Schemas for bare names, in order, without the implicit `pg_catalog`.
    pub search_path: &'a [String],
    /// The schema of the session's temporary objects, which may not exist yet.
    pub temporary: TemporarySchema<'a>,
    /// `current_user`
    pub user: &'a str,
    /// Oid of the current role.
    pub role: Oid,
    /// A setting by lower-case name.
    pub settings: &'a dyn Fn(&str) -> Option<String>,
    /// The materialized view whose rows the session makes; nobody else may change them.
    pub maintains: Option<TableId>,
    /// Parameter types that the client declared, from `$1`.
    pub declared: &'a [Option<SqlType>],
    /// Where planning notes what the statement uses besides what its plan reads and writes.
    pub uses: Option<&'a Uses>,
    /// Relations that the statement has besides the catalog's: what writes before it in WITH return.
    pub relations: &'a [(String, LogicalPlan)],
}

/// What a statement uses besides what its plan reads and writes.
#[derive(Default)]
pub struct Uses {
    /// The users' functions that it calls, whoever wrote the text that does.
    pub(super) functions: RefCell<BTreeSet<Oid>>,
    /// The schemas that stand before names of functions in its own text, or in a function that it calls.
    pub(super) schemas: RefCell<BTreeSet<Oid>>,
    /// The relations that LIKE names.
    pub(super) likes: RefCell<BTreeSet<Oid>>,
}

impl PlanContext<'_> {
    /// Runs `plan` so that names of types mean those of this context.
    pub(super) fn with_types<T>(&self, plan: impl FnOnce() -> T) -> T {
        with_types(self.catalog, self.tenant, self.search_path, plan)
    }
}

/// The schema of a session's temporary objects.
#[derive(Clone, Copy)]
pub struct TemporarySchema<'a> {
    /// Its name: what `pg_temp` stands for.
    pub name: &'a str,
    /// The search path begins with it although the setting does not name it: it is for finding objects, not for making
    /// them.
    pub implicit: bool,
}
