//! CREATE and REFRESH MATERIALIZED VIEW, and how continuous aggregates are read.
//!
//! A materialized view is a table with a query. A *continuous* one holds groups of one table's rows by ranges of time, and
//! is read as
//!
//! ```text
//!   its own rows, but for ranges that have changed since they were made
//!   UNION ALL the query over the table's rows of those ranges
//! ```
//!
//! so that reading it always gives what its query would give. The ranges are put in when the plan is bound.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::Column;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr as DfExpr, LogicalPlan, LogicalPlanBuilder, Volatility, cast, col};
use perigee_plan::ddl::{ColumnDefinition, ContinuousDefinition};
use perigee_plan::{Ddl, Plan};
use perigee_types::bucket::{BucketWidth, time_value};
use perigee_types::catalog::retention::{TIER, TTL, WARM_RETENTION};
use perigee_types::catalog::{Continuous, Object, TEMPORARY_PREFIX, Table};
use perigee_types::text::{OutputSettings, format, parse as parse_value};
use perigee_types::{Interval, Oid, SqlError, SqlResult, SqlState, SqlType, Value};
use sqlparser::ast::{
    self, CreateTableOptions, CreateView, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident,
    ObjectName, Query, Select, SelectItem, SetExpr, SqlOption, TableFactor, Visit, Visitor,
};

use super::parameters::Parameters;
use super::view::{Views, qualify};
use super::{Planned, names, query};
use crate::exec::{pending_filter, scanned_table, sql_error};
use crate::sql::context::PlanContext;
use crate::sql::parse::{fold, parse};
use crate::sql::statement::Ast;

/// CREATE MATERIALIZED VIEW. `with_data`: not WITH NO DATA.
///
/// # Errors
/// What planning its query gives; `0A000` for a query that cannot be kept up to date continuously.
pub(super) fn create(create: &CreateView, with_data: bool, context: &PlanContext) -> SqlResult<Planned> {
    let name = names::qualified(&create.name, context)?;
    let schema = names::creation_schema(&name, false, context)?;
    let continuous = is_continuous(&create.options)?;
    let mut body = create.query.clone();
    qualify(&mut body, context);
    let parts = if continuous { Some(Parts::of(&body, context)?) } else { None };
    let alone = PlanContext { declared: &[], ..*context };
    let relational = query::relational((*body).clone(), &alone, Parameters::default(), None)?;
    if !relational.parameters.is_empty() {
        return Err(SqlError::new(
            SqlState::UndefinedParameter,
            "materialized views may not be defined using bound parameters",
        ));
    }
    if relational.reads.iter().any(|oid| is_temporary(*oid, context)) {
        return Err(SqlError::unsupported("a materialized view of temporary tables or views"));
    }
    let (source, result) = query::finish(&relational, None, 0, context)?;
    if create.columns.len() > result.len() {
        return Err(SqlError::syntax("too many column names were specified"));
    }
    let mut columns: Vec<ColumnDefinition> = Vec::with_capacity(result.len());
    for (place, column) in result.iter().enumerate() {
        let name = create.columns.get(place).map_or_else(|| column.name.clone(), |given| fold(&given.name));
        if columns.iter().any(|other| other.name == name) {
            return Err(SqlError::new(
                SqlState::DuplicateColumn,
                format!("column \"{name}\" specified more than once"),
            ));
        }
        super::table::no_record(&name, &column.ty)?;
        columns.push(super::table::plain_column(name, column.ty.clone()));
    }
    let continuous = if let Some(parts) = parts {
        check_steady(&relational.logical)?;
        // Analysis puts the session's time zone in where a function asks for it.
        check_no_session_value(&source.logical)?;
        Some(ContinuousDefinition {
            table: Arc::clone(&parts.table),
            time_column: parts.table.columns[parts.time_column].number,
            bucket_column: parts.bucket_column,
            width: parts.interval,
        })
    } else {
        None
    };
    Ok(Planned::command(
        Plan::Ddl(Ddl::CreateMaterializedView {
            schema,
            name: name.1,
            if_not_exists: create.if_not_exists,
            columns,
            query: body.to_string(),
            depends_on: relational.reads,
            source,
            with_data,
            continuous,
        }),
        "CREATE MATERIALIZED VIEW",
    ))
}

