//! What DataFusion's SQL planner asks: tables by name, functions, operators, types.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableFunctionArgs;
use datafusion::common::{DFSchema, TableReference};
use datafusion::config::ConfigOptions;
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::scalar::ScalarValue;
use datafusion::sql::planner::{NullOrdering, ParserOptions};
use parking_lot::Mutex;
use perigee_types::catalog::{Catalog, Continuous, Materialized, Object, Sequence, TEMPORARY_PREFIX, Table, View};
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType, TableId, TenantId};

use super::error::{from_sql, sql_error};
use super::postgres::constructor_of;
use super::system::SystemTables;
use super::table::{CatalogTable, LATEST_MARK, NewestOf, Shape};
use super::{template, type_names};
use crate::pg_catalog::deparse::parse_ident;
use crate::pg_catalog::{SEQUENCE_CALLED, SEQUENCE_VALUE};

/// System tables that hold passwords: only superusers read them.
pub const RESTRICTED: &[(Oid, &str)] = &[(Oid(1260), "pg_authid"), (Oid(12_005), "pg_shadow")];

/// Plans the query of a view. The SQL front implements it, because views are kept as text.
pub trait ViewPlanner {
    /// The view's query, analyzed or not, with the view's column names.
    ///
    /// # Errors
    /// What planning its text gives.
    fn plan_view(&self, view: &View) -> SqlResult<LogicalPlan>;

    /// How a continuous aggregate is read.
    ///
    /// # Errors
    /// What planning its text gives.
    fn plan_continuous(&self, view: &Arc<Table>, continuous: &Continuous) -> SqlResult<LogicalPlan>;
}

/// Against what names are resolved.
#[derive(Clone)]
pub struct PlanningOptions<'a> {
    /// The catalog of the statement's snapshot.
    pub catalog: Arc<Catalog>,
    /// The tenant of the session's database.
    pub tenant: TenantId,
    /// The session's database; `database.schema.table` may name it.
    pub database: &'a str,
    /// Schemas for bare names, in order; `pg_catalog` comes first by itself where it is not listed.
    pub search_path: &'a [String],
    /// What `pg_temp` stands for: the schema of the session's temporary objects.
    pub temporary: &'a str,
    /// Plans views; without one a view is unknown.
    pub views: Option<&'a dyn ViewPlanner>,
    /// Tables whose scans end with the hidden [`perigee_plan::relational::VID_COLUMN`].
    pub with_vid: &'a [TableId],
}

/// Behind a table's name: its own rows alone.
pub const ONLY_MARK: &str = "\u{1}only";
/// Behind a table's name: its scan ends with [`perigee_plan::relational::TABLE_OID_COLUMN`].
pub const TABLE_OID_MARK: &str = "\u{1}oid";
/// Behind a table's name and the marks above: its scan has the hidden column that `ctid` is made of.
pub const TID_MARK: &str = "\u{1}tid";

/// A [`ContextProvider`] over a catalog. Serves one statement.
pub struct Planning<'a> {
    options: PlanningOptions<'a>,
    system: Arc<dyn SystemTables>,
    state: &'static SessionState,
    reads: Mutex<BTreeSet<Oid>>,
}

impl<'a> Planning<'a> {
    /// Resolves names as `options` say.
    #[must_use]
    pub fn new(options: PlanningOptions<'a>) -> Self {
        Self { options, system: super::system::system_tables(), state: template::planning(), reads: Mutex::default() }
    }

    /// Options for [`datafusion::sql::planner::SqlToRel::new_with_options`].
    #[must_use]
    pub fn parser_options(&self) -> ParserOptions {
        ParserOptions::new()
            .with_parse_float_as_decimal(true)
            .with_enable_ident_normalization(true)
            .with_default_null_ordering(NullOrdering::NullsMax)
    }

    /// The tables and views that names were resolved to so far.
    #[must_use]
    pub fn reads(&self) -> Vec<Oid> {
        self.reads.lock().iter().copied().collect()
    }

    /// A table as a source for [`datafusion::logical_expr::LogicalPlanBuilder::scan`].
    #[must_use]
    pub fn source(&self, table: &Arc<Table>, shape: Shape) -> Arc<dyn TableSource> {
        provider_as_source(Arc::new(self.table(table, shape)))
    }

    fn table(&self, table: &Arc<Table>, shape: Shape) -> CatalogTable {
        self.reads.lock().insert(table.oid);
        let catalog = &self.options.catalog;
        // Tables that inherit have indexes of their own; those of partitions belong together.
        let alone = shape.only || table.partitioning.is_some() || !catalog.has_children(table.oid);
        let unique = catalog.indexes_of(table).filter(|i| i.unique && alone).cloned().collect::<Vec<_>>();
        CatalogTable::new(Arc::clone(table), &unique, shape)
    }

