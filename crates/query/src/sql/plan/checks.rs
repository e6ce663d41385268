//! CHECK constraints, ready to run over rows.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr as DfExpr, LogicalPlan, LogicalPlanBuilder, Volatility};
use perigee_plan::Expr;
use perigee_plan::ddl::{CheckConstraint, ColumnDefinition};
use perigee_plan::relational::RETURNING_TABLE;
use perigee_types::catalog::{Column, Table};
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType};
use sqlparser::ast::{self, SelectItem};

use super::function::body::refuse_bare;
use super::parameters::Parameters;
use super::point::Target;
use super::query::{self, Extra};
use super::scalar::Stop;
use super::{returning, undefined_parameter};
use crate::exec::{optimize, returning as rows, sql_error};
use crate::sql::context::{PlanContext, Uses};
use crate::sql::parse::{fold, parse_expression};

/// A CHECK constraint: a row for which it is false is refused with 23514, NULL passes.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// How to test a row.
    pub test: RowExpression,
    /// Where it is a rule of a column's domain.
    pub domain: Option<DomainRule>,
    /// Where it is the condition of a view that is written through: which one.
    pub view: Option<String>,
}

/// A rule of a domain.
#[derive(Clone, Debug)]
pub struct DomainRule {
    /// The domain's name.
    pub domain: String,
    /// NOT NULL, else CHECK.
    pub not_null: bool,
}

/// An expression over the columns of a row.
#[derive(Clone, Debug)]
pub enum RowExpression {
    /// Over one row; columns are places in the table's.
    Row(Expr),
    /// Over many.
    Rows {
        /// A plan over a scan of [`RETURNING_TABLE`]: one column, one row for each row.
        plan: Arc<LogicalPlan>,
        /// The users' functions that it calls: who has it evaluated needs the right to.
        calls: Arc<[Oid]>,
    },
}

impl RowExpression {
    /// The users' functions that it calls.
    #[must_use]
    pub fn calls(&self) -> &[Oid] {
        match self {
            // Only queries have functions of users.
            Self::Row(_) => &[],
            Self::Rows { calls, .. } => calls,
        }
    }
}

/// The rules of the columns' domains, which come first, and the CHECK constraints of a table.
///
/// # Errors
/// What their texts give; they were planned when they were made.
pub fn checks(table: &Arc<Table>, context: &PlanContext) -> SqlResult<Vec<Check>> {
    let check = |check: &perigee_types::catalog::Check| {
        let expression = parse_expression(&check.expression)?;
        refuse_in_check(&expression)?;
        Ok(Check { name: check.name.clone(), test: test(table, &expression, context)?, domain: None, view: None })
    };
    context.with_types(|| {
        let mut all = domain_rules(table, context)?;
        for one in &table.checks {
            all.push(check(one)?);
        }
        Ok(all)
    })
}

fn domain_rules(table: &Arc<Table>, context: &PlanContext) -> SqlResult<Vec<Check>> {
    let mut rules = Vec::new();
    for column in &table.columns {
        let value = ast::Expr::Identifier(ast::Ident::with_quote('"', &column.name));
        let mut domains: Vec<_> = context.catalog.domains(column.domain).collect();
        // Those below come first.
        domains.reverse();
        for (ty, domain) in domains {
            let mut rule = |name: &str, expression: &ast::Expr, not_null| {
                let domain = Some(DomainRule { domain: ty.name.clone(), not_null });
                rules.push(Check {
                    name: name.to_owned(),
                    test: test(table, expression, context)?,
                    domain,
                    view: None,
                });
                Ok::<_, SqlError>(())
            };
            if domain.not_null {
                rule("", &ast::Expr::IsNotNull(Box::new(value.clone())), true)?;
            }
            for check in &domain.checks {
                rule(&check.name, &domain_check(&check.expression, &value, context)?, false)?;
            }
        }
    }
    Ok(rules)
}

/// A domain's CHECK over `value`.
///
/// # Errors
/// `42601` where it is no expression.
pub(super) fn domain_check(expression: &str, value: &ast::Expr, context: &PlanContext) -> SqlResult<ast::Expr> {
    let mut expression = parse_expression(expression)?;
    refuse_in_check(&expression)?;
    refuse_bare(&expression, context)?;
    let _: ControlFlow<()> = ast::visit_expressions_mut(&mut expression, |expr| {
        if matches!(expr, ast::Expr::Identifier(ident) if fold(ident) == "value") {
            *expr = value.clone();
        }
        ControlFlow::Continue(())
    });
    Ok(expression)
}