fn is_temporary(oid: Oid, context: &PlanContext) -> bool {
    let schema = match context.catalog.object(oid) {
        Some(Object::Table(table)) => table.schema,
        Some(Object::View(view)) => view.schema,
        _ => return false,
    };
    context.catalog.object(schema).is_some_and(|schema| schema.name().starts_with(TEMPORARY_PREFIX))
}

/// Whether WITH (continuous) is there.
fn is_continuous(options: &CreateTableOptions) -> SqlResult<bool> {
    let options = match options {
        CreateTableOptions::None => return Ok(false),
        CreateTableOptions::With(options) | CreateTableOptions::Options(options) => options,
        _ => return Err(SqlError::unsupported("these options of a materialized view")),
    };
    let mut continuous = false;
    for option in options {
        match option {
            SqlOption::Ident(key) if fold(key) == "continuous" => continuous = true,
            SqlOption::KeyValue { key, value } if fold(key) == "continuous" => {
                let value = value.to_string();
                continuous = match value.trim_matches('\'').to_lowercase().as_str() {
                    "true" | "on" | "1" | "yes" => true,
                    "false" | "off" | "0" | "no" => false,
                    _ => {
                        return Err(SqlError::new(
                            SqlState::InvalidParameterValue,
                            format!("invalid value for boolean option \"continuous\": {value}"),
                        ));
                    }
                };
            }
            other => {
                let options = super::table::storage_options(std::slice::from_ref(other))?;
                let aged = options.keys().any(|name| [TTL, WARM_RETENTION, TIER].contains(&name.as_str()));
                super::refuse(aged, "age as an option of a materialized view")?;
            }
        }
    }
    Ok(continuous)
}

/// REFRESH MATERIALIZED VIEW
///
/// # Errors
/// `42P01`, `42809` for what is no materialized view.
pub(super) fn refresh(
    name: &ObjectName,
    concurrently: bool,
    with_data: bool,
    context: &PlanContext,
) -> SqlResult<Planned> {
    let name = names::qualified(name, context)?;
    let view = match names::find(&name, context) {
        Some(Object::Table(table)) if table.materialized.is_some() => Arc::clone(table),
        Some(Object::Table(_)) => {
            let text = format!("\"{}\" is not a materialized view", name.1);
            return Err(SqlError::new(SqlState::FeatureNotSupported, text));
        }
        Some(_) => {
            let text = format!("\"{}\" is not a table or materialized view", name.1);
            return Err(SqlError::new(SqlState::WrongObjectType, text));
        }
        None => return Err(names::undefined_table(&name)),
    };
    if concurrently && !with_data {
        return Err(SqlError::syntax("REFRESH options CONCURRENTLY and WITH NO DATA cannot be used together"));
    }
    let source = planned_source(&view, context)?;
    Ok(Planned::command(
        Plan::Ddl(Ddl::RefreshMaterializedView { view, source, with_data }),
        "REFRESH MATERIALIZED VIEW",
    ))
}

/// The query of a materialized view, over its tables.
fn planned_source(view: &Table, context: &PlanContext) -> SqlResult<perigee_plan::Query> {
    let body = body_of(view)?;
    let alone = PlanContext { declared: &[], ..*context };
    let relational = query::relational(*body, &alone, Parameters::default(), None)?;
    Ok(query::finish(&relational, None, 0, context)?.0)
}

fn body_of(view: &Table) -> SqlResult<Box<Query>> {
    let damaged = || {
        SqlError::new(
            SqlState::DataCorrupted,
            format!("the text of materialized view \"{}\" is not a query", view.name),
        )
    };
    let text = view.materialized.as_ref().map(|m| m.query.as_str()).ok_or_else(damaged)?;
    let statement = parse(text)?.pop().ok_or_else(damaged)?;
    match statement.ast {
        Ast::Sql(ast) => match *ast {
            ast::Statement::Query(body) => Ok(body),
            _ => Err(damaged()),
        },
        _ => Err(damaged()),
    }
}

/// What keeps a continuous aggregate up to date.
struct Parts {
    table: Arc<Table>,
    /// Place of the time column in the table.
    time_column: usize,
    /// Place of the range's beginning in the result.
    bucket_column: usize,
    interval: Interval,
    /// The time column as the query writes it.
    time: Expr,
}

