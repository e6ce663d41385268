//! Statements to plans.
//!
//! - [`query`]: SELECT through DataFusion's planner
//! - [`point`]: reads and writes by key, which never enter DataFusion
//! - [`scalar`]: their expressions
//! - [`insert`], [`update`], [`delete`], [`merge`], [`returning`]: writes; [`with`]: several in one statement
//! - [`ddl`], [`table`], [`partition`], [`alter`], [`function`]: changes of the catalog
//! - [`materialized`]: materialized views and continuous aggregates
//! - [`copy`][]: COPY
//! - [`role`]: GRANT and REVOKE; [`privileges`]: what a statement needs, [`named`]: which columns

mod alter;
mod assign;
mod checks;
mod columns;
mod conflict;
mod copy;
mod ddl;
mod delete;
mod function;
mod hypertable;
mod insert;
mod like;
mod literal;
mod locking;
mod materialized;
mod merge;
mod named;
mod names;
mod others;
mod parameter_domains;
mod parameters;
mod partition;
mod point;
mod position;
mod prepare;
mod privileges;
mod probe;
mod query;
mod relation;
mod returning;
mod rewrite;
mod role;
mod row_lock;
mod scalar;
mod several;
mod size;
mod table;
#[cfg(test)]
pub(in crate::sql) mod tests;
pub(in crate::sql) mod types;
mod update;
mod user_type;
mod view;
mod view_target;
mod with;

use std::sync::Arc;

use perigee_plan::{Admin, Ddl, Explain, Plan, Prepared, ResultColumn, SessionCommand, TransactionCommand};
use perigee_types::catalog::{Object, TEMPORARY_SCHEMA, Table};
use perigee_types::{Oid, SqlError, SqlResult, SqlState, SqlType};
use sqlparser::ast::{self, ObjectName};

use super::context::{PlanContext, Uses};
use super::statement::{Ast, Statement};
use crate::exec::watch_types;

pub use checks::{
    Check, DomainRule, Generated, RowExpression, check_columns, check_text, checks, generated, index_type,
    renamed_literal, rewritten_value, row_condition, row_expression,
};
pub use function::body::text_calls;
pub(in crate::sql) use literal::untyped_value;
pub use materialized::maintenance;
pub use update::{column_default, refresh_rows};
pub(crate) use view_target::updatable_columns;

/// What planning made of a statement, before it is wrapped up.
pub(super) struct Planned {
    plan: Plan,
    parameters: Vec<SqlType>,
    columns: Option<Arc<[ResultColumn]>>,
    tag: &'static str,
}

impl Planned {
    /// A command without parameters and without a result.
    fn command(plan: Plan, tag: &'static str) -> Self {
        Self { plan, parameters: Vec::new(), columns: None, tag }
    }
}

/// Plans one statement.
///
/// # Errors
/// What PostgreSQL's analysis would refuse; positions count in the statement's own text.
pub fn plan(statement: &Statement, context: &PlanContext) -> SqlResult<Arc<Prepared>> {
    let uses = Uses::default();
    let context = &PlanContext { uses: Some(&uses), ..*context };
    let planned = context
        .with_types(|| {
            function::schemas::note(&statement.ast, context);
            let (planned, names_temporary) = watch_types(|| dispatch(statement, context));
            let planned = planned?;
            if names_temporary && keeps_text(&planned.plan, context) {
                return Err(SqlError::unsupported("a temporary type in what is not temporary"));
            }
            Ok(planned)
        })
        .map_err(|error| position::locate(error, &statement.text))?;
    Ok(prepared(statement, planned, context))
}

/// Whether a change of the catalog may keep what its expressions say behind the session. The body of a function is no
/// expression: its names are looked up where it is called.
fn keeps_text(plan: &Plan, context: &PlanContext) -> bool {
    let Plan::Ddl(ddl) = plan else { return false };
    let stays = |schema: &Oid| *schema != TEMPORARY_SCHEMA && !context.catalog.is_temporary(*schema);
    match ddl {
        Ddl::CreateTable { schema, source, .. } => source.is_none() && stays(schema),
        Ddl::CreateView { schema, .. } | Ddl::CreateMaterializedView { schema, .. } => stays(schema),
        Ddl::CreateType { schema, .. } => stays(schema),
        Ddl::CreateIndex { table, .. } | Ddl::AlterTable { table: Some(table), .. } => stays(&table.schema),
        Ddl::AlterType { ty, .. } => context.catalog.object(*ty).and_then(Object::schema).is_some_and(|s| stays(&s)),
        _ => false,
    }
}

