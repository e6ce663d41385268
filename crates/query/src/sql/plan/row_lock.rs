//! SELECT … FOR UPDATE and FOR SHARE: the query yields the hidden columns of the tables whose rows are locked.

use std::ops::ControlFlow;
use std::sync::Arc;

use perigee_plan::relational::{RowLockWait, TABLE_OID_COLUMN, VID_COLUMN};
use perigee_types::catalog::{Object, Table};
use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::ast::{
    self, GroupByExpr, Ident, JoinConstraint, JoinOperator, LimitClause, LockType, NonBlock, ObjectName, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, TableWithJoins,
};

use super::names;
use super::query::TARGET;
use crate::exec::is_aggregate;
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

/// Columns at the end of the query, for each table whose rows are locked, that are not part of its result.
pub(super) const HIDDEN: usize = 2;

/// What a query locks.
pub(super) struct Lock {
    pub(super) tables: Vec<LockedTable>,
    pub(super) shared: bool,
    pub(super) wait: RowLockWait,
    /// LIMIT and OFFSET, taken from a query that leaves out what is locked.
    pub(super) limit: Option<ast::Expr>,
    pub(super) offset: Option<ast::Expr>,
}

/// A table whose rows a query locks.
pub(super) struct LockedTable {
    pub(super) table: Arc<Table>,
    pub(super) only: bool,
    /// The name under which its scan is planned.
    pub(super) scan: String,
    /// What the query calls it.
    alias: Ident,
}

/// Takes the locking clause from a query: its tables become scans with hidden columns, which are its last ones.
///
/// # Errors
/// `0A000` where PostgreSQL refuses the clause, and for views and subqueries.
pub(super) fn take(mut query: Query, context: &PlanContext) -> SqlResult<(Query, Option<Lock>)> {
    let mut locks = std::mem::take(&mut query.locks);
    let Some(clause) = locks.pop() else { return Ok((query, None)) };
    let shared = matches!(clause.lock_type, LockType::Share);
    let word = if shared { "FOR SHARE" } else { "FOR UPDATE" };
    if !locks.is_empty() {
        return Err(SqlError::unsupported("more than one locking clause"));
    }
    let SetExpr::Select(select) = &mut *query.body else {
        return Err(refused(word, "UNION/INTERSECT/EXCEPT or VALUES"));
    };
    check(select, word)?;
    if select.from.is_empty() {
        // There is nothing to lock.
        return Ok((query, None));
    }
    let wait = match clause.nonblock {
        None => RowLockWait::Block,
        Some(NonBlock::Nowait) => RowLockWait::NoWait,
        Some(NonBlock::SkipLocked) => RowLockWait::SkipLocked,
    };
    let of = clause.of.as_ref().map(names::last_ident).transpose()?.map(fold);
    let with = query.with.iter().flat_map(|with| with.cte_tables.iter().map(|cte| fold(&cte.alias.name)));
    let queries: Vec<String> = with.chain(context.relations.iter().map(|(name, _)| name.clone())).collect();
    let tables = tables(&mut select.from, of.as_deref(), word, &queries, context)?;
    if tables.is_empty() {
        return match of {
            Some(of) => Err(SqlError::new(
                SqlState::UndefinedTable,
                format!("relation \"{of}\" in {word} clause not found in FROM clause"),
            )),
            None => Ok((query, None)),
        };
    }
    // They count rows that were locked, so what runs is the query without them.
    let (mut limit, mut offset) = (None, None);
    if wait == RowLockWait::SkipLocked {
        if query.fetch.is_some() {
            return Err(SqlError::unsupported("FETCH FIRST with SKIP LOCKED").hint("Use LIMIT."));
        }
        match query.limit_clause.take() {
            None => {}
            Some(LimitClause::LimitOffset { limit: l, offset: o, .. }) => {
                (limit, offset) = (l, o.map(|offset| offset.value));
            }
            Some(LimitClause::OffsetCommaLimit { .. }) => {
                return Err(SqlError::syntax("LIMIT #,# syntax is not supported"));
            }
        }
    }
    expand_wildcards(select, &tables)?;
    for (place, locked) in tables.iter().enumerate() {
        for column in [TABLE_OID_COLUMN, VID_COLUMN] {
            let column = Ident::with_quote('"', column);
            let expr = ast::Expr::CompoundIdentifier(vec![locked.alias.clone(), column.clone()]);
            let alias = Ident::with_quote('"', format!("{}{place}\u{1}hidden", column.value));
            select.projection.push(SelectItem::ExprWithAlias { expr, alias });
        }
    }
    Ok((query, Some(Lock { tables, shared, wait, limit, offset })))
}

