//! The immutable DataFusion states: one to plan with, one to run with.
//!
//! The planning state knows every function and rule and is made once for the process. The running state knows none,
//! because an optimized plan carries its functions, so a copy of it for a statement is cheap.

use std::sync::{Arc, LazyLock};

use datafusion::config::{ConfigOptions, SpillCompression};
use datafusion::error::Result;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SessionState, SessionStateDefaults};
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::logical_expr::{LogicalPlan, ScalarUDF};
use datafusion::optimizer::{Analyzer, OptimizerRule};
use datafusion::prelude::SessionConfig;

use super::aggregate_keys::AggregateKeys;
use super::cooperative::YieldBehindJoins;
use super::one_by_one::OneByOne;
use super::postgres;
use super::type_planner::PostgresTypes;
use super::{asof, pushdown, sort_keys};

/// Rows of a batch, the largest.
pub(super) const BATCH_ROWS: usize = 8192;

/// The state that every statement is planned and optimized with.
pub(super) fn planning() -> &'static SessionState {
    static STATE: LazyLock<SessionState> = LazyLock::new(|| {
        let mut rules = Analyzer::new().rules;
        rules.insert(0, Arc::new(postgres::PostgresSemantics));
        SessionStateBuilder::new()
            .with_config(config(1))
            .with_analyzer_rules(rules)
            .with_optimizer_rules(optimizer_rules())
            .with_expr_planners(postgres::expr_planners())
            .with_type_planner(type_planner())
            .with_scalar_functions(postgres::scalar_functions())
            .with_aggregate_functions(postgres::aggregate_functions())
            .with_window_functions(SessionStateDefaults::default_window_functions())
            .with_table_function_list(postgres::table_functions())
            .build()
    });
    &STATE
}

/// Whether a function of this name makes one row of many.
pub(crate) fn is_aggregate(name: &str) -> bool {
    planning().aggregate_functions().contains_key(name)
}

/// A scalar function by its name.
pub(crate) fn scalar_function(name: &str) -> Option<Arc<ScalarUDF>> {
    planning().scalar_functions().get(name).cloned()
}

/// Optimizes a plan again after its parameters have got their values. It was analyzed before: its types stay.
pub(super) fn optimize_again(plan: LogicalPlan) -> Result<LogicalPlan> {
    planning().optimizer().optimize(plan, planning(), |_, _| {})
}

/// A state to run with on `threads` threads.
pub(crate) fn running(runtime: Arc<RuntimeEnv>, threads: usize) -> SessionState {
    let mut rules = pushdown::physical_rules();
    rules.push(Arc::new(OneByOne));
    rules.push(Arc::new(YieldBehindJoins));
    SessionStateBuilder::new()
        .with_config(config(threads))
        .with_runtime_env(runtime)
        .with_physical_optimizer_rules(rules)
        .with_query_planner(Arc::new(asof::Planner))
        .build()
}

fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = sort_keys::logical_rules();
    rules.insert(0, Arc::new(asof::PlanAsofJoins));
    rules.push(Arc::new(AggregateKeys));
    rules
}

/// The types of SQL text.
pub(super) fn type_planner() -> Arc<dyn TypePlanner> {
    Arc::new(PostgresTypes)
}

fn config(threads: usize) -> SessionConfig {
    let mut options = ConfigOptions::default();
    options.catalog.create_default_catalog_and_schema = false;
    options.catalog.information_schema = false;
    options.sql_parser.dialect = datafusion::common::config::Dialect::PostgreSQL;
    options.sql_parser.parse_float_as_decimal = true;
    // Who needs the order of a subquery is found when there is a whole plan.
    options.sql_parser.enable_subquery_sort_elimination = false;
    options.execution.target_partitions = threads;
    options.execution.spill_compression = SpillCompression::Lz4Frame;
    // What differs is which SQL type a column remembers, and that the logical plan knows.
    options.execution.skip_physical_aggregate_schema_check = true;
    // Timestamps mean UTC unless an expression names the session's zone.
    options.execution.time_zone = Some("+00:00".to_owned());
    SessionConfig::from(options).with_batch_size(BATCH_ROWS)
}