impl Parts {
    fn of(body: &Query, context: &PlanContext) -> SqlResult<Self> {
        let wrong = |what: &str| {
            Err(SqlError::unsupported(format_args!("a continuous aggregate {what}"))
                .hint("It is SELECT time_bucket('…', column), … FROM one table [WHERE …] GROUP BY …; others are kept by REFRESH."))
        };
        if Subqueries::in_query(body) > 1 || body.with.is_some() {
            return wrong("with a subquery");
        }
        if body.order_by.is_some() || body.limit_clause.is_some() || body.fetch.is_some() || !body.locks.is_empty() {
            return wrong("with ORDER BY, LIMIT or FOR UPDATE");
        }
        let SetExpr::Select(select) = body.body.as_ref() else { return wrong("of several queries") };
        if select.distinct.is_some() || select.into.is_some() || !select.named_window.is_empty() {
            return wrong("with DISTINCT or WINDOW");
        }
        let [from] = select.from.as_slice() else { return wrong("of several tables") };
        let TableFactor::Table { name, args: None, sample: None, .. } = &from.relation else {
            return wrong("of something that is no table");
        };
        if !from.joins.is_empty() {
            return wrong("of several tables");
        }
        let table = names::table(name, context)?;
        if table.materialized.is_some() {
            return wrong("of a materialized view");
        }
        // The change feed names a row's own table.
        if table.partitioning.is_some() || context.catalog.has_children(table.oid) {
            return wrong("of a table with partitions, or that others inherit from");
        }
        let GroupByExpr::Expressions(groups, modifiers) = &select.group_by else { return wrong("with GROUP BY ALL") };
        if !modifiers.is_empty() || groups.iter().any(is_grouping_set) {
            return wrong("with ROLLUP, CUBE or GROUPING SETS");
        }
        let mut buckets = groups.iter().filter_map(|group| resolved(group, select)).filter(|expr| is_bucket(expr));
        let (Some(bucket), None) = (buckets.next(), buckets.next()) else {
            return wrong("without one time_bucket in GROUP BY");
        };
        let Some(bucket_column) = select.projection.iter().position(|item| item_expr(item) == Some(bucket)) else {
            return wrong("whose time_bucket is not in the select list");
        };
        let Expr::Function(function) = bucket else { return wrong("without time_bucket") };
        let arguments = arguments(function);
        let [width, time] = arguments.as_slice() else { return wrong("with an origin in time_bucket") };
        let Some(Value::Interval(interval)) = literal_interval(width) else {
            return wrong("whose time_bucket has no constant interval");
        };
        BucketWidth::new(interval)?;
        let column = match time {
            Expr::Identifier(ident) => fold(ident),
            Expr::CompoundIdentifier(parts) => parts.last().map(fold).unwrap_or_default(),
            _ => return wrong("whose time_bucket is not over a column"),
        };
        let time_column = names::column(&table, &column)?;
        let ty = &table.columns[time_column].ty;
        if !matches!(ty, SqlType::Timestamp(_) | SqlType::Timestamptz(_) | SqlType::Date) {
            return wrong("over a column that is no timestamp, timestamptz or date");
        }
        Ok(Self { table, time_column, bucket_column, interval, time: (*time).clone() })
    }
}

/// The expression of GROUP BY that a place or an alias of the select list stands for.
fn resolved<'s>(group: &'s Expr, select: &'s Select) -> Option<&'s Expr> {
    match group {
        Expr::Value(value) => match &value.value {
            ast::Value::Number(place, _) => {
                let place: usize = place.parse().ok()?;
                item_expr(select.projection.get(place.checked_sub(1)?)?)
            }
            _ => None,
        },
        Expr::Identifier(ident) => {
            let name = fold(ident);
            let aliased = select.projection.iter().find_map(|item| match item {
                SelectItem::ExprWithAlias { expr, alias } if fold(alias) == name => Some(expr),
                // A function's name is its column's.
                SelectItem::UnnamedExpr(expr) if name == "time_bucket" && is_bucket(expr) => Some(expr),
                _ => None,
            });
            aliased.or(Some(group))
        }
        other => Some(other),
    }
}

fn item_expr(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

fn is_grouping_set(expr: &Expr) -> bool {
    matches!(expr, Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_))
}

fn is_bucket(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    function.name.0.last().and_then(|part| part.as_ident()).is_some_and(|ident| fold(ident) == "time_bucket")
}

