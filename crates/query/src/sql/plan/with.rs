//! WITH whose queries write or lock rows: each is a write of its own, and those behind it read what its RETURNING gave, or
//! the rows that it has locked.
//!
//! All that write see the rows as they were before the statement. What they return is in memory while the statement runs,
//! under the name that the clause gives it.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, TableSource};
use perigee_plan::relational::{With, WithMain};
use perigee_plan::{Plan, Write};
use perigee_types::{SqlError, SqlResult, SqlState, SqlType};
use sqlparser::ast::{self, ObjectName, ObjectNamePart, Query, SetExpr, Statement, Visit, Visitor};

use super::{Planned, delete, insert, locking, merge, query, update};
use crate::exec::{returning as rows, sql_error};
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

/// The statement that a query is, where it writes.
pub(super) fn written(query: &Query) -> Option<&Statement> {
    match &*query.body {
        SetExpr::Insert(statement)
        | SetExpr::Update(statement)
        | SetExpr::Delete(statement)
        | SetExpr::Merge(statement) => Some(statement),
        _ => None,
    }
}

/// Whether a query of a WITH clause writes.
pub(super) fn writes(with: &ast::With) -> bool {
    with.cte_tables.iter().any(|cte| written(&cte.query).is_some())
}

/// The error of a WITH that writes where it may not.
pub(super) fn not_at_the_top() -> SqlError {
    SqlError::new(
        SqlState::FeatureNotSupported,
        "WITH clause containing a data-modifying statement must be at the top level",
    )
}

/// Plans a statement with a WITH clause, one that writes itself or whose clause writes or locks rows.
///
/// # Errors
/// What PostgreSQL's analysis would refuse.
pub(super) fn plan(whole: &Query, with: &ast::With, context: &PlanContext) -> SqlResult<Planned> {
    let mut types = Types { known: context.declared.to_vec() };
    // The queries of the clause that only read, and the relations that the others gave.
    let mut plain: Vec<ast::Cte> = Vec::new();
    let mut relations: Vec<(String, LogicalPlan)> = Vec::new();
    let (mut parts, mut after): (Vec<Write>, Vec<Write>) = Default::default();
    let locks_count = with.cte_tables.iter().filter(|cte| locking::locks_rows(&cte.query)).count();
    let mut locks: Vec<perigee_plan::Query> = Vec::with_capacity(locks_count);
    let main = main_of(whole);
    for (place, cte) in with.cte_tables.iter().enumerate() {
        let name = fold(&cte.alias.name);
        if locking::locks_rows(&cte.query) {
            // They run before all that writes.
            if with.cte_tables[..place].iter().any(|c| written(&c.query).is_some() && names_cte(&cte.query, c)) {
                return Err(SqlError::unsupported("a locking clause over what a query of WITH has written"));
            }
            let before = around(with, &plain, cte.query.with.as_ref())?;
            let behind = Query { with: before, ..cte.query.as_ref().clone() };
            let planned = types.plan(&cte.query, &relations, context, |context| query::plan_behind(behind, context))?;
            let Plan::Query(query) = planned.plan else { return Err(SqlError::internal("what locks is no query")) };
            let names = column_names(cte, &planned.columns.unwrap_or_else(|| Arc::from([])))?;
            let source = rows::part(&query.logical, &names, locks.len());
            relations.push((name.clone(), relation(&name, source)?));
            locks.push(query);
            continue;
        }
        let Some(statement) = written(&cte.query) else {
            plain.push(cte.clone());
            continue;
        };
        if with.recursive && names_relation(&cte.query, &name) {
            return Err(SqlError::new(
                SqlState::InvalidRecursion,
                format!("recursive query \"{name}\" must not contain data-modifying statements"),
            ));
        }
        let before = around(with, &plain, cte.query.with.as_ref())?;
        let planned = types.plan(&cte.query, &relations, context, |context| write(statement, before, context))?;
        let Plan::Write(write) = planned.plan else { return Err(SqlError::internal("a part of WITH is no write")) };
        let read = with.cte_tables[place + 1..].iter().any(|other| names_relation(&other.query, &name))
            || names_relation(&main, &name);
        let Some(returning) = write.returning.as_ref().filter(|_| read) else {
            if read {
                return Err(SqlError::new(
                    SqlState::FeatureNotSupported,
                    format!("WITH query \"{name}\" does not have a RETURNING clause"),
                ));
            }
            after.push(write);
            continue;
        };
        let names = column_names(cte, &planned.columns.unwrap_or_else(|| Arc::from([])))?;
        let scan = relation(&name, rows::part(returning, &names, locks_count + parts.len()))?;
        relations.push((name, scan));
        parts.push(write);
    }
    let before = around(with, &plain, None)?;
    let mut planned = types.plan(&main, &relations, context, |context| match written(&main) {
        Some(statement) => write(statement, before, context),
        None => query::plan_behind(Query { with: before, ..main.clone() }, context),
    })?;
    planned.parameters = types.known.into_iter().map(|ty| ty.unwrap_or(SqlType::Text)).collect();
    let is_written = !parts.is_empty() || !after.is_empty();
    if locks.is_empty() && !is_written {
        return Ok(planned);
    }
    let main = match planned.plan {
        Plan::Write(write) => WithMain::Write(Box::new(write)),
        Plan::Query(query) if query.row_lock.is_some() && is_written => {
            return Err(SqlError::unsupported("a locking clause behind a WITH that writes"));
        }
        Plan::Query(query) => WithMain::Query(query),
        _ => return Err(SqlError::internal("a statement behind WITH is neither a query nor a write")),
    };
    planned.plan = Plan::With(With { locks, parts, main, after });
    Ok(planned)
}