/// What a CHECK reads beside its row nobody has rights asked for.
fn refuse_in_check(expression: &ast::Expr) -> SqlResult<()> {
    refuse_calls(expression, "check constraints", "check constraint")
}

fn test(table: &Arc<Table>, expression: &ast::Expr, context: &PlanContext) -> SqlResult<RowExpression> {
    refuse_bare(expression, context)?;
    let context = &PlanContext { declared: &[], ..*context };
    let target = Target { table: Arc::clone(table), known_as: table.name.clone(), only: true, through: None };
    let mut parameters = Parameters::default();
    parameters.look_at_expression(expression)?;
    if !parameters.finish().is_empty() {
        return Err(undefined_parameter("$1"));
    }
    match target.scope(context, &mut parameters).condition(expression) {
        Ok(expr) => return Ok(RowExpression::Row(expr)),
        Err(Stop::Error(error)) => return Err(error),
        Err(Stop::Relational) => {}
    }
    let (relational, calls) = row_plan(table, expression, context)?;
    let logical = optimize(&relational.logical)?;
    match SqlType::of_field(logical.schema().field(0)) {
        SqlType::Bool => Ok(RowExpression::Rows { plan: Arc::new(logical), calls }),
        other => Err(SqlError::new(
            SqlState::DatatypeMismatch,
            format!("argument of CHECK must be type boolean, not type {other}"),
        )),
    }
}

/// A plan of an expression over rows of the table, and the users' functions that it calls.
fn row_plan(
    table: &Arc<Table>,
    expression: &ast::Expr,
    context: &PlanContext,
) -> SqlResult<(query::Relational, Arc<[Oid]>)> {
    let scan = LogicalPlanBuilder::scan(RETURNING_TABLE, rows::source(table), None)
        .and_then(LogicalPlanBuilder::build)
        .map_err(sql_error)?;
    let from = ast::TableWithJoins { relation: returning::named(&table.name), joins: Vec::new() };
    let item = SelectItem::UnnamedExpr(expression.clone());
    let query = returning::select_query(vec![item], vec![from], None);
    let extra = Extra::Named(table.name.clone(), Box::new(scan));
    let uses = Uses::default();
    let alone = PlanContext { uses: Some(&uses), ..*context };
    let relational = query::relational(query, &alone, Parameters::default(), Some(extra))?;
    if let Some(outer) = context.uses {
        outer.schemas.borrow_mut().append(&mut uses.schemas.borrow_mut());
    }
    // Nobody asks for rights to what a function's body reads here.
    let reads_others = context.catalog.has_functions() && relational.reads.iter().any(|oid| *oid != table.oid);
    if reads_others && refuse_calls(expression, "expressions", "expression").is_ok() {
        return Err(SqlError::unsupported("a function that reads tables in an expression over a row"));
    }
    Ok((relational, uses.functions.take().into_iter().collect()))
}

/// A condition over the rows of a table.
///
/// # Errors
/// `42703`, `42804` and what else it gives.
pub fn row_condition(table: &Arc<Table>, text: &str, context: &PlanContext) -> SqlResult<RowExpression> {
    context.with_types(|| test(table, &parse_expression(text)?, context))
}

/// An expression over the rows of a table, and its type.
///
/// # Errors
/// `42703`, `42804` and what else it gives.
pub fn row_expression(table: &Arc<Table>, text: &str, context: &PlanContext) -> SqlResult<(RowExpression, SqlType)> {
    context.with_types(|| expression_of_row(table, text, context))
}

fn expression_of_row(table: &Arc<Table>, text: &str, context: &PlanContext) -> SqlResult<(RowExpression, SqlType)> {
    let context = &PlanContext { declared: &[], ..*context };
    let expression = parse_expression(text)?;
    let target = Target { table: Arc::clone(table), known_as: table.name.clone(), only: true, through: None };
    let mut parameters = Parameters::default();
    parameters.look_at_expression(&expression)?;
    if !parameters.finish().is_empty() {
        return Err(undefined_parameter("$1"));
    }
    match target.scope(context, &mut parameters).bind(&expression) {
        // How many places a numeric has is not known from its type.
        Ok((expr, ty)) if !matches!(ty, SqlType::Unknown | SqlType::Numeric(_)) => {
            return Ok((RowExpression::Row(expr), ty));
        }
        Err(Stop::Error(error)) => return Err(error),
        Ok(_) | Err(Stop::Relational) => {}
    }
    let (relational, calls) = row_plan(table, &expression, context)?;
    let logical = optimize(&relational.logical)?;
    let ty = SqlType::of_field(logical.schema().field(0));
    Ok((RowExpression::Rows { plan: Arc::new(logical), calls }, ty))
}