fn arguments(function: &ast::Function) -> Vec<&Expr> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let expr = |argument| match argument {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expr)) => Some(expr),
        _ => None,
    };
    list.args.iter().filter_map(expr).collect()
}

/// The interval that `'5 min'`, `interval '5 min'` or `'5 min'::interval` writes.
fn literal_interval(expr: &Expr) -> Option<Value> {
    let text = match expr {
        Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) => text.clone(),
            _ => return None,
        },
        Expr::TypedString(typed) => return literal_interval(&Expr::Value(typed.value.clone())),
        Expr::Cast { expr, .. } | Expr::Nested(expr) => return literal_interval(expr),
        Expr::Interval(interval) if interval.leading_field.is_none() => return literal_interval(&interval.value),
        _ => return None,
    };
    parse_value(&text, &SqlType::Interval).ok()
}

/// Counts queries, the outermost too.
#[derive(Default)]
struct Subqueries(usize);

impl Subqueries {
    fn in_query(query: &Query) -> usize {
        let mut count = Self::default();
        let _ = query.visit(&mut count);
        count.0
    }
}

impl Visitor for Subqueries {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.0 += 1;
        ControlFlow::Continue(())
    }
}

/// Whether the query's result depends on rows alone: not on the session, the time or chance, nor on rows of other groups.
fn check_steady(plan: &LogicalPlan) -> SqlResult<()> {
    let mut wrong = None;
    let walked = plan.apply_with_subqueries(|node| {
        if matches!(node, LogicalPlan::Window(_)) {
            wrong = Some("window functions");
        }
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                match part {
                    DfExpr::ScalarVariable(..) => wrong = Some("values of the session, such as its time zone or now()"),
                    DfExpr::ScalarFunction(f) if f.func.signature().volatility != Volatility::Immutable => {
                        wrong = Some("functions that are not immutable");
                    }
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    walked.map_err(sql_error)?;
    match wrong {
        Some(what) => Err(SqlError::new(
            SqlState::InvalidObjectDefinition,
            format!("a continuous aggregate cannot use {what}: its rows are made once and read later"),
        )),
        None => Ok(()),
    }
}

/// Whether a plan as it will run takes no value from the session.
fn check_no_session_value(plan: &LogicalPlan) -> SqlResult<()> {
    let mut found = false;
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                found |= matches!(part, DfExpr::ScalarVariable(..));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    walked.map_err(sql_error)?;
    if found {
        return Err(SqlError::new(
            SqlState::InvalidObjectDefinition,
            "a continuous aggregate cannot use the session's time zone: its rows are made once and read later",
        )
        .hint("Name a zone: ts AT TIME ZONE 'UTC'."));
    }
    Ok(())
}

/// How a continuous aggregate is read; see the module.
///
/// # Errors
/// What planning its query gives.
pub(super) fn plan_continuous(
    view: &Arc<Table>,
    continuous: &Continuous,
    views: &Views<'_>,
    context: &PlanContext,
) -> SqlResult<LogicalPlan> {
    let base = context.catalog.table(continuous.table).ok_or_else(|| SqlError::internal("its table is gone"))?;
    let time = base.number_position(continuous.time_column).ok_or_else(|| SqlError::internal("no time column"))?;
    let bucket = view.number_position(continuous.bucket_column).ok_or_else(|| SqlError::internal("no bucket"))?;
    let (time, bucket) = (&base.columns[time], &view.columns[bucket]);
    let fresh = views.plan_body(body_of(view)?)?;
    // A table of the query is read once: FROM names but one.
    let fresh = fresh
        .transform_up_with_subqueries(|node| {
            let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
            if scanned_table(&scan.source)?.map(|table| table.oid) != Some(continuous.table) {
                return Ok(Transformed::no(node));
            }
            let at = DfExpr::Column(Column::new(Some(scan.table_name.clone()), time.name.clone()));
            let changed = pending_filter(view.oid, &at, &time.ty);
            let changed = if time.not_null { changed } else { changed.or(at.is_null()) };
            LogicalPlanBuilder::from(node).filter(changed).and_then(LogicalPlanBuilder::build).map(Transformed::yes)
        })
        .map_err(sql_error)?
        .data;
    let name = query::table_reference(view, context);
    let start = DfExpr::Column(Column::new(Some(name.clone()), bucket.name.clone()));
    let kept =
        start.clone().is_not_null().and(datafusion::logical_expr::not(pending_filter(view.oid, &start, &bucket.ty)));
    let stored = LogicalPlanBuilder::scan(name.clone(), views.stored(view), None)
        .and_then(|builder| builder.filter(kept))
        .and_then(LogicalPlanBuilder::build)
        .map_err(sql_error)?;
    // What the query's columns say of themselves (how a quotient is shown) the stored ones say too.
    let told = |field: &Field| (!field.metadata().is_empty()).then(|| FieldMetadata::from(field));
    let fields = fresh.schema().fields().clone();
    let shown = |(column, field): (Column, &Arc<Field>), own: &perigee_types::catalog::Column, ty: &DataType| {
        let value = if field.data_type() == ty { col(column) } else { cast(col(column), ty.clone()) };
        value.alias_with_metadata(&own.name, told(field))
    };
    let types: Vec<DataType> = view.columns.iter().map(|column| column.ty.arrow()).collect();
    let project = |plan: LogicalPlan, cast: bool| {
        let columns = plan.schema().columns().into_iter().zip(&fields).zip(view.columns.iter().zip(&types));
        let shown: Vec<DfExpr> = columns
            .map(|((column, field), (own, ty))| shown((column, field), own, if cast { ty } else { field.data_type() }))
            .collect();
        LogicalPlanBuilder::from(plan).project(shown).and_then(LogicalPlanBuilder::build).map_err(sql_error)
    };
    let (stored, fresh) = (project(stored, false)?, project(fresh, true)?);
    LogicalPlanBuilder::from(stored).union(fresh).and_then(LogicalPlanBuilder::build).map_err(sql_error)
}

/// What brings some ranges of a continuous aggregate up to date: a DELETE of its rows there and an INSERT of new ones.
/// Ranges are microseconds since 1970, both ends included.
///
/// # Errors
/// Internal, where the view is no continuous aggregate any more.
pub fn maintenance(view: &Table, ranges: &[(i64, i64)], context: &PlanContext) -> SqlResult<[String; 2]> {
    let mut body = body_of(view)?;
    let parts = Parts::of(&body, context)?;
    let continuous = view.materialized.as_ref().and_then(|m| m.continuous.as_ref());
    let continuous = continuous.ok_or_else(|| SqlError::internal("not a continuous aggregate"))?;
    let bucket = view.number_position(continuous.bucket_column).ok_or_else(|| SqlError::internal("no bucket"))?;
    let bucket = Ident::with_quote('"', view.columns[bucket].name.clone());
    let ty = &parts.table.columns[parts.time_column].ty;
    let within = |column: &dyn std::fmt::Display| {
        let one = |(from, to): &(i64, i64)| {
            let (from, to) = (literal(*from, ty), literal(*to, ty));
            format!("({column} >= {from} AND {column} <= {to})")
        };
        ranges.iter().map(one).collect::<Vec<_>>().join(" OR ")
    };
    let schema = context.catalog.object(view.schema).map(Object::name).unwrap_or_default();
    let name = format!("{}.{}", Ident::with_quote('"', schema), Ident::with_quote('"', view.name.clone()));
    let delete = format!("DELETE FROM {name} WHERE {}", within(&bucket));
    let condition = crate::sql::parse::parse_expression(&within(&parts.time))?;
    if let SetExpr::Select(select) = body.body.as_mut() {
        let nested = |expr: Expr| Expr::Nested(Box::new(expr));
        select.selection = Some(match select.selection.take() {
            Some(given) => Expr::BinaryOp {
                left: Box::new(nested(given)),
                op: ast::BinaryOperator::And,
                right: Box::new(nested(condition)),
            },
            None => condition,
        });
    }
    Ok([delete, format!("INSERT INTO {name} {body}")])
}

/// A time as SQL writes it.
fn literal(at: i64, ty: &SqlType) -> String {
    let value = time_value(at, ty);
    format!("'{}'::{ty}", format(&value, ty, &OutputSettings::DEFAULT))
}

/// Refuses what changes the rows of a materialized view.
///
/// # Errors
/// `42809`
pub(super) fn refuse_change(table: &Table, context: &PlanContext) -> SqlResult<()> {
    if table.materialized.is_some() && context.maintains != Some(table.oid) {
        return Err(SqlError::new(
            SqlState::WrongObjectType,
            format!("cannot change materialized view \"{}\"", table.name),
        ));
    }
    Ok(())
}