/// The point plan of a statement, if it is one.
///
/// # Errors
/// What is wrong whichever way the statement is planned.
pub(in crate::sql) fn plan_point(statement: &Statement, context: &PlanContext) -> SqlResult<Option<Arc<Prepared>>> {
    let Ast::Sql(ast) = &statement.ast else { return Ok(None) };
    let planned = context.with_types(|| point_plan(ast, context))?;
    Ok(planned.map(|planned| prepared(statement, planned, context)))
}

/// CALL of a procedure of the system.
fn call(admin: Admin) -> Planned {
    Planned::command(Plan::Admin(admin), "CALL")
}

fn point_plan(ast: &ast::Statement, context: &PlanContext) -> SqlResult<Option<Planned>> {
    Ok(match ast {
        ast::Statement::Query(query) => point::select(query, context)?,
        ast::Statement::Insert(insert) => insert::point(insert, context)?,
        ast::Statement::Update(update) => update::point(update, context)?,
        ast::Statement::Delete(delete) => delete::point(delete, context)?,
        _ => None,
    })
}

fn prepared(statement: &Statement, planned: Planned, context: &PlanContext) -> Arc<Prepared> {
    let ast = match &statement.ast {
        Ast::Sql(ast) => Some(&**ast),
        _ => None,
    };
    let parameter_domains = match planned.parameters.is_empty() {
        true => Vec::new(),
        false => context.with_types(|| parameter_domains::of_statement(statement, context)),
    };
    Arc::new(Prepared {
        parameter_domains,
        needs: privileges::needs(ast, &planned.plan, context).into(),
        plan: planned.plan,
        parameters: planned.parameters,
        columns: planned.columns,
        catalog_version: context.catalog.version,
        tag: planned.tag,
        text: Arc::clone(&statement.text),
    })
}