/// Whether a query stands in an expression, in any of the forms that it can have there.
fn has_query(expr: &ast::Expr) -> bool {
    struct Queries;
    impl ast::Visitor for Queries {
        type Break = ();
        fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    ast::Visit::visit(expr, &mut Queries).is_break()
}

/// Refuses what may not stand in an expression that is evaluated for single rows: `places` and `place` name it.
///
/// # Errors
/// `42803` for aggregates, `42P20` for window functions, `0A000` for sets and subqueries.
pub(super) fn refuse_calls(expr: &ast::Expr, places: &str, place: &str) -> SqlResult<()> {
    let refused = |state, what: &str| {
        std::ops::ControlFlow::Break(SqlError::new(state, format!("{what} are not allowed in {places}")))
    };
    if has_query(expr) {
        return Err(SqlError::new(SqlState::FeatureNotSupported, format!("cannot use subquery in {place}")));
    }
    let found = ast::visit_expressions(expr, |expr| match expr {
        ast::Expr::Function(function) if function.over.is_some() => {
            refused(SqlState::WindowingError, "window functions")
        }
        ast::Expr::Function(function) => match function.name.to_string().to_lowercase().as_str() {
            "sum" | "count" | "avg" | "min" | "max" | "array_agg" | "string_agg" | "bool_and" | "bool_or" => {
                refused(SqlState::GroupingError, "aggregate functions")
            }
            "generate_series" | "unnest" => refused(SqlState::FeatureNotSupported, "set-returning functions"),
            _ => std::ops::ControlFlow::Continue(()),
        },
        _ => std::ops::ControlFlow::Continue(()),
    });
    match found {
        std::ops::ControlFlow::Break(error) => Err(error),
        std::ops::ControlFlow::Continue(()) => Ok(()),
    }
}

/// A stored generated column.
#[derive(Clone, Debug)]
pub struct Generated {
    /// Its place in the table's columns.
    pub place: usize,
    /// Its value, of the column's type.
    pub value: RowExpression,
}

/// The stored generated columns of a table.
///
/// # Errors
/// What their texts give; they were planned when they were made.
pub fn generated(table: &Arc<Table>, context: &PlanContext) -> SqlResult<Vec<Generated>> {
    let columns = table.columns.iter().enumerate();
    columns
        .filter_map(|(place, column)| Some((place, column.generated()?)))
        .map(|(place, text)| {
            let value = context.with_types(|| generated_value(table, place, text, context))?;
            Ok(Generated { place, value })
        })
        .collect()
}

/// What a column gets from a row of a table that is written anew: `using` over the row, else the column's default.
/// `place` is the column's in `new`.
///
/// # Errors
/// What the expression gives, `42804` where its type does not fit the column.
pub fn rewritten_value(
    old: &Arc<Table>,
    new: &Table,
    place: usize,
    using: Option<&str>,
    context: &PlanContext,
) -> SqlResult<RowExpression> {
    let context = &PlanContext { declared: &[], ..*context };
    context.with_types(|| {
        let expression = match using {
            Some(text) => {
                let expression = parse_expression(text)?;
                refuse_calls(&expression, "transform expressions", "transform expression")?;
                expression
            }
            None => {
                let mut parameters = Parameters::default();
                let mut scope = super::scalar::Scope { table: None, context, parameters: &mut parameters };
                match super::update::default_value(new, place, &mut scope) {
                    Ok(expr) => return Ok(RowExpression::Row(expr)),
                    Err(Stop::Error(error)) => return Err(error),
                    Err(Stop::Relational) => super::update::default_expression(new, place, context)?,
                }
            }
        };
        row_value(old, &expression, new, place, context)
    })
}

fn generated_value(table: &Arc<Table>, place: usize, text: &str, context: &PlanContext) -> SqlResult<RowExpression> {
    let context = &PlanContext { declared: &[], ..*context };
    let expression = parse_expression(text)?;
    refuse_calls(&expression, "column generation expressions", "column generation expression")?;
    refuse_bare(&expression, context)?;
    // Keys of indexes are made behind all other columns.
    let of_index = table.columns.get(place).is_some_and(Column::is_hidden);
    for number in check_columns(table, text) {
        let other = table.number_position(number).and_then(|place| table.columns.get(place));
        if let Some(other) = other.filter(|other| other.generated().is_some() && !of_index) {
            return Err(SqlError::new(
                SqlState::InvalidObjectDefinition,
                format!("cannot use generated column \"{}\" in column generation expression", other.name),
            )
            .detail("A generated column cannot reference another generated column."));
        }
    }
    row_value(table, &expression, table, place, context)
}

/// An expression over rows of `table`, as the column at `place` of `into` takes it.
fn row_value(
    table: &Arc<Table>,
    expression: &ast::Expr,
    into: &Table,
    place: usize,
    context: &PlanContext,
) -> SqlResult<RowExpression> {
    let column = &into.columns[place];
    let target = Target { table: Arc::clone(table), known_as: table.name.clone(), only: true, through: None };
    let mut parameters = Parameters::default();
    parameters.look_at_expression(expression)?;
    if !parameters.finish().is_empty() {
        return Err(undefined_parameter("$1"));
    }
    let mut scope = target.scope(context, &mut parameters);
    let bound = scope.bind(expression).and_then(|bound| scope.assign(bound, &column.ty, &column.name));
    match bound {
        Ok(expr) => return Ok(RowExpression::Row(expr)),
        Err(Stop::Error(error)) => return Err(error),
        Err(Stop::Relational) => {}
    }
    let (relational, calls) = row_plan(table, expression, context)?;
    let logical = super::update::cast_assigned(relational.logical, into, |_| Some(place))?;
    Ok(RowExpression::Rows { plan: Arc::new(optimize(&logical)?), calls })
}

/// An expression of an index as the catalog keeps it, and its type.
///
/// # Errors
/// `42P17` where it does not depend on the row alone, and what planning it gives.
pub(super) fn index_expression(
    table: &Arc<Table>,
    expression: &ast::Expr,
    context: &PlanContext,
) -> SqlResult<(String, SqlType)> {
    let ty = of_row_alone(table, expression, "expression", context)?;
    Ok((check_text(&expression.to_string(), &table.name, None)?, ty))
}

/// The type of an expression of an index over a table as it is now.
///
/// # Errors
/// What planning it gives.
pub fn index_type(table: &Arc<Table>, text: &str, context: &PlanContext) -> SqlResult<SqlType> {
    let expression = parse_expression(text)?;
    context.with_types(|| of_row_alone(table, &expression, "expression", context))
}

/// The WHERE of an index as the catalog keeps it.
///
/// # Errors
/// As [`index_expression`]; `42804` where it is not boolean.
pub(super) fn index_predicate(table: &Arc<Table>, predicate: &ast::Expr, context: &PlanContext) -> SqlResult<String> {
    match of_row_alone(table, predicate, "predicate", context)? {
        SqlType::Bool => check_text(&predicate.to_string(), &table.name, None),
        other => Err(SqlError::new(
            SqlState::DatatypeMismatch,
            format!("argument of WHERE must be type boolean, not type {other}"),
        )),
    }
}

/// The type of an expression that always gives the same for the same row.
fn of_row_alone(table: &Arc<Table>, expr: &ast::Expr, what: &str, context: &PlanContext) -> SqlResult<SqlType> {
    refuse_bare(expr, context)?;
    if has_query(expr) {
        return Err(SqlError::unsupported(format_args!("cannot use subquery in index {what}")));
    }
    let mut parameters = Parameters::default();
    parameters.look_at_expression(expr)?;
    if !parameters.finish().is_empty() {
        return Err(undefined_parameter("$1"));
    }
    let context = &PlanContext { declared: &[], ..*context };
    let logical = optimize(&row_plan(table, expr, context)?.0.logical)?;
    let mut immutable = true;
    logical
        .apply_expressions(|expr| {
            immutable &= !expr.exists(|part| {
                Ok(match part {
                    DfExpr::ScalarFunction(call) => call.func.signature().volatility != Volatility::Immutable,
                    // The session's time, zone, user and the like.
                    DfExpr::ScalarVariable(..) => true,
                    _ => false,
                })
            })?;
            Ok(TreeNodeRecursion::Continue)
        })
        .map_err(sql_error)?;
    if !immutable {
        return Err(SqlError::new(
            SqlState::InvalidObjectDefinition,
            format!("functions in index {what} must be marked IMMUTABLE"),
        ));
    }
    Ok(SqlType::of_field(logical.schema().field(0)))
}

/// Numbers of the columns that a CHECK's expression names.
#[must_use]
pub fn check_columns(table: &Table, expression: &str) -> Vec<u16> {
    crate::pg_catalog::deparse::columns_in(table, expression)
}

/// A CHECK's expression as the catalog keeps it: columns without the name of their table, which may change, and where
/// `renamed` says so under a new name.
///
/// # Errors
/// `42601` where it is none.
pub fn check_text(expression: &str, table: &str, renamed: Option<(&str, &str)>) -> SqlResult<String> {
    let mut expression = parse_expression(expression)?;
    let _: std::ops::ControlFlow<()> = ast::visit_expressions_mut(&mut expression, |expr| {
        if let ast::Expr::CompoundIdentifier(parts) = expr
            && let [qualifier, column] = parts.as_slice()
            && fold(qualifier) == table
        {
            *expr = ast::Expr::Identifier(column.clone());
        }
        if let (ast::Expr::Identifier(ident), Some((from, to))) = (&mut *expr, renamed)
            && fold(ident) == from
        {
            let quoted = crate::pg_catalog::deparse::quote_ident(to);
            *ident = if quoted == to { ast::Ident::new(to) } else { ast::Ident::with_quote('"', to) };
        }
        std::ops::ControlFlow::Continue(())
    });
    Ok(expression.to_string())
}

/// An expression with another text in place of a literal.
///
/// # Errors
/// `42601` where it is none.
pub fn renamed_literal(expression: &str, from: &str, to: &str) -> SqlResult<String> {
    let mut expression = parse_expression(expression)?;
    let _: ControlFlow<()> = ast::visit_expressions_mut(&mut expression, |expr| {
        if let ast::Expr::Value(value) = expr
            && let ast::Value::SingleQuotedString(text) = &mut value.value
            && text == from
        {
            to.clone_into(text);
        }
        ControlFlow::Continue(())
    });
    Ok(expression.to_string())
}

/// Plans the checks and generated columns of a table that is being made, for their errors.
///
/// # Errors
/// `42703`, `42804` and what else their expressions give.
pub(super) fn validate(
    name: &str,
    columns: &[ColumnDefinition],
    checks: &[CheckConstraint],
    context: &PlanContext,
) -> SqlResult<()> {
    if checks.is_empty() && columns.iter().all(|column| !column.generated) {
        return Ok(());
    }
    let table = to_be(name, columns, context);
    generated(&table, context)?;
    checks.iter().try_for_each(|check| validate_one(&table, check, context))
}

/// A table of these columns as expressions over its rows see it.
pub(super) fn to_be(name: &str, columns: &[ColumnDefinition], context: &PlanContext) -> Arc<Table> {
    let columns: Vec<_> = (1..).zip(columns).map(|(number, column)| column.column(number)).collect();
    Arc::new(Table {
        oid: Oid(0),
        tenant: context.tenant,
        schema: Oid(0),
        name: name.to_owned(),
        owner: context.role,
        version: 1,
        storage: Oid(0),
        next_column: 1,
        columns,
        primary_key: None,
        indexes: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        aggregates: Vec::new(),
        materialized: None,
        options: BTreeMap::new(),
        on_commit: perigee_types::catalog::OnCommit::PreserveRows,
        parents: Vec::new(),
        partitioning: None,
        bound: None,
        constraint_comments: Vec::new(),
        comment: None,
        acl: None,
    })
}

/// Plans a check of a table that is there, for its errors.
///
/// # Errors
/// As [`validate`].
pub(super) fn validate_one(table: &Arc<Table>, check: &CheckConstraint, context: &PlanContext) -> SqlResult<()> {
    let expression = parse_expression(&check.expression)?;
    refuse_in_check(&expression)?;
    test(table, &expression, context).map(|_| ())
}