    /// A table of a system schema as a source.
    ///
    /// # Errors
    /// `42P01`
    pub fn system_source(&self, schema: &str, name: &str) -> SqlResult<Arc<dyn TableSource>> {
        let found = self.system.table(schema, name).map(provider_as_source);
        found.ok_or_else(|| undefined_table(&TableReference::partial(schema.to_owned(), name.to_owned())))
    }

    fn find(&self, name: &TableReference) -> SqlResult<Arc<dyn TableSource>> {
        if let Some(catalog) = name.catalog()
            && catalog != self.options.database
        {
            return Err(SqlError::unsupported(format_args!("cross-database reference \"{name}\"")));
        }
        if let Some(schema) = name.schema() {
            let schema = if schema == "pg_temp" { self.options.temporary } else { schema };
            if schema.starts_with(TEMPORARY_PREFIX) && schema != self.options.temporary {
                return Err(SqlError::new(
                    SqlState::FeatureNotSupported,
                    "cannot access temporary tables of other sessions",
                ));
            }
            if self.options.catalog.schema(self.options.tenant, schema).is_none()
                && !perigee_types::catalog::is_system_schema(schema)
            {
                return Err(undefined_table(name));
            }
            return self.find_in(schema, name.table())?.ok_or_else(|| undefined_table(name));
        }
        let listed = self.options.search_path.iter().any(|s| s == "pg_catalog");
        let implicit = (!listed).then_some("pg_catalog");
        for schema in implicit.into_iter().chain(self.options.search_path.iter().map(String::as_str)) {
            if let Some(found) = self.find_in(schema, name.table())? {
                return Ok(found);
            }
        }
        Err(undefined_table(name))
    }

    fn find_in(&self, schema: &str, name: &str) -> SqlResult<Option<Arc<dyn TableSource>>> {
        if perigee_types::catalog::is_system_schema(schema) {
            if let Some((oid, _)) = RESTRICTED.iter().find(|(_, restricted)| *restricted == name) {
                self.reads.lock().insert(*oid);
            }
            return Ok(self.system.table(schema, name).map(provider_as_source));
        }
        let catalog = &self.options.catalog;
        let Some(schema) = catalog.schema(self.options.tenant, schema) else { return Ok(None) };
        let (name, newest) = match name.split_once(LATEST_MARK) {
            Some((name, of)) => (name, Some(of)),
            None => (name, None),
        };
        let (name, tid) = name.strip_suffix(TID_MARK).map_or((name, false), |name| (name, true));
        let (name, shape) = match (name.strip_suffix(ONLY_MARK), name.strip_suffix(TABLE_OID_MARK)) {
            (Some(name), _) => (name, Shape { only: true, tid, ..Shape::default() }),
            (None, Some(name)) => (name, Shape { oid: true, tid, ..Shape::default() }),
            (None, None) => (name, Shape { tid, ..Shape::default() }),
        };
        match catalog.relation(schema.oid, name) {
            Some(Object::Table(table)) => {
                // What a statement writes to is read as it is stored.
                let vid = self.options.with_vid.contains(&table.oid);
                match table.materialized.as_deref().filter(|_| !vid) {
                    Some(Materialized { continuous: Some(continuous), .. }) => {
                        self.continuous(table, continuous).map(Some)
                    }
                    Some(Materialized { populated: false, .. }) => Err(SqlError::new(
                        SqlState::ObjectNotInPrerequisiteState,
                        format!("materialized view \"{}\" has not been populated", table.name),
                    )
                    .hint("Use the REFRESH MATERIALIZED VIEW command.")),
                    _ => {
                        let newest = newest.filter(|_| !vid).and_then(|of| NewestOf::parse(table, of));
                        let provider = self.table(table, Shape { vid, ..shape }).with_newest(newest);
                        Ok(Some(provider_as_source(Arc::new(provider))))
                    }
                }
            }
            Some(Object::View(view)) => self.view(view).map(Some),
            Some(Object::Index(_)) => {
                Err(SqlError::new(SqlState::WrongObjectType, format!("cannot open relation \"{name}\""))
                    .detail("This operation is not supported for indexes."))
            }
            Some(Object::Sequence(sequence)) => self.sequence(sequence).map(Some),
            _ => Ok(None),
        }
    }