/// The tables whose rows are locked: that which OF names, or all. Their names become those of their scans. `queries` are
/// the names of WITH queries, whose rows nobody locks.
fn tables(
    from: &mut [TableWithJoins],
    of: Option<&str>,
    word: &str,
    queries: &[String],
    context: &PlanContext,
) -> SqlResult<Vec<LockedTable>> {
    let mut found: Vec<LockedTable> = Vec::new();
    for from in from {
        let nullable = nullable(from);
        let factors = std::iter::once(&mut from.relation).chain(from.joins.iter_mut().map(|join| &mut join.relation));
        for (factor, nullable) in factors.zip(nullable) {
            let Some(known_as) = known_as(factor)? else {
                if of.is_none() {
                    return Err(SqlError::unsupported(format_args!("{word} of what is not a table")));
                }
                continue;
            };
            if of.is_some_and(|of| of != known_as) {
                continue;
            }
            let is_query = matches!(factor, TableFactor::Derived { .. });
            let TableFactor::Table { name, alias, args: None, .. } = factor else {
                if of.is_some() || is_query {
                    return Err(SqlError::unsupported(format_args!("{word} of what is not a table")));
                }
                // The rows of a function are nobody else's.
                continue;
            };
            if let [single] = name.0.as_slice()
                && single.as_ident().is_some_and(|ident| queries.contains(&fold(ident)))
            {
                match of {
                    Some(_) => return Err(refused_for(word, "a WITH query")),
                    None => continue,
                }
            }
            if nullable {
                return Err(refused_for(word, "the nullable side of an outer join"));
            }
            let qualified = names::qualified(name, context)?;
            let table = match names::find(&qualified, context) {
                Some(Object::Table(table)) if table.materialized.is_some() => {
                    return Err(SqlError::new(
                        SqlState::WrongObjectType,
                        format!("cannot lock rows in materialized view \"{}\"", table.name),
                    ));
                }
                Some(Object::Table(table)) => Arc::clone(table),
                Some(Object::View(_)) => return Err(SqlError::unsupported(format_args!("{word} of a view"))),
                _ if names::key_table(name, context)?.is_some() => {
                    return Err(SqlError::unsupported(format_args!("{word} of a table of schema redis")));
                }
                _ => return Err(names::undefined_table(&qualified)),
            };
            let only = names::is_only(name);
            let scan = match found.len() {
                0 => TARGET.to_owned(),
                more => format!("{TARGET}{more}"),
            };
            *name = ObjectName::from(vec![Ident::with_quote('"', &scan)]);
            let alias = alias.get_or_insert_with(|| plain_alias(&known_as)).name.clone();
            found.push(LockedTable { table, only, scan, alias });
            if of.is_some() {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// What a query calls something in FROM; `None` for joins in parentheses and what has no name.
fn known_as(factor: &TableFactor) -> SqlResult<Option<String>> {
    let alias = match factor {
        TableFactor::Table { name, alias: None, .. } => return names::last_ident(name).map(|name| Some(fold(name))),
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::TableFunction { alias, .. }
        | TableFactor::UNNEST { alias, .. } => alias.as_ref(),
        _ => None,
    };
    Ok(alias.map(|alias| fold(&alias.name)))
}

/// Which of the joined relations may be NULL in a row of the result: the first, then those of the joins.
fn nullable(from: &TableWithJoins) -> Vec<bool> {
    let mut nullable = vec![false];
    for join in &from.joins {
        let (left, right) = match join.join_operator {
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => (false, true),
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => (true, false),
            JoinOperator::FullOuter(_) => (true, true),
            _ => (false, false),
        };
        nullable.iter_mut().for_each(|before| *before |= left);
        nullable.push(right);
    }
    nullable
}

fn plain_alias(name: &str) -> TableAlias {
    TableAlias { explicit: true, name: Ident::with_quote('"', name), columns: Vec::new(), at: None }
}

/// PostgreSQL locks rows only where each result row stands for one.
fn check(select: &Select, word: &str) -> SqlResult<()> {
    if select.distinct.is_some() {
        return Err(refused(word, "DISTINCT clause"));
    }
    if select.having.is_some() {
        return Err(refused(word, "HAVING clause"));
    }
    match &select.group_by {
        GroupByExpr::Expressions(list, _) if list.is_empty() => {}
        _ => return Err(refused(word, "GROUP BY clause")),
    }
    let mut calls = Calls { depth: 0, with: None };
    let _ = ast::Visit::visit(&select.projection, &mut calls);
    calls.with.map_or(Ok(()), |with| Err(refused(word, with)))
}

/// Looks in a select list, but not in its subqueries, for what makes its rows others than the table's.
struct Calls {
    depth: usize,
    with: Option<&'static str>,
}

impl ast::Visitor for Calls {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        if self.depth == 0
            && let ast::Expr::Function(function) = expr
        {
            if function.over.is_some() {
                self.with = Some("window functions");
            } else if names::last_ident(&function.name).is_ok_and(|name| is_aggregate(&fold(name))) {
                self.with = Some("aggregate functions");
            }
        }
        ControlFlow::Continue(())
    }
}

fn refused(word: &str, with: &str) -> SqlError {
    SqlError::new(SqlState::FeatureNotSupported, format!("{word} is not allowed with {with}"))
}

fn refused_for(word: &str, what: &str) -> SqlError {
    SqlError::new(SqlState::FeatureNotSupported, format!("{word} cannot be applied to {what}"))
}

/// Writes out `*`, which would show the hidden columns.
fn expand_wildcards(select: &mut Select, tables: &[LockedTable]) -> SqlResult<()> {
    let mut projection = Vec::with_capacity(select.projection.len());
    for item in std::mem::take(&mut select.projection) {
        match &item {
            SelectItem::Wildcard(_) => {
                for from in &select.from {
                    let merges = |constraint: &JoinConstraint| {
                        matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural)
                    };
                    if from.joins.iter().any(|join| constraint(&join.join_operator).is_some_and(merges)) {
                        return Err(SqlError::unsupported("a locking clause with * over columns that USING merges"));
                    }
                    for factor in std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)) {
                        let Some(name) = known_as(factor)? else {
                            return Err(SqlError::unsupported("a locking clause with * over what has no name"));
                        };
                        columns_of(&name, &item, tables, &mut projection);
                    }
                }
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                columns_of(&fold(names::last_ident(name)?), &item, tables, &mut projection);
            }
            _ => projection.push(item),
        }
    }
    select.projection = projection;
    Ok(())
}

/// Adds all columns of a relation to a select list: of one whose rows are locked by name.
fn columns_of(relation: &str, item: &SelectItem, tables: &[LockedTable], projection: &mut Vec<SelectItem>) {
    if let Some(locked) = tables.iter().find(|locked| fold(&locked.alias) == relation) {
        projection.extend(locked.table.visible_columns().iter().map(|column| {
            let column = Ident::with_quote('"', column.name.clone());
            SelectItem::UnnamedExpr(ast::Expr::CompoundIdentifier(vec![locked.alias.clone(), column]))
        }));
        return;
    }
    let options = match item {
        SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) => options.clone(),
        _ => return,
    };
    let name = ObjectName::from(vec![Ident::with_quote('"', relation)]);
    projection.push(SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options));
}

/// The condition of a join that may have one.
fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}
