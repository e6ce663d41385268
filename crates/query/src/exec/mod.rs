//! DataFusion over storage: what runs a [`perigee_plan::Query`].
//!
//! Planning and running are apart. Planning needs a catalog and no data: [`Planning`] resolves names for DataFusion's
//! SQL planner and [`optimize`] makes the plan that the statement cache keeps. Running needs a [`ReadView`]: which
//! snapshot, which uncommitted rows, whose session. Nothing in a plan points at either; table scans and session values
//! (`now()`, `current_user`) take them from the view when a [`QueryRuntime`] binds the plan.
//!
//! ```text
//! SQL --SqlToRel over Planning--> LogicalPlan --optimize--> cached
//!                                                              |
//!            parameters, ReadView --> bind --> physical plan --+--> BatchStream
//! ```
//!
//! - [`view`]: what a statement reads
//! - [`reads`]: what a transaction has scanned, for SERIALIZABLE
//! - [`planning`]: names, functions and types for the SQL planner
//! - `family`: which partitions of a table a scan reads
//! - [`runtime`]: threads, memory, binding and running
//! - `asof`: ASOF JOIN
//! - `one_by_one`: conditions of filters that guard later ones
//! - `subplan`: subqueries that depend on outer rows
//! - `subquery_order`: ORDER BY of subqueries in FROM
//! - [`stream`]: batches on their way to the caller
//! - [`explain`]: plans as text
//! - [`error`]: DataFusion's errors as SQLSTATEs

mod aggregate_keys;
pub(crate) mod asof;
mod bind;
mod cooperative;
pub mod error;
pub mod explain;
mod family;
mod one_by_one;
mod own_names;
pub mod pending;
pub mod planning;
mod postgres;
mod pushdown;
pub mod reads;
pub mod returning;
pub mod rewrite;
pub mod runtime;
mod scalar;
mod scan;
mod sort_keys;
pub mod stream;
mod subplan;
mod subquery_order;
pub mod system;
mod table;
mod template;
mod type_names;
pub mod type_planner;
mod values;
pub mod view;

pub use error::{from_sql, sql_error};
pub(crate) use pending::pending_filter;
pub use planning::{
    ONLY_MARK, Planning, PlanningOptions, RESTRICTED, TABLE_OID_MARK, TID_MARK, ViewPlanner, optimize,
    types_behind_analysis,
};
pub(crate) use postgres::{
    ALL, ANY, BIT_NOT, BOUND_LEFT_OUT, BUCKETS, DOMAIN_VALUE, JSON_ROW, ORDINALITY, PLACES, RECORD, RECORD_SET, ROW,
    ROW_TID, SLICE, SUBSCRIPTED, UNNEST, VARIADIC, VECTOR_SUBSCRIPTS, WITH_TIES, common_of, each_named, is_oid,
    object_named, parameter_types, plain_object, plain_object_named, record_columns, without_modifier,
};
pub use rewrite::rewrite_expression;
pub use runtime::{QueryOptions, QueryRuntime};
pub use stream::BatchStream;
pub use system::SystemTables;
pub(crate) use system::system_table_oid;
pub use table::Shape;
pub use table::{LATEST_MARK, NewestOf};
pub(crate) use table::{finds_written_rows, scanned_table};
pub(crate) use template::{is_aggregate, scalar_function};
pub(crate) use type_names::{watch as watch_types, with_types};
pub(crate) use type_planner::domain_of;
pub use type_planner::sql_type_of;
pub use view::{
    AdvisoryLock, ClusterMember, ClusterState, CompatGap, KeysView, NamedStatement, QueryStatistics, ReadView,
    SessionActivity, SessionFacts, SessionServices, SessionSignal,
};

#[cfg(test)]
pub(crate) mod tests;