    fn continuous(&self, view: &Arc<Table>, continuous: &Continuous) -> SqlResult<Arc<dyn TableSource>> {
        let Some(planner) = self.options.views else { return Ok(self.source(view, Shape::default())) };
        // What it reads below is its owner's matter.
        self.reads.lock().insert(view.oid);
        let plan = planner.plan_continuous(view, continuous)?;
        Ok(provider_as_source(Arc::new(ViewTable::new(plan, None))))
    }

    /// A sequence as a relation of one row.
    fn sequence(&self, sequence: &Sequence) -> SqlResult<Arc<dyn TableSource>> {
        self.reads.lock().insert(sequence.oid);
        let of = |function: &str, column: &str| {
            let known = self.state.scalar_functions().get(function).cloned();
            let function = known.ok_or_else(|| SqlError::internal("a function over sequences is not there"))?;
            let oid = Expr::Literal(ScalarValue::UInt32(Some(sequence.oid.0)), None);
            Ok::<_, SqlError>(Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![oid])).alias(column))
        };
        // The log keeps the values themselves: none are logged ahead.
        let ahead = Expr::Literal(ScalarValue::Int64(Some(0)), None).alias("log_cnt");
        let columns = [of(SEQUENCE_VALUE, "last_value")?, ahead, of(SEQUENCE_CALLED, "is_called")?];
        let plan = LogicalPlanBuilder::empty(true).project(columns).and_then(LogicalPlanBuilder::build);
        Ok(provider_as_source(Arc::new(ViewTable::new(plan.map_err(sql_error)?, None))))
    }

    fn view(&self, view: &View) -> SqlResult<Arc<dyn TableSource>> {
        let Some(planner) = self.options.views else {
            return Err(SqlError::unsupported(format_args!("view \"{}\" here", view.name)));
        };
        self.reads.lock().insert(view.oid);
        let plan = planner.plan_view(view)?;
        Ok(provider_as_source(Arc::new(ViewTable::new(plan, Some(view.query.clone())))))
    }
}

/// The function that makes ranges of a type that a user made, by its name as the planner writes it.
fn constructor(name: &str) -> Option<Arc<ScalarUDF>> {
    let parts = if name.contains('.') { parse_ident(name)? } else { vec![name.to_owned()] };
    constructor_of(&type_names::find(&parts)?.kind)
}

/// Analyzes and optimizes a plan for the statement cache: placeholders and session values stay in it.
///
/// # Errors
/// What the plan's types, names or constants refuse.
pub fn optimize(plan: &LogicalPlan) -> SqlResult<LogicalPlan> {
    crate::pg_catalog::rewrite(plan.clone()).and_then(super::subplan::optimize).map_err(sql_error)
}

/// The types that the columns of a plan have in the end. Those of its own schema may be others: a CASE has the type of its
/// first result until the analysis gives all of them a common one.
///
/// `None` for what cannot be analyzed yet; [`optimize`] says why, or can.
pub fn types_behind_analysis(plan: &LogicalPlan) -> Option<Vec<SqlType>> {
    let state = template::planning();
    let plan = crate::pg_catalog::rewrite(plan.clone()).ok()?;
    let analyzed = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).ok()?;
    Some(analyzed.schema().fields().iter().map(|field| SqlType::of_field(field)).collect())
}

/// [`optimize`] for a plan whose catalog casts and subplans are in place.
pub(super) fn optimize_plan(plan: &LogicalPlan) -> Result<LogicalPlan> {
    template::planning().optimize(plan)
}

fn undefined_table(name: &TableReference) -> SqlError {
    let name = name.to_string().replace(ONLY_MARK, "").replace(TABLE_OID_MARK, "").replace(TID_MARK, "");
    SqlError::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist"))
}

impl ContextProvider for Planning<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        self.find(&name).map_err(from_sql)
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> Result<Arc<dyn TableSource>> {
        let function = self.state.table_functions().get(name).ok_or_else(|| {
            from_sql(SqlError::new(SqlState::UndefinedFunction, format!("function {name} does not exist")))
        })?;
        let simplifier = ExprSimplifier::new(
            SimplifyContext::builder().with_config_options(Arc::clone(self.state.config_options())).build(),
        );
        let schema = DFSchema::empty();
        let args = args
            .into_iter()
            .map(|arg| simplifier.coerce(arg, &schema).and_then(|e| simplifier.simplify(e)))
            .collect::<Result<Vec<_>>>()?;
        let provider = function.create_table_provider_with_args(TableFunctionArgs::new(&args, self.state))?;
        Ok(provider_as_source(provider))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.state.relation_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(template::type_planner())
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let known = self.state.scalar_functions().get(name).cloned();
        known.or_else(|| if self.get_aggregate_meta(name).is_some() { None } else { constructor(name) })
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
