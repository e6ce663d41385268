//! SELECT … FOR UPDATE and FOR SHARE: the query yields the hidden column of the table whose rows are locked.

use std::sync::Arc;

use perigee_plan::relational::{RowLockWait, TABLE_OID_COLUMN, VID_COLUMN};
use perigee_types::catalog::{Object, Table};
use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::ast::{
    self, GroupByExpr, Ident, LimitClause, LockType, NonBlock, ObjectName, Query, Select, SelectItem, SetExpr,
    TableAlias, TableFactor,
};

use super::names;
use super::query::TARGET;
use crate::sql::context::PlanContext;
use crate::sql::parse::fold;

/// Columns at the end of the query that are not part of its result.
pub(super) const HIDDEN: usize = 2;

/// What a query locks.
pub(super) struct Lock {
    pub(super) table: Arc<Table>,
    pub(super) only: bool,
    pub(super) shared: bool,
    pub(super) wait: RowLockWait,
    /// LIMIT and OFFSET, taken from a query that leaves out what is locked.
    pub(super) limit: Option<ast::Expr>,
    pub(super) offset: Option<ast::Expr>,
}

/// Takes the locking clause from a query: its table becomes [`TARGET`], its last columns the hidden ones.
///
/// # Errors
/// `0A000` where PostgreSQL refuses the clause, and for more than one table to lock.
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
    let only = select.from.len() == 1 && select.from[0].joins.is_empty();
    let of = clause.of.as_ref().map(names::last_ident).transpose()?.map(fold);
    if !only && of.is_none() {
        return Err(SqlError::unsupported(format_args!("{word} of several tables")).hint("Name one with OF."));
    }
    let factors = select
        .from
        .iter_mut()
        .flat_map(|from| std::iter::once(&mut from.relation).chain(from.joins.iter_mut().map(|j| &mut j.relation)));
    let mut found = None;
    for factor in factors {
        let TableFactor::Table { name, alias, args: None, .. } = factor else { continue };
        let known_as = match alias {
            Some(alias) => fold(&alias.name),
            None => fold(names::last_ident(name)?),
        };
        if of.as_ref().is_some_and(|of| *of != known_as) {
            continue;
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
            _ => return Err(names::undefined_table(&qualified)),
        };
        let only = names::is_only(name);
        *name = ObjectName::from(vec![Ident::with_quote('"', TARGET)]);
        let alias = alias.get_or_insert_with(|| plain_alias(&known_as));
        found = Some((table, alias.name.clone(), only));
        break;
    }
    let Some((table, alias, only_own)) = found else {
        return Err(match of {
            Some(of) => SqlError::new(
                SqlState::UndefinedTable,
                format!("relation \"{of}\" in {word} clause not found in FROM clause"),
            ),
            None => SqlError::unsupported(format_args!("{word} of what is not a table")),
        });
    };
    expand_wildcard(select, &table, &alias, only)?;
    for column in [TABLE_OID_COLUMN, VID_COLUMN] {
        let column = Ident::with_quote('"', column);
        let hidden = ast::Expr::CompoundIdentifier(vec![alias.clone(), column.clone()]);
        let alias = Ident::with_quote('"', format!("{}\u{1}hidden", column.value));
        select.projection.push(SelectItem::ExprWithAlias { expr: hidden, alias });
    }
    Ok((query, Some(Lock { table, only: only_own, shared, wait, limit, offset })))
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
        GroupByExpr::Expressions(list, _) if list.is_empty() => Ok(()),
        _ => Err(refused(word, "GROUP BY clause")),
    }
}

fn refused(word: &str, with: &str) -> SqlError {
    SqlError::new(SqlState::FeatureNotSupported, format!("{word} is not allowed with {with}"))
}

/// Writes out `*`, which would show the hidden column.
fn expand_wildcard(select: &mut Select, table: &Table, alias: &Ident, only: bool) -> SqlResult<()> {
    let mut projection = Vec::with_capacity(select.projection.len());
    for item in std::mem::take(&mut select.projection) {
        match item {
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) if !only => {
                return Err(SqlError::unsupported("a locking clause with * over several tables"));
            }
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {
                projection.extend(table.visible_columns().iter().map(|column| {
                    let column = Ident::with_quote('"', column.name.clone());
                    SelectItem::UnnamedExpr(sqlparser::ast::Expr::CompoundIdentifier(vec![alias.clone(), column]))
                }));
            }
            other => projection.push(other),
        }
    }
    select.projection = projection;
    Ok(())
}
