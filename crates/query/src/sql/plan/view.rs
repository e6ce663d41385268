//! Views: their text is planned where they are used.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use datafusion::common::Column;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, TableSource, col};
use perigee_plan::{Ddl, Plan};
use perigee_types::catalog::{CheckOption, Continuous, Object, TEMPORARY_SCHEMA, Table, View};
use perigee_types::{Oid, SqlError, SqlResult, SqlState};
use sqlparser::ast::{
    self, CreateTableOptions, CreateView, Ident, ObjectName, ObjectNamePart, SqlOption, VisitMut, VisitorMut,
};

use super::parameters::Parameters;
use super::{Planned, names, query, refuse, size};
use crate::exec::{Shape, ViewPlanner, sql_error};
use crate::sql::context::PlanContext;
use crate::sql::parse::{fold, parse};
use crate::sql::statement::Ast;

/// How deep views may stand on views.
const DEPTH_MAX: usize = 32;
/// How many views a statement may read, each counted as often as it is planned.
const VIEWS_MAX: usize = 2_000;

/// Plans the views that a statement names.
pub(super) struct Views<'a> {
    context: &'a PlanContext<'a>,
    depth: usize,
    /// The views planned so far for the statement.
    planned: Rc<Cell<usize>>,
}

impl<'a> Views<'a> {
    pub(super) fn new(context: &'a PlanContext<'a>) -> Self {
        Self { context, depth: 0, planned: Rc::default() }
    }

    /// Plans the query of a view. Names in it are qualified: the search path does not matter.
    pub(super) fn plan_body(&self, body: Box<ast::Query>) -> SqlResult<LogicalPlan> {
        self.plan_reading(body).map(|(plan, _)| plan)
    }

    /// The plan, and what it reads.
    fn plan_reading(&self, mut body: Box<ast::Query>) -> SqlResult<(LogicalPlan, Vec<Oid>)> {
        if self.depth >= DEPTH_MAX {
            return Err(SqlError::new(SqlState::StatementTooComplex, "views are nested too deeply"));
        }
        self.planned.set(self.planned.get() + 1);
        if self.planned.get() > VIEWS_MAX {
            return Err(size::too_large("The statement reads too many views, counted with those that views read."));
        }
        super::rewrite::query(&mut body, self.context)?;
        super::columns::name_outputs(&mut body);
        let context = PlanContext { declared: &[], ..*self.context };
        let nested = Views { context: &context, depth: self.depth + 1, planned: Rc::clone(&self.planned) };
        let planning = query::planning(&context, &nested);
        let planner = datafusion::sql::planner::SqlToRel::new_with_options(&planning, planning.parser_options());
        let plan = planner.sql_statement_to_plan(ast::Statement::Query(body)).map_err(sql_error)?;
        size::check_plan(&plan)?;
        Ok((plan, planning.reads()))
    }

    /// The rows that a materialized view holds.
    pub(super) fn stored(&self, view: &Arc<Table>) -> Arc<dyn TableSource> {
        query::planning(self.context, self).source(view, Shape::default())
    }
}

impl ViewPlanner for Views<'_> {
    fn plan_view(&self, view: &View) -> SqlResult<LogicalPlan> {
        let statement = parse(&view.query)?.pop().ok_or_else(|| damaged(view))?;
        let Ast::Sql(ast) = statement.ast else { return Err(damaged(view)) };
        let ast::Statement::Query(body) = *ast else { return Err(damaged(view)) };
        let (plan, reads) = self.plan_reading(body)?;
        // Whose rights count for what a view reads is known for what it read when it was made: a function may have been
        // replaced since, or mean another one.
        if self.context.catalog.has_functions() && reads.iter().any(|oid| !view.depends_on.contains(oid)) {
            let text = format!("a function that view \"{}\" calls reads other tables than when it was made", view.name);
            return Err(SqlError::new(SqlState::ObjectNotInPrerequisiteState, text)
                .hint("Use CREATE OR REPLACE VIEW to make it anew."));
        }
        rename(plan, view.columns.iter().map(|(name, _)| name.as_str()))
    }

    fn plan_continuous(&self, view: &Arc<Table>, continuous: &Continuous) -> SqlResult<LogicalPlan> {
        super::materialized::plan_continuous(view, continuous, self, self.context)
    }
}