fn dispatch(statement: &Statement, context: &PlanContext) -> SqlResult<Planned> {
    match &statement.ast {
        Ast::Sql(ast) => sql(statement, ast, context),
        Ast::CreateTable { statement, with_data, likes } => match &**statement {
            ast::Statement::CreateTable(create) => table::create(create, *with_data, likes, context),
            ast::Statement::CreateView(create) if create.materialized => {
                materialized::create(create, *with_data, context)
            }
            _ => Err(SqlError::syntax("syntax error at or near \"WITH\"")),
        },
        Ast::CreateSequence(create) => relation::create_sequence(create, context),
        Ast::Alter(alter) => relation::alter(alter, context),
        Ast::SetConstraints { names, deferred } => {
            let constraints = names.as_deref().map(|names| relation::deferrable(names, context)).transpose()?;
            let command = TransactionCommand::SetConstraints { constraints, deferred: *deferred };
            Ok(Planned::command(Plan::Transaction(command), "SET CONSTRAINTS"))
        }
        Ast::Lock { tables, mode, nowait } => {
            let (tables, named) = relation::locked(tables, context)?;
            let lock = Admin::Lock { tables, named, mode: *mode, nowait: *nowait };
            Ok(Planned::command(Plan::Admin(lock), "LOCK TABLE"))
        }
        Ast::Reindex { index, name } => {
            let object = relation::reindexed(*index, name.as_ref(), context)?;
            Ok(Planned::command(Plan::Admin(Admin::Reindex(object)), "REINDEX"))
        }
        Ast::Refresh { name, concurrently, with_data } => {
            materialized::refresh(name, *concurrently, *with_data, context)
        }
        Ast::Transaction(command) => {
            let starts = statement.text.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("start"));
            let tag = if starts { "START TRANSACTION" } else { transaction_tag(command) };
            Ok(Planned::command(Plan::Transaction(command.clone()), tag))
        }
        Ast::Session(command) => Ok(session(command)),
        Ast::Prepare { name, parameters, statement } => prepare::prepare(name, parameters, statement),
        Ast::CreateCompositeType { name, attributes } => user_type::create_composite(name, attributes, context),
        Ast::CreateRangeType { name, options } => user_type::create_range(name, options, context),
        Ast::CreateType { name, labels } => user_type::create_enum(name, labels, context),
        Ast::AlterType { name, domain, action } => user_type::alter(name, *domain, action, context),
        Ast::CreateDomain(create) => user_type::create_domain(create, context),
        Ast::CreateFunction(create) => function::create(create, context),
        Ast::AlterFunction { name, parameters, action } => {
            function::alter(name, parameters.as_deref(), action, context)
        }
        Ast::DropFunctions { names, if_exists, cascade } => function::drop(names, *if_exists, *cascade, context),
        Ast::DropDomain { names, if_exists, cascade } => user_type::drop_domains(names, *if_exists, *cascade, context),
        Ast::Execute { name, parameters } => prepare::execute(name, parameters, context),
        Ast::Declare { name, scroll, hold, statement } => {
            let statement = plan(statement, context)?;
            if matches!(statement.plan, Plan::With(_)) {
                let text = "DECLARE CURSOR must not contain data-modifying statements in WITH";
                return Err(SqlError::new(SqlState::FeatureNotSupported, text));
            }
            let parameters = statement.parameters.clone();
            let command = SessionCommand::Declare { name: name.clone(), scroll: *scroll, hold: *hold, statement };
            Ok(Planned { parameters, ..session(&command) })
        }
        Ast::Copy(copy) => copy::plan(copy, context),
        Ast::Lineage(change) => partition::alter(change, context),
        Ast::Explain { analyze, verbose, json, statement } => {
            let prepared = plan(statement, context)?;
            let parameters = prepared.parameters.clone();
            let explain = Explain { statement: prepared, analyze: *analyze, verbose: *verbose, json: *json };
            let ty = if *json { SqlType::Json } else { SqlType::Text };
            let columns = [ResultColumn { name: "QUERY PLAN".to_owned(), ty, source: None, vector: false }];
            Ok(Planned { plan: Plan::Explain(explain), parameters, columns: Some(Arc::from(columns)), tag: "EXPLAIN" })
        }
        Ast::Vacuum { tables, analyze } => {
            let tables = self::tables(tables, context)?;
            Ok(Planned::command(Plan::Admin(Admin::Vacuum { tables, analyze: *analyze }), "VACUUM"))
        }
        Ast::Analyze(tables) => {
            Ok(Planned::command(Plan::Admin(Admin::Analyze(self::tables(tables, context)?)), "ANALYZE"))
        }
        Ast::Checkpoint => Ok(Planned::command(Plan::Admin(Admin::Checkpoint), "CHECKPOINT")),
        Ast::Migrate(name) => Ok(call(Admin::Migrate(tables(std::slice::from_ref(name), context)?))),
        Ast::Compact(name) => Ok(call(Admin::Compact(tables(std::slice::from_ref(name), context)?))),
        Ast::Export(name) => Ok(call(Admin::Export(tables(std::slice::from_ref(name), context)?))),
        Ast::CollectCold => Ok(call(Admin::CollectCold)),
        Ast::Backup(url) => Ok(call(Admin::Backup(url.clone()))),
        Ast::Role(change) => Ok(role::plan(change)),
        Ast::Database(change) => Ok(Planned::command(Plan::Ddl(Ddl::Database(change.clone())), change.tag())),
        Ast::Privileges(statement) => role::privileges(statement, context),
        Ast::Refused(error) => Err(error.clone()),
        Ast::Unsupported(what) => Err(SqlError::unsupported(what)),
    }
}

fn sql(statement: &Statement, ast: &ast::Statement, context: &PlanContext) -> SqlResult<Planned> {
    if locking::are_within(ast) {
        let (whole, with) = locking::at_the_front(ast)?;
        return with::plan(&whole, &with, context);
    }
    match ast {
        ast::Statement::Query(query) => match (&*query.body, &query.with) {
            (
                ast::SetExpr::Insert(_) | ast::SetExpr::Update(_) | ast::SetExpr::Delete(_) | ast::SetExpr::Merge(_),
                Some(clause),
            ) => with::plan(query, clause, context),
            (_, Some(clause)) if with::writes(clause) => with::plan(query, clause, context),
            (ast::SetExpr::Select(select), _) if select.into.is_some() => table::select_into(query, context),
            _ => match hypertable::plan(query, context)? {
                Some(planned) => Ok(planned),
                None => query::plan(query, context),
            },
        },
        ast::Statement::Insert(insert) => insert::plan(insert, context),
        ast::Statement::Update(update) => update::plan(update, context),
        ast::Statement::Delete(delete) => delete::plan(delete, context),
        ast::Statement::Merge(statement) => merge::plan(statement, None, context),
        ast::Statement::CreateTable(create) => table::create(create, true, &[], context),
        ast::Statement::AlterTable(alter) => alter::plan(alter, context),
        ast::Statement::CreateView(create) if create.materialized => materialized::create(create, true, context),
        ast::Statement::CreateView(create) => view::create(create, context),
        _ => ddl::plan(statement, ast, context),
    }
}

