//! Which types that users made a name means, while a statement is planned.
//!
//! DataFusion asks for types without a session, and so does the parser's tree in many places. So the catalog and the
//! search path stand beside the call: planning is synchronous and stays on its thread.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use perigee_types::TenantId;
use perigee_types::catalog::{Catalog, TEMPORARY_PREFIX, UserType};

thread_local! {
    static SCOPE: RefCell<Option<Scope>> = const { RefCell::new(None) };
    static TEMPORARY: Cell<bool> = const { Cell::new(false) };
}

/// Where names of types are looked up.
#[derive(Clone)]
struct Scope {
    catalog: Arc<Catalog>,
    tenant: TenantId,
    search_path: Arc<[String]>,
}

/// Puts the scope back that was there before, also when planning panics.
struct Restore(Option<Scope>);

impl Drop for Restore {
    fn drop(&mut self) {
        SCOPE.set(self.0.take());
    }
}

/// Runs `plan` with the types of a catalog.
pub(crate) fn with_types<T>(
    catalog: &Arc<Catalog>,
    tenant: TenantId,
    search_path: &[String],
    plan: impl FnOnce() -> T,
) -> T {
    let scope = Scope { catalog: Arc::clone(catalog), tenant, search_path: search_path.into() };
    let _restore = Restore(SCOPE.replace(Some(scope)));
    plan()
}

/// Runs `plan`, and says whether a name in it meant a temporary type.
pub(crate) fn watch<T>(plan: impl FnOnce() -> T) -> (T, bool) {
    let before = TEMPORARY.replace(false);
    let planned = plan();
    (planned, TEMPORARY.replace(before))
}

/// The type of `name` or `schema.name`, folded.
pub(crate) fn find(name: &[String]) -> Option<Arc<UserType>> {
    SCOPE.with_borrow(|scope| {
        let scope = scope.as_ref()?;
        let within = |schema: &str, name: &str| {
            let oid = scope.catalog.schema(scope.tenant, schema)?.oid;
            let found = scope.catalog.user_type(oid, name).cloned()?;
            TEMPORARY.set(TEMPORARY.get() || schema.starts_with(TEMPORARY_PREFIX));
            Some(found)
        };
        match name {
            [name] => scope.search_path.iter().find_map(|schema| within(schema, name)),
            // The search path has the session's own, once it is there.
            [schema, name] if schema == "pg_temp" => {
                let own = scope.search_path.iter().find(|schema| schema.starts_with(TEMPORARY_PREFIX))?;
                within(own, name)
            }
            [schema, name] => within(schema, name),
            _ => None,
        }
    })
}