fn damaged(view: &View) -> SqlError {
    SqlError::new(SqlState::DataCorrupted, format!("the text of view \"{}\" is not a query", view.name))
}

/// The plan with other names for its columns.
fn rename<'n>(plan: LogicalPlan, names: impl Iterator<Item = &'n str>) -> SqlResult<LogicalPlan> {
    let columns: Vec<Column> = plan.schema().columns();
    let expressions = columns.into_iter().zip(names).map(|(column, name)| col(column).alias(name)).collect::<Vec<_>>();
    LogicalPlanBuilder::from(plan).project(expressions).and_then(LogicalPlanBuilder::build).map_err(sql_error)
}

/// CREATE VIEW
///
/// # Errors
/// What planning its query gives, `42701` for a column name twice.
pub(super) fn create(create: &CreateView, context: &PlanContext) -> SqlResult<Planned> {
    refuse(create.if_not_exists, "CREATE VIEW IF NOT EXISTS")?;
    refuse(create.with_no_schema_binding, "WITH NO SCHEMA BINDING")?;
    if create.query.with.as_ref().is_some_and(super::with::writes) {
        let text = "views must not contain data-modifying statements in WITH";
        return Err(SqlError::new(SqlState::FeatureNotSupported, text));
    }
    let name = names::qualified(&create.name, context)?;
    let schema = names::creation_schema(&name, create.temporary, context)?;
    let mut body = create.query.clone();
    let context_without_parameters = PlanContext { declared: &[], ..*context };
    let relational = query::relational((*body).clone(), &context_without_parameters, Parameters::default(), None)?;
    if !relational.parameters.is_empty() {
        return Err(super::undefined_parameter("$1"));
    }
    let (_, columns) = query::finish(&relational, None, 0, context)?;
    if create.columns.len() > columns.len() {
        return Err(SqlError::syntax("CREATE VIEW specifies more column names than columns"));
    }
    let given = create.columns.iter().map(|c| fold(&c.name)).map(Some).chain(std::iter::repeat(None));
    let columns: Vec<_> = columns
        .iter()
        .zip(given)
        .map(|(column, given)| (given.unwrap_or_else(|| column.name.clone()), column.ty.clone()))
        .collect();
    for (place, (name, ty)) in columns.iter().enumerate() {
        super::table::no_record(name, ty)?;
        if columns[..place].iter().any(|(other, _)| other == name) {
            return Err(SqlError::new(
                SqlState::DuplicateColumn,
                format!("column \"{name}\" specified more than once"),
            ));
        }
    }
    qualify(&mut body, context);
    let becomes_temporary = schema != TEMPORARY_SCHEMA && reads_temporary(&relational.reads, context);
    if becomes_temporary && name.0.is_some() {
        return Err(SqlError::new(
            SqlState::InvalidTableDefinition,
            "cannot create temporary relation in non-temporary schema",
        ));
    }
    let check_option = check_option(&create.options)?;
    let query = body.to_string();
    if check_option.is_some() {
        let view = View {
            oid: Oid(0),
            tenant: context.tenant,
            schema,
            name: name.1.clone(),
            owner: Oid(0),
            query: query.clone(),
            columns: columns.clone(),
            depends_on: Vec::new(),
            check_option,
            comment: None,
            acl: None,
        };
        super::view_target::check_is_possible(&view, context)?;
    }
    Ok(Planned::command(
        Plan::Ddl(Ddl::CreateView {
            schema: if becomes_temporary { TEMPORARY_SCHEMA } else { schema },
            becomes_temporary,
            name: name.1,
            replace: create.or_replace,
            columns,
            query,
            depends_on: relational.reads,
            check_option,
        }),
        "CREATE VIEW",
    ))
}