fn session(command: &SessionCommand) -> Planned {
    let text = |name: &str| ResultColumn { name: name.to_owned(), ty: SqlType::Text, source: None, vector: false };
    let (columns, tag): (Option<Vec<ResultColumn>>, _) = match command {
        SessionCommand::Set { .. } => (None, "SET"),
        SessionCommand::Show(name) => (Some(vec![text(shown_name(name))]), "SHOW"),
        SessionCommand::ShowAll => (Some(vec![text("name"), text("setting"), text("description")]), "SHOW"),
        SessionCommand::Reset(_) => (None, "RESET"),
        SessionCommand::Discard(what) => (
            None,
            match what {
                perigee_plan::command::Discard::All => "DISCARD ALL",
                perigee_plan::command::Discard::Plans => "DISCARD PLANS",
                perigee_plan::command::Discard::Sequences => "DISCARD SEQUENCES",
                perigee_plan::command::Discard::Temp => "DISCARD TEMP",
            },
        ),
        SessionCommand::Listen(_) => (None, "LISTEN"),
        SessionCommand::Unlisten(_) => (None, "UNLISTEN"),
        SessionCommand::Notify { .. } => (None, "NOTIFY"),
        SessionCommand::Prepare { .. } => (None, "PREPARE"),
        SessionCommand::Execute { .. } => (None, "EXECUTE"),
        SessionCommand::Do(_) => (None, "DO"),
        SessionCommand::Deallocate(None) => (None, "DEALLOCATE ALL"),
        SessionCommand::Deallocate(Some(_)) => (None, "DEALLOCATE"),
        SessionCommand::Declare { .. } => (None, "DECLARE CURSOR"),
        SessionCommand::Fetch { moves: false, .. } => (None, "FETCH"),
        SessionCommand::Fetch { moves: true, .. } => (None, "MOVE"),
        SessionCommand::Close(Some(_)) => (None, "CLOSE CURSOR"),
        SessionCommand::Close(None) => (None, "CLOSE CURSOR ALL"),
    };
    Planned { plan: Plan::Session(command.clone()), parameters: Vec::new(), columns: columns.map(Arc::from), tag }
}

/// The column's name in the result of SHOW: PostgreSQL spells some settings with capitals.
fn shown_name(name: &str) -> &str {
    match name {
        "timezone" => "TimeZone",
        "datestyle" => "DateStyle",
        "intervalstyle" => "IntervalStyle",
        other => other,
    }
}

fn transaction_tag(command: &TransactionCommand) -> &'static str {
    match command {
        TransactionCommand::Begin(_) => "BEGIN",
        TransactionCommand::Commit { .. } => "COMMIT",
        TransactionCommand::Rollback { .. } | TransactionCommand::RollbackTo(_) => "ROLLBACK",
        TransactionCommand::Savepoint(_) => "SAVEPOINT",
        TransactionCommand::Release(_) => "RELEASE",
        TransactionCommand::SetConstraints { .. } => "SET CONSTRAINTS",
        TransactionCommand::Set(_) | TransactionCommand::SetSnapshot(_) | TransactionCommand::SetDefault(_) => "SET",
    }
}

fn tables(names: &[ObjectName], context: &PlanContext) -> SqlResult<Vec<Arc<Table>>> {
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        found.extend(context.catalog.family(&names::table(name, context)?));
    }
    Ok(found)
}

/// `0A000` for a clause that a statement has and Perigee does not.
fn refuse(present: bool, what: &str) -> SqlResult<()> {
    if present { Err(SqlError::unsupported(what)) } else { Ok(()) }
}

/// `42P02` for `$0` and the like.
fn undefined_parameter(name: &str) -> SqlError {
    SqlError::new(SqlState::UndefinedParameter, format!("there is no parameter {name}"))
}