/// The scan of a relation of this name.
fn relation(name: &str, source: Arc<dyn TableSource>) -> SqlResult<LogicalPlan> {
    LogicalPlanBuilder::scan(TableReference::bare(name), source, None)
        .and_then(LogicalPlanBuilder::build)
        .map_err(sql_error)
}

/// Whether a query reads what another one of the clause gives.
fn names_cte(query: &Query, other: &ast::Cte) -> bool {
    names_relation(query, &fold(&other.alias.name))
}

/// The statement without its WITH clause.
fn main_of(whole: &Query) -> Query {
    Query { with: None, ..whole.clone() }
}

/// The clause that a statement sees: what stands before it, and what it has of its own.
fn around(outer: &ast::With, before: &[ast::Cte], own: Option<&ast::With>) -> SqlResult<Option<ast::With>> {
    if own.is_some_and(writes) {
        return Err(not_at_the_top());
    }
    let mut tables = before.to_vec();
    tables.extend(own.iter().flat_map(|with| with.cte_tables.iter().cloned()));
    let recursive = outer.recursive || own.is_some_and(|with| with.recursive);
    let with = ast::With { recursive, cte_tables: tables, ..outer.clone() };
    Ok(Some(with).filter(|with| !with.cte_tables.is_empty()))
}

/// Plans a write as one that a query yields the rows of.
fn write(statement: &Statement, with: Option<ast::With>, context: &PlanContext) -> SqlResult<Planned> {
    match statement {
        Statement::Insert(insert) => insert::plan_with(insert, with, context),
        Statement::Update(update) => update::plan_with(update, with.as_ref(), context),
        Statement::Delete(delete) => delete::plan_with(delete, with.as_ref(), context),
        Statement::Merge(merge) => merge::plan(merge, with.as_ref(), context),
        _ => Err(SqlError::unsupported("WITH before this statement")),
    }
}

/// The names of the columns that a part's RETURNING gives.
fn column_names(cte: &ast::Cte, columns: &[perigee_plan::ResultColumn]) -> SqlResult<Vec<String>> {
    let given = &cte.alias.columns;
    if given.len() > columns.len() {
        return Err(SqlError::new(
            SqlState::InvalidColumnReference,
            format!(
                "WITH query \"{}\" has {} columns available but {} columns specified",
                fold(&cte.alias.name),
                columns.len(),
                given.len()
            ),
        ));
    }
    let given = given.iter().map(|column| Some(fold(&column.name))).chain(std::iter::repeat(None));
    let named = columns.iter().zip(given).map(|(column, given)| given.unwrap_or_else(|| column.name.clone()));
    let named: Vec<String> = named.collect();
    // A relation of DataFusion has no column twice. Who names one that is there twice finds the first.
    let unique = |(place, name): (usize, &String)| match named[..place].contains(name) {
        true => format!("{name}\u{1}{place}"),
        false => name.clone(),
    };
    Ok(named.iter().enumerate().map(unique).collect())
}

/// Types of the statement's parameters, as its parts tell them.
struct Types {
    known: Vec<Option<SqlType>>,
}

impl Types {
    /// Plans a part with what is known, and learns the types of the parameters that stand in it.
    fn plan(
        &mut self,
        part: &Query,
        relations: &[(String, LogicalPlan)],
        context: &PlanContext,
        plan: impl FnOnce(&PlanContext) -> SqlResult<Planned>,
    ) -> SqlResult<Planned> {
        let context = PlanContext { declared: &self.known, relations, ..*context };
        let planned = plan(&context)?;
        let mut used = Used::default();
        let _ = part.visit(&mut used);
        for place in used.places {
            if self.known.len() <= place {
                self.known.resize(place + 1, None);
            }
            if let Some(slot @ None) = self.known.get_mut(place) {
                *slot = planned.parameters.get(place).cloned();
            }
        }
        Ok(planned)
    }
}

/// Places of the parameters that stand in a syntax tree.
#[derive(Default)]
struct Used {
    places: Vec<usize>,
}

impl Visitor for Used {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        if let Some(name) = super::parameters::placeholder(expr)
            && let Some(place) = name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok())
            && (1..=super::parameters::PARAMETERS_MAX).contains(&place)
        {
            self.places.push(place - 1);
        }
        ControlFlow::Continue(())
    }
}

/// Whether a query names a relation.
pub(super) fn names_relation(query: &Query, name: &str) -> bool {
    struct Names<'a>(&'a str);
    impl Visitor for Names<'_> {
        type Break = ();

        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            match relation.0.as_slice() {
                [ObjectNamePart::Identifier(ident)] if fold(ident) == self.0 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    query.visit(&mut Names(name)).is_break()
}