/// `WITH (check_option = …)`, which WITH CHECK OPTION is read as. What else stands there changes nothing here.
///
/// # Errors
/// `22023` for another value, `22023` for an option that is not known.
fn check_option(options: &CreateTableOptions) -> SqlResult<Option<CheckOption>> {
    let (CreateTableOptions::With(options) | CreateTableOptions::Options(options)) = options else { return Ok(None) };
    let mut found = None;
    let invalid = |text: String| SqlError::new(SqlState::InvalidParameterValue, text);
    for option in options {
        let (key, value) = match option {
            SqlOption::KeyValue { key, value } => (fold(key), value.to_string()),
            SqlOption::Ident(key) => (fold(key), "true".to_owned()),
            _ => return Err(SqlError::unsupported("this option of a view")),
        };
        match (key.as_str(), value.trim_matches(['\'', '"']).to_lowercase().as_str()) {
            ("check_option", "local") => found = Some(CheckOption::Local),
            ("check_option", "cascaded") => found = Some(CheckOption::Cascaded),
            ("check_option", other) => {
                return Err(invalid(format!("invalid value for enum option \"check_option\": {other}"))
                    .detail("Valid values are \"local\" and \"cascaded\"."));
            }
            ("security_barrier", _) => {}
            ("security_invoker", "false" | "off" | "0" | "no") => {}
            ("security_invoker", _) => return Err(SqlError::unsupported("security_invoker")),
            (other, _) => return Err(invalid(format!("unrecognized parameter \"{other}\""))),
        }
    }
    Ok(found)
}

/// Whether any of these tables and views is temporary.
fn reads_temporary(reads: &[Oid], context: &PlanContext) -> bool {
    reads.iter().any(|oid| {
        let relation = context.catalog.object(*oid).and_then(Object::relation_name);
        relation.is_some_and(|(schema, _)| context.catalog.is_temporary(schema))
    })
}

/// Writes the schema before each relation that the search path finds, so that the text means the same for everyone.
pub(super) fn qualify(query: &mut ast::Query, context: &PlanContext) {
    let _ = query.visit(&mut Qualify { context, ctes: Vec::new() });
}

struct Qualify<'a> {
    context: &'a PlanContext<'a>,
    /// Names of WITH: they hide relations. A name is taken as hidden in the whole query, which can only leave a name
    /// as it was written.
    ctes: Vec<String>,
}

impl VisitorMut for Qualify<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
        if let Some(with) = &query.with {
            self.ctes.extend(with.cte_tables.iter().map(|cte| fold(&cte.alias.name)));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        if let ast::Expr::Function(call) = expr
            && let ast::FunctionArguments::List(list) = &call.args
            && call.name.0.len() == 1
            && let Some(function) = super::function::body::find(&call.name, list.args.len(), self.context)
            && let Some(schema) = self.context.catalog.object(function.schema)
        {
            let quoted = |name: &str| ObjectNamePart::Identifier(Ident::with_quote('"', name));
            call.name = ObjectName(vec![quoted(schema.name()), quoted(&function.name)]);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        let [ObjectNamePart::Identifier(ident)] = relation.0.as_slice() else { return ControlFlow::Continue(()) };
        let name = fold(ident);
        if self.ctes.contains(&name) {
            return ControlFlow::Continue(());
        }
        let schema = names::find(&(None, name.clone()), self.context).and_then(|object| match object {
            perigee_types::catalog::Object::Table(table) => Some(table.schema),
            perigee_types::catalog::Object::View(view) => Some(view.schema),
            _ => None,
        });
        if let Some(schema) = schema.and_then(|oid| self.context.catalog.object(oid)) {
            let quoted = |name: &str| ObjectNamePart::Identifier(Ident::with_quote('"', name));
            relation.0 = vec![quoted(schema.name()), quoted(&name)];
        }
        ControlFlow::Continue(())
    }
}
