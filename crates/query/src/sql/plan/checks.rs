//! CHECK constraints, ready to run over rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use perigee_plan::Expr;
use perigee_plan::ddl::{CheckConstraint, ColumnDefinition};
use perigee_plan::relational::RETURNING_TABLE;
use perigee_types::catalog::Table;
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType};
use sqlparser::ast::{self, SelectItem};

use super::parameters::Parameters;
use super::point::Target;
use super::query::{self, Extra};
use super::scalar::Stop;
use super::{returning, undefined_parameter};
use crate::exec::{optimize, returning as rows, sql_error};
use crate::sql::context::PlanContext;
use crate::sql::parse::parse_expression;

/// A CHECK constraint: a row for which it is false is refused with 23514, NULL passes.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// How to test a row.
    pub test: CheckTest,
}

/// How a [`Check`] is tested.
#[derive(Clone, Debug)]
pub enum CheckTest {
    /// Over one row; columns are places in the table's.
    Row(Expr),
    /// A plan over a scan of [`RETURNING_TABLE`]: one boolean column, one row for each row tested.
    Rows(Arc<LogicalPlan>),
}

/// The CHECK constraints of a table.
///
/// # Errors
/// What their texts give; they were planned when they were made.
pub fn checks(table: &Arc<Table>, context: &PlanContext) -> SqlResult<Vec<Check>> {
    table
        .checks
        .iter()
        .map(|check| {
            let expression = parse_expression(&check.expression)?;
            Ok(Check { name: check.name.clone(), test: test(table, &expression, context)? })
        })
        .collect()
}

fn test(table: &Arc<Table>, expression: &ast::Expr, context: &PlanContext) -> SqlResult<CheckTest> {
    let context = &PlanContext { declared: &[], ..*context };
    let target = Target { table: Arc::clone(table), known_as: table.name.clone() };
    let mut parameters = Parameters::default();
    parameters.look_at_expression(expression)?;
    if !parameters.finish().is_empty() {
        return Err(undefined_parameter("$1"));
    }
    match target.scope(context, &mut parameters).condition(expression) {
        Ok(expr) => return Ok(CheckTest::Row(expr)),
        Err(Stop::Error(error)) => return Err(error),
        Err(Stop::Relational) => {}
    }
    let scan = LogicalPlanBuilder::scan(RETURNING_TABLE, rows::source(table), None)
        .and_then(LogicalPlanBuilder::build)
        .map_err(sql_error)?;
    let from = ast::TableWithJoins { relation: returning::named(&table.name), joins: Vec::new() };
    let item = SelectItem::UnnamedExpr(expression.clone());
    let query = returning::select_query(vec![item], vec![from], None);
    let extra = Extra::Named(table.name.clone(), Box::new(scan));
    let relational = query::relational(query, context, Parameters::default(), Some(extra))?;
    let logical = optimize(&relational.logical)?;
    match SqlType::of_field(logical.schema().field(0)) {
        SqlType::Bool => Ok(CheckTest::Rows(Arc::new(logical))),
        other => Err(SqlError::new(
            SqlState::DatatypeMismatch,
            format!("argument of CHECK must be type boolean, not type {other}"),
        )),
    }
}

/// Plans the checks of a table that is being made, for their errors.
///
/// # Errors
/// `42703`, `42804` and what else their expressions give.
pub(super) fn validate(
    name: &str,
    columns: &[ColumnDefinition],
    checks: &[CheckConstraint],
    context: &PlanContext,
) -> SqlResult<()> {
    if checks.is_empty() {
        return Ok(());
    }
    let columns: Vec<_> = (1..).zip(columns).map(|(number, column)| column.column(number)).collect();
    let table = Arc::new(Table {
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
        options: BTreeMap::new(),
        comment: None,
    });
    for check in checks {
        test(&table, &parse_expression(&check.expression)?, context)?;
    }
    Ok(())
}
